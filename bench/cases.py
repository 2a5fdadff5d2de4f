"""The cases: an endpoint of sessionbase, and the same work on a baseline table.

A case makes the requests of one round. A row is used by one request only, unless the work does not
depend on it. The baseline reads or writes one row (or the same list) of the same size, and returns
it.
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

PROFILE = "bench"
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
    """One side of a case: the rows that it needs, and its requests."""

    method: str
    path: str
    body: Callable[[str], dict[str, object]] | None = None
    rows: str | None = None
    """SQL that inserts the rows %(ids)s of %(profile)s, run as superuser."""
    prefer: str | None = None

    def make_rows(self, connection: psycopg.Connection, profile: str, count: int) -> list[str]:
        """Insert `count` rows if the requests need them, and return as many new ids."""
        ids = [str(uuid.UUID(int=next(_serial))) for _ in range(count)]
        if self.rows:
            connection.execute(self.rows, {"ids": ids, "profile": profile})
        return ids

    def prepare(
        self, connection: psycopg.Connection, tokens: Sequence[str], count: int
    ) -> list[bytes]:
        """Insert the rows of a round and return its requests; each uses the next of the tokens."""
        ids = self.make_rows(connection, PROFILE, count)
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
    """An endpoint, the baseline that it is compared with, and the ratio to reach."""

    name: str
    sessionbase: Side
    baseline: Side
    aim: float
    profile_each: bool = False
    """Whether each client uses its own profile. Decisions of one profile are written one after
    the other, because each contains the hash of the one before."""


def _rpc(name: str, body: Callable[[str], dict[str, object]], rows: str | None = None) -> Side:
    return Side("POST", f"/rpc/{name}", body, rows)


def _insert(table: str, body: Callable[[str], dict[str, object]]) -> Side:
    return Side("POST", f"/baseline_{table}", body, prefer=RETURN)


def _patch(table: str, body: Callable[[str], dict[str, object]], rows: str) -> Side:
    return Side("PATCH", f"/baseline_{table}?id=eq.{{id}}", body, rows, RETURN)


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
SESSIONBASE_EVENT = EVENT_ROWS.format(
    table="app.tool_events",
    profile="profile_id,",
    value="%(profile)s,",
    arguments=json.dumps(ARGUMENTS),
)
BASELINE_EVENT = EVENT_ROWS.format(
    table="api.baseline_tool_events", profile="", value="", arguments=json.dumps(ARGUMENTS)
)
MISALIGNMENT_ROWS = """
insert into {table} ({profile} id, session_id, rule_id, title, summary, severity, status, evidence)
select {value} id, 's-' || id, 'r1', 'A heading', 'what happened', 'medium', 'open', '[]'
from unnest(%(ids)s::text[]) as id
"""
SESSIONBASE_MISALIGNMENT = MISALIGNMENT_ROWS.format(
    table="app.misalignments", profile="profile_id,", value="%(profile)s,"
)
BASELINE_MISALIGNMENT = MISALIGNMENT_ROWS.format(
    table="api.baseline_misalignments", profile="", value=""
)
TODO_ROWS = "insert into {table} ({columns}) select {values} from unnest(%(ids)s::uuid[]) as id"
SESSIONBASE_TODO = TODO_ROWS.format(
    table="app.todos", columns="profile_id, id, text", values="%(profile)s, id, 'buy milk'"
)
BASELINE_TODO = TODO_ROWS.format(
    table="api.baseline_todos", columns="id, text", values="id, 'buy milk'"
)

FINISH = {"to_status": "succeeded", "result": RESULT, "context_events": CONTEXT}
FINISHED_ROW = {
    "status": "succeeded",
    "result": RESULT,
    "context_events": CONTEXT,
    "completed_at": "2026-01-01T00:00:00Z",
    "latency_ms": 12,
}
FINISH_BASELINE = _patch("tool_events", lambda key: FINISHED_ROW, BASELINE_EVENT)

TRANSITION = Case(
    "transition_tool_event",
    _rpc("transition_tool_event", lambda key: {"id": key, **FINISH}, SESSIONBASE_EVENT),
    FINISH_BASELINE,
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
            "transition_tool_event_by_call",
            lambda key: {"tool_call_id": key, **FINISH},
            SESSIONBASE_EVENT,
        ),
        FINISH_BASELINE,
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
            SESSIONBASE_MISALIGNMENT,
        ),
        _patch("misalignments", lambda key: {"status": "dismissed"}, BASELINE_MISALIGNMENT),
        0.8,
    ),
    Case(
        "add_todo",
        _rpc("add_todo", lambda key: {"id": key, "text": "buy milk"}),
        _insert("todos", lambda key: {"id": key, "text": "buy milk"}),
        0.8,
    ),
    Case(
        "PATCH /todos",
        Side(
            "PATCH", "/todos?id=eq.{id}", lambda key: {"completed": True}, SESSIONBASE_TODO, RETURN
        ),
        _patch("todos", lambda key: {"completed": True}, BASELINE_TODO),
        0.8,
    ),
    Case(
        "toggle_todo",
        _rpc("toggle_todo", lambda key: {"id": key}, SESSIONBASE_TODO),
        _patch("todos", lambda key: {"completed": True}, BASELINE_TODO),
        0.8,
    ),
    Case(
        "delete_todo",
        _rpc("delete_todo", lambda key: {"id": key}, SESSIONBASE_TODO),
        Side("DELETE", "/baseline_todos?id=eq.{id}", None, BASELINE_TODO, RETURN),
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
            "/baseline_ui_settings?profile_id=eq.bench",
            lambda key: {"settings": SETTINGS, "revision": 2},
            "insert into api.baseline_ui_settings select 'bench', '{}', 1 on conflict do nothing",
            RETURN,
        ),
        0.8,
    ),
    Case(
        "patch_ui_settings (one row)",
        _rpc("patch_ui_settings", lambda key: {"patch": {"lastSessionPath": key}}),
        Side(
            "PATCH",
            "/baseline_ui_settings?profile_id=eq.bench",
            lambda key: {"settings": {**SETTINGS, "lastSessionPath": key}, "revision": 2},
            "insert into api.baseline_ui_settings select 'bench', '{}', 1 on conflict do nothing",
            RETURN,
        ),
        0.8,
    ),
]

# A list: SESSION_EVENTS rows of one session (or profile), in the app's order, in a table with the
# rows of many other profiles.
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
    """Return the case of a list endpoint; lists.sql inserts its rows."""
    columns = {
        "hookify_decisions": "id,session_id,source,content_hash,severity,blocked,rules,message,"
        "annotations,created_at",
        "ui_settings": "settings,revision,updated_at",
    }.get(table)
    full = "&".join(part for part in (query, f"select={columns}" if columns else "") if part)
    return Case(
        f"GET /{table}",
        Side("GET", f"/{table}?{full}"),
        Side("GET", f"/baseline_{table}?{full}"),
        0.9,
    )


def fill(connection: psycopg.Connection, *files: str) -> None:
    """Run SQL files of this folder that insert rows, then vacuum and analyse all tables."""
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
