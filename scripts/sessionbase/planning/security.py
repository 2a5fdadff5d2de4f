"""Who may do what in a database, in sentences: what a migration changes is their difference."""

from dataclasses import dataclass
from typing import Any

import psycopg

Connection = psycopg.Connection[Any]

_SCHEMAS = "('app', 'api', 'ops')"

# Each query returns an object and a sentence about it. A null ACL is the built-in default.
_QUERIES = (
    # Schemas
    f"""
select 'schema ' || n.nspname,
       case when x.grantee = 0 then 'PUBLIC' else x.grantee::regrole::text end
       || ' may ' || x.privilege_type || case when x.is_grantable then ' and grant it' else '' end
  from pg_catalog.pg_namespace n
  cross join pg_catalog.aclexplode(
    coalesce(n.nspacl, pg_catalog.acldefault('n', n.nspowner))) x
 where n.nspname in {_SCHEMAS} and x.grantee <> n.nspowner
""",
    # Tables, views and sequences
    f"""
select k.kind || ' ' || c.oid::regclass::text,
       case when x.grantee = 0 then 'PUBLIC' else x.grantee::regrole::text end
       || ' may ' || x.privilege_type || case when x.is_grantable then ' and grant it' else '' end
  from pg_catalog.pg_class c
  cross join lateral (
    select case c.relkind when 'v' then 'view' when 'm' then 'materialized view'
           when 'S' then 'sequence' else 'table' end as kind) k
  cross join pg_catalog.aclexplode(
    coalesce(c.relacl, pg_catalog.acldefault(
      case c.relkind when 'S' then 's' else 'r' end::"char", c.relowner))) x
 where c.relnamespace::regnamespace::text in {_SCHEMAS}
   and c.relkind in ('r', 'p', 'v', 'm', 'f', 'S') and x.grantee <> c.relowner
""",
    f"""
select case c.relkind when 'v' then 'view' when 'm' then 'materialized view'
       when 'S' then 'sequence' else 'table' end || ' ' || c.oid::regclass::text,
       s.fact
  from pg_catalog.pg_class c
  cross join lateral (
    values ('its owner is ' || c.relowner::regrole::text),
           (case when c.relrowsecurity then 'row-level security is enabled'
                 when c.relkind in ('r', 'p') then 'row-level security is not enabled' end),
           (case when c.relforcerowsecurity then 'row-level security applies to the owner too' end),
           (case when c.relkind = 'v' then
             case when 'security_invoker=true' = any(c.reloptions)
                    or 'security_invoker=on' = any(c.reloptions)
                  then 'reads its tables with the rights of the caller (security_invoker)'
                  else 'reads its tables with the rights of its owner' end end)
  ) s (fact)
 where c.relnamespace::regnamespace::text in {_SCHEMAS}
   and c.relkind in ('r', 'p', 'v', 'm', 'f', 'S') and s.fact is not null
""",
    # Columns
    f"""
select 'column ' || c.oid::regclass::text || '.' || a.attname,
       case when x.grantee = 0 then 'PUBLIC' else x.grantee::regrole::text end
       || ' may ' || x.privilege_type || case when x.is_grantable then ' and grant it' else '' end
  from pg_catalog.pg_class c
  join pg_catalog.pg_attribute a on a.attrelid = c.oid and not a.attisdropped
  cross join pg_catalog.aclexplode(a.attacl) x
 where c.relnamespace::regnamespace::text in {_SCHEMAS} and x.grantee <> c.relowner
""",
    # Policies
    f"""
select 'policy ' || p.polname || ' on ' || p.polrelid::regclass::text,
       case when p.polpermissive then 'permissive' else 'restrictive' end || ' for '
       || case p.polcmd when 'r' then 'SELECT' when 'a' then 'INSERT' when 'w' then 'UPDATE'
          when 'd' then 'DELETE' else 'ALL' end
       || ' to ' || (
         select pg_catalog.string_agg(
                  case when r.oid = 0 then 'PUBLIC' else r.oid::regrole::text end, ', '
                  order by r.oid)
           from pg_catalog.unnest(p.polroles) r (oid))
       || coalesce(' using ' || pg_catalog.pg_get_expr(p.polqual, p.polrelid), '')
       || coalesce(' with check ' || pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid), '')
  from pg_catalog.pg_policy p join pg_catalog.pg_class c on c.oid = p.polrelid
 where c.relnamespace::regnamespace::text in {_SCHEMAS}
""",
    # Functions
    f"""
select 'function ' || p.oid::regprocedure::text,
       case when x.grantee = 0 then 'PUBLIC' else x.grantee::regrole::text end
       || ' may ' || x.privilege_type || case when x.is_grantable then ' and grant it' else '' end
  from pg_catalog.pg_proc p
  cross join pg_catalog.aclexplode(
    coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner))) x
 where p.pronamespace::regnamespace::text in {_SCHEMAS} and x.grantee <> p.proowner
""",
    f"""
select 'function ' || p.oid::regprocedure::text, s.fact
  from pg_catalog.pg_proc p
  cross join lateral (
    values ('its owner is ' || p.proowner::regrole::text),
           (case when p.prosecdef then 'runs with the rights of its owner (security definer)'
                 else 'runs with the rights of the caller (security invoker)' end),
           (coalesce((
             select 'is run with ' || one from pg_catalog.unnest(p.proconfig) c (one)
              where one like 'search_path=%'), 'has the search_path of the caller')),
           (case when p.proleakproof then 'counts as leakproof' end)
  ) s (fact)
 where p.pronamespace::regnamespace::text in {_SCHEMAS} and s.fact is not null
""",
    # Default privileges
    """
select 'default privileges of ' || d.defaclrole::regrole::text
       || coalesce(' in schema ' || n.nspname, ''),
       case when x.grantee = 0 then 'PUBLIC' else x.grantee::regrole::text end
       || ' may ' || x.privilege_type || ' on new '
       || case d.defaclobjtype when 'r' then 'tables' when 'S' then 'sequences'
          when 'f' then 'functions' when 'T' then 'types' when 'n' then 'schemas'
          else 'objects' end
  from pg_catalog.pg_default_acl d
  left join pg_catalog.pg_namespace n on n.oid = d.defaclnamespace
  cross join pg_catalog.aclexplode(d.defaclacl) x
""",
    # Role memberships
    """
select 'role ' || m.member::regrole::text, 'is a member of ' || m.roleid::regrole::text
  from pg_catalog.pg_auth_members m
""",
)

Facts = frozenset[tuple[str, str]]


@dataclass(frozen=True)
class Change:
    """A sentence about an object that is true only before (`removed`) or only after (`added`)."""

    object: str
    change: str
    fact: str


def read_facts(conn: Connection) -> Facts:
    """Return the sentences about the schemas app, api and ops: (object, fact)."""
    facts: set[tuple[str, str]] = set()
    with conn.transaction():
        conn.execute("set local search_path = ''")
        for query in _QUERIES:
            facts |= {(str(row[0]), str(row[1])) for row in conn.execute(query.encode()).fetchall()}
    return frozenset(facts)


def changes(before: Facts, after: Facts) -> list[Change]:
    """Return the difference, by object; what is gone comes before what is new."""
    gone = [Change(name, "removed", fact) for name, fact in before - after]
    new = [Change(name, "added", fact) for name, fact in after - before]
    order = {"removed": 0, "added": 1}
    return sorted(gone + new, key=lambda one: (one.object, order[one.change], one.fact))
