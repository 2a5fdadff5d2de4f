"""The procedures of docs/operations.md, on servers that only this module uses.

The SQL and shell blocks are read from the page and executed. Where a procedure promises that no
request fails, clients write all the time and every answer is compared.
"""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from conftest import Stack, bring_up, free_port, new_data_dir
from sessionbase import state
from sessionbase.doctor.lints import examine
from sessionbase.paths import PROJECT_DIR
from sessionbase.stack import manage, postgres, postgrest, processes
from sessionbase.stack.account import (
    choose_home,
    choose_socket_dir,
    postgres_bin,
    reachable_program,
    service_account,
)
from sessionbase.stack.token import make_claims, make_key_set, sign
from support.command import run_main
from support.load import Load
from support.pages import code_block
from support.proxy import find_haproxy, run_command
from support.sql_folder import new_database, new_template
from support.waiting import wait_for

PAGE = "operations.md"
Connection = psycopg.Connection[Any]


@pytest.fixture(scope="module")
def own() -> Iterator[Stack]:
    """Yield a running stack that only this module uses."""
    with new_data_dir() as data_dir:
        bring_up(data_dir)
        yield Stack.of(data_dir)


@pytest.fixture
def own_db(own: Stack) -> Iterator[Connection]:
    """Yield a superuser's connection to the module's stack."""
    with psycopg.connect(own.db_uri, autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="module")
def template(own: Stack) -> Iterator[str]:
    """Yield the name of a migrated database of the module's cluster, to copy."""
    with new_template(own.db_uri) as name:
        yield name


@dataclass(frozen=True)
class Server:
    """A PostgREST that a test started, beside the one of the stack."""

    process: psutil.Process
    rest_url: str
    admin_url: str
    folder: Path
    """The server can read the files here."""

    def reload(self) -> None:
        """Let it read its configuration again, and wait for the line in its log."""
        before = self.log().count("onfig reloaded")
        self.process.send_signal(signal.SIGUSR2)
        wait_for(lambda: self.log().count("onfig reloaded") > before, "it has not reloaded")

    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")


@contextmanager
def own_postgrest(**settings: str) -> Iterator[Server]:
    """Start a PostgREST with the shipped configuration and these settings; {folder} is its folder.

    The files of a setting `FILE:name` are written there first.
    """
    account = service_account()
    folder = Path(tempfile.mkdtemp(prefix="sessionbase-postgrest-"))
    folder.chmod(0o755)
    process = None
    try:
        environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
        for name, value in settings.items():
            if name.startswith("FILE:"):
                path = folder / name.removeprefix("FILE:")
                path.write_text(value)
                path.chmod(0o600)
                account.own(path)
            else:
                environment[name] = value.replace("{folder}", str(folder))
        port, admin_port = free_port(), free_port()
        environment["PGRST_SERVER_PORT"] = str(port)
        environment["PGRST_ADMIN_SERVER_PORT"] = str(admin_port)
        config = folder / "postgrest.conf"
        shutil.copyfile(PROJECT_DIR / "postgrest.conf", config)
        config.chmod(0o644)
        program = reachable_program(postgrest.choose_executable(None), account)
        process = processes.spawn(
            program, ["postgrest", str(config)], environment, folder / "log", account
        )
        server = Server(
            process, f"http://127.0.0.1:{port}", f"http://127.0.0.1:{admin_port}", folder
        )
        processes.wait_until(
            lambda: is_ready(server.admin_url), process, "PostgREST", folder / "log"
        )
        yield server
    finally:
        if process is not None and processes.is_alive(process):
            processes.stop(process, signal.SIGTERM)
        shutil.rmtree(folder)


def is_ready(admin_url: str) -> bool:
    try:
        return httpx.get(f"{admin_url}/ready", timeout=5, trust_env=False).is_success
    except httpx.HTTPError:
        return False


def login_uri(uri: str, user: str, password: str) -> str:
    """Return a URI for PostgREST with another login than `uri`."""
    parameters = {key: str(value) for key, value in conninfo_to_dict(uri).items() if value}
    return state.build_uri({**parameters, "user": user, "password": password})


def status_of(rest_url: str, token: str) -> int:
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.get(
        f"{rest_url}/todos?limit=1", headers=headers, timeout=30, trust_env=False
    ).status_code


def assert_all_acknowledged(load: Load, at_least: int = 50) -> None:
    counts = load.counts()
    failed = [answer for answer in load.answers if not answer.acknowledged]
    assert not failed, f"{len(failed)} of {len(load.answers)} requests failed, such as {failed[0]}"
    assert counts[201] >= at_least


def run_psql(uri: str, statements: str) -> str:
    """Run statements by psql, as a DBA does, and return what it prints."""
    program = postgres_bin(service_account()) / "psql"
    done = subprocess.run(
        [program, "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", f"--dbname={uri}"],
        input=statements,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# The JWT secret.


def test_the_jwt_secret_of_the_stack_is_rotated_without_a_failed_request(own: Stack) -> None:
    data_dir, profile = own.data_dir, f"p-{uuid.uuid4().hex}"
    old_secret = state.require(data_dir)[1].jwt_secret
    old = sign(make_claims(profile), old_secret)
    with Load(own.rest_url, old) as with_old:
        with_old.wait_for(30)
        done = run_main("rotate-jwt-secret", "--data-dir", data_dir)
        assert done.returncode == 0, done.stderr
        new_secret = state.require(data_dir)[1].jwt_secret
        printed = run_main("token", "--profile", profile, "--data-dir", data_dir).stdout.strip()
        with Load(own.rest_url, printed) as with_new:
            with_new.wait_for(30)
            with_old.wait_for(30, since=with_old.now())
    assert new_secret != old_secret
    assert_all_acknowledged(with_old)
    assert_all_acknowledged(with_new, 30)

    again = run_main("rotate-jwt-secret", "--data-dir", data_dir)
    assert again.returncode == 1
    assert "the last rotation is not finished" in again.stderr
    # A restart in the middle of a rotation keeps both keys.
    manage.down(data_dir)
    manage.up(data_dir)
    assert (status_of(own.rest_url, old), status_of(own.rest_url, printed)) == (200, 200)

    with Load(own.rest_url, printed) as during_finish:
        during_finish.wait_for(30)
        finished = run_main("rotate-jwt-secret", "--finish", "--data-dir", data_dir)
        assert finished.returncode == 0, finished.stderr
        during_finish.wait_for(30, since=during_finish.now())
    assert_all_acknowledged(during_finish)
    assert (status_of(own.rest_url, old), status_of(own.rest_url, printed)) == (401, 200)
    assert state.require(data_dir)[1].previous_jwt_secret is None
    no_more = run_main("rotate-jwt-secret", "--finish", "--data-dir", data_dir)
    assert no_more.returncode == 1
    assert "there is no rotation to finish" in no_more.stderr


def test_a_rotation_while_the_stack_is_stopped_applies_at_the_next_start(own: Stack) -> None:
    data_dir = own.data_dir
    manage.down(data_dir)
    old = sign(make_claims("p"), state.require(data_dir)[1].jwt_secret)
    assert run_main("rotate-jwt-secret", "--data-dir", data_dir).returncode == 0
    assert run_main("rotate-jwt-secret", "--finish", "--data-dir", data_dir).returncode == 0
    rest_url = manage.up(data_dir).stack_config.rest_url
    assert status_of(rest_url, old) == 401
    assert status_of(rest_url, sign(make_claims("p"), Stack.of(data_dir).jwt_secret)) == 200


def test_the_key_file_is_readable_by_its_owner_only(own: Stack) -> None:
    stack_config, _ = state.require(own.data_dir)
    found = (stack_config.home / "jwt-keys.json").stat()
    assert oct(found.st_mode & 0o777) == "0o600"
    assert found.st_uid == service_account().uid


@pytest.mark.parametrize("secret", ["a" * 32, "Ü~/+=-_ \"quoted\" \\ $HOME 'x' " * 2])
def test_the_shell_commands_of_the_page_write_the_key_set(tmp_path: Path, secret: str) -> None:
    keys = tmp_path / "jwt-keys.json"
    block = code_block(PAGE, "The JWT secret", "sh", 1)
    environment = {"NEW_SECRET": secret, "OLD_SECRET": "b" * 40, "KEYS": str(keys)}
    subprocess.run(["sh", "-euc", block], env={**os.environ, **environment}, check=True)
    assert json.loads(keys.read_text()) == json.loads(make_key_set([secret.encode(), b"b" * 40]))
    assert oct(keys.stat().st_mode & 0o777) == "0o600"


def test_a_postgrest_reads_a_changed_key_file_on_sigusr2(own: Stack) -> None:
    old, new = "o" * 40, "n" * 40
    password = state.require(own.data_dir)[1].authenticator_password
    tokens = {secret: sign(make_claims("p-keys"), secret) for secret in (old, new)}
    with own_postgrest(
        PGRST_DB_URI=login_uri(own.db_uri, "authenticator", password),
        PGRST_JWT_SECRET="@{folder}/keys",
        **{"FILE:keys": old},
    ) as server:
        assert [status_of(server.rest_url, tokens[secret]) for secret in (old, new)] == [200, 401]
        with Load(server.rest_url, tokens[old]) as load:
            load.wait_for(20)
            for secrets in ([new, old], [old, new], [old]):
                keys = server.folder / "keys"
                keys.write_text(make_key_set([secret.encode() for secret in secrets]))
                server.reload()
                load.wait_for(20, since=load.now())
                wanted = 200 if new in secrets else 401
                assert status_of(server.rest_url, tokens[new]) == wanted
    assert_all_acknowledged(load)


# The passwords.


def test_the_login_of_postgrest_is_changed_without_a_failed_request(own: Stack) -> None:
    login, secret = "authenticator_b", "s" * 40
    where = conninfo_to_dict(own.db_uri)

    def service(user: str, password: str) -> str:
        values = {"host": where["host"], "dbname": where["dbname"], "user": user}
        lines = [f"{key}={value}" for key, value in {**values, "password": password}.items()]
        return "\n".join(["[sessionbase]", *lines, ""])

    def connections(user: str) -> int:
        row = dba.execute(
            "select count(*) from pg_stat_activity where usename = %s", [user]
        ).fetchone()
        assert row
        return int(row[0])

    # The connections of the stack's own PostgREST stay.
    manage.down(own.data_dir)
    stack_config, secrets = state.require(own.data_dir)
    postgres.start(stack_config, secrets, service_account(), own.data_dir / "postgresql.log")
    dba = psycopg.connect(own.db_uri, autocommit=True)
    try:
        with own_postgrest(
            PGRST_DB_URI="service=sessionbase",
            PGSERVICEFILE="{folder}/pg_service.conf",
            PGRST_JWT_SECRET=secret,
            **{"FILE:pg_service.conf": service("authenticator", secrets.authenticator_password)},
        ) as server:
            file = server.folder / "pg_service.conf"
            with Load(server.rest_url, sign(make_claims("p-login"), secret)) as load:
                load.wait_for(30)
                assert connections("authenticator") > 0
                heading = "The password of PostgREST's login"
                for statement in code_block(PAGE, heading, "sql", 0).split(";\n"):
                    dba.execute(statement.encode())
                set_password(dba, login, "new-password")
                draft = file.with_suffix(".new")
                draft.write_text(service(login, "new-password"))
                draft.chmod(0o600)
                service_account().own(draft)
                draft.replace(file)
                statements = code_block(PAGE, heading, "sql", 1)
                for statement in filter(str.strip, statements.split(";\n")):
                    dba.execute(statement.encode())
                wait_for(lambda: connections("authenticator") == 0, "the old connections are open")
                dba.execute(code_block(PAGE, heading, "sql", 2).encode())
                load.wait_for(50, since=load.now())
                assert connections(login) > 0
            assert_all_acknowledged(load)
            # The new login has the settings of the roles, and listens for notifications.
            # PostgREST 14 waits longer before it connects for them again.
            listening = "select usename from pg_stat_activity where query ilike 'listen%'"
            wait_for(
                lambda: dba.execute(listening.encode()).fetchall() == [(login,)],
                "PostgREST does not listen for notifications with the new login",
                seconds=60,
            )
            assert {f.object for f in examine(own.db_uri).findings if f.level == "error"} == set()
    finally:
        dba.execute("alter role authenticator login")
        dba.execute(sql.SQL("drop role if exists {}").format(sql.Identifier(login)))
        dba.close()
        manage.up(own.data_dir)


def set_password(connection: Connection, role: str, password: str) -> None:
    """Set a password as psql's command \\password does: only its hash is sent."""
    hashed = connection.pgconn.encrypt_password(
        password.encode(), role.encode(), b"scram-sha-256"
    ).decode()
    connection.execute(
        sql.SQL("alter role {} password {}").format(sql.Identifier(role), sql.Literal(hashed))
    )


def test_the_passwords_of_the_stack_are_changed_in_its_secrets_file(data_dir: Path) -> None:
    bring_up(data_dir)
    _, secrets = state.require(data_dir)
    changed = replace(
        secrets, authenticator_password="new-authenticator", superuser_password="new-superuser"
    )
    with psycopg.connect(state.read_db_uri(data_dir), autocommit=True) as connection:
        set_password(connection, "postgres", "new-superuser")
    state.save_secrets(
        data_dir, replace(changed, authenticator_password=secrets.authenticator_password)
    )
    assert manage.status(data_dir)["versions"]["postgresql"] is not None
    manage.down(data_dir)
    state.save_secrets(data_dir, changed)
    manage.up(data_dir)
    assert manage.status(data_dir)["running"]
    stack_config, _ = state.require(data_dir)
    for user, password in (
        ("authenticator", secrets.authenticator_password),
        ("postgres", secrets.superuser_password),
    ):
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(
                host=str(stack_config.socket_dir),
                dbname="sessionbase",
                user=user,
                password=password,
            )


def test_a_postgrest_whose_password_is_not_valid_any_more_serves_nothing(
    own: Stack, own_db: Connection
) -> None:
    own_db.execute("create role locked_out login noinherit password 'one'")
    try:
        own_db.execute("grant anon, authenticated, auditor to locked_out")
        with own_postgrest(
            PGRST_DB_URI=login_uri(own.db_uri, "locked_out", "one"), PGRST_JWT_SECRET="1" * 40
        ) as server:
            own_db.execute("alter role locked_out password 'two'")
            own_db.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where usename = 'locked_out'"
            )
            # PostgREST 12 ends. PostgREST 14 keeps running and tries again.
            wait_for(lambda: not is_ready(server.admin_url), "it is ready without a valid password")
            wait_for(
                lambda: "password authentication failed" in server.log(), "no error in its log"
            )
            try:
                status = status_of(server.rest_url, sign(make_claims("p"), "1" * 40))
            except httpx.HTTPError:
                status = None  # it does not run
            assert status in {None, 503}
    finally:
        own_db.execute("drop role locked_out")


# A new PostgREST.

HAPROXY = """
global
  stats socket {socket} mode 600 level admin
defaults
  mode http
  timeout connect 2s
  timeout client 30s
  timeout server 30s
  option redispatch 1
  retries 3
frontend http
  bind 127.0.0.1:{port}
  default_backend postgrest
backend postgrest
  option httpchk GET /ready
  default-server check inter 200ms
  server old {old} port {old_admin}
  server new {new} port {new_admin} disabled
"""


def test_a_second_postgrest_replaces_the_first_without_a_failed_request(
    own: Stack, tmp_path: Path
) -> None:
    secrets = state.require(own.data_dir)[1]
    settings = {
        "PGRST_DB_URI": login_uri(own.db_uri, "authenticator", secrets.authenticator_password),
        "PGRST_JWT_SECRET": secrets.jwt_secret,
    }
    admin, program = tmp_path / "admin.sock", find_haproxy()

    def requests_of_old() -> str:
        rows = [line.split(",") for line in run_command(admin, "show stat").splitlines()]
        return next(row[4] for row in rows if row[:2] == ["postgrest", "old"])

    with own_postgrest(**settings) as old, own_postgrest(**settings) as new:
        port, config = free_port(), tmp_path / "haproxy.cfg"
        ports = {
            name: url.removeprefix("http://")
            for name, url in (("old", old.rest_url), ("new", new.rest_url))
        }
        admins = {
            name: url.rpartition(":")[2]
            for name, url in (("old_admin", old.admin_url), ("new_admin", new.admin_url))
        }
        config.write_text(HAPROXY.format(socket=admin, port=port, **ports, **admins))
        proxy = subprocess.Popen([program, "-db", "-f", str(config)])
        try:
            wait_for(admin.exists, "HAProxy has not started")
            token = sign(make_claims("p-proxy"), secrets.jwt_secret)
            with Load(f"http://127.0.0.1:{port}", token) as load:
                load.wait_for(50)
                for line in code_block(PAGE, "Upgrade PostgREST", "").splitlines():
                    assert run_command(admin, line) == ""
                wait_for(lambda: requests_of_old() == "0", "the old server still has requests")
                processes.stop(old.process, signal.SIGTERM)
                load.wait_for(50, since=load.now())
            assert_all_acknowledged(load)
        finally:
            proxy.terminate()
            proxy.wait(timeout=30)


# Settings that need a restart: pg_stat_statements, archiving.


@dataclass(frozen=True)
class Restarted:
    """A stack of its own with both settings, and what `stats` printed before the restart."""

    data_dir: Path
    before: dict[str, Any]

    @property
    def uri(self) -> str:
        return state.read_db_uri(self.data_dir)

    def stats(self) -> Any:
        return json.loads(run_main("stats", "--db-uri", self.uri, "--json").stdout)


@pytest.fixture(scope="module")
def restarted() -> Iterator[Restarted]:
    """Yield a stack in which the steps of the page were executed."""
    with new_data_dir() as data_dir:
        bring_up(data_dir)
        uri = state.read_db_uri(data_dir)
        with psycopg.connect(uri) as connection:
            available = connection.execute(
                "select from pg_available_extensions where name = 'pg_stat_statements'"
            ).rowcount
        if not available:
            pytest.skip("this PostgreSQL comes without the contrib modules")
        # The extension before the restart, so that its library is not loaded yet.
        for number in (0, 1):
            run_psql(uri, code_block(PAGE, "Slow statements", "sql", number))
        for setting in ("archive_mode = on", "archive_command = 'false'"):
            run_psql(uri, f"alter system set {setting}")
        before = json.loads(run_main("stats", "--db-uri", uri, "--json").stdout)
        manage.down(data_dir)
        manage.up(data_dir)
        yield Restarted(data_dir, before)


def test_stats_shows_the_slowest_statements_after_the_steps_of_the_page(
    restarted: Restarted,
) -> None:
    data_dir, uri, before = restarted.data_dir, restarted.uri, restarted.before
    assert before["statements"] is None
    assert any("shared_preload_libraries" in note for note in before["notes"])
    with Load(
        Stack.of(data_dir).rest_url, sign(make_claims("p"), Stack.of(data_dir).jwt_secret)
    ) as load:
        load.wait_for(20)
    found = restarted.stats()
    (insert,) = [row for row in found["statements"] if 'INTO "api"."todos"' in row["statement"]]
    assert insert["calls"] >= 20
    assert insert["role"] == "authenticated"
    assert insert["total_seconds"] * 1000 == pytest.approx(
        insert["mean_ms"] * insert["calls"], rel=0.01
    )
    assert not any(answer.id in insert["statement"] for answer in load.answers)
    with psycopg.connect(uri, autocommit=True) as connection:
        connection.execute("create role watcher login password 'w' in role pg_monitor")
    seen = run_main("stats", "--json", "--db-uri", login_uri(uri, "watcher", "w"))
    statements = json.loads(seen.stdout)["statements"]
    assert any('INTO "api"."todos"' in row["statement"] for row in statements)
    assert examine(uri).findings == []


def test_the_autovacuum_settings_of_the_page_are_accepted_by_doctor(
    own: Stack, template: str
) -> None:
    with new_database(own.db_uri, template) as uri:
        run_psql(uri, code_block(PAGE, "Autovacuum", "sql"))
        assert examine(uri).findings == []


def test_stats_says_whether_archiving_fails(restarted: Restarted) -> None:
    def wal() -> Any:
        return restarted.stats()["wal"]

    assert not wal()["archiving_fails"]
    run_psql(restarted.uri, "select pg_switch_wal()")
    wait_for(lambda: wal()["failed_archive_attempts"], "archiving has not failed")
    assert wal()["archiving_fails"]
    assert "FAILS NOW" in run_main("stats", "--db-uri", restarted.uri).stdout
    run_psql(restarted.uri, "alter system set archive_command = 'true'")
    run_psql(restarted.uri, "select pg_reload_conf()")
    wait_for(lambda: wal()["archived_files"], "no file was archived")
    assert not wal()["archiving_fails"]
    assert wal()["last_archived_at"] is not None


# A replica.


@pytest.mark.skipif(
    os.environ.get("SESSIONBASE_LONG_TESTS") != "1",
    reason="copies a cluster; set SESSIONBASE_LONG_TESTS=1 to run it",
)
def test_stats_shows_a_replica_and_its_lag_on_both_servers(own: Stack) -> None:
    account = service_account()
    stack_config, secrets = state.require(own.data_dir)
    folder = Path(tempfile.mkdtemp(prefix="sessionbase-replica-"))
    folder.chmod(0o711)
    home = account.make_private_dir(folder / "home")
    other = replace(stack_config, home=home, socket_dir=home / "run")
    slot = "stats_replica"
    try:
        subprocess.run(
            [
                postgres_bin(account) / "pg_basebackup",
                f"--pgdata={other.cluster}",
                f"--host={stack_config.socket_dir}",
                "--username=postgres",
                "--checkpoint=fast",
                "--write-recovery-conf",
                "--create-slot",
                f"--slot={slot}",
            ],
            env={"PGPASSWORD": secrets.superuser_password, "PGAPPNAME": slot},
            **account.popen_options,
            check=True,
        )
        postgres.start(other, secrets, account, folder / "postgresql.log")
        standby_uri = state.dba_uri(other, secrets)
        with Load(own.rest_url, sign(make_claims("p"), Stack.of(own.data_dir).jwt_secret)) as load:
            load.wait_for(20)

        def stats(uri: str) -> Any:
            return json.loads(run_main("stats", "--json", "--db-uri", uri).stdout)

        primary, standby = stats(own.db_uri), stats(standby_uri)
        (replica,) = primary["replication"]["replicas"]
        assert (replica["state"], replica["sync_state"]) == ("streaming", "async")
        assert replica["not_replayed_bytes"] >= 0
        slots = {row["name"]: row for row in primary["replication"]["slots"]}
        assert slots[slot]["active"]
        assert primary["replication"]["standby"] is None
        assert (primary["database"]["is_standby"], standby["database"]["is_standby"]) == (
            False,
            True,
        )
        assert standby["replication"]["standby"]["seconds_since_last_replayed_commit"] < 60
        assert standby["unfinished_tool_events"] == primary["unfinished_tool_events"]
        postgres.stop(other)
        stopped = stats(own.db_uri)
        assert stopped["replication"]["replicas"] == []
        (kept,) = [row for row in stopped["replication"]["slots"] if row["name"] == slot]
        assert not kept["active"]
        shown = run_main("stats", "--db-uri", own.db_uri).stdout
        assert f"Slot {slot} (physical): NOT in use" in shown
    finally:
        postgres.stop(other)
        with psycopg.connect(own.db_uri, autocommit=True) as connection:
            connection.execute(
                "select pg_drop_replication_slot(slot_name) from pg_replication_slots"
                " where slot_name = %s",
                [slot],
            )
        shutil.rmtree(folder)


# Retention.


@contextmanager
def archiving_login(connection: Connection) -> Iterator[str]:
    """Yield the name of a login `dba` that is not a superuser, with the grant of the page."""
    connection.execute("create role dba login password 'dba'")
    try:
        connection.execute("grant sessionbase_owner to dba")
        connection.execute(code_block(PAGE, "Archive old tool events", "sql", 0).encode())
        yield "dba"
    finally:
        connection.execute("revoke set on parameter session_replication_role from dba")
        connection.execute("drop role dba")


def fill_january(connection: Connection, finished: int, unfinished: int) -> None:
    """Record events of two profiles and finish them; then move their times to January 2026."""
    connection.execute(
        "insert into app.tool_events (profile_id, id, session_id, tool_name, arguments)"
        " select 'old-' || n %% 2, 'e' || n, 's', 't', '{}' from generate_series(1, %s) as n",
        [finished + unfinished],
    )
    connection.execute(
        "update app.tool_events set status = 'succeeded', result = '1'"
        " where id in (select 'e' || n from generate_series(1, %s) as n)",
        [finished],
    )
    connection.execute("set session_replication_role = replica")
    connection.execute(
        "update app.tool_events set started_at = timestamptz '2026-01-10 00:00Z', completed_at ="
        " case when completed_at is not null then timestamptz '2026-01-10 00:01Z' end"
    )
    connection.execute(
        "update app.tool_event_transitions set changed_at = timestamptz '2026-01-10 00:01Z'"
    )
    connection.execute("reset session_replication_role")


def test_a_month_of_tool_events_is_archived_while_clients_write(
    own: Stack, template: str, tmp_path: Path
) -> None:
    heading = "Archive old tool events"
    tables, batch = (code_block(PAGE, heading, "sql", number) for number in (1, 2))
    secrets = state.require(own.data_dir)[1]
    with (
        new_database(own.db_uri, template) as uri,
        psycopg.connect(uri, autocommit=True) as connection,
        archiving_login(connection) as login,
        own_postgrest(
            PGRST_DB_URI=login_uri(uri, "authenticator", secrets.authenticator_password),
            PGRST_JWT_SECRET=secrets.jwt_secret,
        ) as server,
    ):
        fill_january(connection, finished=12_000, unfinished=5)
        connection.execute(
            "insert into app.tool_events (profile_id, id, session_id, tool_name, arguments)"
            " values ('old-0', 'recent', 's', 't', '{}')"
        )
        connection.execute("update app.tool_events set status = 'failed' where id = 'recent'")
        checksum = (
            "select count(*), md5(string_agg(row::text, ',' order by row::text)) from {} as row"
        )
        events = connection.execute(
            (checksum.format("app.tool_events") + " where completed_at < '2026-02-01'").encode()
        ).fetchone()
        logs = connection.execute(
            (
                checksum.format("app.tool_event_transitions")
                + " where (profile_id, tool_event_id) in (select profile_id, id"
                " from app.tool_events where completed_at < '2026-02-01')"
            ).encode()
        ).fetchone()
        assert events and logs and (events[0], logs[0]) == (12_000, 24_000)
        # A copy of a database does not have the privileges on the database itself.
        connection.execute(
            sql.SQL("grant create on database {} to sessionbase_owner").format(
                sql.Identifier(connection.info.dbname)
            )
        )
        dba = login_uri(uri, login, "dba")
        run_psql(dba, tables)
        with Load(server.rest_url, sign(make_claims("old-0"), secrets.jwt_secret)) as load:
            load.wait_for(10)
            moved = [int(run_psql(dba, batch)) for _ in range(3)]
            load.wait_for(10, since=load.now())
        assert_all_acknowledged(load, 20)
        assert moved == [10_000, 2_000, 0]
        for table, wanted in (("tool_events", events), ("tool_event_transitions", logs)):
            query = checksum.format(f"archive.{table}_2026_01")
            assert connection.execute(query.encode()).fetchone() == wanted
        left = connection.execute(
            "select status, count(*) from app.tool_events group by 1 order by 1"
        ).fetchall()
        assert left == [("executing", 5), ("failed", 1)]
        orphans = connection.execute(
            "select count(*) from app.tool_event_transitions as log where not exists (select"
            " from app.tool_events as e where e.profile_id = log.profile_id"
            " and e.id = log.tool_event_id)"
        ).fetchone()
        assert orphans == (0,)
        with pytest.raises(psycopg.errors.RestrictViolation):
            connection.execute("delete from app.tool_event_transitions")
        assert examine(uri).count("error") == 0
        dump_and_restore_the_month(uri, tmp_path, events)


def dump_and_restore_the_month(uri: str, folder: Path, events: tuple[Any, ...]) -> None:
    """Execute the page's pg_dump, and restore the file into an empty database."""
    programs = postgres_bin(service_account())
    command = code_block(PAGE, "Archive old tool events", "sh")
    environment = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "URI": state.build_uri(
            {key: str(value) for key, value in conninfo_to_dict(uri).items() if value}
        ),
    }
    subprocess.run(["sh", "-euc", command], env=environment, cwd=folder, check=True)
    with new_database(uri) as empty:
        with psycopg.connect(empty) as connection:
            connection.execute("create schema archive")
        subprocess.run(
            [
                programs / "pg_restore",
                "--exit-on-error",
                "--no-owner",
                f"--dbname={empty}",
                folder / "tool-events-2026-01.dump",
            ],
            check=True,
        )
        with psycopg.connect(empty) as connection:
            row = connection.execute("select count(*) from archive.tool_events_2026_01").fetchone()
    assert row == events[:1]


# Several databases in one cluster.


def test_two_databases_of_one_cluster_share_roles_but_not_rows(own: Stack, template: str) -> None:
    password = state.require(own.data_dir)[1].authenticator_password
    with new_database(own.db_uri, template) as one, new_database(own.db_uri, template) as two:
        first, second = "1" * 40, "2" * 40

        def server(uri: str, secret: str) -> Any:
            return own_postgrest(
                PGRST_DB_URI=login_uri(uri, "authenticator", password), PGRST_JWT_SECRET=secret
            )

        with (
            server(one, first) as of_one,
            server(two, first) as of_two,
            server(two, second) as safe,
        ):
            token = sign(make_claims("p"), first)
            with Load(of_one.rest_url, token, threads=1) as load:
                load.wait_for(3)
            # One secret for both: the token is valid in the other database, which has other rows.
            assert status_of(of_two.rest_url, token) == 200
            headers = {"Authorization": f"Bearer {token}"}
            rows = [
                httpx.get(f"{url}/todos", headers=headers, trust_env=False).json()
                for url in (of_one.rest_url, of_two.rest_url)
            ]
            assert len(rows[0]) >= 3
            assert rows[1] == []
            assert status_of(safe.rest_url, token) == 401
        for uri in (one, two):
            assert examine(uri).findings == []


def test_a_login_of_its_own_keeps_postgrest_out_of_the_other_database(
    own: Stack, own_db: Connection, template: str
) -> None:
    password = state.require(own.data_dir)[1].authenticator_password
    with new_database(own.db_uri, template) as two:
        name = str(conninfo_to_dict(two)["dbname"])
        statements = code_block(PAGE, "Several databases in one cluster", "sql")
        try:
            run_psql(own.db_uri, statements.replace("database two", f"database {name}"))
            own_db.execute("alter role authenticator_two password 'two'")
            with pytest.raises(psycopg.OperationalError, match="CONNECT"):
                psycopg.connect(login_uri(two, "authenticator", password))
            with own_postgrest(
                PGRST_DB_URI=login_uri(two, "authenticator_two", "two"), PGRST_JWT_SECRET="2" * 40
            ) as server:
                assert status_of(server.rest_url, sign(make_claims("p"), "2" * 40)) == 200
            assert examine(two).count("error") == 0
        finally:
            own_db.execute(f"revoke all on database {name} from authenticator_two".encode())
            own_db.execute("drop role authenticator_two")


def test_a_setting_of_a_client_role_in_one_database_has_no_effect_on_requests(
    own: Stack, own_db: Connection
) -> None:
    password = state.require(own.data_dir)[1].authenticator_password
    name = str(conninfo_to_dict(own.db_uri)["dbname"])
    try:
        own_db.execute(
            f"alter role authenticated in database {name} set statement_timeout = '1ms'".encode()
        )
        with (
            own_postgrest(
                PGRST_DB_URI=login_uri(own.db_uri, "authenticator", password),
                PGRST_JWT_SECRET="1" * 40,
            ) as server,
            Load(server.rest_url, sign(make_claims("p"), "1" * 40), threads=1) as load,
        ):
            load.wait_for(20)
        assert_all_acknowledged(load, 20)
    finally:
        own_db.execute(
            f"alter role authenticated in database {name} reset statement_timeout".encode()
        )


# Without a superuser.


@pytest.fixture(scope="module")
def managed() -> Iterator[str]:
    """Yield the URI of a login with CREATEROLE and CREATEDB, in a new cluster without our roles."""
    account, secrets = service_account(), state.Secrets.generate(None)
    with new_data_dir() as data_dir:
        data_dir.mkdir(mode=0o700)
        home = choose_home(data_dir, account)
        stack_config = state.StackConfig(home, choose_socket_dir(home))
        state.save_stack_config(data_dir, stack_config)
        state.save_secrets(data_dir, secrets)
        postgres.start(stack_config, secrets, account, data_dir / "postgresql.log")
        admin = state.read_db_uri(data_dir)
        with psycopg.connect(admin, autocommit=True) as connection:
            connection.execute("create role manager login createrole createdb password 'm'")
            assert connection.execute(
                "select count(*) from pg_roles where rolname = 'authenticated'"
            ).fetchone() == (0,)
        uri = login_uri(admin, "manager", "m")
        with psycopg.connect(make_conninfo(uri, dbname="postgres"), autocommit=True) as connection:
            connection.execute("create database managed")
        yield login_uri(make_conninfo(admin, dbname="managed"), "manager", "m")


def test_a_login_that_is_not_a_superuser_can_run_everything_that_the_page_says(
    managed: str, data_dir: Path, tmp_path: Path
) -> None:
    assert run_main("migrate", "--db-uri", managed).returncode == 0
    doctor = run_main("doctor", "--db-uri", managed)
    assert doctor.returncode == 0, doctor.stdout
    report = bring_up(data_dir, postgres_uri=managed)
    assert report.started == ["PostgREST"]
    stack = Stack.of(data_dir)
    with Load(stack.rest_url, sign(make_claims("p"), stack.jwt_secret), threads=1) as load:
        load.wait_for(5)
    assert_all_acknowledged(load, 5)
    file = tmp_path / "events.json"
    sample = PROJECT_DIR / "docs/sample/chat-tool-events.json"
    imported = run_main("import", "tool-events", sample, "--profile", "p", "--db-uri", managed)
    assert imported.returncode == 0, imported.stderr
    exported = run_main(
        "export", "tool-events", "--output", file, "--profile", "p", "--db-uri", managed
    )
    assert exported.returncode == 0, exported.stderr
    key, checkpoint = tmp_path / "audit.key", tmp_path / "checkpoint.jsonl"
    assert run_main("audit", "key", key).returncode == 0
    for command in (
        ["audit", "verify"],
        ["audit", "checkpoint", checkpoint, "--key-file", key],
        ["replication", "status"],
    ):
        done = run_main(*command, "--db-uri", managed)
        assert done.returncode == 0, done.stderr
    stats = json.loads(run_main("stats", "--json", "--exact", "--db-uri", managed).stdout)
    counts = {row["name"]: row["rows_exact"] for row in stats["tables"]}
    assert counts["todos"] == len(load.acknowledged())
    assert stats["replication"]["replicas"] is None
    enabled = run_main("replication", "enable", "todos", "--db-uri", managed)
    assert enabled.returncode == 1
    assert "alter role sessionbase_replicator replication" in enabled.stdout
    with (
        psycopg.connect(managed, autocommit=True) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute("set session_replication_role = replica")
