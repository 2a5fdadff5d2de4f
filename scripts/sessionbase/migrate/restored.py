"""What applying the repeatable files again changed in the schemas api and app."""

from sessionbase.migrate.ledger import Connection

Definitions = dict[str, dict[str, str]]
"""For each object, named as PostgreSQL writes it, its properties and their values."""

# Grants are sorted, because `revoke` and `grant` change their order.
_DEFINITIONS = """
select p.oid::regprocedure::text,
       jsonb_build_object(
         'definition', case when p.prokind in ('f', 'p') then pg_get_functiondef(p.oid) else '' end,
         'grants', coalesce((select string_agg(a::text, ' ' order by a::text)
           from unnest(coalesce(p.proacl, acldefault('f', p.proowner))) a), ''),
         'comment', coalesce(obj_description(p.oid, 'pg_proc'), ''))
  from pg_proc p
 where p.pronamespace in (to_regnamespace('app'), to_regnamespace('api'))
   and not exists (select from pg_depend d
     where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype in ('e', 'i'))
union all
select c.oid::regclass::text,
       jsonb_build_object(
         'definition', pg_get_viewdef(c.oid) || coalesce(c.reloptions::text, ''),
         'grants', coalesce((select string_agg(a::text, ' ' order by a::text)
             from unnest(coalesce(c.relacl, acldefault('r', c.relowner))) a), '')
           || coalesce((select string_agg(t.attname || t.attacl::text, ' ' order by t.attnum)
             from pg_attribute t where t.attrelid = c.oid and cardinality(t.attacl) > 0), ''),
         'comment', coalesce((select string_agg(d.objsubid || ' ' || d.description, chr(10)
             order by d.objsubid) from pg_description d
           where d.classoid = 'pg_class'::regclass and d.objoid = c.oid), ''))
  from pg_class c where c.relnamespace = to_regnamespace('api') and c.relkind = 'v'
union all
select quote_ident(t.tgname) || ' on ' || c.oid::regclass::text,
       jsonb_build_object(
         'definition', pg_get_triggerdef(t.oid) || t.tgenabled::text,
         'comment', coalesce(obj_description(t.oid, 'pg_trigger'), ''))
  from pg_trigger t join pg_class c on c.oid = t.tgrelid
 where c.relnamespace = to_regnamespace('api') and c.relkind = 'v'
union all
select 'schema api',
       jsonb_build_object(
         'grants', coalesce((select string_agg(a::text, ' ' order by a::text)
           from unnest(n.nspacl) a), ''),
         'comment', coalesce(obj_description(n.oid, 'pg_namespace'), ''))
  from pg_namespace n where n.nspname = 'api'
"""


def read_definitions(conn: Connection) -> Definitions:
    """Return the objects that the repeatable files define. Reads only."""
    return {str(name): dict(properties) for name, properties in conn.execute(_DEFINITIONS)}


def restored(before: Definitions, after: Definitions) -> list[str]:
    """Return what changed, each as `api.todos: grants, comment`, in the order of the names."""
    found = []
    for name in sorted(before.keys() | after.keys()):
        if name not in after:
            found.append(f"{name}: dropped")
        elif name not in before:
            found.append(f"{name}: created")
        else:
            changed = before[name].items() ^ after[name].items()
            what = sorted({key for key, _ in changed})
            if what:
                found.append(f"{name}: {', '.join(what)}")
    return found
