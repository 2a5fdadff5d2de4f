"""Running a file's statements so that a failure says where and what."""

from collections.abc import Iterable

import psycopg

from sessionbase.errors import SessionbaseError
from sessionbase.migrate.files import SqlFile, Statement
from sessionbase.migrate.ledger import Connection


class StatementFailed(SessionbaseError):
    """PostgreSQL refused a statement of a file; `sqlstate` and `statement` say which and why."""

    def __init__(self, file: SqlFile, statement: Statement, error: psycopg.Error) -> None:
        """Put together what `error` says and where in the file it was."""
        self.statement = statement
        self.sqlstate = error.sqlstate
        diag = error.diag
        position = diag.statement_position
        line = statement.line
        if position and position.isdigit():
            line = file.line_at(statement.offset + int(position) - 1)
        told = diag.message_primary or str(error)
        if diag.message_detail:
            told = f"{told}; {' '.join(diag.message_detail.split())}"
        hint = diag.message_hint
        if isinstance(error, psycopg.errors.LockNotAvailable):
            hint = (
                "another session uses what it changes: see pg_stat_activity and "
                "pg_blocking_pids(), run again when it has ended, or wait longer by --lock-timeout"
            )
        super().__init__(f"{file.label}, line {line}: {told}, in: {statement.summary}", hint)


def apply_session_settings(conn: Connection, lock_timeout_ms: int) -> None:
    """Give the running transaction the same settings whoever's login it is.

    With an empty search_path a name without its schema fails at once, not in production.
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
                    "nothing of this file was kept; run again",
                ) from error
            raise StatementFailed(file, statement, error) from error
        except psycopg.Error as error:
            raise StatementFailed(file, statement, error) from error
