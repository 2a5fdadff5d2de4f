"""Delays of requests while a migration waits for a lock: in one long try, and in short tries.

Clients write and read todos. A session that has read the table stays in its transaction for some
seconds. Meanwhile a migration adds a column to the table. The long try is that of version 0.1.0:
5 s, then the migration has failed and is started again, as a DBA does.
"""

import itertools
import multiprocessing
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import psycopg

from load import request, run_until
from sessionbase.errors import SessionbaseError
from sessionbase.migrate.runner import migrate
from sessionbase.paths import resource_path

CLIENTS = 8
LONG_TRY_MS = 5000
INTERVAL_S = 0.01
_columns = itertools.count()


@dataclass(frozen=True)
class Sizes:
    """The number of rounds, and how long the other session holds the lock, in seconds."""

    rounds: int = 5
    blocker_s: float = 12


QUICK = Sizes(2, 6)


@dataclass
class Side:
    """The delays in seconds of all requests of one way to migrate, and what the migration did."""

    name: str
    latencies: list[float] = field(default_factory=list)
    failed_runs: int = 0
    durations: list[float] = field(default_factory=list)
    """From the begin of the migration to its success, in seconds."""


def at_fixed_rate(latencies: list[float]) -> list[float]:
    """Return the delays of clients that send a request every 10 ms, whether or not one waits.

    A client of this measurement waits for each response. In 5 s without one it sends 1 request
    instead of 500, so the percentiles of its requests hide the pause. As HdrHistogram does
    (recordValueWithExpectedInterval), each delay adds those of the requests that were not sent.
    """
    return [
        latency - missed * INTERVAL_S
        for latency in latencies
        for missed in range(max(int(latency / INTERVAL_S), 1))
    ]


def measure(
    port: int, uri: str, tokens: list[str], folder: Path, sizes: Sizes
) -> Iterator[list[Side]]:
    """Yield the three sides after each round, in which each has its turn.

    `folder` does not exist yet: a copy of the SQL folder gets a migration for each turn.
    """
    shutil.copytree(resource_path("sql"), folder)
    requests = [
        one
        for token in tokens
        for one in (
            request("POST", "/todos", token, b'{"text": "t"}', "return=minimal"),
            request("GET", "/todos?limit=5", token),
        )
    ]
    none, long, short = Side("no migration"), Side("one try of 5 s"), Side("tries of 200 ms")
    for _ in range(sizes.rounds):
        _one(port, requests, none, lambda: _wait(sizes.blocker_s), nullcontext())
        for side, work in ((long, _migrate_in_one_try), (short, _migrate_in_short_tries)):
            _add_migration(folder)
            blocker = _blocker(uri, sizes.blocker_s)
            _one(port, requests, side, partial(work, uri, folder), blocker)
        yield [none, long, short]


def _one(
    port: int,
    requests: list[bytes],
    side: Side,
    work: Callable[[], int],
    blocker: AbstractContextManager[None],
) -> None:
    stop = multiprocessing.get_context("fork").Event()
    results: list[list[float]] = []
    # The processes are forked before there are threads and connections.
    with run_until(port, requests, CLIENTS, stop, results), blocker:
        begin = time.monotonic()
        side.failed_runs += work()
        side.durations.append(time.monotonic() - begin)
    side.latencies += [latency for found in results for latency in found]


@contextmanager
def _blocker(uri: str, seconds: float) -> Iterator[None]:
    """Hold a lock on the table of todos until another session has waited for `seconds`."""
    with psycopg.connect(uri, application_name="report") as blocker:
        blocker.execute("select count(*) from app.todos")
        end = threading.Thread(target=_end_after, args=(uri, blocker, seconds))
        end.start()
        yield
        end.join()


def _end_after(uri: str, blocker: psycopg.Connection, seconds: float) -> None:
    """Roll the session back when another one has waited for it for so long."""
    query = "select from pg_stat_activity where %s = any(pg_blocking_pids(pid))"
    pid = blocker.info.backend_pid
    with psycopg.connect(uri, autocommit=True) as db:
        while db.execute(query, (pid,)).fetchone() is None:
            time.sleep(0.02)
    time.sleep(seconds)
    blocker.rollback()


def _wait(seconds: float) -> int:
    time.sleep(seconds)
    return 0


def _add_migration(folder: Path) -> None:
    number = len(list((folder / "migrations").glob("*.sql"))) + 1
    (folder / "migrations" / f"{number:04}_column.sql").write_text(
        f"alter table app.todos add column column_{next(_columns)} text;\n"
    )


def _migrate_in_one_try(uri: str, folder: Path) -> int:
    """Migrate as version 0.1.0, and again until it succeeds; return how often it failed."""
    for failed in itertools.count():
        try:
            migrate(uri, folder, lock_try_ms=LONG_TRY_MS, lock_timeout_ms=LONG_TRY_MS)
        except SessionbaseError:
            continue
        return failed
    raise AssertionError


def _migrate_in_short_tries(uri: str, folder: Path) -> int:
    migrate(uri, folder)
    return 0
