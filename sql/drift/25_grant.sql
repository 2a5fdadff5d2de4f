-- Grants on every object, column by column, and on this database and parameters
with
ours (names) as (
  select pg_catalog.string_to_array(pg_catalog.current_setting('sessionbase.roles'), ',')
),

-- Where an object has no stored access list, PostgreSQL's default applies.
acl (parent, target, column_name, owner, entries, place) as (
  select
    pg_catalog.format('schema %I', namespace.nspname),
    pg_catalog.format('schema %I', namespace.nspname),
    null,
    namespace.nspowner,
    coalesce(namespace.nspacl, pg_catalog.acldefault('n', namespace.nspowner)),
    namespace.oid
  from pg_catalog.pg_namespace as namespace
  where namespace.nspname in ('app', 'api', 'ops')
  union all
  select
    case class.relkind
      when 'S' then 'sequence' when 'v' then 'view' when 'm' then 'materialized view' else 'table'
    end || ' ' || class.oid::regclass,
    case class.relkind when 'S' then 'sequence ' else 'table ' end || class.oid::regclass,
    null,
    class.relowner,
    coalesce(
      class.relacl,
      pg_catalog.acldefault(
        case when class.relkind = 'S' then 's' else 'r' end::"char", class.relowner
      )
    ),
    class.oid
  from pg_catalog.pg_class as class
  where class.relnamespace::regnamespace::text in ('app', 'api', 'ops')
    and class.relkind in ('r', 'p', 'v', 'm', 'f', 'S')
  union all
  select
    case
      when class.relkind in ('v', 'm') then
        case class.relkind when 'v' then 'view ' else 'materialized view ' end
        || class.oid::regclass
      else pg_catalog.format('column %s.%I', class.oid::regclass, attribute.attname)
    end,
    'table ' || class.oid::regclass,
    attribute.attname,
    class.relowner,
    attribute.attacl,
    class.oid
  from pg_catalog.pg_class as class
  inner join pg_catalog.pg_attribute as attribute on attribute.attrelid = class.oid
  where class.relnamespace::regnamespace::text in ('app', 'api', 'ops')
    and attribute.attacl is not null
    and not attribute.attisdropped
  union all
  select
    'function ' || routine.oid::regprocedure,
    'routine ' || routine.oid::regprocedure,
    null,
    routine.proowner,
    coalesce(routine.proacl, pg_catalog.acldefault('f', routine.proowner)),
    routine.oid
  from pg_catalog.pg_proc as routine
  where routine.pronamespace::regnamespace::text in ('app', 'api', 'ops')
  union all
  select
    'type ' || type.oid::regtype,
    'type ' || type.oid::regtype,
    null,
    type.typowner,
    coalesce(type.typacl, pg_catalog.acldefault('T', type.typowner)),
    type.oid
  from pg_catalog.pg_type as type
  left join pg_catalog.pg_class as class on class.oid = type.typrelid
  where type.typnamespace::regnamespace::text in ('app', 'api', 'ops')
    and (type.typtype in ('e', 'd', 'r') or class.relkind = 'c' or type.typacl is not null)
  union all
  -- The rights of roles of other applications on the database are theirs.
  select
    'this database',
    'database <database>',
    null,
    database.datdba,
    pg_catalog.array_agg(pg_catalog.makeaclitem(
      entry.grantee, entry.grantor, entry.privilege_type, entry.is_grantable
    )),
    database.oid
  from pg_catalog.pg_database as database
  cross join ours
  cross join lateral pg_catalog.aclexplode(
    coalesce(database.datacl, pg_catalog.acldefault('d', database.datdba))
  ) as entry
  where database.datname = pg_catalog.current_database()
    and entry.grantee <> database.datdba
    and (
      entry.grantee = 0
      or pg_catalog.pg_get_userbyid(entry.grantee) = any(ours.names)
    )
  group by database.oid, database.datdba
  union all
  select
    'parameter ' || parameter.parname,
    'parameter ' || pg_catalog.quote_ident(parameter.parname),
    null,
    10,
    pg_catalog.array_agg(pg_catalog.makeaclitem(
      entry.grantee, entry.grantor, entry.privilege_type, entry.is_grantable
    )),
    parameter.oid
  from pg_catalog.pg_parameter_acl as parameter
  cross join ours
  cross join lateral pg_catalog.aclexplode(parameter.paracl) as entry
  where entry.grantee = 0 or pg_catalog.pg_get_userbyid(entry.grantee) = any(ours.names)
  group by parameter.oid, parameter.parname
)

select
  pg_catalog.concat(
    'grant of ', pg_catalog.lower(entry.privilege_type), ' (' || acl.column_name || ')',
    ' on ',
    case when acl.column_name is null then acl.parent else acl.target end,
    ' to ', shown.grantee
  ) as object,
  acl.parent,
  pg_catalog.jsonb_build_object(
    'grant option', pg_catalog.bool_or(entry.is_grantable)
  ) as attributes,
  pg_catalog.jsonb_build_object(
    'privilege', pg_catalog.lower(entry.privilege_type),
    'grantee', shown.grantee,
    'object', acl.parent,
    'owner', pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(acl.owner)),
    'revoke grant option', pg_catalog.format(
      'revoke grant option for %s on %s from %s cascade',
      shown.privilege, acl.target, shown.grantee_name
    ),
    'add grant option', pg_catalog.format(
      'grant %s on %s to %s with grant option',
      shown.privilege, acl.target, shown.grantee_name
    )
  ) as parts,
  array[
    pg_catalog.format(
      'grant %s on %s to %s%s', shown.privilege, acl.target, shown.grantee_name,
      case
        when pg_catalog.bool_or(entry.is_grantable and entry.grantee <> acl.owner)
          then ' with grant option'
      end
    )
  ] as creation,
  array[
    pg_catalog.format(
      'revoke %s on %s from %s cascade', shown.privilege, acl.target, shown.grantee_name
    )
  ] as removal,
  acl.place
from acl
cross join lateral pg_catalog.aclexplode(acl.entries) as entry
cross join lateral (
  select
    pg_catalog.lower(entry.privilege_type)
    || coalesce(' (' || pg_catalog.quote_ident(acl.column_name) || ')', '') as privilege,
    case
      when entry.grantee = 0 then 'public'
      when entry.grantee = acl.owner then 'its owner'
      else pg_catalog.pg_get_userbyid(entry.grantee)
    end as grantee,
    case
      when entry.grantee = 0 then 'public'
      else pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(entry.grantee))
    end as grantee_name
) as shown
group by
  acl.parent, acl.target, acl.column_name, acl.owner, acl.place, entry.privilege_type,
  shown.privilege, shown.grantee, shown.grantee_name
