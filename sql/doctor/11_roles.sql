-- A role that may more than its part
-- BYPASSRLS and SUPERUSER end the separation of profiles for whoever has them. The owner and the
-- client roles log nobody in; authenticator does, and must have none of their rights before it
-- becomes one of them for a request: so it inherits nothing. What else authenticator may become is
-- a warning, since a JWT that names that role gets it.
with ours (name, may_log_in, may_replicate) as (
  values
    ('sessionbase_owner', false, false),
    ('anon', false, false),
    ('authenticated', false, false),
    ('auditor', false, false),
    ('authenticator', true, false),
    ('sessionbase_replicator', true, true)
)

select
  'error' as level,
  pg_catalog.format('role %I', ours.name) as object,
  'is missing' as what,
  'a role-creating login runs sql/roles.sql' as remediation
from ours
where not exists (select from pg_catalog.pg_roles as role where role.rolname = ours.name)
union all
select
  'error',
  pg_catalog.format('role %I', ours.name),
  'is ' || attribute.name,
  pg_catalog.format('alter role %I no%s', ours.name, attribute.name)
from ours
inner join pg_catalog.pg_roles as role on role.rolname = ours.name
cross join lateral (
  values
    ('superuser', role.rolsuper),
    ('bypassrls', role.rolbypassrls),
    ('createrole', role.rolcreaterole),
    ('createdb', role.rolcreatedb),
    ('login', role.rolcanlogin and not ours.may_log_in),
    ('replication', role.rolreplication and not ours.may_replicate)
) as attribute (name, is_wrong)
where attribute.is_wrong
union all
select
  'error',
  'role authenticator',
  pg_catalog.format('has the rights of %s without becoming it', membership.roleid::regrole),
  pg_catalog.format(
    'grant %s to authenticator with inherit false', membership.roleid::regrole
  )
from pg_catalog.pg_auth_members as membership
where membership.member::regrole::text = 'authenticator'
  and membership.inherit_option
union all
select
  case
    when ours.name = 'authenticator' and parent.rolname <> 'sessionbase_owner' then 'warning'
    else 'error'
  end,
  pg_catalog.format('role %I', ours.name),
  pg_catalog.format(
    'is a member of %I%s', parent.rolname,
    case
      when parent.rolsuper then ', a superuser'
      when parent.rolbypassrls then ', which bypasses row-level security'
      else ''
    end
  ),
  pg_catalog.format('revoke %I from %I', parent.rolname, ours.name)
from ours
inner join pg_catalog.pg_roles as role on role.rolname = ours.name
inner join pg_catalog.pg_auth_members as membership on membership.member = role.oid
inner join pg_catalog.pg_roles as parent on parent.oid = membership.roleid
where not (
  ours.name = 'authenticator' and parent.rolname in ('anon', 'authenticated', 'auditor')
)
order by object, what
