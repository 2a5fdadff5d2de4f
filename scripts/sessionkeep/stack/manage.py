"""The life of a stack: up, down, status."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg

from sessionkeep import __version__
from sessionkeep.errors import SessionkeepError, UsageError
from sessionkeep.generate import api_reference
from sessionkeep.generate.live import Live
from sessionkeep.migrate.runner import Say, migrate, pending
from sessionkeep.stack import docs, postgres, postgrest, processes
from sessionkeep.stack.account import choose_home, choose_socket_dir, service_account
from sessionkeep.stack.state import (
    DEFAULT_ADMIN_PORT,
    DEFAULT_PORT,
    Facts,
    Secrets,
    dba_uri,
    load_facts,
    load_secrets,
    locked,
    lost_secrets,
    require,
    require_facts,
    save_facts,
    save_secrets,
)


@dataclass(frozen=True)
class Wishes:
    """What the caller of `up` asks for; None: as before, or the default."""

    port: int | None = None
    admin_port: int | None = None
    postgres_uri: str | None = None
    postgrest: Path | None = None
    docs_port: int | None = None
    """Where to serve Swagger UI; None: nowhere, unless it runs already."""


@dataclass(frozen=True)
class UpReport:
    """What `up` found and did."""

    facts: Facts
    started: list[str]
    first_run: bool


def up(data_dir: Path, wishes: Wishes | None = None, say: Say = lambda _: None) -> UpReport:
    """Bring the stack of `data_dir` up, whatever state it is in.

    `say` is told, in one line each, what a person who waits would like to know.
    Makes the directory, the secrets and the cluster on the first run, starts what does not run,
    applies the SQL. Raises SessionkeepError where something refuses, before it starts anything if
    that can be known.
    """
    wishes = wishes or Wishes()
    data_dir = data_dir.resolve()
    try:
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise SessionkeepError(
            f"{data_dir} can't be the data directory: {error.strerror}", "name another --data-dir"
        ) from error
    with locked(data_dir):
        facts, secrets = _prepare(data_dir, wishes)
        executable = postgrest.choose_executable(wishes.postgrest)
        serving = processes.find(postgrest.config_file(facts)) is not None
        if not serving:
            _check_ports(facts)
        if wishes.docs_port:
            docs.check(facts, wishes.docs_port)
        save_facts(data_dir, facts)
        account, started = service_account(), []
        embedded = secrets.postgres_uri is None
        if not serving:
            say("starting ...")
        if embedded and postgres.start(facts, secrets, account, data_dir / "postgresql.log"):
            started.append("PostgreSQL")
        uri = dba_uri(facts, secrets)
        migrate(uri, say=say)
        if not serving:
            postgrest.set_login_password(uri, secrets.authenticator_password)
            postgrest.start(facts, secrets, account, executable, data_dir)
            started.append("PostgREST")
        if wishes.docs_port:
            amendment = api_reference.amendment(Live(facts.rest_url, uri, secrets.jwt_secret))
            log = data_dir / "docs.log"
            if docs.start(facts, account, wishes.docs_port, log, amendment):
                started.append("Swagger UI")
        return UpReport(facts, started, first_run=not facts.first_run_done)


def mark_first_run_done(data_dir: Path) -> None:
    """Remember that the first run is complete: the next one imports no sample."""
    facts, _ = require(data_dir.resolve())
    save_facts(data_dir.resolve(), replace(facts, first_run_done=True))


def down(data_dir: Path) -> list[str]:
    """Stop what runs, PostgREST first, and return its names; the data stay."""
    data_dir = data_dir.resolve()
    facts = _facts_to_stop(data_dir)
    with locked(data_dir):
        return _stop(facts)


def delete_data(data_dir: Path) -> None:
    """Stop the stack and delete everything of it: cluster, secrets, logs. There is no way back."""
    data_dir = data_dir.resolve()
    facts = _facts_to_stop(data_dir)
    with locked(data_dir):
        _stop(facts)
        for path in (facts.socket_dir, facts.home, data_dir):
            shutil.rmtree(path, ignore_errors=not path.exists())


def status(data_dir: Path) -> dict[str, Any]:
    """Return what there is to know about the stack, its JWT secret and login password left out."""
    data_dir = data_dir.resolve()
    facts, secrets = require(data_dir)
    uri = dba_uri(facts, secrets)
    server_version = _server_version(uri)
    rest = processes.find(postgrest.config_file(facts))
    server = None if secrets.postgres_uri else processes.find(facts.cluster)
    docs_server = docs.find(facts)
    return {
        "running": rest is not None and postgrest.is_ready(facts),
        "rest_url": facts.rest_url,
        "admin_url": facts.admin_url,
        "docs_url": docs.url(facts),
        "db_uri": uri,
        "versions": {
            "sessionkeep": __version__,
            "postgresql": server_version,
            "postgrest": postgrest.version(facts),
        },
        "pids": {
            "postgresql": server.pid if server else None,
            "postgrest": rest.pid if rest else None,
            "docs": docs_server.pid if docs_server else None,
        },
        "pending_migrations": pending(uri) if server_version else None,
        "data_dir": str(data_dir),
        "cluster_dir": None if secrets.postgres_uri else str(facts.cluster),
    }


def _prepare(data_dir: Path, wishes: Wishes) -> tuple[Facts, Secrets]:
    """Return the stored facts and secrets with the wishes in them, or make new ones."""
    secrets, facts = load_secrets(data_dir), load_facts(data_dir)
    if secrets is None:
        if facts is not None or (data_dir / "cluster").exists():
            raise lost_secrets(data_dir)
        secrets = Secrets.generate(wishes.postgres_uri)
        save_secrets(data_dir, secrets)
    elif wishes.postgres_uri not in {None, secrets.postgres_uri}:
        raise SessionkeepError(
            f"{data_dir} is the stack of another PostgreSQL", "name another --data-dir"
        )
    if facts is None:
        account = service_account()
        home = choose_home(data_dir, account)
        facts = Facts(home, choose_socket_dir(home))
        save_facts(data_dir, facts)
    asked = replace(
        facts,
        port=wishes.port or facts.port or DEFAULT_PORT,
        admin_port=wishes.admin_port or facts.admin_port or DEFAULT_ADMIN_PORT,
    )
    if asked != facts and processes.find(postgrest.config_file(facts)):
        raise SessionkeepError(f"it already runs on port {facts.port}", "scripts/down stops it")
    if asked.port == asked.admin_port:
        raise UsageError(f"--port and --admin-port are both {asked.port}")
    return asked, secrets


def _facts_to_stop(data_dir: Path) -> Facts:
    """Return what is enough to stop a stack, even one whose stack.json is lost."""
    if load_facts(data_dir) is None and (data_dir / "cluster").exists():
        return Facts(data_dir, choose_socket_dir(data_dir))
    return require_facts(data_dir)


def _check_ports(facts: Facts) -> None:
    processes.check_port_free(facts.port, "--port")
    processes.check_port_free(facts.admin_port, "--admin-port")


def _stop(facts: Facts) -> list[str]:
    stopped = []
    if docs.stop(facts):
        stopped.append("Swagger UI")
    if postgrest.stop(facts):
        stopped.append("PostgREST")
    if postgres.stop(facts):
        stopped.append("PostgreSQL")
    return stopped


def _server_version(uri: str) -> str | None:
    try:
        with psycopg.connect(uri, connect_timeout=5) as connection:
            return connection.info.parameter_status("server_version")
    except psycopg.OperationalError:
        return None
