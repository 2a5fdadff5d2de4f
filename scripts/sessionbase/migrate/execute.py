"""Run the statements of a file. An error message has the file, the line and the statement."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql
from psycopg.pq import TransactionStatus

from sessionbase.errors import SessionbaseError
from sessionbase.migrate.files import SqlFile, Statement
from sessionbase.migrate.ledger import OWNER, Connection
from sessionbase.signals import Stopped

_NO_FUNCTION = "42883"  # undefined_function
_IN_TRANSACTION = "25001"  # active_sql_transaction


class StatementFailed(SessionbaseError):
    """PostgreSQL refused the `statement` of a file, with the error code `sqlstate`."""

    def __init__(self, file: SqlFile, statement: Statement, error: psycopg.Error) -> None:
        """Compose the message from `error` and its place in the file."""
        self.statement = statement
        self.sqlstate = error.sqlstate
        diag = error.diag
        position = diag.statement_position
        line = statement.line
        if position and position.isdigit():
            line = file.line_at(statement.offset + int(position) - 1)
        message = diag.message_primary or str(error)
        if diag.message_detail:
            message = f"{message}; {' '.join(diag.message_detail.split())}"
        hint = diag.message_hint
        if error.sqlstate == _NO_FUNCTION and hint is None:
            hint = "no file of app/ and no earlier migration defines it"
        if error.sqlstate == _IN_TRANSACTION:
            hint = "docs/migrations-without-transaction.md lists what a migration can do instead"
        if isinstance(error, psycopg.errors.LockNotAvailable):
            hint = (
                "another session holds a lock on the object: see pg_stat_activity and "
                "pg_blocking_pids(); run again when that session has ended, or wait longer with "
                "--lock-timeout"
            )
        super().__init__(f"{file.label}, line {line}: {message}, in: {statement.summary}", hint)


def _settings(lock_timeout_ms: int) -> dict[str, str]:
    return {
        "lock_timeout": str(lock_timeout_ms),
        "statement_timeout": "0",
        "search_path": "",
        "check_function_bodies": "on",
        "row_security": "on",
        "idle_in_transaction_session_timeout": "0",
    }


_NEWER_SETTINGS = {"transaction_timeout": "0"}
"""Settings of PostgreSQL 17 and later, which end the session."""


def apply_session_settings(conn: Connection, lock_timeout_ms: int) -> None:
    """Set the settings of the running transaction, so that the login's defaults do not apply.

    `lock_timeout_ms` is in milliseconds; 0 waits without end. The search_path is empty, so that a
    name without its schema fails here and not later in production.
    """
    for name, value in _settings(lock_timeout_ms).items():
        conn.execute("select set_config(%s, %s, true)", (name, value))
    for name, value in _NEWER_SETTINGS.items():
        conn.execute(
            "select set_config(name, %s, true) from pg_settings where name = %s", (value, name)
        )


@contextmanager
def session_settings(conn: Connection) -> Iterator[None]:
    """Set the same settings outside of a transaction; set the old values again at the end.

    A wait for a lock has no limit.
    """
    rows = conn.execute(
        "select name, setting from pg_settings where name = any(%s)",
        ([*_settings(0), *_NEWER_SETTINGS],),
    ).fetchall()
    before = {str(name): str(value) for name, value in rows}
    wanted = _settings(0) | _NEWER_SETTINGS
    for name in before:
        conn.execute("select set_config(%s, %s, false)", (name, wanted[name]))
    try:
        yield
    finally:
        if conn.info.transaction_status == TransactionStatus.IDLE:
            for name, value in before.items():
                conn.execute("select set_config(%s, %s, false)", (name, value))


class SessionState:
    """The settings and the role of the runner's session, which a file must not change for others.

    A `set` without `local`, also in a function that a migration calls, stays after the commit: the
    next files would run with session_replication_role or with another role.
    """

    def __init__(self, conn: Connection) -> None:
        """Remember the settings of the session, outside a transaction."""
        self._conn = conn
        self._before = self._read()

    def _read(self) -> dict[str, str]:
        rows = self._conn.execute(
            "select name, setting from pg_settings where source = 'session'"
        ).fetchall()
        return {str(name): str(value) for name, value in rows}

    def restore(self) -> list[str]:
        """Set what is different to what it was, outside a transaction; return the names."""
        # As the login: the owner may not set each of them.
        self._conn.execute("reset role")
        now = self._read()
        changed = sorted(
            name for name in now | self._before if now.get(name) != self._before.get(name)
        )
        for name in changed:
            if name in self._before:
                value = self._before[name]
                self._conn.execute("select set_config(%s, %s, false)", (name, value))
            else:
                self._conn.execute(sql.SQL("reset {}").format(sql.Identifier(name)))
        self._conn.execute(f"set role {OWNER}".encode())
        return changed


def current_role(conn: Connection) -> str:
    """Return the role of the session."""
    row = conn.execute("select current_user::text").fetchone()
    return str(row[0]) if row else ""


def require_owner(role: str, file: SqlFile) -> None:
    """Raise SessionbaseError if a file changed the role to `role`, for example in a DO block."""
    if role != OWNER:
        raise SessionbaseError(
            f"{file.label} changed the role to {role}; it was rolled back",
            f"remove the change of role: {OWNER} must own every object",
        )


def run_statements(conn: Connection, file: SqlFile, statements: Iterable[Statement]) -> None:
    """Run the statements in order; raise StatementFailed at the first that fails.

    A Stopped that a signal raises meanwhile gets the label of the file.
    """
    try:
        for statement in statements:
            run_statement(conn, file, statement)
    except Stopped as stop:
        stop.file = file.label
        raise


def run_statement(conn: Connection, file: SqlFile, statement: Statement) -> None:
    """Run one statement; raise StatementFailed if it fails."""
    try:
        conn.execute(statement.text.encode())
    except psycopg.OperationalError as error:
        if conn.closed:
            end = (
                "the next run finds what the statement left, and completes it"
                if file.no_transaction
                else "the transaction of this file was rolled back"
            )
            raise SessionbaseError(
                f"{file.label}, line {statement.line}: the connection was lost",
                f"{end}; run again",
            ) from error
        raise StatementFailed(file, statement, error) from error
    except psycopg.Error as error:
        raise StatementFailed(file, statement, error) from error
