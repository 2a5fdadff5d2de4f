"""Make the replica of the embedded stack the primary."""

import contextlib
import signal
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import psycopg

from sessionbase.console import Log
from sessionbase.errors import SessionbaseError
from sessionbase.paths import command
from sessionbase.stack import postgres, postgrest, processes, replica
from sessionbase.stack.account import Account, service_account
from sessionbase.state import (
    Secrets,
    StackConfig,
    locked,
    node_uri,
    require,
    require_stack_config,
    save_stack_config,
)

PROMOTE_SECONDS = 60
RECONNECT_SECONDS = 1


@dataclass(frozen=True)
class Promotion:
    """The result of `promote`."""

    cluster_dir: str
    """The cluster of the new primary."""
    fenced_dir: str | None
    """Where the cluster of the old primary is now; None if it had none."""
    planned: bool
    """Whether the old primary ran and was stopped cleanly: then no write is missing."""
    synchronous: bool
    """Whether a commit had to wait for the replica: then no acknowledged write is missing."""
    lsn: str
    """The end of the WAL that the new primary has."""
    seconds: float
    """From the start of the command until the new primary accepted writes."""


def promote(data_dir: Path, *, force: bool = False, log: Log = lambda _: None) -> Promotion:
    """Stop the primary, and make the replica the primary; return what was done.

    A primary that runs is stopped cleanly, and its replica must have received all of its WAL. One
    that does not answer is killed. Its cluster is renamed, so that it can't start again: a second
    primary would accept writes that the first one never gets. The next `up` copies the new primary
    to a new replica. Raises SessionbaseError if there is no replica, or if it is not connected to
    a running primary, unless `force`.
    """
    data_dir = data_dir.resolve()
    require_stack_config(data_dir)
    with locked(data_dir):
        begin = time.monotonic()
        # Read now: a rotation of the JWT secret or another promotion may have held the lock.
        stack_config, secrets = require(data_dir)
        account = service_account()
        # After an interrupted promotion the stack's primary is a standby.
        interrupted = postgres.is_standby(stack_config.cluster)
        synchronous, planned = stack_config.replica_sync, False
        if not interrupted:
            _check_replica(stack_config)
            _start_standby(stack_config, secrets, account, data_dir)
            planned = _stop_primary(stack_config, secrets, account, force=force, log=log)
            stack_config = replace(stack_config, node=stack_config.standby_node)
            save_stack_config(data_dir, stack_config)
        fenced = replica.discard(stack_config.standby_cluster)
        if interrupted and not processes.find(stack_config.cluster):
            log_file = data_dir / "postgresql.log"
            postgres.run(stack_config, secrets, account, log_file, node=stack_config.node)
        log("promoting the replica ...")
        lsn = _promote(stack_config, secrets)
        seconds = time.monotonic() - begin
        _reconnect(stack_config, secrets, account, data_dir, log)
        return Promotion(
            str(stack_config.cluster),
            str(fenced) if fenced else None,
            planned,
            synchronous,
            lsn,
            round(seconds, 3),
        )


def _check_replica(stack_config: StackConfig) -> None:
    if not stack_config.replica or not postgres.is_standby(stack_config.standby_cluster):
        raise SessionbaseError(
            "there is no replica that could become the primary",
            f"{command()} up --replica creates one while the primary runs",
        )


def _start_standby(
    stack_config: StackConfig, secrets: Secrets, account: Account, data_dir: Path
) -> None:
    if processes.find(stack_config.standby_cluster) is None:
        replica.run_standby(stack_config, secrets, account, data_dir)


def _stop_primary(
    stack_config: StackConfig, secrets: Secrets, account: Account, *, force: bool, log: Log
) -> bool:
    """Stop the old primary; return whether the replica has all of its WAL."""
    process = processes.find(stack_config.cluster)
    uri = node_uri(stack_config, secrets, stack_config.node, "postgres")
    if process is None or not postgres.answers(uri):
        log("the primary does not run" if process is None else "the primary does not answer")
        _kill(process, stack_config.cluster)
        return False
    if not force and not replica.is_streaming(stack_config, secrets):
        raise SessionbaseError(
            "the primary runs, and the replica is not connected to it: its last writes would be"
            " missing",
            f"{command()} up connects it; --force promotes it all the same",
        )
    log("stopping the primary ...")
    with _connect(stack_config, secrets, stack_config.node) as connection:
        connection.execute("checkpoint")  # so that the stop itself is short
    try:
        postgres.stop_cluster(stack_config.cluster)
    except SessionbaseError:
        if not force:
            raise
        _kill(process, stack_config.cluster)
        return False
    complete = _has_all(stack_config, secrets, account)
    if not complete and not force:
        raise SessionbaseError(
            "the primary is stopped, and the replica has not received all of its WAL",
            f"{command()} up starts both again; --force promotes the replica all the same",
        )
    return complete


def _kill(process: psutil.Process | None, cluster: Path) -> None:
    """Kill a server with all its processes, and wait until none of them works in the cluster."""
    if process:
        with contextlib.suppress(psutil.NoSuchProcess):
            for one in [process, *process.children(recursive=True)]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    one.send_signal(signal.SIGKILL)
    postgres.wait_for_children(cluster)


def _has_all(stack_config: StackConfig, secrets: Secrets, account: Account) -> bool:
    """Return whether the standby has the last record of the stopped primary: its checkpoint."""
    last = replica.control_data(stack_config.cluster, account)["Latest checkpoint location"]
    with _connect(stack_config, secrets, stack_config.standby_node) as connection:
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            row = connection.execute(
                "select pg_last_wal_receive_lsn() > %s::pg_lsn", [last]
            ).fetchone()
            if row == (True,):
                return True
            time.sleep(0.02)
    return False


def _promote(stack_config: StackConfig, secrets: Secrets) -> str:
    """End the recovery of the stack's primary; return the end of its WAL."""
    with _connect(stack_config, secrets, stack_config.node) as connection:
        replica.set_sync_names(connection, "")  # it has no replica that a commit could wait for
        row = connection.execute(
            "select not pg_is_in_recovery() or pg_promote(true, %s)", [PROMOTE_SECONDS]
        ).fetchone()
        if row != (True,):
            raise SessionbaseError(
                f"the replica was not promoted after {PROMOTE_SECONDS} s", "see replica.log"
            )
        # The PostgREST of the replica must not read from the primary through its old connections.
        connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name = %s",
            [replica.POSTGREST_NAME],
        )
        row = connection.execute("select pg_current_wal_lsn()::text").fetchone()
        return str(row[0]) if row else ""


def _connect(stack_config: StackConfig, secrets: Secrets, node: int) -> psycopg.Connection[Any]:
    uri = node_uri(stack_config, secrets, node, "postgres")
    return psycopg.connect(uri, autocommit=True, connect_timeout=5)


def _reconnect(
    stack_config: StackConfig, secrets: Secrets, account: Account, data_dir: Path, log: Log
) -> None:
    """Wait until PostgREST, if it runs, serves from the new primary; restart it if it takes long.

    PostgREST 12 connects with the next request. 14 waits between its tries, up to 32 s.
    """
    process = processes.find(postgrest.config_file(stack_config))
    if process is None:
        return
    deadline = time.monotonic() + RECONNECT_SECONDS
    while not postgrest.serves(stack_config):
        if time.monotonic() > deadline:
            log("restarting PostgREST, which has not connected to the new primary yet")
            executable = Path(process.exe())
            postgrest.stop(stack_config)
            postgrest.start(stack_config, secrets, account, executable, data_dir)
            return
        time.sleep(0.05)
