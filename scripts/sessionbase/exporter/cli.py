"""The command `sessionbase export`."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from sessionbase.console import print_json, stderr, stdout
from sessionbase.exporter.tool_events import Progress, export_tool_events, new_file
from sessionbase.options import DEFAULT_DATA_DIR, DataDir, DbUri, check_profile, resolve_db_uri

app = typer.Typer(no_args_is_help=True, help="Write the app's legacy files from the database.")


@app.callback()
def root() -> None:
    """Write the app's legacy files from the database: the way back.

    Example: sessionbase export tool-events --profile default-profile > chat-tool-events.json
    """


@app.command("tool-events")
def tool_events(  # noqa: PLR0917 - typer passes them by name
    profile: Annotated[
        str, typer.Option("--profile", help="Whose events; the app's own is default-profile.")
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="The new file. Without it, or -: stdout.", show_default=False
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the file of --output if it exists.")
    ] = False,
    db_uri: DbUri = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Annotated[
        bool, typer.Option("--json", help="With --output: print what was done as JSON.")
    ] = False,
) -> None:
    """Write a profile's tool events in the form of the app's chat-tool-events.json.

    One JSON array, oldest event first, indented by two, absent fields left out; a profile without
    events gives []. Times have milliseconds, or microseconds where the database has them. To import
    the file again finds every event already there. All of it is one moment of the database, however
    busy that is. The file appears when it is whole, never in part; a file that exists is refused.

    It connects as a login that may become sessionbase_owner, not over HTTP. The order of keys in
    arguments and results is the database's, and a value of more than 64 KiB stands on one line.

    Example: sessionbase export tool-events --profile default-profile --output tool-events.json
    """
    if output == Path("-"):
        output = None
    if output is None and (as_json or force):
        raise typer.BadParameter("--json and --force go with --output")
    check_profile(profile)
    uri = resolve_db_uri(db_uri, data_dir)
    with _progress_bar() as progress:
        if output is None:
            export_tool_events(uri, profile, sys.stdout.buffer, progress)
            sys.stdout.buffer.flush()
            return
        with new_file(output, overwrite=force) as stream:
            records = export_tool_events(uri, profile, stream, progress)
    if as_json:
        print_json({"file": str(output), "profile": profile, "records": records})
    else:
        stdout.print(f"{records} records of profile {profile} are in {output}", markup=False)


@contextmanager
def _progress_bar() -> Iterator[Progress]:
    """Show a bar on stderr while it is a terminal; yield what moves it."""
    columns = (TextColumn("writing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=stderr, transient=True, disable=not stderr.is_terminal) as bar:
        task = bar.add_task("writing", total=None)
        yield lambda records, total: bar.update(task, completed=records, total=total)
