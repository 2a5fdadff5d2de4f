"""Run the statements of a file. An error message has the file, the line and the statement."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import psycopg
from psycopg.pq import TransactionStatus

from sessionbase.errors import SessionbaseError
from sessionbase.migrate.files import SqlFile, Statement
from sessionbase.migrate.ledger import Connection
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
    }


def apply_session_settings(conn: Connection, lock_timeout_ms: int) -> None:
    """Set the settings of the running transaction, so that the login's defaults do not apply.

    `lock_timeout_ms` is in milliseconds; 0 waits without end. The search_path is empty, so that a
    name without its schema fails here and not later in production.
    """
    for name, value in _settings(lock_timeout_ms).items():
        conn.execute("select set_config(%s, %s, true)", (name, value))


@contextmanager
def session_settings(conn: Connection) -> Iterator[None]:
    """Set the same settings outside of a transaction; reset them at the end.

    A wait for a lock has no limit.
    """
    settings = _settings(0)
    for name, value in settings.items():
        conn.execute("select set_config(%s, %s, false)", (name, value))
    try:
        yield
    finally:
        if conn.info.transaction_status == TransactionStatus.IDLE:
            for name in settings:
                conn.execute(f"reset {name}".encode())


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
            raise SessionbaseError(
                f"{file.label}, line {statement.line}: the connection was lost",
                "the transaction of this file was rolled back; run again",
            ) from error
        raise StatementFailed(file, statement, error) from error
    except psycopg.Error as error:
        raise StatementFailed(file, statement, error) from error
