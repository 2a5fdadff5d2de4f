-- A SECURITY DEFINER function that is not known
-- It runs with the rights of its owner, whom row-level security does not bind. Each one is an
-- exception with a reason; these have one, and it stands in their comment.
with known (name) as (
  values
    ('app.chain_hookify_decision()'),
    ('app.log_misalignment_transition()'),
    ('app.log_tool_event_transition()')
)

select
  'error' as level,
  pg_catalog.format('function %s', routine.oid::regprocedure) as object,
  'is SECURITY DEFINER and not on the list of those that may be' as what,
  pg_catalog.format('alter routine %s security invoker', routine.oid::regprocedure)
    as remediation
from pg_catalog.pg_proc as routine
where routine.pronamespace::regnamespace::text in ('app', 'api', 'ops')
  and routine.prosecdef
  and routine.oid::regprocedure::text not in (select known.name from known)
order by object
