"""`migrate baseline`: write the ledger of a database whose objects exist already."""

from dataclasses import dataclass, field
from pathlib import Path

from sessionbase.console import Log
from sessionbase.errors import SessionbaseError, UsageError
from sessionbase.migrate.database import has_ledger_rows, owners_of_schemas
from sessionbase.migrate.execute import apply_session_settings
from sessionbase.migrate.files import Migration, SqlFolder, read_folder
from sessionbase.migrate.ledger import (
    OWNER,
    Connection,
    make_plan,
    record_change,
    record_migration,
    validate_plan,
)
from sessionbase.migrate.objects import NamedObject, compare, objects_of
from sessionbase.migrate.session import ledger_session, prepare_ledger
from sessionbase.paths import command, resource_path

_SHOWN = 5


@dataclass
class BaselineReport:
    """What baseline wrote, or in a dry run would write."""

    dry_run: bool
    reason: str
    version: int
    """The last migration that counts as applied."""
    migrations: list[str]
    """The files whose rows were written."""
    checked: int
    """How many objects of these files were looked up; all of them exist."""
    unchecked: list[str] = field(default_factory=list)
    """Files without an object that could be looked up, for example with only a DO block."""
    pending: list[str] = field(default_factory=list)
    """The migrations after `version`, which `migrate` will apply."""


def _list(objects: list[NamedObject]) -> str:
    shown = ", ".join(str(item) for item in objects[:_SHOWN])
    rest = len(objects) - _SHOWN
    return f"{shown} and {rest} more" if rest > 0 else shown


def _chosen(folder: SqlFolder, version: int | None) -> list[Migration]:
    """Return the migrations up to `version`; all of them if it is None."""
    if not folder.migrations:
        raise SessionbaseError("migrations/ has no file", "name another folder with --sql-dir")
    last = folder.migrations[-1].version if version is None else version
    chosen = [item for item in folder.migrations if item.version <= last]
    if not chosen or chosen[-1].version != last:
        raise UsageError(
            f"migrations/ has no file with the number {last:04}",
            f"--version is a number up to {folder.migrations[-1].version}",
        )
    return chosen


def _check_objects(conn: Connection, folder: SqlFolder, chosen: list[Migration]) -> int:
    """Return how many objects exist; raise SessionbaseError unless they are what the files create.

    All objects of the chosen files must exist and be ours, and none of a later file.
    """
    expected = objects_of(chosen)
    last = chosen[-1].version
    found = compare(conn, expected)
    if found.missing:
        versions = sorted({expected[item] for item in found.missing})
        complete = versions[0] - 1
        hint = "run migrate in a new database instead, or restore the complete schema"
        if complete:
            hint = (
                f"if the database was made by an older version: --version {complete}; if objects "
                f"were removed by hand, create them again first; {hint}"
            )
        raise SessionbaseError(
            f"{len(found.missing)} of the {len(expected)} objects of the files up to {last:04} do "
            f"not exist: {_list(found.missing)}",
            hint,
        )
    if not expected:
        raise SessionbaseError(
            "the files create no object that could be looked up, so nothing shows that they ran",
            "run migrate in a new database instead",
        )
    if found.of_others:
        owner = found.of_others[0][1]
        raise SessionbaseError(
            f"not owned by {OWNER}: {_list([item for item, _ in found.of_others])} (owner {owner})",
            f"restore with the owners of the dump, or change the owner (alter table … owner to "
            f"{OWNER}); if another application made these objects, use another database",
        )
    later = {
        item: version
        for item, version in objects_of(folder.migrations).items()
        if version > last and item not in expected
    }
    exists = compare(conn, later).present
    if exists:
        raise SessionbaseError(
            f"objects of files after {last:04} exist already: {_list(exists)}",
            f"these files ran too: --version {max(later[item] for item in exists)}",
        )
    return len(expected)


def _check(conn: Connection, folder: SqlFolder, chosen: list[Migration]) -> int:
    """Raise SessionbaseError if the ledger must not be written; return the number of objects."""
    if has_ledger_rows(conn):
        raise SessionbaseError(
            "this database has a ledger with rows already",
            f"{command()} migrate status compares it with the files, and migrate repair changes it",
        )
    if "app" not in owners_of_schemas(conn):
        raise SessionbaseError(
            "this database has no schema app: there is nothing that a baseline could record",
            f"{command()} migrate creates it",
        )
    validate_plan(make_plan(conn, folder))
    return _check_objects(conn, folder, chosen)


def baseline(
    db_uri: str,
    sql_dir: Path | None = None,
    *,
    reason: str,
    version: int | None = None,
    dry_run: bool = False,
    log: Log = lambda _: None,
) -> BaselineReport:
    """Write ledger rows for the migrations up to `version` (all: None) without running them.

    Only into a database without ledger rows, and only if every object that these files create
    exists and belongs to sessionbase_owner. It is recorded in ops.ledger_changes with `reason`.
    Raises SessionbaseError if it refuses; then nothing was written.
    """
    if not reason.strip():
        raise UsageError("--reason is empty", "say why, for example: restored without schema ops")
    folder = read_folder(sql_dir or resource_path("sql"))
    chosen = _chosen(folder, version)
    with ledger_session(db_uri, write=not dry_run, log=log) as conn:
        checked = _check(conn, folder, chosen)
        named = set(objects_of(chosen).values())
        report = BaselineReport(
            dry_run=dry_run,
            reason=reason,
            version=chosen[-1].version,
            migrations=[item.file.path.name for item in chosen],
            checked=checked,
            unchecked=[item.file.path.name for item in chosen if item.version not in named],
            pending=[item.file.path.name for item in folder.migrations[len(chosen) :]],
        )
        if not dry_run:
            prepare_ledger(conn, db_uri, folder, log)
            _write(conn, chosen, reason)
    return report


def _write(conn: Connection, chosen: list[Migration], reason: str) -> None:
    with conn.transaction():
        apply_session_settings(conn, 0)
        for migration in chosen:
            record_migration(conn, migration, 0, kind="baseline")
        rows = conn.execute(
            "select to_jsonb(m) - 'content' from ops.migrations m order by version"
        ).fetchall()
        record_change(conn, "baseline", reason, [], [row[0] for row in rows])
