"""The import command: interrupted, killed, concurrent, and with a large file."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conftest import Stack
from sessionbase.legacy.report import ImportReport
from support.command import run_main
from support.concurrency import at_once, wait_until_blocked_by
from support.import_files import event, finished, load, write

COMMAND = [sys.executable, "-m", "sessionbase", "import", "tool-events"]


def run(stack: Any, file: Path, profile: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run `sessionbase import tool-events` in this process."""
    arguments = [str(file), "--profile", profile, "--db-uri", stack.db_uri, *options]
    return run_main("import", "tool-events", *arguments)


def test_an_interrupted_import_prints_one_line_and_loads_nothing(
    stack: Stack, db: psycopg.Connection[Any], profile: str, tmp_path: Path
) -> None:
    file = tmp_path / "pipe.json"
    os.mkfifo(file)
    command = [*COMMAND, str(file), "--profile", profile, "--db-uri", stack.db_uri]
    with (
        subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process,
        file.open("w", encoding="utf-8") as writer,  # opens when the importer reads
    ):
        writer.write("[" + json.dumps(event()))
        writer.flush()
        while not db.execute(
            "select 1 from pg_stat_activity where application_name = %s",
            (f"sessionbase/{process.pid}",),
        ).fetchone():
            assert process.poll() is None
            time.sleep(0.02)
        time.sleep(0.2)  # until the importer reads
        process.send_signal(signal.SIGINT)
        output = process.communicate()[1]
    assert (process.returncode, output) == (130, "interrupted; nothing was loaded\n")
    assert count(db, profile) == (0, 0)


@pytest.mark.parametrize("terminal", [True, False])
def test_a_progress_bar_is_shown_on_a_terminal_only(
    stack: Stack, profile: str, tmp_path: Path, terminal: bool
) -> None:
    file = write(tmp_path, *[event(str(number)) for number in range(2000)])
    command = [*COMMAND, str(file), "--profile", profile, "--db-uri", stack.db_uri]
    reading, writing = pty.openpty() if terminal else os.pipe()
    environment = {**os.environ, "TERM": "xterm"}
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=writing, env=environment
    ) as process:
        os.close(writing)
        output = b""
        with suppress(OSError):  # raised by a terminal whose program has ended
            while chunk := os.read(reading, 65536):
                output += chunk
        os.close(reading)
    assert process.returncode == 0
    assert (b"records" in output) == terminal
    assert terminal or output == b""


def count(db: psycopg.Connection[Any], profile: str) -> tuple[int, int]:
    row = db.execute(
        "select (select count(*) from app.tool_events where profile_id = %(p)s),"
        " (select count(*) from app.tool_event_transitions where profile_id = %(p)s)",
        {"p": profile},
    ).fetchone()
    assert row is not None
    return row[0], row[1]


def record_in(connection: psycopg.Connection[Any], profile: str, record: dict[str, Any]) -> None:
    connection.execute(
        "insert into app.tool_events (profile_id, id, session_id, thread_id, tool_call_id,"
        " tool_name, arguments, started_at) values (%s, %s, %s, %s, %s, %s, %s, %s)",
        (
            profile, record["id"], record["sessionId"], record["threadId"], record["toolCallId"],
            record["toolName"], json.dumps(record["arguments"]), record["startedAt"],
        ),
    )  # fmt: skip


def test_an_import_that_was_killed_can_be_repeated(
    stack: Stack, db: psycopg.Connection[Any], profile: str, tmp_path: Path
) -> None:
    records = [event(f"tool_{i}") for i in range(500)]
    file = write(tmp_path, *records)
    with psycopg.connect(stack.db_uri) as other:
        record_in(other, profile, records[400])  # not committed: the importer waits for it
        command = [*COMMAND, str(file), "--profile", profile, "--db-uri", stack.db_uri]
        importer = subprocess.Popen(command)
        backend = wait_until_blocked_by(db, other)
        importer.send_signal(signal.SIGKILL)
        importer.wait()
        other.rollback()
    while db.execute("select from pg_stat_activity where pid = %s", (backend,)).fetchone():
        time.sleep(0.02)
    assert count(db, profile) == (0, 0)
    report = load(stack.db_uri, file, profile)
    assert (report.loaded, report.already_there) == (500, 0)
    assert count(db, profile) == (500, 500)


@pytest.mark.parametrize("same", [True, False])
def test_an_event_that_a_client_records_during_the_import_is_compared(
    stack: Stack, db: psycopg.Connection[Any], profile: str, tmp_path: Path, same: bool
) -> None:
    records = [event(f"tool_{i}") for i in range(20)]
    file = write(tmp_path, *records)
    with psycopg.connect(stack.db_uri) as other:
        record_in(other, profile, records[9] if same else {**records[9], "toolName": "x"})

        def commit_when_it_waits() -> None:
            wait_until_blocked_by(db, other)
            other.commit()

        report, _ = at_once([lambda: load(stack.db_uri, file, profile), commit_when_it_waits])
    assert isinstance(report, ImportReport)
    if same:
        assert (report.loaded, report.already_there) == (19, 1)
        assert count(db, profile) == (20, 20)
    else:
        assert (report.refused, report.conflicts) == (True, 1)
        assert count(db, profile) == (1, 1)


def test_concurrent_imports_of_one_file_load_it_once(
    stack: Stack, db: psycopg.Connection[Any], profile: str, tmp_path: Path
) -> None:
    file = write(tmp_path, *[event(f"tool_{i}") for i in range(300)])
    reports = at_once([lambda: load(stack.db_uri, file, profile)] * 4)
    assert sorted(report.loaded for report in reports) == [0, 0, 0, 300]
    assert sorted(report.already_there for report in reports) == [0, 300, 300, 300]
    assert count(db, profile) == (300, 300)


def test_a_file_that_changes_while_it_is_read_is_refused(
    stack: Stack, db: psycopg.Connection[Any], profile: str, tmp_path: Path
) -> None:
    file = write(tmp_path, event("a"))

    def append(_stage: str, bytes_read: int, bytes_total: int, _records: int) -> None:
        if bytes_read == bytes_total == file.stat().st_size:
            with file.open("a") as stream:
                stream.write(" ")

    with pytest.raises(Exception, match="was changed while it was read; nothing was loaded"):
        load(stack.db_uri, file, profile, progress=append)
    assert count(db, profile) == (0, 0)


MEASURED = """
import re, sys
from pathlib import Path
from sessionbase.legacy.importer import import_tool_events
report = import_tool_events(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
peak = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())
print(report.loaded, report.parity.agrees, int(peak[1]) // 1024)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux to measure memory")
def test_the_import_of_200_000_records_uses_less_than_200_mb(
    stack: Stack, db: psycopg.Connection[Any], profile: str, tmp_path: Path
) -> None:
    file = tmp_path / "large.json"
    text = json.dumps(event("tool_@", sessionId="session-#"), indent=2)
    with file.open("w") as stream:
        stream.write("[")
        for number in range(200_000):
            record = text.replace("@", str(number)).replace("#", str(number % 4000))
            stream.write("," + record if number else record)
        stream.write("]")
    answer = subprocess.run(
        [sys.executable, "-c", MEASURED, stack.db_uri, str(file), profile],
        capture_output=True,
        text=True,
        check=True,
    )
    loaded, agrees, peak_mb = answer.stdout.split()
    assert (loaded, agrees) == ("200000", "True")
    assert int(peak_mb) < 200


def test_the_command_exits_with_0_or_1_and_prints_the_reason(
    stack: Stack, db: psycopg.Connection[Any], profile: str, tmp_path: Path
) -> None:
    good = write(tmp_path, event("a"), finished("b"))
    done = run(stack, good, profile)
    assert done.returncode == 0, done.stderr
    assert "2 records loaded" in done.stdout
    assert "order by start within each of 1 sessions: the same" in done.stdout

    bad = write(tmp_path, event("c"), 3, name="bad.json")
    refused = run(stack, bad, profile)
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    assert "nothing was loaded: 1 rejected" in refused.stderr
    assert f"{bad}.rejects.jsonl" in refused.stdout
    assert run(stack, bad, profile, "--dry-run").returncode == 1
    assert run(stack, bad, profile, "--accept-rejects").returncode == 0
    assert count(db, profile)[0] == 3

    cut = tmp_path / "cut.json"
    cut.write_bytes(good.read_bytes()[:-20])
    broken = run(stack, cut, profile)
    assert broken.returncode == 1
    assert broken.stderr.count("\n") == 1
    assert "Traceback" not in broken.stderr

    missing = run(stack, tmp_path / "none.json", profile)
    assert missing.returncode == 0
    assert "does not exist" in missing.stdout
    assert subprocess.run(COMMAND, capture_output=True, check=False).returncode == 2


def test_the_json_report_has_the_counts_and_the_rejects_file(
    stack: Stack, profile: str, tmp_path: Path
) -> None:
    file = write(tmp_path, event("a"), event("b", status="done"))
    answer = json.loads(run(stack, file, profile, "--json", "--accept-rejects").stdout)
    assert answer["ok"] is True
    assert {name: answer[name] for name in ("records", "loaded", "rejected", "conflicts")} == {
        "records": 2,
        "loaded": 1,
        "rejected": 1,
        "conflicts": 0,
    }
    assert answer["rejects_file"] == f"{file}.rejects.jsonl"
    assert answer["parity"]["by_status"][0]["status"] == "executing"


any_texts = st.text(max_size=4) | st.sampled_from(["", "x" * 200, "é" * 150, "\0", "\ud800"])
any_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | any_texts
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(any_texts, inner, max_size=3),
    max_leaves=6,
)
any_times = st.sampled_from(
    ["2025-12-18T23:50:36.922Z", "2025-12-18T23:50:37.000Z", "2025-12-18T24:00:00Z"]
) | st.datetimes().map(lambda moment: moment.isoformat() + "Z") | st.from_regex(
    r"\A[0-9]{4}-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9](:[0-6][0-9](\.[0-9]{1,7})?)?"
    r"(Z|[+-][012][0-9]:?[0-5][0-9])\Z"
)  # fmt: skip
any_context = st.lists(
    st.fixed_dictionaries(
        {"eventIndex": st.integers(0, 5) | any_values, "displayIndex": st.integers(0, 5)},
        optional={"eventType": any_texts, "summary": any_texts, "eventId": any_values},
    ),
    max_size=2,
)
any_records = st.fixed_dictionaries(
    {
        "id": st.text(min_size=1, max_size=3) | any_texts,
        "sessionId": st.just("s") | any_texts,
        "toolName": st.just("t") | any_texts,
        "arguments": any_values,
        "status": st.sampled_from(["pending", "executing", "succeeded", "failed", "done"]),
        "startedAt": any_times,
    },
    optional={
        "threadId": any_texts | st.none(),
        "toolCallId": any_texts | st.none(),
        "completedAt": any_times | st.none(),
        "latencyMs": st.integers(),
        "result": any_values,
        "error": any_texts | st.none(),
        "contextEvents": any_context | st.none(),
    },
)


@settings(
    deadline=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(records=st.lists(any_records | any_values, max_size=25))
def test_every_record_that_the_importer_accepts_can_be_stored(
    stack: Stack,
    db: psycopg.Connection[Any],
    profile: str,
    tmp_path_factory: pytest.TempPathFactory,
    records: list[Any],
) -> None:
    own = f"{profile}-{time.monotonic_ns()}"
    file = write(tmp_path_factory.mktemp("odd"), *map(json.dumps, records))
    report = load(stack.db_uri, file, own, accept_rejects=True)
    assert report.loaded + report.rejected == len(records)
    assert report.conflicts == 0
    assert count(db, own)[0] == report.loaded
    again = load(stack.db_uri, file, own, accept_rejects=True)
    assert (again.loaded, again.already_there) == (0, report.loaded)
