"""The commands of the embedded stack: up, down, status, promote, token, rotate-jwt-secret."""

import json
import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from sessionbase.console import log_line, print_json, print_line, stdout
from sessionbase.errors import SessionbaseError
from sessionbase.legacy.importer import import_tool_events
from sessionbase.options import DEFAULT_DATA_DIR, DataDir
from sessionbase.paths import PROJECT_DIR, command
from sessionbase.stack import failover, manage, replica, rotation
from sessionbase.stack.docs import DEFAULT_PORT as DEFAULT_DOCS_PORT
from sessionbase.stack.token import Role, make_claims, parse_ttl, sign
from sessionbase.state import read_db_uri, read_secret, require

SAMPLE = PROJECT_DIR / "docs" / "sample" / "chat-tool-events.json"
SAMPLE_PROFILE = "default-profile"


def up(  # noqa: PLR0917 - typer passes them by name
    data_dir: DataDir = DEFAULT_DATA_DIR,
    port: Annotated[
        int | None,
        typer.Option(
            help="PostgREST's port on 127.0.0.1. Default: the port of the last run, or 3000.",
            min=1,
            max=65535,
        ),
    ] = None,
    admin_port: Annotated[
        int | None,
        typer.Option(
            help="Port of its health checks on 127.0.0.1. Default: as in the last run, or 3001.",
            min=1,
            max=65535,
        ),
    ] = None,
    postgres: Annotated[
        str | None,
        typer.Option(
            metavar="URI",
            help="Use this running PostgreSQL instead of an embedded one. "
            "The login must be a superuser or have CREATEROLE.",
        ),
    ] = None,
    postgrest: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="The PostgREST executable. Default: the one that SESSIONBASE_POSTGREST names, "
            "else the one on PATH, else the one from npm.",
        ),
    ] = None,
    sample: Annotated[
        bool, typer.Option(help="Import the sample file on the first run of an embedded stack.")
    ] = True,
    docs: Annotated[
        bool, typer.Option("--docs", help="Also serve Swagger UI, to browse and try the API.")
    ] = False,
    docs_port: Annotated[
        int, typer.Option(help="Swagger UI's port on 127.0.0.1, with --docs.", min=1, max=65535)
    ] = DEFAULT_DOCS_PORT,
    with_replica: Annotated[
        bool | None,
        typer.Option(
            "--replica/--no-replica",
            help="Also start a streaming replica, and a PostgREST that reads from it; or remove it."
            " Default: as in the last run.",
            show_default=False,
        ),
    ] = None,
    replica_sync: Annotated[
        bool | None,
        typer.Option(
            "--replica-sync/--no-replica-sync",
            help="A write is acknowledged when the replica has it on disk too. While the replica is"
            " off, every write waits. Default: as in the last run.",
            show_default=False,
        ),
    ] = None,
    replica_port: Annotated[
        int | None,
        typer.Option(
            help="Port of the PostgREST that reads. Default: as in the last run, or 3003.",
            min=1,
            max=65535,
        ),
    ] = None,
    replica_admin_port: Annotated[
        int | None,
        typer.Option(
            help="Port of its health checks. Default: as in the last run, or 3004.",
            min=1,
            max=65535,
        ),
    ] = None,
) -> None:
    """Start PostgreSQL and PostgREST, apply the SQL files, and print the URL.

    The first run creates the cluster and its secrets in the data directory and imports a small
    sample. Later runs start what does not run and apply new SQL files. The servers keep running
    after the shell is closed; `sessionbase down` stops them.

    The environment variable SESSIONBASE_POSTGRES_BIN names a folder of PostgreSQL programs (15 to
    18) to use instead of the embedded ones. SESSIONBASE_POSTGREST names a PostgREST executable.

    With --replica the cluster is copied to a second PostgreSQL, which streams from the first one;
    docs/scaling.md says what it can read, and what happens when the primary fails.

    Example: sessionbase up --port 8080 --admin-port 8081
    """
    options = manage.UpOptions(
        port,
        admin_port,
        postgres,
        postgrest,
        docs_port if docs else None,
        replica.ReplicaOptions(with_replica, replica_sync, replica_port, replica_admin_port),
    )
    report = manage.up(data_dir, options, log=log_line)
    if report.first_run:
        if sample and postgres is None and SAMPLE.exists():
            _import_sample(data_dir)
        manage.mark_first_run_done(data_dir)
    if report.started:
        stdout.print(f"Started: {', '.join(report.started)}.")
    else:
        stdout.print("Everything is already running.")
    if docs:
        stdout.print(f"Browse the API: http://127.0.0.1:{docs_port}")
    if report.stack_config.replica:
        reads = replica.rest_config(report.stack_config).rest_url
        mode = "synchronous" if report.stack_config.replica_sync else "asynchronous"
        stdout.print(f"Read from the replica ({mode}): {reads}", markup=False)
    _print_first_steps(report.stack_config.rest_url, data_dir)


def down(
    data_dir: DataDir = DEFAULT_DATA_DIR,
    delete_data: Annotated[
        bool,
        typer.Option(
            "--delete-data", help="Also delete the cluster with all data, and the secrets."
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before deleting.")] = False,
) -> None:
    """Stop PostgREST and PostgreSQL, and the replica if there is one. The data stay.

    With --delete-data, everything in the data directory is deleted after a confirmation.

    Example: sessionbase down --delete-data
    """
    if delete_data:
        question = f"Delete the stack in {data_dir} with all its data?"
        if not yes and not typer.confirm(question, err=True):
            raise SessionbaseError("nothing was deleted")
        manage.delete_data(data_dir)
        stdout.print(f"Stopped, and deleted with all data: {data_dir}")
        return
    stopped = manage.down(data_dir)
    stdout.print(f"Stopped: {', '.join(stopped)}." if stopped else "Nothing was running.")


def status(
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a program.")] = False,
) -> None:
    """Show whether the stack runs, its URLs and versions. Exit code 0: it runs; 1: it does not.

    `db_uri` is the DBA's connection URI and contains the password.

    Example: psql "$(sessionbase status --json | jq -r .db_uri)"
    """
    found = manage.status(data_dir)
    if as_json:
        print_json(found)
    else:
        for name, value in _flattened(found):
            stdout.print(f"{name:22} {value}", markup=False)
    raise typer.Exit(0 if found["running"] else 1)


def promote(
    data_dir: DataDir = DEFAULT_DATA_DIR,
    force: Annotated[
        bool,
        typer.Option("--force", help="Also if a running primary has WAL that the replica lacks."),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before the promotion.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a program.")] = False,
) -> None:
    """Make the replica the primary, after a failure of the primary or before work on it.

    The old primary is stopped or killed, and its cluster is renamed, so that it can't start again.
    PostgREST connects to the new primary. `sessionbase up` then copies a new replica.

    If the primary had failed, an asynchronous replica can lack the last acknowledged writes; a
    synchronous one has all of them.

    Example: sessionbase promote --yes
    """
    question = f"Stop the primary of {data_dir}, and make its replica the primary?"
    if not yes and not typer.confirm(question, err=True):
        raise SessionbaseError("nothing was changed")
    done = failover.promote(data_dir, force=force, log=log_line)
    if as_json:
        print_json(asdict(done))
        return
    lines = [f"The primary is now {done.cluster_dir}; it took {done.seconds:.1f} s."]
    if done.planned:
        lines.append("The old primary was stopped cleanly: no write is missing.")
    elif done.synchronous:
        lines.append("The replica was synchronous: no acknowledged write is missing.")
    else:
        lines.append("The replica was asynchronous: the last acknowledged writes can be missing.")
    if done.fenced_dir:
        lines.append(f"The old cluster is in {done.fenced_dir}. Delete it when you don't need it.")
    lines.append(f"There is no replica now: {command()} up copies one.")
    for line in lines:
        print_line(line)


def token(
    profile: Annotated[str, typer.Option(help="The profile of the token (claim `sub`).")],
    role: Annotated[
        Role, typer.Option(help="The database role (claim `role`).")
    ] = Role.authenticated,
    ttl: Annotated[str, typer.Option(help="How long the token is valid: 30s, 15m, 1h, 7d.")] = "1h",
    jwt_secret_file: Annotated[
        Path | None,
        typer.Option(
            "--jwt-secret-file",
            metavar="FILE",
            help="Sign with the secret in this file, not with the one of the embedded stack.",
        ),
    ] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Print a JSON Web Token for PostgREST, and nothing else.

    Example: curl -H "Authorization: Bearer $(sessionbase token --profile default-profile)" URL
    """
    claims = make_claims(profile, role, parse_ttl(ttl))
    if jwt_secret_file is None:
        secret = require(data_dir.resolve())[1].jwt_secret
    else:
        secret = read_secret(jwt_secret_file)
    sys.stdout.write(sign(claims, secret) + "\n")


def rotate_jwt_secret(
    data_dir: DataDir = DEFAULT_DATA_DIR,
    finish: Annotated[
        bool, typer.Option("--finish", help="Refuse the tokens of the old secret from now on.")
    ] = False,
) -> None:
    """Replace the JWT secret of the stack without downtime, in two steps.

    The first step makes a new secret. `sessionbase token` signs with it, and PostgREST accepts
    tokens of both. Give the new secret (`jwt_secret` in secrets.json) to whatever else signs
    tokens. When the last token of the old secret has expired, the second step is --finish.

    Example: sessionbase rotate-jwt-secret
    """
    if finish:
        rotation.finish(data_dir.resolve())
        stdout.print("Tokens of the old secret are refused now.")
        return
    rotation.rotate(data_dir.resolve())
    stdout.print(
        "There is a new JWT secret. Tokens of the old one are accepted until you run:"
        f" {command()} rotate-jwt-secret --finish"
    )


def register(app: typer.Typer) -> None:
    """Add the stack's commands to `app`."""
    for function in (up, down, status, promote, token, rotate_jwt_secret):
        app.command()(function)


def _import_sample(data_dir: Path) -> None:
    report = import_tool_events(read_db_uri(data_dir), SAMPLE, SAMPLE_PROFILE)
    stdout.print(f"Imported {report.loaded} sample events for {SAMPLE_PROFILE}.", markup=False)


def _flattened(values: dict[str, object]) -> list[tuple[str, object]]:
    lines: list[tuple[str, object]] = []
    for name, value in values.items():
        if isinstance(value, dict):
            lines += [
                (f"{name}.{key}", "-" if inner is None else inner) for key, inner in value.items()
            ]
        else:
            lines.append((name, "-" if value is None else value))
    return lines


def _print_first_steps(rest_url: str, data_dir: Path) -> None:
    """Print how to get a token, and three commands that work when pasted."""
    arguments = ["token", "--profile", SAMPLE_PROFILE]
    if data_dir.resolve() != DEFAULT_DATA_DIR:
        arguments += ["--data-dir", str(data_dir.resolve())]
    token_command = f"{command()} {shlex.join(arguments)}"
    bearer = f'-H "Authorization: Bearer $({token_command})"'
    json_type = "-H 'Content-Type: application/json'"
    event = {"id": "tool_first", "session_id": "session-default", "arguments": {"limit": 5}}
    record = json.dumps({**event, "tool_name": "list_timeline_events"})
    finish = json.dumps({"id": "tool_first", "to_status": "succeeded", "result": {"count": 5}})
    lines = [
        f"REST URL: {rest_url}",
        f"A token:  {token_command}",
        "",
        "# List the tool events of a session, record one, finish it:",
        f"curl {bearer} '{rest_url}/tool_events?session_id=eq.session-default&order=started_at,id'",
        f"curl {bearer} {json_type} -d '{record}' {rest_url}/rpc/record_tool_event",
        f"curl {bearer} {json_type} -d '{finish}' {rest_url}/rpc/transition_tool_event",
    ]
    for line in lines:
        print_line(line)
