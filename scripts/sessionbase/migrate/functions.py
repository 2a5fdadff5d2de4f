"""Look up the functions of schema app, and create them before the migrations that name them."""

from pglast import ast

from sessionbase.migrate.checks import (
    ParsedFile,
    Routine,
    annotated_routines,
    created_routine,
    types_of,
)
from sessionbase.migrate.execute import StatementFailed, run_statements
from sessionbase.migrate.files import SqlFile, Statement
from sessionbase.migrate.ledger import Connection

# What `create function` needs does not exist yet: undefined_object (a type), undefined_table,
# undefined_column, undefined_function, invalid_schema_name. The last four come from the default
# of a parameter and from a body in the form BEGIN ATOMIC, which are parsed at creation.
_NOT_YET = {"42704", "42P01", "42703", "42883", "3F000"}

# Not to_regprocedure: before PostgreSQL 16 it raises an error if a type is missing.
_FIND = """
select p.oid from pg_proc p
 where p.pronamespace = to_regnamespace(%(schema)s) and p.proname = %(name)s
   and (%(inputs)s::text[] is null or p.proargtypes = (
     select coalesce(
              string_agg(coalesce(to_regtype(i.type)::oid, 0)::text, ' ' order by i.place), ''
            )
       from unnest(%(inputs)s::text[]) with ordinality i (type, place)
   )::oidvector)
"""


def find_routine(conn: Connection, routine: Routine) -> int | None:
    """Return the oid of a function; None if it does not exist or its name is ambiguous."""
    inputs = None if routine.inputs is None else list(routine.inputs)
    rows = conn.execute(
        _FIND, {"schema": routine.schema, "name": routine.name, "inputs": inputs}
    ).fetchall()
    return int(rows[0][0]) if len(rows) == 1 else None


def _types_exist(conn: Connection, tree: ast.CreateFunctionStmt) -> bool:
    row = conn.execute(
        "select coalesce(bool_and(to_regtype(t.type) is not null), true)"
        " from unnest(%s::text[]) t (type)",
        (types_of(tree),),
    ).fetchone()
    return bool(row and row[0])


def _try_create(conn: Connection, file: SqlFile, statement: Statement) -> bool:
    """Create a function; return False if something that it needs does not exist yet."""
    # A function that can't be created yet mostly lacks a type. Looking the types up first avoids
    # errors in the server's log.
    tree = statement.tree
    if isinstance(tree, ast.CreateFunctionStmt) and not _types_exist(conn, tree):
        return False
    try:
        with conn.transaction():
            run_statements(conn, file, [statement])
    except StatementFailed as failure:
        if failure.sqlstate in _NOT_YET:
            return False
        raise
    return True


def _create(conn: Connection, files: list[ParsedFile]) -> set[int]:
    """Create the missing functions in rounds, until a round creates none."""
    missing = [
        (file, statement, routine)
        for file, statements in files
        for statement in statements
        if (routine := created_routine(statement.tree)) and find_routine(conn, routine) is None
    ]
    created: set[int] = set()
    while missing:
        waiting = []
        for file, statement, routine in missing:
            if not _try_create(conn, file, statement):
                waiting.append((file, statement, routine))
            elif oid := find_routine(conn, routine):
                created.add(oid)
        if len(waiting) == len(missing):
            break
        missing = waiting
    return created


def create_missing(
    conn: Connection, files: list[ParsedFile], earlier: frozenset[int] = frozenset()
) -> frozenset[int]:
    """Create each function of app/ that does not exist, if its types exist already.

    A body is not checked: it may name tables that do not exist yet. Runs in the open transaction,
    together with the comments and grants that name only functions of this call or of `earlier`
    (oids that earlier calls of the same run returned). Functions that exist are not changed.
    Returns the oids of the functions that it created.
    """
    row = conn.execute("select to_regnamespace('app') is not null").fetchone()
    if row != (True,):
        return frozenset()
    conn.execute("set local check_function_bodies = off")
    created = _create(conn, files)
    conn.execute("set local check_function_bodies = on")
    for file, statements in files if created else []:
        for statement in statements:
            named = {find_routine(conn, item) for item in annotated_routines(statement.tree) or []}
            if named & created and named <= created | earlier:
                run_statements(conn, file, [statement])
    return frozenset(created)
