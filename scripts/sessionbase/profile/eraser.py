"""Erase a profile: delete all its rows, and leave an entry in app.profile_log."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from sessionbase.console import CountProgress
from sessionbase.errors import SessionbaseError
from sessionbase.paths import command
from sessionbase.profile.export_file import Export
from sessionbase.profile.exporter import hash_rows
from sessionbase.profile.session import change, snapshot
from sessionbase.profile.tables import NAMES, count_rows, read_types

BATCH = 10_000

# Children before parents, for the foreign keys. A trigger writes to cleared_session_repo_bindings
# when a row of session_repo_bindings is deleted.
_ORDER = (
    "tool_event_transitions",
    "tool_events",
    "misalignment_transitions",
    "misalignments",
    "hookify_decisions",
    "hookify_chains",
    "todos",
    "session_repo_bindings",
    "cleared_session_repo_bindings",
    "ui_settings",
)
_LOG = """
insert into app.profile_log (profile_id, action, content_sha256, reason)
values (%s, 'erase', %s, %s)
returning number, row_counts, done_at, done_by, chain_length, chain_head_hash
"""
_HEAD = "select length, head_hash from app.hookify_chains where profile_id = %s"


@dataclass(frozen=True)
class EraseReport:
    """What was erased, or with a dry run would be."""

    profile: str
    rows: dict[str, int]
    chain_length: int
    chain_head_hash: str
    """row_hash of the newest decision; 64 zeros without one."""
    number: int | None = None
    """The number of the entry in app.profile_log; None after a dry run."""
    erased_at: str | None = None
    erased_by: str | None = None
    reason: str | None = None


def plan_erasure(
    db_uri: str, profile: str, unchanged: Export | None, progress: CountProgress | None = None
) -> EraseReport:
    """Return what erase_profile would delete; it raises the same errors. Changes nothing."""
    with snapshot(db_uri) as conn:
        rows = count_rows(conn, profile)
        _require_rows(profile, rows)
        head: Any = conn.execute(_HEAD, (profile,)).fetchone() or (0, "0" * 64)
        _compare(conn, profile, rows, unchanged, progress)
    return EraseReport(profile, rows, *head)


def erase_profile(
    db_uri: str,
    profile: str,
    reason: str | None = None,
    unchanged: Export | None = None,
    progress: CountProgress | None = None,
) -> EraseReport:
    """Delete all rows of a profile and leave an entry in app.profile_log, or change nothing.

    With `unchanged`, only if the rows are still those of this export. The comparison and the
    deletion are in one transaction, in which no client can write to the profile. Raises
    SessionbaseError if the profile has no rows, or others than the export.
    """
    with change(db_uri) as conn:
        digest = unchanged.content_sha256 if unchanged else None
        entry: Any = conn.execute(_LOG, (profile, digest, reason)).fetchone()
        number, counts, erased_at, erased_by, length, head_hash = entry
        rows = {name: counts[name] for name in NAMES}
        _require_rows(profile, rows)
        _compare(conn, profile, rows, unchanged, progress)
        done, total = 0, sum(rows.values())
        for name in _ORDER:
            deleted = 0
            for count in _delete(conn, name, profile):
                deleted += count
                done += count
                if progress:
                    progress(min(done, total), total)
            if deleted != rows[name] and name != "cleared_session_repo_bindings":
                raise SessionbaseError(
                    f"app.{name} was changed by another session; nothing was erased", "run it again"
                )
    return EraseReport(
        profile, rows, length, head_hash, number, erased_at.isoformat(), erased_by, reason
    )


def _require_rows(profile: str, rows: dict[str, int]) -> None:
    if not any(rows.values()):
        raise SessionbaseError(
            f"profile {profile} has no rows", f"{command()} profile list shows the profiles"
        )


def _compare(
    conn: psycopg.Connection[Any],
    profile: str,
    rows: dict[str, int],
    unchanged: Export | None,
    progress: CountProgress | None,
) -> None:
    """Raise SessionbaseError if the rows are not those of the export."""
    if unchanged is None:
        return
    if unchanged.profile != profile:
        raise SessionbaseError(
            f"{unchanged.path} is an export of profile {unchanged.profile}, not of {profile}"
        )
    types = read_types(conn)
    same_columns = unchanged.header["columns"] == {
        name: list(columns) for name, columns in types.items()
    }
    changed = [
        f"{name} has {rows[name]} rows, the export {unchanged.rows[name]}"
        for name in NAMES
        if rows[name] != unchanged.rows[name]
    ]
    if same_columns and not changed:
        total = sum(rows.values())
        if hash_rows(conn, profile, types, total, progress) == (rows, unchanged.content_sha256):
            return
    reason = "; ".join(changed) or (
        "a row was changed" if same_columns else "the tables have other columns"
    )
    raise SessionbaseError(
        f"profile {profile} differs from {unchanged.path}: {reason}; nothing was erased",
        "export it again",
    )


def _delete(conn: psycopg.Connection[Any], name: str, profile: str) -> Iterator[int]:
    """Delete the rows of a table in batches; yield the number of rows of each.

    The cursor reads each row once. A query per batch would read all deleted rows again.
    """
    table = sql.Identifier("app", name)
    rows = sql.SQL("select ctid::text from {} where profile_id = %s").format(table)
    delete = sql.SQL("delete from {} where ctid = any(%s::tid[])").format(table)
    with conn.cursor(name=f"erase_{name}") as cursor:
        cursor.execute(rows, (profile,))
        while batch := [row[0] for row in cursor.fetchmany(BATCH)]:
            yield conn.execute(delete, (batch,)).rowcount
