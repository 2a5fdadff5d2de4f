-- A function without an empty search_path
-- A name without a schema is looked up in the search_path of the caller. The caller can thereby
-- make a function that has more rights than itself use an object of the caller's. With an empty
-- search_path every name must be qualified with its schema.
select
  'error' as level,
  pg_catalog.format('function %s', routine.oid::regprocedure) as object,
  'does not set an empty search_path' as what,
  pg_catalog.format(
    'alter routine %s set search_path = '''', and qualify the names in its body',
    routine.oid::regprocedure
  ) as remediation
from pg_catalog.pg_proc as routine
where routine.pronamespace::regnamespace::text in ('app', 'api', 'ops')
  and routine.prokind in ('f', 'p')
  and not coalesce('search_path=""' = any(routine.proconfig), false)
order by object
