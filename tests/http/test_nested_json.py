"""JSON arguments with many levels of nested objects and arrays are stored, or refused with 413."""

import httpx
import pytest

from support.refusals import refused

EVENT = '{"session_id": "s", "tool_name": "t", "id": "deep"'
# The body of a call, the argument in it, and how many levels the argument may have. `{deep}` is the
# argument.
CALLS = {
    "arguments": ("/rpc/record_tool_event", EVENT + ', "arguments": {deep}}', 500),
    "context_events": (
        "/rpc/record_tool_event",
        EVENT + ', "arguments": 1, "context_events": {deep}}',
        500,
    ),
    "result": (
        "/rpc/transition_tool_event",
        '{"id": "stored", "to_status": "succeeded", "result": {deep}}',
        500,
    ),
    "rules": (
        "/rpc/record_hookify_decision",
        '{"id": "deep", "session_id": "s", "source": "manual", "severity": "none",'
        ' "blocked": false, "content": "", "rules": {deep}}',
        500,
    ),
    "candidates": (
        "/rpc/ingest_misalignments",
        '{"session_id": "s", "candidates": {deep}}',
        500,
    ),
    "settings": ("/rpc/save_ui_settings", '{"settings": {deep}}', 500),
    "patch": ("/rpc/patch_ui_settings", '{"patch": {deep}}', 200),
}
# PostgreSQL checks that `context_events` and `rules` are arrays, and what is in them.
STORED = ["arguments", "result", "settings", "patch"]


def send(client: httpx.Client, argument: str, levels: int) -> httpx.Response:
    """Call with an argument of this many levels. The JSON library of Python has a lower limit."""
    path, body, _ = CALLS[argument]
    opening, closing = ("[", "]") if argument in {"candidates", "rules"} else ('{"a":', "}")
    deep = opening * levels + "1" + closing * levels
    return client.post(
        path,
        content=body.replace("{deep}", deep),
        headers={"Content-Type": "application/json"},
    )


@pytest.fixture
def stored(client: httpx.Client) -> str:
    """Record an event that `result` finishes; return the rows before the call, as text."""
    event = {"session_id": "s", "tool_name": "t", "id": "stored", "arguments": {}}
    assert client.post("/rpc/record_tool_event", json=event).is_success
    return rows(client)


def rows(client: httpx.Client) -> str:
    """Return everything that the profile has stored, as text."""
    views = ["tool_events", "hookify_decisions", "misalignments", "ui_settings"]
    answers = [client.get(f"/{view}") for view in views]
    assert all(answer.is_success for answer in answers)
    return "\n".join(answer.text for answer in answers)


@pytest.mark.parametrize("argument", CALLS)
def test_an_argument_with_too_many_levels_is_refused(
    client: httpx.Client, stored: str, argument: str
) -> None:
    limit = CALLS[argument][2]
    for levels in (limit + 1, 5_000):
        details = refused(
            send(client, argument, levels),
            413,
            "payload_too_large",
            f"{argument} may have {limit} levels of nested objects and arrays at most",
        )
        assert details == {"field": argument}
    assert rows(client) == stored


@pytest.mark.parametrize("argument", STORED)
def test_an_argument_with_as_many_levels_as_allowed_is_stored(
    client: httpx.Client, stored: str, argument: str
) -> None:
    limit = CALLS[argument][2]
    answer = send(client, argument, limit)
    assert answer.status_code == 200, answer.text
    assert rows(client).count('{"a":') == limit
    assert client.get("/rpc/session_context?session_id=s").is_success


@pytest.mark.parametrize("argument", CALLS)
def test_json_that_exceeds_the_limit_of_postgresql_is_refused(
    client: httpx.Client, stored: str, argument: str, postgrest_major: int
) -> None:
    # The error occurs when PostgREST's own statement reads the body, before a function is called.
    answer = send(client, argument, 20_000)
    status = 413 if postgrest_major < 14 else 500
    assert (answer.status_code, answer.json()["code"]) == (status, "54001"), answer.text
    assert rows(client) == stored
