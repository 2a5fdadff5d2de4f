"""Every call of docs/authorization.md, made on the live stack and compared with the rule."""

import json
import re
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx
import psycopg
import pytest
from psycopg import sql

from generate.authorization import ENDPOINTS, Caller, Cell, View, cells

TokenFor = Callable[..., str]
Send = Callable[[str | None, str, str, "Call"], httpx.Response]


@dataclass(frozen=True)
class Rows:
    """The ids that calls name: an owner's, or ones that nobody has. All texts have one length."""

    profile: str
    session: str
    event: str
    call: str
    decision: str
    misalignment: str
    todo: str
    doomed_todo: str

    @classmethod
    def new(cls, profile: str) -> "Rows":
        def name(prefix: str) -> str:
            return f"{prefix}-{uuid.uuid4().hex}"

        return cls(
            profile,
            name("session"),
            name("tool"),
            name("call"),
            name("hook"),
            name("mis"),
            str(uuid.uuid4()),
            str(uuid.uuid4()),
        )


@dataclass(frozen=True)
class Call:
    """What is sent: a query string, and a body or none."""

    params: dict[str, str]
    body: Any = None


def event(rows: Rows, text: str) -> dict[str, Any]:
    return {
        "id": rows.event,
        "session_id": rows.session,
        "tool_call_id": rows.call,
        "tool_name": text,
        "arguments": {},
    }


def decision(rows: Rows, text: str) -> dict[str, Any]:
    return {
        "id": rows.decision,
        "session_id": rows.session,
        "source": "manual",
        "severity": "low",
        "blocked": False,
        "rules": [],
        "content_hash": "0" * 64,
        "message": text,
    }


def candidate(rows: Rows, text: str) -> dict[str, Any]:
    return {"id": rows.misalignment, "rule_id": "rule", "title": text, "summary": text}


def function_call(path: str, rows: Rows, text: str) -> dict[str, Any]:
    """The arguments that a function is called with."""
    return {
        "/rpc/record_tool_event": event(rows, text),
        "/rpc/transition_tool_event": {"id": rows.event, "to_status": "succeeded"},
        "/rpc/transition_tool_event_by_call": {
            "tool_call_id": rows.call,
            "to_status": "succeeded",
        },
        "/rpc/record_hookify_decision": decision(rows, text),
        "/rpc/verify_hookify_decisions": {"profile_id": rows.profile},
        "/rpc/ingest_misalignments": {
            "session_id": rows.session,
            "candidates": [candidate(rows, text)],
        },
        "/rpc/transition_misalignment": {
            "session_id": rows.session,
            "id": rows.misalignment,
            "to_status": "dismissed",
        },
        "/rpc/toggle_todo": {"id": rows.todo},
        "/rpc/delete_todo": {"id": rows.doomed_todo},
        "/rpc/set_session_repo_binding": {
            "session_id": rows.session,
            "asset_path": text,
            "root_dir": text,
        },
        "/rpc/save_ui_settings": {"settings": {"lastSessionPath": text}},
        "/rpc/patch_ui_settings": {"patch": {"lastSessionPath": text}},
        "/rpc/session_context": {"session_id": rows.session},
    }[path]


def view_call(path: str, rows: Rows, text: str) -> Call:
    """The filter that names the owner's row of a view, and a row to write to it."""
    by_id, body = {
        "/tool_events": ({"id": rows.event}, event(rows, text)),
        "/tool_event_transitions": (
            {"tool_event_id": rows.event},
            {"tool_event_id": rows.event, "to_status": "succeeded"},
        ),
        "/hookify_decisions": ({"id": rows.decision}, decision(rows, text)),
        "/misalignments": (
            {"session_id": rows.session, "id": rows.misalignment},
            candidate(rows, text) | {"session_id": rows.session},
        ),
        "/misalignment_transitions": (
            {"misalignment_id": rows.misalignment},
            {"session_id": rows.session, "misalignment_id": rows.misalignment, "number": 9},
        ),
        "/todos": ({"id": rows.todo}, {"text": text}),
        "/session_repo_bindings": (
            {"session_id": rows.session},
            {"session_id": rows.session, "asset_path": text, "root_dir": text},
        ),
        # The table has one row a profile, and nothing in it names whose.
        "/ui_settings": ({"revision": "1"}, {"settings": {"lastSessionPath": text}}),
    }[path]
    return Call({column: f"eq.{value}" for column, value in by_id.items()}, body)


def call_of(cell: Cell, rows: Rows, text: str) -> Call:
    """What the cell's call sends; `text` is what a write would store."""
    if not isinstance(ENDPOINTS[cell.path], View):
        arguments = function_call(cell.path, rows, text)
        if cell.verb == "GET":
            return Call(
                {
                    name: value if isinstance(value, str) else json.dumps(value)
                    for name, value in arguments.items()
                }
            )
        return Call({}, arguments)
    call = view_call(cell.path, rows, text)
    if cell.verb in {"GET", "DELETE"}:
        return Call(call.params)
    if cell.verb == "POST":
        # Others ask for the id that the owner uses; the owner itself lets one be made.
        is_new = cell.path == "/todos" and cell.caller is not Caller.own
        chosen = {"id": rows.todo} if is_new else {}
        return Call({}, call.body | chosen)
    return call


@pytest.fixture
def send(stack: Any) -> Any:
    with httpx.Client(base_url=stack.rest_url, timeout=60, trust_env=False) as client:

        def request(token: str | None, verb: str, path: str, call: Call) -> httpx.Response:
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            return client.request(verb, path, params=call.params, json=call.body, headers=headers)

        yield request


@pytest.fixture
def owner(profile: str, send: Send, token_for: TokenFor) -> tuple[Rows, str]:
    """Store something everywhere; return its ids and a text that stands in all of it."""
    rows, text = Rows.new(profile), f"text-of-the-owner-{uuid.uuid4().hex}"
    post = partial(send, token_for(profile), "POST")
    for path in (
        "/rpc/record_tool_event",
        "/rpc/record_hookify_decision",
        "/rpc/ingest_misalignments",
        "/rpc/set_session_repo_binding",
        "/rpc/save_ui_settings",
    ):
        answer = post(path, Call({}, function_call(path, rows, text)))
        assert answer.status_code == 200, answer.text
    for todo in (rows.todo, rows.doomed_todo):
        answer = post("/todos", Call({}, {"id": todo, "text": text}))
        assert answer.status_code == 201, answer.text
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
    """The caller's token; another profile is a new one at each call."""
    stranger = f"p-{uuid.uuid4().hex}"
    return {
        Caller.guest: lambda: None,
        Caller.own: lambda: token_for(owner),
        Caller.other: lambda: token_for(stranger),
        Caller.auditor: lambda: token_for(stranger, role="auditor"),
        Caller.no_sub: lambda: token_for(stranger, sub=None),
        Caller.expired: lambda: token_for(owner, exp=int(time.time()) - 3600),
    }[caller]()


def in_order() -> list[Cell]:
    """Every cell, the owner's own calls last: they are meant to change its rows."""
    return sorted(cells(), key=lambda cell: (cell.caller is Caller.own, cell.reads is False))


def test_the_matrix_names_every_endpoint_there_is_and_no_other(
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
        " where pronamespace = 'api'::regnamespace"
    ).fetchall()
    # A function of a row is a computed column: described, but there is no way to call it.
    computed = {path for path, takes_a_row in functions if takes_a_row}
    for path in computed:
        for verb in ("GET", "POST"):
            assert send(token_for(profile), verb, path, Call({})).status_code == 404
    endpoints = described | {path for path, *_ in views + functions}
    assert set(ENDPOINTS) == endpoints - computed


def test_every_call_gets_the_status_of_the_rule_and_nobody_reaches_the_rows_of_the_owner(
    owner: tuple[Rows, str], send: Send, db: psycopg.Connection[Any], token_for: TokenFor
) -> None:
    rows, text = owner
    before = stored(db, rows.profile)
    assert all(before.values()), "the owner has a row in every table"

    wrong = []
    was_checked = False
    for cell in in_order():
        if cell.caller is Caller.own and not was_checked:
            assert stored(db, rows.profile) == before
            was_checked = True
        written = text if cell.caller is Caller.own else "text of somebody else"
        token = token_of(cell.caller, rows.profile, token_for)
        answer = send(token, cell.verb, cell.path, call_of(cell, rows, written))
        # An answer about a chain has no text of its rows; it tells its length.
        sign = '"checked":1' if cell.path.endswith("verify_hookify_decisions") else None
        shown = (sign or text) in answer.text or (
            cell.path.endswith("_transitions") and rows.profile in answer.text
        )
        if answer.status_code != cell.status:
            wrong.append(f"{cell}: {answer.status_code}, not {cell.status}: {answer.text}")
        elif cell.reads and shown is not cell.shows_rows:
            wrong.append(f"{cell}: rows of the owner {'shown' if shown else 'missing'}")
        elif shown and not cell.reads and cell.caller is not Caller.own:
            wrong.append(f"{cell}: rows of the owner shown")
    assert was_checked
    assert wrong == [], "\n".join(wrong)


def made_equal(answer: httpx.Response, rows: Rows, profile: str) -> tuple[int, Any, str]:
    """Return the answer without what differs between any two: ids, times and hashes of them."""

    def plain(value: str) -> str:
        for name, given in vars(rows).items():
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
def test_to_another_profile_the_ids_of_the_owner_are_like_ids_that_nobody_has(
    path: str, owner: tuple[Rows, str], send: Send, token_for: TokenFor
) -> None:
    rows, _ = owner
    nobody = Rows.new(f"p-{uuid.uuid4().hex}")
    compared = 0
    for cell in cells():
        if cell.path != path or cell.caller is not Caller.other:
            continue
        answers = []
        for named in (rows, nobody):
            caller = f"p-{uuid.uuid4().hex}"
            call = call_of(cell, named, "text of somebody else")
            answer = send(token_for(caller), cell.verb, cell.path, call)
            answers.append(made_equal(answer, named, caller))
        assert answers[0] == answers[1], cell
        compared += 1
    assert compared >= 2


def test_an_id_that_the_owner_uses_is_free_for_another_profile(
    owner: tuple[Rows, str], send: Send, token_for: TokenFor, db: psycopg.Connection[Any]
) -> None:
    rows, _ = owner
    other = f"p-{uuid.uuid4().hex}"
    for path in (
        "/rpc/record_tool_event",
        "/rpc/record_hookify_decision",
        "/rpc/ingest_misalignments",
        "/rpc/set_session_repo_binding",
        "/todos",
    ):
        cell = Cell(path, "POST", Caller.other)
        answer = send(token_for(other), "POST", path, call_of(cell, rows, "mine"))
        assert answer.status_code == cell.status, answer.text

    mine = stored(db, other)
    for table, column, taken in (
        ("tool_events", "id", rows.event),
        ("hookify_decisions", "id", rows.decision),
        ("misalignments", "id", rows.misalignment),
        ("todos", "id", rows.todo),
        ("session_repo_bindings", "session_id", rows.session),
    ):
        assert [row[0][column] for row in mine[table]] == [taken]
