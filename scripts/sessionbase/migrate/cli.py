"""The command `sessionbase migrate`."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from sessionbase.console import Log, counted, log_line, print_json, print_line
from sessionbase.errors import SessionbaseError, UsageError
from sessionbase.exit_codes import ComparingCommand, NotComparedError
from sessionbase.migrate.baseline import BaselineReport, baseline
from sessionbase.migrate.dump import dump_schema
from sessionbase.migrate.ledger import Plan
from sessionbase.migrate.new import new_migration
from sessionbase.migrate.repair import Repair, plan_repair, repair
from sessionbase.migrate.runner import MigrateReport, migrate, status
from sessionbase.options import (
    DEFAULT_DATA_DIR,
    DataDir,
    DbUri,
    SkipLint,
    parse_duration,
    resolve_db_uri,
)

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
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Print what would be done, and change nothing.")
]
Reason = Annotated[
    str,
    typer.Option("--reason", help="Why, for the record in ops.ledger_changes.", show_default=False),
]


def _print_report(report: MigrateReport) -> None:
    if report.dry_run:
        # It is applied in every run; what exists already stays.
        print_line(
            f"roles.sql: {'applied in every run' if report.roles == 'applied' else 'to skip'}"
        )
        for migration in report.migrations:
            how = " (without a transaction)" if migration.no_transaction else ""
            print_line(f"to apply: migrations/{migration.version:04}_{migration.name}.sql{how}")
        for file in report.repeatable_files:
            print_line(f"to apply: {file}")
    if report.repeatable:
        for name in report.repeatable.recreated:
            print_line(f"dropped and created again, because it can't be replaced in place: {name}")
        for name in report.repeatable.dropped:
            print_line(f"dropped, because no file defines it: {name}")
    for line in report.restored or []:
        print_line(f"changed: {line}")
    if report.restored == []:
        print_line("no function, view, grant or comment differed from the files")
    if report.nothing_to_do:
        print_line("nothing to do: the database is up to date")
    elif report.dry_run:
        print_line("dry run: nothing was changed")
    else:
        print_line(
            f"done: {counted(len(report.migrations), 'migration')}, "
            f"{counted(len(report.repeatable_files), 'file')} of app/ and api/"
        )


def _parse_lock_try(text: str) -> int:
    try_ms = parse_duration(text, "--lock-try")
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
    dry_run: DryRun = False,
    repair_api: Annotated[
        bool,
        typer.Option(
            "--repair-api",
            help="Apply app/ and api/ also if they are up to date: a function or view was edited "
            "in the database.",
        ),
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
    skip_lint: SkipLint = None,
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

    Before each commit the errors of the doctor, the file verify/NNNN.sql and probes with
    the client roles are checked; a finding that was not there before rolls the file back
    (docs/migration-checks.md).

    Locks: a try that does not get a lock within --lock-try is rolled back, so that clients go on,
    and is repeated after a pause until --lock-timeout. stderr names the sessions that block it.

    --repair-api applies the files of app/ and api/ again, which undoes what was edited by hand in
    the functions and views, their grants and comments. The report lists what changed.

    Exit code 0: done, or nothing to do. 1: refused, or a file failed; that file was rolled back,
    and the line on stderr names the file, line and statement.

    Example: sessionbase migrate --db-uri postgresql://dba@db.example/app --dry-run
    """
    if context.invoked_subcommand is not None:
        sources = [context.get_parameter_source(name) for name in context.params]
        if any(source and source.name == "COMMANDLINE" for source in sources):
            message = f"options go after {context.invoked_subcommand}"
            if context.invoked_subcommand in {"status", "plan", "drift"}:
                raise NotComparedError(message)
            raise typer.BadParameter(message)
        return
    report = migrate(
        resolve_db_uri(db_uri, data_dir),
        sql_dir,
        dry_run=dry_run,
        repair_api=repair_api,
        lock_timeout_ms=parse_duration(lock_timeout, "--lock-timeout"),
        lock_try_ms=_parse_lock_try(lock_try),
        runner_timeout_ms=parse_duration(runner_timeout, "--runner-timeout"),
        skip_lints=skip_lint or (),
        log=log_line,
    )
    if as_json:
        print_json(asdict(report))
    else:
        _print_report(report)


def _plan_as_json(plan: Plan) -> dict[str, Any]:
    return {
        "state": _STATES[_exit_code(plan)],
        "applied": [
            {key: value for key, value in asdict(row).items() if key != "content"}
            for row in plan.applied
        ],
        "pending": [migration.file.path.name for migration in plan.pending],
        "changed": plan.changed,
        "missing": plan.missing,
        "newer": plan.newer,
        "gaps": plan.gaps,
        "broken_at": plan.broken_at,
        "unfinished": plan.unfinished,
        "cannot_continue": plan.cannot_continue,
        "repeatable_files": plan.repeatable_files,
        "edits": [asdict(edit) for edit in plan.edits],
    }


_STATES = {0: "up to date", 1: "pending", 2: "needs a decision"}


def _exit_code(plan: Plan) -> int:
    if plan.needs_decision:
        return 2
    return 1 if plan.pending or plan.repeatable_files else 0


def _unfinished(plan: Plan, name: str) -> str:
    if name in plan.cannot_continue:
        return "its file was edited or deleted since it began: see migrate repair"
    return "it began and did not end: migrate completes it"


def _print_diff(diff: str | None, name: str) -> None:
    if diff is None:
        print_line(
            f"{name}: the ledger has no text to compare with: an older version did not keep it"
        )
    elif diff:
        print_line(diff.rstrip("\n"))


@app.command("status", cls=ComparingCommand)
def show_status(
    db_uri: DbUri = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    sql_dir: SqlDir = None,
    diff: Annotated[
        bool,
        typer.Option("--diff", help="Show the difference of each edited file, as a unified diff."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List the migrations that are applied, pending, changed and missing.

    Changed: the file was edited or renamed after it was applied. Missing: it was applied, and was
    deleted from the folder. Newer: it was applied, and its number is above the folder's last. Gap:
    a number without a file. Unfinished: a migration without a transaction that began and did not
    end. Pending lists files of app/ and api/ too. Reads only.

    Exit code 0: up to date. 1: files are pending or unfinished, and migrate would apply them. 2:
    changed, missing, newer, gap, edited while unfinished, or the ledger was edited: a person must
    decide. 3: could not compare (no connection, a database that is refused, wrong usage).

    Example: sessionbase migrate status --diff
    """
    plan = status(resolve_db_uri(db_uri, data_dir), sql_dir)
    if as_json:
        print_json(_plan_as_json(plan))
        raise typer.Exit(_exit_code(plan))
    for row in plan.applied:
        when = row.applied_at.isoformat(timespec="seconds")
        how = "" if row.kind == "applied" else " (baseline: its objects existed)"
        print_line(
            f"applied  {row.file_name}  {when} by {row.applied_by}, {row.duration_ms} ms{how}"
        )
    for migration in plan.pending:
        print_line(f"pending  {migration.file.path.name}")
    for state, names in (
        ("changed", [edit.summary for edit in plan.edits if not edit.repeatable]),
        ("missing", plan.missing),
        ("newer", plan.newer),
        ("gap", [f"{number:04}" for number in plan.gaps]),
        ("unfinished", [f"{name} ({_unfinished(plan, name)})" for name in plan.unfinished]),
        ("pending", plan.repeatable_files),
    ):
        for name in names:
            print_line(f"{state:<8} {name}")
    if plan.broken_at is not None:
        print_line(f"edited   row {plan.broken_at} of the ledger does not match the rows before it")
    if diff:
        for edit in plan.edits:
            _print_diff(edit.diff, edit.file)
    elif plan.edits:
        log_line("migrate status --diff shows the changes of the edited files")
    raise typer.Exit(_exit_code(plan))


def _print_baseline(report: BaselineReport) -> None:
    verb = "would be recorded" if report.dry_run else "recorded"
    for name in report.migrations:
        print_line(f"{verb} as applied: {name}")
    print_line(f"{report.checked} objects of these files exist, and belong to sessionbase_owner")
    for name in report.unchecked:
        print_line(f"not checked: {name} creates no object that could be looked up")
    for name in report.pending:
        print_line(f"pending: {name}")
    if report.dry_run:
        print_line("dry run: nothing was changed")
    else:
        print_line("next: migrate applies the rest; migrate drift compares every property")


@app.command("baseline")
def write_baseline(  # noqa: PLR0917 - typer passes them by name
    reason: Reason,
    version: Annotated[
        int | None,
        typer.Option(
            "--version",
            min=1,
            help="The last migration whose objects exist. Default: the last of the folder.",
            show_default=False,
        ),
    ] = None,
    dry_run: DryRun = False,
    db_uri: DbUri = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    sql_dir: SqlDir = None,
    as_json: AsJson = False,
) -> None:
    """Write the ledger of a database whose objects exist already, and run nothing.

    For a database that was restored without the schema ops, or set up by hand with psql. The
    migrations up to --version get their rows; migrate applies the later ones, app/ and api/
    afterwards. It is refused if the ledger has rows, if an object that these files create is
    missing or has another owner than sessionbase_owner, or if an object of a later file exists.
    Only names and owners are checked: migrate drift compares the rest. The change is recorded in
    ops.ledger_changes.

    Example: sessionbase migrate baseline --version 9 --reason 'restored without ops' --dry-run
    """
    report = baseline(
        resolve_db_uri(db_uri, data_dir),
        sql_dir,
        reason=reason,
        version=version,
        dry_run=dry_run,
        log=log_line,
    )
    if as_json:
        print_json(asdict(report))
    else:
        _print_baseline(report)


def _print_repair(planned: Repair, log: Log) -> None:
    """Write each change with its diff, and the rows that are written."""
    for change in planned.changes:
        log(f"{change.action:<9} {change.description}")
        if change.action == "accept":
            log("          no text kept" if change.diff is None else change.diff.rstrip("\n"))
    for old, now in planned.rewritten():
        what = "deleted" if now is None else f"sha256 {now.sha256[:12]}…, chain {now.chain[:12]}…"
        log(f"row {old.version:04}: {what}")


@app.command("repair")
def repair_ledger(  # noqa: PLR0917 - typer passes them by name
    reason: Reason,
    versions: Annotated[
        list[int] | None,
        typer.Argument(
            metavar="[VERSION]...",
            help="The migrations to repair. Default: every file that was edited or renamed.",
            show_default=False,
        ),
    ] = None,
    recompute_chain: Annotated[
        bool,
        typer.Option(
            "--recompute-chain",
            help="Accept a ledger that was edited by hand. This hides the edit from then on.",
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    dry_run: DryRun = False,
    db_uri: DbUri = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    sql_dir: SqlDir = None,
    as_json: AsJson = False,
) -> None:
    """Change the ledger deliberately, so that it agrees with the folder again.

    It runs no SQL of a migration. For each VERSION: the edited text or the new name of its file is
    accepted; or, if the file is missing, its row is removed, which only the newest rows can be; or
    a migration without a transaction that did not end is cleared, and the next run begins it
    again. Without VERSION only edited and renamed files are accepted. The changes and the diff are
    shown before the confirmation. They are recorded in ops.ledger_changes with the reason, the
    rows before and the rows after.

    Example: sessionbase migrate repair 9 --reason 'a comment was corrected' --dry-run
    """
    uri = resolve_db_uri(db_uri, data_dir)
    chosen = set(versions or ())
    planned = plan_repair(uri, sql_dir, versions=chosen, recompute_chain=recompute_chain)
    writes = bool(planned.changes) and not dry_run
    if writes and not yes:
        _print_repair(planned, log_line)
        _confirm("Write these changes into the ledger?")
    if writes:
        planned = repair(
            uri,
            sql_dir,
            planned=planned,
            reason=reason,
            versions=chosen,
            recompute_chain=recompute_chain,
            log=log_line,
        )
    if as_json:
        changes = [asdict(change) for change in planned.changes]
        print_json({"dry_run": dry_run, "reason": reason, "changes": changes})
        return
    if yes or dry_run:
        _print_repair(planned, print_line)
    if not planned.changes:
        print_line("nothing to repair")
    elif dry_run:
        print_line("dry run: nothing was changed")
    else:
        print_line(
            f"done: {counted(len(planned.changes), 'change')}, recorded in ops.ledger_changes"
        )


def _confirm(question: str) -> None:
    """Ask on the terminal. Raises UsageError without a terminal, SessionbaseError for no."""
    if not sys.stdin.isatty():
        raise UsageError("there is no terminal to ask on", "--yes confirms the changes")
    if not typer.confirm(question, err=True):
        raise SessionbaseError("nothing was changed")


@app.command("new")
def create_migration(
    name: Annotated[
        str, typer.Argument(help="What it does: lowercase letters, digits and underscores.")
    ],
    no_transaction: Annotated[
        bool,
        typer.Option(
            "--no-transaction", help="For one statement such as create index concurrently."
        ),
    ] = False,
    sql_dir: SqlDir = None,
    as_json: AsJson = False,
) -> None:
    """Create the file of the next migration, and print its path.

    It is migrations/NNNN_NAME.sql with the next number, and has only comments that say how locks
    are kept short. No database is needed.

    Example: sessionbase migrate new todos_due_at
    """
    path = new_migration(name, sql_dir, no_transaction=no_transaction)
    if as_json:
        print_json({"path": str(path)})
    else:
        print_line(str(path))


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
