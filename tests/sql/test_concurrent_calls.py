"""Functions of the API in two transactions whose order the test decides."""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import httpx
import psycopg
import pytest

from conftest import Stack
from support.concurrency import call_while_locked, transaction_of

Connection = psycopg.Connection[Any]


@pytest.fixture
def first(stack: Stack, profile: str) -> Iterator[Connection]:
    """Yield the transaction that gets its locks first."""
    with transaction_of(stack.db_uri, profile) as connection:
        yield connection


@pytest.fixture
def second(stack: Stack, profile: str) -> Iterator[Connection]:
    """Yield a concurrent transaction of the same profile."""
    with transaction_of(stack.db_uri, profile) as connection:
        yield connection


def error_of(caught: pytest.ExceptionInfo[psycopg.Error]) -> dict[str, Any]:
    """Return the body that PostgREST would answer with."""
    assert caught.value.sqlstate == "PGRST", caught.value
    body: dict[str, Any] = json.loads(caught.value.diag.message_primary or "")
    return body


# ---- Advisory locks

INGEST = 'select api.ingest_misalignments(%s, \'[{"rule_id": "r", "title": "t", "summary": "s"}]\')'
FINISH_BY_CALL = "select api.transition_tool_event_by_call(%s, 'succeeded')"


@pytest.mark.parametrize("call", [INGEST, FINISH_BY_CALL], ids=["ingest", "transition by call id"])
def test_calls_whose_names_differ_only_in_the_place_of_a_slash_do_not_block_each_other(
    call: str, stack: Stack, db: Connection, profile: str
) -> None:
    with transaction_of(stack.db_uri, profile) as holder:
        holder.execute(call.encode(), ["b/c"])
        with transaction_of(stack.db_uri, f"{profile}/b") as other:
            other.execute("set local lock_timeout = '2s'")
            other.execute(call.encode(), ["c"])
        # The same profile and name do wait: the lock is there.
        with (
            transaction_of(stack.db_uri, profile) as same,
            pytest.raises(psycopg.errors.LockNotAvailable),
        ):
            same.execute("set local lock_timeout = '200ms'")
            same.execute(call.encode(), ["b/c"])


# ---- Tool events


@pytest.fixture(params=["pending", "executing"])
def event(client: httpx.Client, request: pytest.FixtureRequest) -> str:
    """Record an event with one of the statuses; return its id.

    The tests expect `executing`. If the event is pending, the first attempt finds another status.
    """
    body = {"id": "e", "session_id": "s", "tool_call_id": "c", "tool_name": "t", "arguments": {}}
    answer = client.post("/rpc/record_tool_event", json={**body, "status": request.param})
    assert answer.is_success, answer.text
    return "e"


FINISHES = {
    "by id": (
        "select status from api.transition_tool_event('e', %s, expected_status => 'executing')"
    ),
    "by call id": (
        "select status from api.transition_tool_event_by_call('c', %s,"
        " expected_status => 'executing')"
    ),
}


@pytest.mark.parametrize("finish", FINISHES.values(), ids=FINISHES)
@pytest.mark.usefixtures("event")
def test_an_expected_status_is_answered_with_already_finished_after_a_concurrent_finish(
    finish: str, first: Connection, second: Connection, db: Connection
) -> None:
    first.execute("select api.transition_tool_event('e', 'failed')")
    with pytest.raises(psycopg.Error) as caught:
        call_while_locked(db, first, lambda: second.execute(finish.encode(), ["succeeded"]))
    body = error_of(caught)
    assert body["code"] == "already_finished"
    assert json.loads(body["details"])["status"] == "failed"


@pytest.mark.parametrize("finish", FINISHES.values(), ids=FINISHES)
@pytest.mark.usefixtures("event")
def test_an_expected_status_is_accepted_after_a_concurrent_finish_with_the_same_status(
    finish: str, first: Connection, second: Connection, db: Connection
) -> None:
    first.execute("select api.transition_tool_event('e', 'failed')")
    row = call_while_locked(
        db, first, lambda: second.execute(finish.encode(), ["failed"]).fetchone()
    )
    assert row == ("failed",)


@pytest.mark.parametrize("finish", FINISHES.values(), ids=FINISHES)
@pytest.mark.parametrize("event", ["pending"], indirect=True)
@pytest.mark.usefixtures("event")
def test_an_expected_status_that_a_concurrent_call_sets_is_accepted(
    finish: str, first: Connection, second: Connection, db: Connection
) -> None:
    first.execute("select api.transition_tool_event('e', 'executing')")
    row = call_while_locked(
        db, first, lambda: second.execute(finish.encode(), ["succeeded"]).fetchone()
    )
    assert row == ("succeeded",)


# ---- UI settings

SAVE = "select revision from api.save_ui_settings(%s, %s)"
PATCH = "select revision from api.patch_ui_settings(%s, %s)"


@pytest.mark.parametrize("write", [SAVE, PATCH], ids=["save", "patch"])
def test_a_write_that_expects_the_revision_of_a_concurrent_write_waits_and_succeeds(
    write: str, client: httpx.Client, first: Connection, second: Connection, db: Connection
) -> None:
    client.post("/rpc/save_ui_settings", json={"settings": {"a": 1}})
    first.execute(SAVE, ['{"a": 2}', None])
    # Revision 2 is not committed yet, so the first attempt finds revision 1.
    row = call_while_locked(
        db, first, lambda: second.execute(write.encode(), ['{"b": 3}', 2]).fetchone()
    )
    assert row == (3,)


@pytest.mark.parametrize("write", [SAVE, PATCH], ids=["save", "patch"])
@pytest.mark.parametrize(("stored", "expected"), [(True, 1), (False, 0)])
def test_a_concurrent_write_makes_the_expected_revision_stale(
    write: str,
    stored: bool,
    expected: int,
    client: httpx.Client,
    first: Connection,
    second: Connection,
    db: Connection,
) -> None:
    if stored:
        client.post("/rpc/save_ui_settings", json={"settings": {"a": 1}})
    first.execute(SAVE, ['{"a": 2}', None])
    with pytest.raises(psycopg.Error) as caught:
        call_while_locked(db, first, lambda: second.execute(write.encode(), ['{"b": 3}', expected]))
    body = error_of(caught)
    assert body["code"] == "stale_revision"
    assert json.loads(body["details"]) == {"revision": expected + 1, "settings": {"a": 2}}
    assert f"at revision {expected + 1}, not {expected};" in body["message"]


# ---- Bindings

SET = "select updated_at from api.set_session_repo_binding('s', 'a', '/')"


@pytest.fixture
def time_in_the_future(client: httpx.Client, db: Connection, profile: str) -> datetime:
    """Set a binding with an updated_at one hour ahead; return that time."""
    body = {"session_id": "s", "asset_path": "a", "root_dir": "/"}
    assert client.post("/rpc/set_session_repo_binding", json=body).is_success
    row = db.execute(
        "update app.session_repo_bindings set updated_at = now() + interval '1 hour'"
        " where profile_id = %s returning updated_at",
        [profile],
    ).fetchone()
    assert row
    ahead: datetime = row[0]
    return ahead


def test_updated_at_of_a_binding_does_not_go_backwards_after_it_was_cleared(
    client: httpx.Client, time_in_the_future: datetime
) -> None:
    previous = time_in_the_future
    body = {"session_id": "s", "asset_path": "a", "root_dir": "/"}
    for _ in range(2):
        assert client.delete("/session_repo_bindings?session_id=eq.s").status_code == 204
        row = client.post("/rpc/set_session_repo_binding", json=body).json()
        updated_at = datetime.fromisoformat(row["updated_at"])
        assert updated_at > previous
        previous = updated_at


def test_updated_at_of_a_binding_does_not_go_backwards_after_a_concurrent_clear(
    time_in_the_future: datetime, first: Connection, second: Connection, db: Connection
) -> None:
    first.execute("delete from api.session_repo_bindings where session_id = 's'")
    row = call_while_locked(db, first, lambda: second.execute(SET).fetchone())
    assert row
    assert row[0] > time_in_the_future


def test_updated_at_of_a_binding_does_not_go_backwards_after_concurrent_set_and_clear(
    time_in_the_future: datetime, stack: Stack, profile: str, first: Connection, db: Connection
) -> None:
    row = first.execute(SET).fetchone()
    assert row
    last: datetime = row[0]
    assert last > time_in_the_future

    def clear_and_set() -> Any:
        with transaction_of(stack.db_uri, profile) as other:
            other.execute("delete from api.session_repo_bindings where session_id = 's'")
            return other.execute(SET).fetchone()

    assert call_while_locked(db, first, clear_and_set)[0] > last
