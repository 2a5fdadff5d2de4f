"""The connection of the runner, and what it prepares there: the roles and the ledger."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import psycopg

from sessionbase.console import Log
from sessionbase.database import connect, refuse_standby
from sessionbase.errors import SessionbaseError
from sessionbase.migrate.checks import check_migration
from sessionbase.migrate.database import (
    check_encoding,
    check_server_version,
    refuse_foreign_schemas,
    refuse_old_database,
)
from sessionbase.migrate.execute import apply_session_settings, run_statements
from sessionbase.migrate.files import SqlFile, SqlFolder
from sessionbase.migrate.interrupt import end_with_client, with_timeouts
from sessionbase.migrate.ledger import (
    CREATE_LEDGER,
    OWNER,
    UPGRADE_LEDGER,
    Connection,
    ledger_exists,
    ledger_is_current,
)
from sessionbase.migrate.locks import LockLimits, LockTries, runner_lock
from sessionbase.migrate.privileges import may_become_owner, may_create_roles, require_rights

# Roles belong to the whole cluster, but the lock of the runner only to one database: runners in two
# databases can write the row of one role at the same time. PostgreSQL then refuses the second with
# XX000 "tuple concurrently updated", 23505 or 42710. It tries again.
_ROLE_CONFLICTS = {"XX000", "23505", "42710"}


@contextmanager
def open_session(db_uri: str) -> Iterator[Connection]:
    """Connect in autocommit mode: every transaction is opened explicitly."""
    with connect(with_timeouts(db_uri)) as conn:
        conn.autocommit = True
        end_with_client(conn)
        yield conn


@contextmanager
def reading(conn: Connection) -> Iterator[None]:
    """Open a read-only transaction, with the role of the owner if the login may."""
    with conn.transaction():
        conn.execute("set transaction read only")
        if may_become_owner(conn):
            conn.execute(f"set local role {OWNER}".encode())
        yield


def apply_roles(conn: Connection, roles: SqlFile | None, tries: LockTries, log: Log) -> str:
    """Apply roles.sql if the login may; return `applied` or `skipped`.

    Raises SessionbaseError, with the statements to run, if the login lacks a right that the
    migrations need; no role was changed then.
    """
    if roles is None or not may_create_roles(conn):
        require_rights(conn, with_roles_file=False)
        log("roles.sql skipped: this login may not create roles, and all of them exist")
        return "skipped"
    require_rights(conn, with_roles_file=True)
    statements = check_migration(roles)

    def attempt(lock_timeout_ms: int) -> None:
        with conn.transaction():
            apply_session_settings(conn, lock_timeout_ms)
            run_statements(conn, roles, statements)
            require_rights(conn, with_roles_file=False)

    tries.run(roles.label, attempt, also=_ROLE_CONFLICTS)
    return "applied"


def create_ledger(conn: Connection, lock_timeout_ms: int) -> None:
    """Create the ledger, or add what it lacks if an earlier version created it. One try."""
    with conn.transaction():
        apply_session_settings(conn, lock_timeout_ms)
        if not ledger_exists(conn):
            conn.execute(CREATE_LEDGER.encode())
        if not ledger_is_current(conn):
            conn.execute(UPGRADE_LEDGER.encode())


def create_ledger_in_tries(conn: Connection, tries: LockTries) -> None:
    """Create or complete the ledger, in as many tries as its locks need; the role is the owner.

    Raises SessionbaseError if the owner may not create it.
    """
    if ledger_is_current(conn):
        return
    try:
        tries.run("the migration ledger", partial(create_ledger, conn))
    except psycopg.errors.InsufficientPrivilege as error:
        raise SessionbaseError(
            f"{OWNER} may not create the ledger: {error.diag.message_primary}",
            f"a DBA runs in this database: grant create on database {conn.info.dbname} to {OWNER}",
        ) from error


def prepare_ledger(conn: Connection, db_uri: str, folder: SqlFolder, log: Log) -> None:
    """Apply roles.sql as the login, as a run of migrations does, and create or upgrade the ledger.

    `conn` comes from `ledger_session`. Raises SessionbaseError if a right is missing.
    """
    conn.execute("reset role")
    with LockTries(conn, with_timeouts(db_uri), LockLimits(), log) as tries:
        apply_roles(conn, folder.roles, tries, log)
        conn.execute(f"set role {OWNER}".encode())
        create_ledger_in_tries(conn, tries)


@contextmanager
def ledger_session(db_uri: str, *, write: bool, log: Log = lambda _: None) -> Iterator[Connection]:
    """Connect to change the ledger without running a migration; yield the connection.

    With `write` it holds the lock of the runner; without, all of it is one read-only transaction.
    The role is sessionbase_owner. Raises SessionbaseError for a database that is not ours, or a
    login that may not become the owner.
    """
    with open_session(db_uri) as conn:
        check_server_version(conn.info.server_version)
        check_encoding(conn)
        refuse_old_database(conn)
        refuse_foreign_schemas(conn)
        if not may_become_owner(conn):
            require_rights(conn, with_roles_file=False)
        if write:
            refuse_standby(conn)
            with runner_lock(conn, log):
                conn.execute(f"set role {OWNER}".encode())
                yield conn
        else:
            with conn.transaction():
                conn.execute("set transaction read only")
                conn.execute(f"set local role {OWNER}".encode())
                yield conn
