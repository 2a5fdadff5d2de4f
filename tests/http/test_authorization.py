"""Every call of docs/authorization.md is made, and its result compared with the page."""

import json
import re
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
import psycopg
import pytest
from psycopg import sql

from generate.authorization import AUTHORITY, ENDPOINTS, Caller, Cell, cells
from sessionbase.doctor.authority import FILE_NAME, Function

TokenFor = Callable[..., str]
Send = Callable[[str | None, str, str, "Call"], httpx.Response]

SETUP = [request for domain in AUTHORITY.domains.values() for request in domain.setup]
"""The requests that store a row of the owner in every table, in order."""


def placeholders(value: Any) -> set[str]:
    """Return the names of the {placeholders} in an example."""
    return set(re.findall(r"{(\w+)}", json.dumps(value)))


ID_NAMES = {
    name
    for endpoint in ENDPOINTS.values()
    for name in placeholders(
        endpoint.example if isinstance(endpoint, Function) else [endpoint.filter, endpoint.row]
    )
    | placeholders([request.body for request in SETUP])
} - {"profile", "text"}


@dataclass(frozen=True)
class Rows:
    """The value of each placeholder except `text`: ids of the owner, or ids that do not exist."""

    values: dict[str, str]

    @classmethod
    def new(cls, profile: str) -> "Rows":
        return cls({"profile": profile} | {name: str(uuid.uuid4()) for name in sorted(ID_NAMES)})

    @property
    def profile(self) -> str:
        return self.values["profile"]

    def fill(self, value: Any, text: str) -> Any:
        """Replace the placeholders in an example."""
        known = self.values | {"text": text}
        filled = re.sub(r"{(\w+)}", lambda match: known[match[1]], json.dumps(value))
        return json.loads(filled)


@dataclass(frozen=True)
class Call:
    """The query string and the body (or None) of a request."""

    params: dict[str, str]
    body: Any = None


def call_of(cell: Cell, rows: Rows, text: str) -> Call:
    """Return what the call of a cell sends; `text` is what a write would store."""
    endpoint = ENDPOINTS[cell.path]
    if isinstance(endpoint, Function):
        arguments = rows.fill(endpoint.example, text)
        if cell.verb == "GET":
            return Call(
                {
                    name: value if isinstance(value, str) else json.dumps(value)
                    for name, value in arguments.items()
                }
            )
        return Call({}, arguments)
    named, body = rows.fill(endpoint.filter, text), rows.fill(endpoint.row, text)
    params = {column: f"eq.{value}" for column, value in named.items()}
    if cell.verb in {"GET", "DELETE"}:
        return Call(params)
    if cell.verb == "POST":
        # Others send the ids that the owner uses. The owner sends none, as its rows exist already.
        return Call({}, body if cell.caller is Caller.own else body | chosen(cell.path, named))
    return Call(params, body)


def chosen(path: str, named: dict[str, str]) -> dict[str, str]:
    """Return the ids that a caller can choose when it inserts a row into a view."""
    table = AUTHORITY.tables.get(path.removeprefix("/"))
    columns = table.columns("insert") if table else []
    return {column: value for column, value in named.items() if column in columns}


def store_examples(send: Send, token: str, rows: Rows, text: str) -> None:
    """Make the requests of "setup" as the profile of the token."""
    for request in SETUP:
        body = request.body
        if body is None:
            endpoint = ENDPOINTS[request.path]
            assert isinstance(endpoint, Function), (
                f'{FILE_NAME}: "setup" of {request.path} needs a "body"'
            )
            body = endpoint.example
        answer = send(token, "POST", request.path, Call({}, rows.fill(body, text)))
        assert answer.status_code in {200, 201}, (
            f"{FILE_NAME}: the example of POST {request.path} is refused: {answer.text}"
        )


@pytest.fixture
def send(stack: Any) -> Any:
    with httpx.Client(base_url=stack.rest_url, timeout=60, trust_env=False) as client:

        def request(token: str | None, verb: str, path: str, call: Call) -> httpx.Response:
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            return client.request(verb, path, params=call.params, json=call.body, headers=headers)

        yield request


def log_erasure(db: psycopg.Connection[Any], profile: str, text: str) -> None:
    """Store the one row that no call stores: the erasure of a profile that has no rows yet."""
    db.execute(
        "insert into app.profile_log (profile_id, action, reason) values (%s, 'erase', %s)",
        (profile, text),
    )


@pytest.fixture
def owner(
    profile: str, send: Send, token_for: TokenFor, db: psycopg.Connection[Any]
) -> tuple[Rows, str]:
    """Store the rows of all examples; return their ids and the text that is in each of them."""
    rows, text = Rows.new(profile), f"text-of-the-owner-{uuid.uuid4().hex}"
    log_erasure(db, profile, text)
    store_examples(send, token_for(profile), rows, text)
    return rows, text


def stored(db: psycopg.Connection[Any], profile: str) -> dict[str, list[Any]]:
    """Return every row of the profile, table by table."""
    tables = db.execute(
        "select attrelid::regclass::text, relname from pg_attribute join pg_class on oid = attrelid"
        " where relnamespace = 'app'::regnamespace and relkind = 'r' and attname = 'profile_id'"
    ).fetchall()
    return {
        name: db.execute(
            sql.SQL(
                "select to_jsonb(stored) from {} as stored where profile_id = %s order by 1"
            ).format(sql.Identifier("app", name)),
            (profile,),
        ).fetchall()
        for _, name in tables
    }


def token_of(caller: Caller, owner: str, token_for: TokenFor) -> str | None:
    """Return the token of a caller; other callers have a new profile at each call."""
    other = f"p-{uuid.uuid4().hex}"
    tokens: dict[Caller, Callable[[], str | None]] = {
        Caller.guest: lambda: None,
        Caller.own: lambda: token_for(owner),
        Caller.other: lambda: token_for(other),
        Caller.auditor: lambda: token_for(other, role="auditor"),
        Caller.no_sub: lambda: token_for(other, sub=None),
        Caller.expired: lambda: token_for(owner, exp=int(time.time()) - 3600),
    }
    return tokens[caller]()


def in_order() -> list[Cell]:
    """Return every cell, the calls of the owner last, as they change its rows."""
    return sorted(cells(), key=lambda cell: (cell.caller is Caller.own, cell.reads is False))


def test_the_authority_list_has_exactly_the_existing_endpoints(
    send: Send, db: psycopg.Connection[Any], token_for: TokenFor, profile: str
) -> None:
    described: set[str] = set()
    for role in ("authenticated", "auditor"):
        answer = send(token_for(profile, role=role), "GET", "/", Call({}))
        described |= set(answer.json()["paths"]) - {"/"}
    # What no role may use is not described.
    views = db.execute(
        "select '/' || relname from pg_class"
        " where relnamespace = 'api'::regnamespace and relkind in ('r', 'p', 'v', 'm', 'f')"
    ).fetchall()
    functions = db.execute(
        "select '/rpc/' || proname, 'record'::regtype = any(proargtypes::oid[]) from pg_proc"
        # PostgREST does not offer the functions of triggers.
        " where pronamespace = 'api'::regnamespace and prorettype <> 'trigger'::regtype"
    ).fetchall()
    # A function that takes a row is a computed column: OpenAPI lists it, but it can't be called.
    computed = {path for path, takes_a_row in functions if takes_a_row}
    for path in computed:
        for verb in ("GET", "POST"):
            assert send(token_for(profile), verb, path, Call({})).status_code == 404
    endpoints = (described | {path for path, *_ in views + functions}) - computed
    assert endpoints - set(ENDPOINTS) == set(), (
        f'add them to {FILE_NAME}: a view to "views", a function to "functions" of its domain'
    )
    assert set(ENDPOINTS) - endpoints == set(), f"they do not exist: remove them from {FILE_NAME}"


def test_every_call_has_the_expected_status_and_shows_no_row_of_another_profile(
    owner: tuple[Rows, str],
    send: Send,
    db: psycopg.Connection[Any],
    token_for: TokenFor,
    postgrest_major: int,
) -> None:
    rows, text = owner
    before = stored(db, rows.profile)
    tables = AUTHORITY.tables
    # No role has a right on a closed table: only triggers write it.
    is_open = {table: table not in tables or bool(tables[table].commands) for table in before}
    assert [table for table, found in before.items() if not found and is_open[table]] == [], (
        f'the owner has no row in them: add a request to "setup" of their domain in {FILE_NAME}'
    )

    wrong = []
    was_checked = False
    for cell in in_order():
        if cell.caller is Caller.own and not was_checked:
            assert stored(db, rows.profile) == before, (
                "a call of another caller has changed rows: correct the policies in sql/migrations"
            )
            was_checked = True
        written = text if cell.caller is Caller.own else "text of another profile"
        token = token_of(cell.caller, rows.profile, token_for)
        answer = send(token, cell.verb, cell.path, call_of(cell, rows, written))
        shown = rows.fill(ENDPOINTS[cell.path].shows, text) in answer.text or text in answer.text
        expected = cell.status
        if expected == 400 and cell.verb == "GET" and not cell.reads and postgrest_major >= 13:
            expected = 405  # it reads the array or object in the query string
        if answer.status_code != expected:
            wrong.append(f"{cell}: {answer.status_code}, not {expected}: {answer.text}")
        elif cell.reads and shown is not cell.shows_rows:
            wrong.append(f"{cell}: rows of the owner {'shown' if shown else 'missing'}")
        elif shown and not cell.reads and cell.caller is not Caller.own:
            wrong.append(f"{cell}: rows of the owner shown")
    assert was_checked
    assert wrong == [], "\n".join(
        [f"Correct the grants and policies in sql/, or the expectation in {FILE_NAME}:", *wrong]
    )


def without_ids_and_times(answer: httpx.Response, rows: Rows, profile: str) -> tuple[int, Any, str]:
    """Return a response without ids, times and hashes, which always differ."""

    def plain(value: str) -> str:
        for name, given in rows.values.items():
            value = value.replace(given, f"<{name}>")
        value = value.replace(profile, "<caller>")
        value = re.sub(r"\d{4}-\d\d-\d\dT[0-9:.]+(\+00:00|Z)", "<time>", value)
        return re.sub(r"[0-9a-f]{64}", "<hash>", value)

    headers = {
        name: plain(value)
        for name, value in answer.headers.items()
        # The length follows from the digits of a time.
        if name not in {"date", "content-length"}
    }
    return answer.status_code, headers, plain(answer.text)


@pytest.mark.parametrize("path", ENDPOINTS)
def test_ids_of_another_profile_have_the_same_answers_as_unknown_ids(
    path: str, owner: tuple[Rows, str], send: Send, token_for: TokenFor
) -> None:
    rows, _ = owner
    unknown = Rows.new(f"p-{uuid.uuid4().hex}")
    compared = 0
    for cell in cells():
        if cell.path != path or cell.caller is not Caller.other:
            continue
        answers = []
        for named in (rows, unknown):
            caller = f"p-{uuid.uuid4().hex}"
            call = call_of(cell, named, "text of another profile")
            answer = send(token_for(caller), cell.verb, cell.path, call)
            answers.append(without_ids_and_times(answer, named, caller))
        assert answers[0] == answers[1], (
            f"{cell}: correct the function or policy, which reveals that the ids exist"
        )
        compared += 1
    assert compared >= 2


def without_differences(rows: list[Any], ids: Rows) -> list[str]:
    """Return stored rows without what differs: profile, times, hashes and transactions."""
    text = json.dumps(rows).replace(ids.profile, "<profile>")
    text = re.sub(r'("transaction_id": )"\d+"', r'\1"<transaction>"', text)
    text = re.sub(r"\d{4}-\d\d-\d\dT[0-9:.]+\+\d\d:\d\d", "<time>", text)
    text = re.sub(r"(\\\\x)?[0-9a-f]{64}", "<hash>", text)
    return sorted(json.dumps(row) for row in json.loads(text))


def test_two_profiles_can_store_rows_with_the_same_ids(
    owner: tuple[Rows, str], send: Send, token_for: TokenFor, db: psycopg.Connection[Any]
) -> None:
    rows, text = owner
    other = Rows(rows.values | {"profile": f"p-{uuid.uuid4().hex}"})
    log_erasure(db, other.profile, text)
    store_examples(send, token_for(other.profile), other, text)
    theirs, ours = stored(db, other.profile), stored(db, rows.profile)
    for table, found in ours.items():
        assert without_differences(theirs[table], other) == without_differences(found, rows), (
            f"correct the key or the policies of app.{table}: profiles must be independent"
        )
