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
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from load import request, run_until
from sessionbase.errors import SessionbaseError
from sessionbase.migrate.runner import migrate
from sessionbase.paths import resource_path

CLIENTS = 8
LONG_TRY_MS = 5000
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
    turns: list[tuple[Side, Callable[[], int]]] = [
        (none, lambda: _wait(sizes.blocker_s)),
        (long, lambda: _migrate_in_one_try(uri, folder)),
        (short, lambda: _migrate_in_short_tries(uri, folder)),
    ]
    for _ in range(sizes.rounds):
        for side, work in turns:
            _one(port, uri, requests, side, work, sizes.blocker_s)
        yield [none, long, short]


def _one(
    port: int,
    uri: str,
    requests: list[bytes],
    side: Side,
    work: Callable[[], int],
    blocker_s: float,
) -> None:
    stop = multiprocessing.get_context("fork").Event()
    results: list[list[float]] = []
    # The processes are forked before there are threads and connections.
    with run_until(port, requests, CLIENTS, stop, results), psycopg.connect(uri) as blocker:
        blocker.execute("select count(*) from app.todos")
        end = threading.Timer(blocker_s, blocker.rollback)
        end.start()
        begin = time.monotonic()
        side.failed_runs += work()
        side.durations.append(time.monotonic() - begin)
        end.join()
    side.latencies += [latency for found in results for latency in found]


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
    _add_migration(folder)
    for failed in itertools.count():
        try:
            migrate(uri, folder, lock_try_ms=LONG_TRY_MS, lock_timeout_ms=LONG_TRY_MS)
        except SessionbaseError:
            continue
        return failed
    raise AssertionError


def _migrate_in_short_tries(uri: str, folder: Path) -> int:
    _add_migration(folder)
    migrate(uri, folder)
    return 0
