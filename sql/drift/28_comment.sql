-- Comments on our objects and roles
with stored (classid, objid, subid, text) as (
  select description.classoid, description.objoid, description.objsubid, description.description
  from pg_catalog.pg_description as description
  -- Below are the objects of initdb.
  where description.objoid >= 16384
  union all
  select 'pg_catalog.pg_authid'::regclass, role.oid, 0, shared.description
  from pg_catalog.pg_shdescription as shared
  inner join pg_catalog.pg_roles as role on role.oid = shared.objoid
  where shared.classoid = 'pg_catalog.pg_authid'::regclass
    and role.rolname = any(
      pg_catalog.string_to_array(pg_catalog.current_setting('sessionbase.roles'), ',')
    )
)

select
  'comment on ' || shown.key as object,
  case
    when identified.type = 'view column'
      then 'view ' || stored.objid::regclass
    when identified.type = 'composite type column' then 'column ' || shown.identity
    else shown.key
  end as parent,
  pg_catalog.jsonb_build_object('text', stored.text) as attributes,
  pg_catalog.jsonb_build_object(
    'statement', shown.statement
  ) as parts,
  array[shown.statement || pg_catalog.quote_literal(stored.text)] as creation,
  array[shown.statement || 'null'] as removal,
  stored.objid as place
from stored
cross join lateral pg_catalog.pg_identify_object(
  stored.classid, stored.objid, stored.subid
) as identified
cross join lateral (
  select
    pg_catalog.replace(identified.identity, 'pg_catalog.', '') as identity,
    pg_catalog.concat(
      kind.word, ' ', pg_catalog.replace(identified.identity, 'pg_catalog.', '')
    ) as key,
    pg_catalog.concat(
      'comment on ', case kind.word when 'function' then 'routine' else kind.word end, ' ',
      pg_catalog.replace(identified.identity, 'pg_catalog.', ''), ' is '
    ) as statement
  from (
    select
      case
        when identified.type like '% column' then 'column'
        when identified.type in ('table constraint', 'domain constraint') then 'constraint'
        when identified.type = 'statistics object' then 'statistics'
        when identified.type = 'composite type' then 'type'
        when identified.type in ('procedure', 'aggregate') then 'function'
        else identified.type
      end as word
  ) as kind
) as shown
where identified.schema in ('app', 'api', 'ops')
  or identified.type = 'role'
  or (identified.type = 'schema' and identified.identity in ('app', 'api', 'ops'))
  or (
    identified.type = 'publication'
    and identified.identity = 'sessionbase'
  )
  -- Of a constraint, a trigger, a policy or a rule, only the table has a schema.
  or (
    identified.schema is null
    and identified.type in (
      'table constraint', 'domain constraint', 'trigger', 'policy', 'rule'
    )
    and identified.identity ~ ' on (app|api|ops)\.'
  )
