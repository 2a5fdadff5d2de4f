"""Check a database before anything in it is changed."""

from sessionbase.errors import SessionbaseError
from sessionbase.migrate.ledger import OWNER, Connection, ledger_exists, tables_in_ops

OLDEST_SERVER = 150000
"""The oldest server that is supported, as server_version_num writes it."""

_SCHEMAS = """
select n.nspname from pg_namespace n
 where n.nspname in ('app', 'api') or (n.nspname = 'ops' and n.nspowner::regrole::text <> %s)
 order by n.nspname
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


def refuse_old_database(conn: Connection) -> None:
    """Raise a SessionbaseError if the database was made by a version before 0.1.0. Reads only."""
    if tables_in_ops(conn) >= {"migrations", "api_files"}:
        raise SessionbaseError(
            "this database was made by a version before 0.1.0 and can't be migrated",
            "dump its data (pg_dump --data-only --schema=app --disable-triggers), create a new "
            "database, run migrate there and load the dump; the commands are in docs/upgrading.md",
        )


def check_database(conn: Connection) -> None:
    """Raise a SessionbaseError if the runner must not work on this database.

    That is: the server is too old, the database was made by a version before 0.1.0, or its
    schemas app, api or ops belong to another application. Reads only.
    """
    check_server_version(conn.info.server_version)
    if ledger_exists(conn):
        return
    refuse_old_database(conn)
    found = [str(row[0]) for row in conn.execute(_SCHEMAS, (OWNER,)).fetchall()]
    if found:
        raise SessionbaseError(
            f"this database has a schema {' and a schema '.join(found)}, and no migration ledger "
            "of sessionbase: they belong to another application",
            "use a new database for sessionbase",
        )
