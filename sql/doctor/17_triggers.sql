-- A trigger that is missing or disabled
-- Triggers refuse illegal transitions, write the logs, chain the decisions and keep audits
-- append-only. A DBA who disabled one for a repair and forgot it has switched that off for everyone;
-- so has session_replication_role = replica, set for a role or the database.
with needed (table_name, trigger_name) as (
  values
    ('app.hookify_decisions', 'append_only'),
    ('app.hookify_decisions', 'chain'),
    ('app.misalignment_transitions', 'append_only'),
    ('app.misalignments', 'guard_transition'),
    ('app.misalignments', 'log_start'),
    ('app.misalignments', 'log_transition'),
    ('app.misalignments', 'start'),
    ('app.session_repo_bindings', 'refuse_bulk_change'),
    ('app.session_repo_bindings', 'touch'),
    ('app.todos', 'refuse_bulk_change'),
    ('app.tool_event_transitions', 'append_only'),
    ('app.tool_events', 'guard_transition'),
    ('app.tool_events', 'log_start'),
    ('app.tool_events', 'log_transition'),
    ('app.ui_settings', 'revise')
)

select
  'error' as level,
  pg_catalog.format('trigger %I on %s', needed.trigger_name, needed.table_name) as object,
  'is missing' as what,
  'create it again as sql/migrations/ has it' as remediation
from needed
where not exists (
  select
  from pg_catalog.pg_trigger as trigger
  -- As text: to look the name up, a login would need USAGE on the schema.
  where trigger.tgrelid::regclass::text = needed.table_name
    and trigger.tgname = needed.trigger_name
)
union all
select
  'error',
  pg_catalog.format('trigger %I on %s', trigger.tgname, trigger.tgrelid::regclass),
  case trigger.tgenabled
    when 'R' then 'fires only in replica sessions'
    else 'is disabled'
  end || case when trigger.tgisinternal then ' (it enforces a foreign key)' else '' end,
  pg_catalog.format(
    'alter table %s enable trigger %I', trigger.tgrelid::regclass, trigger.tgname
  )
from pg_catalog.pg_trigger as trigger
inner join pg_catalog.pg_class as class on class.oid = trigger.tgrelid
where class.relnamespace::regnamespace::text in ('app', 'api', 'ops')
  and trigger.tgenabled in ('D', 'R')
union all
select
  'error',
  case
    when setting.setrole = 0 then 'the database'
    else pg_catalog.format('role %s', setting.setrole::regrole)
  end,
  'sets session_replication_role: no trigger fires in its sessions',
  'alter role … or alter database … reset session_replication_role'
from pg_catalog.pg_db_role_setting as setting
cross join pg_catalog.unnest(setting.setconfig) as entry (text)
where entry.text ~* '^session_replication_role=(?!origin)'
  and (
    setting.setdatabase = 0
    or setting.setdatabase = (
      select database.oid
      from pg_catalog.pg_database as database
      where database.datname = pg_catalog.current_database()
    )
  )
order by object, what
