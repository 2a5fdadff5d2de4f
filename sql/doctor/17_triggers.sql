-- A trigger that is missing or disabled
-- Triggers refuse illegal transitions, write the logs, chain the decisions and keep the audit tables
-- append-only. A trigger that was disabled for a repair is disabled for every session until it is
-- enabled again. session_replication_role = replica, set for a role or for the database, disables
-- all triggers in its sessions. sql/authority.json lists the triggers that must exist.
with needed as (
  select listed.table_name, listed.trigger_name
  from pg_catalog.jsonb_to_recordset(
    pg_catalog.current_setting('sessionbase.authority')::jsonb -> 'triggers'
  ) as listed (table_name text, trigger_name text)
)

select
  'error' as level,
  pg_catalog.format('trigger %I on %s', needed.trigger_name, needed.table_name) as object,
  'is missing' as what,
  pg_catalog.format(
    'as sessionbase_owner, run the statement of sql/ again that creates the trigger %s on %s',
    needed.trigger_name, needed.table_name
  ) as remediation
from needed
where not exists (
  select
  from pg_catalog.pg_trigger as trigger
  -- Compared as text: a cast to regclass would need USAGE on the schema.
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
