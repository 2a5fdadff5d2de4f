"""Requests without a valid token of a profile are refused and return no data."""

import base64
import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import jwt
import pytest

from conftest import ClientFor, Stack, TokenFor
from sessionbase.stack.token import make_claims, sign

EVENT = {"session_id": "s", "tool_name": "t", "arguments": {}}
REQUESTS: list[tuple[str, str, Any]] = [
    ("GET", "/tool_events", None),
    ("GET", "/tool_event_transitions", None),
    ("GET", "/todos", None),
    ("GET", "/hookify_decisions", None),
    ("GET", "/ui_settings", None),
    ("GET", "/rpc/session_context?session_id=s", None),
    ("POST", "/rpc/record_tool_event", {**EVENT, "id": "tool_2"}),
    ("POST", "/rpc/transition_tool_event", {"id": "tool_1", "to_status": "failed"}),
    ("POST", "/rpc/save_ui_settings", {"settings": {}}),
    ("POST", "/todos", {"text": "forged"}),
]
READ_BY_AUDITORS = {"/tool_event_transitions", "/hookify_decisions"}


def with_payload(token: str, claims: dict[str, Any]) -> str:
    """Return the token with other claims and the old signature."""
    head, _, signature = token.split(".")
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    return f"{head}.{payload}.{signature}"


def refusals(guest: httpx.Client, token: str) -> set[tuple[int, str]]:
    """Send every kind of request with the token; return the statuses and codes."""
    found = set()
    for method, path, body in REQUESTS:
        answer = guest.request(
            method, path, json=body, headers={"Authorization": f"Bearer {token}"}
        )
        answered = answer.json()
        assert set(answered) == {"code", "message", "details", "hint"}, answer.text
        if answer.status_code == 401:
            assert "Bearer" in answer.headers["WWW-Authenticate"]
        found.add((answer.status_code, answered["code"]))
    return found


@pytest.fixture
def unchanged_rows(client: httpx.Client) -> Iterator[None]:
    """Record an event of the profile; after the test, its rows must be the same."""
    event = client.post("/rpc/record_tool_event", json={**EVENT, "id": "tool_1"}).json()
    yield
    assert client.get("/tool_events").json() == [event]
    assert client.get("/todos").json() == []
    assert client.get("/ui_settings").json() == []


@pytest.fixture
def claims_code(postgrest_major: int) -> str:
    """Return PostgREST's code for a token with a valid signature and unacceptable claims."""
    return "PGRST301" if postgrest_major < 13 else "PGRST303"


@pytest.mark.usefixtures("unchanged_rows")
def test_an_expired_token_is_refused(
    guest: httpx.Client, token_for: TokenFor, profile: str, claims_code: str
) -> None:
    token = token_for(profile, exp=int(time.time()) - 86400)
    assert refusals(guest, token) == {(401, claims_code)}


@pytest.mark.usefixtures("unchanged_rows")
def test_a_token_that_is_not_valid_yet_is_refused(
    guest: httpx.Client, token_for: TokenFor, profile: str, claims_code: str
) -> None:
    token = token_for(profile, nbf=int(time.time()) + 86400)
    assert refusals(guest, token) == {(401, claims_code)}


def test_a_token_with_a_fractional_exp_is_accepted_by_postgrest_12_only(
    guest: httpx.Client, token_for: TokenFor, profile: str, postgrest_major: int
) -> None:
    headers = {"Authorization": f"Bearer {token_for(profile, exp=time.time() + 3600.5)}"}
    answer = guest.get("/todos", headers=headers)
    assert answer.status_code == (200 if postgrest_major < 13 else 401), answer.text


@pytest.mark.usefixtures("unchanged_rows")
def test_a_token_signed_with_another_secret_is_refused(guest: httpx.Client, profile: str) -> None:
    token = jwt.encode(make_claims(profile), "another secret of the right length", "HS256")
    assert refusals(guest, token) == {(401, "PGRST301")}


@pytest.mark.usefixtures("unchanged_rows")
def test_an_unsigned_token_is_refused(guest: httpx.Client, profile: str) -> None:
    token = jwt.encode(make_claims(profile), None, algorithm="none")
    assert token.endswith(".")
    assert refusals(guest, token) == {(401, "PGRST301")}


@pytest.mark.usefixtures("unchanged_rows")
def test_a_token_with_changed_claims_is_refused(
    guest: httpx.Client, token_for: TokenFor, profile: str
) -> None:
    token = with_payload(token_for("another-profile"), make_claims(profile))
    assert refusals(guest, token) == {(401, "PGRST301")}


@pytest.mark.usefixtures("unchanged_rows")
@pytest.mark.parametrize("token", ["x", "a.b", "a.b.c", "..", "e30.e30.e30", "ü.ü.ü"])
def test_a_malformed_token_is_refused(guest: httpx.Client, token: str) -> None:
    raw = token.encode()
    for method, path, body in REQUESTS:
        answer = guest.request(
            method, path, json=body, headers={b"Authorization": b"Bearer " + raw}
        )
        assert answer.status_code == 401, answer.text
        assert answer.json()["code"] in {"PGRST301", "PGRST302"}


@pytest.mark.usefixtures("unchanged_rows")
@pytest.mark.parametrize("subject", [None, ""])
def test_a_token_without_a_sub_is_refused(
    guest: httpx.Client, token_for: TokenFor, profile: str, subject: str | None
) -> None:
    for role in ("authenticated", "auditor"):
        assert refusals(guest, token_for(profile, role, sub=subject)) == {(401, "no_profile")}


@pytest.mark.parametrize("role", ["authenticated", "auditor"])
@pytest.mark.parametrize("subject", ["x" * 201, "ü" * 101])
def test_a_sub_of_more_than_200_bytes_is_refused(
    guest: httpx.Client, token_for: TokenFor, subject: str, role: str
) -> None:
    assert refusals(guest, token_for(subject, role)) == {(401, "no_profile")}


@pytest.mark.usefixtures("unchanged_rows")
@pytest.mark.parametrize("subject", [["{profile}"], {"id": "{profile}"}, True, 7, 1.5])
def test_a_sub_that_is_not_a_string_is_refused(
    guest: httpx.Client, stack: Stack, profile: str, subject: Any, postgrest_major: int
) -> None:
    # PostgREST 12 itself refuses such a token; app.profile_id does if a later version accepts it.
    code = "PGRST301" if postgrest_major < 13 else "no_profile"
    claims = json.dumps({**make_claims(profile), "sub": subject}).replace("{profile}", profile)
    token = jwt.api_jws.encode(claims.encode(), stack.jwt_secret, "HS256")
    assert refusals(guest, token) == {(401, code)}


@pytest.mark.usefixtures("unchanged_rows")
@pytest.mark.parametrize(
    "role",
    ["postgres", "sessionbase_owner", "sessionbase_replicator", "pg_read_all_data", "nobody"],
)
def test_a_role_that_is_not_for_clients_is_refused(
    guest: httpx.Client, token_for: TokenFor, profile: str, role: str
) -> None:
    found = refusals(guest, token_for(profile, role))
    assert {status for status, _ in found} <= {400, 401, 403}, found


@pytest.mark.usefixtures("unchanged_rows")
def test_a_token_with_the_role_authenticator_has_no_rights(
    guest: httpx.Client, token_for: TokenFor, profile: str
) -> None:
    found = refusals(guest, token_for(profile, "authenticator"))
    assert {status for status, _ in found} == {403}, found


@pytest.mark.usefixtures("unchanged_rows")
def test_a_token_without_a_role_or_with_the_role_anon_is_a_guest(
    guest: httpx.Client, token_for: TokenFor, stack: Stack, profile: str
) -> None:
    claims = make_claims(profile)
    del claims["role"]
    for token in (sign(claims, stack.jwt_secret), token_for(profile, "anon")):
        found = refusals(guest, token)
        assert {code for _, code in found} == {"42501", "guest_not_stored"}
        assert {status for status, _ in found} <= {401, 403}


@pytest.mark.usefixtures("unchanged_rows")
def test_an_auditor_can_read_logs_and_decisions_only(
    client: httpx.Client, client_for: ClientFor, profile: str
) -> None:
    decision = client.post(
        "/rpc/record_hookify_decision",
        json={
            "session_id": "s",
            "source": "manual",
            "severity": "none",
            "blocked": False,
            "rules": [],
            "content": "",
        },
    ).json()
    auditor = client_for(f"{profile}-auditor", "auditor")
    mine = {"profile_id": f"eq.{profile}"}
    log = auditor.get("/tool_event_transitions", params=mine).json()
    assert [(row["tool_event_id"], row["to_status"]) for row in log] == [("tool_1", "executing")]
    assert auditor.get("/hookify_decisions", params=mine).json() == [decision]
    assert auditor.get("/misalignment_transitions", params=mine).json() == []
    for method, path, body in [
        *(request for request in REQUESTS if request[1] not in READ_BY_AUDITORS),
        ("GET", "/misalignments", None),
        ("GET", "/session_repo_bindings", None),
        ("POST", "/tool_event_transitions", {"tool_event_id": "tool_1", "to_status": "failed"}),
        ("PATCH", "/hookify_decisions", {"blocked": True}),
        ("DELETE", "/hookify_decisions", None),
        ("DELETE", "/tool_event_transitions", None),
    ]:
        answer = auditor.request(method, path, json=body)
        assert (answer.status_code, answer.json()["code"]) == (403, "42501"), (
            f"{path} {answer.text}"
        )
    assert auditor.get("/hookify_decisions", params=mine).json() == [decision]


def test_a_valid_token_is_accepted(guest: httpx.Client, token_for: TokenFor, profile: str) -> None:
    headers = {"Authorization": f"Bearer {token_for(profile)}"}
    for method, path, body in REQUESTS[2:7]:
        answer = guest.request(method, path, json=body, headers=headers)
        assert answer.status_code == 200, answer.text
