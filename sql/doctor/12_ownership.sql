-- An object that belongs to the wrong role
-- Row-level security does not apply to the owner of a table, and a SECURITY DEFINER function runs as
-- its owner. So everything in app, api and ops belongs to sessionbase_owner, which has no login, and
-- the client roles own no object in the database.
with owned as (
  select 'pg_catalog.pg_class'::regclass as classid, class.oid, class.relowner as owner
  from pg_catalog.pg_class as class
  where class.relnamespace::regnamespace::text in ('app', 'api', 'ops')
    and class.relkind in ('r', 'p', 'v', 'm', 'f', 'S')
  union all
  select 'pg_catalog.pg_proc'::regclass, routine.oid, routine.proowner
  from pg_catalog.pg_proc as routine
  where routine.pronamespace::regnamespace::text in ('app', 'api', 'ops')
  union all
  select 'pg_catalog.pg_namespace'::regclass, namespace.oid, namespace.nspowner
  from pg_catalog.pg_namespace as namespace
  where namespace.nspname in ('app', 'api', 'ops')
),

wrong as (
  select owned.classid, owned.oid, owned.owner
  from owned
  where owned.owner::regrole::text <> 'sessionbase_owner'
  union
  select shared.classid, shared.objid, shared.refobjid
  from pg_catalog.pg_shdepend as shared
  inner join pg_catalog.pg_roles as role on role.oid = shared.refobjid
  where shared.deptype = 'o'
    and shared.refclassid = 'pg_catalog.pg_authid'::regclass
    and shared.dbid = (
      select database.oid
      from pg_catalog.pg_database as database
      where database.datname = pg_catalog.current_database()
    )
    and role.rolname in (
      select ours.name
      from pg_catalog.jsonb_to_recordset(
        pg_catalog.current_setting('sessionbase.authority')::jsonb -> 'roles'
      ) as ours (name text, is_owner boolean)
      where not ours.is_owner
    )
)

select
  'error' as level,
  pg_catalog.pg_describe_object(wrong.classid, wrong.oid, 0) as object,
  pg_catalog.format('belongs to %s', wrong.owner::regrole) as what,
  'alter … owner to sessionbase_owner' as remediation
from wrong
order by object
