"""The JSON Lines file of the records that were not imported: rejects and conflicts."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import psycopg

from sessionbase.errors import SessionbaseError
from sessionbase.legacy.report import ImportReport
from sessionbase.legacy.statements import Statements

REASONS_SHOWN = 20


def write_rejects(
    conn: psycopg.Connection[tuple[Any, ...]],
    statements: Statements,
    report: ImportReport,
    wanted: Path | None,
) -> None:
    """Write the rejects and conflicts, in the file's order, to a new JSON Lines file.

    Sets the report's `reasons` and `rejects_file`. The file is `wanted`, or a free name beside the
    imported file. Raises SessionbaseError if no file can be written.
    """
    commonest = statements.select_bad(
        "unnest(reasons), count(*)", f"group by 1 order by 2 desc, 1 limit {REASONS_SHOWN}"
    )
    report.reasons = {str(reason): int(count) for reason, count in conn.execute(commonest)}
    path, stream = _new_rejects_file(Path(report.file), wanted)
    try:
        with stream, conn.cursor("rejects") as cursor:
            cursor.itersize = 200
            cursor.execute(
                statements.select_bad(
                    "position, byte_offset, outcome, reasons, payload", "order by position"
                )
            )
            for position, offset, outcome, reasons, payload in cursor:
                head = {
                    "position": position,
                    "byte": offset,
                    "outcome": outcome,
                    "reasons": reasons,
                }
                line = json.dumps(head, ensure_ascii=False)[:-1]
                stream.write(f'{line}, "record": {_in_one_line(payload)}}}\n'.encode())
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    report.rejects_file = str(path)


def _in_one_line(text: str) -> str:
    """Join the lines of a JSON text. Line breaks occur only between its tokens."""
    return re.sub(r"\s*[\r\n]\s*", " ", text)


def _new_rejects_file(file: Path, wanted: Path | None) -> tuple[Path, BinaryIO]:
    candidates = iter([wanted]) if wanted else _rejects_names(file)
    problem: OSError | None = None
    for path in candidates:
        try:
            return path, path.open("xb")
        except OSError as error:
            problem = error
    why = problem.strerror if problem else "no free name"
    raise SessionbaseError(
        f"the rejects file can't be written, and nothing was loaded: {why}",
        "name one with --rejects",
    ) from problem


def _rejects_names(file: Path) -> Iterator[Path]:
    """Yield candidate names: beside the file, then in the working directory."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%fZ")
    for folder in (file.parent, Path.cwd()):
        yield folder / f"{file.name}.rejects.jsonl"
        yield folder / f"{file.name}.rejects-{stamp}.jsonl"
