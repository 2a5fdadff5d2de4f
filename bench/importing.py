"""The importer against a plain COPY of the same rows into the bare table."""

import json
import statistics
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg

from sessionkeep.importer.tool_events import import_tool_events

COLUMNS = "id, session_id, thread_id, tool_call_id, tool_name, status, arguments, started_at"


def compare(db_uri: str, records: int, rounds: int) -> tuple[float, float, float]:
    """Return records/s of the importer, of COPY, and the median of the rounds' ratios."""
    rates: list[tuple[float, float]] = []
    for number in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "events.json"
            rows = _rows(number, records)
            _write_legacy_file(file, rows)

            began = time.perf_counter()
            import_tool_events(db_uri, file, f"bench-import-{number}")
            imported = time.perf_counter() - began

            with psycopg.connect(db_uri) as connection, connection.cursor() as cursor:
                began = time.perf_counter()
                with cursor.copy(f"copy api.bare_tool_events ({COLUMNS}) from stdin") as copy:
                    for row in rows:
                        copy.write_row([*row[:6], json.dumps(row[6]), row[7]])
                connection.commit()
                copied = time.perf_counter() - began
        rates.append((records / imported, records / copied))
    return (
        statistics.median(rate for rate, _ in rates),
        statistics.median(rate for _, rate in rates),
        statistics.median(ours / plain for ours, plain in rates),
    )


def _rows(number: int, records: int) -> list[tuple[object, ...]]:
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


def _write_legacy_file(file: Path, rows: list[tuple[object, ...]]) -> None:
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
