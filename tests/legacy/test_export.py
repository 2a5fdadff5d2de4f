"""The exporter writes the format of the app, and importing its file changes nothing."""

import json
import stat
import subprocess
import uuid
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conftest import Stack
from sessionbase.errors import SessionbaseError
from sessionbase.legacy.exporter import export_tool_events, new_file
from sessionbase.legacy.fields import PRETTY_LIMIT
from sessionbase.paths import PROJECT_DIR
from support.command import run_main
from support.import_files import event, finished, load, write

SAMPLE = PROJECT_DIR / "docs/sample/chat-tool-events.json"
CONTEXT = [
    {"eventIndex": 3, "displayIndex": 2, "eventId": None, "eventType": "error", "summary": "é"},
    {"eventIndex": 4.5, "displayIndex": 4, "eventType": "x", "summary": ""},
]


def export(uri: str, profile: str, file: Path) -> bytes:
    """Run the exporter in this process, into a file."""
    with new_file(file, overwrite=True) as stream:
        export_tool_events(uri, profile, stream)
    return file.read_bytes()


def command(stack: Any, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run `sessionbase export tool-events` in this process."""
    return run_main("export", "tool-events", "--db-uri", stack.db_uri, *arguments)


def assert_all_stored(stack: Any, file: Path, profile: str, records: int) -> None:
    """Assert that every record of the file is already stored."""
    report = load(stack.db_uri, file, profile)
    assert (report.records, report.already_there, report.moved_on) == (records, records, 0)
    assert report.ok


def test_the_sample_is_exported_in_the_format_of_the_app(
    stack: Stack, profile: str, tmp_path: Path
) -> None:
    load(stack.db_uri, SAMPLE, profile)
    records = json.loads(SAMPLE.read_text(encoding="utf-8"))
    records.sort(key=lambda record: (record["startedAt"], record["id"]))
    data = export(stack.db_uri, profile, tmp_path / "out.json")
    exported = json.loads(data)
    assert exported == records
    assert [list(record) for record in exported] == [list(record) for record in records]
    # With the indentation of JSON.stringify(events, null, 2).
    assert data.decode() == json.dumps(exported, indent=2, ensure_ascii=False) + "\n"
    assert_all_stored(stack, tmp_path / "out.json", profile, len(records))


RECORDS = {
    "null arguments": event(arguments=None),
    "null inside": event(arguments={"a": None, "b": [None]}),
    "scalar arguments": event(arguments="text"),
    "empty containers": event(arguments={"a": {}, "b": [], "c": [[], {}], "": ""}),
    "brackets in texts": event(arguments={"{": "[", "x": "{\n    }\n  [\n]"}, toolName="{\n}"),
    "unicode": event(arguments='😀\u2028\u007f\u0001\t"\\/é', sessionId="ß/😀 \n"),
    "only required fields": event(threadId=..., toolCallId=...),
    "pending": event(status="pending"),
    "microseconds": finished(
        startedAt="2025-12-18T23:50:36.922001Z",
        completedAt="2025-12-18T23:50:37.000999Z",
    )
    | {"latencyMs": 79},
    "another zone": event(startedAt="2025-12-18T23:50:36+05:30"),
    "the first and the last year": finished(
        startedAt="0001-01-01T00:00:00Z", completedAt="9999-12-31T23:59:59.999999Z", latencyMs=...
    ),
    "null result": finished(result=None),
    "no result": finished(result=...),
    "failed": finished(status="failed", result=..., error='it\nbroke: "é" \u0007'),
    "failed with a result": finished(status="failed", error="", result={"partial": [1, 2]}),
    "context events": finished(contextEvents=CONTEXT),
    "no context events": finished(contextEvents=[]),
}


@pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS.keys())
def test_importing_an_exported_file_changes_nothing(
    stack: Stack, profile: str, tmp_path: Path, record: dict[str, Any]
) -> None:
    load(stack.db_uri, write(tmp_path, record), profile)
    [exported] = json.loads(export(stack.db_uri, profile, tmp_path / "out.json"))
    assert_all_stored(stack, tmp_path / "out.json", profile, 1)
    times = {"startedAt", "completedAt", "latencyMs"}
    assert {name: exported[name] for name in exported if name not in times} == {
        name: record[name] for name in record if name not in times
    }


def test_numbers_are_exported_with_every_digit(stack: Stack, profile: str, tmp_path: Path) -> None:
    numbers = ["123456789012345678901234567890", "0.1000000000000000055511151231257827", "1.10"]
    numbers += ["-7", "1" + "0" * 400, "0." + "0" * 400 + "1", "9007199254740993"]
    record = json.dumps(event()).replace("2591", "[" + ", ".join(numbers) + "]")
    load(stack.db_uri, write(tmp_path, record), profile)
    data = export(stack.db_uri, profile, tmp_path / "out.json")
    [exported] = json.loads(data, parse_float=str, parse_int=str)
    assert exported["arguments"]["eventNumber"] == numbers
    assert_all_stored(stack, tmp_path / "out.json", profile, 1)


def test_times_are_exported_with_milliseconds_or_if_needed_microseconds(
    stack: Stack, profile: str, tmp_path: Path
) -> None:
    starts = ["2025-12-18T23:50:36Z", "2025-12-18T23:50:36.5Z", "2025-12-18T23:50:36.500007Z"]
    records = [event(str(number), startedAt=start) for number, start in enumerate(starts)]
    load(stack.db_uri, write(tmp_path, *records), profile)
    exported = json.loads(export(stack.db_uri, profile, tmp_path / "out.json"))
    assert [record["startedAt"] for record in exported] == [
        "2025-12-18T23:50:36.000Z",
        "2025-12-18T23:50:36.500Z",
        "2025-12-18T23:50:36.500007Z",
    ]


def test_the_exported_latency_is_the_one_of_the_api(
    stack: Stack, client: httpx.Client, profile: str, tmp_path: Path
) -> None:
    ends = ["37.0004Z", "37.0005Z", "37.000501Z", "37.0015Z"]  # rounded up and down
    records = [
        finished(f"e{n}", completedAt=f"2025-12-18T23:50:{end}", latencyMs=...)
        for n, end in enumerate(ends)
    ]
    load(stack.db_uri, write(tmp_path, *records), profile)
    exported = json.loads(export(stack.db_uri, profile, tmp_path / "out.json"))
    rows = client.get("/tool_events?order=started_at,id").json()
    assert [record["latencyMs"] for record in exported] == [row["latency_ms"] for row in rows]


def test_a_long_value_is_exported_on_one_line(stack: Stack, profile: str, tmp_path: Path) -> None:
    deep: Any = list(range(PRETTY_LIMIT // 6))
    for _ in range(300):
        deep = [deep]
    load(stack.db_uri, write(tmp_path, json.dumps(finished(result=deep))), profile)
    data = export(stack.db_uri, profile, tmp_path / "out.json")
    assert len(data) < 2 * PRETTY_LIMIT
    assert json.loads(data)[0]["result"] == deep
    assert_all_stored(stack, tmp_path / "out.json", profile, 1)


def test_events_recorded_over_http_are_exported(
    stack: Stack, client: httpx.Client, profile: str, tmp_path: Path
) -> None:
    recorded = {"session_id": "s", "tool_name": "t", "arguments": {"a": 1}}
    for event_id in ("a", "b"):
        answer = client.post("/rpc/record_tool_event", json={**recorded, "id": event_id})
        assert answer.status_code == 200
    done = {"id": "a", "to_status": "failed", "error": "e", "result": {"b": 2}}
    assert client.post("/rpc/transition_tool_event", json=done).status_code == 200
    exported = json.loads(export(stack.db_uri, profile, tmp_path / "out.json"))
    assert [(record["id"], record["status"]) for record in exported] == [
        ("a", "failed"),
        ("b", "executing"),
    ]
    assert_all_stored(stack, tmp_path / "out.json", profile, 2)


def exactly(data: bytes) -> Any:
    """Decode JSON with exact numbers, not with the nearest float."""
    return json.loads(data, parse_float=Decimal, parse_int=Decimal)


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(arguments=st.lists(st.tuples(values, values), max_size=6))
def test_any_json_is_exported_and_imported_unchanged(
    stack: Stack, tmp_path: Path, arguments: list[tuple[Any, Any]]
) -> None:
    profile, copy = uuid.uuid4().hex, uuid.uuid4().hex
    records = [
        finished(f"e{number}", arguments=given_, result=result)
        for number, (given_, result) in enumerate(arguments)
    ]
    file = write(tmp_path, *records)
    load(stack.db_uri, file, profile)
    data = export(stack.db_uri, profile, tmp_path / "out.json")
    assert exactly(data) == exactly(file.read_bytes())
    assert_all_stored(stack, tmp_path / "out.json", profile, len(records))
    load(stack.db_uri, tmp_path / "out.json", copy)
    assert export(stack.db_uri, copy, tmp_path / "copy.json") == data


def test_a_profile_without_events_is_exported_as_an_empty_array(
    stack: Stack, profile: str, tmp_path: Path
) -> None:
    assert export(stack.db_uri, profile, tmp_path / "out.json") == b"[]\n"
    assert_all_stored(stack, tmp_path / "out.json", profile, 0)


def test_events_of_other_profiles_are_not_exported(
    stack: Stack, profile: str, tmp_path: Path
) -> None:
    load(stack.db_uri, write(tmp_path, event("mine")), profile)
    load(stack.db_uri, write(tmp_path, event("other"), name="other.json"), f"{profile}-other")
    exported = json.loads(export(stack.db_uri, profile, tmp_path / "out.json"))
    assert [record["id"] for record in exported] == ["mine"]


def test_events_are_exported_in_the_order_of_their_start_and_id(
    stack: Stack, profile: str, tmp_path: Path
) -> None:
    later = {"startedAt": "2026-01-01T00:00:00Z"}
    records = [event("b", **later), event("c"), event("a", **later), event("B", **later)]
    load(stack.db_uri, write(tmp_path, *records), profile)
    exported = json.loads(export(stack.db_uri, profile, tmp_path / "out.json"))
    assert [record["id"] for record in exported] == ["c", "B", "a", "b"]


def test_without_output_only_the_array_is_printed(
    stack: Stack, profile: str, tmp_path: Path
) -> None:
    load(stack.db_uri, write(tmp_path, event("é")), profile)
    done = command(stack, "--profile", profile)
    assert (done.returncode, done.stderr) == (0, "")
    assert [record["id"] for record in json.loads(done.stdout)] == ["é"]


def test_an_existing_file_is_replaced_only_with_force(
    stack: Stack, profile: str, tmp_path: Path
) -> None:
    file = tmp_path / "out.json"
    file.write_text("old")
    refused = command(stack, "--profile", profile, "--output", file)
    assert refused.returncode == 1
    assert refused.stderr == (
        f"Error: {file} exists, and was not changed (--force replaces it, or name another)\n"
    )
    assert file.read_text() == "old"
    forced = command(stack, "--profile", profile, "--output", file, "--force", "--json")
    assert json.loads(forced.stdout) == {"file": str(file), "profile": profile, "records": 0}
    assert file.read_text() == "[]\n"
    assert list(tmp_path.iterdir()) == [file]


def test_a_file_created_during_the_export_is_not_replaced(tmp_path: Path) -> None:
    file = tmp_path / "out.json"
    with pytest.raises(SessionbaseError, match="exists"), new_file(file, overwrite=False) as stream:
        stream.write(b"[]")
        file.write_text("old")
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_failed_export_leaves_no_new_file_and_keeps_the_old_one(
    stack: Stack, db: psycopg.Connection[Any], profile: str, tmp_path: Path
) -> None:
    load(stack.db_uri, write(tmp_path, event("a"), name="in.json"), profile)
    # Only a DBA can store such a time.
    db.execute(
        "insert into app.tool_events (profile_id, id, session_id, tool_name, arguments, started_at)"
        " values (%s, 'endless', 's', 't', '{}', 'infinity')",
        (profile,),
    )
    folder = tmp_path / "target"
    folder.mkdir()
    file = folder / "out.json"
    done = command(stack, "--profile", profile, "--output", file)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: event endless has a time outside the years 1 to 9999")
    assert list(folder.iterdir()) == []
    file.write_text("old")
    assert command(stack, "--profile", profile, "--output", file, "--force").returncode == 1
    assert (file.read_text(), list(folder.iterdir())) == ("old", [file])


def test_a_folder_is_refused_as_output_even_with_force(
    stack: Stack, profile: str, tmp_path: Path
) -> None:
    for arguments in ([], ["--force"]):
        done = command(stack, "--profile", profile, "--output", tmp_path, *arguments)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == f"Error: {tmp_path} is not an ordinary file\n"


def test_the_file_has_the_default_permissions(stack: Stack, profile: str, tmp_path: Path) -> None:
    export(stack.db_uri, profile, tmp_path / "out.json")
    (tmp_path / "plain").touch()
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("out.json", "plain")}
    assert len(modes) == 1


@pytest.mark.parametrize("arguments", [["--json"], ["--force"]])
def test_options_that_need_output_are_wrong_usage_without_it(
    stack: Stack, profile: str, arguments: list[str]
) -> None:
    assert command(stack, "--profile", profile, *arguments).returncode == 2


def test_a_dash_as_output_means_stdout(stack: Stack, profile: str, tmp_path: Path) -> None:
    load(stack.db_uri, SAMPLE, profile)
    dash, plain = (command(stack, "--profile", profile, *more) for more in (["-o", "-"], []))
    assert (dash.returncode, dash.stdout) == (0, plain.stdout)
    assert len(json.loads(dash.stdout)) > 0
