-- An object in schema public, or a client role that may create one
-- sessionbase has no object in public. An object there belongs to another application, or was
-- created by hand and not dropped. Members of extensions are not reported. A client role
-- that may create objects in public could create one that other sessions find in their search_path.
with member (classid, oid) as (
  select depend.classid, depend.objid
  from pg_catalog.pg_depend as depend
  where depend.deptype = 'e'
),

found (classid, oid) as (
  select 'pg_catalog.pg_class'::regclass, class.oid
  from pg_catalog.pg_class as class
  where class.relnamespace::regnamespace::text = 'public'
    and class.relkind in ('r', 'p', 'v', 'm', 'f', 'S', 'c')
  union all
  select 'pg_catalog.pg_proc'::regclass, routine.oid
  from pg_catalog.pg_proc as routine
  where routine.pronamespace::regnamespace::text = 'public'
  union all
  select 'pg_catalog.pg_type'::regclass, type.oid
  from pg_catalog.pg_type as type
  where type.typnamespace::regnamespace::text = 'public'
    and type.typtype in ('e', 'd', 'r')
)

select
  'warning' as level,
  pg_catalog.pg_describe_object(found.classid, found.oid, 0) as object,
  'is in public' as what,
  'move it to a schema of its own, or drop it' as remediation
from found
where (found.classid, found.oid) not in (select member.classid, member.oid from member)
union all
select
  'error',
  'schema public',
  pg_catalog.format('%s may create objects in it', role.rolname),
  'revoke create on schema public from public, and from that role'
from pg_catalog.pg_roles as role
inner join pg_catalog.pg_namespace as namespace on namespace.nspname = 'public'
where role.rolname in (
  select ours.name
  from pg_catalog.jsonb_to_recordset(
    pg_catalog.current_setting('sessionbase.authority')::jsonb -> 'roles'
  ) as ours (name text, is_owner boolean)
  where not ours.is_owner
)
and pg_catalog.has_schema_privilege(role.oid, namespace.oid, 'create')
order by object, what
