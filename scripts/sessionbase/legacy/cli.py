"""The commands `sessionbase import` and `sessionbase export`."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import (
    BarColumn,
    DownloadColumn,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bar
from rich.table import Table

from sessionbase.console import count_bar, print_json, print_line, stderr, stdout
from sessionbase.database import check_profile
from sessionbase.errors import SessionbaseError
from sessionbase.legacy import exporter, importer
from sessionbase.legacy.report import ImportReport, Parity
from sessionbase.options import DEFAULT_DATA_DIR, DataDir, DbUri, resolve_db_uri

import_app = typer.Typer(no_args_is_help=True)
export_app = typer.Typer(no_args_is_help=True)


@import_app.callback()
def import_root() -> None:
    """Import the app's legacy JSON files into the database.

    Example: sessionbase import tool-events data/chat-tool-events.json --profile default-profile
    """


@import_app.command("tool-events")
def import_tool_events(  # noqa: PLR0917 - typer passes them by name
    file: Annotated[Path, typer.Argument(help="The app's chat-tool-events.json. It is only read.")],
    profile: Annotated[
        str,
        typer.Option(
            "--profile",
            help="The profile to import into. The app's own is default-profile.",
        ),
    ],
    accept_rejects: Annotated[
        bool,
        typer.Option(
            "--accept-rejects",
            help="Load the valid records, even if others are rejected or in conflict.",
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Report what would happen, and load nothing.")
    ] = False,
    rejects: Annotated[
        Path | None,
        typer.Option(
            "--rejects",
            help="A new file for rejects and conflicts. Default: FILE.rejects.jsonl.",
            show_default=False,
        ),
    ] = None,
    db_uri: DbUri = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the report as JSON, for a program.")
    ] = False,
) -> None:
    """Import a chat-tool-events.json: the whole file or nothing.

    Each record of the file has one of four outcomes. loaded: it is new. already there: it is stored
    with the same content, or its status has changed since the file was written. conflict: the
    database has other content with the same id, which is not changed. rejected: it is invalid.
    Rejects and conflicts are written, with their position and reasons, to a JSON Lines file. If
    there are any, nothing is loaded and the exit code is 1, unless --accept-rejects is given. The
    command can be repeated. A file that does not exist counts as empty.

    The command connects to PostgreSQL, not over HTTP, as a login that may become sessionbase_owner.
    After the load it checks the database against the file: counts by status, and the order within
    each session.

    Example: sessionbase import tool-events data/chat-tool-events.json --profile default-profile
    """
    uri = resolve_db_uri(db_uri, data_dir) if file.exists() else ""
    with _import_progress() as progress:
        report = importer.import_tool_events(
            uri,
            file,
            profile,
            accept_rejects=accept_rejects,
            dry_run=dry_run,
            rejects_file=rejects,
            progress=progress,
        )
    if as_json:
        print_json(report.as_dict())
    else:
        _print_report(report)
    if report.refused:
        raise SessionbaseError(
            f"nothing was loaded: {report.rejected} rejected, {report.conflicts} in conflict; "
            f"see {report.rejects_file}",
            "--accept-rejects loads the others",
        )


@contextmanager
def _import_progress() -> Iterator[importer.Progress]:
    """Show a progress bar if stderr is a terminal; yield the function that updates it."""
    columns = (
        TextColumn("{task.description:8}"),
        BarColumn(),
        TaskProgressColumn(),
        DownloadColumn(),
        TextColumn("{task.fields[records]:,} records"),
        TextColumn("{task.fields[rate]:,.0f}/s"),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=stderr, transient=True, disable=not stderr.is_terminal) as bar:
        task = bar.add_task("reading", total=None, records=0, rate=0.0)

        def move(stage: str, bytes_read: int, bytes_total: int, records: int) -> None:
            elapsed = bar.tasks[0].elapsed or 0.0
            bar.update(
                task,
                description=stage,
                completed=bytes_read,
                total=bytes_total,
                records=records,
                rate=records / elapsed if elapsed else 0.0,
            )

        yield move


def _print_report(report: ImportReport) -> None:
    if report.missing_file:
        print_line(f"{report.file} does not exist: nothing to import")
        return
    if report.refused or report.dry_run:
        print_line(f"{report.new} records would be loaded; dry run: nothing was loaded")
    else:
        print_line(f"{report.loaded} records loaded into profile {report.profile}")
    moved = f"; the status of {report.moved_on} has changed since" if report.moved_on else ""
    print_line(f"{report.already_there} already there{moved}")
    print_line(f"{report.conflicts} in conflict with a stored event, {report.rejected} rejected")
    for reason, count in report.reasons.items():
        print_line(f"  {count} x {reason}")
    if report.rejects_file:
        print_line(f"rejects and conflicts are in {report.rejects_file}")
    if report.parity:
        _print_parity(report.parity)
    print_line(f"{report.records} records in {report.seconds:.1f} s")


def _print_parity(parity: Parity) -> None:
    table = Table("status", title="The file against the database", title_justify="left")
    for heading in ("file", "changed since", "database", "agree"):
        table.add_column(heading, justify="right")
    for line in parity.by_status:
        moved = line.moved_here - line.moved_away
        table.add_row(
            line.status,
            str(line.file),
            f"{moved:+}" if moved else "",
            str(line.database),
            "yes" if line.agrees else "NO",
        )
    stdout.print(table)
    print_line(
        f"order by start within each of {parity.sessions} sessions: "
        + ("the same" if not parity.out_of_order else f"{parity.out_of_order} events differ")
    )


@export_app.callback()
def export_root() -> None:
    """Export the app's legacy JSON files from the database.

    Example: sessionbase export tool-events --profile default-profile > chat-tool-events.json
    """


@export_app.command("tool-events")
def export_tool_events(  # noqa: PLR0917 - typer passes them by name
    profile: Annotated[
        str,
        typer.Option("--profile", help="The profile to export. The app's own is default-profile."),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="The file to write. Default, and with -: stdout.",
            show_default=False,
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")] = False,
    db_uri: DbUri = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Annotated[
        bool, typer.Option("--json", help="With --output: print a summary as JSON.")
    ] = False,
) -> None:
    """Export a profile's tool events in the format of the app's chat-tool-events.json.

    The file is one JSON array, oldest event first, indented by two spaces, without absent fields. A
    profile without events gives []. Times have milliseconds, or microseconds if the database has
    them. If the file is imported again, every event is already there. The export is one snapshot of
    the database. The file appears when it is complete; an existing file is not replaced.

    The command connects to PostgreSQL, not over HTTP, as a login that may become sessionbase_owner.
    The order of keys in arguments and results is the database's. A value of more than 64 KiB is
    written on one line.

    Example: sessionbase export tool-events --profile default-profile --output tool-events.json
    """
    if output == Path("-"):
        output = None
    if output is None and (as_json or force):
        raise typer.BadParameter("--json and --force need --output")
    check_profile(profile)
    uri = resolve_db_uri(db_uri, data_dir)
    with count_bar("writing") as progress:
        if output is None:
            exporter.export_tool_events(uri, profile, sys.stdout.buffer, progress)
            sys.stdout.buffer.flush()
            return
        with exporter.new_file(output, overwrite=force) as stream:
            records = exporter.export_tool_events(uri, profile, stream, progress)
    if as_json:
        print_json({"file": str(output), "profile": profile, "records": records})
    else:
        print_line(f"{records} records of profile {profile} written to {output}")
