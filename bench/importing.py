"""The importer and COPY of the same rows, into the real table and into the baseline table.

The importer is run as a command. Its time for a file without records is the time to start, and is
subtracted.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg

COLUMNS = "id, session_id, thread_id, tool_call_id, tool_name, status, arguments, started_at"
TARGETS = {
    "plain COPY into app.tool_events (its checks, triggers and log)": "app.tool_events",
    "plain COPY into the baseline table": "api.baseline_tool_events",
}


def compare(db_uri: str, records: int, rounds: int) -> tuple[float, dict[str, tuple[float, float]]]:
    """Return the importer's records/s, and for each COPY its records/s and the importer's ratio."""
    imported: list[float] = []
    copied: dict[str, list[float]] = {name: [] for name in TARGETS}
    for number in range(rounds):
        rows = make_rows(number, records)
        with tempfile.TemporaryDirectory() as folder:
            file, empty = Path(folder) / "events.json", Path(folder) / "empty.json"
            write_legacy_file(file, rows)
            write_legacy_file(empty, [])
            start = run_import(db_uri, empty, "bench-import-empty")
            took = run_import(db_uri, file, f"bench-import-{number}") - start
            imported.append(records / took)
        for name, table in TARGETS.items():
            profile = "profile_id, " if table.startswith("app.") else ""
            first = [f"bench-copy-{number}"] if profile else []
            with psycopg.connect(db_uri) as connection, connection.cursor() as cursor:
                began = time.perf_counter()
                with cursor.copy(f"copy {table} ({profile}{COLUMNS}) from stdin") as copy:
                    for row in rows:
                        copy.write_row([*first, *row[:6], json.dumps(row[6]), row[7]])
                connection.commit()
                copied[name].append(records / (time.perf_counter() - began))
    return statistics.median(imported), {
        name: (
            statistics.median(rates),
            statistics.median(ours / plain for ours, plain in zip(imported, rates, strict=True)),
        )
        for name, rates in copied.items()
    }


def make_rows(number: int, records: int) -> list[tuple[object, ...]]:
    """Return the values of `records` tool events; `number` makes their ids unique."""
    began = datetime(2026, 1, 1, tzinfo=UTC)
    return [
        (
            f"tool_{number}_{n}",
            f"session-{n % 100}",
            f"thread_{n % 500}",
            str(n),
            "get_timeline_event",
            "executing",
            {"sessionId": "session-default", "eventNumber": n},
            f"{(began + timedelta(milliseconds=n)).isoformat(timespec='milliseconds')[:-6]}Z",
        )
        for n in range(records)
    ]


def write_legacy_file(file: Path, rows: list[tuple[object, ...]]) -> None:
    """Write the tool events as the app's chat-tool-events.json."""
    names = (
        "id",
        "sessionId",
        "threadId",
        "toolCallId",
        "toolName",
        "status",
        "arguments",
        "startedAt",
    )
    file.write_text(json.dumps([dict(zip(names, row, strict=True)) for row in rows], indent=2))


def run_import(db_uri: str, file: Path, profile: str) -> float:
    """Run `sessionbase import tool-events` and return its seconds.

    Raises CalledProcessError if it fails.
    """
    began = time.perf_counter()
    subprocess.run(
        [
            Path(sys.executable).with_name("sessionbase"),
            "import",
            "tool-events",
            file,
            "--profile",
            profile,
        ],
        env={**os.environ, "SESSIONBASE_DB_URI": db_uri},
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return time.perf_counter() - began
