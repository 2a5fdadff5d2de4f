-- A policy that lets a client reach the rows of other profiles
-- PostgreSQL combines the policies of a table with OR: one policy without the condition on the
-- profile is enough to show all rows. Policies for the auditor and the replicator, which may read
-- all profiles, are not reported.
with expression as (
  select
    policy.oid,
    part.kind,
    part.text,
    exists (
      select
      from pg_catalog.unnest(policy.polroles) as role (oid)
      left join pg_catalog.pg_roles as client on client.oid = role.oid
      where role.oid = 0 or client.rolname in ('anon', 'authenticated')
    ) as for_clients
  from pg_catalog.pg_policy as policy
  inner join pg_catalog.pg_class as class on class.oid = policy.polrelid
  cross join lateral (
    values
      ('using', pg_catalog.pg_get_expr(policy.polqual, policy.polrelid)),
      ('with check', pg_catalog.pg_get_expr(policy.polwithcheck, policy.polrelid))
  ) as part (kind, text)
  where class.relnamespace::regnamespace::text = 'app'
    and policy.polpermissive
    and part.text is not null
)

select
  'error' as level,
  pg_catalog.format('policy %I on %s', policy.polname, policy.polrelid::regclass) as object,
  pg_catalog.format('does not restrict %s to the profile of the caller', expression.kind) as what,
  'let the condition start with profile_id = (select app.profile_id()), and add to it by AND only'
    as remediation
from expression
inner join pg_catalog.pg_policy as policy on policy.oid = expression.oid
where expression.for_clients
  and (
    expression.text !~ '^\(+profile_id = \( SELECT app\.profile_id\(\) AS profile_id\)\)+( AND .*)?$'
    or expression.text ~ '\mOR\M'
  )
order by object, what
