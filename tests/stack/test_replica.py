"""A streaming replica of the embedded stack: reads, lost slots, failover, and removal.

All tests use one stack. Each starts with `ready`, which brings it to the state that it needs, so
that the order of the tests does not matter. SESSIONBASE_LONG_TESTS=1 repeats the failovers.
"""

import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
import pytest

from conftest import bring_up, free_port, new_data_dir
from sessionbase import state
from sessionbase.errors import SessionbaseError, UsageError
from sessionbase.stack import failover, manage, processes, replica, rotation
from sessionbase.stack.account import service_account
from sessionbase.stack.replica import ReplicaOptions
from sessionbase.stack.token import make_claims, sign
from support.command import run_main, sessionbase
from support.crash import kill_postgresql
from support.load import Load
from support.waiting import wait_for

IN_FULL = os.environ.get("SESSIONBASE_LONG_TESTS") == "1"
ROUNDS = 10 if IN_FULL else 1
LONG = pytest.mark.skipif(not IN_FULL, reason="takes long: set SESSIONBASE_LONG_TESTS=1")
LOGIN, NAME = "sessionbase_standby", "sessionbase_replica"

Ready = Callable[..., Path]


@pytest.fixture(scope="module")
def replicated() -> Iterator[Path]:
    """Yield the data directory of a stack that is deleted at the end."""
    with new_data_dir() as data_dir:
        data_dir.parent.chmod(0o755)
        yield data_dir


@pytest.fixture
def ready(replicated: Path) -> Ready:
    """Return a function that makes the stack run with a replica, and returns its folder."""

    def bring(*, sync: bool = False) -> Path:
        if not (replicated / "stack.json").exists():
            ports = ReplicaOptions(True, sync, free_port(), free_port())
            bring_up(replicated, replica=ports)
        else:
            manage.up(replicated, manage.UpOptions(replica=ReplicaOptions(True, sync)))
        return replicated

    return bring


def replica_status(data_dir: Path) -> dict[str, Any]:
    found = replica.read_status(*state.require(data_dir))
    assert found
    return found


def connect(data_dir: Path, *, standby: bool = False) -> psycopg.Connection[Any]:
    """Open a superuser's connection to the primary, or to the standby."""
    stack_config, secrets = state.require(data_dir)
    node = stack_config.standby_node if standby else stack_config.node
    return psycopg.connect(state.node_uri(stack_config, secrets, node), autocommit=True)


def token_of(data_dir: Path, profile: str) -> str:
    return sign(make_claims(profile), state.require(data_dir)[1].jwt_secret)


def client_of(data_dir: Path, profile: str, *, reads: bool = False) -> httpx.Client:
    """Open a client of the primary's PostgREST, or of the one that reads from the replica."""
    stack_config, _ = state.require(data_dir)
    return httpx.Client(
        base_url=replica.rest_config(stack_config).rest_url if reads else stack_config.rest_url,
        headers={"Authorization": f"Bearer {token_of(data_dir, profile)}"},
        timeout=30,
        trust_env=False,
        verify=False,  # plain HTTP, and loading the CA certificates takes time
    )


def add_todo(client: httpx.Client, text: str = "t") -> str:
    answer = client.post("/rpc/add_todo", json={"text": text})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


def record_decision(client: httpx.Client, number: int) -> None:
    decision = {
        "id": f"hook_{number}",
        "session_id": "s1",
        "source": "session",
        "severity": "low",
        "blocked": True,
        "rules": [{"id": "r", "severity": "low"}],
        "content": f"content {number}",
    }
    answer = client.post("/rpc/record_hookify_decision", json=decision)
    assert answer.status_code == 200, answer.text


def stop_standby(data_dir: Path) -> None:
    psutil.Process(replica_status(data_dir)["pid_postgresql"]).send_signal(signal.SIGINT)
    wait_for(lambda: replica_status(data_dir)["pid_postgresql"] is None, "the replica still runs")


def test_a_read_from_the_replica_returns_the_rows_of_the_primary(
    ready: Ready, profile: str
) -> None:
    data_dir = ready()
    with client_of(data_dir, profile) as writer, client_of(data_dir, profile, reads=True) as reader:
        todo = add_todo(writer)
        wait_for(
            lambda: reader.get("/todos").json() == writer.get("/todos").json(),
            "the row is not on the replica",
        )
        # A computed column, an exact count, and a stable function by GET and by POST.
        (row,) = reader.get("/todos?select=id,txid").json()
        assert row == {"id": todo, "txid": None}
        counted = reader.get("/todos", headers={"Prefer": "count=exact"})
        assert counted.headers["content-range"] == "0-0/1"
        by_get = reader.get("/rpc/session_context?session_id=s1")
        by_post = reader.post("/rpc/session_context", json={"session_id": "s1"})
        assert by_get.status_code == by_post.status_code == 200
        assert by_get.json() == by_post.json()
        assert reader.get("/").status_code == 200


def test_a_write_to_the_replica_is_refused_and_changes_nothing(ready: Ready, profile: str) -> None:
    data_dir = ready()
    with client_of(data_dir, profile, reads=True) as reader:
        answers = [
            reader.post("/todos", json={"text": "t"}),
            reader.patch("/todos?id=eq.x", json={"text": "t"}),
            reader.delete("/session_repo_bindings?session_id=eq.s1"),
            reader.post("/rpc/add_todo", json={"text": "t"}),
            reader.post("/rpc/save_ui_settings", json={"settings": {}}),
        ]
        for answer in answers:
            # PostgreSQL refuses the BEGIN READ WRITE of PostgREST with feature_not_supported.
            assert (answer.status_code, answer.json()["code"]) == (400, "0A000"), answer.text
            assert "during recovery" in answer.json()["message"]
        assert reader.get("/todos").json() == []


def test_the_login_of_the_replica_can_only_stream(ready: Ready) -> None:
    data_dir = ready()
    stack_config, secrets = state.require(data_dir)
    assert secrets.standby_password
    parameters = {
        "host": str(stack_config.socket_dir),
        "port": stack_config.port_of(stack_config.node),
        "user": LOGIN,
        "password": secrets.standby_password,
    }
    for more in (
        {"dbname": "sessionbase"},
        {"dbname": "postgres"},
        {"dbname": "sessionbase", "replication": "database"},
    ):
        with pytest.raises(psycopg.OperationalError, match=r"pg_hba\.conf rejects"):
            psycopg.connect(**{**parameters, **more})  # type: ignore[arg-type]
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(**{**parameters, "password": "guess", "replication": "true"})  # type: ignore[arg-type]
    with connect(data_dir) as connection:
        role = connection.execute(
            "select rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication,"
            " rolbypassrls, (select count(*) from pg_auth_members where member = role.oid)"
            " from pg_roles as role where rolname = %s",
            [LOGIN],
        ).fetchone()
    assert role == (False, False, False, False, True, True, False, 0)
    server = psutil.Process(replica_status(data_dir)["pid_postgresql"])
    assert secrets.standby_password not in " ".join(server.cmdline())
    assert (stack_config.home / "standby.pass").stat().st_mode & 0o077 == 0


def test_a_second_up_starts_nothing_and_the_replica_serves_a_new_schema(
    ready: Ready, profile: str
) -> None:
    data_dir = ready()
    with connect(data_dir) as connection:
        connection.execute("create view api.of_replica as select 1 as number")
        connection.execute("grant select on api.of_replica to authenticated")
        try:
            assert manage.up(data_dir).started == []
            with client_of(data_dir, profile, reads=True) as reader:
                wait_for(
                    lambda: reader.get("/of_replica").status_code == 200,
                    "`up` did not make the PostgREST of the replica load the schema again",
                )
        finally:
            connection.execute("drop view api.of_replica")


def test_commands_that_write_refuse_a_standby_and_commands_that_read_work_on_it(
    ready: Ready, tmp_path: Path, profile: str
) -> None:
    data_dir = ready()
    uri = replica_status(data_dir)["db_uri"]
    events, export, backup = (tmp_path / name for name in ("events.json", "p.jsonl", "backup"))
    events.write_text("[]")
    key = tmp_path / "audit.key"
    assert run_main("audit", "key", key).returncode == 0
    with client_of(data_dir, profile) as primary:
        add_todo(primary)
    wait_for(lambda: replica_status(data_dir)["lag_bytes"] == 0, "the lag remains")
    for command in (
        ["audit", "checkpoint", tmp_path / "checkpoint.jsonl", "--key-file", key],
        ["doctor"],
        ["migrate", "status"],
        ["migrate", "--dry-run"],
        ["migrate", "repair", "--reason", "try", "--dry-run"],
        ["audit", "verify"],
        ["replication", "status"],
        ["export", "tool-events", "--profile", profile],
        ["profile", "list"],
        ["profile", "export", profile, export],
        ["profile", "erase", profile, "--dry-run"],
        ["backup", backup],
        ["stats"],
    ):
        done = run_main(*command, "--db-uri", uri)
        assert done.returncode == 0, f"{command}: {done.stderr}"
    secrets = tmp_path / "secrets"
    secrets.mkdir(mode=0o700)
    assert run_main("secrets", "generate", secrets).returncode == 0
    for command in (
        ["migrate"],
        ["migrate", "baseline", "--reason", "try"],
        ["replication", "enable", "todos"],
        ["replication", "disable", "todos"],
        ["import", "tool-events", events, "--profile", profile],
        ["profile", "import", export],
        ["profile", "erase", profile, "--yes"],
        ["restore", backup],
        ["secrets", "install", secrets, tmp_path],
    ):
        done = run_main(*command, "--db-uri", uri)
        assert done.returncode == 1, command
        assert "Error: this server is a standby" in done.stderr, f"{command}: {done.stderr}"
    assert not (tmp_path / "jwt_secret").exists()


def test_status_shows_the_lag_of_the_replica(ready: Ready, profile: str) -> None:
    data_dir = ready()
    with client_of(data_dir, profile) as writer, connect(data_dir, standby=True) as connection:
        connection.execute("select pg_wal_replay_pause()")
        try:
            add_todo(writer)
            wait_for(lambda: replica_status(data_dir)["lag_bytes"] > 0, "there is no lag")
        finally:
            connection.execute("select pg_wal_replay_resume()")
        wait_for(lambda: replica_status(data_dir)["lag_bytes"] == 0, "the lag remains")
    found = replica_status(data_dir)
    assert (found["state"], found["mode"], found["slot"]) == (
        "streaming",
        "asynchronous",
        "reserved",
    )
    assert found["lag_seconds"] == 0


def test_down_stops_the_primary_before_the_replica_and_up_starts_both_again(
    ready: Ready, profile: str
) -> None:
    data_dir = ready()
    with client_of(data_dir, profile) as writer:
        add_todo(writer)
    assert manage.down(data_dir) == [
        "the PostgREST of the replica",
        "PostgREST",
        "PostgreSQL",
        "the replica",
    ]
    stack_config, _ = state.require(data_dir)
    account = service_account()
    ends = [
        replica.control_data(cluster, account)["Latest checkpoint location"]
        for cluster in (stack_config.cluster, stack_config.standby_cluster)
    ]
    assert ends[0] == ends[1], "the replica did not receive the last checkpoint of the primary"
    stopped = manage.status(data_dir)
    assert (stopped["running"], stopped["replica"]["state"]) == (False, "stopped")
    other = replace(state.require(data_dir)[1], standby_password="another")
    state.save_secrets(data_dir, other)  # the next `up` uses it
    assert manage.up(data_dir).started == [
        "PostgreSQL",
        "the replica",
        "PostgREST",
        "the PostgREST of the replica",
    ]
    with client_of(data_dir, profile, reads=True) as reader:
        assert len(reader.get("/todos").json()) == 1


def test_a_replica_that_lost_its_slot_is_reported_and_copied_again(ready: Ready) -> None:
    data_dir = ready()
    stop_standby(data_dir)
    with connect(data_dir) as connection:
        wait_for(
            lambda: (
                connection.execute(
                    "select from pg_replication_slots where slot_name = %s and not active", [NAME]
                ).fetchone()
                is not None
            ),
            "the slot is still in use",
        )
        connection.execute("alter system set max_slot_wal_keep_size = '1MB'")
        connection.execute("select pg_reload_conf()")
        try:
            for _ in range(3):  # three segments of 16 MB
                connection.execute("select pg_logical_emit_message(false, 'test', 'x')")
                connection.execute("select pg_switch_wal()")
            connection.execute("checkpoint")
            found = replica_status(data_dir)
            assert found["slot"] == "lost", found
            assert "up copies the cluster again" in found["state"]
        finally:
            connection.execute("alter system reset max_slot_wal_keep_size")
            connection.execute("select pg_reload_conf()")
    assert "the replica" in manage.up(data_dir).started
    found = replica_status(data_dir)
    assert (found["state"], found["slot"]) == ("streaming", "reserved")


def test_a_synchronous_write_is_not_acknowledged_while_the_replica_is_off(
    ready: Ready, profile: str
) -> None:
    data_dir = ready(sync=True)
    stop_standby(data_dir)
    assert replica_status(data_dir)["state"].startswith("stopped; every write waits for it")
    with client_of(data_dir, profile) as client:
        done = threading.Event()

        def write() -> None:
            add_todo(client)
            done.set()

        writer = threading.Thread(target=write)
        writer.start()
        assert not done.wait(1.5), "the write was acknowledged without the replica"
        manage.up(data_dir)
        writer.join(20)
        assert done.is_set(), "the write was not acknowledged after the replica was back"


def test_with_remote_apply_a_write_is_visible_on_the_replica_when_it_is_acknowledged(
    ready: Ready, profile: str
) -> None:
    data_dir = ready(sync=True)
    with connect(data_dir) as connection:
        connection.execute("alter system set synchronous_commit = remote_apply")
        connection.execute("select pg_reload_conf()")
        try:
            with (
                client_of(data_dir, profile) as writer,
                client_of(data_dir, profile, reads=True) as reader,
            ):
                wait_for(lambda: _waits_for_apply(data_dir), "the setting was not loaded")
                for _ in range(30):
                    todo = add_todo(writer)
                    assert len(reader.get(f"/todos?id=eq.{todo}").json()) == 1
        finally:
            connection.execute("alter system reset synchronous_commit")
            connection.execute("select pg_reload_conf()")


def _waits_for_apply(data_dir: Path) -> bool:
    with connect(data_dir) as connection:
        return connection.execute("show synchronous_commit").fetchone() == ("remote_apply",)


def test_a_position_of_the_primary_can_be_waited_for_on_the_replica(
    ready: Ready, profile: str
) -> None:
    data_dir = ready()
    with (
        client_of(data_dir, profile) as writer,
        client_of(data_dir, profile, reads=True) as reader,
        connect(data_dir) as on_primary,
        connect(data_dir, standby=True) as on_replica,
    ):
        for _ in range(5):
            todo = add_todo(writer)
            position = on_primary.execute("select pg_current_wal_flush_lsn()::text").fetchone()
            assert position
            wait_for(
                lambda position=position: (  # type: ignore[misc]
                    on_replica.execute(
                        "select pg_last_wal_replay_lsn() >= %s::pg_lsn", position
                    ).fetchone()
                    == (True,)
                ),
                "the replica does not reach the position of the primary",
            )
            assert len(reader.get(f"/todos?id=eq.{todo}").json()) == 1


class Decisions:
    """Records decisions one after the other while the `with` block runs; repeats one that failed.

    A repetition is safe: the same id with the same content returns the stored decision.
    """

    def __init__(self, client: httpx.Client) -> None:
        self.acknowledged = 0
        self._client, self._stop = client, threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Decisions":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                record_decision(self._client, self.acknowledged)
                self.acknowledged += 1
            except (AssertionError, httpx.HTTPError):
                time.sleep(0.02)


def stop_receiving(data_dir: Path) -> psutil.Process:
    """Stop the process of the replica that receives WAL, and fill the buffer of its socket."""
    server = psutil.Process(replica_status(data_dir)["pid_postgresql"])
    (receiver,) = [child for child in server.children() if "walreceiver" in child.cmdline()[0]]
    receiver.suspend()
    with connect(data_dir) as connection:
        for _ in range(4):
            connection.execute(
                "select pg_logical_emit_message(false, 'fill', repeat('x', 1000000))"
            )
    return receiver


def fail_over(
    data_dir: Path, profile: str, *, planned: bool = False, behind: bool = False
) -> dict[str, Any]:
    """Stop or kill the primary under load, promote the replica; check and return the figures.

    `behind`: the replica receives nothing during the last 20 acknowledged writes.
    """
    before = manage.status(data_dir)
    last_received = 0.0
    with (
        client_of(data_dir, profile, reads=True) as reader,
        client_of(data_dir, profile) as writer,
        Load(before["rest_url"], token_of(data_dir, profile)) as load,
        Decisions(writer) as decisions,
    ):
        load.wait_for(50)
        if behind:
            last_received = load.now()
            receiver = stop_receiving(data_dir)
            load.wait_for(20, since=load.now())
        recorded = decisions.acknowledged
        if not planned:
            kill_postgresql(data_dir)
            # The replica serves reads while there is no primary.
            read = reader.get("/todos?limit=1")
            assert read.status_code == 200, read.text
        if behind:
            receiver.resume()
        promotion = failover.promote(data_dir)
        promoted = load.now()
        load.wait_for(50, since=promoted)
    assert promotion.planned == planned
    with connect(data_dir) as connection:
        rows = connection.execute(
            "select id from app.todos where profile_id = %s", [profile]
        ).fetchall()
        # Only the new primary accepts writes, and it waits for no replica that is not there.
        assert connection.execute(
            "select pg_is_in_recovery(), current_setting('synchronous_standby_names')"
        ).fetchone() == (False, "")
    missing = load.missing(str(row[0]) for row in rows)
    for answer in load.answers:
        assert answer.id not in missing or answer.started + answer.seconds > last_received
    with client_of(data_dir, profile) as client:
        (chain,) = client.post("/rpc/verify_hookify_decisions", json={}).json()
        assert chain["valid"], chain
        record_decision(client, decisions.acknowledged)
    figures = {
        "lost": len(missing),
        "lost_decisions": decisions.acknowledged - chain["checked"],
        "decisions_before": recorded,
        "acknowledged": len(load.acknowledged()),
        "counts": load.counts(),
        "refused_seconds": round(load.longest_gap(), 2),
        "promotion_seconds": promotion.seconds,
    }
    print(json.dumps({"planned": planned, "behind": behind, **figures}, default=str))
    return figures


def assert_new_replica(data_dir: Path) -> None:
    """Check that `up` has copied the new primary to a new replica, and started no other server."""
    found = manage.status(data_dir)
    assert len(found["fenced_clusters"]) == 1
    assert found["replica"]["state"] == "streaming"
    assert found["replica"]["cluster_dir"] != found["cluster_dir"]
    with connect(data_dir) as connection:
        slots = connection.execute(
            "select slot_name, active, wal_status from pg_replication_slots"
        ).fetchall()
    assert slots == [(NAME, True, "reserved")]


def discard_fenced(data_dir: Path) -> None:
    for path in manage.status(data_dir)["fenced_clusters"]:
        shutil.rmtree(path)


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_no_acknowledged_write_is_lost_when_the_primary_of_a_synchronous_replica_is_killed(
    ready: Ready, profile: str, round_: int
) -> None:
    data_dir = ready(sync=True)
    discard_fenced(data_dir)
    node = state.require(data_dir)[0].node
    figures = fail_over(data_dir, profile)
    assert (figures["lost"], max(figures["lost_decisions"], 0)) == (0, 0), figures
    assert state.require(data_dir)[0].node != node
    manage.up(data_dir)
    assert_new_replica(data_dir)
    with client_of(data_dir, profile, reads=True) as reader:
        assert len(reader.get("/hookify_decisions?select=id").json()) > figures["decisions_before"]


def test_an_asynchronous_replica_lacks_only_what_it_had_not_received_when_the_primary_was_killed(
    ready: Ready, profile: str
) -> None:
    data_dir = ready()
    discard_fenced(data_dir)
    # `fail_over` checks that all writes that were acknowledged before are there.
    assert fail_over(data_dir, profile, behind=True)["lost"] > 0
    manage.up(data_dir)
    assert_new_replica(data_dir)


@LONG
@pytest.mark.parametrize("round_", range(ROUNDS))
def test_an_asynchronous_replica_that_is_not_behind_takes_over(
    ready: Ready, profile: str, round_: int
) -> None:
    data_dir = ready()
    discard_fenced(data_dir)
    figures = fail_over(data_dir, profile)
    assert figures["lost"] <= 4 * 5, "more than a moment of 4 threads is lost"


def test_a_planned_promotion_loses_no_write_also_in_asynchronous_mode(
    ready: Ready, profile: str
) -> None:
    data_dir = ready()
    discard_fenced(data_dir)
    figures = fail_over(data_dir, profile, planned=True)
    assert (figures["lost"], max(figures["lost_decisions"], 0)) == (0, 0), figures
    manage.up(data_dir)
    assert_new_replica(data_dir)


@LONG
def test_a_primary_that_does_not_answer_is_killed_before_the_promotion(
    ready: Ready, profile: str
) -> None:
    data_dir = ready()
    server = psutil.Process(manage.status(data_dir)["pids"]["postgresql"])
    hung = [server, *server.children(recursive=True)]
    for process in hung:
        process.suspend()
    assert not failover.promote(data_dir).planned
    assert not any(processes.is_alive(process) for process in hung)
    with client_of(data_dir, profile) as client:
        add_todo(client)


@LONG
def test_the_statement_timeout_does_not_end_the_wait_for_a_synchronous_replica(
    ready: Ready, profile: str
) -> None:
    data_dir = ready(sync=True)
    stop_standby(data_dir)
    with Load(
        manage.status(data_dir)["rest_url"], token_of(data_dir, profile), threads=12, timeout=40
    ) as load:
        time.sleep(20)  # the statement_timeout of the client roles is 15 s
        # 10 requests wait with the connections of the pool; the others wait for a connection.
        assert set(load.counts()) == {504}, load.counts()
        with client_of(data_dir, profile) as client:
            assert client.get("/todos").status_code == 504
        manage.up(data_dir)
        load.wait_for(12)


def test_an_interrupted_promotion_starts_no_second_primary_and_can_be_completed(
    ready: Ready, profile: str
) -> None:
    data_dir = ready()
    with client_of(data_dir, profile) as client:
        add_todo(client)
    manage.down(data_dir)
    stack_config, _ = state.require(data_dir)
    # As if `promote` was killed after it had stopped the primary.
    state.save_stack_config(data_dir, replace(stack_config, node=stack_config.standby_node))
    with pytest.raises(SessionbaseError, match=r"was interrupted .*promote completes it"):
        manage.up(data_dir)
    done = sessionbase("promote", "--yes", "--json", "--data-dir", data_dir)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["cluster_dir"] == str(stack_config.standby_cluster)
    with connect(data_dir) as connection:
        assert connection.execute(
            "select count(*) from app.todos where profile_id = %s", [profile]
        ).fetchone() == (1,)


def test_promote_refuses_a_replica_that_is_not_connected_to_a_running_primary(
    ready: Ready,
) -> None:
    data_dir = ready()
    stop_standby(data_dir)
    with connect(data_dir) as connection:
        connection.execute("alter role sessionbase_standby nologin")
        try:
            with pytest.raises(SessionbaseError, match="its last writes would be missing"):
                failover.promote(data_dir)
        finally:
            connection.execute("alter role sessionbase_standby login")
    assert manage.status(data_dir)["running"]


def test_a_rotation_of_the_jwt_secret_is_complete_in_both_postgrest(
    ready: Ready, profile: str
) -> None:
    data_dir = ready()
    with client_of(data_dir, profile, reads=True) as old:
        rotation.rotate(data_dir)
        with client_of(data_dir, profile, reads=True) as new:
            assert (old.get("/todos").status_code, new.get("/todos").status_code) == (200, 200)
            rotation.finish(data_dir)
            assert (old.get("/todos").status_code, new.get("/todos").status_code) == (401, 200)


def test_a_missing_primary_cluster_is_not_replaced_by_an_empty_one(ready: Ready) -> None:
    data_dir = ready()
    manage.down(data_dir)
    stack_config, _ = state.require(data_dir)
    elsewhere = stack_config.cluster.with_name("elsewhere")
    stack_config.cluster.rename(elsewhere)
    try:
        with pytest.raises(SessionbaseError, match=r"is missing .*promote makes the replica"):
            manage.up(data_dir)
    finally:
        elsewhere.rename(stack_config.cluster)


def test_without_a_replica_there_is_nothing_to_promote(ready: Ready, profile: str) -> None:
    data_dir = ready(sync=True)
    manage.up(data_dir, manage.UpOptions(replica=ReplicaOptions(replica=False)))
    stack_config, _ = state.require(data_dir)
    assert not stack_config.standby_cluster.exists()
    # As if the removal was killed while it deleted the files.
    draft = stack_config.standby_cluster.with_name(f"{stack_config.standby_cluster.name}.new")
    draft.mkdir()
    manage.up(data_dir)
    assert not draft.exists()
    assert not (stack_config.home / "standby.pass").exists()
    assert LOGIN not in (stack_config.cluster / "pg_hba.conf").read_text()
    assert manage.status(data_dir)["replica"] is None
    with connect(data_dir) as connection:
        assert connection.execute(
            "select (select count(*) from pg_replication_slots),"
            " (select count(*) from pg_roles where rolname = %s),"
            " current_setting('synchronous_standby_names')",
            [LOGIN],
        ).fetchone() == (0, 0, "")
    with client_of(data_dir, profile) as client:
        add_todo(client)
    assert manage.up(data_dir).started == []
    with pytest.raises(SessionbaseError, match="there is no replica"):
        failover.promote(data_dir)
    with pytest.raises(UsageError, match="there is no replica for these options"):
        manage.up(data_dir, manage.UpOptions(replica=ReplicaOptions(sync=True)))


def test_a_replica_of_an_external_postgresql_is_refused(data_dir: Path) -> None:
    done = sessionbase(
        "up", "--replica", "--postgres", "postgresql://nobody@/none", "--data-dir", data_dir
    )
    assert done.returncode == 2
    assert "docs/scaling.md" in done.stderr
