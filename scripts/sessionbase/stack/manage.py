"""Start, stop and inspect a stack: up, down, status."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psycopg

from sessionbase import __version__
from sessionbase.console import Log
from sessionbase.errors import SessionbaseError, UsageError
from sessionbase.migrate.runner import migrate, pending
from sessionbase.paths import command
from sessionbase.stack import docs, postgres, postgrest, processes, replica
from sessionbase.stack.account import choose_home, choose_socket_dir, service_account
from sessionbase.stack.replica import ReplicaOptions
from sessionbase.state import (
    DEFAULT_ADMIN_PORT,
    DEFAULT_PORT,
    Secrets,
    StackConfig,
    dba_uri,
    load_secrets,
    load_stack_config,
    locked,
    lost_secrets,
    require,
    require_stack_config,
    save_secrets,
    save_stack_config,
)

RESTORING = "restoring"
"""The file of a data directory that exists while a backup is restored into it."""


@dataclass(frozen=True)
class UpOptions:
    """The options of `up`. None: the value of the last run, or the default."""

    port: int | None = None
    admin_port: int | None = None
    postgres_uri: str | None = None
    postgrest: Path | None = None
    docs_port: int | None = None
    """The port of Swagger UI. None: do not start it."""
    replica: ReplicaOptions = field(default_factory=ReplicaOptions)


@dataclass(frozen=True)
class UpReport:
    """The result of `up`."""

    stack_config: StackConfig
    started: list[str]
    first_run: bool


def up(data_dir: Path, options: UpOptions | None = None, log: Log = lambda _: None) -> UpReport:
    """Start what does not run of the stack of `data_dir`, and apply the SQL files.

    The first run creates the directory, the secrets and the cluster. `log` gets one line of text
    for each step that takes time. Raises SessionbaseError; problems that can be found in advance
    are raised before anything starts.
    """
    options = options or UpOptions()
    data_dir = data_dir.resolve()
    _make_data_dir(data_dir)
    with locked(data_dir):
        _refuse_incomplete_restore(data_dir)
        stack_config, secrets = _prepare(data_dir, options)
        executable = postgrest.choose_executable(options.postgrest)
        serving = postgrest.find(stack_config)
        if not serving:
            _check_ports(stack_config)
        if options.docs_port:
            docs.check(stack_config, options.docs_port)
        save_stack_config(data_dir, stack_config)
        account, started = service_account(), []
        embedded = secrets.postgres_uri is None
        if not serving:
            log("starting ...")
        if embedded and postgres.start(stack_config, secrets, account, data_dir / "postgresql.log"):
            started.append("PostgreSQL")
        if embedded:
            # Before the migrations: in synchronous mode their commits wait for the replica.
            started += replica.start(stack_config, secrets, account, data_dir, log)
        uri = dba_uri(stack_config, secrets)
        migrate(uri, log=log)
        if not serving:
            postgrest.set_login_password(uri, secrets.authenticator_password)
            postgrest.start(stack_config, secrets, account, executable, data_dir)
            started.append("PostgREST")
        elif not postgrest.is_ready(stack_config):
            log("waiting for PostgREST ...")
            postgrest.wait_until_ready(stack_config, serving, data_dir)
        started += replica.serve(stack_config, secrets, account, executable, data_dir, log=log)
        if options.docs_port:
            docs_log = data_dir / "docs.log"
            if docs.start(stack_config, account, options.docs_port, docs_log):
                started.append("Swagger UI")
        return UpReport(stack_config, started, first_run=not stack_config.first_run_done)


def mark_first_run_done(data_dir: Path) -> None:
    """Store that the first run is complete, so that the next one imports no sample."""
    stack_config, _ = require(data_dir.resolve())
    save_stack_config(data_dir.resolve(), replace(stack_config, first_run_done=True))


@contextmanager
def new_stack(data_dir: Path) -> Iterator[str]:
    """Create a stack with an empty database, for a restore; yield the DBA's URI of its PostgreSQL.

    When the block ends without an error, PostgreSQL is stopped and the stack is complete: `up`
    starts it, and imports no sample. After an error everything is deleted. `up` refuses a stack
    whose block did not end. Raises SessionbaseError if `data_dir` has any file already.
    """
    data_dir = data_dir.resolve()
    _make_data_dir(data_dir)
    with locked(data_dir):
        _refuse_occupied(data_dir)
        (data_dir / RESTORING).touch()
        try:
            stack_config, secrets = _prepare(data_dir, UpOptions())
        except BaseException:
            shutil.rmtree(data_dir)
            raise
        try:
            postgres.start(stack_config, secrets, service_account(), data_dir / "postgresql.log")
            yield dba_uri(stack_config, secrets)
            _stop(stack_config)
        except BaseException:
            _stop(stack_config)
            _delete(stack_config, data_dir)
            raise
        save_stack_config(data_dir, replace(stack_config, first_run_done=True))
        (data_dir / RESTORING).unlink()


def _make_data_dir(data_dir: Path) -> None:
    try:
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise SessionbaseError(
            f"{data_dir} can't be the data directory: {error.strerror}", "choose another --data-dir"
        ) from error


def _refuse_occupied(data_dir: Path) -> None:
    """Raise SessionbaseError if the folder has files: a failed restore would delete them."""
    _refuse_incomplete_restore(data_dir)
    found = {path.name for path in data_dir.iterdir()} - {"lock"}
    if found:
        what = "a stack" if found & {"stack.json", "secrets.json", "cluster"} else "other files"
        raise SessionbaseError(
            f"{data_dir} has {what} already, and nothing was changed",
            "name an empty or new folder with --data-dir, or an empty database with --db-uri",
        )


def _refuse_incomplete_restore(data_dir: Path) -> None:
    if (data_dir / RESTORING).exists():
        raise SessionbaseError(
            f"a restore into {data_dir} was interrupted",
            f"delete it with {command()} down --delete-data --data-dir {data_dir},"
            " and restore again",
        )


def down(data_dir: Path) -> list[str]:
    """Stop the servers, PostgREST first, and return the names of those that ran. The data stay."""
    data_dir = data_dir.resolve()
    stack_config = _stack_config_to_stop(data_dir)
    with locked(data_dir):
        return _stop(stack_config)


def delete_data(data_dir: Path) -> None:
    """Stop the stack and delete its cluster, secrets and logs. This cannot be undone."""
    data_dir = data_dir.resolve()
    stack_config = _stack_config_to_stop(data_dir)
    with locked(data_dir):
        _stop(stack_config)
        _delete(stack_config, data_dir)


def status(data_dir: Path) -> dict[str, Any]:
    """Return the state of the stack, without its JWT secret and login password."""
    data_dir = data_dir.resolve()
    stack_config, secrets = require(data_dir)
    uri = dba_uri(stack_config, secrets)
    server_version = _server_version(uri)
    rest = postgrest.find(stack_config)
    server = None if secrets.postgres_uri else processes.find(stack_config.cluster)
    docs_server = docs.find(stack_config)
    return {
        "running": rest is not None and postgrest.is_ready(stack_config),
        "rest_url": stack_config.rest_url,
        "admin_url": stack_config.admin_url,
        "docs_url": docs.url(stack_config),
        "db_uri": uri,
        "versions": {
            "sessionbase": __version__,
            "postgresql": server_version,
            "postgrest": postgrest.version(stack_config),
        },
        "pids": {
            "postgresql": server.pid if server else None,
            "postgrest": rest.pid if rest else None,
            "docs": docs_server.pid if docs_server else None,
        },
        "pending_migrations": pending(uri) if server_version else None,
        "replica": replica.read_status(stack_config, secrets),
        "fenced_clusters": [str(path) for path in replica.fenced_clusters(stack_config)],
        "data_dir": str(data_dir),
        "cluster_dir": None if secrets.postgres_uri else str(stack_config.cluster),
    }


def _prepare(data_dir: Path, options: UpOptions) -> tuple[StackConfig, Secrets]:
    """Return configuration and secrets with the options applied; create them on the first run."""
    secrets, stack_config = load_secrets(data_dir), load_stack_config(data_dir)
    if secrets is None:
        if stack_config is not None or (data_dir / "cluster").exists():
            raise lost_secrets(data_dir)
        secrets = Secrets.generate(options.postgres_uri)
        save_secrets(data_dir, secrets)
    elif options.postgres_uri not in {None, secrets.postgres_uri}:
        raise SessionbaseError(
            f"{data_dir} is the stack of another PostgreSQL", "choose another --data-dir"
        )
    if stack_config is None:
        account = service_account()
        home = choose_home(data_dir, account)
        stack_config = StackConfig(home, choose_socket_dir(home))
        save_stack_config(data_dir, stack_config)
    asked = replace(
        stack_config,
        port=options.port or stack_config.port or DEFAULT_PORT,
        admin_port=options.admin_port or stack_config.admin_port or DEFAULT_ADMIN_PORT,
    )
    ports = (stack_config.port, stack_config.admin_port)
    if (asked.port, asked.admin_port) != ports and postgrest.find(stack_config):
        raise SessionbaseError(
            f"it already runs on port {stack_config.port}", f"{command()} down stops it"
        )
    if asked.port == asked.admin_port:
        raise UsageError(f"--port and --admin-port are both {asked.port}")
    asked, stored = replica.choose(asked, secrets, options.replica)
    if stored != secrets:
        save_secrets(data_dir, stored)
    return asked, stored


def _stack_config_to_stop(data_dir: Path) -> StackConfig:
    """Return a configuration that is enough to stop the stack, even without its stack.json."""
    started = any((data_dir / name).exists() for name in ("cluster", RESTORING))
    if load_stack_config(data_dir) is None and started:
        return StackConfig(data_dir, choose_socket_dir(data_dir))
    return require_stack_config(data_dir)


def _check_ports(stack_config: StackConfig) -> None:
    processes.check_port_free(stack_config.port, "--port")
    processes.check_port_free(stack_config.admin_port, "--admin-port")


def _stop(stack_config: StackConfig) -> list[str]:
    stopped = []
    if docs.stop(stack_config):
        stopped.append("Swagger UI")
    stopped += replica.stop_serving(stack_config)
    if postgrest.stop(stack_config):
        stopped.append("PostgREST")
    if postgres.stop(stack_config):
        stopped.append("PostgreSQL")
    return stopped + replica.stop(stack_config)


def _delete(stack_config: StackConfig, data_dir: Path) -> None:
    for path in (stack_config.socket_dir, stack_config.home, data_dir):
        shutil.rmtree(path, ignore_errors=not path.exists())


def _server_version(uri: str) -> str | None:
    try:
        with psycopg.connect(uri, connect_timeout=5) as connection:
            return connection.info.parameter_status("server_version")
    except psycopg.OperationalError:
        return None
