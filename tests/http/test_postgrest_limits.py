"""Restrictions of PostgREST that sessionbase relies on."""

import uuid
from typing import Any

import httpx
import pytest

# PostgREST reads both headers. The database gets only the last one.
HIDDEN_COUNTS = [
    [("Prefer", f"count={count}"), ("Prefer", "return=minimal")]
    for count in ("planned", "estimated")
]


def new_todo(client: httpx.Client, text: str = "Buy milk") -> dict[str, Any]:
    """Add a todo; return its row."""
    response = client.post(
        "/todos", json={"text": text}, headers={"Prefer": "return=representation"}
    )
    assert response.status_code == 201, response.text
    row: dict[str, Any] = response.json()[0]
    return row


@pytest.mark.parametrize("path", ["/todos", "/tool_events", "/rpc/toggle_todo", "/"])
@pytest.mark.parametrize("suffix", ["", "+json", '+text; for="application/json"; options=analyze'])
def test_a_query_plan_is_not_served(client: httpx.Client, path: str, suffix: str) -> None:
    headers = {"Accept": f"application/vnd.pgrst.plan{suffix}"}
    if path.startswith("/rpc/"):
        response = client.post(path, json={"id": str(uuid.uuid4())}, headers=headers)
    else:
        response = client.get(path, headers=headers)
    # Not Acceptable; PostgREST 12.0 returns 415 for it.
    assert response.status_code in {406, 415}, (
        f"{path} answered {response.status_code}: set db-plan-enabled = false in postgrest.conf"
    )
    assert response.json()["code"] == "PGRST107"


@pytest.mark.parametrize("headers", HIDDEN_COUNTS, ids=["planned", "estimated"])
def test_a_write_or_a_call_returns_no_estimated_count(
    client: httpx.Client, headers: list[tuple[str, str]]
) -> None:
    todo = new_todo(client)
    row = f"/todos?id=eq.{todo['id']}"
    for response in (
        client.post("/todos", json={"text": "Buy bread"}, headers=headers),
        client.patch(row, json={"completed": True}, headers=headers),
        client.post("/rpc/toggle_todo", json={"id": todo["id"]}, headers=headers),
    ):
        assert response.is_success, response.text
        # Nothing is counted, or the one row that this request wrote.
        assert response.headers["Content-Range"].split("/")[1] in ("*", "1"), response.request.url


def test_the_response_to_a_new_todo_has_no_location(client: httpx.Client) -> None:
    # PostgREST knows a view's primary key only if the view shows all its columns.
    response = client.post(
        "/todos", json={"text": "Buy milk"}, headers={"Prefer": "return=headers-only"}
    )
    assert response.status_code == 201
    assert "Location" not in response.headers
