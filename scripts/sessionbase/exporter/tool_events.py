"""Export a profile's tool events as the JSON array that the app's chat-tool-events.json is.

PostgreSQL writes the JSON of each record, so that no number passes through a float; Python only
indents it as JSON.stringify(events, null, 2) does, and streams it on. One COPY inside one snapshot:
neither side holds more than a record, and what clients write meanwhile is not half in the file.
"""

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import psycopg
from psycopg import sql

from sessionbase.errors import SessionbaseError
from sessionbase.options import become_owner, connect

PRETTY_LIMIT = 65536
"""Bytes of a JSON value up to which it is indented; a longer one stands on one line, because
indenting could make a deeply nested one a thousand times as long."""

_COUNT = "select count(*) from app.tool_events where profile_id = %s"
_RECORDS = """
copy (
  select
    id,
    {in_range} as in_range,
    E'{{\n' || concat_ws(
      E',\n',
      {fields}
    ) || E'\n}}' as record
  from app.tool_events
  where profile_id = {profile}
  order by started_at, id collate "C"
) to stdout
"""
_TEXT = "to_json({0})::text"
_NUMBER = "{0}::text"
_JSON = (
    "case when octet_length({0}::text) > "
    f"{PRETTY_LIMIT}"
    " then {0}::text else replace(jsonb_pretty({0}), E'\\n', E'\\n    ') end"
)
# Milliseconds, as the app writes them, where that is all there is.
_TIME = (
    "to_json(to_char({0}, case when date_trunc('milliseconds', {0}) = {0} "
    """then 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"' else 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"' end))::text"""
)
# In the order of the app's own files. A column that is null makes its field absent; a JSON null is
# a value, and stays.
_FIELDS = (
    ("id", "id", _TEXT),
    ("sessionId", "session_id", _TEXT),
    ("threadId", "thread_id", _TEXT),
    ("toolCallId", "tool_call_id", _TEXT),
    ("toolName", "tool_name", _TEXT),
    ("arguments", "arguments", _JSON),
    ("status", "status", _TEXT),
    ("result", "result", _JSON),
    ("error", "error", _TEXT),
    ("contextEvents", "context_events", _JSON),
    ("startedAt", "started_at", _TIME),
    ("completedAt", "completed_at", _TIME),
    ("latencyMs", "latency_ms", _NUMBER),
)
# Only a DBA can have stored others; ISO 8601 has four digits for the year.
_IN_RANGE = "started_at >= '0001-01-01Z' and coalesce(completed_at, started_at) < '10000-01-01Z'"

# A JSON string holds no raw line break: both match only between tokens.
_EMPTY = re.compile(r"([\[{])\n *([\]}])")
_INDENT = re.compile(r"\n( *)")


class Progress(Protocol):
    """Told how far the export is."""

    def __call__(self, records: int, records_total: int) -> None:
        """Take the number of records written so far, of all there are."""


def export_tool_events(
    db_uri: str, profile: str, stream: BinaryIO, progress: Progress | None = None
) -> int:
    """Write all tool events of `profile` to `stream`, oldest first; return how many.

    What is written can be imported again without a difference. Raises SessionbaseError where the
    database cannot be read, or holds a time that the file has no form for.
    """
    with connect(db_uri) as conn:
        conn.execute("set transaction isolation level repeatable read, read only")
        conn.execute("set local search_path = ''")
        conn.execute("set local statement_timeout = 0")
        conn.execute("set local timezone = 'UTC'")
        become_owner(conn)
        counted: Any = conn.execute(_COUNT, (profile,)).fetchone()
        total: int = counted[0]
        written = 0
        stream.write(b"[")
        for record in _records(conn, profile):
            stream.write(b",\n" if written else b"\n")
            stream.write(record)
            written += 1
            if progress and (written % 100 == 0 or written == total):
                progress(written, total)
        stream.write(b"\n]\n" if written else b"]\n")
    return written


@contextmanager
def new_file(path: Path, *, overwrite: bool) -> Iterator[BinaryIO]:
    """Open a file that gets the name `path` only when the block has ended without an exception.

    Raises SessionbaseError where it cannot be written, or where something has that name already:
    with `overwrite`, only if that is no ordinary file.
    """
    target = path.resolve()
    if target.exists() and not (overwrite and target.is_file()):
        raise _taken(path)
    # Beside the target, because a rename is atomic within one file system only.
    part = target.with_name(f".sessionbase-{secrets.token_hex(8)}.part")
    try:
        stream = part.open("xb")
    except OSError as error:
        raise SessionbaseError(f"{path} cannot be written: {error.strerror}") from error
    try:
        with stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        if overwrite:
            part.replace(target)
        else:
            try:
                target.hardlink_to(part)  # unlike a rename, it never replaces a file
            except FileExistsError:
                raise _taken(path) from None
            part.unlink()
    except OSError as error:
        part.unlink(missing_ok=True)
        raise SessionbaseError(f"{path} cannot be written: {error.strerror}") from error
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _taken(path: Path) -> SessionbaseError:
    if path.exists() and not path.is_file():
        return SessionbaseError(f"{path} is not an ordinary file")
    return SessionbaseError(
        f"{path} exists, and stays as it is", "--force replaces it, or name another"
    )


def _records(conn: psycopg.Connection[Any], profile: str) -> Iterator[bytes]:
    fields = [f"'    \"{name}\": ' || {form.format(column)}" for name, column, form in _FIELDS]
    query = sql.SQL(_RECORDS).format(
        in_range=sql.SQL(_IN_RANGE),
        fields=sql.SQL(",\n".join(fields)),
        profile=sql.Literal(profile),
    )
    with conn.cursor() as cursor, cursor.copy(query) as copy:
        for event_id, in_range, record in copy.rows():
            if in_range != "t":
                raise SessionbaseError(
                    f"event {event_id} has a time outside the years 1 to 9999, "
                    "which the file has no form for"
                )
            yield _indented(record).encode()


def _indented(record: str) -> str:
    """Give a record that is indented by 4 a level as it stands in the file: by 2, in an array."""
    halved = _INDENT.sub(lambda found: "\n  " + found[1][: len(found[1]) // 2], record)
    return "  " + _EMPTY.sub(r"\1\2", halved)
