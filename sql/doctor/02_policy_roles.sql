-- A policy that says no role
-- Without TO a policy holds for everyone, guests and replication clients included. One that was
-- meant for a profile is then also what a role added next year gets.
select
  'error' as level,
  pg_catalog.format('policy %I on %s', policy.polname, policy.polrelid::regclass) as object,
  'holds for every role (public)' as what,
  pg_catalog.format(
    'alter policy %I on %s to authenticated', policy.polname, policy.polrelid::regclass
  ) as remediation
from pg_catalog.pg_policy as policy
inner join pg_catalog.pg_class as class on class.oid = policy.polrelid
where class.relnamespace::regnamespace::text in ('app', 'api', 'ops')
  and 0 = any(policy.polroles)
order by object
