"""The embedded PostgreSQL: create its cluster, start and stop it. It has only a Unix socket."""

import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import psutil
import psycopg
from psycopg import sql

from sessionbase.errors import SessionbaseError
from sessionbase.paths import command
from sessionbase.stack import processes
from sessionbase.stack.account import POSTGRES_BIN_VARIABLE, Account, postgres_bin
from sessionbase.state import (
    DATABASE,
    SUPERUSER,
    Secrets,
    StackConfig,
    dba_uri,
    node_uri,
    write_private,
)

# Written into the new cluster's postgresql.conf, where a DBA may change them later.
SETTINGS = {
    "wal_level": "logical",  # so that `sessionbase replication enable` needs no restart
    "max_slot_wal_keep_size": "2GB",  # an unused replication slot must not fill the disk
    "synchronous_commit": "on",  # a write is on disk before the client gets the response
    "shared_buffers": "128MB",
    "max_connections": "100",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %q%u@%d %a ",
    "log_min_duration_statement": "1s",
    "unix_socket_permissions": "0700",
}
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}
OLDEST_VERSION = 15


def start(
    stack_config: StackConfig,
    secrets: Secrets,
    account: Account,
    log: Path,
    settings: dict[str, str] | None = None,
) -> bool:
    """Create the missing cluster and database, start the server; return whether it was stopped.

    `settings` are given on the command line, as by `run`.
    Raises SessionbaseError, before anything starts, if the programs can't be used: older than
    PostgreSQL 15, or of another major version than the cluster; or if the cluster is a standby, or
    is missing while another node has data.
    """
    if is_standby(stack_config.cluster):
        raise SessionbaseError(
            f"the promotion of {stack_config.cluster} was interrupted",
            f"{command()} promote completes it",
        )
    if processes.find(stack_config.cluster):
        _ensure_database(stack_config, secrets)
        return False
    programs = postgres_bin(account)
    major = _major_version(programs)
    if not stack_config.cluster.exists():
        _refuse_second_primary(stack_config)
        _initdb(programs, major, stack_config, secrets, account)
    run(stack_config, secrets, account, log, node=stack_config.node, settings=settings)
    _ensure_database(stack_config, secrets)
    return True


def run(
    stack_config: StackConfig,
    secrets: Secrets,
    account: Account,
    log: Path,
    *,
    node: int,
    settings: dict[str, str] | None = None,
) -> None:
    """Start the server of a node, whose cluster exists, and wait until it accepts connections.

    `settings` are given on the command line, which has precedence over the files of the cluster.
    """
    programs, cluster = postgres_bin(account), stack_config.cluster_of(node)
    _check_cluster_version(cluster, programs, _major_version(programs))
    account.make_private_dir(stack_config.socket_dir)
    _clear_after_crash(stack_config, node)
    # On the command line and not in postgresql.conf: the data directory can be moved.
    socket_dir = str(stack_config.socket_dir).replace('"', '""')
    given = {
        "unix_socket_directories": f'"{socket_dir}"',
        "listen_addresses": "",
        "port": str(stack_config.port_of(node)),
        **(settings or {}),
    }
    options = [text for name, value in given.items() for text in ("-c", f"{name}={value}")]
    program = programs / "postgres"
    arguments = [str(program), "-D", str(cluster), *options]
    process = processes.spawn(program, arguments, ENVIRONMENT, log, account)
    uri = node_uri(stack_config, secrets, node, database="postgres")
    processes.wait_until(lambda: answers(uri), process, "PostgreSQL", log)


def is_standby(cluster: Path) -> bool:
    """Return whether the server of this cluster starts as a standby."""
    return (cluster / "standby.signal").exists()


def _refuse_second_primary(stack_config: StackConfig) -> None:
    """Raise SessionbaseError if there are data of this stack: a new cluster would replace them."""
    if stack_config.standby_cluster.exists() or stack_config.node != 1:
        raise SessionbaseError(
            f"the cluster of the primary, {stack_config.cluster}, is missing",
            f"{command()} promote makes the replica the primary, or restore it from a backup",
        )


def stop(stack_config: StackConfig) -> bool:
    """Stop the server cleanly (sessions are ended, a checkpoint written); True if it ran."""
    return stop_cluster(stack_config.cluster)


def stop_cluster(cluster: Path) -> bool:
    """Stop the server of a cluster cleanly; return whether it ran."""
    process = processes.find(cluster)
    if process:
        processes.stop(process, signal.SIGINT)
    return process is not None


def _major_version(programs: Path) -> int:
    """Return the major version of the server programs; SessionbaseError if it is too old."""
    program = programs / "postgres"
    try:
        done = subprocess.run(
            [str(program), "--version"], check=True, capture_output=True, text=True, env=ENVIRONMENT
        )
    except (OSError, subprocess.CalledProcessError) as error:
        raise SessionbaseError(f"{program} does not run: {error}") from error
    match = re.search(r"\(PostgreSQL\) (\d+)", done.stdout)
    if match is None:
        raise SessionbaseError(f"{program} is not a PostgreSQL server: {done.stdout.strip()}")
    if int(match[1]) < OLDEST_VERSION:
        raise SessionbaseError(
            f"{program} is PostgreSQL {match[1]}",
            f"PostgreSQL {OLDEST_VERSION} or newer is needed",
        )
    return int(match[1])


def _check_cluster_version(cluster: Path, programs: Path, major: int) -> None:
    """Raise SessionbaseError if the cluster was made by another major version."""
    version_file = cluster / "PG_VERSION"
    if not version_file.exists():
        return  # not a cluster: the server's own message says so
    made_by = version_file.read_text(encoding="ascii").strip()
    if made_by != str(major):
        raise SessionbaseError(
            f"the cluster {cluster} was made by PostgreSQL {made_by}, and the programs in"
            f" {programs} are PostgreSQL {major}",
            f"set {POSTGRES_BIN_VARIABLE} to the bin folder of a PostgreSQL {made_by};"
            " docs/postgres-upgrade.md says how to move the data to a newer version",
        )


def _locale_options(major: int) -> list[str]:
    """Return initdb's options for texts in the order of their code points, on every machine."""
    if major >= 17:
        return ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
    # Before 17 there is no builtin provider. Collation C compares bytes, and UTF-8 bytes have the
    # order of the code points; what is a letter comes from the operating system's C.UTF-8.
    return ["--locale=C", "--lc-ctype=C.UTF-8"]


def _initdb(
    programs: Path, major: int, stack_config: StackConfig, secrets: Secrets, account: Account
) -> None:
    """Make the cluster in a draft folder, so that a crash leaves no incomplete cluster."""
    draft, password_file = stack_config.home / "cluster.new", stack_config.home / "password"
    if draft.exists():
        shutil.rmtree(draft)
    account.make_private_dir(draft)
    write_private(password_file, secrets.superuser_password, account.uid)
    try:
        subprocess.run(
            [
                str(programs / "initdb"),
                f"--pgdata={draft}",
                f"--username={SUPERUSER}",
                f"--pwfile={password_file}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--data-checksums",  # the default from 18 on
                *_locale_options(major),
            ],
            check=True,
            capture_output=True,
            text=True,
            env=ENVIRONMENT,
            cwd="/",
            **account.popen_options,
        )
    except subprocess.CalledProcessError as error:
        lines = error.stderr.strip().splitlines() or ["it wrote nothing"]
        raise SessionbaseError(f"the cluster could not be created: {lines[-1]}") from error
    finally:
        password_file.unlink()
    with (draft / "postgresql.conf").open("a", encoding="utf-8") as handle:
        handle.writelines(f"{name} = '{value}'\n" for name, value in SETTINGS.items())
    draft.rename(stack_config.cluster)


def _clear_after_crash(stack_config: StackConfig, node: int) -> None:
    """Delete the lock files of a killed server, after its child processes have ended.

    PostgreSQL removes its own stale lock files, but not when another process of the same user has
    the pid that is written in them. The caller has found no running server by its command line.
    """
    cluster = stack_config.cluster_of(node)
    wait_for_children(cluster)
    lock_files = [
        cluster / "postmaster.pid",
        stack_config.socket_dir / f".s.PGSQL.{stack_config.port_of(node)}.lock",
    ]
    for path in lock_files:
        path.unlink(missing_ok=True)


def wait_for_children(cluster: Path) -> None:
    """Wait until no process works in the cluster. Those of a killed server end by themselves."""
    deadline = time.monotonic() + processes.STOP_SECONDS
    while any(_works_in(process, cluster) for process in psutil.process_iter()):
        if time.monotonic() > deadline:
            raise SessionbaseError("processes of a killed PostgreSQL still run on the cluster")
        time.sleep(0.05)


def _works_in(process: psutil.Process, folder: Path) -> bool:
    try:
        return process.cwd() == str(folder)
    except psutil.Error:
        return False


def answers(uri: str) -> bool:
    """Return whether a server accepts connections. Raises SessionbaseError for a wrong password."""
    try:
        psycopg.connect(uri, connect_timeout=5).close()
    except psycopg.OperationalError as error:
        if "password authentication failed" in str(error):
            raise SessionbaseError(
                "the password in secrets.json is not the one in PostgreSQL"
            ) from None
        return False
    return True


def _ensure_database(stack_config: StackConfig, secrets: Secrets) -> None:
    uri = dba_uri(stack_config, secrets, database="postgres")
    with psycopg.connect(uri, autocommit=True) as connection:
        found = connection.execute(
            "select from pg_catalog.pg_database where datname = %s", [DATABASE]
        ).fetchone()
        if found is None:
            connection.execute(sql.SQL("create database {}").format(sql.Identifier(DATABASE)))
