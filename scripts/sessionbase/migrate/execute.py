"""Run the statements of a file. An error message has the file, the line and the statement."""

from collections.abc import Iterable

import psycopg

from sessionbase.errors import SessionbaseError
from sessionbase.migrate.files import SqlFile, Statement
from sessionbase.migrate.ledger import Connection

_NO_FUNCTION = "42883"  # undefined_function


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
        if isinstance(error, psycopg.errors.LockNotAvailable):
            hint = (
                "another session holds a lock on the object: see pg_stat_activity and "
                "pg_blocking_pids(); run again when that session has ended, or wait longer with "
                "--lock-timeout"
            )
        super().__init__(f"{file.label}, line {line}: {message}, in: {statement.summary}", hint)


def apply_session_settings(conn: Connection, lock_timeout_ms: int) -> None:
    """Set the settings of the running transaction, so that the login's defaults do not apply.

    `lock_timeout_ms` is in milliseconds; 0 waits without end. The search_path is empty, so that a
    name without its schema fails here and not later in production.
    """
    for name, value in {
        "lock_timeout": str(lock_timeout_ms),
        "statement_timeout": "0",
        "search_path": "",
        "check_function_bodies": "on",
        "row_security": "on",
    }.items():
        conn.execute("select set_config(%s, %s, true)", (name, value))


def run_statements(conn: Connection, file: SqlFile, statements: Iterable[Statement]) -> None:
    """Run the statements in order; raise StatementFailed at the first that fails."""
    for statement in statements:
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
