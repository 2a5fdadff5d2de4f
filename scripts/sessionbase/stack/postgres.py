"""The embedded PostgreSQL: made once, started and stopped; it listens on a Unix socket only."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import psutil
import psycopg
from psycopg import sql

from sessionbase.errors import SessionbaseError
from sessionbase.stack import processes
from sessionbase.stack.account import Account, postgres_bin
from sessionbase.state import DATABASE, SUPERUSER, Secrets, StackConfig, dba_uri

# Written into the new cluster's postgresql.conf, where a DBA may change them later.
SETTINGS = {
    "wal_level": "logical",  # clients live-sync through logical replication
    "max_slot_wal_keep_size": "2GB",  # a forgotten replication slot must not fill the disk
    "synchronous_commit": "on",  # an answered write is on disk
    "shared_buffers": "128MB",
    "max_connections": "100",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %q%u@%d %a ",
    "log_min_duration_statement": "1s",
    "unix_socket_permissions": "0700",
}
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}


def start(stack_config: StackConfig, secrets: Secrets, account: Account, log: Path) -> bool:
    """Make the cluster and its database where absent, start the server; True if it was stopped."""
    if processes.find(stack_config.cluster):
        _ensure_database(stack_config, secrets)
        return False
    programs = postgres_bin(account)
    if not stack_config.cluster.exists():
        _initdb(programs, stack_config, secrets, account)
    account.make_private_dir(stack_config.socket_dir)
    _clear_after_crash(stack_config)
    # Here, not in the cluster's configuration: they must hold wherever the data directory moves.
    socket_dir = str(stack_config.socket_dir).replace('"', '""')
    options = ["-c", f'unix_socket_directories="{socket_dir}"', "-c", "listen_addresses="]
    program = programs / "postgres"
    command = [str(program), "-D", str(stack_config.cluster), *options]
    process = processes.spawn(program, command, ENVIRONMENT, log, account)
    uri = dba_uri(stack_config, secrets, database="postgres")
    processes.wait_until(lambda: _answers(uri), process, "PostgreSQL", log)
    _ensure_database(stack_config, secrets)
    return True


def stop(stack_config: StackConfig) -> bool:
    """Stop the server cleanly (sessions are ended, a checkpoint written); True if it ran."""
    process = processes.find(stack_config.cluster)
    if process:
        processes.stop(process, signal.SIGINT)
    return process is not None


def _initdb(programs: Path, stack_config: StackConfig, secrets: Secrets, account: Account) -> None:
    """Make the cluster in a draft folder, so that a crash leaves none that is half made."""
    draft, password_file = stack_config.home / "cluster.new", stack_config.home / "password"
    if draft.exists():
        shutil.rmtree(draft)
    account.make_private_dir(draft)
    password_file.unlink(missing_ok=True)
    descriptor = os.open(password_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as handle:
        handle.write(secrets.superuser_password)
    account.own(password_file)
    try:
        subprocess.run(
            [
                str(programs / "initdb"),
                f"--pgdata={draft}",
                f"--username={SUPERUSER}",
                f"--pwfile={password_file}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                # The same order of texts on every machine, whatever its locales.
                "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8",
                "--locale=C",
                *[f"--set={name}={value}" for name, value in SETTINGS.items()],
            ],
            check=True,
            capture_output=True,
            text=True,
            env=ENVIRONMENT,
            cwd="/",
            user=account.uid if account.switches else None,
            group=account.gid if account.switches else None,
            extra_groups=[] if account.switches else None,
        )
    except subprocess.CalledProcessError as error:
        lines = error.stderr.strip().splitlines() or ["it wrote nothing"]
        raise SessionbaseError(f"the cluster could not be made: {lines[-1]}") from error
    finally:
        password_file.unlink()
    draft.rename(stack_config.cluster)


def _clear_after_crash(stack_config: StackConfig) -> None:
    """Let go of what a killed server left behind.

    PostgreSQL removes its own stale lock files, but not when the pid in them was reused by another
    process of this user. That no server runs on the cluster is known from the command lines; its
    last children, which end by themselves, are waited for.
    """
    deadline = time.monotonic() + processes.STOP_SECONDS
    while any(_works_in(process, stack_config.cluster) for process in psutil.process_iter()):
        if time.monotonic() > deadline:
            raise SessionbaseError("processes of a killed PostgreSQL still run on the cluster")
        time.sleep(0.05)
    lock_files = [
        stack_config.cluster / "postmaster.pid",
        stack_config.socket_dir / ".s.PGSQL.5432.lock",
    ]
    for path in lock_files:
        path.unlink(missing_ok=True)


def _works_in(process: psutil.Process, folder: Path) -> bool:
    try:
        return process.cwd() == str(folder)
    except psutil.Error:
        return False


def _answers(uri: str) -> bool:
    try:
        psycopg.connect(uri, connect_timeout=5).close()
    except psycopg.OperationalError as error:
        if "password authentication failed" in str(error):
            raise SessionbaseError(
                "PostgreSQL does not know the password in secrets.json"
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
