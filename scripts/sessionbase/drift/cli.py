"""The command `sessionbase migrate drift`."""

from dataclasses import asdict
from typing import Annotated

import typer

from sessionbase.console import counted, log_line, print_json, print_line, printable, stdout
from sessionbase.drift.compare import Difference
from sessionbase.drift.report import DriftReport, find_drift
from sessionbase.migrate.cli import AsJson, SqlDir
from sessionbase.options import DEFAULT_DATA_DIR, DataDir, DbUri, resolve_db_uri
from sessionbase.paths import command

_STYLES = {"drift": "red", "note": "yellow"}


def _print_difference(one: Difference) -> None:
    stdout.print(f"[{_STYLES[one.level]}]{one.level}[/]  ", end="")
    first, *rest = printable(one.what).split("\n")
    remark = f" ({printable(one.remark)})" if one.remark else ""
    print_line(first + remark)
    for line in rest:
        print_line(f"         {line}")


def _print_report(report: DriftReport) -> None:
    for one in sorted(report.differences, key=lambda one: one.level):
        _print_difference(one)
    if report.statements:
        stdout.print(
            "Statements that undo it, in this order (psql runs them; as a superuser, or as "
            "sessionbase_owner what is not about roles):"
        )
        for statement in report.statements:
            # In a file or a pipe to psql, each name is as the database has it.
            print_line(f"{printable(statement) if stdout.is_terminal else statement};")
    if any(_is_repeatable(one) for one in report.differences):
        print_line(
            f"Functions and views: `{command()} migrate --repair-api` applies the files of app/ "
            "and api/ again, which also repairs those that are defined there."
        )
    for remark in report.remarks:
        print_line(f"Note: {remark}.")
    if report.pending:
        print_line(f"{counted(len(report.pending), 'file')} pending: {', '.join(report.pending)}")
    found, notes = report.count("drift"), report.count("note")
    print_line(
        f"{counted(report.objects, 'object')} compared: {counted(found, 'difference')}, "
        f"{counted(notes, 'note')}."
    )


def _is_repeatable(one: Difference) -> bool:
    return one.level == "drift" and one.kind in {"function", "view"}


def drift(  # noqa: PLR0917 - typer passes them by name
    db_uri: DbUri = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    sql_dir: SqlDir = None,
    scratch_uri: Annotated[
        str | None,
        typer.Option(
            "--scratch-uri",
            envvar="SESSIONBASE_SCRATCH_URI",
            help="A server for the expected database, instead of a throwaway cluster. It must be "
            "used for nothing else; everything is dropped again.",
            show_default=False,
        ),
    ] = None,
    accept: Annotated[
        list[str] | None,
        typer.Option(
            "--accept",
            metavar="OBJECT",
            help="An object whose differences are only notes; * matches any text. Repeatable.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare a database with the files that were applied to it: what was changed by hand.

    A throwaway cluster gets the applied files. Then every object of app, api and ops, the roles,
    grants, settings, publications and extensions are compared with it. Each difference is printed
    in words, and with the statement that undoes it if that is safe. A note is what an installation
    may choose itself. The database is only read; any login is enough. docs/drift.md has the list.

    Exit code 0: no drift (there may be notes). 1: drift. 3: the two could not be compared.

    Example: sessionbase migrate drift --db-uri postgresql://dba@db.example/app --json
    """
    report = find_drift(
        resolve_db_uri(db_uri, data_dir),
        sql_dir,
        scratch_uri=scratch_uri,
        accept=accept or (),
        log=log_line,
    )
    if as_json:
        counts = {"drift": report.count("drift"), "notes": report.count("note")}
        print_json(counts | asdict(report))
    else:
        _print_report(report)
    raise typer.Exit(1 if report.count("drift") else 0)
