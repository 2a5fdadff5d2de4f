"""Export a profile: all its rows, from one snapshot of the database.

PostgreSQL writes each row as a line of JSON, so that no number and no time loses a digit. The lines
are streamed: memory does not depend on the number of rows.
"""

import hashlib
from typing import Any, BinaryIO

import psycopg

from sessionbase import __version__
from sessionbase.console import CountProgress
from sessionbase.errors import SessionbaseError
from sessionbase.json_lines import HashingWriter
from sessionbase.paths import command
from sessionbase.profile.export_file import ExportWriter, ProfileReport
from sessionbase.profile.session import snapshot
from sessionbase.profile.tables import (
    TABLES,
    Types,
    copy_lines,
    count_rows,
    read_types,
)

PROGRESS_STEP = 1000

# The entry of an import has the entries of the databases before. A profile that returns to a
# database brings that database's own entries with it, so each is taken once.
_HISTORY = """
select coalesce(jsonb_agg(known.entry order by known.entry ->> 'done_at'), '[]')
from (
  select distinct entry.entry
  from app.profile_log as log
  cross join jsonb_array_elements(
    log.history || (
      to_jsonb(log) - 'history' - 'profile_id'
      || jsonb_build_object('database', current_database())
    )
  ) as entry (entry)
  where log.profile_id = %(profile)s
) as known
"""
_MOMENT = """
select current_database(), pg_current_snapshot()::text, to_char(
  now() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'
)
"""


def export_profile(
    db_uri: str, profile: str, stream: BinaryIO, progress: CountProgress | None = None
) -> ProfileReport:
    """Write all rows of a profile to `stream`, in the format of docs/profiles.md.

    Raises SessionbaseError if the database can't be read, or the profile has no rows.
    """
    with snapshot(db_uri) as conn:
        total = sum(count_rows(conn, profile).values())
        if not total:
            raise SessionbaseError(
                f"profile {profile} has no rows", f"{command()} profile list shows the profiles"
            )
        types = read_types(conn)
        writer = ExportWriter(stream)
        writer.start(_header(conn, profile, types))
        rows = write_rows(conn, profile, types, writer.content(), total, progress)
        content_sha256 = writer.finish(rows)
    return ProfileReport(profile, rows, content_sha256)


def hash_rows(
    conn: psycopg.Connection[Any],
    profile: str,
    types: Types,
    total: int,
    progress: CountProgress | None = None,
) -> tuple[dict[str, int], str]:
    """Return the counts and the SHA-256 (hex) of the lines that an export would have."""
    digest = hashlib.sha256()
    rows = write_rows(conn, profile, types, HashingWriter(None, digest), total, progress)
    return rows, digest.hexdigest()


def write_rows(  # noqa: PLR0917
    conn: psycopg.Connection[Any],
    profile: str,
    types: Types,
    writer: HashingWriter,
    total: int,
    progress: CountProgress | None,
) -> dict[str, int]:
    """Write the lines of all tables; return the number of lines of each."""
    rows = {}
    done = 0
    for table in TABLES:
        count = 0
        with conn.cursor() as cursor:
            statement = copy_lines(table, profile, types[table.name])
            with cursor.copy(statement) as copy:
                for block in copy:
                    writer.write(bytes(block))
                    count += bytes(block).count(b"\n")
                    if progress and (done + count) % PROGRESS_STEP == 0:
                        progress(done + count, total)
        rows[table.name] = count
        done += count
    if progress:
        progress(done, total)
    return rows


def _header(conn: psycopg.Connection[Any], profile: str, types: Types) -> dict[str, Any]:
    moment: Any = conn.execute(_MOMENT).fetchone()
    ledger: Any = conn.execute(
        "select version, chain from ops.migrations order by version desc limit 1"
    ).fetchone()
    history: Any = conn.execute(_HISTORY.encode(), {"profile": profile}).fetchone()
    database, snapshot_id, exported_at = moment
    return {
        "profile": profile,
        "sessionbase": __version__,
        "migration": ledger[0],
        "migration_chain": ledger[1],
        "database": database,
        "exported_at": exported_at,
        "snapshot": snapshot_id,
        "columns": {name: list(columns) for name, columns in types.items()},
        "history": history[0],
    }
