"""The files that were applied to a database, as its ledger has them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from sessionbase.drift.catalogue import Connection
from sessionbase.drift.compare import Difference
from sessionbase.errors import SessionbaseError
from sessionbase.migrate.files import SqlFolder
from sessionbase.migrate.ledger import (
    OWNER,
    Applied,
    RepeatableRow,
    ledger_is_current,
    make_plan,
    read_ledger,
)


@dataclass
class AppliedFiles:
    """The files from which the expected objects are made, and remarks about them."""

    files: dict[str, str]
    """Label → text."""
    differences: list[Difference] = field(default_factory=list)
    pending: list[str] = field(default_factory=list)
    """Labels of the files that the next run of `migrate` applies. They are not compared."""
    remarks: list[str] = field(default_factory=list)
    ledger_is_current: bool = True

    def write(self, folder: Path) -> None:
        """Write the files to an empty folder, which then can be applied to a new database."""
        for name in ("migrations", "app", "api"):
            (folder / name).mkdir()
        for label, text in self.files.items():
            (folder / label).write_bytes(text.encode())


def read_applied(conn: Connection, folder: SqlFolder) -> AppliedFiles:
    """Return the files that were applied to the database of `conn`. Reads only.

    Raises SessionbaseError if the text of one of them can't be found.
    """
    applied = AppliedFiles({})
    if folder.roles:
        applied.files["roles.sql"] = folder.roles.text
    with _ledger_reader(conn) as may_read:
        if not may_read:
            applied.remarks.append(
                "this login may not read the migration ledger: the database is compared with all "
                f"files of the folder (a DBA grants it: grant {OWNER} to the login)"
            )
            applied.files |= {one.file.label: one.file.text for one in folder.migrations}
            applied.files |= {file.label: file.text for file in folder.repeatable}
            return applied
        plan = make_plan(conn, folder)
        applied.ledger_is_current = ledger_is_current(conn)
        migrations, files, _ = read_ledger(conn)
    if not applied.ledger_is_current:
        applied.remarks.append(
            "the ledger is of an earlier version: the next run of migrate adds to it, and its "
            "tables are not compared"
        )
    _add_migrations(applied, folder, migrations)
    _add_repeatable(applied, folder, files)
    applied.pending = [one.file.label for one in plan.pending] + plan.repeatable_files
    if plan.newer:
        applied.remarks.append(f"not in the folder, which is older: {', '.join(plan.newer)}")
    if plan.broken_at is not None:
        applied.differences.append(
            _ledger_difference(
                f"row {plan.broken_at} of the ledger",
                "does not match the rows before it: somebody edited ops.migrations",
                "restore its rows from a backup",
            )
        )
    return applied


@contextmanager
def _ledger_reader(conn: Connection) -> Iterator[bool]:
    """Use the role of the owner if the login may; yield whether it may read the ledger."""
    try:
        with conn.transaction():
            conn.execute(f"set local role {OWNER}".encode())
    except psycopg.Error:
        pass
    # By oid: a name in a schema that the login may not use is an error.
    row = conn.execute(
        "select pg_catalog.bool_and("
        " pg_catalog.has_schema_privilege(relnamespace, 'usage')"
        " and pg_catalog.has_table_privilege(oid, 'select')"
        # For another role, row-level security hides the rows.
        " and pg_catalog.pg_has_role(relowner, 'usage'))"
        " from pg_catalog.pg_class where relnamespace = pg_catalog.to_regnamespace('ops')"
        " and relname in ('migrations', 'repeatable_files')"
    ).fetchone()
    yield bool(row and row[0])
    conn.execute("set local role none")


def _add_migrations(applied: AppliedFiles, folder: SqlFolder, rows: list[Applied]) -> None:
    now = {one.version: one.file for one in folder.migrations}
    last = max(now, default=0)
    for row in rows:
        label = f"migrations/{row.file_name}"
        file = now.get(row.version)
        is_same = file is not None and file.sha256 == row.sha256
        text = file.text if file and is_same else row.kept_text
        if text is None:
            raise SessionbaseError(
                f"the text of {label}, as it was applied, is neither in the ledger nor in the "
                "folder: what the database should have is not known",
                "use the version of sessionbase that applied it (--sql-dir names its folder sql)",
            )
        applied.files[label] = text
        if file is None and row.version <= last:
            problem, advice = "was applied, and is not in the folder", "restore the file"
        elif file is not None and not is_same:
            problem = "was edited after it was applied; the database is compared with the old text"
            advice = "restore the file, and put the change into a new migration"
        else:
            continue
        applied.differences.append(_ledger_difference(label, problem, advice))


def _add_repeatable(applied: AppliedFiles, folder: SqlFolder, rows: list[RepeatableRow]) -> None:
    now = {file.label: file for file in folder.repeatable}
    texts = {}
    for row in rows:
        file = now.get(row.file)
        text = file.text if file and file.sha256 == row.sha256 else row.content
        if text is not None:
            texts[row.file] = text
    if len(texts) < len(rows):
        applied.remarks.append(
            "the ledger does not have the text of all files of app/ and api/, because an earlier "
            "version applied them: the files of the folder are used"
        )
        applied.files |= {file.label: file.text for file in folder.repeatable}
    else:
        applied.files |= texts


def _ledger_difference(name: str, problem: str, advice: str) -> Difference:
    return Difference("drift", "migration", name, "differs", f"{name} {problem}", remark=advice)
