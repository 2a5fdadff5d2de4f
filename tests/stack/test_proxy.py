"""HAProxy with deploy/haproxy.cfg, in front of two PostgREST that are stopped and killed."""

import json
import shutil
import socket
import ssl
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import jwt
import psycopg
import pytest

from conftest import Stack, TokenFor, bring_up, free_port
from sessionbase.stack import postgres
from sessionbase.stack.account import service_account
from sessionbase.state import require
from support.concurrency import transaction_of, wait_until_blocked_by
from support.load import Load, Reads
from support.proxy import CONFIG, Proxy, find_haproxy, haproxy, variables
from support.servers import RestServer, rest_server

THREADS = 4
UNLIMITED = {"PROXY_TOKEN_RATE": "1000000", "PROXY_SOURCE_RATE": "1000000"}
Replicas = tuple[RestServer, RestServer]


@pytest.fixture(scope="module")
def replicas(stack: Stack) -> Iterator[Replicas]:
    """Yield two PostgREST on the database of the run."""
    find_haproxy()
    with rest_server(stack.data_dir) as first, rest_server(stack.data_dir) as second:
        yield first, second


@pytest.fixture(scope="module")
def running(replicas: Replicas) -> Iterator[Proxy]:
    with haproxy(variables(*replicas), UNLIMITED) as proxy:
        yield proxy


@pytest.fixture
def proxy(running: Proxy) -> Proxy:
    """Return the proxy of the module, with both servers up."""
    running.wait_for_states("api", "UP", "UP")
    return running


def open_client(url: str, token: str | None = None, **options: Any) -> httpx.Client:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx.Client(base_url=url, headers=headers, timeout=60, trust_env=False, **options)


@pytest.fixture
def behind(proxy: Proxy, token_for: TokenFor, profile: str) -> Iterator[httpx.Client]:
    """Yield a client of the API behind the proxy, with a token of the profile of the test."""
    with open_client(proxy.rest_url, token_for(profile)) as client:
        yield client


def failed_with(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Check that an answer is an error in the form of docs/errors.md; return its body."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    body: dict[str, Any] = answer.json()
    assert body.keys() == {"code", "message", "details", "hint"}
    assert body["code"] == code, body
    return body


def log_lines(proxy: Proxy) -> list[dict[str, Any]]:
    """Return the lines of the log about requests."""
    lines = proxy.log_file.read_text().splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"POSTGREST_DNS": "postgrest:3000", "PROXY_BIND": ":8080"},
        {"PAGE_SERVER": "127.0.0.1:9", "PROXY_ADMIN_SOCKET": "/tmp/admin.sock"},
        {"PROXY_USER": "daemon", "PROXY_LOG": "stderr", "PROXY_SERVER_MAXCONN": "5"},
        {"PAGE_SERVER": "", "PROXY_TLS_CERT": "", "CELLS": "", "POSTGREST_DNS": ""},
    ],
    ids=["defaults", "dns", "page", "others", "empty"],
)
def test_haproxy_accepts_the_configuration_without_a_warning(environment: dict[str, str]) -> None:
    command = [find_haproxy(), "-c", "-dW", "-f", str(CONFIG)]
    checked = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert checked.returncode == 0, checked.stderr


# --- Which server gets a request -----------------------------------------------------------------


def test_both_servers_get_requests(proxy: Proxy, behind: httpx.Client) -> None:
    for _ in range(6):
        assert behind.get("/todos").status_code == 200
    assert {line["server"] for line in log_lines(proxy)} >= {"postgrest1", "postgrest2"}


@pytest.mark.parametrize("way", ["SIGTERM", "SIGKILL"])
def test_a_stopped_server_costs_only_the_writes_that_it_was_executing(
    way: str,
    proxy: Proxy,
    replicas: Replicas,
    client: httpx.Client,
    token_for: TokenFor,
    profile: str,
) -> None:
    server, token = replicas[1], token_for(profile)
    with (
        Load(proxy.rest_url, token, THREADS) as writes,
        Reads(proxy.rest_url, token, THREADS) as reads,
    ):
        writes.wait_for(50)
        if way == "SIGTERM":
            server.stop()
        else:
            server.kill()
        stopped = writes.now()
        writes.wait_for(50, since=stopped)
        server.start()
        proxy.wait_for_states("api", "UP", "UP")
        started = writes.now()
        writes.wait_for(50, since=started)
    stored = {row["id"] for row in client.get("/todos?select=id").json()}
    assert not writes.missing(stored), "acknowledged writes are missing"
    failed = [answer for answer in writes.answers if not answer.acknowledged]
    # Those in flight, and as many that the kernel had accepted for the server before it stopped.
    assert len(failed) <= 2 * THREADS, f"too many writes failed: {writes.counts()}"
    # Once in many runs, one connection was closed without an answer.
    assert sum(answer.status is None for answer in failed) <= 1, f"a lost answer is 502: {failed}"
    for answer in failed:
        assert answer.status in {502, None}, f"a lost answer must be 502, not {answer}"
        assert answer.status is None or json.loads(answer.body)["code"] == "08007"
    assert set(reads.counts()) == {200}, "every read must be repeated on the other server"
    assert writes.longest_gap() < 2


def test_a_drained_server_can_be_stopped_without_a_failed_request(
    proxy: Proxy, replicas: Replicas, token_for: TokenFor, profile: str
) -> None:
    token = token_for(profile)
    with (
        Load(proxy.rest_url, token, THREADS) as writes,
        Reads(proxy.rest_url, token, THREADS) as reads,
    ):
        for number, server in enumerate(replicas, 1):
            writes.wait_for(20, since=writes.now())
            # The procedure of docs/proxy.md.
            name = f"api/postgrest{number}"
            assert proxy.admin(f"set server {name} state drain") == ""
            proxy.wait_until_idle("api", f"postgrest{number}")
            server.stop()
            server.start()
            assert proxy.admin(f"set server {name} state ready") == ""
            proxy.wait_for_states("api", "UP", "UP")
    assert set(writes.counts()) == {201}
    assert set(reads.counts()) == {200}


def test_the_other_server_is_restarted_when_the_first_one_runs_again(
    proxy: Proxy, replicas: Replicas, token_for: TokenFor, profile: str
) -> None:
    with Load(proxy.rest_url, token_for(profile), THREADS) as writes:
        for server in replicas:
            writes.wait_for(20, since=writes.now())
            server.stop()
            server.start()
            proxy.wait_for_states("api", "UP", "UP")
    counts = writes.counts()
    assert sum(n for status, n in counts.items() if status != 201) <= 2 * THREADS, counts


def test_a_reload_of_the_schema_cache_takes_no_server_down(
    proxy: Proxy, token_for: TokenFor, profile: str, db: psycopg.Connection[Any]
) -> None:
    with Load(proxy.rest_url, token_for(profile), THREADS) as writes:
        for _ in range(3):
            db.execute("notify pgrst, 'reload schema'")
            writes.wait_for(20, since=writes.now())
            assert set(proxy.server_states("api").values()) <= {"UP", "UP 1/3", "UP 2/3"}
    assert set(writes.counts()) == {201}


def test_a_reload_of_the_proxy_loses_no_request(
    replicas: Replicas, token_for: TokenFor, profile: str
) -> None:
    token = token_for(profile)
    with (
        haproxy(variables(*replicas), UNLIMITED) as proxy,
        Load(proxy.rest_url, token, THREADS) as writes,
        Reads(proxy.rest_url, token, THREADS) as reads,
    ):
        for _ in range(2):
            writes.wait_for(20, since=writes.now())
            proxy.reload()
        writes.wait_for(20, since=writes.now())
    assert set(writes.counts()) == {201}, [a for a in writes.answers if not a.acknowledged]
    assert set(reads.counts()) == {200}, [a for a in reads.answers if not a.acknowledged]


# --- A lost answer -------------------------------------------------------------------------------


def test_a_write_whose_answer_is_lost_is_502_and_is_not_repeated(
    stack: Stack, proxy: Proxy, replicas: Replicas, token_for: TokenFor, profile: str
) -> None:
    with (
        open_client(proxy.rest_url, token_for(profile)) as behind,
        psycopg.connect(stack.db_uri, autocommit=True) as db,
        transaction_of(stack.db_uri, profile) as holder,
        ThreadPoolExecutor(1) as pool,
    ):
        # The first requests of a connection are answered, so that the lost one is not the first.
        todo = behind.post("/rpc/add_todo", json={"text": "toggled at most once"}).json()
        holder.execute("select from api.todos where id = %s for update", [todo["id"]])
        call = pool.submit(behind.post, "/rpc/toggle_todo", json={"id": todo["id"]})
        wait_until_blocked_by(db, holder)
        for server in replicas:
            server.kill()
        body = failed_with(call.result(), 502, "08007")
        assert "may have been executed" in body["hint"]
        for server in replicas:
            server.start()
        # A repetition would wait for the lock, or be executed now.
        proxy.wait_for_states("api", "UP", "UP")
        waiting = db.execute(
            "select count(*) from pg_stat_activity where %s = any(pg_blocking_pids(pid))",
            [holder.info.backend_pid],
        ).fetchone()
        assert waiting is not None
        assert waiting[0] <= 1, "the proxy has sent the write again"
        holder.rollback()
        lines = [
            json.loads(line) for line in proxy.log_file.read_text().splitlines() if "{" in line
        ]
        inner = [line for line in lines if line["profile"] == profile and line["server"] != "inner"]
        assert [line["retries"] for line in inner if line["status"] == 502] == ["0"]


def test_a_write_that_waits_too_long_in_the_queue_is_503_and_is_not_executed(
    stack: Stack, replicas: Replicas, token_for: TokenFor, profile: str, client: httpx.Client
) -> None:
    todo = client.post("/rpc/add_todo", json={"text": "toggled twice"}).json()
    with (
        haproxy(variables(*replicas), PROXY_SERVER_MAXCONN="1") as proxy,
        open_client(proxy.rest_url, token_for(profile)) as behind,
        transaction_of(stack.db_uri, profile) as holder,
        ThreadPoolExecutor(3) as pool,
    ):
        proxy.wait_for_states("api", "UP", "UP")
        holder.execute("select from api.todos where id = %s for update", [todo["id"]])
        calls = [
            pool.submit(behind.post, "/rpc/toggle_todo", json={"id": todo["id"]}) for _ in range(3)
        ]
        while not any(call.done() for call in calls):
            time.sleep(0.05)
        holder.rollback()
        answers = sorted((call.result() for call in calls), key=lambda a: a.status_code)
    assert [answer.status_code for answer in answers] == [200, 200, 503]
    failed_with(answers[2], 503, "53000")
    assert answers[2].headers["retry-after"] == "1"
    (row,) = client.get(f"/todos?id=eq.{todo['id']}").json()
    assert not row["completed"], "the write that was answered with 503 was executed"


# --- Bodies of errors ----------------------------------------------------------------------------


def test_errors_of_a_stopped_postgresql_do_not_name_its_socket(data_dir: Path) -> None:
    bring_up(data_dir)
    stack_config, _ = require(data_dir)
    stack = Stack.of(data_dir)
    token = jwt.encode({"role": "authenticated", "sub": "p"}, stack.jwt_secret)
    servers = {
        "POSTGREST_1": f"127.0.0.1:{stack_config.port}",
        "POSTGREST_1_ADMIN": str(stack_config.admin_port),
        "POSTGREST_2": "127.0.0.1:1",
        "POSTGREST_2_ADMIN": "1",
    }
    with (
        haproxy(servers) as proxy,
        open_client(stack.rest_url, token) as direct,
        open_client(proxy.rest_url, token) as behind,
    ):
        assert behind.get("/todos").status_code == 200
        # Without checks, the server stays up, and every answer is the one of PostgREST.
        proxy.admin("disable health api/postgrest1")
        postgres.stop(stack_config)
        secret = str(stack_config.socket_dir)
        deadline = time.monotonic() + 30
        while True:
            own = direct.get("/todos")
            # PostgREST 12 names the socket; 14 stops to do so when it has found out about the loss.
            if secret in own.text or "PGRST002" in own.text:
                break
            assert time.monotonic() < deadline, f"PostgREST has an unknown error: {own.text}"
            time.sleep(0.1)
        for request in (
            behind.build_request("GET", "/todos"),
            behind.build_request("POST", "/rpc/add_todo", json={"text": "x"}),
        ):
            answer = behind.send(request)
            assert answer.json()["code"] in {"PGRST000", "PGRST001", "PGRST002"}
            body = failed_with(answer, 503, answer.json()["code"])
            assert body["message"] == "The database is not available at the moment"
            assert body["hint"] == "The request was not executed: repeat it later"
            assert secret not in json.dumps(body)
        # With checks, the proxy has no server that it can use.
        proxy.admin("enable health api/postgrest1")
        proxy.wait_for_states("api", "DOWN", "DOWN")
        answer = behind.post("/rpc/add_todo", json={"text": "x"})
        failed_with(answer, 503, "53000")
        assert answer.headers["retry-after"] == "1"
        assert httpx.get(f"{proxy.url}/healthz", trust_env=False).status_code == 503
        # PostgREST has lost its connections and reconnects by itself.
        postgres.start(
            stack_config, require(data_dir)[1], service_account(), data_dir / "postgresql.log"
        )
        proxy.wait_for_states("api", "UP", "DOWN")
        assert behind.get("/todos").status_code == 200


def test_the_error_of_a_deadlock_does_not_name_processes(
    stack: Stack, behind: httpx.Client, profile: str, db: psycopg.Connection[Any]
) -> None:
    # The request inserts `second` before `first`, in the order of its rows and in that of the ids.
    second, first = sorted(str(uuid.uuid4()) for _ in range(2))
    insert = "insert into api.todos (id, text) values (%s, 'x')"
    with transaction_of(stack.db_uri, profile) as holder, ThreadPoolExecutor(1) as pool:
        holder.execute(insert, [first])
        rows = [{"id": second, "text": "x"}, {"id": first, "text": "x"}]
        call = pool.submit(behind.post, "/todos", json=rows)
        wait_until_blocked_by(db, holder)
        holder.execute(insert, [second])
        holder.rollback()
        answer = call.result()
    if answer.status_code == 201:
        pytest.skip("this PostgREST repeats the transaction, as 14 does: there is no error")
    body = failed_with(answer, 500, "40P01")
    assert body["details"] is None
    assert "rocess" not in body["message"]


def test_an_error_of_sessionbase_itself_is_not_changed(
    client: httpx.Client, behind: httpx.Client, db: psycopg.Connection[Any], profile: str
) -> None:
    decision = {
        "session_id": "s",
        "source": "session",
        "severity": "low",
        "blocked": True,
        "rules": [{"id": "r", "severity": "low"}],
        "content": "x",
    }
    assert client.post("/rpc/record_hookify_decision", json=decision).status_code == 200
    with db.transaction():
        db.execute("set local session_replication_role = replica")
        db.execute(
            "update app.hookify_chains set head_hash = repeat('0', 64), length = 0"
            " where profile_id = %s",
            [profile],
        )
    body = failed_with(
        behind.post("/rpc/record_hookify_decision", json=decision), 500, "chain_broken"
    )
    assert body == client.post("/rpc/record_hookify_decision", json=decision).json()
    not_found = behind.post("/rpc/toggle_todo", json={"id": str(uuid.uuid4())})
    failed_with(not_found, 404, "not_found")


# --- Requests that are refused -------------------------------------------------------------------


@pytest.mark.parametrize(
    "query",
    ["text=eq.x%00y", "text=eq.%FF", "text=eq.%C3", "text=eq.%ED%A0%80", "text=eq.%zz", "text=%"],
)
def test_a_url_that_postgrest_would_misread_is_refused(query: str, proxy: Proxy) -> None:
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=10) as connection:
        connection.sendall(f"GET /api/todos?{query} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        answer = connection.recv(65536)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'"code":"bad_request"' in answer


def test_text_in_utf8_is_accepted(behind: httpx.Client) -> None:
    text = "ä €  𝄞 " * 200
    assert behind.post("/rpc/add_todo", json={"text": text}).status_code == 200
    (row,) = behind.get("/todos", params={"text": f"eq.{text}"}).json()
    assert row["text"] == text
    assert behind.get("/todos", headers={b"X-Name": "ä€𝄞".encode() * 300}).status_code == 200


def test_a_header_that_is_not_utf8_is_refused(behind: httpx.Client) -> None:
    failed_with(behind.get("/todos", headers={b"X-Name": b"\xff"}), 400, "bad_request")
    failed_with(behind.get("/todos", headers={b"Cookie": b"a=\xe4"}), 400, "bad_request")


def test_a_second_authorization_header_is_refused(
    proxy: Proxy, token_for: TokenFor, profile: str
) -> None:
    headers = [("Authorization", f"Bearer {token_for(name)}") for name in (profile, "other")]
    answer = httpx.get(f"{proxy.rest_url}/todos", headers=headers, trust_env=False)
    failed_with(answer, 400, "bad_request")


def test_a_body_that_is_too_large_or_has_no_length_is_refused(
    replicas: Replicas, token_for: TokenFor, profile: str, client: httpx.Client
) -> None:
    with (
        haproxy(variables(*replicas), PROXY_MAX_BODY="2000") as proxy,
        open_client(proxy.rest_url, token_for(profile)) as behind,
    ):
        call = {"text": "x" * 1900}
        assert behind.post("/rpc/add_todo", json=call).status_code == 200
        call = {"text": "x" * 2000}
        failed_with(behind.post("/rpc/add_todo", json=call), 413, "payload_too_large")
        body = json.dumps(call).encode()
        chunked = behind.post(
            "/rpc/add_todo", content=iter([body]), headers={"Content-Type": "application/json"}
        )
        failed_with(chunked, 411, "length_required")
    assert len(client.get("/todos").json()) == 1


def test_the_largest_value_of_the_schema_fits_the_limit_of_the_body(
    behind: httpx.Client, profile: str
) -> None:
    event = {"session_id": "s", "id": "e", "tool_name": "t", "arguments": {}}
    assert behind.post("/rpc/record_tool_event", json=event).status_code == 200
    # As PostgreSQL counts it: 8 MiB with the quotes. Each character is six bytes in the request.
    result = '"' + "\\u0061" * (8 * 1024 * 1024 - 2) + '"'
    body = f'{{"id": "e", "to_status": "succeeded", "result": {result}}}'
    headers = {"Content-Type": "application/json"}
    escaped = behind.post("/rpc/transition_tool_event", content=body, headers=headers)
    failed_with(escaped, 413, "payload_too_large")
    plain = behind.post("/rpc/transition_tool_event", json=json.loads(body))
    assert plain.status_code == 200, plain.text


def test_the_rate_of_a_token_is_limited_and_others_are_not(
    replicas: Replicas, token_for: TokenFor, profile: str
) -> None:
    limits = {"PROXY_TOKEN_RATE": "20", "PROXY_SOURCE_RATE": "1000"}
    with haproxy(variables(*replicas), limits) as proxy:
        forged = jwt.encode({"role": "authenticated", "sub": profile}, "x" * 32)
        with open_client(proxy.rest_url, forged) as attacker:
            statuses = [attacker.get("/todos").status_code for _ in range(30)]
        assert statuses == [401] * 20 + [429] * 10
        # The attacker's token names the same profile, but it is another token.
        with open_client(proxy.rest_url, token_for(profile)) as behind:
            assert [behind.get("/todos").status_code for _ in range(20)] == [200] * 20
            answer = behind.get("/todos")
            failed_with(answer, 429, "53400")
            assert answer.headers["retry-after"] == "5"


def test_the_rate_of_an_address_is_limited_without_a_token_too(replicas: Replicas) -> None:
    with (
        haproxy(variables(*replicas), PROXY_SOURCE_RATE="20") as proxy,
        open_client(proxy.rest_url) as guest,
    ):
        statuses = [guest.get("/todos").status_code for _ in range(25)]
        assert statuses == [401] * 20 + [429] * 5


def test_the_connections_of_an_address_are_limited(replicas: Replicas) -> None:
    with (
        haproxy(variables(*replicas), PROXY_SOURCE_CONNECTIONS="3") as proxy,
        ExitStack() as kept,
    ):
        for _ in range(3):
            kept.enter_context(socket.create_connection(("127.0.0.1", proxy.port)))
        answer = httpx.get(f"{proxy.rest_url}/todos", trust_env=False)
        failed_with(answer, 429, "53400")
        for _ in range(4):
            kept.enter_context(socket.create_connection(("127.0.0.1", proxy.port)))
        with pytest.raises(httpx.TransportError):
            httpx.get(f"{proxy.rest_url}/todos", trust_env=False)
        kept.close()
        assert httpx.get(f"{proxy.rest_url}/todos", trust_env=False).status_code == 401


# --- One origin ----------------------------------------------------------------------------------


@contextmanager
def static_server(folder: Path) -> Iterator[str]:
    """Serve the files of a folder with Python's own server; yield its address."""
    port = free_port()
    command = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"]
    with subprocess.Popen(
        [*command, "--directory", str(folder)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as server:
        try:
            for _ in range(200):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.05)
            yield f"127.0.0.1:{port}"
        finally:
            server.terminate()


def test_the_page_and_the_api_have_one_origin(
    replicas: Replicas, token_for: TokenFor, profile: str, tmp_path: Path
) -> None:
    (tmp_path / "index.html").write_text("the page")
    (tmp_path / "apis.html").write_text("not the API")
    with (
        static_server(tmp_path) as address,
        haproxy(variables(*replicas), PAGE_SERVER=address) as proxy,
        open_client(proxy.url, token_for(profile)) as client,
    ):
        assert client.get("/").text == "the page"
        assert client.get("/apis.html").text == "not the API"
        assert client.get("/todos").status_code == 404
        assert client.get("/todos").headers["content-type"].startswith("text/html")
        assert client.get("/api/todos").json() == []
        assert client.get("/api").json()["swagger"] == "2.0"


def test_without_a_page_only_the_api_is_served(proxy: Proxy) -> None:
    answer = httpx.get(f"{proxy.url}/todos", trust_env=False)
    failed_with(answer, 404, "no_such_path")


def test_links_of_the_api_have_its_prefix(behind: httpx.Client) -> None:
    answer = behind.get("/todos?select=id")
    assert answer.headers["content-location"] == "/api/todos?select=id"
    assert "server" not in answer.headers


def test_the_admin_server_of_postgrest_is_not_reachable(behind: httpx.Client, proxy: Proxy) -> None:
    for path in ("/ready", "/live"):
        assert behind.get(path).status_code == 404
        assert httpx.get(f"{proxy.url}{path}", trust_env=False).status_code == 404


# --- TLS -----------------------------------------------------------------------------------------


def test_https_is_served_and_http_is_redirected(
    replicas: Replicas, token_for: TokenFor, profile: str, tmp_path: Path
) -> None:
    openssl = shutil.which("openssl")
    if not openssl:
        pytest.skip("there is no openssl on PATH")
    certificate, key = tmp_path / "ca.pem", tmp_path / "key.pem"
    # The command of docs/proxy.md.
    subprocess.run(
        [
            *(openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    both = tmp_path / "both.pem"
    both.write_bytes(certificate.read_bytes() + key.read_bytes())
    tls = {"PROXY_TLS_CERT": str(both)}
    with haproxy(variables(*replicas), tls) as proxy:
        trusted = ssl.create_default_context(cafile=str(certificate))
        url = f"https://127.0.0.1:{proxy.tls_port}"
        with open_client(url, token_for(profile), verify=trusted) as client:
            answer = client.post("/api/rpc/add_todo", json={"text": "encrypted"})
            assert answer.status_code == 200
            assert answer.headers["strict-transport-security"] == "max-age=31536000"
            assert answer.http_version == "HTTP/1.1"
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            httpx.get(url, trust_env=False)
        plain = httpx.post(f"{proxy.rest_url}/rpc/add_todo", json={}, trust_env=False)
        assert plain.status_code == 308
        assert plain.headers["location"].startswith("https://127.0.0.1")


# --- Log and monitoring --------------------------------------------------------------------------


def test_a_log_line_has_the_profile_and_the_request_but_no_token_and_no_data(
    proxy: Proxy, token_for: TokenFor
) -> None:
    profile = f'p "quoted" {uuid.uuid4().hex}'
    token = token_for(profile)
    with open_client(proxy.rest_url, token) as client:
        answer = client.get("/todos?text=eq.private-text")
        own = client.get("/todos", headers={"X-Request-Id": "chosen by a client"})
    assert own.headers["x-request-id"] != "chosen by a client"
    log, request = proxy.log_file.read_text(), answer.headers["x-request-id"]
    (line,) = [line for line in log_lines(proxy) if line["request"] == request]
    assert line["profile"] == profile
    assert (line["method"], line["path"], line["status"]) == ("GET", "/api/todos", 200)
    assert token not in log
    assert token.rsplit(".", 1)[1] not in log
    assert "private-text" not in log


def test_the_operator_gets_health_and_metrics_on_a_port_of_its_own(proxy: Proxy) -> None:
    def get(path: str) -> httpx.Response:
        return httpx.get(f"{proxy.monitor_url}{path}", trust_env=False)

    assert get("/healthz").json() == {"status": "ok"}
    assert (
        'haproxy_server_status{proxy="api",server="postgrest1",state="UP"} 1'
        in get("/metrics").text
    )
    assert "postgrest2" in get("/stats").text
    for path in ("/metrics", "/stats"):
        assert httpx.get(f"{proxy.url}{path}", trust_env=False).status_code == 404
