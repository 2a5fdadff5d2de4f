"""PostgreSQL is killed while the TypeScript client writes; its outcomes are compared with the rows.

The output has the table of docs/errors.md: `pytest -n 0 -s tests/stack/test_lost_answers.py`.
"""

import json
import os
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from conftest import Stack, bring_up
from sessionbase.stack import manage
from support.crash import kill_postgresql
from support.typescript import CLIENT, build, require_packages

LONG = os.environ.get("SESSIONBASE_LONG_TESTS") == "1"
KILLS = 20 if LONG else 2
PROFILE = "lost-answers"
OUTCOMES = ("acknowledged", "not stored", "unknown")

# How often the effect of a write is there, by its key; a second execution of an insert or a
# transition would be a second row, of a toggle no effect at all.
OWN = "profile_id = %(profile)s"
EVENT_LOG = f"select count(*) from app.tool_event_transitions where {OWN} and tool_event_id = key"
LOG = f"select count(*) from app.misalignment_transitions where {OWN} and misalignment_id = key"
TODO = f"from app.todos where {OWN} and id = key::uuid"
BINDING = f"from app.session_repo_bindings where {OWN} and session_id = key"
SETTINGS = "from app.ui_settings where profile_id = %(profile)s || '/' || key"
EFFECTS = {
    "insertToolEvent": f"{EVENT_LOG} and from_status is null",
    "updateStatus": f"{EVENT_LOG} and to_status = 'succeeded'",
    "updateStatusByToolCall": f"{EVENT_LOG} and to_status = 'succeeded'",
    "recordHookifyDecision": (
        f"select count(*) from app.hookify_decisions where {OWN} and session_id = key"
    ),
    "upsertMisalignment": f"{LOG} and from_status is null",
    "updateMisalignmentStatus": f"{LOG} and to_status = 'dismissed'",
    "addTodo": f"select count(*) from app.todos where {OWN} and text = key",
    "updateTodo": f"select count(*) {TODO} and text = 'after'",
    "toggleTodoRecord": f"select count(*) {TODO} and completed",
    "deleteTodoRecord": f"select 1 - count(*) {TODO}",
    "setSessionRepoBinding": f"select count(*) {BINDING}",
    "clearSessionRepoBinding": f"select 1 - count(*) {BINDING}",
    "patchUiSettings": f"select count(*) from app.ui_settings where {OWN} and settings ? key",
    "saveUiSettings": f"select count(*) {SETTINGS}",
    "saveUiSettingsWithRevision": f"select count(*) {SETTINGS} and revision = 1",
}


class ClientLoad:
    """A Node process that calls every kind of write; it writes one line for each finished call."""

    def __init__(self, output: Path) -> None:
        self._output = output

    def lines(self) -> list[dict[str, Any]]:
        """Return what the process has written, without an incomplete last line."""
        text = self._output.read_text(encoding="utf-8")
        return [json.loads(line) for line in text.split("\n")[:-1]]

    def wait_for(self, calls: int, timeout: float = 60) -> None:
        """Wait for so many more finished calls. Raises TimeoutError after `timeout` seconds."""
        end, wanted = time.monotonic() + timeout, len(self.lines()) + calls
        while len(self.lines()) < wanted:
            if time.monotonic() > end:
                raise TimeoutError(
                    f"{wanted - len(self.lines())} calls are missing after {timeout} s"
                )
            time.sleep(0.05)


@contextmanager
def client_load(stack: Stack, folder: Path) -> Iterator[ClientLoad]:
    """Run the load of the client; at the end, wait until all calls are finished."""
    output = folder / "calls.jsonl"
    environment = {
        **os.environ,
        "SESSIONBASE_REST_URL": stack.rest_url,
        "SESSIONBASE_JWT_SECRET": stack.jwt_secret,
    }
    with (
        output.open("w") as out,
        subprocess.Popen(
            ["node", "tests/support/writeLoad.mjs", PROFILE],
            cwd=CLIENT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=out,
        ) as process,
    ):
        try:
            yield ClientLoad(output)
            assert process.stdin
            process.stdin.close()
            assert process.wait(timeout=120) == 0, "the Node process failed; see its messages above"
        finally:
            process.kill()


def hold_commits(stack: Stack) -> None:
    """Let every commit wait, after it is on disk, until the kill: all these responses are lost.

    The commits wait for the acknowledgement of a standby that does not exist.
    """
    with psycopg.connect(stack.db_uri, autocommit=True) as db:
        db.execute("alter system set synchronous_standby_names = 'no_such_standby'")
        db.execute("select pg_reload_conf()")
        for _ in range(200):
            row = db.execute("select count(*) from pg_stat_activity where wait_event = 'SyncRep'")
            if row.fetchone() >= (8,):  # type: ignore[operator]
                break
            time.sleep(0.05)
        # For the next start. A running server uses the setting until it reloads its files.
        db.execute("alter system reset synchronous_standby_names")


def effects(db: psycopg.Connection[Any], kind: str, keys: list[str]) -> dict[str, int]:
    """Return how often the effect of each write of a kind is stored."""
    query = f"select key, ({EFFECTS[kind]}) from unnest(%(keys)s::text[]) as key"
    return dict(db.execute(query, {"profile": PROFILE, "keys": keys}).fetchall())


def test_the_outcomes_of_the_client_agree_with_the_rows_after_postgresql_was_killed(
    data_dir: Path, tmp_path: Path
) -> None:
    require_packages()
    build()
    bring_up(data_dir)
    stack = Stack.of(data_dir)
    with client_load(stack, tmp_path) as load:
        for number in range(KILLS):
            load.wait_for(10 * len(EFFECTS))
            if number % 2 == 0:
                hold_commits(stack)
            kill_postgresql(data_dir)
            manage.up(data_dir)
        load.wait_for(3 * len(EFFECTS))
    *calls, last = load.lines()
    assert {call["kind"] for call in calls} == set(EFFECTS), "EFFECTS and writeLoad.mjs differ"

    found: Counter[tuple[str, int]] = Counter()
    wrong = []
    with psycopg.connect(stack.db_uri) as db:
        for kind in EFFECTS:
            of_kind = [call for call in calls if call["kind"] == kind]
            stored = effects(db, kind, [call["key"] for call in of_kind])
            for call in of_kind:
                times, outcome = stored[call["key"]], call["outcome"]
                found[outcome, times] += 1
                allowed = {"acknowledged": {1}, "not stored": {0}, "unknown": {0, 1}}[outcome]
                if times not in allowed:
                    wrong.append(f"{kind} {call['key']}: {outcome}, executed {times} times")
    print_table(found, last["errorCodes"])
    assert not wrong, "\n".join(wrong)
    assert found["unknown", 1], "no write was stored whose response was lost: raise KILLS"
    assert found["not stored", 0], "no call failed before it was executed: raise KILLS"
    assert last["errorCodes"].keys() - {"PGRST000", "PGRST002"}, "PostgREST reported no lost result"


def print_table(found: Counter[tuple[str, int]], codes: dict[str, int]) -> None:
    print(f"\n{KILLS} kills; error responses by code: {codes}")
    print("| outcome | stored | absent |\n| --- | --- | --- |")
    for outcome in OUTCOMES:
        print(f"| {outcome} | {found[outcome, 1]} | {found[outcome, 0]} |")
