"""The pairs that are measured: an endpoint of sessionbase's, and the same on a bare table.

Each case gives the requests of one round; a round never uses a row twice, where the endpoint could
tell. The bare side reads or writes one row (or the same list) of the same size, and gives it back.
"""

import hashlib
import itertools
import json
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg

from load import request

SESSION_EVENTS = 50
RETURN = "return=representation"
ARGUMENTS = {"sessionId": "session-default", "eventNumber": 2591}
RESULT = {"event": {"index": 2591, "type": "message", "text": "what the tool found " * 40}}
CONTEXT = [
    {"eventIndex": n, "displayIndex": n, "eventType": "message", "summary": "a summary " * 5}
    for n in range(3)
]
EVIDENCE = [{"message": "what shows it " * 5, "eventIndex": 3}]
SETTINGS = {"bookmarks": list(range(50)), "timelinePreferences": {"sortOrder": "asc"}}

_serial = itertools.count()


@dataclass(frozen=True)
class Side:
    """One side of a case: rows to make beforehand, then the requests of a round."""

    method: str
    path: str
    body: Callable[[str], dict[str, object]] | None = None
    rows: str | None = None  # SQL that makes the rows :ids, as superuser
    prefer: str | None = None

    def prepare(
        self, connection: psycopg.Connection, tokens: Sequence[str], count: int
    ) -> list[bytes]:
        """Make the rows of a round and return its requests, the tokens taking turns."""
        ids = [str(uuid.UUID(int=next(_serial))) for _ in range(count)]
        if self.rows:
            connection.execute(self.rows, {"ids": ids})
        return [
            request(
                self.method,
                self.path.replace("{id}", key),
                token,
                json.dumps(self.body(key)).encode() if self.body else None,
                self.prefer,
            )
            for key, token in zip(ids, itertools.cycle(tokens))
        ]


@dataclass(frozen=True)
class Case:
    """An endpoint, what it is measured against, and the ratio aimed at."""

    name: str
    kept: Side
    bare: Side
    aim: float
    # A chain of decisions is written by one at a time: give each client a profile, and measure the
    # queue of a single profile apart.
    profile_each: bool = False


def _rpc(name: str, body: Callable[[str], dict[str, object]], rows: str | None = None) -> Side:
    return Side("POST", f"/rpc/{name}", body, rows)


def _insert(table: str, body: Callable[[str], dict[str, object]]) -> Side:
    return Side("POST", f"/bare_{table}", body, prefer=RETURN)


def _patch(table: str, body: Callable[[str], dict[str, object]], rows: str) -> Side:
    return Side("PATCH", f"/bare_{table}?id=eq.{{id}}", body, rows, RETURN)


def _event(key: str) -> dict[str, object]:
    return {
        "id": key,
        "session_id": f"s-{key}",
        "tool_name": "get_timeline_event",
        "tool_call_id": key,
        "arguments": ARGUMENTS,
    }


def _decision(key: str) -> dict[str, object]:
    return {
        "id": key,
        "session_id": "s",
        "source": "manual",
        "severity": "low",
        "blocked": False,
        "rules": [{"id": "r1", "severity": "low"}],
        "content_hash": hashlib.sha256(key.encode()).hexdigest(),
    }


def _misalignment(key: str) -> dict[str, object]:
    return {
        "id": key,
        "rule_id": "r1",
        "title": "A heading",
        "summary": "what happened " * 10,
        "severity": "medium",
        "status": "open",
        "evidence": EVIDENCE,
    }


EVENT_ROWS = """
insert into {table} ({profile} id, session_id, tool_call_id, tool_name, status, arguments)
select {value} id, 's-' || id, id, 'get_timeline_event', 'executing', '{arguments}'
from unnest(%(ids)s::text[]) as id
"""
KEPT_EVENT = EVENT_ROWS.format(
    table="app.tool_events",
    profile="profile_id,",
    value="'bench',",
    arguments=json.dumps(ARGUMENTS),
)
BARE_EVENT = EVENT_ROWS.format(
    table="api.bare_tool_events", profile="", value="", arguments=json.dumps(ARGUMENTS)
)
MISALIGNMENT_ROWS = """
insert into {table} ({profile} id, session_id, rule_id, title, summary, severity, status, evidence)
select {value} id, 's-' || id, 'r1', 'A heading', 'what happened', 'medium', 'open', '[]'
from unnest(%(ids)s::text[]) as id
"""
KEPT_MISALIGNMENT = MISALIGNMENT_ROWS.format(
    table="app.misalignments", profile="profile_id,", value="'bench',"
)
BARE_MISALIGNMENT = MISALIGNMENT_ROWS.format(table="api.bare_misalignments", profile="", value="")
TODO_ROWS = "insert into {table} ({columns}) select {values} from unnest(%(ids)s::uuid[]) as id"
KEPT_TODO = TODO_ROWS.format(
    table="app.todos", columns="profile_id, id, text", values="'bench', id, 'buy milk'"
)
BARE_TODO = TODO_ROWS.format(table="api.bare_todos", columns="id, text", values="id, 'buy milk'")

FINISH = {"to_status": "succeeded", "result": RESULT, "context_events": CONTEXT}
FINISHED_ROW = {
    "status": "succeeded",
    "result": RESULT,
    "context_events": CONTEXT,
    "completed_at": "2026-01-01T00:00:00Z",
    "latency_ms": 12,
}
FINISH_BARE = _patch("tool_events", lambda key: FINISHED_ROW, BARE_EVENT)

TRANSITION = Case(
    "transition_tool_event",
    _rpc("transition_tool_event", lambda key: {"id": key, **FINISH}, KEPT_EVENT),
    FINISH_BARE,
    0.8,
)

WRITES = [
    Case(
        "record_tool_event",
        _rpc("record_tool_event", _event),
        _insert("tool_events", lambda key: {**_event(key), "status": "executing"}),
        0.8,
    ),
    Case(
        "transition_tool_event_by_call",
        _rpc(
            "transition_tool_event_by_call", lambda key: {"tool_call_id": key, **FINISH}, KEPT_EVENT
        ),
        FINISH_BARE,
        0.8,
    ),
    Case(
        "record_hookify_decision",
        _rpc("record_hookify_decision", _decision),
        _insert("hookify_decisions", _decision),
        0.8,
        profile_each=True,
    ),
    Case(
        "record_hookify_decision (one chain)",
        _rpc("record_hookify_decision", _decision),
        _insert("hookify_decisions", _decision),
        0.8,
    ),
    Case(
        "ingest_misalignments (1)",
        _rpc(
            "ingest_misalignments",
            lambda key: {"session_id": f"s-{key}", "candidates": [_misalignment(key)]},
        ),
        _insert("misalignments", lambda key: {**_misalignment(key), "session_id": f"s-{key}"}),
        0.8,
    ),
    Case(
        "transition_misalignment",
        _rpc(
            "transition_misalignment",
            lambda key: {"session_id": f"s-{key}", "id": key, "to_status": "dismissed"},
            KEPT_MISALIGNMENT,
        ),
        _patch("misalignments", lambda key: {"status": "dismissed"}, BARE_MISALIGNMENT),
        0.8,
    ),
    Case(
        "POST /todos",
        Side("POST", "/todos", lambda key: {"id": key, "text": "buy milk"}, prefer=RETURN),
        _insert("todos", lambda key: {"id": key, "text": "buy milk"}),
        0.8,
    ),
    Case(
        "PATCH /todos",
        Side("PATCH", "/todos?id=eq.{id}", lambda key: {"completed": True}, KEPT_TODO, RETURN),
        _patch("todos", lambda key: {"completed": True}, BARE_TODO),
        0.8,
    ),
    Case(
        "toggle_todo",
        _rpc("toggle_todo", lambda key: {"id": key}, KEPT_TODO),
        _patch("todos", lambda key: {"completed": True}, BARE_TODO),
        0.8,
    ),
    Case(
        "delete_todo",
        _rpc("delete_todo", lambda key: {"id": key}, KEPT_TODO),
        Side("DELETE", "/bare_todos?id=eq.{id}", None, BARE_TODO, RETURN),
        0.8,
    ),
    Case(
        "set_session_repo_binding",
        _rpc(
            "set_session_repo_binding",
            lambda key: {"session_id": key, "asset_path": "/assets/a", "root_dir": "/repos/r"},
        ),
        _insert(
            "session_repo_bindings",
            lambda key: {"session_id": key, "asset_path": "/assets/a", "root_dir": "/repos/r"},
        ),
        0.8,
    ),
    Case(
        "save_ui_settings (one row)",
        _rpc("save_ui_settings", lambda key: {"settings": SETTINGS}),
        Side(
            "PATCH",
            "/bare_ui_settings?profile_id=eq.bench",
            lambda key: {"settings": SETTINGS, "revision": 2},
            "insert into api.bare_ui_settings select 'bench', '{}', 1 on conflict do nothing",
            RETURN,
        ),
        0.8,
    ),
    Case(
        "patch_ui_settings (one row)",
        _rpc("patch_ui_settings", lambda key: {"patch": {"lastSessionPath": key}}),
        Side(
            "PATCH",
            "/bare_ui_settings?profile_id=eq.bench",
            lambda key: {"settings": {**SETTINGS, "lastSessionPath": key}, "revision": 2},
            "insert into api.bare_ui_settings select 'bench', '{}', 1 on conflict do nothing",
            RETURN,
        ),
        0.8,
    ),
]

# A list: SESSION_EVENTS rows of one session (or profile), in the app's order, among many others.
LIST_PROFILE = "bench-lists"
LISTS = [
    ("tool_events", "session_id=eq.list&order=started_at,id"),
    ("hookify_decisions", "session_id=eq.list&order=position"),
    ("misalignments", "session_id=eq.list&order=created_at,id"),
    ("todos", "order=created_at,id"),
    ("session_repo_bindings", "order=session_id"),
    ("ui_settings", ""),
]


def list_case(table: str, query: str) -> Case:
    """Return the case of a list endpoint; its rows are made by lists.sql."""
    columns = {
        "hookify_decisions": "id,session_id,source,content_hash,severity,blocked,rules,message,"
        "annotations,created_at",
        "ui_settings": "settings,revision,updated_at",
    }.get(table)
    full = "&".join(part for part in (query, f"select={columns}" if columns else "") if part)
    kept, bare = Side("GET", f"/{table}?{full}"), Side("GET", f"/bare_{table}?{full}")
    return Case(f"GET /{table}", kept, bare, 0.9)


def fill(connection: psycopg.Connection, *files: str) -> None:
    """Make the rows that the SQL files of this folder tell of, and let the planner know them."""
    values = {
        "profile": LIST_PROFILE,
        "rows": SESSION_EVENTS,
        "arguments": json.dumps(ARGUMENTS),
        "result": json.dumps(RESULT),
        "context": json.dumps(CONTEXT),
        "evidence": json.dumps(EVIDENCE),
        "settings": json.dumps(SETTINGS),
    }
    for file in files:
        statements = (Path(__file__).parent / file).read_text()
        psycopg.ClientCursor(connection).execute(statements, values)
    connection.execute("vacuum analyze")
