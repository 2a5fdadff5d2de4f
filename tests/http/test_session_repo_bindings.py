"""Session-to-repository bindings over HTTP: each session has at most one."""

import json
from typing import Any

import httpx
import pytest

from conftest import ClientFor
from support.concurrency import at_once

WHOLE = {"Prefer": "return=representation"}


def bind(
    client: httpx.Client, session: str | None = "s1", path: str | None = "a.md", root: str = "/repo"
) -> httpx.Response:
    arguments = {"session_id": session, "asset_path": path, "root_dir": root}
    return client.post("/rpc/set_session_repo_binding", json=arguments)


def listed(client: httpx.Client) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = client.get("/session_repo_bindings?order=session_id").json()
    return rows


def test_a_binding_that_was_set_is_returned_and_listed(client: httpx.Client) -> None:
    answer = bind(client)
    assert answer.status_code == 200, answer.text
    made = answer.json()
    columns = {"session_id", "asset_path", "root_dir", "updated_at"}
    assert set(made) == columns, "list here the columns that were added or removed"
    assert (made["session_id"], made["asset_path"], made["root_dir"]) == ("s1", "a.md", "/repo")
    assert client.get("/session_repo_bindings?session_id=eq.s1").json() == [made]


def test_a_session_without_a_binding_has_an_empty_list(client: httpx.Client) -> None:
    assert client.get("/session_repo_bindings?session_id=eq.s1").json() == []


def test_setting_replaces_the_binding_of_that_session_only(client: httpx.Client) -> None:
    bind(client)
    other = bind(client, "s2").json()
    made = bind(client, path="b.md", root="/elsewhere").json()
    assert (made["asset_path"], made["root_dir"]) == ("b.md", "/elsewhere")
    assert listed(client) == [made, other]


def test_every_set_increases_updated_at(client: httpx.Client) -> None:
    times = [bind(client).json()["updated_at"] for _ in range(5)]
    assert times == sorted(set(times))


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"session": ""}, "session_id"),
        ({"session": None}, "session_id"),
        ({"session": "s" * 513}, "session_id"),
        ({"path": ""}, "asset_path"),
        ({"path": None}, "asset_path"),
        ({"root": ""}, "root_dir"),
        ({"root": None}, "root_dir"),
        ({"root": "/" * 4097}, "root_dir"),
    ],
)
def test_an_invalid_value_is_refused_with_its_field(
    client: httpx.Client, arguments: dict[str, Any], field: str
) -> None:
    before = bind(client).json()
    answer = bind(client, **arguments)
    assert answer.status_code == 400
    assert answer.json()["code"] == "invalid_argument"
    assert json.loads(answer.json()["details"]) == {"field": field}
    assert listed(client) == [before]


def test_clearing_removes_one_binding_and_can_be_repeated(client: httpx.Client) -> None:
    first, second = bind(client).json(), bind(client, "s2").json()
    one = "/session_repo_bindings?session_id=eq.s1"
    assert client.delete(one, headers=WHOLE).json() == [first]
    assert listed(client) == [second]
    assert client.delete(one).status_code == 204


def test_a_clear_without_a_filter_removes_nothing(client: httpx.Client) -> None:
    made = [bind(client).json(), bind(client, "s2").json()]
    answer = client.delete("/session_repo_bindings")
    assert answer.status_code == 400
    assert answer.json()["code"] == "invalid_argument"
    assert listed(client) == made


def test_concurrent_sets_and_clears_succeed_and_leave_at_most_one_binding(
    client: httpx.Client,
) -> None:
    one = "/session_repo_bindings?session_id=eq.s1"
    answers = at_once(
        [lambda number=number: bind(client, root=f"/{number}") for number in range(16)]
        + [lambda: client.delete(one)] * 8
    )
    assert {answer.status_code for answer in answers[:16]} == {200}
    assert {answer.status_code for answer in answers[16:]} == {204}
    for number, answer in enumerate(answers[:16]):
        assert answer.json()["root_dir"] == f"/{number}"
    assert len(listed(client)) <= 1


@pytest.mark.parametrize("verb", ["POST", "PATCH"])
def test_the_view_cannot_be_written_with_post_or_patch(client: httpx.Client, verb: str) -> None:
    made = bind(client).json()
    body = {"session_id": "s1", "asset_path": "x", "root_dir": "x"}
    answer = client.request(verb, "/session_repo_bindings?session_id=eq.s1", json=body)
    assert answer.status_code == 403
    assert listed(client) == [made]


def test_another_profile_cannot_access_the_rows(
    client: httpx.Client, client_for: ClientFor, profile: str
) -> None:
    mine = bind(client).json()
    other = client_for(f"{profile}-other")
    assert listed(other) == []
    assert other.delete("/session_repo_bindings?session_id=eq.s1", headers=WHOLE).json() == []
    theirs = bind(other, root="/theirs").json()
    assert listed(other) == [theirs]
    assert listed(client) == [mine]
    other.delete("/session_repo_bindings?session_id=eq.s1")
    assert listed(client) == [mine]


def test_a_guest_and_an_auditor_are_refused(
    client: httpx.Client, guest: httpx.Client, client_for: ClientFor, profile: str
) -> None:
    made = bind(client).json()
    for caller, status in ((guest, 401), (client_for(profile, "auditor"), 403)):
        assert caller.get("/session_repo_bindings").status_code == status
        assert bind(caller).status_code == status
        assert caller.delete("/session_repo_bindings?session_id=eq.s1").status_code == status
    assert listed(client) == [made]
