-- A function without an empty search_path
-- A name that is looked up along the caller's search_path can be another object than the author
-- meant: an attacker's, where the function has more rights than its caller. With an empty one,
-- every name has to say its schema.
select
  'error' as level,
  pg_catalog.format('function %s', routine.oid::regprocedure) as object,
  'does not set an empty search_path' as what,
  pg_catalog.format(
    'alter routine %s set search_path = '''', and qualify the names in it',
    routine.oid::regprocedure
  ) as remediation
from pg_catalog.pg_proc as routine
where routine.pronamespace::regnamespace::text in ('app', 'api', 'ops')
  and routine.prokind in ('f', 'p')
  and not coalesce('search_path=""' = any(routine.proconfig), false)
order by object
