"""The importer: the result for each kind of record, and that no value is changed."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from psycopg.rows import dict_row

from conftest import Stack
from sessionbase.errors import SessionbaseError
from sessionbase.paths import PROJECT_DIR
from support.import_files import event, finished, load, rejects_of, write

SAMPLE = PROJECT_DIR / "docs/sample/chat-tool-events.json"


def stored(db: psycopg.Connection[Any], profile: str) -> dict[str, dict[str, Any]]:
    with db.cursor(row_factory=dict_row) as cursor:
        cursor.execute("select * from app.tool_events where profile_id = %s", (profile,))
        return {row["id"]: row for row in cursor}


def test_the_sample_is_imported_and_listed_in_the_order_of_the_app(
    stack: Stack, client: httpx.Client, profile: str
) -> None:
    report = load(stack.db_uri, SAMPLE, profile)
    assert (report.loaded, report.rejected, report.conflicts) == (6, 0, 0)

    answer = client.get(
        "/tool_events", params={"session_id": "eq.session-default", "order": "started_at,id"}
    ).json()
    records = json.loads(SAMPLE.read_text(encoding="utf-8"))
    in_order = sorted(records, key=lambda record: (record["startedAt"], record["id"]))
    assert [row["id"] for row in answer] == [record["id"] for record in in_order]
    for row, record in zip(answer, in_order, strict=True):
        assert row["arguments"] == record["arguments"]
        assert row["result"] == record.get("result")
        assert row["context_events"] == record.get("contextEvents")
        assert row["latency_ms"] == record.get("latencyMs")
        started_at = datetime.fromisoformat(row["started_at"])
        assert started_at == datetime.fromisoformat(record["startedAt"])


def test_the_log_marks_events_as_imported(
    stack: Stack, db: psycopg.Connection[Any], profile: str, tmp_path: Path
) -> None:
    load(stack.db_uri, write(tmp_path, event("a"), finished("b")), profile)
    log = db.execute(
        "select tool_event_id, from_status, to_status, changed_by from app.tool_event_transitions"
        " where profile_id = %s order by 1",
        (profile,),
    ).fetchall()
    assert log == [("a", None, "executing", "import"), ("b", None, "succeeded", "import")]


def test_the_imported_file_is_not_changed(stack: Stack, profile: str, tmp_path: Path) -> None:
    file = write(tmp_path, event("a"), 3)
    before = (file.read_bytes(), file.stat().st_mtime_ns)
    load(stack.db_uri, file, profile)
    assert (file.read_bytes(), file.stat().st_mtime_ns) == before


def test_a_second_import_of_a_file_loads_nothing(
    stack: Stack, db: psycopg.Connection[Any], profile: str, tmp_path: Path
) -> None:
    file = write(tmp_path, event("a"), finished("b"))
    load(stack.db_uri, file, profile)
    before = stored(db, profile)
    report = load(stack.db_uri, file, profile)
    assert (report.loaded, report.already_there, report.moved_on) == (0, 2, 0)
    assert report.ok
    assert stored(db, profile) == before


def test_an_event_finished_after_the_import_keeps_its_result_at_a_second_import(
    stack: Stack, db: psycopg.Connection[Any], client: httpx.Client, profile: str, tmp_path: Path
) -> None:
    file = write(tmp_path, event("a"), event("b"))
    load(stack.db_uri, file, profile)
    answer = client.post(
        "/rpc/transition_tool_event",
        json={"id": "a", "to_status": "succeeded", "result": {"n": 1}},
    )
    assert answer.status_code == 200
    report = load(stack.db_uri, file, profile)
    assert (report.already_there, report.moved_on, report.conflicts) == (2, 1, 0)
    assert report.parity is not None and report.parity.agrees
    lines = {s.status: (s.file, s.database) for s in report.parity.by_status}
    assert lines == {"executing": (2, 1), "succeeded": (0, 1)}
    assert stored(db, profile)["a"]["result"] == {"n": 1}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"sessionId": "other"}, "sessionId"),
        ({"threadId": ...}, "threadId"),
        ({"toolCallId": "9"}, "toolCallId"),
        ({"toolName": "other"}, "toolName"),
        ({"arguments": {}}, "arguments"),
        ({"startedAt": "2025-12-18T23:50:36.921Z", "latencyMs": 79}, "startedAt"),
        ({"result": {"found": False}}, "result"),
        ({"contextEvents": []}, "contextEvents"),
        ({"completedAt": "2025-12-18T23:50:37.001Z", "latencyMs": 79}, "completedAt"),
        ({"status": "failed", "result": ..., "error": "no"}, "status, result, error"),
    ],
)
def test_other_content_under_a_stored_id_is_a_conflict_and_the_stored_row_stays(
    stack: Stack,
    db: psycopg.Connection[Any],
    profile: str,
    tmp_path: Path,
    changes: dict[str, Any],
    field: str,
) -> None:
    load(stack.db_uri, write(tmp_path, finished("a")), profile)
    before = stored(db, profile)
    other = write(tmp_path, finished("a", **changes), event("b"), name="other.json")

    refused = load(stack.db_uri, other, profile)
    assert (refused.refused, refused.loaded, refused.conflicts) == (True, 0, 1)
    assert stored(db, profile) == before

    accepted = load(stack.db_uri, other, profile, accept_rejects=True)
    assert (accepted.refused, accepted.loaded, accepted.conflicts) == (False, 1, 1)
    rows = stored(db, profile)
    assert rows.pop("b") and rows == before
    (line,) = rejects_of(accepted)
    assert (line["outcome"], line["position"]) == ("conflict", 0)
    assert line["reasons"] == [f"the stored event has another {field}"]
    assert line["record"] == finished("a", **changes)


def test_a_finished_record_conflicts_with_an_unfinished_stored_event(
    stack: Stack, profile: str, tmp_path: Path
) -> None:
    load(stack.db_uri, write(tmp_path, event("a")), profile)
    report = load(stack.db_uri, write(tmp_path, finished("a"), name="later.json"), profile)
    assert (report.conflicts, report.refused) == (1, True)


INVALID: list[tuple[Any, str]] = [
    (3, "it is a number, not an object"),
    (None, "it is null, not an object"),
    ([], "it is an array, not an object"),
    (event(id=...), "no id"),
    (event(id=None), "id is null"),
    (event(id=7), "id is a number, not a text"),
    (event(id=""), "id must have 1 to 200 bytes"),
    (event(id="é" * 101), "id must have 1 to 200 bytes"),
    (event(sessionId=...), "no sessionId"),
    (event(sessionId=["s"]), "sessionId is an array"),
    (event(sessionId="s" * 513), "session_id must have"),
    (event(threadId=5), "threadId is a number"),
    (event(threadId=""), "thread_id must have"),
    (event(toolCallId=207769766), "toolCallId is a number, not a text"),
    (event(toolName=...), "no toolName"),
    (event(toolName=True), "toolName is a boolean"),
    (event(toolName="t" * 201), "tool_name must have"),
    (event(status=...), "no status"),
    (event(status="done"), "status must be pending, executing, succeeded or failed"),
    (event(status="Executing"), "status must be"),
    (event(arguments=...), "no arguments"),
    (event(arguments="x" * 1048576), "arguments may have 1 MiB"),
    (event(startedAt=...), "no startedAt"),
    (event(startedAt=1766101836922), "startedAt is a number"),
    (event(startedAt="yesterday"), "not written as"),
    (event(startedAt="2025-12-18T23:50:36.922"), "no time zone"),
    (event(startedAt="2025-02-30T23:50:36.922Z"), "startedAt is not a valid time"),
    (event(startedAt="+012025-12-18T23:50:36.922Z"), "not written as"),
    (event(startedAt="0000-12-18T23:50:36.922Z"), "startedAt is not a valid time"),
    (event(startedAt="0001-01-01T00:00:00+01:00"), "out of range"),
    (event(startedAt="2025-12-18T23:50:36.1234567Z"), "more precise than a microsecond"),
    (event(startedAt="2025-12-18T23:50:36+23:00"), "no such time zone"),
    (finished(completedAt=..., latencyMs=...), "completed_at must be set if and only if"),
    (event(completedAt="2025-12-18T23:50:37Z"), "completed_at must be set if and only if"),
    (finished(completedAt="2025-12-18T23:50:36.921Z", latencyMs=-1), "cannot finish before"),
    (finished(completedAt="soon"), "completedAt is not a valid time"),
    (finished(latencyMs=77), "latencyMs is not completedAt - startedAt"),
    (finished(latencyMs="78"), "latencyMs is a text"),
    (finished(latencyMs=78.5), "latencyMs is a number, not a whole number"),
    (event(latencyMs=5), "latencyMs is not completedAt - startedAt"),
    (event(result={}), "result is only for"),
    (event(error="no"), "error is only for"),
    (finished(error="no"), "error is only for an event that failed"),
    (finished(status="failed", error="x" * 65537), "error may have 64 KiB"),
    (finished(contextEvents={}), "contextEvents is an object, not an array"),
    (finished(contextEvents=[{"eventIndex": 1}]), "context_events must be an array of"),
    (event(arguments={"deep": ["a\0b"]}), "\\u0000 in a string"),
    (event(arguments={"a\0b": 1}), "\\u0000 in a string"),
    (event(sessionId="a\0b"), "\\u0000 in a string"),
    (event(arguments=["\ud800"]), "half a surrogate pair"),
    (event(arguments={"\udc00": 1}), "half a surrogate pair"),
    (event(extra=1), "unknown field 'extra'"),
    ('{"id": "tool_1", "id": "tool_2"}', 'the key "id" occurs twice'),
    (
        json.dumps(event(arguments=...))[:-1] + ', "arguments": {"a": 1, "a": 2}}',
        '"a" occurs twice',
    ),
    (json.dumps(event(arguments=...))[:-1] + ', "arguments": 1e200000}', "has more digits than"),
    (json.dumps(event(arguments=...))[:-1] + ', "arguments": 1e-20000}', "has more digits than"),
    (
        json.dumps(event(arguments=...))[:-1] + f', "arguments": {"[" * 3000}{"]" * 3000}}}',
        "levels",
    ),
    (json.dumps(event(arguments=...))[:-1] + f', "arguments": {"[" * 600}{"]" * 600}}}', "levels"),
]


@pytest.mark.parametrize(("record", "reason"), INVALID, ids=[reason for _, reason in INVALID])
def test_an_invalid_record_is_rejected_with_its_reason_and_position(
    stack: Stack,
    db: psycopg.Connection[Any],
    profile: str,
    tmp_path: Path,
    record: Any,
    reason: str,
) -> None:
    file = write(tmp_path, event("first"), record, event("last"))
    refused = load(stack.db_uri, file, profile)
    assert (refused.refused, refused.rejected, refused.loaded) == (True, 1, 0)
    assert stored(db, profile) == {}

    accepted = load(stack.db_uri, file, profile, accept_rejects=True)
    assert (accepted.ok, accepted.loaded, accepted.rejected) == (True, 2, 1)
    assert set(stored(db, profile)) == {"first", "last"}
    text = Path(accepted.rejects_file or "").read_text(encoding="utf-8")
    line = text if text.count("[") > 500 else json.loads(text)
    if isinstance(line, str):
        assert reason in line
        return
    assert line["position"] == 1
    assert any(reason in given for given in line["reasons"])
    if not isinstance(record, str):
        assert line["record"] == record
    raw = file.read_bytes()[line["byte"] :].decode()
    assert json.loads(json.dumps(json.JSONDecoder().raw_decode(raw)[0])) == line["record"]


VALID: list[tuple[dict[str, Any], str, Any]] = [
    (event(threadId=None, toolCallId=None), "thread_id", None),
    (event(threadId=..., toolCallId=...), "tool_call_id", None),
    (event(status="pending"), "status", "pending"),
    (event(arguments=None), "arguments", None),
    (event(arguments="né ☃ 😀"), "arguments", "né ☃ 😀"),
    (event(arguments="x" * 1048574), "arguments", "x" * 1048574),
    (event(error=None, completedAt=None, latencyMs=None, contextEvents=None), "error", None),
    (finished(result=None), "result", None),
    (finished(status="failed", result=..., error="why"), "error", "why"),
    (
        event(
            contextEvents=[
                {
                    "eventIndex": 1,
                    "displayIndex": 0,
                    "eventType": "x",
                    "summary": "",
                    "eventId": "e",
                }
            ]
        ),
        "context_events",
        [{"eventIndex": 1, "displayIndex": 0, "eventType": "x", "summary": "", "eventId": "e"}],
    ),
]


@pytest.mark.parametrize(("record", "column", "value"), VALID)
def test_a_valid_record_is_imported_unchanged(
    stack: Stack,
    db: psycopg.Connection[Any],
    profile: str,
    tmp_path: Path,
    record: Any,
    column: str,
    value: Any,
) -> None:
    file = write(tmp_path, record)
    assert load(stack.db_uri, file, profile).loaded == 1
    assert stored(db, profile)["tool_1"][column] == value
    assert load(stack.db_uri, file, profile).already_there == 1


def test_a_missing_latency_is_computed(
    stack: Stack, client: httpx.Client, profile: str, tmp_path: Path
) -> None:
    load(stack.db_uri, write(tmp_path, finished(latencyMs=...)), profile)
    assert client.get("/tool_events?select=latency_ms").json() == [{"latency_ms": 78}]


@pytest.mark.parametrize(
    ("written", "utc"),
    [
        ("2025-12-18T23:50:36.922Z", "2025-12-18 23:50:36.922"),
        ("2025-12-18T23:50:36Z", "2025-12-18 23:50:36"),
        ("2025-12-18T23:50Z", "2025-12-18 23:50:00"),
        ("2025-12-19 05:20:36.922123+05:30", "2025-12-18 23:50:36.922123"),
        ("2025-12-18T15:50:36.9-0800", "2025-12-18 23:50:36.9"),
        ("9999-12-31T23:59:59.999Z", "9999-12-31 23:59:59.999"),
    ],
)
def test_a_time_is_stored_exactly(
    stack: Stack, db: psycopg.Connection[Any], profile: str, tmp_path: Path, written: str, utc: str
) -> None:
    load(stack.db_uri, write(tmp_path, event("a", startedAt=written)), profile)
    stored_time = db.execute(
        "select (started_at at time zone 'UTC')::text from app.tool_events where profile_id = %s",
        (profile,),
    ).fetchone()
    assert stored_time == (utc,)


def test_numbers_are_stored_with_every_digit(
    stack: Stack, db: psycopg.Connection[Any], profile: str, tmp_path: Path
) -> None:
    numbers = ["0.1", "1.0", "12345678901234567890123", "9" * 5000, "1e3", "0.30000000000000000001"]
    record = json.dumps(event("a", arguments=...))[:-1] + f', "arguments": [{",".join(numbers)}]}}'
    load(stack.db_uri, write(tmp_path, record), profile)
    row = db.execute(
        "select arguments = %s::jsonb, arguments ->> 1, arguments ->> 3, arguments ->> 5"
        " from app.tool_events where profile_id = %s",
        (f"[{','.join(numbers)}]", profile),
    ).fetchone()
    assert row == (True, "1.0", "9" * 5000, numbers[5])


def test_the_first_of_two_records_with_the_same_id_is_loaded(
    stack: Stack, db: psycopg.Connection[Any], profile: str, tmp_path: Path
) -> None:
    file = write(tmp_path, event("a", toolName="one"), event("b"), event("a", toolName="two"))
    report = load(stack.db_uri, file, profile, accept_rejects=True)
    assert (report.loaded, report.rejected) == (2, 1)
    assert stored(db, profile)["a"]["tool_name"] == "one"
    (line,) = rejects_of(report)
    assert line["position"] == 2
    assert line["reasons"] == ["duplicate in the file: record 0 has the same id"]


def test_an_identical_record_that_is_repeated_in_the_file_is_rejected(
    stack: Stack, profile: str, tmp_path: Path
) -> None:
    report = load(stack.db_uri, write(tmp_path, event("a"), event("a")), profile)
    assert (report.refused, report.new, report.rejected) == (True, 1, 1)


def test_a_dry_run_reports_the_result_and_loads_nothing(
    stack: Stack, db: psycopg.Connection[Any], profile: str, tmp_path: Path
) -> None:
    load(stack.db_uri, write(tmp_path, event("a")), profile)
    before = stored(db, profile)
    report = load(stack.db_uri, write(tmp_path, event("a"), event("b")), profile, dry_run=True)
    assert (report.new, report.loaded, report.already_there) == (1, 0, 1)
    assert stored(db, profile) == before


def test_the_same_id_in_another_profile_is_another_event(
    stack: Stack, db: psycopg.Connection[Any], profile: str, tmp_path: Path
) -> None:
    file = write(tmp_path, event("a"))
    load(stack.db_uri, file, f"{profile}-other")
    assert load(stack.db_uri, file, profile).loaded == 1


def test_an_empty_array_is_accepted(stack: Stack, profile: str, tmp_path: Path) -> None:
    report = load(stack.db_uri, write(tmp_path), profile)
    assert (report.ok, report.records) == (True, 0)


def test_an_existing_rejects_file_is_not_overwritten(
    stack: Stack, profile: str, tmp_path: Path
) -> None:
    file = write(tmp_path, 3)
    first = load(stack.db_uri, file, profile)
    second = load(stack.db_uri, file, profile)
    assert first.rejects_file == f"{file}.rejects.jsonl"
    assert second.rejects_file != first.rejects_file
    assert rejects_of(first) == rejects_of(second)
    named = tmp_path / "named.jsonl"
    named.write_text("mine")
    with pytest.raises(SessionbaseError, match="exists already"):
        load(stack.db_uri, file, profile, rejects_file=named)
    assert named.read_text() == "mine"


def test_nothing_is_loaded_if_the_rejects_file_cannot_be_written(
    stack: Stack, db: psycopg.Connection[Any], profile: str, tmp_path: Path
) -> None:
    file = write(tmp_path, event("a"), 3)
    with pytest.raises(SessionbaseError, match="nothing was loaded"):
        load(
            stack.db_uri,
            file,
            profile,
            accept_rejects=True,
            rejects_file=tmp_path / "no-such-folder" / "rejects.jsonl",
        )
    assert stored(db, profile) == {}


def test_a_login_that_is_not_a_member_of_the_owner_role_cannot_import(
    stack: Stack, db: psycopg.Connection[Any], profile: str, tmp_path: Path
) -> None:
    role = f"someone_{profile[2:10]}"
    db.execute(f"create role {role} login password 'x'")
    try:
        uri = psycopg.conninfo.make_conninfo(stack.db_uri, user=role, password="x")
        with pytest.raises(SessionbaseError):
            load(uri, write(tmp_path, event("a")), profile)
    finally:
        db.execute(f"drop role {role}")


def test_a_member_of_the_owner_role_can_import(
    stack: Stack, db: psycopg.Connection[Any], profile: str, tmp_path: Path
) -> None:
    role = f"deployer_{profile[2:10]}"
    db.execute(f"create role {role} login password 'x' in role sessionbase_owner")
    try:
        uri = psycopg.conninfo.make_conninfo(stack.db_uri, user=role, password="x")
        assert load(uri, write(tmp_path, event("a")), profile).loaded == 1
    finally:
        db.execute(f"drop role {role}")
