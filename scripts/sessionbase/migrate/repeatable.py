"""Apply the repeatable files, which define schema api and the functions of schema app.

All files are applied in one transaction. Functions and views are replaced in place, so that a
client that calls one at that time gets the old or the new one, and no error. What PostgreSQL cannot
replace (a view that loses a column, a function with another return type) is dropped and created
again: in schema api together with the objects that depend on it; in schema app only if nothing
depends on it.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import psycopg
from psycopg import sql

from sessionbase.errors import SessionbaseError
from sessionbase.migrate.checks import (
    ParsedFile,
    RepeatableFiles,
    created_routine,
    created_trigger,
    created_view,
)
from sessionbase.migrate.execute import StatementFailed, apply_session_settings, run_statements
from sessionbase.migrate.files import SqlFolder, Statement
from sessionbase.migrate.functions import create_missing, find_routine
from sessionbase.migrate.ledger import Connection, record_repeatable_files

# The errors of a `create or replace` that can't be done in place: invalid_table_definition,
# invalid_function_definition, wrong_object_type (a function that becomes a procedure).
_NOT_IN_PLACE = {"42P16", "42P13", "42809"}

# The objects of schema api that files can define, and standalone types, which files can't define.
# `drop KIND IDENTITY` is valid SQL for each.
_API_OBJECTS = """
select 'pg_proc'::regclass::oid as classid, p.oid, 'routine' as kind,
       p.oid::regprocedure::text as identity
  from pg_proc p where p.pronamespace = to_regnamespace('api')
union all
select 'pg_class'::regclass, c.oid, 'view', c.oid::regclass::text
  from pg_class c where c.relnamespace = to_regnamespace('api') and c.relkind = 'v'
union all
select 'pg_trigger'::regclass, t.oid, 'trigger',
       quote_ident(t.tgname) || ' on ' || c.oid::regclass::text
  from pg_trigger t join pg_class c on c.oid = t.tgrelid
 where c.relnamespace = to_regnamespace('api') and c.relkind = 'v'
union all
select 'pg_type'::regclass, t.oid, 'type', t.oid::regtype::text
  from pg_type t left join pg_class c on c.oid = t.typrelid
 where t.typnamespace = to_regnamespace('api') and t.typcategory <> 'A'
   and t.typtype in ('c', 'd', 'e', 'r') and coalesce(c.relkind, 'c') = 'c'
"""

# The functions of schema app that files define: not those of migrations (by name), of an extension
# (deptype e) or of a range type (deptype i), and no aggregates.
_APP_FUNCTIONS = """
select 'pg_proc'::regclass::oid, p.oid, 'routine', p.oid::regprocedure::text
  from pg_proc p
 where p.pronamespace = to_regnamespace('app') and p.prokind in ('f', 'p')
   and p.proname <> all (%s)
   and not exists (
     select from pg_depend d where d.classid = 'pg_proc'::regclass and d.objid = p.oid
        and d.deptype in ('e', 'i')
   )
"""

# What depends on a function directly. For a view, pg_depend has its rule; shown is the view.
_USERS = """
select distinct case when r.oid is null then pg_describe_object(d.classid, d.objid, d.objsubid)
       else pg_describe_object('pg_class'::regclass, r.ev_class, 0) end
  from pg_depend d left join pg_rewrite r on d.classid = 'pg_rewrite'::regclass and r.oid = d.objid
 where d.refclassid = 'pg_proc'::regclass and d.refobjid = %s
 order by 1
"""

# Everything that a `drop … cascade` of the given objects would drop too. An internal dependency
# counts in both directions: the rule of a view is a part of the view. A trigger has no schema; it
# counts as in that of its view or table.
_DEPENDENTS = """
with recursive hit (classid, objid) as (
  select * from unnest(%(classids)s::oid[], %(oids)s::oid[])
  union
  select found.* from hit cross join lateral (
    select d.classid, d.objid from pg_depend d
     where d.refclassid = hit.classid and d.refobjid = hit.objid and d.deptype in ('n', 'a', 'i')
    union all
    select d.refclassid, d.refobjid from pg_depend d
     where d.classid = hit.classid and d.objid = hit.objid and d.deptype = 'i'
  ) found
)
select hit.classid, hit.objid, coalesce(o.schema, c.relnamespace::regnamespace::text),
       o.type, o.identity
  from hit cross join lateral pg_identify_object(hit.classid, hit.objid, 0) o
  left join pg_trigger t on hit.classid = 'pg_trigger'::regclass and t.oid = hit.objid
  left join pg_class c on c.oid = t.tgrelid
"""

# Functions whose bodies call a function of schema app that does not exist any more. PostgreSQL
# records no dependency for a call in a body.
_CALLERS = """
select caller.oid::regprocedure::text, dropped.name
  from unnest(%s::text[]) dropped (name)
  join pg_proc caller on caller.pronamespace in (to_regnamespace('app'), to_regnamespace('api'))
   and caller.prosrc ~ ('\\mapp\\.' || dropped.name || '\\s*\\(')
 where not exists (
   select from pg_proc f
    where f.pronamespace = to_regnamespace('app') and f.proname = dropped.name
 )
 order by 1, 2
"""

_GRANTS = """
select distinct 'table' as kind, c.oid::regclass::text as identity, a.grantee
  from pg_class c cross join lateral aclexplode(c.relacl) a
 where c.relnamespace = to_regnamespace('api') and a.grantee <> c.relowner
union
select 'table', c.oid::regclass::text, a.grantee
  from pg_class c join pg_attribute t on t.attrelid = c.oid
 cross join lateral aclexplode(t.attacl) a
 where c.relnamespace = to_regnamespace('api') and a.grantee <> c.relowner
union
select 'routine', p.oid::regprocedure::text, a.grantee
  from pg_proc p
 cross join lateral aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
 where p.oid = any (%(routines)s) and a.grantee <> p.proowner
union
select 'schema', n.nspname, a.grantee
  from pg_namespace n cross join lateral aclexplode(n.nspacl) a
 where n.nspname = 'api' and a.grantee <> n.nspowner
"""

_COMMENTS = """
select 'routine' as kind, p.oid::regprocedure::text as identity
  from pg_proc p join pg_description d on d.classoid = 'pg_proc'::regclass and d.objoid = p.oid
 where p.oid = any (%(routines)s)
union all
select case when d.objsubid = 0 then 'view' else 'column' end,
       c.oid::regclass::text || coalesce('.' || quote_ident(t.attname), '')
  from pg_class c join pg_description d on d.classoid = 'pg_class'::regclass and d.objoid = c.oid
  left join pg_attribute t on t.attrelid = c.oid and t.attnum = d.objsubid and d.objsubid > 0
 where c.relnamespace = to_regnamespace('api') and c.relkind = 'v'
union all
select 'trigger', quote_ident(t.tgname) || ' on ' || c.oid::regclass::text
  from pg_trigger t join pg_class c on c.oid = t.tgrelid
  join pg_description d on d.classoid = 'pg_trigger'::regclass and d.objoid = t.oid
 where c.relnamespace = to_regnamespace('api') and c.relkind = 'v'
"""


@dataclass(frozen=True)
class DatabaseObject:
    """A view, trigger, function or standalone type of api, or a function of app."""

    classid: int
    oid: int
    kind: str
    identity: str


@dataclass
class RepeatableReport:
    """What changed in the schemas api and app; objects are named as PostgreSQL writes them."""

    files: list[str] = field(default_factory=list)
    created: list[str] = field(default_factory=list)
    recreated: list[str] = field(default_factory=list)
    """Could not be replaced in place: dropped and created again in the same transaction."""
    dropped: list[str] = field(default_factory=list)


def _api_objects(conn: Connection) -> list[DatabaseObject]:
    return [DatabaseObject(*row) for row in conn.execute(_API_OBJECTS).fetchall()]


def _app_functions(conn: Connection, in_migrations: list[str]) -> list[DatabaseObject]:
    rows = conn.execute(_APP_FUNCTIONS, (in_migrations,)).fetchall()
    return [DatabaseObject(*row) for row in rows]


def _all_objects(conn: Connection, files: RepeatableFiles) -> list[DatabaseObject]:
    return _api_objects(conn) + _app_functions(conn, files.in_migrations)


def _reset_grants_and_comments(conn: Connection, objects: list[DatabaseObject]) -> None:
    """Remove every grant and comment; the files that run afterwards define them again."""
    routines = {"routines": [item.oid for item in objects if item.kind == "routine"]}
    for kind, identity, grantee in conn.execute(_GRANTS, routines).fetchall():
        role = "public"
        if grantee:
            row = conn.execute("select %s::oid::regrole::text", (grantee,)).fetchone()
            role = str(row[0]) if row else "public"
        conn.execute(f"revoke all on {kind} {identity} from {role}".encode())
    for kind, identity in conn.execute(_COMMENTS, routines).fetchall():
        conn.execute(f"comment on {kind} {identity} is null".encode())


def _defined_oid(conn: Connection, statement: Statement) -> int | None:
    """Return the oid of the object that a statement defines; None if there is no such object."""
    view = created_view(statement.tree)
    if view:
        name = sql.Identifier(*view).as_string()
        row = conn.execute("select to_regclass(%s)::oid", (name,)).fetchone()
        return int(row[0]) if row and row[0] else None
    trigger = created_trigger(statement.tree)
    if trigger:
        row = conn.execute(
            "select oid from pg_trigger where tgrelid = to_regclass(%s) and tgname = %s",
            (sql.Identifier(*trigger[:2]).as_string(), trigger[2]),
        ).fetchone()
        return int(row[0]) if row else None
    routine = created_routine(statement.tree)
    return find_routine(conn, routine) if routine else None


def _defined_oids(conn: Connection, files: list[ParsedFile]) -> set[int]:
    found = [_defined_oid(conn, statement) for _, statements in files for statement in statements]
    return {oid for oid in found if oid is not None}


def _dependents(conn: Connection, objects: list[DatabaseObject]) -> list[int]:
    """Return the oids of the objects and of everything that depends on them.

    Raises SessionbaseError if something outside schema api depends on them.
    """
    rows = conn.execute(
        _DEPENDENTS,
        {"classids": [o.classid for o in objects], "oids": [o.oid for o in objects]},
    ).fetchall()
    outside = [f"{row[3]} {row[4]}" for row in rows if row[2] != "api" and row[3] != "rule"]
    if outside:
        raise SessionbaseError(
            f"schema api can't be changed: {', '.join(sorted(outside))} depends on "
            f"{', '.join(o.identity for o in objects)}",
            "nothing outside schema api may use it: remove that dependency in a migration",
        )
    return [int(row[1]) for row in rows]


# app.check_request() holds this advisory lock, shared, until the end of the request. A request that
# runs while a view gets or loses a column would fail: its functions return rows of the old type.
_REQUESTS_LOCK = (int.from_bytes(b"sess", "big"), 1)


def _stop_requests(conn: Connection) -> None:
    """Wait for the end of the requests, and stop new ones until the end of the transaction.

    Must be called before the transaction locks a view, and as late as possible: a request that has
    the advisory lock could wait for the view, which would be a deadlock, and all requests wait.
    """
    conn.execute("select pg_advisory_xact_lock(%s, %s)", _REQUESTS_LOCK)


def _drop_in_api(conn: Connection, objects: list[DatabaseObject]) -> None:
    """Drop objects of schema api and what depends on them, all of it in schema api."""
    if not objects:
        return
    _stop_requests(conn)
    _dependents(conn, objects)
    for item in objects:
        found = conn.execute(
            "select from pg_depend where classid = %s and objid = %s limit 1",
            (item.classid, item.oid),
        ).fetchone()
        if found is not None:  # not dropped yet by the cascade of an earlier one
            conn.execute(f"drop {item.kind} {item.identity} cascade".encode())


def _users(conn: Connection, function: DatabaseObject) -> list[str]:
    """Return what depends on a function, as PostgreSQL describes it."""
    return [str(row[0]) for row in conn.execute(_USERS, (function.oid,)).fetchall()]


def _drop_stale_in_api(conn: Connection, files: list[ParsedFile], *, before: bool) -> None:
    """Drop what no file of api/ defines.

    `before` the files run, this drops only what no remaining object depends on: an old overload
    would make `comment on function api.f` ambiguous. The rest is dropped after the files ran.
    """
    defined = _defined_oids(conn, files)
    objects = _api_objects(conn)
    remaining = {item.oid: item.identity for item in objects if item.oid in defined}
    stale = []
    for item in objects:
        if item.oid in remaining:
            continue
        user = next((remaining[o] for o in _dependents(conn, [item]) if o in remaining), None)
        if user is None:
            stale.append(item)
        elif not before:
            raise SessionbaseError(
                f"no file in api/ defines {item.identity}, and {user} uses it",
                "define it in a file, or remove the use",
            )
    _drop_in_api(conn, stale)


def _drop_stale_in_app(conn: Connection, files: RepeatableFiles, *, before: bool) -> None:
    """Drop the functions of schema app that no file defines and that nothing depends on.

    `before` the files run, functions that are in use stay; the files may remove the use. After
    that, a function that is still in use is a SessionbaseError.
    """
    defined = _defined_oids(conn, files.app)
    stale = [item for item in _app_functions(conn, files.in_migrations) if item.oid not in defined]
    while stale:
        unused = [item for item in stale if not _users(conn, item)]
        for item in unused:
            conn.execute(f"drop {item.kind} {item.identity}".encode())
        stale = [item for item in stale if item not in unused]
        if stale and not unused:
            if before:
                return
            raise SessionbaseError(
                f"no file in app/ defines {stale[0].identity}, and "
                f"{', '.join(_users(conn, stale[0]))} depends on it",
                "remove that use in a migration first, or keep the function in its file",
            )


def _require_no_callers(conn: Connection, dropped: list[str]) -> None:
    """Raise a SessionbaseError if a body still calls a function of schema app that was dropped.

    `dropped` are identities, as PostgreSQL writes them.
    """
    names = [name.removeprefix("app.").split("(")[0] for name in dropped if name.startswith("app.")]
    row = conn.execute(_CALLERS, (names,)).fetchone()
    if row:
        raise SessionbaseError(
            f"no file in app/ defines app.{row[1]}, and the body of {row[0]} calls it",
            "remove that call, or keep the function in its file",
        )


def _drop_blocking(conn: Connection, files: RepeatableFiles, failure: StatementFailed) -> None:
    """Drop the object that, by `failure`, can't be replaced in place.

    Raises the failure again if there is no such object, and a SessionbaseError if it is a function
    of schema app that something depends on.
    """
    oid = _defined_oid(conn, failure.statement)
    in_api = [item for item in _api_objects(conn) if item.oid == oid]
    in_app = [item for item in _app_functions(conn, files.in_migrations) if item.oid == oid]
    if in_api:
        _drop_in_api(conn, in_api)
    elif in_app:
        users = _users(conn, in_app[0])
        if users:
            raise SessionbaseError(
                f"{failure.message}; {in_app[0].identity} can't be replaced in place, and "
                f"{', '.join(users)} depends on it",
                "define the new function under another name, change the use in a migration, and "
                "remove the old function later",
            ) from failure
        conn.execute(f"drop {in_app[0].kind} {in_app[0].identity}".encode())
    else:
        raise failure


# A change of the owner to the same one changes nothing, and locks the view as its replacement does.
# LOCK TABLE would lock the tables of the view too. A client that has a lock on a later view and
# waits for an earlier one is in a deadlock with this transaction. So all views are locked at once,
# within about a millisecond, and not one after the other between the other statements.
_LOCK_VIEWS = """
do $$
declare
  item regclass;
begin
  for item in
    select c.oid from pg_catalog.pg_class c
     where c.relnamespace = pg_catalog.to_regnamespace('api') and c.relkind = 'v'
       and c.relowner = current_user::regrole
     order by c.oid
  loop
    execute pg_catalog.format('alter view %s owner to current_user', item);
  end loop;
end $$
"""
# Each deadlock is found after 20 ms (see locks.py), so all of them are not longer than a try.
_LOCK_VIEWS_TRIES = 8


def _lock_views(conn: Connection) -> None:
    """Lock all views of api; after a deadlock release them and lock them again.

    That is much faster than another try with all files.
    """
    for number in range(1, _LOCK_VIEWS_TRIES + 1):
        try:
            with conn.transaction():
                conn.execute(_LOCK_VIEWS.encode())
            return
        except psycopg.errors.DeadlockDetected:
            if number == _LOCK_VIEWS_TRIES:
                raise
        time.sleep(random.uniform(0.005, 0.03))  # noqa: S311 - no secret


def _run_files(conn: Connection, files: RepeatableFiles) -> None:
    """Run the files. If an object can't be replaced in place, drop it and run all files again."""
    while True:
        try:
            with conn.transaction():
                for file, statements in files.app:
                    run_statements(conn, file, statements)
                _stop_requests(conn)
                _lock_views(conn)
                for file, statements in files.api:
                    run_statements(conn, file, statements)
                return
        except StatementFailed as failure:
            if failure.sqlstate not in _NOT_IN_PLACE:
                raise
            _drop_blocking(conn, files, failure)


def _apply(conn: Connection, files: RepeatableFiles, created: frozenset[int]) -> RepeatableReport:
    if conn.execute("select to_regnamespace('api')").fetchone() == (None,):
        conn.execute("create schema api")
    objects = _all_objects(conn, files)
    old = {item.identity: item.oid for item in objects if item.oid not in created}
    _reset_grants_and_comments(conn, objects)
    _drop_stale_in_api(conn, files.api, before=True)
    _drop_stale_in_app(conn, files, before=True)
    create_missing(conn, files.app)
    _run_files(conn, files)
    _drop_stale_in_api(conn, files.api, before=False)
    _drop_stale_in_app(conn, files, before=False)
    new = {item.identity: item.oid for item in _all_objects(conn, files)}
    dropped = sorted(old.keys() - new.keys())
    _require_no_callers(conn, dropped)
    conn.execute("select pg_notify('pgrst', 'reload schema')")
    return RepeatableReport(
        files=[file.label for file, _ in files.app + files.api],
        created=sorted(new.keys() - old.keys()),
        recreated=sorted(name for name in new.keys() & old.keys() if new[name] != old[name]),
        dropped=dropped,
    )


def apply_repeatable(
    conn: Connection,
    files: RepeatableFiles,
    folder: SqlFolder,
    lock_timeout_ms: int,
    created: frozenset[int] = frozenset(),
    *,
    verify: Callable[[], None] = lambda: None,
) -> RepeatableReport:
    """Apply the files of app/ and api/ and record them in the ledger, in one transaction.

    This is one try (see locks.py): replacing a view blocks its readers until the commit.
    `lock_timeout_ms` (milliseconds) is how long it waits for each lock. `created` has the oids of
    the functions that this run created for its migrations. `verify` is called before the commit.
    Raises StatementFailed when a statement fails; then both schemas are as before.
    """
    with conn.transaction():
        apply_session_settings(conn, lock_timeout_ms)
        report = _apply(conn, files, created)
        verify()
        record_repeatable_files(conn, folder)
        return report
