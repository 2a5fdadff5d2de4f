"""The context of a session over HTTP: its rows and counts, in one snapshot."""

from threading import Event
from typing import Any

import httpx
import psycopg

from conftest import ClientFor
from support.concurrency import at_once


def call(client: httpx.Client, function: str, **arguments: Any) -> Any:
    answer = client.post(f"/rpc/{function}", json=arguments)
    assert answer.status_code == 200, answer.text
    return answer.json()


def context_of(client: httpx.Client, session: str = "s1") -> dict[str, Any]:
    answer = client.get("/rpc/session_context", params={"session_id": session})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def fill(client: httpx.Client, session: str) -> None:
    call(
        client, "set_session_repo_binding", session_id=session, asset_path="a.md", root_dir="/repo"
    )
    rules = [("r1", "open"), ("r2", "dismissed"), ("r3", "acknowledged"), ("r4", "open")]
    call(
        client,
        "ingest_misalignments",
        session_id=session,
        candidates=[
            {"rule_id": rule, "title": rule, "summary": "s", "status": status}
            for rule, status in rules
        ],
    )
    for name, status in (("e1", "executing"), ("e2", "pending"), ("e3", "executing")):
        call(
            client,
            "record_tool_event",
            session_id=session,
            id=f"{session}-{name}",
            tool_name="t",
            arguments={},
            status=status,
        )
    call(client, "transition_tool_event", id=f"{session}-e1", to_status="failed", error="no")
    for blocked in (True, False, False):
        call(
            client,
            "record_hookify_decision",
            session_id=session,
            source="session",
            severity="low",
            blocked=blocked,
            rules=[],
            content="x",
        )


def test_the_context_of_an_unknown_session_is_empty(client: httpx.Client) -> None:
    assert context_of(client) == {
        "session_id": "s1",
        "binding": None,
        "misalignments": [],
        "unfinished_tool_events": [],
        "counts": {
            "tool_events": {"pending": 0, "executing": 0, "succeeded": 0, "failed": 0},
            "misalignments": {"open": 0, "acknowledged": 0, "dismissed": 0},
            "hookify_decisions": {"blocked": 0, "allowed": 0},
        },
    }


def test_the_context_has_the_lists_and_the_counts_of_the_session(client: httpx.Client) -> None:
    fill(client, "s1")
    fill(client, "s2")
    found = context_of(client)
    assert found["counts"] == {
        "tool_events": {"pending": 1, "executing": 1, "succeeded": 0, "failed": 1},
        "misalignments": {"open": 2, "acknowledged": 1, "dismissed": 1},
        "hookify_decisions": {"blocked": 1, "allowed": 2},
    }
    lists = {
        "binding": "/session_repo_bindings?session_id=eq.s1",
        "misalignments": (
            "/misalignments?session_id=eq.s1&status=neq.dismissed&order=created_at,id"
        ),
        "unfinished_tool_events": (
            "/tool_events?session_id=eq.s1&status=in.(pending,executing)&order=started_at,id"
        ),
    }
    # The rows are the same as in the lists, also the format of the times.
    for part, path in lists.items():
        rows = client.get(path).json()
        assert rows
        assert found[part] == (rows[0] if part == "binding" else rows)
    assert [row["rule_id"] for row in found["misalignments"]] == ["r1", "r3", "r4"]
    assert [row["id"] for row in found["unfinished_tool_events"]] == ["s1-e2", "s1-e3"]


def test_get_and_post_return_the_same_context(client: httpx.Client) -> None:
    fill(client, "s1")
    assert call(client, "session_context", session_id="s1") == context_of(client)


def test_the_context_never_shows_a_part_of_a_transaction(
    client: httpx.Client, db: psycopg.Connection[Any], profile: str
) -> None:
    fill(client, "s1")
    written = Event()

    def write() -> None:
        try:
            for number in range(200):
                with db.transaction():
                    db.execute(
                        "update app.misalignments set title = %s where profile_id = %s",
                        [str(number), profile],
                    )
                    db.execute(
                        "update app.session_repo_bindings set root_dir = %s where profile_id = %s",
                        [str(number), profile],
                    )
        finally:
            written.set()

    seen: set[str] = set()

    def read() -> None:
        while not written.is_set():
            found = context_of(client)
            root = found["binding"]["root_dir"]
            if root != "/repo":
                assert {row["title"] for row in found["misalignments"]} == {root}
                seen.add(root)

    at_once([write, read, read])
    assert len(seen) > 1


def test_the_context_has_only_rows_of_the_profile(
    client: httpx.Client, client_for: ClientFor, profile: str
) -> None:
    other = client_for(f"{profile}-other")
    empty = context_of(other)
    fill(client, "s1")
    before = context_of(client)
    assert context_of(other) == empty
    fill(other, "s1")
    assert context_of(client) == before


def test_a_guest_and_an_auditor_are_refused(
    guest: httpx.Client, client_for: ClientFor, profile: str
) -> None:
    for caller, status in ((guest, 401), (client_for(profile, "auditor"), 403)):
        answer = caller.get("/rpc/session_context", params={"session_id": "s1"})
        assert answer.status_code == status
