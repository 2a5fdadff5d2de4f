-- A policy that is missing, or that sql/authority.json does not list
-- Each right in sql/authority.json on a table of app has one permissive policy, for the same role and
-- command, and each table the restrictive policies of that file. Another policy is an error: permissive
-- policies are combined with OR, so it may show more rows. A missing permissive policy is a warning:
-- the role then sees or changes no row by that command. A missing restrictive policy is an error.
with expected as (
  select
    listed.table_name,
    listed.policy_name,
    listed.command,
    listed.role,
    listed.restrictive,
    listed.optional
  from pg_catalog.jsonb_to_recordset(
    pg_catalog.current_setting('sessionbase.authority')::jsonb -> 'policies'
  ) as listed (
    table_name text,
    policy_name text,
    command text,
    role text,
    restrictive boolean,
    optional boolean
  )
),

actual as (
  select
    policy.polrelid::regclass::text as table_name,
    policy.polname::text as policy_name,
    not policy.polpermissive as restrictive,
    case policy.polcmd
      when 'r' then 'select' when 'a' then 'insert' when 'w' then 'update' when 'd' then 'delete'
      else 'all'
    end as command,
    (
      select pg_catalog.string_agg(
        case when role.oid = 0 then 'public' else role.oid::regrole::text end, ', '
        order by role.oid::regrole::text
      )
      from pg_catalog.unnest(policy.polroles) as role (oid)
    ) as role
  from pg_catalog.pg_policy as policy
  inner join pg_catalog.pg_class as class on class.oid = policy.polrelid
  where class.relnamespace::regnamespace::text = 'app'
)

select
  case
    when actual.table_name is null and not expected.restrictive then 'warning' else 'error'
  end as level,
  pg_catalog.format(
    'policy %I on %s',
    coalesce(actual.policy_name, expected.policy_name),
    coalesce(actual.table_name, expected.table_name)
  ) as object,
  case
    when actual.table_name is null
      then pg_catalog.format('is missing: for %s to %s', expected.command, expected.role)
    else pg_catalog.format(
      'is %s for %s to %s, and sql/authority.json does not list it',
      case when actual.restrictive then 'restrictive' else 'permissive' end,
      actual.command, actual.role
    )
  end as what,
  case
    when actual.table_name is null then pg_catalog.format(
      'run the statement "create policy %s on %s%s for %s to %s …" of sql/migrations again',
      expected.policy_name, expected.table_name,
      -- Without these words the policy would show the rows of every profile.
      case when expected.restrictive then ' as restrictive' else '' end,
      expected.command, expected.role
    )
    else pg_catalog.format('drop policy %I on %s', actual.policy_name, actual.table_name)
  end as remediation
from expected
full join actual
  on actual.table_name = expected.table_name
  and actual.policy_name = expected.policy_name
  and actual.command = expected.command
  and actual.role = expected.role
  and actual.restrictive = expected.restrictive
where expected.table_name is null
  or (actual.table_name is null and not expected.optional)
order by object, what
