"""Import a profile from the file of an export: all its rows unchanged, in one transaction."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg

from sessionbase.console import CountProgress
from sessionbase.database import check_profile
from sessionbase.errors import SessionbaseError
from sessionbase.paths import command
from sessionbase.profile.export_file import Export, ProfileReport, read_export, read_rows
from sessionbase.profile.exporter import hash_rows
from sessionbase.profile.session import change
from sessionbase.profile.tables import Types, insert_lines, read_types

BATCH_ROWS = 1000
BATCH_BYTES = 4 * 1024 * 1024

_LOG = """
insert into app.profile_log (
  profile_id, action, row_counts, chain_length, chain_head_hash, content_sha256, reason, history
)
values (
  %(profile)s, 'import', %(rows)s, %(length)s, %(head_hash)s, %(content_sha256)s, %(reason)s,
  %(history)s
)
"""
_VERIFY = """
select valid, next_position, first_bad_position, problem
from app.verify_hookify_chain(%s, %s, 10000)
"""


def import_profile(
    db_uri: str,
    path: Path,
    reason: str | None = None,
    progress: CountProgress | None = None,
) -> ProfileReport:
    """Load all rows of an export file: the whole file or nothing.

    Afterwards, in the same transaction, the rows are read again and their hash is compared with the
    file's, and the chain of decisions is verified. Raises SessionbaseError if the file is not
    complete, the profile has rows here, or the database can't store the file's columns.
    """
    export = read_export(path)
    check_profile(export.profile)
    with change(db_uri) as conn:
        types = _types_of(conn, export)
        _log_import(conn, export, reason)
        total = 2 * export.total  # each row is written, and then read
        done = 0
        for name, lines in _batches(export):
            conn.execute(
                insert_lines(name, types[name]), {"profile": export.profile, "lines": lines}
            )
            done += len(lines)
            if progress:
                progress(done, total)
        shown = progress and (lambda done, _: progress(export.total + done, total))
        rows, content_sha256 = hash_rows(conn, export.profile, types, export.total, shown or None)
        if (rows, content_sha256) != (export.rows, export.content_sha256):
            raise SessionbaseError(
                "the rows in the database differ from those of the file; nothing was imported"
            )
        _verify_chain(conn, export.profile)
    return ProfileReport(export.profile, rows, content_sha256)


def _types_of(conn: psycopg.Connection[Any], export: Export) -> Types:
    """Return the types of the file's columns. Raises SessionbaseError if one does not exist."""
    version, chain = export.header.get("migration"), export.header.get("migration_chain")
    found = conn.execute("select chain from ops.migrations where version = %s", (version,))
    row = found.fetchone()
    if row is None:
        raise SessionbaseError(
            f"the file is of migration {version}, which this database does not have",
            f"upgrade sessionbase here and run {command()} migrate",
        )
    if row[0] != chain:
        raise SessionbaseError(
            f"migration {version} of this database is another one than that of the file",
            "import into a database with the migrations of the same sessionbase",
        )
    here = read_types(conn)
    columns: dict[str, list[str]] = export.header["columns"]
    unknown = [
        f"{table}.{column}"
        for table, names in columns.items()
        for column in names
        if column not in here.get(table, {})
    ]
    if unknown:
        raise SessionbaseError(
            f"this database has no column {', '.join(unknown)}",
            "use an older sessionbase for the import, or export with a newer one",
        )
    return {
        table: {column: types[column] for column in columns.get(table, [])}
        for table, types in here.items()
    }


def _log_import(conn: psycopg.Connection[Any], export: Export, reason: str | None) -> None:
    """Write the entry of the log. Its trigger locks the profile."""
    values = {
        "profile": export.profile,
        "rows": json.dumps(export.rows),
        "length": export.chain_length,
        "head_hash": export.chain_head_hash,
        "content_sha256": export.content_sha256,
        "reason": reason,
        "history": json.dumps(export.header["history"]),
    }
    try:
        conn.execute(_LOG.encode(), values)
    except psycopg.errors.ObjectNotInPrerequisiteState as error:
        raise SessionbaseError(
            f"profile {export.profile} is not empty: {error.diag.message_primary}",
            f"nothing was imported; {command()} profile erase deletes these rows",
        ) from error


def _batches(export: Export) -> Iterator[tuple[str, list[str]]]:
    """Yield the lines of the file in its order, in batches of one table."""
    batch: list[str] = []
    size = 0
    current = ""
    for name, line in read_rows(export):
        full = len(batch) >= BATCH_ROWS or size + len(line) > BATCH_BYTES
        if batch and (name != current or full):
            yield current, batch
            batch, size = [], 0
        current = name
        batch.append(line.decode())
        size += len(line)
    if batch:
        yield current, batch


def _verify_chain(conn: psycopg.Connection[Any], profile: str) -> None:
    """Raise SessionbaseError if the chain of decisions, which can be empty, is not valid."""
    known = conn.execute(
        "select exists (select from app.hookify_chains where profile_id = %(profile)s)"
        " or exists (select from app.hookify_decisions where profile_id = %(profile)s)",
        {"profile": profile},
    ).fetchone()
    position: int | None = 1 if known and known[0] else None
    while position is not None:
        found: Any = conn.execute(_VERIFY.encode(), (profile, position)).fetchone()
        valid, position, bad_position, problem = found
        if valid is False:
            raise SessionbaseError(
                f"the chain of decisions in the file is not valid at position {bad_position}: "
                f"{problem}; nothing was imported"
            )
