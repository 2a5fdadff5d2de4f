-- A role with more rights than it needs
-- A role with SUPERUSER or BYPASSRLS reads and writes the rows of every profile. Only authenticator
-- logs in for PostgREST: it inherits no rights, and becomes anon, authenticated or auditor for each
-- request. Any other role that it may become is a warning, because a token that names that role
-- gets its rights. A role that it can't become is a warning: the requests with that role fail.
-- A client role without the settings of sql/roles.sql is a warning: that file makes them when it
-- creates the role, and not where the role existed before.
with ours as (
  select listed.name, listed.may_log_in, listed.may_replicate, listed.member_of, listed.is_owner
  from pg_catalog.jsonb_to_recordset(
    pg_catalog.current_setting('sessionbase.authority')::jsonb -> 'roles'
  ) as listed (
    name text, may_log_in boolean, may_replicate boolean, member_of jsonb, is_owner boolean
  )
),

membership as (
  select
    member.rolname as member,
    parent.rolname as parent,
    parent.rolsuper,
    parent.rolbypassrls,
    -- Before PostgreSQL 16 the role decides for all its memberships.
    coalesce(
      (pg_catalog.to_jsonb(one) ->> 'inherit_option')::boolean, member.rolinherit
    ) as inherits,
    pg_catalog.to_jsonb(one) ? 'inherit_option' as decides_itself
  from pg_catalog.pg_auth_members as one
  inner join pg_catalog.pg_roles as member on member.oid = one.member
  inner join pg_catalog.pg_roles as parent on parent.oid = one.roleid
)

select
  'error' as level,
  pg_catalog.format('role %I', ours.name) as object,
  'is missing' as what,
  'run sql/roles.sql as a login that may create roles' as remediation
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
  pg_catalog.format('inherits the rights of %s', membership.parent),
  case
    when membership.decides_itself
      then pg_catalog.format('grant %I to authenticator with inherit false', membership.parent)
    else 'alter role authenticator noinherit'
  end
from membership
where membership.member = 'authenticator' and membership.inherits
union all
select
  case
    when ours.member_of = '[]' or owner.name is not null then 'error' else 'warning'
  end,
  pg_catalog.format('role %I', ours.name),
  pg_catalog.format(
    'is a member of %I%s', membership.parent,
    case
      when membership.rolsuper then ', a superuser'
      when membership.rolbypassrls then ', which bypasses row-level security'
      else ''
    end
  ),
  pg_catalog.format('revoke %I from %I', membership.parent, ours.name)
from ours
inner join membership on membership.member = ours.name
left join ours as owner on owner.name = membership.parent and owner.is_owner
where not ours.member_of ? membership.parent::text
union all
select
  'warning',
  pg_catalog.format('role %I', ours.name),
  pg_catalog.format('may not become %I', parent.rolname),
  pg_catalog.format('grant %I to %I', parent.rolname, ours.name)
from ours
inner join pg_catalog.pg_roles as role on role.rolname = ours.name
inner join pg_catalog.pg_roles as parent on ours.member_of ? parent.rolname::text
where not pg_catalog.pg_has_role(
  role.oid, parent.oid,
  -- Before PostgreSQL 16 every member may become the role.
  case
    when pg_catalog.current_setting('server_version_num')::int < 160000 then 'member' else 'set'
  end
)
union all
select
  'warning',
  pg_catalog.format('role %I', client.name),
  pg_catalog.format('has no setting %s', client.setting),
  pg_catalog.format('alter role %I set %s = %s', client.name, client.setting, client.shipped)
from (
  values
    ('anon', 'statement_timeout', '''15s'''),
    ('auditor', 'statement_timeout', '''15s'''),
    ('authenticated', 'statement_timeout', '''15s'''),
    ('authenticated', 'enable_seqscan', 'off'),
    ('authenticated', 'max_parallel_workers_per_gather', '0')
) as client (name, setting, shipped)
inner join pg_catalog.pg_roles as role on role.rolname = client.name
-- Any value will do: a DBA may have changed it.
where not exists (
  select
  from pg_catalog.unnest(role.rolconfig) as config (text)
  where config.text like pg_catalog.replace(client.setting, '_', '\_') || '=%'
)
order by object, what
