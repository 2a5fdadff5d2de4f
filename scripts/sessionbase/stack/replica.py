"""The streaming replica of the embedded stack: create, start, inspect and remove it.

The stack has two nodes, each with a cluster (`cluster`, `cluster-2`) and a socket of its own. One
is the primary; with `up --replica` the other one is a hot standby, copied with pg_basebackup, that
streams the WAL through a physical replication slot. A second PostgREST reads from it.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_urlsafe
from typing import Any
from urllib.parse import quote

import psycopg
from psycopg import sql

from sessionbase.console import Log, count_bar
from sessionbase.errors import SessionbaseError, UsageError
from sessionbase.paths import command
from sessionbase.stack import postgres, postgrest, processes
from sessionbase.stack.account import Account, postgres_bin
from sessionbase.state import Secrets, StackConfig, node_uri, write_private

NAME = "sessionbase_replica"
"""The name of the slot, and the application_name that synchronous_standby_names names."""
LOGIN = "sessionbase_standby"
"""The login that streams the WAL. It has REPLICATION and no other right."""
POSTGREST_NAME = "PostgREST of the replica"
"""The application_name of the connections of the PostgREST that reads."""

# The first line that matches a connection decides. The keyword `replication` matches a physical
# replication connection only; `all` matches every other connection, also a logical one.
_HBA_TITLE = "# sessionbase up --replica: this login may stream the WAL, and nothing else"
_HBA_LINES = (
    _HBA_TITLE,
    f"local  replication      {LOGIN}       scram-sha-256",
    f"local  all              {LOGIN}       reject",
    f"host   all,replication  {LOGIN}  all  reject",
)

# Without feedback the primary removes old rows that a query on the replica still needs; the replica
# then delays replay for up to 30 s. A query of a client role runs for at most 15 s.
_STANDBY_SETTINGS = {"hot_standby_feedback": "on", "primary_slot_name": NAME}

_STATE = """
select
  slot.wal_status,
  slot.active,
  pg_wal_lsn_diff(pg_current_wal_lsn(), slot.restart_lsn)::bigint as kept_bytes,
  sender.state,
  sender.sync_state,
  pg_wal_lsn_diff(pg_current_wal_lsn(), sender.replay_lsn)::bigint as lag_bytes,
  extract(epoch from sender.replay_lag)::float8 as lag_seconds,
  current_setting('synchronous_standby_names') <> '' as sync
from (values (%(name)s)) as wanted (name)
left join pg_replication_slots as slot on slot.slot_name = wanted.name
left join pg_stat_replication as sender on sender.application_name = wanted.name
"""


@dataclass(frozen=True)
class ReplicaOptions:
    """What `up` was asked for. None: as in the last run."""

    replica: bool | None = None
    sync: bool | None = None
    port: int | None = None
    admin_port: int | None = None


def choose(
    stack_config: StackConfig, secrets: Secrets, options: ReplicaOptions
) -> tuple[StackConfig, Secrets]:
    """Return configuration and secrets with the options applied.

    Raises UsageError if the options contradict each other.
    """
    wanted = stack_config.replica if options.replica is None else options.replica
    if not wanted and (options.sync or options.port or options.admin_port):
        raise UsageError("there is no replica for these options", "add --replica")
    if wanted and secrets.postgres_uri is not None:
        raise UsageError(
            "--replica is for the embedded PostgreSQL",
            "docs/scaling.md has the commands for a replica of another server",
        )
    if wanted and secrets.standby_password is None:
        secrets = replace(secrets, standby_password=token_urlsafe(32))
    asked = replace(
        stack_config,
        replica=wanted,
        replica_sync=wanted
        and (stack_config.replica_sync if options.sync is None else options.sync),
        replica_port=options.port or stack_config.replica_port,
        replica_admin_port=options.admin_port or stack_config.replica_admin_port,
    )
    if wanted:
        _check_ports(stack_config, asked)
    return asked, secrets


def _check_ports(old: StackConfig, asked: StackConfig) -> None:
    ports = {
        "--port": asked.port,
        "--admin-port": asked.admin_port,
        "--replica-port": asked.replica_port,
        "--replica-admin-port": asked.replica_admin_port,
    }
    for option, port in ports.items():
        same = [other for other, used in ports.items() if used == port and other != option]
        if same:
            raise UsageError(f"{option} and {same[0]} are both {port}")
    if processes.find(postgrest.config_file(rest_config(asked))) is None:
        processes.check_port_free(asked.replica_port, "--replica-port")
        processes.check_port_free(asked.replica_admin_port, "--replica-admin-port")
    elif (old.replica_port, old.replica_admin_port) != (
        asked.replica_port,
        asked.replica_admin_port,
    ):
        raise SessionbaseError(
            f"the PostgREST of the replica already runs on port {old.replica_port}",
            f"{command()} down stops it",
        )


def rest_config(stack_config: StackConfig) -> StackConfig:
    """Return the configuration of the PostgREST that reads from the replica: its folder, ports."""
    return replace(
        stack_config,
        home=stack_config.home / "replica",
        port=stack_config.replica_port,
        admin_port=stack_config.replica_admin_port,
    )


def start(
    stack_config: StackConfig, secrets: Secrets, account: Account, data_dir: Path, log: Log
) -> list[str]:
    """Start the standby, or create it, or remove it: as `stack_config` says.

    The primary must run. Returns the names of what was started. A standby that can't continue
    (without its slot, or of another cluster) is deleted and copied again.
    """
    if not stack_config.replica:
        cluster = stack_config.standby_cluster
        if cluster.exists() or _draft_of(cluster).exists():
            remove(stack_config, secrets, log)
        return []
    running = processes.find(stack_config.standby_cluster) is not None
    reason = _why_copy(stack_config, secrets, account)
    if reason is not None:
        log(f"copying the cluster to the replica: {reason}")
        # There is no replica that a commit could wait for.
        set_sync(stack_config, secrets, on=False)
        running = False
    if not running:
        stop_serving(stack_config)  # `serve` starts it again: its connections are broken
        _allow_login(stack_config, secrets, account)
    if reason is not None:
        _copy(stack_config, secrets, account)
    if not running:
        run_standby(stack_config, secrets, account, data_dir)
    _wait_until_connected(stack_config, secrets, data_dir, log)
    set_sync(stack_config, secrets, on=stack_config.replica_sync)
    return [] if running else ["the replica"]


def run_standby(
    stack_config: StackConfig, secrets: Secrets, account: Account, data_dir: Path
) -> None:
    """Start the server of the standby. It needs no primary to become ready."""
    settings = {**_STANDBY_SETTINGS, "primary_conninfo": _conninfo(stack_config)}
    log_file = data_dir / "replica.log"
    node = stack_config.standby_node
    postgres.run(stack_config, secrets, account, log_file, node=node, settings=settings)


def serve(
    stack_config: StackConfig,
    secrets: Secrets,
    account: Account,
    executable: Path,
    data_dir: Path,
    *,
    log: Log,
) -> list[str]:
    """Start the PostgREST that reads from the replica, or make a running one load the schema again.

    Returns the names of what was started. It can't listen for `notify pgrst`, which a standby does
    not have; so `up` sends it a signal after the replica has replayed the migrations.
    """
    if not stack_config.replica:
        return []
    _wait_until_replayed(stack_config, secrets, log)
    config = rest_config(stack_config)
    process = processes.find(postgrest.config_file(config))
    if process and postgrest.is_ready(config):
        process.send_signal(signal.SIGUSR1)
        return []
    if process:  # there was no replica, and PostgREST can wait up to 32 s before it tries again
        postgrest.stop(config)
    config.home.mkdir(mode=0o755, exist_ok=True)
    settings = {
        "PGRST_DB_URI": postgrest.login_uri(
            stack_config, secrets, target_session_attrs="standby", application_name=POSTGREST_NAME
        ),
        "PGRST_DB_CHANNEL_ENABLED": "false",
    }
    log_dir = data_dir / "replica"
    log_dir.mkdir(mode=0o755, exist_ok=True)
    postgrest.start(config, secrets, account, executable, log_dir, settings=settings)
    return ["the PostgREST of the replica"]


def stop_serving(stack_config: StackConfig) -> list[str]:
    """Stop the PostgREST that reads; return its name if it ran."""
    return ["the PostgREST of the replica"] if postgrest.stop(rest_config(stack_config)) else []


def stop(stack_config: StackConfig) -> list[str]:
    """Stop the standby; return its name if it ran. The primary must be stopped before.

    A primary that stops sends the rest of its WAL, so that the standby has all of it.
    """
    return ["the replica"] if postgres.stop_cluster(stack_config.standby_cluster) else []


def remove(stack_config: StackConfig, secrets: Secrets, log: Log) -> None:
    """Delete the replica, its slot and its login. The primary must run.

    The cluster is deleted last: if it is interrupted, the next `up` continues.
    """
    log("removing the replica ...")
    set_sync(stack_config, secrets, on=False)  # first: or every commit waits for a replica
    stop_serving(stack_config)
    stop(stack_config)
    with _primary(stack_config, secrets) as connection:
        _drop_slot(connection)
        connection.execute(sql.SQL("drop role if exists {}").format(sql.Identifier(LOGIN)))
        _write_hba(stack_config.cluster / "pg_hba.conf", ())
        connection.execute("select pg_reload_conf()")
    _passfile(stack_config).unlink(missing_ok=True)
    discard(stack_config.standby_cluster)


def set_sync(stack_config: StackConfig, secrets: Secrets, *, on: bool) -> None:
    """Make the commits of the primary wait for the replica, or not."""
    with _primary(stack_config, secrets) as connection:
        set_sync_names(connection, NAME if on else "")


def set_sync_names(connection: psycopg.Connection[Any], names: str) -> None:
    """Set synchronous_standby_names of a server, and reload its configuration."""
    row = connection.execute("show synchronous_standby_names").fetchone()
    if row != (names,):
        connection.execute(
            sql.SQL("alter system set synchronous_standby_names = {}").format(sql.Literal(names))
        )
        connection.execute("select pg_reload_conf()")


def discard(cluster: Path) -> Path | None:
    """Delete the cluster of a standby. Any other cluster is renamed, never deleted.

    Returns its new path if it was renamed. Under the new name no command of the stack starts it.
    """
    _delete_draft(cluster)
    if not cluster.exists():
        return None
    if postgres.is_standby(cluster):
        # So that an interrupted deletion is not taken for a standby that can start.
        cluster.rename(_draft_of(cluster))
        _delete_draft(cluster)
        return None
    now = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    fenced = cluster.with_name(f"{cluster.name}.fenced-{now}")
    cluster.rename(fenced)
    return fenced


def _draft_of(cluster: Path) -> Path:
    return cluster.with_name(f"{cluster.name}.new")


def _delete_draft(cluster: Path) -> None:
    """Delete what an interrupted copy or deletion has left, after its program was killed."""
    draft = _draft_of(cluster)
    orphan = processes.find(draft, ("pg_basebackup",))
    if orphan:
        processes.stop(orphan, signal.SIGKILL)
    shutil.rmtree(draft, ignore_errors=not draft.exists())


def fenced_clusters(stack_config: StackConfig) -> list[Path]:
    """Return the clusters of former primaries."""
    return sorted(stack_config.home.glob("cluster*.fenced-*"))


def read_status(stack_config: StackConfig, secrets: Secrets) -> dict[str, Any] | None:
    """Return the state of the replica; None if there is none.

    `lag_bytes` is the WAL that the replica has not replayed, `lag_seconds` how long ago the primary
    wrote it; None if that is not known. `slot_kept_bytes` is the WAL that the primary keeps for it.
    """
    if not stack_config.replica:
        return None
    config = rest_config(stack_config)
    server = processes.find(stack_config.standby_cluster)
    rest = processes.find(postgrest.config_file(config))
    found = _read_state(stack_config, secrets)
    lag_seconds = found.get("lag_seconds")
    if found.get("state") is None and server:
        lag_seconds = _seconds_since_replay(stack_config, secrets)
    elif found.get("lag_bytes") == 0:
        lag_seconds = 0.0
    return {
        "running": rest is not None and postgrest.is_ready(config),
        "state": _describe(found, running=server is not None),
        "mode": "synchronous" if stack_config.replica_sync else "asynchronous",
        "lag_bytes": found.get("lag_bytes"),
        "lag_seconds": lag_seconds,
        "slot": found.get("wal_status") or ("missing" if found else None),
        "slot_kept_bytes": found.get("kept_bytes"),
        "rest_url": config.rest_url,
        "admin_url": config.admin_url,
        "db_uri": node_uri(stack_config, secrets, stack_config.standby_node),
        "cluster_dir": str(stack_config.standby_cluster),
        "pid_postgresql": server.pid if server else None,
        "pid_postgrest": rest.pid if rest else None,
    }


def _describe(found: dict[str, Any], *, running: bool) -> str:
    """Return the state of the replica in words, with what to do about it."""
    if not found:
        return "the primary does not run" if running else "stopped"
    if found["wal_status"] is None:
        return f"its slot is missing: {command()} up copies the cluster again"
    if found["wal_status"] == "lost":
        return f"its slot is lost, it was off for too long: {command()} up copies the cluster again"
    if found["state"]:
        return str(found["state"])
    waits = "; every write waits for it" if found["sync"] else ""
    return f"{'not connected' if running else 'stopped'}{waits}: {command()} up starts it"


def is_streaming(stack_config: StackConfig, secrets: Secrets) -> bool:
    """Return whether the replica receives the WAL as the primary writes it."""
    return _read_state(stack_config, secrets).get("state") == "streaming"


def _read_state(stack_config: StackConfig, secrets: Secrets) -> dict[str, Any]:
    """Return the row of _STATE, empty if the primary does not accept connections."""
    try:
        with _primary(stack_config, secrets) as connection:
            cursor = connection.execute(_STATE, {"name": NAME})
            names = [column.name for column in cursor.description or ()]
            return dict(zip(names, cursor.fetchone() or (), strict=True))
    except psycopg.OperationalError:
        return {}


def _seconds_since_replay(stack_config: StackConfig, secrets: Secrets) -> float | None:
    uri = node_uri(stack_config, secrets, stack_config.standby_node, "postgres")
    try:
        with psycopg.connect(uri, connect_timeout=5) as connection:
            row = connection.execute(
                "select extract(epoch from now() - pg_last_xact_replay_timestamp())::float8"
            ).fetchone()
    except psycopg.OperationalError:
        return None
    return row[0] if row else None


def _why_copy(stack_config: StackConfig, secrets: Secrets, account: Account) -> str | None:
    """Return why the standby must be copied from the primary; None if it can continue."""
    cluster = stack_config.standby_cluster
    if not cluster.exists():
        return "it has no cluster yet"
    if not postgres.is_standby(cluster):
        return "its cluster is that of a former primary"
    version = [(path / "PG_VERSION").read_text() for path in (cluster, stack_config.cluster)]
    if version[0] != version[1]:
        return "it is of another version of PostgreSQL"
    with _primary(stack_config, secrets) as connection:
        row = connection.execute(
            "select (select system_identifier from pg_control_system())::text,"
            " (select wal_status from pg_replication_slots where slot_name = %s)",
            [NAME],
        ).fetchone()
    identifier, slot = row or (None, None)
    if control_data(cluster, account)["Database system identifier"] != identifier:
        return "its cluster is a copy of another one"
    if slot is None:
        return "its slot is missing"
    return "its slot is lost: it was off for too long" if slot == "lost" else None


def control_data(cluster: Path, account: Account) -> dict[str, str]:
    """Return what pg_controldata prints about a cluster."""
    try:
        done: subprocess.CompletedProcess[str] = subprocess.run(
            [_program("pg_controldata", account), "-D", str(cluster)],
            check=True,
            capture_output=True,
            text=True,
            env=postgres.ENVIRONMENT,
            cwd="/",
            **account.popen_options,
        )
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip().splitlines() or ["it wrote nothing"])[-1]
        raise SessionbaseError(f"pg_controldata failed: {last}") from error
    lines = [line.partition(":") for line in done.stdout.splitlines()]
    return {name: value.strip() for name, _, value in lines}


def _program(name: str, account: Account) -> Path:
    program = postgres_bin(account) / name
    if not os.access(program, os.X_OK):
        raise SessionbaseError(
            f"{program.parent} has no program {name}, which the replica needs",
            "install PostgreSQL's client programs, or unset SESSIONBASE_POSTGRES_BIN",
        )
    return program


def _passfile(stack_config: StackConfig) -> Path:
    return stack_config.home / "standby.pass"


def _conninfo(stack_config: StackConfig) -> str:
    """Return how the standby connects to the primary. The password is in a file, for `ps`."""
    return psycopg.conninfo.make_conninfo(
        host=str(stack_config.socket_dir),
        port=stack_config.port_of(stack_config.node),
        user=LOGIN,
        passfile=str(_passfile(stack_config)),
        application_name=NAME,
    )


def _allow_login(stack_config: StackConfig, secrets: Secrets, account: Account) -> None:
    """Create the login of the standby on the primary, with lines of pg_hba.conf for it alone.

    The password is set each time, so that another one in secrets.json is used from then on.
    """
    assert secrets.standby_password is not None  # noqa: S101 - `choose` has set it
    line = f"*:*:*:{LOGIN}:{secrets.standby_password}\n"
    write_private(_passfile(stack_config), line, account.uid)
    login = sql.Identifier(LOGIN)
    with _primary(stack_config, secrets) as connection:
        known = connection.execute("select from pg_roles where rolname = %s", [LOGIN]).fetchone()
        if known is None:
            connection.execute(sql.SQL("create role {} login replication noinherit").format(login))
            connection.execute(
                sql.SQL("comment on role {} is {}").format(
                    login, sql.Literal("The streaming replica of the embedded stack logs in as it")
                )
            )
        postgrest.set_login_password(
            _primary_uri(stack_config, secrets), secrets.standby_password, LOGIN
        )
        hba = stack_config.cluster / "pg_hba.conf"
        _write_hba(hba, _HBA_LINES)
        connection.execute("select pg_reload_conf()")


def _write_hba(path: Path, lines: tuple[str, ...]) -> None:
    """Replace our lines at the top of a pg_hba.conf."""
    others = [line for line in path.read_text().splitlines() if line not in _HBA_LINES]
    found = path.stat()
    draft = path.with_name("pg_hba.conf.new")
    draft.write_text("".join(f"{line}\n" for line in [*lines, *others]))
    draft.chmod(found.st_mode)
    if os.geteuid() == 0:
        os.chown(draft, found.st_uid, found.st_gid)
    draft.replace(path)


def _drop_slot(connection: psycopg.Connection[Any]) -> None:
    """Drop the slot; wait for the WAL sender of a standby that has just ended."""
    deadline = time.monotonic() + processes.STOP_SECONDS
    while True:
        try:
            connection.execute(
                "select pg_drop_replication_slot(slot_name) from pg_replication_slots"
                " where slot_name = %s",
                [NAME],
            )
        except psycopg.errors.ObjectInUse:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def _copy(stack_config: StackConfig, secrets: Secrets, account: Account) -> None:
    """Copy the primary's cluster with pg_basebackup, into a draft folder, with a new slot.

    A crash leaves no incomplete cluster: the draft is renamed at the end.
    """
    cluster = stack_config.standby_cluster
    postgres.stop_cluster(cluster)
    discard(cluster)
    draft = _draft_of(cluster)
    account.make_private_dir(draft)
    with _primary(stack_config, secrets) as connection:
        _drop_slot(connection)
        connection.execute("select pg_create_physical_replication_slot(%s, true)", [NAME])
        options = ["--checkpoint=fast", "--wal-method=stream", f"--slot={NAME}"]
        arguments = ["-D", str(draft), *options, "-d", _conninfo(stack_config)]
        with subprocess.Popen(
            [_program("pg_basebackup", account), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=postgres.ENVIRONMENT,
            cwd="/",
            **account.popen_options,
        ) as process:
            try:
                _show_progress(process, connection)
                errors = process.stderr.read() if process.stderr else ""
            finally:
                process.kill()
    if process.returncode:
        last = (errors.strip().splitlines() or ["it wrote nothing"])[-1]
        raise SessionbaseError(f"the cluster could not be copied: {last}")
    (draft / "standby.signal").touch(mode=0o600)
    account.own(draft / "standby.signal")
    draft.rename(cluster)


def _show_progress(process: subprocess.Popen[str], connection: psycopg.Connection[Any]) -> None:
    """Show a progress bar until pg_basebackup ends."""
    query = """
      select coalesce(backup_streamed, 0) / 1000000, coalesce(backup_total, 0) / 1000000
      from pg_stat_progress_basebackup
    """
    with count_bar("copying (MB)") as progress:
        while process.poll() is None:
            row = connection.execute(query).fetchone()
            if row and row[1]:
                progress(int(row[0]), int(row[1]))
            time.sleep(0.1)


def _wait_until_connected(
    stack_config: StackConfig, secrets: Secrets, data_dir: Path, log: Log
) -> None:
    """Wait until the standby streams, or at least receives the WAL that it has missed."""
    deadline = time.monotonic() + processes.START_SECONDS
    while True:
        state = _read_state(stack_config, secrets).get("state")
        if state == "streaming":
            return
        if time.monotonic() > deadline:
            break
        time.sleep(0.05)
    if state is None:
        log_file = data_dir / "replica.log"
        raise SessionbaseError(
            f"the replica does not connect to the primary: {processes.last_line(log_file)}",
            f"its log: {log_file}; {command()} up --no-replica removes it, and up --replica copies"
            " the cluster again",
        )
    log("the replica is behind the primary and receives the missing WAL")


def _wait_until_replayed(stack_config: StackConfig, secrets: Secrets, log: Log) -> None:
    """Wait until the replica has replayed what the primary has written until now."""
    with _primary(stack_config, secrets) as connection:
        row = connection.execute("select pg_current_wal_flush_lsn()::text").fetchone()
        deadline = time.monotonic() + processes.START_SECONDS
        while time.monotonic() < deadline:
            done = connection.execute(
                "select replay_lsn >= %s::pg_lsn from pg_stat_replication"
                " where application_name = %s",
                [row[0] if row else None, NAME],
            ).fetchone()
            if done == (True,):
                return
            time.sleep(0.02)
    log(
        "the replica has not replayed the last changes yet: if SQL files were applied, run"
        f" {command()} up again when status shows no lag"
    )


def _primary_uri(stack_config: StackConfig, secrets: Secrets) -> str:
    """Return a URI whose commits never wait for a replica, which may be off or replaced."""
    uri = node_uri(stack_config, secrets, stack_config.node, "postgres")
    return f"{uri}&options={quote('-c synchronous_commit=local', safe='')}"


@contextmanager
def _primary(stack_config: StackConfig, secrets: Secrets) -> Iterator[psycopg.Connection[Any]]:
    uri = _primary_uri(stack_config, secrets)
    with psycopg.connect(uri, autocommit=True, connect_timeout=5) as connection:
        yield connection
