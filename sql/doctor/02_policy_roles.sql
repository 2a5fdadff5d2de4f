-- A policy for every role
-- A policy without TO applies to every role: to guests, to replication clients, and to roles that
-- are added later.
select
  'error' as level,
  pg_catalog.format('policy %I on %s', policy.polname, policy.polrelid::regclass) as object,
  'applies to every role (public)' as what,
  pg_catalog.format(
    'alter policy %I on %s to authenticated', policy.polname, policy.polrelid::regclass
  ) as remediation
from pg_catalog.pg_policy as policy
inner join pg_catalog.pg_class as class on class.oid = policy.polrelid
where class.relnamespace::regnamespace::text in ('app', 'api', 'ops')
  and 0 = any(policy.polroles)
order by object
