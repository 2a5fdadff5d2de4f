"""Acknowledged writes survive a restart and a crash, and every PostgREST server shows them."""

from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import pytest

from conftest import Stack, TokenFor, bring_up
from sessionbase import state
from sessionbase.doctor.authority import read_authority
from sessionbase.stack import manage
from sessionbase.stack.token import make_claims, sign
from support.concurrency import at_once
from support.crash import kill_postgresql
from support.servers import rest_server

VIEWS = [name for domain in read_authority().domains.values() for name in domain.views]


def open_client(rest_url: str, token: str) -> httpx.Client:
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.Client(base_url=rest_url, headers=headers, timeout=60, trust_env=False)


def client_of(data_dir: Path) -> httpx.Client:
    stack_config, secrets = state.require(data_dir)
    return open_client(stack_config.rest_url, sign(make_claims("durable"), secrets.jwt_secret))


def call(client: httpx.Client, function: str, **arguments: Any) -> Any:
    answer = client.post(f"/rpc/{function}", json=arguments)
    assert answer.status_code == 200, answer.text
    return answer.json()


def record_decision(client: httpx.Client, number: int) -> Any:
    return call(
        client,
        "record_hookify_decision",
        id=f"hook_{number}",
        session_id="s1",
        source="session",
        severity="low",
        blocked=True,
        rules=[{"id": "r", "severity": "low"}],
        content=f"content {number}",
    )


def fill(client: httpx.Client) -> None:
    """Store rows in every view, of finished and unfinished events."""
    for number in range(3):
        event = f"tool_{number}"
        call(
            client,
            "record_tool_event",
            session_id="s1",
            id=event,
            tool_name="t",
            arguments={"number": number},
        )
        if number:
            call(client, "transition_tool_event", id=event, to_status="succeeded", result=number)
        record_decision(client, number)
        todo = client.post("/todos", json={"text": f"todo {number}", "completed": number == 1})
        assert todo.status_code == 201
        call(
            client,
            "set_session_repo_binding",
            session_id=f"s{number}",
            asset_path="a",
            root_dir=f"/{number}",
        )
        call(client, "patch_ui_settings", patch={f"key{number}": number})
    candidates = [{"rule_id": f"r{number}", "title": "t", "summary": "s"} for number in range(3)]
    call(client, "ingest_misalignments", session_id="s1", candidates=candidates)
    call(
        client,
        "transition_misalignment",
        session_id="s1",
        id="mis-s1-r1",
        to_status="dismissed",
    )


def everything(client: httpx.Client) -> dict[str, Any]:
    """Return the rows of every view, sorted as text, because the views have no order."""
    found = {view: client.get(f"/{view}").json() for view in VIEWS}
    empty = [view for view, rows in found.items() if not rows]
    assert not empty, f"add calls that store rows of {', '.join(empty)} to `fill` in this file"
    return {view: sorted(map(str, rows)) for view, rows in found.items()}


def test_all_six_domains_are_unchanged_after_down_and_up(data_dir: Path) -> None:
    bring_up(data_dir)
    with client_of(data_dir) as client:
        fill(client)
        before = everything(client)
    assert manage.down(data_dir) == ["PostgREST", "PostgreSQL"]
    manage.up(data_dir)
    with client_of(data_dir) as client:
        assert everything(client) == before
        (chain,) = call(client, "verify_hookify_decisions")
        assert chain["valid"]
        assert record_decision(client, 3)["position"] == 4


def write_until_it_fails(write: Callable[[int], Any], enough: Event) -> list[int]:
    """Write 0, 1, 2 … until a write fails; return the numbers of the acknowledged writes."""
    answered: list[int] = []
    try:
        while True:
            write(len(answered))
            answered.append(len(answered))
            if len(answered) == 20:
                enough.set()
    except (AssertionError, httpx.HTTPError):
        return answered
    finally:
        enough.set()


def test_every_acknowledged_write_is_stored_after_postgresql_was_killed(data_dir: Path) -> None:
    bring_up(data_dir)
    with client_of(data_dir) as client:
        fill(client)
        before = everything(client)
        writers: list[Callable[[int], Any]] = [
            lambda number: record_decision(client, 1000 + number),
            lambda number: call(client, "patch_ui_settings", patch={f"crash{number}": number}),
            lambda number: call(
                client,
                "record_tool_event",
                session_id="crash",
                id=f"crash_{number}",
                tool_name="t",
                arguments={},
            ),
        ]
        enough = [Event() for _ in writers]

        def crash() -> list[int]:
            for event in enough:
                event.wait()
            kill_postgresql(data_dir)
            return []

        answered = at_once(
            [
                lambda write=write, event=event: write_until_it_fails(write, event)
                for write, event in zip(writers, enough, strict=True)
            ]
            + [crash]
        )
    decisions, patches, events, _ = map(set, answered)
    assert min(len(decisions), len(patches), len(events)) >= 20
    manage.up(data_dir)
    with client_of(data_dir) as client:
        after = everything(client)
        for view in set(VIEWS) - {"ui_settings"}:
            assert set(after[view]) >= set(before[view])
        recorded = {row["id"] for row in client.get("/hookify_decisions").json()}
        assert recorded >= {f"hook_{1000 + number}" for number in decisions}
        (settings,) = client.get("/ui_settings").json()
        assert settings["settings"].keys() >= {"key0", *(f"crash{number}" for number in patches)}
        stored = {row["id"] for row in client.get("/tool_events?session_id=eq.crash").json()}
        assert stored >= {f"crash_{number}" for number in events}
        (chain,) = call(client, "verify_hookify_decisions")
        assert (chain["valid"], chain["checked"]) == (True, len(recorded))


@pytest.fixture
def second_server(stack: Stack) -> Iterator[str]:
    """Yield the URL of another PostgREST on the test database."""
    with rest_server(stack.data_dir) as server:
        yield server.rest_url


def test_two_postgrest_servers_on_one_database_return_the_same_rows(
    client: httpx.Client, stack: Stack, second_server: str, token_for: TokenFor, profile: str
) -> None:
    with open_client(second_server, token_for(profile)) as other:
        fill(client)
        assert everything(other) == everything(client)


def test_a_write_through_one_server_is_immediately_visible_through_the_other(
    client: httpx.Client, second_server: str, token_for: TokenFor, profile: str
) -> None:
    with open_client(second_server, token_for(profile)) as other:
        fill(client)
        (todo, *_) = client.get("/todos").json()

        def write_and_read(writer: httpx.Client, reader: httpx.Client, name: str) -> None:
            for number in range(20):
                key, event = f"{name}{number}", f"tool_{name}_{number}"
                revision = call(writer, "patch_ui_settings", patch={key: number})["revision"]
                (settings,) = reader.get("/ui_settings").json()
                assert settings["settings"][key] == number
                assert settings["revision"] >= revision

                call(
                    writer,
                    "record_tool_event",
                    session_id=name,
                    id=event,
                    tool_name="t",
                    arguments={},
                )
                done = call(writer, "transition_tool_event", id=event, to_status="failed")
                assert reader.get(f"/tool_events?id=eq.{event}").json() == [done]
                repeat = call(reader, "transition_tool_event", id=event, to_status="failed")
                assert repeat == done

                row = call(
                    writer,
                    "set_session_repo_binding",
                    session_id=name,
                    asset_path="a",
                    root_dir=f"/{number}",
                )
                found = reader.get(f"/session_repo_bindings?session_id=eq.{name}").json()
                assert found == [row]

                call(writer, "toggle_todo", id=todo["id"])

        at_once(
            [
                lambda: write_and_read(client, other, "a"),
                lambda: write_and_read(other, client, "b"),
                lambda: write_and_read(client, other, "c"),
                lambda: write_and_read(other, client, "d"),
            ]
        )
        assert everything(other) == everything(client)
        (settings,) = other.get("/ui_settings").json()
        assert settings["revision"] == 3 + 80
        # An even number of toggles in all.
        (after,) = other.get(f"/todos?id=eq.{todo['id']}").json()
        assert after == todo
