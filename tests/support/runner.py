"""The migration runner in a process of its own, for tests that send it signals."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg

from support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.sql_folder import Folder

FIRST = (
    "create schema app;\n"
    "create table app.notes (id int, body text);\n"
    "insert into app.notes select n, 'note ' || n from generate_series(1, 1000) as n;\n"
)
"""A first migration, with a table of 1000 rows."""


@contextmanager
def start_migrate(
    folder: Folder, *options: str, prefix: tuple[str, ...] = ()
) -> Iterator[subprocess.Popen[str]]:
    """Start `sessionbase migrate` on the folder; yield its process, which is killed at the end.

    `prefix` is a program and its arguments that runs the command.
    """
    command = [*prefix, sys.executable, "-m", "sessionbase", "migrate", *options]
    process = subprocess.Popen(
        [*command, "--db-uri", folder.uri, "--sql-dir", str(folder.path)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def backends(folder: Folder, process_id: int) -> list[tuple[Any, ...]]:
    """Return pid, type of wait, wait, and query of the backends of a process of the command."""
    with psycopg.connect(folder.uri, autocommit=True) as conn:
        return conn.execute(
            "select pid, wait_event_type, wait_event, query from pg_stat_activity"
            " where application_name = %s and datname = current_database()",
            (f"sessionbase/{process_id}",),
        ).fetchall()


def wait_for_query(
    folder: Folder, process: subprocess.Popen[str], text: str, *, pid: int | None = None
) -> None:
    """Wait until the process waits in a statement that contains `text`: for a lock, or in a sleep.

    `pid` is its process id as it sees it itself, if that is another one.
    """

    def runs() -> bool:
        if process.poll() is not None:
            raise AssertionError(f"it ended too early: {process.communicate()}")
        return any(
            text in row[3] and row[1] in {"Lock", "Timeout"}
            for row in backends(folder, pid or process.pid)
        )

    wait_for(runs, f"the runner does not wait in a statement with {text!r}")
