"""Tool events over HTTP: they are recorded, listed and finished once."""

import json
import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any

import httpx
import psycopg
import pytest

from conftest import ClientFor
from support.concurrency import at_once
from support.refusals import refused

EVENT = {"session_id": "s1", "tool_name": "get_timeline_event", "arguments": {"index": 3}}
CONTEXT = [{"eventIndex": 3, "displayIndex": 4, "eventType": "message", "summary": "hello"}]
OTHER_CONTEXT = [{**CONTEXT[0], "eventId": "e-9", "summary": "later"}]


def record(client: httpx.Client, **fields: Any) -> httpx.Response:
    return client.post("/rpc/record_tool_event", json={**EVENT, **fields})


def recorded(client: httpx.Client, **fields: Any) -> dict[str, Any]:
    answer = record(client, **fields)
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()
    return made


def transition(client: httpx.Client, event: str, to: str | None, **fields: Any) -> httpx.Response:
    body = {"id": event, "to_status": to, **fields}
    return client.post("/rpc/transition_tool_event", json=body)


def transition_by_call(client: httpx.Client, call: str, to: str, **fields: Any) -> httpx.Response:
    body = {"tool_call_id": call, "to_status": to, **fields}
    return client.post("/rpc/transition_tool_event_by_call", json=body)


def stored(client: httpx.Client, event: str) -> dict[str, Any]:
    rows = client.get("/tool_events", params={"id": f"eq.{event}"}).json()
    assert len(rows) == 1
    row: dict[str, Any] = rows[0]
    return row


def log_of(client: httpx.Client, event: str) -> list[tuple[str | None, str]]:
    params = {"tool_event_id": f"eq.{event}", "order": "changed_at"}
    rows = client.get("/tool_event_transitions", params=params).json()
    return [(row["from_status"], row["to_status"]) for row in rows]


def listed(client: httpx.Client, session: str = "s1") -> list[dict[str, Any]]:
    params = {"session_id": f"eq.{session}", "order": "started_at,id"}
    answer = client.get("/tool_events", params=params)
    assert answer.status_code == 200, answer.text
    rows: list[dict[str, Any]] = answer.json()
    return rows


# ---- Recording


def test_a_recorded_event_is_returned_with_the_generated_columns(
    client: httpx.Client,
) -> None:
    made = recorded(client)
    assert made["id"].startswith("tool_")
    assert uuid.UUID(made["id"].removeprefix("tool_")).version == 7
    assert datetime.fromisoformat(made["started_at"]).tzinfo is not None
    absent = ("thread_id", "tool_call_id", "result", "error", "context_events", "completed_at")
    assert made == {
        **EVENT,
        **dict.fromkeys(absent),
        "id": made["id"],
        "status": "executing",
        "started_at": made["started_at"],
        "latency_ms": None,
    }
    assert listed(client) == [made]
    assert log_of(client, made["id"]) == [(None, "executing")]


def test_every_value_is_stored_unchanged(client: httpx.Client) -> None:
    given = {
        "id": "tool_1",
        "session_id": "s & 'q' \"d\" ü 🙂",
        "thread_id": "thread",
        "tool_call_id": "718460984",
        "tool_name": "list_timeline_events",
        "status": "pending",
        "arguments": {"nested": [1, 2.5, "x\n", None, {"ü": True}], "empty": {}},
        "context_events": CONTEXT,
    }
    made = recorded(client, **given)
    assert {name: made[name] for name in given} == given


@pytest.mark.parametrize("value", [None, True, 0, -1.5, "", "text", [], [[None]], {}, {"a": None}])
def test_arguments_and_results_can_be_any_json(client: httpx.Client, value: Any) -> None:
    made = recorded(client, arguments=value)
    assert made["arguments"] == value
    # A repeated call with the same value returns the event, also if the value is null.
    assert recorded(client, id=made["id"], arguments=value) == made
    assert transition(client, made["id"], "succeeded", result=value).json()["result"] == value
    row = stored(client, made["id"])
    assert (row["arguments"], row["result"]) == (value, value)


def test_the_events_of_a_session_are_listed_oldest_first(
    client: httpx.Client, db: psycopg.Connection[Any]
) -> None:
    made = [recorded(client, id=f"tool_{name}")["id"] for name in ("c", "a", "b")]
    recorded(client, session_id="another")
    assert [row["id"] for row in listed(client)] == made
    assert [row["session_id"] for row in listed(client, "another")] == ["another"]
    assert listed(client, "unknown") == []
    # Events with the same start are ordered by id.
    db.execute(
        "update app.tool_events set started_at = '2026-01-01' where id = any (%s) and profile_id ="
        " (select profile_id from app.tool_events order by started_at desc limit 1)",
        [made],
    )
    together = [row for row in listed(client) if row["started_at"].startswith("2026-01-01")]
    assert [row["id"] for row in together] == sorted(row["id"] for row in together)


def test_a_repeated_record_returns_the_stored_event(client: httpx.Client) -> None:
    made = recorded(client, id="tool_1", context_events=CONTEXT)
    assert recorded(client, id="tool_1", context_events=CONTEXT) == made
    # The same object with its keys in another order is the same content.
    assert recorded(client, id="tool_2", arguments={"a": 1, "b": 2})["id"] == "tool_2"
    assert recorded(client, id="tool_2", arguments={"b": 2, "a": 1})["id"] == "tool_2"
    assert log_of(client, "tool_1") == [(None, "executing")]
    assert len(listed(client)) == 2


def test_a_repeated_record_does_not_change_a_finished_event(
    client: httpx.Client,
) -> None:
    recorded(client, id="tool_1")
    done = transition(client, "tool_1", "succeeded", result=1, context_events=CONTEXT).json()
    assert recorded(client, id="tool_1") == done
    assert stored(client, "tool_1") == done


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("session_id", "s2"),
        ("thread_id", "thread"),
        ("tool_call_id", "call"),
        ("tool_name", "other"),
        ("arguments", None),
        ("status", "pending"),
        ("context_events", CONTEXT),
    ],
)
def test_a_stored_id_with_other_content_is_refused_with_the_differing_field(
    client: httpx.Client, name: str, value: Any
) -> None:
    made = recorded(client, id="tool_1")
    details = refused(
        record(client, id="tool_1", **{name: value}),
        409,
        "id_taken",
        "Tool event tool_1 is already recorded with other content",
    )
    assert details == {"id": "tool_1", "differs": [name]}
    assert listed(client) == [made]


# ---- Finishing


@pytest.mark.parametrize(
    ("path", "outcome"),
    [
        (["pending"], None),
        (["pending", "executing"], None),
        (["pending", "executing", "succeeded"], {"result": {"ok": 1}}),
        (["pending", "succeeded"], {"result": {"ok": 1}}),
        (["pending", "failed"], {"error": "it broke"}),
        (["executing", "succeeded"], {"result": {"ok": 1}}),
        (["executing", "failed"], {"error": "it broke", "result": {"partly": True}}),
    ],
)
def test_every_legal_sequence_of_statuses_is_logged_and_timed(
    client: httpx.Client, profile: str, path: list[str], outcome: dict[str, Any] | None
) -> None:
    row = recorded(client, id="tool_1", status=path[0])
    for number, to in enumerate(path[1:], start=2):
        last = number == len(path)
        answer = transition(client, "tool_1", to, **((last and outcome) or {}))
        assert answer.status_code == 200, answer.text
        row = answer.json()
    assert row["status"] == path[-1]
    assert {name: row[name] for name in outcome or {}} == (outcome or {})
    assert (row["completed_at"] is not None) is (outcome is not None)
    if outcome:
        took = datetime.fromisoformat(row["completed_at"]) - datetime.fromisoformat(
            row["started_at"]
        )
        assert abs(row["latency_ms"] - took.total_seconds() * 1000) <= 0.5
    assert stored(client, "tool_1") == row
    assert log_of(client, "tool_1") == list(zip([None, *path[:-1]], path, strict=True))
    who = client.get("/tool_event_transitions", params={"select": "profile_id,changed_by"}).json()
    assert who == [{"profile_id": profile, "changed_by": profile}] * len(path)


def test_a_second_completion_changes_nothing(client: httpx.Client) -> None:
    """The app finishes an event twice: by id, and by call id when it reads the stream."""
    recorded(client, id="tool_1", tool_call_id="718460984")
    first = transition(
        client, "tool_1", "succeeded", result={"n": 1}, context_events=CONTEXT
    ).json()
    again = transition_by_call(client, "718460984", "succeeded", result={"n": 1})
    assert (again.status_code, again.json()) == (200, [first])
    other = transition(client, "tool_1", "succeeded", result={"n": 2}, context_events=OTHER_CONTEXT)
    assert (other.status_code, other.json()) == (200, first)
    assert stored(client, "tool_1") == first
    assert log_of(client, "tool_1") == [(None, "executing"), ("executing", "succeeded")]


def test_a_completion_by_id_after_one_by_call_id_changes_nothing(client: httpx.Client) -> None:
    recorded(client, id="tool_1", tool_call_id="call")
    first = transition_by_call(client, "call", "failed", error="first").json()
    again = transition(client, "tool_1", "failed", error="second", context_events=CONTEXT)
    assert [again.json()] == first
    assert stored(client, "tool_1")["error"] == "first"


@pytest.mark.parametrize(("first", "second"), [("succeeded", "failed"), ("failed", "succeeded")])
@pytest.mark.parametrize("late", ["failed", "succeeded", "executing", "pending"])
def test_a_finished_event_refuses_every_other_status(
    client: httpx.Client, first: str, second: str, late: str
) -> None:
    recorded(client, id="tool_1", tool_call_id="call")
    done = transition(client, "tool_1", first).json()
    if late == first:
        late = second
    for answer in (
        transition(client, "tool_1", late),
        transition(client, "tool_1", late, result=1, error="e", expected_status="executing"),
        transition_by_call(client, "call", late),
    ):
        details = refused(
            answer, 409, "already_finished", f"Tool event tool_1 has already finished as {first}"
        )
        assert details == {"from": first, "to": late, "status": first}
    assert stored(client, "tool_1") == done


def test_an_update_without_context_events_keeps_the_stored_ones(client: httpx.Client) -> None:
    recorded(client, id="tool_1", status="pending", context_events=CONTEXT)
    assert transition(client, "tool_1", "executing").json()["context_events"] == CONTEXT
    done = transition(client, "tool_1", "succeeded", context_events=None, result=1).json()
    assert done["context_events"] == CONTEXT


def test_context_events_of_an_update_replace_the_stored_ones(client: httpx.Client) -> None:
    recorded(client, id="tool_1", status="pending", context_events=CONTEXT)
    moved = transition(client, "tool_1", "executing", context_events=OTHER_CONTEXT).json()
    assert moved["context_events"] == OTHER_CONTEXT
    done = transition(client, "tool_1", "succeeded", context_events=[]).json()
    assert done["context_events"] == []


def test_a_transition_to_the_same_unfinished_status_changes_nothing(client: httpx.Client) -> None:
    made = recorded(client, id="tool_1")
    again = transition(client, "tool_1", "executing")
    assert (again.status_code, again.json()) == (200, made)
    assert log_of(client, "tool_1") == [(None, "executing")]


def test_an_executing_event_cannot_go_back_to_pending(client: httpx.Client) -> None:
    made = recorded(client, id="tool_1")
    details = refused(
        transition(client, "tool_1", "pending"),
        409,
        "illegal_transition",
        "Cannot transition tool event from executing to pending",
    )
    assert details == {"from": "executing", "to": "pending"}
    assert stored(client, "tool_1") == made


def test_an_expected_status_that_is_not_the_stored_one_is_refused(client: httpx.Client) -> None:
    made = recorded(client, id="tool_1", tool_call_id="call")
    for answer in (
        transition(client, "tool_1", "succeeded", expected_status="pending"),
        transition_by_call(client, "call", "succeeded", expected_status="pending"),
    ):
        details = refused(answer, 409, "illegal_transition", "Tool event is executing, not pending")
        assert details == {"from": "executing", "to": "succeeded", "expected": "pending"}
    assert stored(client, "tool_1") == made
    done = transition(client, "tool_1", "succeeded", expected_status="executing")
    assert done.status_code == 200, done.text


def test_a_retry_with_an_expected_status_returns_the_stored_event(client: httpx.Client) -> None:
    recorded(client, id="tool_1")
    done = transition(client, "tool_1", "succeeded", expected_status="executing").json()
    again = transition(client, "tool_1", "succeeded", expected_status="executing")
    assert (again.status_code, again.json()) == (200, done)


# ---- By call id


def test_a_call_id_without_an_event_returns_an_empty_array(client: httpx.Client) -> None:
    recorded(client, tool_call_id="call")
    recorded(client)
    for answer in (
        transition_by_call(client, "unknown", "succeeded"),
        transition_by_call(client, "call", "succeeded", session_id="another"),
    ):
        assert (answer.status_code, answer.json()) == (200, [])
    assert {row["status"] for row in listed(client)} == {"executing"}


def test_a_call_id_selects_the_newest_unfinished_event_and_then_the_newest(
    client: httpx.Client,
) -> None:
    for name in ("oldest", "middle", "newest"):
        recorded(client, id=name, tool_call_id="call")
    transition(client, "newest", "failed")
    # The newest of the unfinished events.
    for name in ("middle", "oldest"):
        answer = transition_by_call(client, "call", "succeeded", result=name).json()
        assert [(row["id"], row["result"]) for row in answer] == [(name, name)]
    # All are finished: the newest event.
    assert [row["id"] for row in transition_by_call(client, "call", "failed").json()] == ["newest"]
    refused(
        transition_by_call(client, "call", "succeeded"),
        409,
        "already_finished",
        "Tool event newest has already finished as failed",
    )
    assert [row["status"] for row in listed(client)] == ["succeeded", "succeeded", "failed"]


def test_the_search_by_call_id_can_be_limited_to_a_session(client: httpx.Client) -> None:
    recorded(client, id="here", tool_call_id="call")
    recorded(client, id="newer", tool_call_id="call", session_id="s2")
    answer = transition_by_call(client, "call", "succeeded", session_id="s1").json()
    assert [row["id"] for row in answer] == ["here"]
    assert stored(client, "newer")["status"] == "executing"


def test_a_transition_by_call_id_has_the_same_rules_as_by_id(client: httpx.Client) -> None:
    recorded(client, id="tool_1", tool_call_id="call", status="pending")
    moved = transition_by_call(client, "call", "executing", context_events=CONTEXT).json()
    assert moved[0]["context_events"] == CONTEXT
    refused(
        transition_by_call(client, "call", "pending"),
        409,
        "illegal_transition",
        "Cannot transition tool event from executing to pending",
    )
    refused(
        transition_by_call(client, "call", "done"),
        400,
        "invalid_argument",
        "status must be pending, executing, succeeded or failed",
    )
    done = transition_by_call(client, "call", "failed", error="e", result=[1]).json()
    assert (done[0]["error"], done[0]["result"]) == ("e", [1])
    assert done == [stored(client, "tool_1")]


# ---- Errors


def test_an_unknown_id_is_refused_with_the_message_of_the_app(client: httpx.Client) -> None:
    details = refused(
        transition(client, "tool_x", "failed"), 404, "not_found", "Tool event tool_x not found"
    )
    assert details == {"id": "tool_x"}


def test_a_line_break_in_an_id_adds_no_response_header(client: httpx.Client) -> None:
    name = "tool_x\r\nSet-Cookie: a=b"
    answer = transition(client, name, "failed")
    assert refused(answer, 404, "not_found", f"Tool event {name} not found") == {"id": name}
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("status", ["succeeded", "failed", "done", "", "Executing"])
def test_an_event_is_recorded_as_pending_or_executing_only(
    client: httpx.Client, status: str
) -> None:
    details = refused(
        record(client, status=status),
        400,
        "invalid_argument",
        "status must be pending or executing",
    )
    assert details == {"field": "status", "status": status}
    assert listed(client) == []


@pytest.mark.parametrize("before", ["pending", "executing", "succeeded", "failed"])
@pytest.mark.parametrize("status", ["done", "", "Succeeded", " succeeded"])
def test_an_unknown_status_is_refused_for_every_stored_status(
    client: httpx.Client, before: str, status: str
) -> None:
    recorded(client, id="tool_1", status="pending")
    transition(client, "tool_1", before)
    row = stored(client, "tool_1")
    for outcome in ({}, {"result": 1, "error": "e"}):
        details = refused(
            transition(client, "tool_1", status, **outcome),
            400,
            "invalid_argument",
            "status must be pending, executing, succeeded or failed",
        )
        assert details == {"field": "to_status"}
    assert stored(client, "tool_1") == row


@pytest.mark.parametrize("before", ["executing", "succeeded"])
def test_a_missing_status_is_refused(client: httpx.Client, before: str) -> None:
    recorded(client, id="tool_1")
    transition(client, "tool_1", before)
    details = refused(
        transition(client, "tool_1", None),
        400,
        "invalid_argument",
        "to_status is required",
    )
    assert details == {"field": "to_status"}


def test_an_unknown_status_is_refused_also_if_no_event_matches(client: httpx.Client) -> None:
    for answer in (
        transition(client, "unknown", "finished"),
        client.post(
            "/rpc/transition_tool_event_by_call",
            json={"tool_call_id": "unknown", "to_status": "finished"},
        ),
    ):
        assert refused(
            answer,
            400,
            "invalid_argument",
            "status must be pending, executing, succeeded or failed",
        ) == {"field": "to_status"}


def test_a_repeated_record_is_accepted_after_a_transition_added_context_events(
    client: httpx.Client,
) -> None:
    first = recorded(client, id="tool_1")
    context = [{"eventIndex": 1, "displayIndex": 1, "eventType": "message", "summary": "s"}]
    assert transition(client, "tool_1", "executing", context_events=context).status_code == 200
    again = recorded(client, id="tool_1")
    assert again == {**first, "context_events": context}


def test_a_repeated_record_with_other_context_events_is_refused(
    client: httpx.Client,
) -> None:
    first = recorded(client, id="tool_1")
    context = [{"eventIndex": 1, "displayIndex": 1, "eventType": "message", "summary": "s"}]
    same = {
        key: first[key] for key in ("id", "session_id", "tool_name", "arguments", "tool_call_id")
    }
    answer = client.post("/rpc/record_tool_event", json={**same, "context_events": context})
    details = refused(
        answer, 409, "id_taken", "Tool event tool_1 is already recorded with other content"
    )
    assert details["differs"] == ["context_events"]


MIB = 1024 * 1024
BAD_CONTEXT: list[Any] = [{}, "text", 1, [1], [[]], [{}], [{**CONTEXT[0], "eventIndex": "3"}]]


@pytest.mark.parametrize(
    ("fields", "message", "field"),
    [
        ({"session_id": None}, "session_id is required", "session_id"),
        ({"tool_name": None}, "tool_name is required", "tool_name"),
        ({"session_id": ""}, "session_id must have 1 to 512 bytes", "session_id"),
        ({"session_id": "x" * 513}, "session_id must have 1 to 512 bytes", "session_id"),
        ({"tool_name": ""}, "tool_name must have 1 to 200 bytes", "tool_name"),
        ({"id": ""}, "id must have 1 to 200 bytes", "id"),
        ({"id": "ü" * 101}, "id must have 1 to 200 bytes", "id"),
        ({"thread_id": ""}, "thread_id must have 1 to 512 bytes", "thread_id"),
        ({"tool_call_id": "x" * 513}, "tool_call_id must have 1 to 512 bytes", "tool_call_id"),
        *(
            (
                {"context_events": wrong},
                "context_events must be an array of"
                " {eventIndex, displayIndex, eventId?, eventType, summary}",
                "context_events",
            )
            for wrong in BAD_CONTEXT
        ),
    ],
)
def test_an_invalid_value_is_refused_with_its_field(
    client: httpx.Client, fields: dict[str, Any], message: str, field: str
) -> None:
    assert refused(record(client, **fields), 400, "invalid_argument", message) == {"field": field}
    assert listed(client) == []


@pytest.mark.parametrize(
    ("to", "fields", "message", "field"),
    [
        (
            "executing",
            {"result": 1},
            "result is only for an event that succeeded or failed",
            "result",
        ),
        ("executing", {"error": "e"}, "error is only for an event that failed", "error"),
        ("succeeded", {"error": "e"}, "error is only for an event that failed", "error"),
        (
            "succeeded",
            {"context_events": [None]},
            "context_events must be an array of"
            " {eventIndex, displayIndex, eventId?, eventType, summary}",
            "context_events",
        ),
    ],
)
def test_a_result_or_error_that_does_not_match_the_status_is_refused(
    client: httpx.Client, to: str, fields: dict[str, Any], message: str, field: str
) -> None:
    made = recorded(client, id="tool_1", status="pending")
    details = refused(transition(client, "tool_1", to, **fields), 400, "invalid_argument", message)
    assert details["field"] in {field, "status"}
    assert stored(client, "tool_1") == made


def test_a_value_over_its_size_limit_is_refused_with_413(client: httpx.Client) -> None:
    big = "x" * MIB
    assert refused(
        record(client, arguments=big), 413, "payload_too_large", "arguments may have 1 MiB at most"
    ) == {"field": "arguments"}
    assert refused(
        record(client, context_events=[{**CONTEXT[0], "summary": big}]),
        413,
        "payload_too_large",
        "context_events may have 1 MiB at most",
    ) == {"field": "context_events"}
    assert listed(client) == []
    made = recorded(client, id="tool_1", arguments="x" * (MIB - 2))
    assert refused(
        transition(client, "tool_1", "failed", error="x" * 65537),
        413,
        "payload_too_large",
        "error may have 64 KiB at most",
    ) == {"field": "error"}
    assert refused(
        transition(client, "tool_1", "succeeded", result=big * 8),
        413,
        "payload_too_large",
        "result may have 8 MiB at most",
    ) == {"field": "result"}
    assert stored(client, "tool_1") == made


@pytest.mark.parametrize(
    "fields",
    [
        {"arguments": {"a": "\x00"}},
        {"arguments": {"\x00": 1}},
        {"session_id": "a\x00b"},
        {"context_events": [{**CONTEXT[0], "summary": "\x00"}]},
    ],
)
def test_a_text_with_a_null_character_is_refused(
    client: httpx.Client, fields: dict[str, Any]
) -> None:
    answer = record(client, **fields)
    assert (answer.status_code, answer.json()["code"]) == (400, "22P05")
    assert set(answer.json()) == {"code", "message", "details", "hint"}
    assert listed(client) == []


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ("{", 400, "PGRST102"),
        ("", 400, "invalid_argument"),
        ("[]", 400, "invalid_argument"),
        ("{}", 400, "invalid_argument"),
        ('{"session_id": "s"}', 400, "invalid_argument"),
        (
            '{"session_id": "s", "tool_name": "t", "arguments": 1, "profile_id": "p"}',
            404,
            "PGRST202",
        ),
        (
            '{"session_id": "s", "tool_name": "t", "arguments": 1, "started_at": "x"}',
            404,
            "PGRST202",
        ),
    ],
)
def test_a_call_with_invalid_parameters_is_refused(
    client: httpx.Client, body: str, status: int, code: str
) -> None:
    headers = {"Content-Type": "application/json"}
    answer = client.post("/rpc/record_tool_event", content=body, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert set(answer.json()) == {"code", "message", "details", "hint"}


def test_the_views_cannot_be_written(client: httpx.Client) -> None:
    made = recorded(client, id="tool_1")
    for path in ("/tool_events", "/tool_event_transitions"):
        answers = (
            client.post(path, json={"id": "tool_2"}),
            client.patch(path, json={"status": "failed"}),
            client.request("DELETE", path),
            client.put(f"{path}?id=eq.tool_1", json={"id": "tool_1"}),
        )
        for answer in answers:
            assert answer.status_code in {400, 403, 405}, answer.text
    assert listed(client) == [made]
    assert log_of(client, "tool_1") == [(None, "executing")]


def test_a_function_that_writes_cannot_be_called_with_get(client: httpx.Client) -> None:
    recorded(client, id="tool_1")
    answer = client.get("/rpc/transition_tool_event?id=tool_1&to_status=failed")
    assert answer.status_code in {404, 405}, answer.text
    assert stored(client, "tool_1")["status"] == "executing"


@pytest.mark.parametrize(
    "table", ["/migrations", "/hookify_chains", "/pg_catalog.pg_roles", "/rpc/raise_error"]
)
def test_only_schema_api_is_served(client: httpx.Client, table: str) -> None:
    assert client.get(table).status_code == 404
    for schema in ("app", "ops", "pg_catalog"):
        answer = client.get("/tool_events", headers={"Accept-Profile": schema})
        assert answer.status_code == 406


# ---- Concurrent calls


def rows_of(answers: list[httpx.Response]) -> list[dict[str, Any]]:
    """Return the rows of the responses with status 200."""
    bodies = [answer.json() for answer in answers if answer.status_code == 200]
    return [body[0] if isinstance(body, list) else body for body in bodies]


def test_32_concurrent_finishes_of_one_event_make_one_transition(client: httpx.Client) -> None:
    recorded(client, id="tool_1", tool_call_id="call")

    def finish(number: int) -> Callable[[], httpx.Response]:
        if number % 2:
            return lambda: transition(client, "tool_1", "succeeded", result=number)
        return lambda: transition_by_call(client, "call", "succeeded", result=number)

    answers = at_once([finish(number) for number in range(32)])
    row = stored(client, "tool_1")
    assert rows_of(answers) == [row] * 32
    assert row["result"] in range(32)
    assert log_of(client, "tool_1") == [(None, "executing"), ("executing", "succeeded")]


def test_of_two_concurrent_outcomes_one_is_stored_and_the_other_is_refused(
    client: httpx.Client,
) -> None:
    recorded(client, id="tool_1", tool_call_id="call", status="pending")

    def finish(number: int) -> Callable[[], httpx.Response]:
        to = "succeeded" if number % 4 < 2 else "failed"
        if number % 2:
            return lambda: transition(client, "tool_1", to, result=number)
        return lambda: transition_by_call(client, "call", to, result=number)

    answers = at_once([finish(number) for number in range(32)])
    row = stored(client, "tool_1")
    assert rows_of(answers) == [row] * 16
    lost = "failed" if row["status"] == "succeeded" else "succeeded"
    for answer in answers:
        if answer.status_code != 200:
            details = refused(
                answer,
                409,
                "already_finished",
                f"Tool event tool_1 has already finished as {row['status']}",
            )
            assert details == {"from": row["status"], "to": lost, "status": row["status"]}
    assert log_of(client, "tool_1") == [(None, "pending"), ("pending", row["status"])]


def test_32_concurrent_finishes_by_one_call_id_finish_32_events(client: httpx.Client) -> None:
    for number in range(32):
        recorded(client, id=f"tool_{number}", tool_call_id="call")
    answers = at_once([lambda: transition_by_call(client, "call", "failed") for _ in range(32)])
    assert len({row["id"] for row in rows_of(answers)}) == 32
    assert {row["status"] for row in listed(client)} == {"failed"}


def test_one_of_32_concurrent_transitions_with_an_expected_status_succeeds(
    client: httpx.Client,
) -> None:
    recorded(client, id="tool_1", status="pending")
    answers = at_once(
        [
            lambda: transition(client, "tool_1", "executing", expected_status="pending")
            for _ in range(32)
        ]
    )
    assert len(rows_of(answers)) == 1
    for answer in answers:
        if answer.status_code != 200:
            refused(answer, 409, "illegal_transition", "Tool event is executing, not pending")
    assert log_of(client, "tool_1") == [(None, "pending"), ("pending", "executing")]


def test_32_concurrent_records_with_one_id_store_one_event(client: httpx.Client) -> None:
    answers = at_once([lambda: record(client, id="tool_1") for _ in range(32)])
    assert rows_of(answers) == [stored(client, "tool_1")] * 32
    assert log_of(client, "tool_1") == [(None, "executing")]


def test_one_of_32_different_concurrent_records_with_one_id_is_stored(client: httpx.Client) -> None:
    def attempt(number: int) -> Callable[[], httpx.Response]:
        return lambda: record(client, id="tool_1", arguments=number)

    answers = at_once([attempt(number) for number in range(32)])
    assert rows_of(answers) == [stored(client, "tool_1")]
    for answer in answers:
        if answer.status_code != 200:
            details = refused(
                answer,
                409,
                "id_taken",
                "Tool event tool_1 is already recorded with other content",
            )
            assert details == {"id": "tool_1", "differs": ["arguments"]}


def test_a_finish_concurrent_with_the_record_succeeds_or_is_not_found(
    client: httpx.Client,
) -> None:
    pairs = [
        (lambda name=f"tool_{n}": record(client, id=name), name)
        for n, name in enumerate(f"tool_{n}" for n in range(16))
    ]
    calls = [call for call, _ in pairs]
    calls += [lambda name=name: transition(client, name, "succeeded") for _, name in pairs]
    answers = at_once(calls)
    assert {answer.status_code for answer in answers[:16]} == {200}
    for (_, name), answer in zip(pairs, answers[16:], strict=True):
        assert answer.status_code in {200, 404}, answer.text
        finished = answer.status_code == 200
        assert stored(client, name)["status"] == ("succeeded" if finished else "executing")


# ---- Other profiles


@pytest.fixture
def other(client_for: ClientFor, profile: str) -> httpx.Client:
    """Return a client of another profile."""
    return client_for(f"{profile}-other")


def test_two_profiles_can_use_the_same_ids(client: httpx.Client, other: httpx.Client) -> None:
    mine = recorded(client, id="tool_1", tool_call_id="call")
    theirs = recorded(other, id="tool_1", tool_call_id="call", arguments="theirs")
    assert listed(client) == [mine]
    assert listed(other) == [theirs]
    assert log_of(client, "tool_1") == log_of(other, "tool_1") == [(None, "executing")]


def test_an_event_of_another_profile_cannot_be_read(
    client: httpx.Client, other: httpx.Client, db: psycopg.Connection[Any], profile: str
) -> None:
    recorded(client, id="tool_1", tool_call_id="call")
    for query in ("", "?id=eq.tool_1", "?session_id=eq.s1", "?or=(id.eq.tool_1,status.neq.x)"):
        assert other.get(f"/tool_events{query}").json() == []
    assert other.get("/tool_event_transitions").json() == []
    filtered = other.get("/tool_event_transitions", params={"profile_id": f"eq.{profile}"})
    assert filtered.json() == []
    counted = other.get("/tool_events", headers={"Prefer": "count=exact"})
    assert counted.headers["content-range"] == "*/0"
    stored_ids = db.execute(
        "select id from app.tool_events where profile_id = %s", [profile]
    ).fetchall()
    assert stored_ids == [("tool_1",)]


def test_an_event_of_another_profile_cannot_be_changed(
    client: httpx.Client, other: httpx.Client
) -> None:
    made = recorded(client, id="tool_1", tool_call_id="call")
    refused(transition(other, "tool_1", "failed"), 404, "not_found", "Tool event tool_1 not found")
    assert transition_by_call(other, "call", "failed").json() == []
    assert transition_by_call(other, "call", "failed", session_id="s1").json() == []
    recorded(other, id="tool_1", tool_call_id="call")
    assert transition_by_call(other, "call", "failed").json()[0]["status"] == "failed"
    assert listed(client) == [made]
    assert log_of(client, "tool_1") == [(None, "executing")]


def test_a_guest_is_refused(client: httpx.Client, guest: httpx.Client) -> None:
    made = recorded(client, id="tool_1", tool_call_id="call")
    for answer in (
        guest.get("/tool_events"),
        guest.get("/tool_event_transitions"),
        record(guest),
        transition(guest, "tool_1", "failed"),
        transition_by_call(guest, "call", "failed"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (401, "42501"), answer.text
        assert set(answer.json()) == {"code", "message", "details", "hint"}
    assert listed(client) == [made]


# ---- Features of PostgREST


def test_a_response_can_be_limited_to_columns_and_to_one_object(
    client: httpx.Client,
) -> None:
    recorded(client, id="tool_1", tool_call_id="call")
    answer = client.post(
        "/rpc/transition_tool_event_by_call",
        params={"select": "id,status"},
        headers={"Accept": "application/vnd.pgrst.object+json"},
        json={"tool_call_id": "call", "to_status": "failed"},
    )
    assert answer.json() == {"id": "tool_1", "status": "failed"}
    page = client.get("/tool_events?select=id&limit=1&offset=0&order=started_at,id")
    assert page.json() == [{"id": "tool_1"}]


def test_details_are_valid_json(client: httpx.Client) -> None:
    special = 'tool_"\\\n{}'
    answer = transition(client, special, "failed")
    assert json.loads(answer.json()["details"]) == {"id": special}


def test_concurrent_transitions_by_one_call_id_do_not_deadlock(
    client: httpx.Client,
) -> None:
    # Transitions by call id lock several events, one after the other. Without a common order, two
    # of them can each wait for an event that the other has locked.
    for number in range(6):
        recorded(client, id=f"tool_{number}", tool_call_id="c", session_id=f"s{number}")
    by_call = [lambda: transition_by_call(client, "c", "succeeded") for _ in range(12)]
    by_id = [
        lambda number=number: transition(client, f"tool_{number % 6}", "succeeded")
        for number in range(12)
    ]
    answers = at_once([call for pair in zip(by_call, by_id, strict=True) for call in pair])
    assert [answer.status_code for answer in answers] == [200] * 24
    assert {row["status"] for row in client.get("/tool_events").json()} == {"succeeded"}
