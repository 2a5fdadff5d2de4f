"""The command `sessionbase profile`."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from sessionbase.console import count_bar, print_json, stdout
from sessionbase.database import check_profile
from sessionbase.errors import UsageError
from sessionbase.legacy.exporter import new_file
from sessionbase.options import DEFAULT_DATA_DIR, DataDir, DbUri, resolve_db_uri
from sessionbase.profile.exporter import export_profile
from sessionbase.profile.importer import import_profile

app = typer.Typer(
    no_args_is_help=True, help="List, export, import and erase the data of a profile."
)

Profile = Annotated[str, typer.Argument(help="The profile id.", show_default=False)]
Reason = Annotated[
    str | None,
    typer.Option("--reason", help="A text for app.profile_log.", show_default=False),
]
Json = Annotated[bool, typer.Option("--json", help="Print the report as JSON, for a program.")]


@app.callback()
def root() -> None:
    """List, export, import and erase the data of a profile.

    The commands connect to PostgreSQL, not over HTTP, as a login that may become sessionbase_owner.
    It need not be a superuser.

    Example: sessionbase profile list
    """


@app.command("export")
def export(  # noqa: PLR0917 - typer passes them by name
    profile: Profile,
    file: Annotated[Path, typer.Argument(help="The new file; -: stdout.")],
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")] = False,
    db_uri: DbUri = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """Write all rows of a profile to a file of JSON Lines.

    The file has the rows of all six domains with their logs, as they are in one snapshot of the
    database, and ends with their counts and SHA-256. It appears when it is complete. It contains
    everything that is stored about the profile: keep it where only you can read it.
    docs/profiles.md describes the format.

    Example: sessionbase profile export default-profile default-profile.jsonl
    """
    check_profile(profile)
    to_stdout = file == Path("-")
    if to_stdout and (as_json or force):
        raise UsageError("--json and --force need a file")
    uri = resolve_db_uri(db_uri, data_dir)
    with count_bar("exporting") as progress:
        if to_stdout:
            export_profile(uri, profile, sys.stdout.buffer, progress)
            sys.stdout.buffer.flush()
            return
        with new_file(file, overwrite=force, private=True) as stream:
            report = export_profile(uri, profile, stream, progress)
    if as_json:
        print_json({"file": str(file), **asdict(report)})
    else:
        _print(f"{sum(report.rows.values())} rows of profile {profile} written to {file}")


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="The file of profile export. It is only read.")],
    reason: Reason = None,
    db_uri: DbUri = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """Load the profile of an export file: the whole file or nothing.

    Every row is stored as it is in the file, with its times, revisions, positions and hashes. It is
    refused if the profile has rows here, or if the file is cut off or was changed. After the load
    the rows are read again and compared with the file by SHA-256, and the chain of decisions is
    verified; then the transaction commits. Meanwhile the API refuses writes to the profile with 503
    profile_locked. The import is logged in app.profile_log.

    A profile can't be imported under another name: the hashes of its decisions contain the name.

    Example: sessionbase profile import default-profile.jsonl --reason 'moved from cell 1'
    """
    uri = resolve_db_uri(db_uri, data_dir)
    with count_bar("importing") as progress:
        report = import_profile(uri, file, reason, progress)
    if as_json:
        print_json({"file": str(file), **asdict(report)})
    else:
        _print(f"{sum(report.rows.values())} rows of profile {report.profile} imported from {file}")


def _print(line: str) -> None:
    stdout.print(line, markup=False)
