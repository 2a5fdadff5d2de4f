"""Schema api: brought to what the files in sql/api say, in one transaction, under load.

Objects are replaced in place, so that a client who calls one meanwhile sees the old or the new one
and never none. Only what PostgreSQL cannot replace (a view that loses a column, a function that
returns another type or renames a parameter) is dropped with its dependents and made again.
"""

import time
from dataclasses import dataclass, field

import psycopg
from pglast import ast
from pglast.enums import FunctionParameterMode
from pglast.stream import RawStream
from psycopg import sql

from sessionbase.errors import SessionbaseError
from sessionbase.migrate.execute import StatementFailed, apply_session_settings, run_statements
from sessionbase.migrate.files import SqlFile, SqlFolder, Statement, defined_in_api
from sessionbase.migrate.ledger import Connection, record_api_files

# PostgreSQL's answers to a `create or replace` that it can't do in place: invalid_table_definition,
# invalid_function_definition, wrong_object_type (a function that becomes a procedure).
_NOT_IN_PLACE = {"42P16", "42P13", "42809"}

# The objects of schema api that files can define, and standalone types, which none can.
_OBJECTS = """
select 'pg_proc'::regclass::oid as classid, p.oid, 'routine' as kind,
       p.oid::regprocedure::text as identity, p.proname as name
  from pg_proc p where p.pronamespace = to_regnamespace('api')
union all
select 'pg_class'::regclass, c.oid, 'view', c.oid::regclass::text, c.relname
  from pg_class c where c.relnamespace = to_regnamespace('api') and c.relkind = 'v'
union all
select 'pg_type'::regclass, t.oid, 'type', t.oid::regtype::text, t.typname
  from pg_type t left join pg_class c on c.oid = t.typrelid
 where t.typnamespace = to_regnamespace('api') and t.typcategory <> 'A'
   and t.typtype in ('c', 'd', 'e', 'r') and coalesce(c.relkind, 'c') = 'c'
"""

# Everything that a `drop … cascade` of the given objects would take along. An internal dependency
# counts both ways: the rule of a view stands for the view.
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
select hit.classid, hit.objid, o.schema, o.type, o.identity
  from hit cross join lateral pg_identify_object(hit.classid, hit.objid, 0) o
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
 where p.pronamespace = to_regnamespace('api') and a.grantee <> p.proowner
union
select 'schema', n.nspname, a.grantee
  from pg_namespace n cross join lateral aclexplode(n.nspacl) a
 where n.nspname = 'api' and a.grantee <> n.nspowner
"""

_COMMENTS = """
select 'routine' as kind, p.oid::regprocedure::text as identity
  from pg_proc p join pg_description d on d.classoid = 'pg_proc'::regclass and d.objoid = p.oid
 where p.pronamespace = to_regnamespace('api')
union all
select case when d.objsubid = 0 then 'view' else 'column' end,
       c.oid::regclass::text || coalesce('.' || quote_ident(t.attname), '')
  from pg_class c join pg_description d on d.classoid = 'pg_class'::regclass and d.objoid = c.oid
  left join pg_attribute t on t.attrelid = c.oid and t.attnum = d.objsubid and d.objsubid > 0
 where c.relnamespace = to_regnamespace('api') and c.relkind = 'v'
"""


@dataclass(frozen=True)
class ApiObject:
    """A view, routine or standalone type of schema api."""

    classid: int
    oid: int
    kind: str
    identity: str
    name: str


@dataclass
class ApiReport:
    """What became of schema api; objects are named as PostgreSQL writes them."""

    files: list[str] = field(default_factory=list)
    created: list[str] = field(default_factory=list)
    recreated: list[str] = field(default_factory=list)
    """Could not be replaced in place: dropped and made again in the same transaction."""
    dropped: list[str] = field(default_factory=list)


def _objects(conn: Connection) -> list[ApiObject]:
    return [ApiObject(*row) for row in conn.execute(_OBJECTS).fetchall()]


def _forget_grants_and_comments(conn: Connection) -> None:
    """Take back every grant and comment, so that the files alone say them."""
    for kind, identity, grantee in conn.execute(_GRANTS).fetchall():
        whom = "public"
        if grantee:
            row = conn.execute("select %s::oid::regrole::text", (grantee,)).fetchone()
            whom = str(row[0]) if row else "public"
        conn.execute(f"revoke all on {kind} {identity} from {whom}".encode())
    for kind, identity in conn.execute(_COMMENTS).fetchall():
        conn.execute(f"comment on {kind} {identity} is null".encode())


def _signature(name: str, tree: ast.CreateFunctionStmt) -> str:
    inputs = [
        RawStream()(parameter.argType)
        for parameter in tree.parameters or ()
        if parameter.mode
        not in (FunctionParameterMode.FUNC_PARAM_OUT, FunctionParameterMode.FUNC_PARAM_TABLE)
    ]
    return f"{name}({', '.join(inputs)})"


def _defined_oids(conn: Connection, statements: list[Statement]) -> set[int]:
    """Return the oids of what the statements define, as far as it exists by now."""
    oids: set[int] = set()
    for statement in statements:
        defined = defined_in_api(statement.tree)
        if defined is None:
            continue
        name = sql.Identifier("api", defined[1]).as_string()
        if isinstance(statement.tree, ast.CreateFunctionStmt):
            signature = _signature(name, statement.tree)
            row = conn.execute("select to_regprocedure(%s)::oid", (signature,)).fetchone()
        else:
            row = conn.execute("select to_regclass(%s)::oid", (name,)).fetchone()
        if row and row[0]:
            oids.add(int(row[0]))
    return oids


def _dependents(conn: Connection, objects: list[ApiObject]) -> list[int]:
    """Return the oids of the objects and of all that leans on them.

    Raises SessionbaseError where that reaches out of schema api.
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
            "nothing outside schema api may use it: drop that dependency in a migration",
        )
    return [int(row[1]) for row in rows]


def _drop(conn: Connection, objects: list[ApiObject]) -> None:
    """Drop the objects and their dependents, all of them in schema api."""
    _dependents(conn, objects)
    for item in objects:
        found = conn.execute(
            "select from pg_depend where classid = %s and objid = %s limit 1",
            (item.classid, item.oid),
        ).fetchone()
        if found is not None:  # else an earlier cascade took it
            conn.execute(f"drop {item.kind} {item.identity} cascade".encode())


def _drop_stale(conn: Connection, statements: list[Statement], *, early: bool) -> None:
    """Drop what no file defines.

    `early`, before the files run, only what nothing else leans on: an old overload would otherwise
    make `comment on function api.f` ambiguous. The rest goes when the files have run.
    """
    defined = _defined_oids(conn, statements)
    objects = _objects(conn)
    kept = {item.oid: item.identity for item in objects if item.oid in defined}
    leaving = []
    for item in objects:
        if item.oid in kept:
            continue
        user = next((kept[oid] for oid in _dependents(conn, [item]) if oid in kept), None)
        if user is None:
            leaving.append(item)
        elif not early:
            raise SessionbaseError(
                f"no file in api/ defines {item.identity}, and {user} uses it",
                "define it in a file, or take the use out",
            )
    _drop(conn, leaving)


def _in_the_way(conn: Connection, statement: Statement) -> list[ApiObject]:
    """Return the objects that keep the statement from replacing in place."""
    defined = defined_in_api(statement.tree)
    return [item for item in _objects(conn) if (item.kind, item.name) == defined]


def _run_files(conn: Connection, files: list[tuple[SqlFile, list[Statement]]]) -> None:
    """Run the files; what can't be replaced in place is dropped, and all of them run again."""
    while True:
        try:
            with conn.transaction():
                for file, statements in files:
                    run_statements(conn, file, statements)
                return
        except StatementFailed as failure:
            if failure.sqlstate not in _NOT_IN_PLACE:
                raise
            blocking = _in_the_way(conn, failure.statement)
            if not blocking:
                raise
            _drop(conn, blocking)


def _project(conn: Connection, files: list[tuple[SqlFile, list[Statement]]]) -> ApiReport:
    if conn.execute("select to_regnamespace('api')").fetchone() == (None,):
        conn.execute("create schema api")
    statements = [statement for _, found in files for statement in found]
    old = {item.identity: item.oid for item in _objects(conn)}
    _forget_grants_and_comments(conn)
    _drop_stale(conn, statements, early=True)
    _run_files(conn, files)
    _drop_stale(conn, statements, early=False)
    new = {item.identity: item.oid for item in _objects(conn)}
    conn.execute("select pg_notify('pgrst', 'reload schema')")
    return ApiReport(
        files=[file.label for file, _ in files],
        created=sorted(new.keys() - old.keys()),
        recreated=sorted(name for name in new.keys() & old.keys() if new[name] != old[name]),
        dropped=sorted(old.keys() - new.keys()),
    )


# Replacing a view locks its readers out until the commit, and two of them can meet a client's
# transaction in a deadlock. PostgreSQL looks for one after deadlock_timeout (1 s): giving up and
# starting over well before that means that the runner yields, and no client is ever the victim.
LOCK_RETRY_MS = 200
_PAUSE_S = 0.1


def project(
    conn: Connection,
    files: list[tuple[SqlFile, list[Statement]]],
    folder: SqlFolder,
    lock_timeout_ms: int,
) -> ApiReport:
    """Bring schema api to what the files say, and note it in the ledger, in one transaction.

    Where a lock is not to be had it starts over, for up to `lock_timeout_ms` (0: without end).
    Raises SessionbaseError, with the schema as before, when a statement fails.
    """
    deadline = time.monotonic() + lock_timeout_ms / 1000
    while True:
        try:
            with conn.transaction():
                apply_session_settings(conn, min(lock_timeout_ms, LOCK_RETRY_MS) or LOCK_RETRY_MS)
                report = _project(conn, files)
                record_api_files(conn, folder)
                return report
        except (
            StatementFailed,
            psycopg.errors.LockNotAvailable,
            psycopg.errors.DeadlockDetected,
        ) as failure:
            if failure.sqlstate not in {"55P03", "40P01"}:
                raise
            if lock_timeout_ms and time.monotonic() > deadline:
                raise
        time.sleep(_PAUSE_S)
