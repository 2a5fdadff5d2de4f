"""The command `sessionbase profile`."""

import json
import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from sessionbase.console import count_bar, print_json, print_line, stderr
from sessionbase.database import check_profile
from sessionbase.errors import SessionbaseError, UsageError
from sessionbase.legacy.exporter import new_file
from sessionbase.options import DEFAULT_DATA_DIR, DataDir, DbUri, resolve_db_uri
from sessionbase.profile.eraser import erase_profile, plan_erasure
from sessionbase.profile.export_file import read_export
from sessionbase.profile.exporter import export_profile
from sessionbase.profile.importer import import_profile
from sessionbase.profile.lister import list_profiles

app = typer.Typer(no_args_is_help=True)

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


@app.command("list")
def list_(  # noqa: PLR0917 - typer passes them by name
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=10_000, help="How many profiles to list.")
    ] = 100,
    after: Annotated[
        str, typer.Option("--after", help="List the profiles after this one.", show_default=False)
    ] = "",
    counts: Annotated[
        bool,
        typer.Option("--counts", help="Count the rows, which takes 1 s per million or more."),
    ] = False,
    db_uri: DbUri = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """List the profiles that have rows, one per line, in the order of their ids.

    Example: sessionbase profile list --counts
    """
    page = list_profiles(resolve_db_uri(db_uri, data_dir), after, limit, counts=counts)
    if as_json:
        print_json(asdict(page))
        return
    for found in page.profiles:
        rows = "" if found.rows is None else f"  {_describe(found.rows)}"
        print_line(f"{json.dumps(found.profile, ensure_ascii=False)}{rows}")
    if page.next_after is not None:
        stderr.print(f"there are more: --after {shlex.quote(page.next_after)}", markup=False)


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
        print_line(f"{sum(report.rows.values())} rows of profile {profile} written to {file}")


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
        print_line(
            f"{sum(report.rows.values())} rows of profile {report.profile} imported from {file}"
        )


@app.command("erase")
def erase(  # noqa: PLR0917 - typer passes them by name
    profile: Profile,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count the rows, and erase nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    reason: Reason = None,
    if_unchanged: Annotated[
        Path | None,
        typer.Option(
            "--if-unchanged",
            help="Erase only if the rows are still those of this export file.",
            show_default=False,
        ),
    ] = None,
    db_uri: DbUri = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """Delete all rows of a profile, in all domains, with their logs and audit.

    One transaction deletes everything or nothing. It leaves one entry in app.profile_log: who,
    when, why, how many rows of each table, and the length and newest hash of the chain of
    decisions. From then on audit verify reports the chain as erased. Meanwhile the API refuses
    writes to the profile with 503 profile_locked. Backups are not changed: see docs/profiles.md.

    To move a profile, export it, import it into the other database, and erase it here with
    --if-unchanged: a row that was written after the export is then not lost.

    Example: sessionbase profile erase default-profile --reason 'request of 24 November'
    """
    check_profile(profile)
    uri = resolve_db_uri(db_uri, data_dir)
    unchanged = read_export(if_unchanged) if if_unchanged else None
    if dry_run or not yes:
        with count_bar("comparing") as progress:
            report = plan_erasure(uri, profile, unchanged, progress)
        if not dry_run:
            stderr.print(f"{_describe(report.rows)}", markup=False)
            given = typer.prompt(f"Type the profile id to erase {profile}", err=True)
            if given != profile:
                raise SessionbaseError("the ids differ; nothing was erased")
    if not dry_run:
        with count_bar("erasing") as progress:
            report = erase_profile(uri, profile, reason, unchanged, progress)
    if as_json:
        print_json({"dry_run": dry_run, **asdict(report)})
        return
    print_line(_describe(report.rows))
    if dry_run:
        print_line("dry run: nothing was erased")
    else:
        print_line(
            f"profile {profile} erased by {report.erased_by}: {sum(report.rows.values())} rows, "
            f"{report.chain_length} of them decisions"
        )


def _describe(rows: dict[str, int]) -> str:
    return ", ".join(f"{table}: {count}" for table, count in rows.items() if count)
