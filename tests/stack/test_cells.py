"""Two stacks ("cells") behind one HAProxy, and a profile that is moved while requests are sent."""

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import jwt
import psycopg
import pytest

from conftest import Stack, TokenFor, bring_up, new_data_dir
from sessionbase.stack import manage, postgrest
from sessionbase.state import load_secrets, require_stack_config, save_secrets
from support.concurrency import transaction_of, wait_until_blocked_by
from support.load import Decisions, Load, Reads
from support.profiles import fill_profile
from support.proxy import CONFIG, DEPLOY, Proxy, find_haproxy, haproxy
from support.waiting import wait_for

MOVE = DEPLOY / "move_profile.py"


@dataclass(frozen=True)
class Cells:
    """The two stacks, the proxy in front of them, and the folder of its maps."""

    first: Stack
    second: Stack
    proxy: Proxy
    maps: Path
    settings: dict[str, str]

    def client(self, token: str, **headers: str) -> httpx.Client:
        """Open a client of the API behind the proxy."""
        sent = {"Authorization": f"Bearer {token}", **headers}
        return httpx.Client(base_url=self.proxy.rest_url, headers=sent, timeout=60, trust_env=False)

    def put(self, profile: str, cell: str) -> None:
        """Choose the cell of a profile that has no rows yet, as docs/cells.md says."""
        key = quote(profile, safe="-_.~")
        assert self.proxy.admin(f"add map {self.maps}/cells.map {key} {cell}") == ""

    def move(
        self, profile: str, to: str = "cell2", **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run the command of docs/cells.md: from the first cell to another one."""
        command = [sys.executable, str(MOVE), profile, "api", to, "--cells", str(self.maps)]
        uris = {"FROM_DB_URI": self.first.db_uri, "TO_DB_URI": self.second.db_uri}
        return subprocess.run(
            [*command, "--socket", str(self.proxy.admin_socket)],
            env={**os.environ, **uris, **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )


@pytest.fixture(scope="module")
def cells(stack: Stack) -> Iterator[Cells]:
    """Yield the stack of the run as the first cell, and a new one with the same JWT secret."""
    find_haproxy()
    with new_data_dir() as data_dir:
        maps = data_dir.parent / "cells"
        maps.mkdir()
        for name in ("cells.map", "moving.map"):
            (maps / name).touch()
        bring_up(data_dir)
        secrets = load_secrets(data_dir)
        assert secrets
        save_secrets(data_dir, replace(secrets, jwt_secret=stack.jwt_secret))
        postgrest.stop(require_stack_config(data_dir))
        manage.up(data_dir)
        first = require_stack_config(stack.data_dir)
        second = require_stack_config(data_dir)
        settings = {
            "CELLS": str(maps),
            "POSTGREST_1": f"127.0.0.1:{first.port}",
            "POSTGREST_1_ADMIN": str(first.admin_port),
            # The cells have one PostgREST each here.
            "POSTGREST_2": "127.0.0.1:1",
            "POSTGREST_2_ADMIN": "1",
            "CELL2_POSTGREST_1": f"127.0.0.1:{second.port}",
            "CELL2_POSTGREST_1_ADMIN": str(second.admin_port),
            "PROXY_TOKEN_RATE": "1000000",
            "PROXY_SOURCE_RATE": "1000000",
            "PROXY_SOURCE_CONNECTIONS": "1000",
        }
        with haproxy(settings, config=(CONFIG, DEPLOY / "haproxy-cells.cfg")) as proxy:
            proxy.wait_for_states("cell2", "UP")
            yield Cells(stack, Stack.of(data_dir), proxy, maps, settings)


def stored(cell: Stack, table: str, profile: str) -> list[str]:
    """Return the ids of a profile's rows in the database of a cell."""
    with psycopg.connect(cell.db_uri) as db:
        found = db.execute(
            f"select id::text from app.{table} where profile_id = %s".encode(), [profile]
        )
        return [row[0] for row in found]


def refused(answer: httpx.Response, status: int, code: str) -> None:
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


@pytest.fixture
def other(profile: str) -> str:
    """Return a second profile of the test."""
    return f"{profile}-other"


# --- Routing -------------------------------------------------------------------------------------


def test_each_profile_reads_and_writes_in_its_cell(
    cells: Cells, token_for: TokenFor, profile: str, other: str
) -> None:
    cells.put(other, "cell2")
    for name, home, elsewhere in (
        (profile, cells.first, cells.second),
        (other, cells.second, cells.first),
    ):
        with cells.client(token_for(name)) as client:
            added = client.post("/rpc/add_todo", json={"text": name})
            assert added.status_code == 200, added.text
            assert [row["text"] for row in client.get("/todos").json()] == [name]
        assert stored(home, "todos", name) == [added.json()["id"]]
        assert stored(elsewhere, "todos", name) == []


@pytest.mark.parametrize("name", ["with space", "ä€𝄞", 'quote"\\', "a/b?c=%20&d", "*", "ümlaut*"])
def test_a_profile_with_any_characters_can_be_in_the_map(
    cells: Cells, stack: Stack, name: str
) -> None:
    profile = f"{name} {uuid.uuid4().hex}" if name != "*" else name
    cells.put(profile, "cell2")
    # As the JSON.stringify of a browser writes it: in UTF-8.
    token = sign_in_utf8({"role": "authenticated", "sub": profile}, stack.jwt_secret)
    with cells.client(token) as client:
        answer = client.post("/rpc/add_todo", json={"text": "x"})
    if "\\" in name or '"' in name:
        # The JSON of the token has escapes, which HAProxy may not convert: never the wrong cell.
        assert answer.status_code in (200, 401)
    else:
        assert answer.status_code == 200, answer.text
        assert len(stored(cells.second, "todos", profile)) >= 1
    assert stored(cells.first, "todos", profile) == []


def sign_in_utf8(claims: dict[str, Any], secret: str) -> str:
    """Return a token whose payload is not escaped to ASCII, as jwt.encode does it."""
    payload = json.dumps(claims, ensure_ascii=False).encode()
    return jwt.api_jws.encode(payload, secret, algorithm="HS256")


def test_a_token_whose_profile_the_proxy_can_not_read_is_refused(
    cells: Cells, token_for: TokenFor
) -> None:
    # PyJWT writes \u00e4, which HAProxy reads as another text than PostgREST.
    for profile in ("pä", "p€", "pÃ¤"):
        with cells.client(token_for(profile)) as client:
            refused(client.get("/todos"), 401, "no_profile")
    plain = token_for("p")
    for header in (f"Bearer  {plain}", f"bearer\t{plain}", plain, "Basic eDp4", "Bearer x.y"):
        answer = httpx.get(
            f"{cells.proxy.rest_url}/todos", headers={"Authorization": header}, trust_env=False
        )
        refused(answer, 401, "no_profile")


def test_a_forged_token_is_refused_by_every_cell(cells: Cells, profile: str, other: str) -> None:
    cells.put(other, "cell2")
    for name in (profile, other):
        forged = jwt.encode({"role": "authenticated", "sub": name}, "x" * 32)
        with cells.client(forged) as client:
            refused(client.get("/todos"), 401, "PGRST301")
            refused(client.post("/rpc/add_todo", json={"text": "x"}), 401, "PGRST301")
    guest = httpx.get(f"{cells.proxy.rest_url}/todos", trust_env=False)
    refused(guest, 401, "42501")


def test_an_auditor_reads_one_cell_at_a_time_and_others_can_not_choose(
    cells: Cells, token_for: TokenFor, profile: str, other: str
) -> None:
    cells.put(other, "cell2")
    for name in (profile, other):
        with Decisions(cells.proxy.rest_url, token_for(name), 1) as decisions:
            decisions.wait_for(1)

    def profiles_seen(**headers: str) -> set[str]:
        with cells.client(token_for("auditor", "auditor"), **headers) as auditor:
            rows = auditor.get(
                f'/hookify_decisions?select=profile_id&profile_id=in.("{profile}","{other}")'
            )
            assert rows.status_code == 200, rows.text
            return {row["profile_id"] for row in rows.json()}

    assert profiles_seen() == {profile}
    assert profiles_seen(**{"X-Cell": "api"}) == {profile}
    assert profiles_seen(**{"X-Cell": "cell2"}) == {other}
    with cells.client(token_for("auditor", "auditor"), **{"X-Cell": "cell9"}) as auditor:
        refused(auditor.get("/hookify_decisions"), 503, "53000")
    with cells.client(token_for(profile), **{"X-Cell": "cell2"}) as client:
        assert client.post("/rpc/add_todo", json={"text": "x"}).status_code == 200
    assert stored(cells.second, "todos", profile) == []


def test_a_forged_auditor_can_not_choose_a_backend_that_is_no_cell(cells: Cells) -> None:
    # The proxy passed a request to api_writes on to itself, until it had no connection left.
    forged = jwt.encode({"role": "auditor", "sub": "x"}, "x" * 32)
    for name in ("api_writes", "page", "sources", "tokens", "writes", "inner", "public", "monitor"):
        with cells.client(forged, **{"X-Cell": name}) as client:
            refused(client.get("/todos", timeout=5), 503, "53000")
            refused(client.post("/rpc/add_todo", json={"text": "x"}, timeout=5), 503, "53000")


def test_a_cell_that_does_not_exist_is_an_error_and_not_the_first_cell(
    cells: Cells, token_for: TokenFor, profile: str
) -> None:
    cells.put(profile, "cell3")
    with cells.client(token_for(profile)) as client:
        refused(client.get("/todos"), 503, "53000")
        refused(client.post("/rpc/add_todo", json={"text": "x"}), 503, "53000")
    assert stored(cells.first, "todos", profile) == []


def test_new_profiles_go_to_the_cell_of_the_key_star(
    cells: Cells, token_for: TokenFor, profile: str
) -> None:
    maps = cells.maps
    assert cells.proxy.admin(f"add map {maps}/cells.map * cell2") == ""
    try:
        with cells.client(token_for(profile)) as client:
            assert client.post("/rpc/add_todo", json={"text": "x"}).status_code == 200
    finally:
        cells.proxy.admin(f"del map {maps}/cells.map *")
    assert len(stored(cells.second, "todos", profile)) == 1


# --- Moving --------------------------------------------------------------------------------------


def test_a_profile_is_moved_under_load_and_no_acknowledged_write_is_lost(
    cells: Cells, token_for: TokenFor, profile: str, other: str
) -> None:
    third = f"{profile}-third"
    cells.put(third, "cell2")
    fill_profile(cells.first.db_uri, profile)
    url = cells.proxy.rest_url
    with ExitStack() as running:
        moved = running.enter_context(Load(url, token_for(profile), 2))
        decisions = running.enter_context(Decisions(url, token_for(profile), 2))
        reads = running.enter_context(Reads(url, token_for(profile), 1))
        others = [running.enter_context(Load(url, token_for(name), 1)) for name in (other, third)]
        for load in (moved, decisions):
            load.wait_for(30)
        done = cells.move(profile)
        assert done.returncode == 0, done.stderr
        for load in (moved, decisions, *others):
            load.wait_for(30, since=load.now())

    # No acknowledged write is missing, none is stored twice, and nothing is left.
    for load, table in ((moved, "todos"), (decisions, "hookify_decisions")):
        found = stored(cells.second, table, profile)
        assert not load.missing(found), "acknowledged writes are missing after the move"
        assert len(found) == len(set(found))
        assert stored(cells.first, table, profile) == []
    # A write is answered, or refused with the reason and not executed.
    for load in (moved, decisions):
        failed = [answer for answer in load.answers if not answer.acknowledged]
        assert {answer.status for answer in failed} == {503}, load.counts()
        assert {json.loads(answer.body)["code"] for answer in failed} == {"profile_locked"}
        assert not {answer.id for answer in failed} & set(
            stored(cells.second, "todos", profile)
            + stored(cells.second, "hookify_decisions", profile)
        )
    # Reads, and the other profiles, had no failed request.
    assert set(reads.counts()) == {200}
    for load in others:
        assert set(load.counts()) == {201}
    with cells.client(token_for(profile)) as client:
        (chain,) = client.post("/rpc/verify_hookify_decisions", json={}).json()
        assert chain["valid"], chain
        assert chain["checked"] == len(stored(cells.second, "hookify_decisions", profile))
    report = json.loads(done.stdout)
    assert report["profile"] == profile
    print(f"writes were refused for {report['refused_seconds']} s, {report['rows']} rows")
    assert moved.longest_gap() < report["refused_seconds"] + 5

    # A proxy that starts now reads the same maps.
    with haproxy(cells.settings, config=(CONFIG, DEPLOY / "haproxy-cells.cfg")) as again:
        again.wait_for_states("cell2", "UP")
        headers = {"Authorization": f"Bearer {token_for(profile)}"}
        answer = httpx.get(
            f"{again.rest_url}/todos?select=id", headers=headers, trust_env=False, timeout=60
        )
        assert len(answer.json()) == len(stored(cells.second, "todos", profile))


def test_a_move_waits_for_a_write_that_runs(
    cells: Cells, token_for: TokenFor, profile: str
) -> None:
    with (
        cells.client(token_for(profile)) as client,
        psycopg.connect(cells.first.db_uri, autocommit=True) as db,
        transaction_of(cells.first.db_uri, profile) as holder,
        ThreadPoolExecutor(2) as pool,
    ):
        todo = client.post("/rpc/add_todo", json={"text": "x"}).json()["id"]
        holder.execute("select from api.todos where id = %s for update", [todo])
        write = pool.submit(client.post, "/rpc/toggle_todo", json={"id": todo})
        wait_until_blocked_by(db, holder)
        move = pool.submit(cells.move, profile)
        key = quote(profile, safe="")
        moving = f"show map {cells.maps}/moving.map"
        wait_for(lambda: key in cells.proxy.admin(moving), "the proxy accepts writes")
        time.sleep(0.5)
        assert not move.done()
        with cells.client(token_for(profile)) as second:
            refused(second.post("/rpc/add_todo", json={"text": "y"}), 503, "profile_locked")
            assert second.get("/todos").status_code == 200
        assert stored(cells.second, "todos", profile) == []
        holder.rollback()
        assert write.result().status_code == 200
        assert move.result().returncode == 0, move.result().stderr
        (row,) = client.get("/todos").json()
    assert row["completed"], "the write that ran when the move began is missing"


def test_a_move_that_fails_changes_nothing(cells: Cells, token_for: TokenFor, profile: str) -> None:
    with cells.client(token_for(profile)) as client:
        assert client.post("/rpc/add_todo", json={"text": "x"}).status_code == 200
        done = cells.move(profile, TO_DB_URI="postgresql://nobody@127.0.0.1:1/none")
        assert done.returncode == 1
        assert "no connection to the database" in done.stderr
        assert client.post("/rpc/add_todo", json={"text": "y"}).status_code == 200
    assert len(stored(cells.first, "todos", profile)) == 2
    key = quote(profile, safe="")
    assert key not in (cells.maps / "moving.map").read_text()
    assert key not in cells.proxy.admin(f"show map {cells.maps}/moving.map")


def test_a_profile_is_not_moved_from_a_cell_that_it_is_not_in(cells: Cells, profile: str) -> None:
    cells.put(profile, "cell2")
    done = cells.move(profile)
    assert done.returncode == 1
    assert "the profile is in cell2, not in api" in done.stderr


def test_a_profile_is_not_moved_to_a_cell_that_does_not_exist(cells: Cells, profile: str) -> None:
    done = cells.move(profile, to="cell9")
    assert done.returncode == 1
    assert "HAProxy has no backend cell9" in done.stderr


def test_the_old_rows_are_not_erased_if_something_was_written_past_the_proxy(
    cells: Cells, token_for: TokenFor, profile: str
) -> None:
    key = quote(profile, safe="")
    with (
        cells.client(token_for(profile)) as client,
        psycopg.connect(cells.first.db_uri) as past,
        ThreadPoolExecutor(1) as pool,
    ):
        assert client.post("/rpc/add_todo", json={"text": "x"}).status_code == 200
        # A change that is committed after the copy was compared, and before the erasure.
        past.execute(
            "insert into app.todos (profile_id, text) values (%s, 'past the proxy')", [profile]
        )
        past.execute("select app.lock_profile(%s)", [profile])
        move = pool.submit(cells.move, profile)
        routes = f"show map {cells.maps}/cells.map"
        wait_for(lambda: key in cells.proxy.admin(routes), "the profile was not moved")
        past.commit()
        done = move.result()
        assert done.returncode == 3, done.stderr
        assert "differs from" in done.stderr
        assert client.get("/todos?select=text").json() == [{"text": "x"}]
    assert len(stored(cells.first, "todos", profile)) == 2
    assert (cells.maps / f"{key}.jsonl").stat().st_mode & 0o777 == 0o600
