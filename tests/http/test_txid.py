"""`?select=*,txid` returns the transaction id of a write, as in the replication stream."""

import uuid
from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx
import psycopg
import pytest

WHOLE = {"Prefer": "return=representation"}
EVENT = {"session_id": "s", "tool_name": "t", "arguments": {}, "id": "e", "tool_call_id": "c"}
FINISH = {"to_status": "succeeded"}
CANDIDATE = {"id": "m", "rule_id": "r", "title": "t", "summary": "s"}
FOUND = {"session_id": "s", "candidates": [CANDIDATE]}
MORE = {"session_id": "s", "candidates": [CANDIDATE, {**CANDIDATE, "id": "n"}]}
DISMISS = {"session_id": "s", "id": "m", "to_status": "dismissed"}
TODO = {"id": "00000000-0000-4000-8000-000000000001", "text": "t"}
BINDING = {"session_id": "s", "asset_path": "a", "root_dir": "/"}
DECISION = {
    "id": "h",
    "session_id": "s",
    "source": "manual",
    "severity": "low",
    "blocked": False,
    "rules": [],
    "content": "c",
}


class Write(NamedTuple):
    """One request."""

    method: str
    path: str
    body: dict[str, Any] | None = None


def rpc(function: str, body: dict[str, Any]) -> Write:
    return Write("POST", f"/rpc/{function}", body)


WRITES = {
    "tool_events": [
        rpc("record_tool_event", {**EVENT, "status": "pending"}),
        rpc("transition_tool_event", {"id": "e", "to_status": "executing"}),
        rpc("transition_tool_event_by_call", {"tool_call_id": "c", **FINISH}),
    ],
    "misalignments": [
        rpc("ingest_misalignments", FOUND),
        rpc("transition_misalignment", DISMISS),
        rpc("ingest_misalignments", {**FOUND, "candidates": [{**CANDIDATE, "title": "u"}]}),
    ],
    "todos": [
        Write("POST", "/todos", TODO),
        Write("PATCH", f"/todos?id=eq.{TODO['id']}", {"completed": True}),
        # A repeated PATCH writes too; the retries of the TypeScript client rely on it.
        Write("PATCH", f"/todos?id=eq.{TODO['id']}", {"completed": True}),
        rpc("toggle_todo", {"id": TODO["id"]}),
        rpc("delete_todo", {"id": TODO["id"]}),
    ],
    "session_repo_bindings": [
        rpc("set_session_repo_binding", BINDING),
        rpc("set_session_repo_binding", BINDING),
        Write("DELETE", "/session_repo_bindings?session_id=eq.s"),
    ],
    "ui_settings": [
        rpc("save_ui_settings", {"settings": {"a": 1}}),
        rpc("save_ui_settings", {"settings": {"a": 1}}),
        rpc("patch_ui_settings", {"patch": {}}),
    ],
}

REPEATS = {
    "record_tool_event": [rpc("record_tool_event", EVENT)],
    "transition_tool_event": [
        rpc("record_tool_event", EVENT),
        rpc("transition_tool_event", {"id": "e", **FINISH}),
    ],
    "transition_tool_event_by_call": [
        rpc("record_tool_event", EVENT),
        rpc("transition_tool_event_by_call", {"tool_call_id": "c", **FINISH}),
    ],
    "ingest_misalignments": [rpc("ingest_misalignments", FOUND)],
    "record_hookify_decision": [rpc("record_hookify_decision", DECISION)],
}


def transactions(client: httpx.Client, write: Write) -> list[str | None]:
    """Make a request; return the txid of each row of the response."""
    answer = client.request(
        write.method, write.path, params={"select": "*,txid"}, json=write.body, headers=WHOLE
    )
    assert answer.status_code in {200, 201}, answer.text
    rows = answer.json() if isinstance(answer.json(), list) else [answer.json()]
    assert rows
    return [row["txid"] for row in rows]


@pytest.fixture
def slot(db: psycopg.Connection[Any]) -> Iterator[str]:
    """Yield a replication slot that receives the writes from now on."""
    name = f"txid_{uuid.uuid4().hex}"
    db.execute("select pg_create_logical_replication_slot(%s, 'test_decoding', true)", [name])
    yield name
    db.execute("select pg_drop_replication_slot(%s)", [name])


def test_every_table_that_can_be_replicated_has_writes_in_this_file(
    db: psycopg.Connection[Any],
) -> None:
    replicated = db.execute(
        "select tablename from pg_policies where schemaname = 'app'"
        " and roles = '{sessionbase_replicator}'"
    ).fetchall()
    assert {table for (table,) in replicated} == set(WRITES), (
        "add the writes of each table that has a policy for sessionbase_replicator to WRITES in "
        "tests/http/test_txid.py, and remove other tables"
    )


@pytest.mark.contrib
@pytest.mark.parametrize("table", WRITES)
def test_the_txid_of_a_write_is_the_one_in_the_replication_stream(
    client: httpx.Client, db: psycopg.Connection[Any], profile: str, slot: str, table: str
) -> None:
    found = [txid for write in WRITES[table] for txid in transactions(client, write)]
    # Other tests write at the same time, so select the changes of this profile.
    streamed = db.execute(
        "select xid::text from pg_logical_slot_get_changes(%s, null, null)"
        " where data like %s and data like %s",
        [slot, f"table app.{table}: %", f"%'{profile}'%"],
    ).fetchall()
    assert found == [xid for (xid,) in streamed]
    assert len(set(found)) == len(WRITES[table])


@pytest.mark.contrib
@pytest.mark.parametrize("function", REPEATS)
def test_a_repeated_call_that_writes_nothing_returns_no_txid(
    client: httpx.Client, db: psycopg.Connection[Any], profile: str, slot: str, function: str
) -> None:
    for write in REPEATS[function]:
        (first,) = transactions(client, write)
        assert first is not None
    db.execute("select count(*) from pg_logical_slot_get_changes(%s, null, null)", [slot])
    assert transactions(client, REPEATS[function][-1]) == [None]
    streamed = db.execute(
        "select data from pg_logical_slot_get_changes(%s, null, null) where data like %s",
        [slot, f"%'{profile}'%"],
    ).fetchall()
    assert streamed == []


def test_a_batch_that_changes_one_record_returns_the_txid_for_all(
    client: httpx.Client,
) -> None:
    transactions(client, rpc("ingest_misalignments", FOUND))
    found = transactions(client, rpc("ingest_misalignments", MORE))
    assert len(found) == 2
    assert len(set(found)) == 1
    assert None not in found


def test_a_read_returns_no_txid(client: httpx.Client) -> None:
    transactions(client, Write("POST", "/todos", TODO))
    assert transactions(client, Write("GET", "/todos")) == [None]
