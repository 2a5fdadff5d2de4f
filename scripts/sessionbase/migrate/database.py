"""Check a database before anything in it is changed."""

from typing import Any

from sessionbase.errors import SessionbaseError
from sessionbase.migrate.ledger import LEDGER_TABLES, OWNER, Connection, tables_in_ops

OLDEST_SERVER = 150000
"""The oldest server that is supported, as server_version_num writes it."""

ENCODING = "UTF8"
"""The only encoding that is supported, as server_encoding writes it."""

_SCHEMAS = """
select n.nspname, n.nspowner::regrole::text from pg_namespace n
 where n.nspname in ('app', 'api', 'ops')
 order by n.nspname
"""

# What the repeatable files replace or drop, so the owner must be sessionbase_owner. An extension's
# objects (deptype e) are not touched.
_OF_OTHERS = """
select pg_describe_object(found.classid, found.oid, 0), found.owner::regrole::text
  from (
    select 'pg_proc'::regclass as classid, p.oid, p.proowner as owner
      from pg_proc p
     where p.pronamespace in (to_regnamespace('app'), to_regnamespace('api'))
    union all
    select 'pg_class'::regclass, c.oid, c.relowner
      from pg_class c where c.relnamespace = to_regnamespace('api')
  ) found
 where found.owner::regrole::text <> %s
   and not exists (
     select from pg_depend d
      where d.classid = found.classid and d.objid = found.oid and d.deptype = 'e'
   )
 order by 1
"""

# Roles that the files give rights to, or that log in for PostgREST. Another application that uses
# the same names (Supabase: anon, authenticated, authenticator) is allowed, as long as nobody can
# read every row through the role. The names sessionbase_* are ours.
_UNSAFE_ROLES = """
select role.rolname, attribute.name
  from pg_roles role
 cross join lateral (values
   ('superuser', role.rolsuper), ('bypassrls', role.rolbypassrls),
   ('createrole', role.rolcreaterole), ('replication', role.rolreplication),
   ('login', role.rolcanlogin and role.rolname <> 'authenticator')
 ) attribute (name, is_set)
 where role.rolname in ('anon', 'authenticated', 'auditor', 'authenticator') and attribute.is_set
 order by 1, 2
"""


def check_server_version(version: int) -> None:
    """Raise a SessionbaseError for a server older than PostgreSQL 15.

    `version` is in the form of server_version_num: 150004 is 15.4.
    """
    if version < OLDEST_SERVER:
        raise SessionbaseError(
            f"the server is PostgreSQL {version // 10000}, and sessionbase needs "
            f"{OLDEST_SERVER // 10000} or later",
            "upgrade the server with pg_upgrade, or use another one",
        )


def check_encoding(conn: Connection) -> None:
    """Raise a SessionbaseError for a database with another encoding than UTF8."""
    encoding = conn.info.parameter_status("server_encoding")
    if encoding != ENCODING:
        raise SessionbaseError(
            f"the encoding of the database {conn.info.dbname} is {encoding}, and sessionbase needs "
            f"{ENCODING}: JSON and texts have characters that {encoding} can't store or check",
            "create another database: create database NAME template template0 "
            f"encoding '{ENCODING}' locale 'C'; the encoding of a database can't be changed",
        )


def refuse_old_database(conn: Connection) -> None:
    """Raise a SessionbaseError if the database was made by a version before 0.1.0. Reads only."""
    if tables_in_ops(conn) >= {"migrations", "api_files"}:
        raise SessionbaseError(
            "this database was made by a version before 0.1.0 and can't be migrated",
            "dump its data (pg_dump --data-only --schema=app --disable-triggers), create a new "
            "database, run migrate there and load the dump; the commands are in docs/upgrading.md",
        )


def owners_of_schemas(conn: Connection) -> dict[str, str]:
    """Return the owner of each of the schemas app, api and ops that exists."""
    return {str(name): str(owner) for name, owner in conn.execute(_SCHEMAS).fetchall()}


def refuse_foreign_schemas(conn: Connection) -> None:
    """Raise a SessionbaseError if schema app, api or ops has another owner than ours. Reads only.

    Also if ops has only some of the tables of the ledger.
    """
    owners = owners_of_schemas(conn)
    tables = tables_in_ops(conn)
    has_ledger = tables >= LEDGER_TABLES
    foreign = [name for name, owner in owners.items() if owner != OWNER]
    if foreign and not has_ledger:
        raise SessionbaseError(
            f"this database has a schema {' and a schema '.join(foreign)}, and no migration ledger "
            "of sessionbase: they belong to another application "
            f"(owner {', '.join(sorted({owners[name] for name in foreign}))}, not {OWNER})",
            "use a new database for sessionbase",
        )
    if foreign:
        raise SessionbaseError(
            f"the schema {', '.join(foreign)} belongs to {owners[foreign[0]]}, not to {OWNER}",
            f"if another application made it, use another database; if its objects are ours: "
            f"alter schema {foreign[0]} owner to {OWNER}",
        )
    if not has_ledger and tables & LEDGER_TABLES:
        raise SessionbaseError(
            f"schema ops has the table {', '.join(sorted(tables & LEDGER_TABLES))} but not the "
            "complete ledger",
            "restore the missing table from a backup",
        )


def _has_rows(conn: Connection, table: str) -> bool:
    """Return whether a table of the ledger exists and has rows; true if the login may not read."""
    if not tables_in_ops(conn) >= LEDGER_TABLES:
        return False
    may = conn.execute(
        "select case when has_schema_privilege('ops', 'usage')"
        " then has_table_privilege(%s, 'select') end",
        (f"ops.{table}",),
    ).fetchone()
    if may != (True,):
        # It gets its own error later, from the comparison.
        return True
    row = conn.execute(f"select exists (select from ops.{table})".encode()).fetchone()
    return row == (True,)


def has_ledger_rows(conn: Connection) -> bool:
    """Return whether the ledger exists and lists a migration; true if the login may not read it."""
    return _has_rows(conn, "migrations")


def _refuse_unsafe_roles(conn: Connection) -> None:
    rows: list[tuple[Any, ...]] = conn.execute(_UNSAFE_ROLES).fetchall()
    if rows:
        wrong = ", ".join(f"{role} has {name.upper()}" for role, name in rows)
        statements = "; ".join(f"alter role {role} no{name}" for role, name in rows)
        raise SessionbaseError(
            f"a role of the cluster has a name that sessionbase gives rights to: {wrong}; who "
            "uses that role could read the rows of every profile",
            f"use another cluster if another application needs the role; else: {statements}",
        )


def check_database(conn: Connection) -> None:
    """Raise a SessionbaseError if the runner must not work on this database.

    That is: the server is too old, its encoding is not UTF8, the database was made by a version
    before 0.1.0, its schemas app, api or ops belong to another application, they are ours without
    their ledger, or, before the first migration, another application has an unsafe role with one
    of our names. Reads only.
    """
    check_server_version(conn.info.server_version)
    check_encoding(conn)
    refuse_old_database(conn)
    refuse_foreign_schemas(conn)
    if has_ledger_rows(conn):
        return
    # A folder can have repeatable files without a migration: they make only schema api.
    unrecorded = {"app"} if _has_rows(conn, "repeatable_files") else {"app", "api"}
    found = [name for name in owners_of_schemas(conn) if name in unrecorded]
    if found:
        raise SessionbaseError(
            f"this database has a schema {' and a schema '.join(found)} of {OWNER}, and its "
            "migration ledger is missing or empty",
            "if the schema is complete (restored without the schema ops), migrate baseline writes "
            "the ledger; else use a new database",
        )
    _refuse_unsafe_roles(conn)


def refuse_objects_of_others(conn: Connection) -> None:
    """Raise a SessionbaseError if a function of app or an object of api has another owner.

    The repeatable files replace or drop these, which only the owner can do. Reads only.
    """
    rows = conn.execute(_OF_OTHERS, (OWNER,)).fetchall()
    if rows:
        found = ", ".join(f"{name} (owner {owner})" for name, owner in rows[:5])
        more = f" and {len(rows) - 5} more" if len(rows) > 5 else ""
        raise SessionbaseError(
            f"not made by sessionbase, in its schemas: {found}{more}",
            f"move it to another schema, drop it, or if it is ours change its owner to {OWNER}",
        )
