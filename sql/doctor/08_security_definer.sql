-- A SECURITY DEFINER function that sql/authority.json does not list
-- Such a function runs with the rights of its owner, to whom row-level security does not apply. Each
-- one is an exception; sql/authority.json lists them with their reasons.
with listed as (
  select definer.name
  from pg_catalog.jsonb_to_recordset(
    pg_catalog.current_setting('sessionbase.authority')::jsonb -> 'security_definer'
  ) as definer (name text)
)

select
  'error' as level,
  pg_catalog.format('function %s', routine.oid::regprocedure) as object,
  'is SECURITY DEFINER, and sql/authority.json does not list it' as what,
  pg_catalog.format('alter routine %s security invoker', routine.oid::regprocedure)
    as remediation
from pg_catalog.pg_proc as routine
where routine.pronamespace::regnamespace::text in ('app', 'api', 'ops')
  and routine.prosecdef
  and routine.oid::regprocedure::text not in (select listed.name from listed)
order by object
