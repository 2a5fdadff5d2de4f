"""Todos over HTTP: rows that clients insert and update, and functions to toggle and delete."""

import uuid
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from conftest import ClientFor
from support.concurrency import at_once
from support.refusals import refused

WHOLE = {"Prefer": "return=representation"}
# The characters that String.prototype.trim() removes: WhiteSpace and LineTerminator of ECMAScript.
JAVASCRIPT_WHITE_SPACE = (
    [chr(code) for code in (0x09, 0x0A, 0x0B, 0x0C, 0x0D, 0x20, 0xA0, 0x1680)]
    + [chr(code) for code in range(0x2000, 0x200B)]
    + [chr(code) for code in (0x2028, 0x2029, 0x202F, 0x205F, 0x3000, 0xFEFF)]
)


def add(client: httpx.Client, text: str | None = "Buy milk", **fields: Any) -> httpx.Response:
    return client.post("/todos", json={"text": text, **fields}, headers=WHOLE)


def added(client: httpx.Client, text: str = "Buy milk", **fields: Any) -> dict[str, Any]:
    answer = add(client, text, **fields)
    assert answer.status_code == 201, answer.text
    (row,) = answer.json()
    made: dict[str, Any] = row
    return made


def toggle(client: httpx.Client, todo: str) -> httpx.Response:
    return client.post("/rpc/toggle_todo", json={"id": todo})


def listed(client: httpx.Client) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = client.get("/todos?order=created_at,id").json()
    return rows


def test_a_new_todo_is_not_completed_and_is_listed(client: httpx.Client) -> None:
    made = added(client)
    columns = {"id", "text", "completed", "created_at"}
    assert set(made) == columns, "list here the columns that were added or removed"
    assert (made["text"], made["completed"]) == ("Buy milk", False)
    assert uuid.UUID(made["id"]).version == 7
    assert listed(client) == [made]


def test_todos_are_listed_in_the_order_of_creation(client: httpx.Client) -> None:
    made = [added(client, str(number)) for number in range(10)]
    assert listed(client) == made


def test_a_client_can_choose_the_id(client: httpx.Client) -> None:
    todo = str(uuid.uuid4())
    made = added(client, id=todo)
    assert made["id"] == todo
    assert add(client, "again", id=todo).status_code == 409
    assert listed(client) == [made]


@pytest.mark.parametrize(
    "text", ["  two  spaces\n", "\u200b", "\x85", "naïve 日本 🙂", "a" * 65536, "' or 1=1 --"]
)
def test_the_text_is_stored_unchanged(client: httpx.Client, text: str) -> None:
    assert added(client, text)["text"] == text
    assert listed(client)[0]["text"] == text


@pytest.mark.parametrize(
    "text", ["", *JAVASCRIPT_WHITE_SPACE, "".join(JAVASCRIPT_WHITE_SPACE)], ids=ascii
)
def test_a_blank_text_is_refused(client: httpx.Client, text: str) -> None:
    stored = added(client)
    for answer in (
        add(client, text),
        client.patch(f"/todos?id=eq.{stored['id']}", json={"text": text}),
    ):
        details = refused(answer, 400, "invalid_argument", "text must not be blank")
        assert details == {"field": "text"}
    assert listed(client) == [stored]


def test_a_text_over_64_kib_is_refused(client: httpx.Client) -> None:
    refused(add(client, "a" * 65537), 413, "payload_too_large", "text may have 64 KiB at most")
    assert listed(client) == []


def test_a_todo_without_a_text_is_refused(client: httpx.Client) -> None:
    answer = add(client, None)
    assert refused(answer, 400, "invalid_argument", "text is required") == {"field": "text"}
    assert listed(client) == []


def test_a_todo_can_be_edited_and_completed(client: httpx.Client) -> None:
    first, second = added(client, "one"), added(client, "two")
    edit = {"text": "One", "completed": True}
    answer = client.patch(f"/todos?id=eq.{first['id']}", json=edit, headers=WHOLE)
    assert answer.json() == [{**first, **edit}]
    assert listed(client) == [{**first, **edit}, second]


def test_completed_can_be_set_twice(client: httpx.Client) -> None:
    made = added(client)
    for _ in range(2):
        client.patch(f"/todos?id=eq.{made['id']}", json={"completed": True})
    assert listed(client) == [{**made, "completed": True}]


def test_a_patch_without_a_filter_changes_nothing(client: httpx.Client) -> None:
    made = [added(client, "one"), added(client, "two")]
    answer = client.patch("/todos", json={"completed": True})
    assert answer.status_code == 400
    assert answer.json()["code"] == "invalid_argument"
    assert answer.json()["message"] == "The request would change several rows; nothing was changed"
    assert listed(client) == made


@pytest.mark.parametrize(
    "change",
    [
        {"id": "00000000-0000-0000-0000-000000000000"},
        {"created_at": "2000-01-01T00:00:00Z"},
        {"completed": True, "created_at": "2000-01-01T00:00:00Z"},
    ],
)
def test_id_and_time_cannot_be_changed(client: httpx.Client, change: dict[str, object]) -> None:
    made = added(client)
    answer = client.patch(f"/todos?id=eq.{made['id']}", json=change)
    assert answer.status_code == 403
    assert listed(client) == [made]


@pytest.mark.parametrize("column", ["profile_id", "created_at"])
def test_profile_and_time_cannot_be_sent(client: httpx.Client, column: str) -> None:
    assert add(client, **{column: "2000-01-01"}).status_code in {400, 403}
    assert listed(client) == []


def test_toggling_a_todo_twice_restores_it(client: httpx.Client) -> None:
    made = added(client)
    assert toggle(client, made["id"]).json() == {**made, "completed": True}
    assert toggle(client, made["id"]).json() == made
    assert listed(client) == [made]


def test_64_concurrent_toggles_leave_a_todo_unchanged(client: httpx.Client) -> None:
    made = added(client)
    answers = at_once([lambda: toggle(client, made["id"])] * 64)
    assert {answer.status_code for answer in answers} == {200}
    assert [answer.json()["completed"] for answer in answers].count(True) == 32
    assert listed(client) == [made]


def test_65_concurrent_toggles_change_a_todo(client: httpx.Client) -> None:
    made = added(client)
    at_once([lambda: toggle(client, made["id"])] * 65)
    assert listed(client) == [{**made, "completed": True}]


def test_delete_returns_the_todo_and_removes_it(client: httpx.Client) -> None:
    first, second = added(client, "one"), added(client, "two")
    answer = client.post("/rpc/delete_todo", json={"id": first["id"]})
    assert (answer.status_code, answer.json()) == (200, first)
    assert listed(client) == [second]
    assert client.post("/rpc/delete_todo", json={"id": first["id"]}).status_code == 404


def test_one_of_many_concurrent_deletes_succeeds(client: httpx.Client) -> None:
    made = added(client)
    answers = at_once(
        [lambda: client.post("/rpc/delete_todo", json={"id": made["id"]})] * 8
        + [lambda: toggle(client, made["id"])] * 8
    )
    deleted = [answer.status_code for answer in answers[:8]]
    assert sorted(deleted) == [200] + [404] * 7
    assert {answer.status_code for answer in answers} == {200, 404}
    assert listed(client) == []


@pytest.mark.parametrize("function", ["toggle_todo", "delete_todo"])
def test_a_todo_that_is_unknown_or_of_another_profile_is_not_found(
    client: httpx.Client, client_for: ClientFor, profile: str, function: str
) -> None:
    made = added(client)
    other = client_for(f"{profile}-other")
    for caller, todo in ((client, str(uuid.uuid4())), (other, made["id"])):
        answer = caller.post(f"/rpc/{function}", json={"id": todo})
        assert refused(answer, 404, "not_found", "Todo not found") == {"id": todo}
    assert listed(client) == [made]


def test_an_id_that_is_not_a_uuid_is_refused(client: httpx.Client) -> None:
    answer = toggle(client, "first")
    assert (answer.status_code, answer.json()["code"]) == (400, "22P02")


@pytest.mark.parametrize("function", ["toggle_todo", "delete_todo"])
@pytest.mark.parametrize("arguments", [{}, {"id": None}])
def test_a_call_without_an_id_is_refused(
    client: httpx.Client, function: str, arguments: dict[str, None]
) -> None:
    answer = client.post(f"/rpc/{function}", json=arguments)
    assert refused(answer, 400, "invalid_argument", "id is required") == {"field": "id"}


@pytest.mark.parametrize("column", ["text", "completed"])
def test_a_patch_cannot_set_a_column_to_null(client: httpx.Client, column: str) -> None:
    made = added(client)
    answer = client.patch(f"/todos?id=eq.{made['id']}", json={column: None})
    details = refused(answer, 400, "invalid_argument", f"{column} is required")
    assert details == {"field": column}
    assert listed(client) == [made]


def by_function(client: httpx.Client, **fields: Any) -> httpx.Response:
    return client.post("/rpc/add_todo", json=fields)


def by_post(client: httpx.Client, **fields: Any) -> httpx.Response:
    headers = {"Accept": "application/vnd.pgrst.object+json", **WHOLE}
    return client.post("/todos", json=fields, headers=headers)


@pytest.mark.parametrize("insert", [by_function, by_post])
def test_a_repeated_insert_returns_the_stored_todo(
    client: httpx.Client, insert: Callable[..., httpx.Response]
) -> None:
    name = str(uuid.uuid4())
    made = insert(client, id=name, text="one").json()
    assert made["id"] == name
    toggle(client, name)
    again = insert(client, id=name, text="one")
    assert again.is_success
    assert again.json() == {**made, "completed": True}
    assert listed(client) == [again.json()]


@pytest.mark.parametrize("insert", [by_function, by_post])
def test_a_stored_id_with_another_text_is_refused(
    client: httpx.Client, insert: Callable[..., httpx.Response]
) -> None:
    name = str(uuid.uuid4())
    made = insert(client, id=name, text="one").json()
    details = refused(
        insert(client, id=name, text="two"),
        409,
        "id_taken",
        f"Todo {name} is already stored with another text",
    )
    assert details == {"id": name, "differs": ["text"]}
    assert listed(client) == [made]


@pytest.mark.parametrize("insert", [by_function, by_post])
@pytest.mark.parametrize(("fields", "message"), [({}, "text is required"), ({"text": " "}, None)])
def test_an_insert_without_a_text_is_refused(
    client: httpx.Client,
    insert: Callable[..., httpx.Response],
    fields: dict[str, str],
    message: str | None,
) -> None:
    answer = insert(client, **fields)
    details = refused(answer, 400, "invalid_argument", message or "text must not be blank")
    assert details == {"field": "text"}


@pytest.mark.parametrize("insert", [by_function, by_post])
def test_concurrent_inserts_of_one_todo_store_it_once(
    client: httpx.Client, insert: Callable[..., httpx.Response]
) -> None:
    name = str(uuid.uuid4())
    answers = at_once([lambda: insert(client, id=name, text="one")] * 16)
    assert {answer.is_success for answer in answers} == {True}
    assert [answer.json() for answer in answers] == listed(client) * 16


def test_the_txid_of_a_bulk_insert_can_be_selected(
    client: httpx.Client,
) -> None:
    stored = added(client)
    rows = [{"id": str(uuid.uuid4()), "text": "new"}, {"id": stored["id"], "text": stored["text"]}]
    for expected in (True, False):
        answer = client.post("/todos?select=id,txid", json=rows, headers=WHOLE)
        assert {row["txid"] is not None for row in answer.json()} == {expected}


@pytest.mark.parametrize(
    "body", ['[{"id": "%s"}, {"id": "%s"}]', ' [{"id": "%s", "x": "%s"}]', '[["%s", "%s"]]']
)
def test_a_call_with_an_array_as_its_body_is_refused_and_changes_nothing(
    client: httpx.Client, body: str
) -> None:
    todos = [added(client, "one"), added(client, "two")]
    answer = client.post(
        "/rpc/toggle_todo",
        content=body % (todos[0]["id"], todos[1]["id"]),
        headers={"Content-Type": "application/json"},
    )
    assert answer.is_client_error, answer.text
    assert listed(client) == todos


def test_the_error_for_an_array_as_the_body_says_that_it_must_be_an_object(
    client: httpx.Client,
) -> None:
    todos = [added(client, "one"), added(client, "two")]
    answer = client.post("/rpc/toggle_todo", json=[{"id": todo["id"]} for todo in todos])
    refused(answer, 400, "invalid_argument", "The body must be one JSON object; nothing was done")
    patched = client.patch(f"/todos?id=eq.{todos[0]['id']}", json=[{"text": "x"}, {"text": "y"}])
    refused(patched, 400, "invalid_argument", "The body must be one JSON object; nothing was done")
    # The values of omitted columns come from other SQL of PostgREST.
    with_defaults = client.patch(
        f"/todos?id=eq.{todos[0]['id']}&columns=text",
        json=[{"text": "x"}, {"text": "y"}],
        headers={"Prefer": "missing=default"},
    )
    refused(
        with_defaults, 400, "invalid_argument", "The body must be one JSON object; nothing was done"
    )
    lines = f"id\n{todos[0]['id']}\n{todos[1]['id']}\n"
    as_csv = client.post("/rpc/toggle_todo", content=lines, headers={"Content-Type": "text/csv"})
    assert as_csv.status_code == 400
    assert listed(client) == todos


def test_a_todo_cannot_be_deleted_with_the_method_delete(client: httpx.Client) -> None:
    made = added(client)
    assert client.delete(f"/todos?id=eq.{made['id']}").status_code == 403
    assert listed(client) == [made]


def test_another_profile_cannot_access_a_todo_but_can_use_its_id(
    client: httpx.Client, client_for: ClientFor, profile: str
) -> None:
    made = added(client)
    other = client_for(f"{profile}-other")
    one = f"/todos?id=eq.{made['id']}"
    assert listed(other) == []
    assert other.patch(one, json={"text": "mine"}, headers=WHOLE).json() == []
    assert added(other, "theirs", id=made["id"])["text"] == "theirs"
    other.patch(one, json={"text": "still theirs"})
    assert listed(client) == [made]


@pytest.mark.parametrize("prefer", ["merge-duplicates", "ignore-duplicates"])
def test_an_upsert_does_not_change_a_stored_todo(
    client: httpx.Client, client_for: ClientFor, profile: str, prefer: str
) -> None:
    made = added(client)
    other = client_for(f"{profile}-other")
    for caller in (client, other):
        caller.post(
            "/todos?on_conflict=id",
            json={"id": made["id"], "text": "upserted"},
            headers={"Prefer": f"resolution={prefer}"},
        )
        assert listed(client) == [made]


def test_a_guest_and_an_auditor_are_refused(
    client: httpx.Client, guest: httpx.Client, client_for: ClientFor, profile: str
) -> None:
    made = added(client)
    for caller, status in ((guest, 401), (client_for(profile, "auditor"), 403)):
        assert caller.get("/todos").status_code == status
        assert add(caller).status_code == status
        assert caller.patch("/todos", json={"completed": True}).status_code == status
        assert toggle(caller, made["id"]).status_code == status
        assert caller.post("/rpc/delete_todo", json={"id": made["id"]}).status_code == status
    assert listed(client) == [made]
