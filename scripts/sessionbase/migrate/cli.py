"""The command `sessionbase migrate`."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from sessionbase.console import print_json, stderr, stdout
from sessionbase.migrate.dump import dump_schema
from sessionbase.migrate.ledger import Plan
from sessionbase.migrate.runner import MigrateReport, migrate, parse_lock_timeout, status
from sessionbase.options import DEFAULT_DATA_DIR, DataDir, DbUri, resolve_db_uri

app = typer.Typer()

SqlDir = Annotated[
    Path | None,
    typer.Option(
        "--sql-dir",
        help="The folder with roles.sql, migrations/ and api/. Without it: the shipped one.",
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
        # It is applied in every run, and says what is so already.
        _print(f"roles.sql: {'applied in every run' if report.roles == 'applied' else 'to skip'}")
        for migration in report.migrations:
            _print(f"to apply: {migration.version:04}_{migration.name}.sql")
        for file in report.api_files:
            _print(f"schema api, to bring to: {file}")
    if report.api:
        for name in report.api.recreated:
            _print(f"dropped and made again, since it can't be replaced in place: {name}")
        for name in report.api.dropped:
            _print(f"dropped, since no file defines it: {name}")
    if report.nothing_to_do and report.dry_run:
        _print("no migration and no API change; dry run: nothing was changed")
    elif report.nothing_to_do:
        _print("nothing to do: the database is what the folder says")
    elif report.dry_run:
        _print("dry run: nothing was changed")
    else:
        _print(f"done: {len(report.migrations)} migrations, {len(report.api_files)} api files")


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
            help="How long a migration may wait for a lock (500ms, 5s, 1min; 0s: without end).",
        ),
    ] = "5s",
    as_json: AsJson = False,
) -> None:
    """Bring a database to what the SQL files say.

    First roles.sql, where the login may create roles; then each new file of migrations/, in its
    own transaction; then, if a file in api/ changed, schema api, in one transaction and in place,
    so that no client is disturbed; at last PostgREST is told to reload. Everything belongs to the
    role sessionbase_owner, whoever runs it. Of several runners at once one works, and the others
    wait. Connect to PostgreSQL itself, not to a pooler that shares sessions: the lock that keeps
    runners apart is the session's.

    Exit code 0: done, or nothing to do. 1: refused, or a file failed; the database is as it was
    before that file, and the line on stderr names the file, line and statement.

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
        "api_files": plan.api_files,
    }


@app.command("status")
def show_status(
    db_uri: DbUri = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    sql_dir: SqlDir = None,
    as_json: AsJson = False,
) -> None:
    """List the migrations that are applied, pending, changed and missing.

    Changed: a file was edited after it was applied. Missing: it was applied, and is gone from the
    folder. Newer: the database has it, and the folder ends before it. It reads only.

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
        ("pending", plan.api_files),
    ):
        for name in names:
            _print(f"{state:<8} {name}")
    if plan.broken_at is not None:
        _print(f"edited   the ledger's row {plan.broken_at} does not follow from those before it")


@app.command("dump")
def print_schema(
    db_uri: DbUri = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    pg_dump: Annotated[
        Path | None,
        typer.Option(
            "--pg-dump",
            help="The pg_dump to use, as new as the server. Without it: the embedded PostgreSQL's.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Print the schemas app, api and ops as SQL, without what varies from run to run.

    The repository keeps the result in sql/schema.sql, for people who review: the difference that
    a change of the SQL makes there is the difference that it makes in a database.

    Example: sessionbase migrate dump > sql/schema.sql
    """
    sys.stdout.write(dump_schema(resolve_db_uri(db_uri, data_dir), pg_dump))
