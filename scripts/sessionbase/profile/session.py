"""Transactions of `sessionbase profile`."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from sessionbase.database import become_owner, connect, refuse_standby
from sessionbase.errors import SessionbaseError
from sessionbase.paths import command

READ = "repeatable read, read only"
WRITE = "read committed, read write"
LOCK_TIMEOUT = "60s"
"""How long a change waits for the requests that write to the profile, which end after 15 s."""


@contextmanager
def snapshot(db_uri: str) -> Iterator[psycopg.Connection[Any]]:
    """Yield a connection whose transaction reads one moment of the database, as the owner."""
    with _transaction(db_uri, READ) as conn:
        yield conn


@contextmanager
def change(db_uri: str) -> Iterator[psycopg.Connection[Any]]:
    """Yield a connection whose transaction changes a profile, as the owner.

    It commits when the block ends. Raises SessionbaseError if the server is a standby, or another
    command or a long request uses the profile.
    """
    with _transaction(db_uri, WRITE) as conn:
        conn.execute(f"set local lock_timeout = '{LOCK_TIMEOUT}'".encode())
        try:
            yield conn
        except psycopg.errors.LockNotAvailable as error:
            raise SessionbaseError(
                f"the profile was in use for {LOCK_TIMEOUT}; nothing was changed", "run it again"
            ) from error


@contextmanager
def _transaction(db_uri: str, mode: str) -> Iterator[psycopg.Connection[Any]]:
    with connect(db_uri) as conn:
        if mode == WRITE:
            refuse_standby(conn)
        conn.execute(f"set transaction isolation level {mode}".encode())
        conn.execute("set local search_path = ''")
        conn.execute("set local client_encoding = 'UTF8'")
        conn.execute("set local timezone = 'UTC'")
        for timeout in ("statement_timeout", "idle_in_transaction_session_timeout"):
            conn.execute(f"set local {timeout} = 0".encode())
        become_owner(conn)
        found = conn.execute("select to_regclass('app.profile_log') is not null").fetchone()
        if not found or not found[0]:
            raise SessionbaseError(
                "the database has no table app.profile_log", f"run {command()} migrate first"
            )
        yield conn
