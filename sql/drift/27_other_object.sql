-- Other objects in our schemas, casts of our types, and objects of our roles in other schemas
with found (classid, objid) as (
  select 'pg_catalog.pg_operator'::regclass, operator.oid
  from pg_catalog.pg_operator as operator
  where operator.oprnamespace::regnamespace::text in ('app', 'api', 'ops')
  union all
  select 'pg_catalog.pg_opclass'::regclass, class.oid
  from pg_catalog.pg_opclass as class
  where class.opcnamespace::regnamespace::text in ('app', 'api', 'ops')
  union all
  select 'pg_catalog.pg_opfamily'::regclass, family.oid
  from pg_catalog.pg_opfamily as family
  where family.opfnamespace::regnamespace::text in ('app', 'api', 'ops')
  union all
  select 'pg_catalog.pg_collation'::regclass, known.oid
  from pg_catalog.pg_collation as known
  where known.collnamespace::regnamespace::text in ('app', 'api', 'ops')
  union all
  select 'pg_catalog.pg_conversion'::regclass, conversion.oid
  from pg_catalog.pg_conversion as conversion
  where conversion.connamespace::regnamespace::text in ('app', 'api', 'ops')
  union all
  select 'pg_catalog.pg_ts_config'::regclass, config.oid
  from pg_catalog.pg_ts_config as config
  where config.cfgnamespace::regnamespace::text in ('app', 'api', 'ops')
  union all
  select 'pg_catalog.pg_ts_dict'::regclass, dictionary.oid
  from pg_catalog.pg_ts_dict as dictionary
  where dictionary.dictnamespace::regnamespace::text in ('app', 'api', 'ops')
  union all
  select 'pg_catalog.pg_ts_parser'::regclass, parser.oid
  from pg_catalog.pg_ts_parser as parser
  where parser.prsnamespace::regnamespace::text in ('app', 'api', 'ops')
  union all
  select 'pg_catalog.pg_ts_template'::regclass, template.oid
  from pg_catalog.pg_ts_template as template
  where template.tmplnamespace::regnamespace::text in ('app', 'api', 'ops')
  union all
  select 'pg_catalog.pg_cast'::regclass, conversion.oid
  from pg_catalog.pg_cast as conversion
  inner join pg_catalog.pg_type as type
    on type.oid in (conversion.castsource, conversion.casttarget)
  where type.typnamespace::regnamespace::text in ('app', 'api', 'ops')
  union all
  -- What one of our roles owns elsewhere. Objects in our schemas and publications are compared as
  -- such. An index, a rule or a default belongs to its table.
  select owned.classid, owned.objid
  from pg_catalog.pg_shdepend as owned
  inner join pg_catalog.pg_roles as role on role.oid = owned.refobjid
  cross join lateral pg_catalog.pg_identify_object(owned.classid, owned.objid, 0) as identified
  where owned.dbid = (
      select database.oid from pg_catalog.pg_database as database
      where database.datname = pg_catalog.current_database()
    )
    and owned.refclassid = 'pg_catalog.pg_authid'::regclass
    and owned.deptype = 'o'
    and owned.objsubid = 0
    and role.rolname = any(
      pg_catalog.string_to_array(pg_catalog.current_setting('sessionbase.roles'), ',')
    )
    and owned.classid not in (
      'pg_catalog.pg_publication'::regclass, 'pg_catalog.pg_default_acl'::regclass,
      'pg_catalog.pg_event_trigger'::regclass, 'pg_catalog.pg_largeobject'::regclass
    )
    and identified.schema is distinct from 'app'
    and identified.schema is distinct from 'api'
    and identified.schema is distinct from 'ops'
    and identified.identity not in ('app', 'api', 'ops')
    and identified.schema is distinct from 'pg_toast'
    and coalesce(identified.schema, '') !~ '^pg_temp_'
)

select distinct
  pg_catalog.concat(
    identified.type, ' ', pg_catalog.replace(identified.identity, 'pg_catalog.', '')
  ) as object,
  null as parent,
  '{}'::jsonb as attributes,
  '{}'::jsonb as parts,
  null::text[] as creation,
  case
    -- Never a statement that deletes rows.
    when identified.type not in (
      'schema', 'table', 'materialized view', 'foreign table', 'sequence', 'foreign-data wrapper',
      'server', 'extension'
    )
      then array[pg_catalog.concat('drop ', identified.type, ' ', identified.identity)]
  end as removal,
  found.objid as place
from found
cross join lateral pg_catalog.pg_identify_object(found.classid, found.objid, 0) as identified
where not exists (
  select
  from pg_catalog.pg_depend as depend
  where depend.classid = found.classid
    and depend.objid = found.objid
    and depend.deptype in ('e', 'i')
)
