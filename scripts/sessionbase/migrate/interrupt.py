"""How a run ends before its work is done: a signal, or the loss of its connection.

The connection of the runner has settings that the other commands do not need: it is the only one
that holds locks which stop the clients. A backend that stays after the runner was killed would hold
them until its statement ends.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import TransactionStatus

from sessionbase.errors import InterruptError
from sessionbase.migrate.files import REPEATABLE, Migration
from sessionbase.migrate.ledger import Connection, tables_in_ops
from sessionbase.signals import Stopped, received

# How often the server looks whether the client has closed the connection, while a statement runs or
# waits for a lock. Without it, the server finds that out only when it sends the result.
CHECK_INTERVAL = "1s"

# A network that drops all packets closes no connection. Both sides close it themselves when the
# other one has sent nothing for so long, also while the connection is idle. On a Unix socket these
# settings have no effect.
SILENCE_S = 15
_PROBE_S = 5

_CLIENT = {
    "keepalives": "1",
    "keepalives_idle": str(_PROBE_S),
    "keepalives_interval": str(_PROBE_S),
    "keepalives_count": str(SILENCE_S // _PROBE_S),
    "tcp_user_timeout": str(SILENCE_S * 1000),
}
_SERVER = {
    "client_connection_check_interval": CHECK_INTERVAL,
    "tcp_keepalives_idle": str(_PROBE_S),
    "tcp_keepalives_interval": str(_PROBE_S),
    "tcp_keepalives_count": str(SILENCE_S // _PROBE_S),
    "tcp_user_timeout": str(SILENCE_S * 1000),
}


def with_timeouts(db_uri: str) -> str:
    """Return the connection string with the settings that end a connection without a network.

    What the string or the environment of libpq sets already is not changed. A string that is not
    valid is returned unchanged; connecting with it reports the error.
    """
    try:
        given = conninfo_to_dict(db_uri)
        missing = {name: value for name, value in _CLIENT.items() if name not in given}
        return make_conninfo(db_uri, **missing)
    except psycopg.ProgrammingError:
        return db_uri


def end_with_client(conn: Connection) -> None:
    """Make the server end the session within 2 s after its client has ended, also by kill -9.

    `conn` is in autocommit mode. A server whose operating system can't do it ends the session when
    its statement ends.
    """
    for name, value in _SERVER.items():
        try:
            conn.execute("select set_config(%s, %s, false)", (name, value))
        except psycopg.errors.InvalidParameterValue:  # for example on Windows
            continue


@dataclass
class Stop:
    """What the message of an interrupted run needs. The runner sets it."""

    pending: list[Migration] = field(default_factory=list)
    """The migrations that this run applies."""


def _file_of(error: BaseException | None) -> str | None:
    """Return the label of the file that ran; an error of the clean-up can hide the Stopped."""
    while error is not None:
        if isinstance(error, Stopped):
            return error.file
        error = error.__context__
    return None


def _versions(conn: Connection, table: str) -> set[int]:
    if table not in tables_in_ops(conn):
        return set()
    return {int(row[0]) for row in conn.execute(f"select version from ops.{table}".encode())}


def _describe(conn: Connection, stop: Stop, file: str | None) -> str:
    """Return what the run changed and what it did not, as the database has it now."""
    applied = _versions(conn, "migrations")
    unfinished = _versions(conn, "unfinished_migrations")
    labels = [m.file.label for m in stop.pending if m.version in applied]
    open_labels = [m.file.label for m in stop.pending if m.version in unfinished - applied]
    parts = []
    if file is not None and file not in labels + open_labels:
        repeatable = file.startswith(("app/", "api/"))
        parts.append(f"rolled back: {REPEATABLE if repeatable else file}")
    if open_labels:
        parts.append(f"not finished, and continued by the next run: {', '.join(open_labels)}")
    parts.append(f"applied by this run, and stays: {', '.join(labels) or 'no migration'}")
    return "; ".join(parts)


@contextmanager
def explain_stop(conn: Connection) -> Iterator[Stop]:
    """Convert the exception of a stop signal to an InterruptError that says what remains applied.

    Raises that error only after the transaction was rolled back. `conn` is in autocommit mode.
    """
    stop = Stop()
    try:
        yield stop
    except BaseException as error:
        number = received()
        if number is None:
            raise
        usable = not conn.closed and conn.info.transaction_status == TransactionStatus.IDLE
        try:
            if not usable:
                raise psycopg.OperationalError
            found = _describe(conn, stop, _file_of(error))
        except psycopg.Error:
            found = "the connection was lost: `migrate status` lists what is applied"
        raise InterruptError(
            f"ended by {number.name}; {found}", "it is safe to run it again"
        ) from error
