"""Export a profile's records as the JSON array of the app's legacy file.

PostgreSQL writes the JSON of each record, so that no number becomes a float. Python only indents
it, as JSON.stringify(records, null, 2) does, and writes it on. The export is one COPY in one
snapshot: memory is that of one record, and the file shows one moment of the database.
"""

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import psycopg
from psycopg import sql

from sessionbase.console import CountProgress
from sessionbase.database import become_owner, connect
from sessionbase.errors import SessionbaseError
from sessionbase.legacy.fields import TIME, Record
from sessionbase.legacy.tool_events import TOOL_EVENTS

# A JSON string holds no raw line break, so both match only between tokens.
_EMPTY = re.compile(r"([\[{])\n *([\]}])")
_INDENT = re.compile(r"\n( *)")


def export_tool_events(
    db_uri: str, profile: str, stream: BinaryIO, progress: CountProgress | None = None
) -> int:
    """Write all tool events of `profile` to `stream`, oldest first; return their number.

    If the file is imported again, every record is already there. Raises SessionbaseError if the
    database cannot be read, or has a time that the file's format cannot express.
    """
    record = TOOL_EVENTS
    with connect(db_uri) as conn:
        conn.execute("set transaction isolation level repeatable read, read only")
        conn.execute("set local search_path = ''")
        conn.execute("set local statement_timeout = 0")
        conn.execute("set local timezone = 'UTC'")
        become_owner(conn)
        count = sql.SQL("select count(*) from " + record.table + " where profile_id = %s")
        counted: Any = conn.execute(count, (profile,)).fetchone()
        total: int = counted[0]
        written = 0
        stream.write(b"[")
        for text in _records(conn, record, profile):
            stream.write(b",\n" if written else b"\n")
            stream.write(text)
            written += 1
            if progress and (written % 100 == 0 or written == total):
                progress(written, total)
        stream.write(b"\n]\n" if written else b"]\n")
    return written


@contextmanager
def new_file(path: Path, *, overwrite: bool, private: bool = False) -> Iterator[BinaryIO]:
    """Open a file that gets the name `path` when the block ends without an exception.

    If it is `private`, only its owner can read it.

    Raises SessionbaseError if it cannot be written, or if `path` exists: with `overwrite`, only if
    `path` is not an ordinary file.
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
            if private:
                os.fchmod(stream.fileno(), 0o600)
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
        f"{path} exists, and was not changed", "--force replaces it, or name another"
    )


def _records(conn: psycopg.Connection[Any], record: Record, profile: str) -> Iterator[bytes]:
    with conn.cursor() as cursor, cursor.copy(_select(record, profile)) as copy:
        for key, in_range, text in copy.rows():
            if in_range != "t":
                raise SessionbaseError(
                    f"{record.noun} {key} has a time outside the years 1 to 9999, "
                    "which the file's format cannot express"
                )
            yield _indented(text).encode()


def _select(record: Record, profile: str) -> sql.Composed:
    """Return a COPY of each row's key, whether its times are in range, and its JSON text.

    A column that is null makes its field absent. A JSON null is a value.
    """
    fields = ",\n      ".join(
        f"'    \"{field.key}\": ' || {field.write()}" for field in record.fields
    )
    times = [field.column for field in record.stored if field.kind is TIME]
    # Only a DBA can have stored others; ISO 8601 has four digits for the year.
    in_range = " and ".join(
        f"coalesce({time} >= '0001-01-01Z' and {time} < '10000-01-01Z', true)" for time in times
    )
    return sql.SQL(f"""
copy (
  select
    {record.key},
    {in_range} as in_range,
    E'{{{{\\n' || concat_ws(
      E',\\n',
      {fields}
    ) || E'\\n}}}}' as record
  from {record.table}
  where profile_id = {{profile}}
  order by {record.started}, {record.key} collate "C"
) to stdout
""").format(profile=sql.Literal(profile))


def _indented(text: str) -> str:
    """Indent a record by 2 spaces a level, inside an array; the database indents by 4 a level."""
    halved = _INDENT.sub(lambda found: "\n  " + found[1][: len(found[1]) // 2], text)
    return "  " + _EMPTY.sub(r"\1\2", halved)
