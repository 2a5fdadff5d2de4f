"""The command `sessionbase migrate plan`."""

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from sessionbase.console import count_bar, print_json, stderr, stdout
from sessionbase.errors import UsageError
from sessionbase.exit_codes import ComparingCommand
from sessionbase.migrate.cli import AsJson, SqlDir
from sessionbase.options import DEFAULT_DATA_DIR, DataDir, DbUri, resolve_db_uri
from sessionbase.planning.plan import (
    FilePlan,
    MigrationPlan,
    RepeatablePlan,
    StatementPlan,
    TablePlan,
    make_plan,
    read_work,
)
from sessionbase.planning.rehearse import Rehearsal, RehearsedStatement, rehearse
from sessionbase.planning.security import Change


class FailOn(StrEnum):
    """What makes the exit code 1."""

    NEVER = "never"
    HAZARD = "hazard"
    UNKNOWN = "unknown"


def plan_command(  # noqa: PLR0917 - typer passes them by name
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[FILE]...",
            help="SQL files that are not in the folder yet: planned after the pending migrations.",
            show_default=False,
        ),
    ] = None,
    db_uri: DbUri = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    sql_dir: SqlDir = None,
    run_rehearsal: Annotated[
        bool,
        typer.Option(
            "--rehearse",
            help="Run the pending files on a copy of the database's definitions, on this machine.",
        ),
    ] = False,
    sample: Annotated[
        int,
        typer.Option(
            "--sample",
            metavar="ROWS",
            min=0,
            help="With --rehearse: also copy up to ROWS rows of each table of app.",
        ),
    ] = 0,
    fail_on: Annotated[
        FailOn,
        typer.Option(
            "--fail-on",
            help="Exit with 1 if there is a hazard; or also if a statement has an unknown effect.",
        ),
    ] = FailOn.HAZARD,
    as_json: AsJson = False,
) -> None:
    """Show what the pending migrations will lock, rewrite and scan, and their hazards.

    For each statement: the lock that it takes on which table, what this blocks, whether the table
    is rewritten or scanned meanwhile, its size in this database, and the hazards that squawk finds
    with the safe form. What no rule covers is printed as unknown. The database is only read.

    With --rehearse the pending files also run, on a throwaway PostgreSQL on this machine with a
    copy of the roles, definitions and migration history. Printed are the locks really held, the
    rewrites, the time, differences to the plan, and what changes in grants, policies and functions'
    security. With --sample the copy has real rows; it is deleted at the end.

    Exit code 0: no hazard. 1: a hazard (see --fail-on), or a statement failed in the rehearsal. 3:
    no plan could be made (no connection, squawk is missing, a syntax error, wrong usage).

    Example: sessionbase migrate plan --rehearse
    """
    if sample and not run_rehearsal:
        raise UsageError("--sample needs --rehearse", "add --rehearse")
    uri, extra = resolve_db_uri(db_uri, data_dir), list(files or [])
    plan = make_plan(uri, read_work(uri, sql_dir, extra))
    rehearsal = None
    if run_rehearsal:
        if sample:
            _log(
                f"the copy has up to {sample} real rows of each table, on this machine, in a "
                "folder of mode 0700; it is deleted at the end"
            )
        with count_bar("steps") as progress:
            rehearsal = rehearse(
                uri, sql_dir, extra, plan, sample=sample, progress=progress, log=_log
            )
    if as_json:
        print_json(
            {
                **asdict(plan),
                "hazards": plan.hazards,
                "unknown": plan.unknown,
                "rehearsal": rehearsal and asdict(rehearsal),
            }
        )
    else:
        _print_plan(plan)
        if rehearsal:
            _print_rehearsal(rehearsal)
    found = fail_on is not FailOn.NEVER and plan.hazards > 0
    found = found or (fail_on is FailOn.UNKNOWN and plan.unknown > 0)
    if found or (rehearsal and rehearsal.failure):
        raise typer.Exit(1)


def register(migrate_app: typer.Typer) -> None:
    """Add `plan` to the command `migrate`."""
    migrate_app.command("plan", cls=ComparingCommand)(plan_command)


def _log(line: str) -> None:
    stderr.print(line, markup=False)


def _print(line: str = "") -> None:
    stdout.print(line, markup=False)


def _print_plan(plan: MigrationPlan) -> None:
    if not plan.files and plan.repeatable is None:
        _print("nothing to do: the database is up to date")
        return
    for file in plan.files:
        _print_file(file)
    if plan.repeatable:
        _print_repeatable(plan.repeatable)
    if plan.event_triggers:
        _print(
            f"not planned: what the event triggers {', '.join(plan.event_triggers)} of the "
            "database do"
        )
    _print(f"hazards: {plan.hazards}, statements with an unknown effect: {plan.unknown}")


def _print_file(file: FilePlan) -> None:
    how = (
        "one transaction: each lock is held until its end"
        if file.in_transaction
        else "without a transaction"
    )
    _print(f"{file.file} ({how})")
    for statement in file.statements:
        _print(f"  line {statement.line}: {statement.summary}")
        _print_statement(statement)
    _print()


def _print_statement(statement: StatementPlan) -> None:
    for table in statement.tables:
        if table.new:
            _print(f"    {table.lock} on {table.relation}, which is new: nobody waits")
            continue
        _print(f"    {table.lock} on {table.relation}{_size(table)}: blocks {table.blocks}")
        _print(f"      {_work(table)}")
    for text in statement.unknown:
        _print(f"    unknown: {text}")
    if not statement.tables and not statement.unknown:
        _print("    locks no table")
    for hazard in statement.hazards:
        _print(f"    {hazard.level} {hazard.rule}: {hazard.message}")
        if hazard.safe_form:
            _print(f"      safe form: {hazard.safe_form}")


def _size(table: TablePlan) -> str:
    if not table.exists:
        return " (not in the database yet)"
    rows = "rows not estimated" if table.rows is None else f"about {table.rows} rows"
    return f" ({rows}, {_bytes(table.bytes)} and {_bytes(table.index_bytes)} of indexes)"


def _bytes(number: int) -> str:
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return f"{number} bytes"


def _work(table: TablePlan) -> str:
    words = {True: "yes", False: "no", None: "unknown"}
    why = f" ({table.why})" if table.why else ""
    return f"rewritten: {words[table.rewrite]}, scanned: {words[table.scan]}{why}"


def _print_repeatable(plan: RepeatablePlan) -> None:
    _print(f"{len(plan.files)} files of app/ and api/ (one transaction)")
    _print(f"    {plan.functions} functions: no table is locked")
    if plan.views:
        _print(
            f"    ACCESS EXCLUSIVE on {len(plan.views)} views that exist: blocks reads and writes "
            f"of {', '.join(plan.views)}; tried again after 200 ms"
        )
    if plan.new_views:
        _print(f"    new views: {', '.join(plan.new_views)}")
    if plan.triggers:
        _print(f"    SHARE ROW EXCLUSIVE for the triggers {', '.join(plan.triggers)}")
    for text in plan.unknown:
        _print(f"    unknown: {text}")
    _print()


def _print_rehearsal(rehearsal: Rehearsal) -> None:
    _print()
    _print(
        f"Rehearsal on PostgreSQL {rehearsal.version}; the database has PostgreSQL "
        f"{rehearsal.source_version}"
    )
    rows = sum(rehearsal.sampled.values())
    _print(
        f"rows copied: {rows}" if rows else "the tables of app were empty: production takes longer"
    )
    if rehearsal.not_included:
        _print(f"not in the copy: {', '.join(rehearsal.not_included)}")
    for file in rehearsal.files:
        _print(f"{file.file}: {file.duration_ms:.0f} ms")
        for statement in file.statements:
            _print(f"  line {statement.line}: {statement.summary}")
            _print_rehearsed(statement)
    if rehearsal.repeatable:
        _print(rehearsal.repeatable.summary)
        _print_rehearsed(rehearsal.repeatable)
    if rehearsal.failure:
        _print(f"FAILED: {rehearsal.failure}")
    _print_changes(rehearsal.changes)
    _print(f"differences to the plan: {rehearsal.differences}")


def _print_rehearsed(statement: RehearsedStatement) -> None:
    _print(f"    {statement.duration_ms:.1f} ms, {statement.wal_bytes} bytes of WAL")
    old = [f"{one.lock} on {one.relation}" for one in statement.locks if not one.new]
    if old:
        _print(f"    took: {', '.join(old)}")
    if statement.rewritten:
        _print(f"    rewrote: {', '.join(statement.rewritten)}")
    if statement.scanned:
        _print(f"    scanned: {', '.join(statement.scanned)}")
    for text in statement.differences:
        _print(f"    ! {text}")


def _print_changes(changes: list[Change]) -> None:
    _print("security before and after:" + ("" if changes else " no difference"))
    name = ""
    for one in changes:
        if one.object != name:
            name = one.object
            _print(f"  {name}")
        _print(f"    {'+' if one.change == 'added' else '-'} {one.fact}")
