"""docs/pooling.md: PostgREST behind PgBouncer in transaction mode, with the files of that page."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import psycopg
import pytest

from conftest import Stack, bring_up, free_port
from sessionbase import state
from sessionbase.paths import PROJECT_DIR, resource_path
from sessionbase.stack import manage, postgrest, processes
from sessionbase.stack.account import postgres_bin, reachable_program, service_account
from sessionbase.stack.token import make_claims, sign
from support.command import run_main
from support.concurrency import at_once
from support.load import Load
from support.waiting import wait_for

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
pytestmark = pytest.mark.skipif(
    PROGRAM is None, reason="no pgbouncer: install Debian's package, or run scripts/test as root"
)
PAGE = (PROJECT_DIR / "docs/pooling.md").read_text(encoding="utf-8")
LONG = os.environ.get("SESSIONBASE_LONG_TESTS") == "1"
WRITES = 2000 if LONG else 150

PROBE = """
create or replace function api.probe() returns json
language sql stable security invoker set search_path = ''
as $$ select pg_catalog.json_build_object(
  'statement_timeout', pg_catalog.current_setting('statement_timeout'),
  'profile', app.profile_id(), 'role', current_user
) $$;
comment on function api.probe() is 'What a request has in transaction mode';
grant execute on function api.probe() to authenticated;
"""


def block(language: str, contains: str) -> str:
    """Return the code block of the page that contains a text."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    (found,) = [text for text in blocks if contains in text]
    return str(found)


def replaced(text: str, *pairs: tuple[str, str]) -> str:
    """Replace the paths and ports of the page; fail if the page does not have them."""
    for old, new in pairs:
        assert old in text, f"docs/pooling.md has no {old!r} any more: change this test with it"
        text = text.replace(old, new)
    return text


@dataclass(frozen=True)
class Pooled:
    """A stack whose PostgREST connects to PgBouncer."""

    stack: Stack
    config: state.StackConfig
    secrets: state.Secrets
    folder: Path
    port: int
    environment: dict[str, str]
    """The settings of PostgREST from the page."""

    @property
    def rest_url(self) -> str:
        return self.config.rest_url

    def uri(self, password: str, role: str = postgrest.LOGIN) -> str:
        return f"postgresql://{role}:{quote(password)}@127.0.0.1:{self.port}/{state.DATABASE}"

    def token(self, profile: str) -> str:
        return sign(make_claims(profile, "authenticated"), self.secrets.jwt_secret)

    def client(self, profile: str) -> httpx.Client:
        return httpx.Client(
            base_url=self.rest_url,
            headers={"Authorization": f"Bearer {self.token(profile)}"},
            timeout=30,
            trust_env=False,
        )

    def pgbouncer(self) -> Any:
        """Return the running process."""
        return processes.find(self.folder / "pgbouncer.ini", ("pgbouncer",))

    def start_pgbouncer(self, *options: str) -> Any:
        """Start PgBouncer and wait until it accepts connections."""
        assert PROGRAM
        log = self.folder / "start.log"
        process = processes.spawn(
            Path(PROGRAM),
            ["pgbouncer", *options, str(self.folder / "pgbouncer.ini")],
            {"PATH": "/usr/bin:/bin"},
            log,
            service_account(),
        )
        processes.wait_until(self.accepts, process, "PgBouncer", log)
        return process

    def accepts(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


@contextmanager
def running_postgrest(
    config: state.StackConfig, environment: dict[str, str], jwt_secret: str, ready: bool = True
) -> Iterator[Any]:
    """Run PostgREST with the shipped configuration and with these settings."""
    file, account = postgrest.config_file(config), service_account()
    shutil.copyfile(resource_path("postgrest.conf"), file)
    file.chmod(0o644)
    log = config.home / "postgrest.log"
    process = processes.spawn(
        reachable_program(postgrest.choose_executable(None), account),
        ["postgrest", str(file)],
        {
            "LC_ALL": "C.UTF-8",
            "PGRST_JWT_SECRET": jwt_secret,
            "PGRST_SERVER_PORT": str(config.port),
            "PGRST_ADMIN_SERVER_PORT": str(config.admin_port),
            **environment,
        },
        log,
        account,
    )
    try:
        if ready:
            processes.wait_until(lambda: postgrest.is_ready(config), process, "PostgREST", log)
        yield process
    finally:
        postgrest.stop(config)


@pytest.fixture(scope="module")
def pooled() -> Iterator[Pooled]:
    """Yield a stack of its own, with PgBouncer and PostgREST as the page says."""
    folder = Path(tempfile.mkdtemp(prefix="sessionbase-test-"))
    folder.chmod(0o755)
    bring_up(folder / "data")
    stack = Stack.of(folder / "data")
    config, secrets = state.require(folder / "data")
    postgrest.stop(config)
    port = free_port()
    home = folder / "pgbouncer"
    service_account().make_private_dir(home)

    ini = replaced(
        block("ini", "pool_mode"),
        ("host=/var/run/postgresql port=5432", f"host={config.socket_dir} port=5432"),
        ("listen_port = 6432", f"listen_port = {port}"),
        ("/etc/pgbouncer/userlist.txt", str(home / "userlist.txt")),
        ("/var/run/postgresql", str(home)),
        ("default_pool_size = 20", "default_pool_size = 5"),
    )
    (home / "pgbouncer.ini").write_text(ini + f"logfile = {home / 'pgbouncer.log'}\n")
    create_list = replaced(
        block("sh", "psql"), ("/etc/pgbouncer/userlist.txt", str(home / "userlist.txt"))
    )
    login = {
        "PATH": f"{postgres_bin(service_account())}:/usr/bin:/bin",
        "PGHOST": str(config.socket_dir),
        "PGUSER": state.SUPERUSER,
        "PGPASSWORD": secrets.superuser_password,
        "PGDATABASE": state.DATABASE,
    }
    subprocess.run(["sh", "-ec", create_list], env=login, check=True)
    for file in home.iterdir():
        service_account().own(file)

    settings = replaced(
        block("sh", "PGRST_DB_URI"),
        ("PASSWORD", quote(secrets.authenticator_password)),
        ("6432", str(port)),
    )
    environment = dict(re.findall(r'^(\w+)="?([^"\n]+)"?$', settings, re.MULTILINE))
    found = Pooled(stack, config, secrets, home, port, environment)
    found.start_pgbouncer()
    try:
        with running_postgrest(config, environment, secrets.jwt_secret):
            yield found
    finally:
        process = found.pgbouncer()
        if process:
            processes.stop(process, signal.SIGTERM)
        manage.delete_data(folder / "data")
        shutil.rmtree(folder)


def stored_todos(pooled: Pooled, profile: str) -> set[str]:
    with psycopg.connect(pooled.stack.db_uri) as db:
        rows = db.execute("select id::text from app.todos where profile_id = %s", [profile])
        return {str(row[0]) for row in rows}


def test_no_request_fails_and_no_acknowledged_write_is_missing(
    pooled: Pooled, profile: str
) -> None:
    with Load(pooled.rest_url, pooled.token(profile), threads=12) as load:
        load.wait_for(WRITES)
    assert set(load.counts()) == {201}, load.counts()
    assert not load.missing(stored_todos(pooled, profile))
    with psycopg.connect(pooled.stack.db_uri) as db:
        query = "select count(*) from pg_stat_activity where usename = 'authenticator'"
        (connections,) = db.execute(query).fetchone() or (0,)
    assert 1 <= connections <= 5, "default_pool_size must limit the connections to PostgreSQL"


def test_each_request_has_its_own_profile_while_few_connections_serve_many_profiles(
    pooled: Pooled, profile: str
) -> None:
    def work(number: int) -> None:
        own = f"{profile}-{number}"
        with pooled.client(own) as client:
            for step in range(10):
                key = f"{own}-{step}"
                body = {"id": key, "session_id": own, "tool_name": "t", "tool_call_id": own}
                assert client.post("/rpc/record_tool_event", json=body).is_success
                done = client.post(
                    "/rpc/transition_tool_event_by_call?select=id,txid",
                    json={"tool_call_id": own, "to_status": "succeeded"},
                ).json()
                assert [row["id"] for row in done] == [key]
                assert int(done[0]["txid"]) > 0
                candidates = [{"rule_id": str(step), "title": "t", "summary": own}]
                batch = {"session_id": own, "candidates": candidates}
                assert client.post("/rpc/ingest_misalignments", json=batch).is_success
                patch = client.post("/rpc/patch_ui_settings", json={"patch": {key: own}})
                assert patch.json()["revision"] == step + 1
            assert len(client.get("/tool_events").json()) == 10
            assert {row["summary"] for row in client.get("/misalignments").json()} == {own}
            (settings,) = client.get("/ui_settings").json()
            assert set(settings["settings"].values()) == {own}

    at_once([partial(work, number) for number in range(8)])


def test_a_new_function_is_served_after_sigusr1_and_not_before(
    pooled: Pooled, profile: str, tmp_path: Path
) -> None:
    sql = tmp_path / "sql"
    shutil.copytree(resource_path("sql"), sql)
    (sql / "api/99_probe.sql").write_text(PROBE)
    authority = json.loads((sql / "authority.json").read_text())
    authority["domains"]["todos"]["functions"]["probe"] = {"execute": ["authenticated"]}
    (sql / "authority.json").write_text(json.dumps(authority))
    done = run_main("migrate", "--db-uri", pooled.stack.db_uri, "--sql-dir", sql)
    assert done.returncode == 0, done.stderr
    command = block("sh", "kill -USR1").splitlines()[0]
    process = processes.find(postgrest.config_file(pooled.config))
    assert process
    with pooled.client(profile) as client:
        time.sleep(1)
        assert client.get("/rpc/probe").status_code == 404
        with Load(pooled.rest_url, pooled.token(profile)) as load:
            load.wait_for(20)
            signalled = replaced(command, ('"$(pidof postgrest)"', str(process.pid)))
            subprocess.run(signalled, shell=True, check=True)
            wait_for(
                lambda: client.get("/rpc/probe").status_code != 404,
                "PostgREST has not reloaded its schema cache",
            )
            answer = client.get("/rpc/probe")
            load.wait_for(20, since=load.now())
    assert set(load.counts()) == {201}, "a request failed during the reload"
    assert answer.json() == {
        "statement_timeout": "15s",
        "profile": profile,
        "role": "authenticated",
    }, "a request must have its profile, its role and the settings of the role"


@pytest.mark.parametrize(
    "arguments",
    [
        ["migrate"],
        ["migrate", "--dry-run"],
        ["doctor"],
        ["audit", "verify"],
        ["replication", "status"],
        ["export", "tool-events", "--profile", "p"],
        ["import", "tool-events", "docs/sample/chat-tool-events.json", "--profile", "p"],
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_a_command_refuses_a_pooler_in_transaction_mode(
    pooled: Pooled, arguments: list[str]
) -> None:
    uri = pooled.uri(pooled.secrets.authenticator_password)
    done = run_main(*arguments, "--db-uri", uri)
    assert done.returncode == 1, done.stderr
    refusal = " ".join(done.stderr.split())
    for line in block("", "transaction mode").splitlines():
        assert line.strip() in refusal, done.stderr


def set_pool_mode(pooled: Pooled, mode: str) -> None:
    """Change pool_mode in the file, and reload PgBouncer as the page says."""
    file = pooled.folder / "pgbouncer.ini"
    file.write_text(re.sub(r"(?m)^pool_mode = \w+$", f"pool_mode = {mode}", file.read_text()))
    log = pooled.folder / "pgbouncer.log"
    reloads = log.read_text().count("re-reading config")
    pooled.pgbouncer().send_signal(signal.SIGHUP)
    wait_for(
        lambda: log.read_text().count("re-reading config") > reloads,
        "PgBouncer has not read its file again",
    )


def test_a_command_accepts_a_pooler_in_session_mode(pooled: Pooled) -> None:
    uri = pooled.uri(pooled.secrets.authenticator_password)
    set_pool_mode(pooled, "session")
    try:
        done = run_main("migrate", "--db-uri", uri)
    finally:
        set_pool_mode(pooled, "transaction")
    # The login of PostgREST is not allowed to migrate; a DBA's login is.
    assert "sessionbase_owner" in done.stderr
    assert "pooler" not in done.stderr


def test_pgbouncer_refuses_a_wrong_password(pooled: Pooled) -> None:
    with (
        pytest.raises(psycopg.OperationalError, match="SASL authentication failed"),
        psycopg.connect(pooled.uri("wrong")),
    ):
        pass
    assert pooled.secrets.authenticator_password not in (pooled.folder / "userlist.txt").read_text()


@pytest.mark.parametrize("how", ["reload", "online", "SIGINT", "SIGTERM"])
def test_no_acknowledged_write_is_missing_after_pgbouncer_was_restarted(
    pooled: Pooled, profile: str, how: str
) -> None:
    with Load(pooled.rest_url, pooled.token(profile), threads=8) as load:
        load.wait_for(40)
        if how == "reload":
            pooled.pgbouncer().send_signal(signal.SIGHUP)
        elif how == "online":
            old = pooled.pgbouncer()
            pooled.start_pgbouncer("-R")
            wait_for(lambda: not processes.is_alive(old), "the old PgBouncer still runs")
        else:
            processes.stop(pooled.pgbouncer(), getattr(signal, how))
            pooled.start_pgbouncer()
        load.wait_for(40, since=load.now())
    print(f"\n{how}: {load.counts()}")
    assert not load.missing(stored_todos(pooled, profile))
    if how == "reload":
        assert set(load.counts()) == {201}, load.counts()


def test_requests_fail_with_the_shipped_settings_behind_pgbouncer(
    pooled: Pooled, profile: str
) -> None:
    home = pooled.folder.parent / "shipped"
    home.mkdir(mode=0o755)
    config = state.StackConfig(home, pooled.config.socket_dir, free_port(), free_port())
    only_uri = {"PGRST_DB_URI": pooled.environment["PGRST_DB_URI"]}
    with (
        running_postgrest(config, only_uri, pooled.secrets.jwt_secret, ready=False) as process,
        Load(config.rest_url, pooled.token(profile), threads=8) as load,
    ):
        wait_for(
            lambda: not processes.is_alive(process) or failures(load),
            "the shipped settings work: correct docs/pooling.md",
        )


def failures(load: Load) -> bool:
    """Return whether a prepared statement was missing, or prepared twice."""
    return any("42P05" in answer.body or "26000" in answer.body for answer in list(load.answers))
