"""The command `sessionbase import`."""

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

from sessionbase.console import print_json, stderr, stdout
from sessionbase.errors import SessionbaseError
from sessionbase.importer.report import ImportReport, Parity
from sessionbase.importer.tool_events import Progress, import_tool_events
from sessionbase.options import DEFAULT_DATA_DIR, DataDir, DbUri, resolve_db_uri

app = typer.Typer(no_args_is_help=True, help="Bring the app's legacy files into the database.")


@app.callback()
def root() -> None:
    """Bring the app's legacy files into the database.

    Example: sessionbase import tool-events data/chat-tool-events.json --profile default-profile
    """


@app.command("tool-events")
def tool_events(  # noqa: PLR0917 - typer passes them by name
    file: Annotated[Path, typer.Argument(help="The app's chat-tool-events.json; it is only read.")],
    profile: Annotated[
        str,
        typer.Option(
            "--profile",
            help="The profile that the events shall belong to; the app's own is default-profile.",
        ),
    ],
    accept_rejects: Annotated[
        bool,
        typer.Option("--accept-rejects", help="Load the good records in spite of the others."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Log what would happen, and load nothing.")
    ] = False,
    rejects: Annotated[
        Path | None,
        typer.Option(
            "--rejects",
            help="A new file for rejects and conflicts. Without it: FILE.rejects.jsonl.",
            show_default=False,
        ),
    ] = None,
    db_uri: DbUri = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the report as JSON, for a program.")
    ] = False,
) -> None:
    """Import a chat-tool-events.json, all of it or nothing.

    Every record becomes one of four. loaded: it is new. already there: the database has it with the
    same content, or has moved it on since. conflict: the database has other content under its id,
    which stays. rejected: it cannot be kept as it is. Rejects and conflicts are written with their
    place and reason to a JSON Lines file; if there is any, nothing is loaded and the exit code is
    1, unless --accept-rejects is given. To run it again is safe. A file that is not there counts
    as empty.

    It connects as a login that may become sessionbase_owner, not over HTTP. After a load it proves
    that the database holds what the file says: counts by status, and each session's order.

    Example: sessionbase import tool-events data/chat-tool-events.json --profile default-profile
    """
    uri = resolve_db_uri(db_uri, data_dir) if file.exists() else ""
    with _progress_bar() as progress:
        report = import_tool_events(
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
def _progress_bar() -> Iterator[Progress]:
    """Show a bar on stderr while it is a terminal; yield what moves it."""
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
        _print(f"{report.file} does not exist: nothing to import")
        return
    if report.refused or report.dry_run:
        _print(f"{report.new} records would be loaded; nothing was")
    else:
        _print(f"{report.loaded} records loaded into profile {report.profile}")
    moved = f"; {report.moved_on} of them have moved on since" if report.moved_on else ""
    _print(f"{report.already_there} already there{moved}")
    _print(f"{report.conflicts} in conflict with a stored event, {report.rejected} rejected")
    for reason, count in report.reasons.items():
        _print(f"  {count} x {reason}")
    if report.rejects_file:
        _print(f"rejects and conflicts are in {report.rejects_file}")
    if report.parity:
        _print_parity(report.parity)
    _print(f"{report.records} records in {report.seconds:.1f} s")


def _print_parity(parity: Parity) -> None:
    table = Table("status", title="The file against the database", title_justify="left")
    for heading in ("file", "moved on", "database", "agree"):
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
    _print(
        f"order by start within each of {parity.sessions} sessions: "
        + ("the same" if not parity.out_of_order else f"{parity.out_of_order} events differ")
    )


def _print(line: str) -> None:
    stdout.print(line, markup=False)
