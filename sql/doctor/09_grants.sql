-- A right of a client role that differs from sql/authority.json
-- sql/authority.json lists which role may read, write (column by column) and call which object. A
-- right that is not on the list is an error. A right on the list that the role lacks is a warning:
-- the app's calls that need it fail.
with expected as (
  select listed.grantee, listed.privilege, listed.object, listed.column_name, listed.optional
  from pg_catalog.jsonb_to_recordset(
    pg_catalog.current_setting('sessionbase.authority')::jsonb -> 'grants'
  ) as listed (
    grantee text, privilege text, object text, column_name text, optional boolean
  )
),

-- Where an object has no stored access list, PostgreSQL's default applies.
acl (object, column_name, entries) as (
  select
    'schema ' || namespace.nspname,
    '',
    coalesce(namespace.nspacl, pg_catalog.acldefault('n', namespace.nspowner))
  from pg_catalog.pg_namespace as namespace
  where namespace.nspname in ('app', 'api', 'ops')
  union all
  select
    class.oid::regclass::text,
    '',
    coalesce(
      class.relacl,
      pg_catalog.acldefault(
        case when class.relkind = 'S' then 's' else 'r' end::"char", class.relowner
      )
    )
  from pg_catalog.pg_class as class
  where class.relnamespace::regnamespace::text in ('app', 'api', 'ops')
    and class.relkind in ('r', 'p', 'v', 'm', 'f', 'S')
  union all
  select class.oid::regclass::text, attribute.attname, attribute.attacl
  from pg_catalog.pg_class as class
  inner join pg_catalog.pg_attribute as attribute on attribute.attrelid = class.oid
  where class.relnamespace::regnamespace::text in ('app', 'api', 'ops')
    and attribute.attacl is not null
    and not attribute.attisdropped
  union all
  select
    routine.oid::regprocedure::text,
    '',
    coalesce(routine.proacl, pg_catalog.acldefault('f', routine.proowner))
  from pg_catalog.pg_proc as routine
  where routine.pronamespace::regnamespace::text in ('app', 'api', 'ops')
),

actual as (
  select
    case when entry.grantee = 0 then 'public' else entry.grantee::regrole::text end as grantee,
    pg_catalog.lower(entry.privilege_type) as privilege,
    acl.object,
    acl.column_name,
    pg_catalog.bool_or(entry.is_grantable) as grantable
  from acl
  cross join lateral pg_catalog.aclexplode(acl.entries) as entry
  where entry.grantee = 0
    or entry.grantee::regrole::text in (
      select ours.name
      from pg_catalog.jsonb_to_recordset(
        pg_catalog.current_setting('sessionbase.authority')::jsonb -> 'roles'
      ) as ours (name text, is_owner boolean)
      where not ours.is_owner
    )
  group by entry.grantee, entry.privilege_type, acl.object, acl.column_name
),

compared as (
  select
    coalesce(actual.grantee, expected.grantee) as grantee,
    coalesce(actual.privilege, expected.privilege) as privilege,
    coalesce(actual.object, expected.object) as object,
    coalesce(actual.column_name, expected.column_name) as column_name,
    expected.grantee is not null as is_allowed,
    coalesce(expected.optional, false) as is_optional,
    actual.grantee is not null as is_granted,
    coalesce(actual.grantable, false) as grantable
  from actual
  full join expected
    on actual.grantee = expected.grantee
    and actual.privilege = expected.privilege
    and actual.object = expected.object
    and actual.column_name = expected.column_name
),

named as (
  select
    compared.grantee,
    compared.is_allowed,
    compared.is_optional,
    compared.is_granted,
    compared.grantable,
    case compared.privilege
      when 'execute' then 'function ' || compared.object else compared.object
    end as object,
    compared.privilege || case
      when compared.column_name <> '' then pg_catalog.format(' (%I)', compared.column_name)
      else ''
    end as privilege
  from compared
)

select
  case when named.is_granted then 'error' else 'warning' end as level,
  named.object,
  case
    when not named.is_granted then pg_catalog.format(
      '%s lacks %s: the app''s calls that need it fail', named.grantee, named.privilege
    )
    when named.is_allowed then pg_catalog.format(
      '%s may grant %s to others', named.grantee, named.privilege
    )
    else pg_catalog.format(
      '%s has %s, and sql/authority.json does not list that', named.grantee, named.privilege
    )
  end as what,
  case
    when not named.is_granted then pg_catalog.format(
      'grant %s on %s to %s', named.privilege, named.object, named.grantee
    )
    when named.is_allowed then pg_catalog.format(
      'revoke grant option for %s on %s from %s', named.privilege, named.object, named.grantee
    )
    else pg_catalog.format(
      'revoke %s on %s from %s', named.privilege, named.object, named.grantee
    )
  end as remediation
from named
where named.grantable
  or (named.is_granted and not named.is_allowed)
  or (named.is_allowed and not named.is_granted and not named.is_optional)
order by level, object, what
