"""Calls that run at the same time, in threads or stepped by the test."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier
from typing import Any, TypeVar

import psycopg

T = TypeVar("T")


def at_once(calls: Sequence[Callable[[], T]]) -> list[T]:
    """Start every call at the same moment, each in its own thread; return the results in order."""
    barrier = Barrier(len(calls))

    def run(call: Callable[[], T]) -> T:
        barrier.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


@contextmanager
def transaction_of(uri: str, profile: str) -> Iterator[psycopg.Connection[Any]]:
    """Yield a connection in a transaction like one of PostgREST for a token of the profile.

    The caller commits or rolls back. A lock that it waits for longer than 10 s is an error.
    """
    claims = json.dumps({"sub": profile, "role": "authenticated"})
    with psycopg.connect(uri) as connection:
        connection.execute("select set_config('request.jwt.claims', %s, true)", [claims])
        connection.execute("set local role authenticated")
        connection.execute("set local lock_timeout = '10s'")
        yield connection


def wait_until_blocked_by(db: psycopg.Connection[Any], blocker: psycopg.Connection[Any]) -> int:
    """Wait until a backend waits for a lock of `blocker`; return its pid.

    Raises TimeoutError after 60 s.
    """
    for _ in range(3000):
        found = db.execute(
            "select pid from pg_stat_activity where %s = any(pg_blocking_pids(pid))",
            (blocker.info.backend_pid,),
        ).fetchone()
        if found:
            return int(found[0])
        time.sleep(0.02)
    raise TimeoutError("no session has waited for a lock of the given one")


@contextmanager
def rolled_back_after(uri: str, blocker: psycopg.Connection[Any], seconds: float) -> Iterator[None]:
    """Roll `blocker` back when a session has waited for it for `seconds`, in a thread."""

    def roll_back() -> None:
        with psycopg.connect(uri, autocommit=True) as db:
            wait_until_blocked_by(db, blocker)
            time.sleep(seconds)
            blocker.rollback()

    with ThreadPoolExecutor(1) as pool:
        result = pool.submit(roll_back)
        yield
        result.result()


def call_while_locked(
    db: psycopg.Connection[Any], holder: psycopg.Connection[Any], call: Callable[[], T]
) -> T:
    """Start a call that must wait for a lock of `holder`, then commit `holder`; return the result.

    Raises what the call raises, and TimeoutError if it does not wait within 60 s.
    """
    with ThreadPoolExecutor(1) as pool:
        result = pool.submit(call)
        try:
            wait_until_blocked_by(db, holder)
        finally:
            holder.commit()
        return result.result()
