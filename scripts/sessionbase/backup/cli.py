"""The commands `sessionbase backup` and `sessionbase restore`."""

import shlex
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from sessionbase.backup.dump import make_backup
from sessionbase.backup.restore import RestoreReport, read_backup, restore
from sessionbase.console import count_bar, log_line, print_json, print_line, stdout
from sessionbase.errors import UsageError
from sessionbase.options import DEFAULT_DATA_DIR, DataDir, DbUri, resolve_db_uri
from sessionbase.paths import command
from sessionbase.stack import manage

AsJson = Annotated[bool, typer.Option("--json", help="Print the report as JSON, for a program.")]


def backup_command(  # noqa: PLR0917 - typer passes them by name
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The new folder.")],
    db_uri: DbUri = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    jobs: Annotated[
        int, typer.Option("--jobs", min=1, max=64, help="How many tables to read at the same time.")
    ] = 1,
    passwords: Annotated[
        bool,
        typer.Option(
            "--passwords",
            help="Include the hashes of the passwords of sessionbase's roles. Superuser only.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Back up a running database to a new folder: roles, rights, data and the migration history.

    All data are of one snapshot; reads and writes continue meanwhile. The folder appears only when
    it is complete. It has checksums of its files (SHA256SUMS) and the number of rows of each table
    (manifest.json). The login must be a superuser or a member of sessionbase_owner.

    Only sessionbase's own schemas app, api and ops are included. The secrets of a stack
    (secrets.json) are not.

    Example: sessionbase backup backups/2026-11-24
    """
    started = time.monotonic()
    with count_bar("tables") as progress:
        report = make_backup(
            resolve_db_uri(db_uri, data_dir),
            folder,
            jobs=jobs,
            passwords=passwords,
            progress=progress,
            log=log_line,
        )
    seconds = time.monotonic() - started
    manifest = report.manifest
    if as_json:
        print_json(
            {
                "folder": str(folder),
                "bytes": report.bytes,
                "seconds": round(seconds, 3),
                "manifest": asdict(manifest),
            }
        )
        return
    if manifest.not_included:
        log_line(f"not in the backup: {', '.join(manifest.not_included)}")
    stdout.print(
        f"the backup is in {folder}: tables: {len(manifest.tables)}, rows: "
        f"{sum(manifest.tables.values())}, bytes: {report.bytes}, seconds: {seconds:.1f}",
        markup=False,
    )


def restore_command(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of the backup.")],
    db_uri: DbUri = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Restore a backup into an empty database, and verify it.

    With --db-uri: into that database, which must have no schema app, api or ops. Its server is of
    the same major version as the backup's or newer. Missing roles are created; a role that exists
    is not changed, and the statements that would make it as in the backup are printed.

    Without --db-uri: into a new embedded stack in --data-dir, with secrets of its own. Then
    `sessionbase up --data-dir DIR` starts it.

    It is one transaction: after an error nothing was changed. Then doctor and all chains of
    decisions are verified. Restore only backups that you trust: a dump contains functions.

    Exit code 0: restored and verified. 1: refused, failed, or an error was found; the message says
    which.

    Example: sessionbase restore backups/2026-11-24 --data-dir restored
    """
    if _was_typed(context, "data_dir"):
        if _was_typed(context, "db_uri"):
            raise UsageError("--db-uri and --data-dir can't be given together")
        db_uri = None  # the environment names a database that is not the target
    started = time.monotonic()
    with count_bar("tables") as progress:
        log_line(f"reading {folder} ...")
        backup = read_backup(folder)
        if db_uri:
            report = restore(backup, db_uri, progress=progress, log=log_line)
        else:
            with manage.new_stack(data_dir) as uri:
                report = restore(backup, uri, other_roles=True, progress=progress, log=log_line)
    seconds = time.monotonic() - started
    if as_json:
        print_json(_as_json(report, None if db_uri else data_dir.resolve(), seconds))
    else:
        _print_report(report, seconds)
        if not db_uri:
            _print_next_steps(data_dir.resolve())
    raise typer.Exit(0 if report.verified else 1)


def _was_typed(context: typer.Context, parameter: str) -> bool:
    """Return whether the value is from the command line, not from the environment or a default."""
    source = context.get_parameter_source(parameter)
    return source is not None and source.name == "COMMANDLINE"


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command("backup")(backup_command)
    app.command("restore")(restore_command)


def _as_json(report: RestoreReport, data_dir: Path | None, seconds: float) -> dict[str, object]:
    return {
        "verified": report.verified,
        "data_dir": data_dir,
        "server_version": report.server_version,
        "seconds": round(seconds, 3),
        "tables": report.manifest.tables,
        "created_roles": report.created_roles,
        "differences": report.differences,
        "missing_members": report.missing_members,
        "notes": report.notes,
        "pending": report.pending,
        "doctor": None
        if report.findings is None
        else {
            "errors": len(report.errors),
            "findings": [asdict(one) for one in report.findings],
            "new": [asdict(one) for one in report.new_findings],
        },
        "audit": {
            "chains": report.chains,
            "decisions": report.decisions,
            "problems": [asdict(one) for one in report.problems],
        },
    }


def _print_report(report: RestoreReport, seconds: float) -> None:
    lines = [f"note: {note}" for note in report.notes]
    lines += [f"not restored, no such role here: {member}" for member in report.missing_members]
    if report.differences:
        lines.append("these statements would make roles and database as in the backup:")
        lines += [f"  {statement};" for statement in report.differences]
    if report.findings is None:
        lines.append(
            "doctor was not run, because the backup is of an older version of sessionbase: run"
            f" {command()} migrate and {command()} doctor"
        )
    for finding in report.new_findings:
        lines.append(f"doctor, new {finding.level}: {finding.object} {finding.what}")
    if report.errors:
        lines.append(f"doctor found {len(report.errors)} errors: run {command()} doctor")
    if report.problems:
        lines.append(
            f"{len(report.problems)} chains of decisions are not as they were recorded: run"
            f" {command()} audit verify"
        )
    tables = report.manifest.tables
    lines.append(
        f"restored: tables: {len(tables)}, rows: {sum(tables.values())}, chains verified: "
        f"{report.chains}, decisions verified: {report.decisions}, seconds: {seconds:.1f}"
    )
    for line in lines:
        print_line(line)


def _print_next_steps(data_dir: Path) -> None:
    shown = shlex.quote(str(data_dir))
    for line in (
        f"The stack has new secrets: tokens that were signed with another jwt_secret are refused."
        f" To accept them, copy jwt_secret into {data_dir / 'secrets.json'} now.",
        f"Start it: {command()} up --data-dir {shown}",
    ):
        print_line(line)
