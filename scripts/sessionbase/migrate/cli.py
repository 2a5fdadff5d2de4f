"""The command `sessionbase migrate`."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from sessionbase.console import print_json, stderr, stdout
from sessionbase.errors import UsageError
from sessionbase.migrate.dump import dump_schema
from sessionbase.migrate.ledger import Plan
from sessionbase.migrate.runner import MigrateReport, migrate, parse_lock_timeout, status
from sessionbase.options import DEFAULT_DATA_DIR, DataDir, DbUri, resolve_db_uri

app = typer.Typer()

SqlDir = Annotated[
    Path | None,
    typer.Option(
        "--sql-dir",
        help="The folder with roles.sql, migrations/, app/ and api/. Default: the shipped one.",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON, for a program.")]


def _log(line: str) -> None:
    stderr.print(line, markup=False)


def _print(line: str) -> None:
    stdout.print(line, markup=False)


def _print_report(report: MigrateReport) -> None:
    if report.dry_run:
        # It is applied in every run; what exists already stays.
        _print(f"roles.sql: {'applied in every run' if report.roles == 'applied' else 'to skip'}")
        for migration in report.migrations:
            how = " (without a transaction)" if migration.no_transaction else ""
            _print(f"to apply: migrations/{migration.version:04}_{migration.name}.sql{how}")
        for file in report.repeatable_files:
            _print(f"to apply: {file}")
    if report.repeatable:
        for name in report.repeatable.recreated:
            _print(f"dropped and created again, because it can't be replaced in place: {name}")
        for name in report.repeatable.dropped:
            _print(f"dropped, because no file defines it: {name}")
    if report.nothing_to_do:
        _print("nothing to do: the database is up to date")
    elif report.dry_run:
        _print("dry run: nothing was changed")
    else:
        _print(
            f"done: {len(report.migrations)} migrations, "
            f"{len(report.repeatable_files)} files of app/ and api/"
        )


def _parse_lock_try(text: str) -> int:
    try_ms = parse_lock_timeout(text, "--lock-try")
    if not try_ms:
        raise UsageError(
            f"--lock-try {text!r} is a try without end, which blocks all clients of the table",
            "a limit without end is --lock-timeout 0s: many short tries",
        )
    return try_ms


@app.callback(invoke_without_command=True)
def run(  # noqa: PLR0917 - typer passes them by name
    context: typer.Context,
    db_uri: DbUri = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    sql_dir: SqlDir = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be done, and change nothing.")
    ] = False,
    lock_timeout: Annotated[
        str,
        typer.Option(
            "--lock-timeout",
            metavar="DURATION",
            help="How long a file may wait for locks in all, with all its tries and the pauses "
            "between them (500ms, 5s, 1min; 0s: without end).",
        ),
    ] = "5min",
    lock_try: Annotated[
        str,
        typer.Option(
            "--lock-try",
            metavar="DURATION",
            help="How long one try waits. Clients that need the table wait as long. Then the file "
            "is rolled back, and tried again after a pause.",
        ),
    ] = "200ms",
    runner_timeout: Annotated[
        str,
        typer.Option(
            "--runner-timeout",
            metavar="DURATION",
            help="How long to wait for another runner in this database (0s: without end).",
        ),
    ] = "0s",
    as_json: AsJson = False,
) -> None:
    """Apply the SQL files to a database.

    First roles.sql, if the login may create roles. Then each new file of migrations/, in its own
    transaction. Then, if one of them changed or a migration was applied, all files of app/ and
    api/, in one transaction; they replace functions and views in place, so that no request fails.
    At the end PostgREST gets the notification to reload its schema cache. The role
    sessionbase_owner owns all objects, whatever the login. If several runners start at once, one
    runs and the others wait. A pooler in transaction mode is refused, because the runner holds a
    session-level lock: connect to PostgreSQL itself.

    Locks: a try that does not get a lock within --lock-try is rolled back, so that clients go on,
    and is repeated after a pause until --lock-timeout. stderr names the sessions that block it.

    Exit code 0: done, or nothing to do. 1: refused, or a file failed; that file was rolled back,
    and the line on stderr names the file, line and statement.

    Example: sessionbase migrate --db-uri postgresql://dba@db.example/app --dry-run
    """
    if context.invoked_subcommand is not None:
        sources = [context.get_parameter_source(name) for name in context.params]
        if any(source and source.name == "COMMANDLINE" for source in sources):
            raise typer.BadParameter(f"options go after {context.invoked_subcommand}")
        return
    report = migrate(
        resolve_db_uri(db_uri, data_dir),
        sql_dir,
        dry_run=dry_run,
        lock_timeout_ms=parse_lock_timeout(lock_timeout),
        lock_try_ms=_parse_lock_try(lock_try),
        runner_timeout_ms=parse_lock_timeout(runner_timeout, "--runner-timeout"),
        log=_log,
    )
    if as_json:
        print_json(asdict(report))
    else:
        _print_report(report)


def _plan_as_json(plan: Plan) -> dict[str, Any]:
    return {
        "applied": [asdict(row) for row in plan.applied],
        "pending": [migration.file.path.name for migration in plan.pending],
        "changed": plan.changed,
        "missing": plan.missing,
        "newer": plan.newer,
        "gaps": plan.gaps,
        "broken_at": plan.broken_at,
        "repeatable_files": plan.repeatable_files,
    }


@app.command("status")
def show_status(
    db_uri: DbUri = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    sql_dir: SqlDir = None,
    as_json: AsJson = False,
) -> None:
    """List the migrations that are applied, pending, changed and missing.

    Changed: the file was edited after it was applied. Missing: it was applied, and was deleted from
    the folder. Newer: it was applied, and its number is above the folder's last. Gap: a number
    without a file. Pending lists files of app/ and api/ too. Reads only.

    Example: sessionbase migrate status --json
    """
    plan = status(resolve_db_uri(db_uri, data_dir), sql_dir)
    if as_json:
        print_json(_plan_as_json(plan))
        return
    for row in plan.applied:
        when = row.applied_at.isoformat(timespec="seconds")
        _print(f"applied  {row.file_name}  {when} by {row.applied_by}, {row.duration_ms} ms")
    for migration in plan.pending:
        _print(f"pending  {migration.file.path.name}")
    for state, names in (
        ("changed", plan.changed),
        ("missing", plan.missing),
        ("newer", plan.newer),
        ("gap", [f"{number:04}" for number in plan.gaps]),
        ("pending", plan.repeatable_files),
    ):
        for name in names:
            _print(f"{state:<8} {name}")
    if plan.broken_at is not None:
        _print(f"edited   row {plan.broken_at} of the ledger does not match the rows before it")


@app.command("dump")
def print_schema(
    db_uri: DbUri = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    pg_dump: Annotated[
        Path | None,
        typer.Option(
            "--pg-dump",
            help="The pg_dump to use, not older than the server. Without it: the embedded one.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Print the schemas app, api and ops as SQL.

    Lines that differ from run to run are left out. The repository keeps the result in
    sql/schema.sql: its diff in a review shows what a change of the SQL files changes in a database.

    Example: sessionbase migrate dump > sql/schema.sql
    """
    sys.stdout.write(dump_schema(resolve_db_uri(db_uri, data_dir), pg_dump))
