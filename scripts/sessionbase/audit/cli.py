"""The command `sessionbase audit`."""

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from sessionbase.audit.chains import Erasure, Problem, export_checkpoint, verify_chains
from sessionbase.audit.checkpoint import create_key, read_checkpoint, read_key
from sessionbase.console import count_bar, print_json, stderr, stdout
from sessionbase.errors import UsageError
from sessionbase.options import DEFAULT_DATA_DIR, DataDir, DbUri, resolve_db_uri

app = typer.Typer(no_args_is_help=True)

KeyFile = Annotated[
    Path, typer.Option("--key-file", help="The key of the signature: a file of 32 bytes or more.")
]


@app.callback()
def root() -> None:
    """Verify the audit of hookify decisions.

    Example: sessionbase audit verify
    """


@app.command("key")
def key(file: Annotated[Path, typer.Argument(help="The new file.")]) -> None:
    """Create a key to sign checkpoints with.

    The file has mode 0600. A file that exists is not replaced. Store the key where the
    administrators of the database can't read it: a reader of the key can sign a false checkpoint.

    Example: sessionbase audit key audit.key
    """
    create_key(file)
    stdout.print(f"the new key is in {file}", markup=False)


@app.command("checkpoint")
def checkpoint(
    output: Annotated[Path, typer.Argument(help="The new file.")],
    key_file: KeyFile,
    db_uri: DbUri = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the report as JSON, for a program.")
    ] = False,
) -> None:
    """Write the length and the newest hash of every chain to a signed file.

    The file is JSON Lines: a header, one line per profile, and a signature (HMAC-SHA256). It
    appears only when it is complete. A file that exists is not replaced. The chains are not
    verified: run audit verify first.

    It connects as a login that may become sessionbase_owner, not over HTTP.

    Example: sessionbase audit checkpoint 2026-11-24.jsonl --key-file audit.key
    """
    report = export_checkpoint(resolve_db_uri(db_uri, data_dir), output, read_key(key_file))
    if as_json:
        print_json({"file": str(output), **asdict(report)})
        return
    for problem in report.problems:
        _print_problem(stderr, problem)
    stdout.print(
        f"the checkpoint is in {output}: chains: {report.chains}, decisions: {report.decisions}",
        markup=False,
    )


@app.command("verify")
def verify(  # noqa: PLR0917 - typer passes them by name
    profile: Annotated[
        str | None,
        typer.Option("--profile", help="Verify this profile only.", show_default=False),
    ] = None,
    checkpoint_file: Annotated[
        Path | None,
        typer.Option(
            "--checkpoint", help="Compare the chains with this checkpoint.", show_default=False
        ),
    ] = None,
    key_file: Annotated[
        Path | None,
        typer.Option(
            "--key-file", help="The key that the checkpoint was signed with.", show_default=False
        ),
    ] = None,
    db_uri: DbUri = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the report as JSON, for a program.")
    ] = False,
) -> None:
    """Verify the chains of hookify decisions of all profiles, or of one.

    It prints one line for each chain that is not as it was recorded, with the position and id of
    the first decision that does not fit. With --checkpoint it also finds chains that were deleted,
    cut off or rewritten since the checkpoint, even if they are valid in themselves. A chain that
    was erased by profile erase is no problem: it prints when, by whom and how many decisions.

    It connects as a login that may become sessionbase_owner, not over HTTP, and reads one snapshot
    of the database: decisions that are recorded meanwhile are not verified.

    Exit code 0: all chains are valid or erased. 1: one is not, or it could not run.

    Example: sessionbase audit verify --checkpoint 2026-11-24.jsonl --key-file audit.key
    """
    if (checkpoint_file is None) != (key_file is None):
        raise UsageError("--checkpoint and --key-file must be given together")
    expected = (
        read_checkpoint(checkpoint_file, read_key(key_file))
        if checkpoint_file and key_file
        else None
    )
    started = time.monotonic()
    with count_bar("verifying") as progress:
        report = verify_chains(resolve_db_uri(db_uri, data_dir), profile, expected, progress)
    seconds = time.monotonic() - started
    if as_json:
        compared = expected and {
            "file": str(checkpoint_file),
            "created_at": expected.created_at,
            "database": expected.database,
            "chains": len(expected.chains),
        }
        print_json(
            {
                "valid": report.valid,
                **asdict(report),
                "checkpoint": compared,
                "seconds": round(seconds, 3),
            }
        )
    else:
        for problem in report.problems:
            _print_problem(stdout, problem)
        for erasure in report.erased:
            _print_erasure(erasure)
        if expected:
            stdout.print(
                f"compared with {checkpoint_file}: chains: {len(expected.chains)}, "
                f"database: {expected.database}, created at {expected.created_at}",
                markup=False,
            )
        stdout.print(
            f"chains verified: {report.chains}, decisions verified: {report.decisions}, "
            f"problems: {len(report.problems)}, seconds: {seconds:.1f}",
            markup=False,
        )
    raise typer.Exit(1 if report.problems else 0)


def _print_erasure(erasure: Erasure) -> None:
    reason = f" ({json.dumps(erasure.reason, ensure_ascii=False)})" if erasure.reason else ""
    stdout.print(
        f"profile {json.dumps(erasure.profile_id, ensure_ascii=False)}: erased on "
        f"{erasure.erased_at} by {erasure.erased_by}{reason}: {erasure.decisions} decisions; "
        f"decisions in the new chain: {erasure.decisions_since}",
        markup=False,
    )


def _print_problem(console: Console, problem: Problem) -> None:
    # Quoted as JSON: ids are texts of callers, with line breaks or control characters.
    place = f"profile {json.dumps(problem.profile_id, ensure_ascii=False)}"
    if problem.position is not None:
        place += f", position {problem.position}"
    if problem.id is not None:
        place += f", id {json.dumps(problem.id, ensure_ascii=False)}"
    console.print(f"{place}: {problem.problem}", markup=False)
