"""`migrate repair`: a deliberate change of the ledger, shown first and recorded."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sessionbase.console import Log
from sessionbase.errors import SessionbaseError, UsageError
from sessionbase.migrate.edits import make_edit
from sessionbase.migrate.execute import apply_session_settings
from sessionbase.migrate.files import SqlFolder, read_folder
from sessionbase.migrate.ledger import (
    Applied,
    Connection,
    first_broken,
    ledger_exists,
    ledger_is_current,
    next_chain,
    read_ledger,
    record_change,
)
from sessionbase.migrate.session import ledger_session, prepare_ledger
from sessionbase.paths import command, resource_path


@dataclass(frozen=True)
class Change:
    """One change of the ledger."""

    version: int
    action: str
    """accept (the edited text), rename, remove, clear (an unfinished migration) or recompute."""
    description: str
    diff: str | None = field(default=None, repr=False)
    """For accept: from the ledger's text to the file; None if the ledger has no text."""


@dataclass(frozen=True)
class Repair:
    """The changes of the ledger, and the rows before and after."""

    changes: list[Change]
    before: list[Applied] = field(repr=False)
    after: list[Applied] = field(repr=False)
    cleared: list[dict[str, Any]] = field(repr=False)
    """The rows of ops.unfinished_migrations to delete."""

    def rewritten(self) -> list[tuple[Applied, Applied | None]]:
        """Return each row that changes, with the row after it; None: it is removed."""
        new = {row.version: row for row in self.after}
        pairs = [(row, new.get(row.version)) for row in self.before]
        return [(old, now) for old, now in pairs if now != old]


def _accepted(row: Applied, folder: SqlFolder) -> tuple[Applied, Change] | None:
    """Return the row with the name and text of its file, and the change; None if it is the same."""
    file = next((item for item in folder.migrations if item.version == row.version), None)
    if file is None or (file.file.sha256 == row.sha256 and file.name == row.name):
        return None
    now = replace(row, name=file.name, sha256=file.file.sha256, content=file.file.text)
    names = f"migrations/{row.file_name}", file.file.label
    edit = make_edit(names, row.kept_text, file.file)
    renamed = "" if file.name == row.name else f"the file is now {file.file.path.name}"
    if file.file.sha256 == row.sha256:
        return now, Change(row.version, "rename", f"{row.file_name}: {renamed}")
    text = f"the edited text is accepted (sha256 {row.sha256[:12]}… to {now.sha256[:12]}…)"
    described = "; ".join(part for part in (renamed, text) if part)
    return now, Change(row.version, "accept", f"{row.file_name}: {described}", edit.diff)


def _with_chain(rows: list[Applied]) -> list[Applied]:
    chain, result = "", []
    for row in rows:
        chain = next_chain(chain, row.sha256)
        result.append(replace(row, chain=chain))
    return result


def _remove(rows: list[Applied], folder: SqlFolder, versions: set[int]) -> list[Change]:
    """Remove the named rows whose file is missing; they must be the newest."""
    files = {item.version for item in folder.migrations}
    gone = [row for row in rows if row.version in versions and row.version not in files]
    kept = [row for row in rows if row not in gone]
    between = [row for row in kept if gone and row.version > gone[0].version]
    if between:
        raise SessionbaseError(
            f"the row of {gone[0].file_name} can't be removed: {between[0].file_name} was applied "
            "after it, and the numbers would have a gap",
            "restore the file from version control; migrate status names the kept text",
        )
    rows[:] = kept
    return [
        Change(
            row.version,
            "remove",
            f"{row.file_name}: the row is removed; the objects that the file made stay",
        )
        for row in gone
    ]


def _unknown(versions: set[int], changes: list[Change]) -> SessionbaseError:
    names = ", ".join(f"{number:04}" for number in sorted(versions - {c.version for c in changes}))
    return SessionbaseError(
        f"nothing to repair for {names}: the ledger and the folder agree",
        f"{command()} migrate status lists the differences",
    )


def _require_chain(rows: list[Applied], *, recompute: bool) -> list[Change]:
    """Raise SessionbaseError if the chain is broken, unless it is to be computed again."""
    broken = first_broken(rows)
    if broken is None:
        return []
    numbers = [row.version for row in rows]
    if numbers != list(range(1, len(numbers) + 1)):
        absent = min(set(range(1, max(numbers) + 1)) - set(numbers))
        raise SessionbaseError(
            f"the row of migration {absent:04} was removed from the ledger by hand",
            "restore the row from a backup: nothing shows which text was applied",
        )
    if not recompute:
        raise SessionbaseError(
            f"the ledger was edited: the chain of row {broken} does not match the rows before it",
            "restore its rows from a backup; or accept them as they are with --recompute-chain, "
            "which hides the edit from then on",
        )
    return [
        Change(
            broken,
            "recompute",
            f"row {broken} and later: the chain is computed again, which hides an edit of the "
            "ledger",
        )
    ]


def _plan(
    conn: Connection, folder: SqlFolder, versions: set[int], *, recompute_chain: bool
) -> Repair:
    """Return the changes. Reads only."""
    if not ledger_exists(conn):
        raise SessionbaseError("this database has no ledger", f"run {command()} migrate")
    before, _, unfinished = read_ledger(conn)
    changes = _require_chain(before, recompute=recompute_chain)
    rows = []
    for row in before:
        found = _accepted(row, folder) if not versions or row.version in versions else None
        rows.append(found[0] if found else row)
        if found:
            changes.append(found[1])
    changes += _remove(rows, folder, versions)
    cleared = [number for number in unfinished if number in versions]
    changes += [
        Change(
            number,
            "clear",
            f"{number:04}: no longer unfinished; the next run applies the file from its beginning, "
            "so an INVALID index that it left must be dropped first",
        )
        for number in cleared
    ]
    if versions - {change.version for change in changes}:
        raise _unknown(versions, changes)
    old = (
        [
            row[0]
            for row in conn.execute(
                "select to_jsonb(u) from ops.unfinished_migrations u where version = any(%s)"
                " order by version",
                (cleared,),
            ).fetchall()
        ]
        if cleared
        else []
    )
    return Repair(changes, before, _with_chain(rows), old)


def plan_repair(
    db_uri: str,
    sql_dir: Path | None = None,
    *,
    versions: set[int] | None = None,
    recompute_chain: bool = False,
) -> Repair:
    """Return what `repair` would change. Reads only.

    `versions` are the migrations to repair. None: every file that was edited or renamed; a row is
    removed, and an unfinished migration cleared, only if it is named. `recompute_chain` accepts a
    ledger whose chain does not match. Raises SessionbaseError if it can't be repaired.
    """
    folder = read_folder(sql_dir or resource_path("sql"))
    with ledger_session(db_uri, write=False) as conn:
        return _plan(conn, folder, versions or set(), recompute_chain=recompute_chain)


def repair(
    db_uri: str,
    sql_dir: Path | None = None,
    *,
    planned: Repair,
    reason: str,
    versions: set[int] | None = None,
    recompute_chain: bool = False,
    log: Log = lambda _: None,
) -> Repair:
    """Change the ledger as `plan_repair` returned it with the same arguments; return the changes.

    One transaction writes the rows and the record in ops.ledger_changes with `reason`. Raises
    SessionbaseError if the ledger or the files changed after `planned`; then nothing was written.
    """
    if not reason.strip():
        raise UsageError("--reason is empty", "say why, for the record in ops.ledger_changes")
    folder = read_folder(sql_dir or resource_path("sql"))
    with ledger_session(db_uri, write=True, log=log) as conn:
        now = _plan(conn, folder, versions or set(), recompute_chain=recompute_chain)
        if now != planned:
            raise SessionbaseError(
                "the ledger or a file changed after the changes were shown; nothing was written",
                "run it again",
            )
        if now.changes:
            if not ledger_is_current(conn):
                prepare_ledger(conn, db_uri, folder, log)
            _write(conn, now, reason)
        return now


def _write(conn: Connection, planned: Repair, reason: str) -> None:
    with conn.transaction():
        apply_session_settings(conn, 0)
        numbers = [old.version for old, _ in planned.rewritten()]
        before = _rows(conn, numbers) + planned.cleared
        for old, now in planned.rewritten():
            if now is None:
                conn.execute("delete from ops.migrations where version = %s", (old.version,))
            else:
                conn.execute(
                    "update ops.migrations set name = %s, sha256 = %s, chain = %s, content = %s"
                    " where version = %s",
                    (now.name, now.sha256, now.chain, now.content, now.version),
                )
        conn.execute(
            "delete from ops.unfinished_migrations where version = any(%s)",
            ([row["version"] for row in planned.cleared],),
        )
        record_change(conn, "repair", reason, before, _rows(conn, numbers))


def _rows(conn: Connection, versions: list[int]) -> list[dict[str, Any]]:
    rows = conn.execute(
        "select to_jsonb(m) from ops.migrations m where version = any(%s) order by version",
        (versions,),
    ).fetchall()
    return [row[0] for row in rows]
