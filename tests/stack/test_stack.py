"""Starting, stopping and deleting the embedded stack, each test in its own data directory."""

import os
import shlex
import socket
import stat
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest

from conftest import Stack, bring_up, free_port
from sessionbase import state
from sessionbase.errors import SessionbaseError
from sessionbase.stack import account, manage, postgres, postgrest, processes
from support.command import sessionbase
from support.crash import kill_postgresql


def pids(data_dir: Path) -> list[int]:
    """Return the pids of PostgreSQL and PostgREST."""
    found = manage.status(data_dir)["pids"]
    return [found["postgresql"], found["postgrest"]]


def store_a_row(data_dir: Path) -> None:
    """Commit a row."""
    with psycopg.connect(state.read_db_uri(data_dir)) as connection:
        connection.execute("create table public.stored as select 1 as number")


def stored_rows(data_dir: Path) -> list[tuple[int]]:
    """Return the row that `store_a_row` committed."""
    with psycopg.connect(state.read_db_uri(data_dir)) as connection:
        return connection.execute("select number from public.stored").fetchall()


def test_a_second_up_starts_nothing_and_changes_nothing(data_dir: Path) -> None:
    first = bring_up(data_dir)
    running = pids(data_dir)
    again = manage.up(data_dir)
    assert first.started == ["PostgreSQL", "PostgREST"]
    assert again.started == []
    assert again.stack_config == first.stack_config
    assert pids(data_dir) == running


def test_one_of_two_concurrent_ups_starts_the_servers(data_dir: Path) -> None:
    options = manage.UpOptions(port=free_port(), admin_port=free_port())
    together = threading.Barrier(2)

    def run() -> list[str]:
        together.wait()
        return manage.up(data_dir, options).started

    with ThreadPoolExecutor(2) as pool:
        started = [future.result() for future in [pool.submit(run), pool.submit(run)]]
    assert sorted(started) == [[], ["PostgreSQL", "PostgREST"]]


def test_killed_servers_are_started_again_with_every_committed_row(data_dir: Path) -> None:
    bring_up(data_dir)
    store_a_row(data_dir)
    for pid in pids(data_dir):
        psutil.Process(pid).kill()
    assert manage.up(data_dir).started == ["PostgreSQL", "PostgREST"]
    assert stored_rows(data_dir) == [(1,)]
    assert manage.status(data_dir)["running"]


def test_up_waits_until_a_running_postgrest_is_connected_again(data_dir: Path) -> None:
    stack_config = bring_up(data_dir).stack_config
    store_a_row(data_dir)
    kill_postgresql(data_dir)
    assert not postgrest.is_ready(stack_config)
    assert manage.up(data_dir).started == ["PostgreSQL"]
    assert httpx.get(f"{stack_config.admin_url}/ready", trust_env=False).status_code == 200
    # A guest has no rights: PostgREST answers from the database, not 503.
    answer = httpx.get(f"{stack_config.rest_url}/todos", trust_env=False)
    assert (answer.status_code, answer.json()["code"]) == (401, "42501")


def test_up_reports_a_running_postgrest_that_does_not_become_ready(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bring_up(data_dir)
    with psycopg.connect(state.read_db_uri(data_dir), autocommit=True) as connection:
        connection.execute("alter role authenticator nologin")
        connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'authenticator'"
        )
    monkeypatch.setattr(processes, "START_SECONDS", 2)
    with pytest.raises(SessionbaseError, match="PostgREST was not ready after 2 s: ") as refused:
        manage.up(data_dir)
    assert refused.value.hint == f"its log: {data_dir / 'postgrest.log'}"


def test_a_stale_lock_file_with_the_pid_of_another_process_is_ignored(data_dir: Path) -> None:
    stack_config = bring_up(data_dir).stack_config
    for pid in pids(data_dir):
        psutil.Process(pid).kill()
    owner = account.service_account()
    sleeper = subprocess.Popen(["sleep", "600"], user=owner.uid if owner.switches else None)
    try:
        lock = stack_config.cluster / "postmaster.pid"
        lines = lock.read_text().splitlines()
        lock.write_text("\n".join([str(sleeper.pid), *lines[1:]]) + "\n")
        assert manage.up(data_dir).started == ["PostgreSQL", "PostgREST"]
        assert sleeper.poll() is None
    finally:
        sleeper.kill()
        sleeper.wait()


def test_down_stops_both_servers_and_keeps_the_data_and_the_ports(data_dir: Path) -> None:
    stack_config = bring_up(data_dir).stack_config
    store_a_row(data_dir)
    assert manage.down(data_dir) == ["PostgREST", "PostgreSQL"]
    assert manage.down(data_dir) == []
    assert not (stack_config.cluster / "postmaster.pid").exists()
    stopped = sessionbase("status", "--json", "--data-dir", data_dir)
    assert stopped.returncode == 1
    assert '"running": false' in stopped.stdout
    assert manage.up(data_dir).stack_config == stack_config
    assert stored_rows(data_dir) == [(1,)]


def test_deleting_the_data_needs_a_confirmation(data_dir: Path) -> None:
    stack_config = bring_up(data_dir).stack_config
    store_a_row(data_dir)
    refused = sessionbase("down", "--delete-data", "--data-dir", data_dir, stdin="n\n")
    assert refused.returncode == 1
    assert "nothing was deleted" in refused.stderr
    assert stored_rows(data_dir) == [(1,)]
    done = sessionbase("down", "--delete-data", "--data-dir", data_dir, stdin="y\n")
    assert done.returncode == 0
    assert not any(path.exists() for path in [data_dir, stack_config.home, stack_config.socket_dir])


def test_missing_secrets_are_not_generated_again_and_can_be_restored(data_dir: Path) -> None:
    bring_up(data_dir)
    store_a_row(data_dir)
    file = data_dir / "secrets.json"
    before = file.read_bytes()
    file.unlink()
    for command in ("up", "status"):
        refused = sessionbase(command, "--data-dir", data_dir)
        assert refused.returncode == 1
        assert refused.stderr.startswith(f"Error: {file} is missing")
        assert "restore it" in refused.stderr
        assert not file.exists()
    assert manage.down(data_dir) == ["PostgREST", "PostgreSQL"]
    file.write_bytes(b"{}")
    with pytest.raises(SessionbaseError, match="is damaged: it has no superuser_password"):
        manage.up(data_dir)
    assert file.read_bytes() == b"{}"
    file.write_bytes(before)
    manage.up(data_dir)
    assert stored_rows(data_dir) == [(1,)]


def test_a_stack_without_its_secrets_can_be_deleted(data_dir: Path) -> None:
    stack_config = bring_up(data_dir).stack_config
    (data_dir / "secrets.json").unlink()
    manage.delete_data(data_dir)
    assert not any(path.exists() for path in [data_dir, stack_config.home, stack_config.socket_dir])


def test_the_same_port_for_both_servers_is_wrong_usage(data_dir: Path) -> None:
    port = free_port()
    done = sessionbase("up", "--data-dir", data_dir, "--port", port, "--admin-port", port)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"both {port}" in done.stderr


@pytest.mark.parametrize("option", ["--port", "--admin-port"])
def test_a_port_in_use_is_refused_before_anything_is_started(data_dir: Path, option: str) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        taken = holder.getsockname()[1]
        ports = {"--port": free_port(), "--admin-port": free_port(), option: taken}
        options = [text for pair in ports.items() for text in pair]
        done = sessionbase("up", "--no-sample", "--data-dir", data_dir, *options)
    assert done.returncode == 1
    assert str(taken) in done.stderr
    assert option in done.stderr
    stack_config, _ = state.require(data_dir)
    assert not stack_config.cluster.exists()


def test_secrets_are_random_and_only_their_owner_can_read_them(
    data_dir: Path, stack: Stack
) -> None:
    bring_up(data_dir)
    for name in ("secrets.json", "stack.json", "postgresql.log", "postgrest.log"):
        assert stat.S_IMODE((data_dir / name).stat().st_mode) == 0o600
    assert stat.S_IMODE(data_dir.stat().st_mode) in {0o700, 0o711}
    _, secrets = state.require(data_dir)
    _, others = state.require(stack.data_dir)
    assert len(secrets.jwt_secret.encode()) >= 32
    mine = {secrets.jwt_secret, secrets.superuser_password, secrets.authenticator_password}
    assert len(mine) == 3
    assert others.jwt_secret not in mine
    for process in map(psutil.Process, pids(data_dir)):
        assert not any(secret in " ".join(process.cmdline()) for secret in mine)


def test_no_server_runs_as_root_or_listens_on_a_public_address(stack: Stack) -> None:
    for process in map(psutil.Process, pids(stack.data_dir)):
        assert process.uids().real != 0
        listening = [
            link.laddr.ip
            for link in process.net_connections("inet")
            if link.status == psutil.CONN_LISTEN
        ]
        assert set(listening) <= {"127.0.0.1"}


def test_a_wrong_password_is_refused_on_the_socket(stack: Stack) -> None:
    stack_config, _ = state.require(stack.data_dir)
    for user in ("postgres", "authenticator"):
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(
                host=str(stack_config.socket_dir), dbname="sessionbase", user=user, password="guess"
            )


def test_the_cluster_has_the_documented_settings(stack: Stack) -> None:
    wanted = {
        "wal_level": "logical",
        "synchronous_commit": "on",
        "fsync": "on",
        "data_checksums": "on",
        "listen_addresses": "",
        "server_encoding": "UTF8",
        "password_encryption": "scram-sha-256",
    }
    with psycopg.connect(stack.db_uri) as connection:
        rows = connection.execute(
            "select name, setting from pg_settings where name = any(%s)", [list(wanted)]
        ).fetchall()
        rules = connection.execute("select distinct auth_method from pg_hba_file_rules").fetchall()
    assert dict(rows) == wanted
    assert rules == [("scram-sha-256",)]


def test_a_data_directory_with_a_long_path_has_its_own_short_socket_directory(
    data_dir: Path,
) -> None:
    deep = data_dir / ("d" * 120)
    home = account.choose_socket_dir(deep)
    assert len(os.fsencode(home)) <= account.MAX_SOCKET_DIR_BYTES
    assert home != account.choose_socket_dir(data_dir / ("e" * 120))


def test_a_symbolic_link_is_refused_as_the_socket_directory(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SessionbaseError, match="not this user's own directory"):
        account.service_account().make_private_dir(tmp_path / "run")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's stack runs as another user")
def test_a_folder_that_only_root_can_enter_stays_closed_and_does_not_hold_the_cluster(
    data_dir: Path,
) -> None:
    stack_config = bring_up(data_dir).stack_config
    assert stat.S_IMODE(data_dir.parent.stat().st_mode) == 0o700
    assert stack_config.home.is_relative_to(account.SYSTEM_DIR)
    assert manage.status(data_dir)["cluster_dir"] == str(stack_config.cluster)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's stack runs as another user")
def test_a_folder_of_root_that_others_can_enter_holds_the_cluster(data_dir: Path) -> None:
    data_dir.parent.chmod(0o755)
    assert bring_up(data_dir).stack_config.home == data_dir
    assert stat.S_IMODE(data_dir.stat().st_mode) == 0o711


def test_up_can_use_a_running_postgresql_by_its_uri(data_dir: Path, stack: Stack) -> None:
    bring_up(data_dir)
    manage.down(data_dir)
    stack_config, secrets = state.require(data_dir)
    log = data_dir / "postgresql.log"
    postgres.start(stack_config, secrets, account.service_account(), log)
    uri = state.read_db_uri(data_dir)
    second = data_dir.parent / "second"
    try:
        report = bring_up(second, postgres_uri=uri)
        assert report.started == ["PostgREST"]
        assert httpx.get(f"{report.stack_config.rest_url}/", trust_env=False).status_code == 200
        assert manage.status(second)["cluster_dir"] is None
        with pytest.raises(SessionbaseError, match="another PostgreSQL"):
            manage.up(second, manage.UpOptions(postgres_uri=stack.db_uri))
    finally:
        manage.delete_data(second)
    with psycopg.connect(uri) as connection:
        assert connection.execute("select 1").fetchone() == (1,)


def test_the_error_for_a_postgrest_that_does_not_start_has_its_output(data_dir: Path) -> None:
    broken = data_dir.parent / "postgrest"
    broken.write_text("#!/bin/sh\necho out of luck\nexit 1\n")
    broken.chmod(0o755)
    with pytest.raises(SessionbaseError, match=r"PostgREST did not start: out of luck"):
        bring_up(data_dir, postgrest=broken)
    with pytest.raises(SessionbaseError, match="not an executable"):
        bring_up(data_dir, postgrest=data_dir / "none")


def test_the_postgrest_that_the_environment_variable_names_is_used(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = data_dir.parent / "postgrest"
    monkeypatch.setenv(postgrest.EXECUTABLE_VARIABLE, str(chosen))
    with pytest.raises(SessionbaseError, match="not an executable") as refused:
        bring_up(data_dir)
    assert refused.value.hint and postgrest.EXECUTABLE_VARIABLE in refused.value.hint
    chosen.write_text("#!/bin/sh\necho the chosen one\nexit 1\n")
    chosen.chmod(0o755)
    with pytest.raises(SessionbaseError, match="did not start: the chosen one"):
        bring_up(data_dir)


def test_the_printed_commands_work_and_the_sample_is_imported_once(data_dir: Path) -> None:
    ports = ["--port", free_port(), "--admin-port", free_port()]
    first = sessionbase("up", "--data-dir", data_dir, *ports)
    assert first.returncode == 0, first.stderr
    assert "Imported" in first.stdout
    lines = first.stdout.splitlines()
    [token] = [line.removeprefix("A token:") for line in lines if line.startswith("A token:")]
    assert (
        subprocess.run(["sh", "-c", token], capture_output=True, check=True).stdout.count(b".") == 2
    )
    listing, record, finish = [line for line in lines if line.startswith("curl ")]
    for line in (record, finish, record, finish, listing):
        done = subprocess.run(
            ["sh", "-c", f"{line} -sS --fail-with-body --noproxy '*'"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    assert '"status":"succeeded"' in done.stdout
    assert shlex.split(listing)[0] == "curl"
    again = sessionbase("up", "--data-dir", data_dir)
    assert "Everything is already running." in again.stdout
    assert "Imported" not in again.stdout
