"""docs/errors.md says for every write whether it is safe to repeat; here each one is repeated."""

import re
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from sessionbase.doctor.authority import read_authority
from sessionbase.paths import PROJECT_DIR

AUTHORITY = read_authority()
READABLE = [name for name, view in AUTHORITY.views.items() if "authenticated" in view.verbs]
ROW = re.compile(
    r"^\| `(?P<write>(?:POST|PATCH|DELETE) [^`]+)` \| (?P<rule>[^|]+?) \|"
    r" (?P<repeat>[^|]*?) \| ?(?P<between>[^|]*?) ?\|$",
    re.MULTILINE,
)
TABLE = {
    row["write"]: row
    for row in ROW.finditer((PROJECT_DIR / "docs/errors.md").read_text(encoding="utf-8"))
}

TODO = "0190d1a0-0000-7000-8000-000000000001"
EVENT = {"id": "tool_1", "session_id": "s", "tool_name": "t", "tool_call_id": "c", "arguments": {}}
DECISION = {
    "id": "hook_1",
    "session_id": "s",
    "source": "manual",
    "severity": "low",
    "blocked": False,
    "rules": [],
    "content": "c",
}
CANDIDATE = {"rule_id": "r", "title": "first", "summary": "s"}
BINDING = {"session_id": "s", "asset_path": "a", "root_dir": "/first"}
MISALIGNMENT = {"session_id": "s", "id": "mis-s-r"}


@dataclass(frozen=True)
class Call:
    """One request: `POST /rpc/…`, or a verb and a path with a query."""

    write: str
    body: Any = None

    def send(self, client: httpx.Client) -> httpx.Response:
        method, path = self.write.split(" ")
        return client.request(method, path, json=self.body)

    def done(self, client: httpx.Client) -> None:
        answer = self.send(client)
        assert answer.is_success, f"{self.write}: {answer.text}"

    def without(self, *keys: str) -> "Call":
        return Call(self.write, {key: self.body[key] for key in self.body if key not in keys})


def rpc(name: str, **arguments: Any) -> Call:
    return Call(f"POST /rpc/{name}", arguments)


@dataclass(frozen=True)
class Case:
    """A write that is safe to repeat."""

    call: Call
    between: Call
    """A write of another caller, after the first request and before its repeat."""
    before: tuple[Call, ...] = ()
    """What must be stored before the write."""
    changes: frozenset[str] = frozenset()
    """The columns that a repeat changes."""
    refused: int | None = None
    """The status of the repeat, if it is refused."""
    history: frozenset[str] = frozenset()
    """Views and columns that show the write in between also after it was overwritten."""


record_event, add_todo = rpc("record_tool_event", **EVENT), rpc("add_todo", id=TODO, text="first")
post_todo = Call("POST /todos", {"id": TODO, "text": "first"})
ingest = rpc("ingest_misalignments", session_id="s", candidates=[CANDIDATE])
set_binding = rpc("set_session_repo_binding", **BINDING)
delete_binding = Call("DELETE /session_repo_bindings?session_id=eq.s")
delete_todo = rpc("delete_todo", id=TODO)
dismiss = rpc("transition_misalignment", **MISALIGNMENT, to_status="dismissed")
save = rpc("save_ui_settings", settings={"key": "first"})
patch = rpc("patch_ui_settings", patch={"key": "first"})
finish = rpc("transition_tool_event", id="tool_1", to_status="succeeded", result=1)
REVISION = frozenset({"revision", "updated_at"})

SAFE = [
    Case(record_event, between=finish),
    Case(
        finish,
        before=(record_event,),
        between=rpc("transition_tool_event", id="tool_1", to_status="succeeded", result=2),
    ),
    Case(
        rpc("record_hookify_decision", **DECISION),
        between=rpc("record_hookify_decision", **{**DECISION, "id": "hook_2"}),
    ),
    Case(
        ingest,
        between=rpc(
            "ingest_misalignments", session_id="s", candidates=[{**CANDIDATE, "title": "second"}]
        ),
        history=frozenset({"updated_at"}),
    ),
    Case(
        dismiss,
        before=(ingest,),
        between=rpc("transition_misalignment", **MISALIGNMENT, to_status="acknowledged"),
        refused=409,
        history=frozenset({"misalignment_transitions", "previous_status", "updated_at"}),
    ),
    Case(add_todo, between=delete_todo, history=frozenset({"created_at"})),
    Case(
        delete_todo,
        before=(add_todo,),
        between=add_todo,
        refused=404,
    ),
    Case(post_todo, between=delete_todo, history=frozenset({"created_at"})),
    Case(
        Call(f"PATCH /todos?id=eq.{TODO}", {"text": "second"}),
        before=(add_todo,),
        between=Call(f"PATCH /todos?id=eq.{TODO}", {"text": "third"}),
    ),
    Case(
        set_binding,
        between=rpc("set_session_repo_binding", **{**BINDING, "root_dir": "/second"}),
        changes=frozenset({"updated_at"}),
    ),
    Case(delete_binding, before=(set_binding,), between=set_binding),
    Case(save, between=rpc("save_ui_settings", settings={"key": "second"}), changes=REVISION),
    Case(patch, between=rpc("patch_ui_settings", patch={"key": "second"}), changes=REVISION),
]


def write_of(call: Call) -> str:
    return call.write.split("?")[0]


def case_name(value: Any) -> str:
    return write_of(value.call)


def rows(client: httpx.Client) -> dict[str, list[dict[str, Any]]]:
    """Return the profile's rows of every view."""
    return {view: client.get(f"/{view}").json() for view in READABLE}


def without(found: dict[str, list[dict[str, Any]]], *ignored: str) -> dict[str, list[str]]:
    """Remove views and columns, and sort the rows, which have no order, so that they compare."""
    return {
        view: sorted(
            str({name: value for name, value in row.items() if name not in ignored})
            for row in view_rows
        )
        for view, view_rows in found.items()
        if view not in ignored
    }


def the_row(call: Call) -> re.Match[str]:
    return TABLE[write_of(call)]


def test_the_table_has_one_row_for_every_write_of_the_api() -> None:
    views = {
        f"{verb} /{name}"
        for name, view in AUTHORITY.views.items()
        for verbs in view.verbs.values()
        for verb in set(verbs) - {"GET"}
    }
    functions = {
        f"POST /rpc/{name}"
        for domain in AUTHORITY.domains.values()
        for name, function in domain.functions.items()
        if function.writes and not function.computed_column
    }
    assert set(TABLE) == views | functions, (
        'correct the table "Is this write safe to repeat?" in docs/errors.md, and REPEATABLE in '
        "clients/typescript/src/writes.ts"
    )


def test_every_row_that_is_not_no_has_a_case() -> None:
    safe = {write for write, row in TABLE.items() if row["rule"] != "no"}
    assert {write_of(case.call) for case in SAFE} == safe, "add the case to SAFE in this file"


@pytest.mark.parametrize("case", SAFE, ids=case_name)
def test_a_repeat_of_a_safe_write_leaves_the_rows_as_they_are(
    case: Case, client: httpx.Client
) -> None:
    for call in (*case.before, case.call):
        call.done(client)
    first = rows(client)
    repeat = case.call.send(client)
    assert repeat.is_success if case.refused is None else repeat.status_code == case.refused
    assert without(rows(client), *case.changes) == without(first, *case.changes)
    for column in case.changes:
        assert f"`{column}`" in the_row(case.call)["repeat"], "docs/errors.md must name the column"
    if case.changes:
        assert without(rows(client)) != without(first), (
            f"{case.changes} did not change: correct docs/errors.md"
        )


@pytest.mark.parametrize("case", SAFE, ids=case_name)
def test_a_write_between_the_request_and_its_repeat_is_kept_or_overwritten_as_documented(
    case: Case, client: httpx.Client
) -> None:
    for call in (*case.before, case.call):
        call.done(client)
    ignored = case.changes | case.history
    first = without(rows(client), *ignored)
    case.between.done(client)
    second = without(rows(client), *ignored)
    assert second != first or the_row(case.call)["between"].startswith("kept")
    case.call.done(client)
    third = without(rows(client), *ignored)
    kept, overwritten = third == second, third == first
    documented = the_row(case.call)["between"].split(":")[0]
    assert documented == ("kept" if kept else "overwritten" if overwritten else "mixed"), (
        "correct the last column in docs/errors.md"
    )


@dataclass(frozen=True)
class Unsafe:
    """A write that is not safe to repeat, and what must be stored before it."""

    call: Call
    before: tuple[Call, ...] = ()


UNSAFE = [
    Unsafe(record_event.without("id")),
    Unsafe(rpc("record_hookify_decision", **DECISION).without("id")),
    Unsafe(add_todo.without("id")),
    Unsafe(post_todo.without("id")),
    Unsafe(rpc("toggle_todo", id=TODO), before=(add_todo,)),
    Unsafe(
        rpc("transition_tool_event_by_call", tool_call_id="c", to_status="succeeded"),
        before=(record_event, rpc("record_tool_event", **{**EVENT, "id": "tool_2"})),
    ),
]


def test_every_row_with_no_or_without_an_id_has_a_case() -> None:
    unsafe = {write for write, row in TABLE.items() if row["rule"] in {"no", "with `id`"}}
    assert {write_of(case.call) for case in UNSAFE} == unsafe, "add the case to UNSAFE in this file"


@pytest.mark.parametrize("case", UNSAFE, ids=case_name)
def test_a_repeat_of_an_unsafe_write_changes_the_rows_again(
    case: Unsafe, client: httpx.Client
) -> None:
    for call in (*case.before, case.call):
        call.done(client)
    first = rows(client)
    case.call.done(client)
    assert without(rows(client)) != without(first), (
        "the repeat changed nothing: docs/errors.md can say that it is safe"
    )


@pytest.mark.parametrize("call", [save, patch], ids=write_of)
def test_a_repeat_with_expected_revision_is_refused_as_if_another_caller_had_written(
    call: Call, client: httpx.Client
) -> None:
    assert the_row(call)["rule"] == "without `expected_revision`"
    checked = Call(call.write, {**call.body, "expected_revision": 0})
    checked.done(client)
    first = rows(client)
    repeat = checked.send(client)
    assert (repeat.status_code, repeat.json()["code"]) == (409, "stale_revision")
    assert without(rows(client)) == without(first)
