"""The three changes of docs/migrations.md, done under load on all endpoints of their table.

Each runs on a stack of its own. The files come from the page: a test writes those of one step into
a copy of the SQL folder, and applies them with the runner or, for a backfill, with psql.
"""

import json
import os
import re
import shutil
import subprocess
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from conftest import Stack, bring_up
from sessionbase.doctor.lints import Finding, expectations, read_lints, run_lints
from sessionbase.errors import SessionbaseError
from sessionbase.migrate.files import read_folder
from sessionbase.migrate.runner import migrate
from sessionbase.paths import PROJECT_DIR, resource_path
from sessionbase.postgres_programs import embedded_bin
from sessionbase.stack.token import make_claims, sign
from support.pages import code_blocks
from support.traffic import Client, Group, Traffic
from support.waiting import wait_for

pytest_plugins = ["support.sql_folder"]

PAGE = "migrations.md"
LONG = os.environ.get("SESSIONBASE_LONG_TESTS") == "1"
PROFILES = 40
ROWS = 100_000 if LONG else 10_000
"""The rows that are older than the change, over all profiles."""
OF_PROFILE = ROWS // PROFILES
CLIENTS = 8 if LONG else 4
ROUNDS = 20 if LONG else 1
"""How often each client does all its steps before the first step of a change, and after each."""
LONGEST_S = 20.0
"""The limit for one request; tests/cli/test_migrate_locks.py has the strict one."""


OLD_TODOS = """
insert into app.todos (profile_id, text)
select %(profile)s, 'old ' || n from generate_series(1, %(count)s) as n
"""
OLD_MISALIGNMENTS = """
insert into app.misalignments (profile_id, session_id, id, rule_id, title, summary)
select %(profile)s, 's', 'old-' || n, 'r', 'old ' || n, 's'
from generate_series(1, %(count)s) as n
"""
OLD_TOOL_EVENTS = """
insert into app.tool_events
  (profile_id, id, session_id, tool_name, arguments, status, result, error, completed_at)
select %(profile)s, 'old-' || n, 's', 't', '{}',
  case n %% 5 when 0 then 'failed' else 'succeeded' end,
  case n %% 3 when 0 then null else to_jsonb(n) end,
  case n %% 5 when 0 then 'error ' || n end, '2100-01-01'
from generate_series(1, %(count)s) as n
"""


def old_profiles() -> list[str]:
    return [f"client-{number}" for number in range(CLIENTS)]


def new_profiles() -> list[str]:
    return [f"new-client-{number}" for number in range(CLIENTS)]


def filled_profiles() -> list[str]:
    """Return all profiles with older rows: those of the clients, and others that nobody uses."""
    idle = [f"idle-{number}" for number in range(PROFILES - 2 * CLIENTS)]
    return old_profiles() + new_profiles() + idle


def write_step(folder: Path, heading: str) -> list[Path]:
    """Write the files of a step into the folder; return those of its backfill.

    The first line of an SQL block is the name of its file.
    """
    backfills = []
    for block in code_blocks(PAGE, heading, "sql"):
        first, text = block.split("\n", 1)
        name = re.fullmatch(r"-- sql/(\w+/\w+\.sql)", first)
        assert name, f"docs/{PAGE}, {heading}: a block starts with `-- sql/FOLDER/FILE.sql`"
        path = folder / name[1]
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        if path.parent.name == "backfill":
            backfills.append(path)
    for block in code_blocks(PAGE, heading, "diff"):
        done = subprocess.run(
            ["git", "apply", "--directory", folder.name, "-"],
            cwd=folder.parent,
            input=block.replace(" a/sql/", " a/").replace(" b/sql/", " b/"),
            text=True,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, (
            f"docs/{PAGE}, {heading}: the diff does not apply any more; write it again with"
            f" `git diff -U1`: {done.stderr}"
        )
    return backfills


def doctor_errors(uri: str, folder: Path) -> list[Finding]:
    """Compare the database with the folder by the doctor's lints; return the errors."""
    with psycopg.connect(uri) as conn:
        expectations(conn, read_folder(folder), folder / "authority.json").use(conn)
        return [one for one in run_lints(conn, read_lints()) if one.level == "error"]


@dataclass
class Change:
    """The database, and the copy of the SQL folder that the steps of a change are written to."""

    stack: Stack
    folder: Path
    traffic: Traffic

    def fetch(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.stack.db_uri) as conn:
            return conn.execute(query.encode(), values or None).fetchall()

    def value(self, query: str) -> Any:
        return self.fetch(query)[0][0]

    def start(self, steps: Callable[[Client], None], profiles: list[str]) -> Group:
        """Start a client for each profile; return when each has done its first rounds."""
        group = self.traffic.start(steps, profiles)
        self.traffic.wait_for_rounds(ROUNDS)
        return group

    def step(self, heading: str) -> None:
        """Apply the step with this heading of the page while the clients run.

        After that doctor must find no error, and no request may have failed.
        """
        backfills = write_step(self.folder, heading)
        if backfills:
            for path in backfills:
                self._psql(path)
        else:
            migrate(self.stack.db_uri, self.folder)
        self.require_no_failure(heading)
        self.traffic.wait_for_rounds(ROUNDS)
        self.require_no_failure(f"after {heading}")
        errors = doctor_errors(self.stack.db_uri, self.folder)
        assert not errors, f"docs/{PAGE}, {heading}: doctor has errors: {errors}"

    def require_no_failure(self, when: str) -> None:
        failures = self.traffic.failures
        assert not failures, f"docs/{PAGE}, {when}: {len(failures)} failed requests: {failures[:5]}"

    def _psql(self, path: Path) -> None:
        done = subprocess.run(
            [embedded_bin() / "psql", "-v", "ON_ERROR_STOP=1", "-f", path, self.stack.db_uri],
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        # One notice for each batch, except of the rows that the clients have added.
        assert done.stderr.count("NOTICE") >= ROWS // 1000, done.stderr


@pytest.fixture
def change(data_dir: Path, tmp_path: Path) -> Iterator[Change]:
    """Yield a new stack with a copy of the SQL folder. The clients end after the test."""
    folder = tmp_path / "sql"
    shutil.copytree(resource_path("sql"), folder)
    bring_up(data_dir)
    stack = Stack.of(data_dir)
    with Traffic(stack.rest_url, stack.jwt_secret) as traffic:
        yield Change(stack, folder, traffic)


def fill(change: Change, insert: str) -> None:
    """Store the older rows: `insert` gets %(profile)s and %(count)s."""
    with psycopg.connect(change.stack.db_uri) as conn:
        for profile in filled_profiles():
            conn.execute(insert.encode(), {"profile": profile, "count": OF_PROFILE})
    with psycopg.connect(change.stack.db_uri, autocommit=True) as conn:
        conn.execute("analyze")


def finish(change: Change, record: Callable[[str, object], None]) -> None:
    """End the clients, check the whole run, and note its figures."""
    traffic = change.traffic
    assert all(client.rounds for client in traffic.clients)
    change.require_no_failure("the end")
    assert traffic.slowest < LONGEST_S, f"a request took {traffic.slowest:.1f} s"
    record("requests", traffic.requests)
    record("slowest request in ms", round(traffic.slowest * 1000))


# Rename a column: todos.text becomes todos.title


def use_todos(name: str) -> Callable[[Client], None]:
    """Return the steps of a client that calls the column `name`."""

    def check(row: dict[str, Any], text: str) -> None:
        assert {row[key] for key in ("text", "title") if key in row} == {text}, row

    def steps(client: Client) -> None:
        if not client.rows:
            client.rows = {row["id"]: row[name] for row in client.send("GET", "/todos")}
            assert len(client.rows) == OF_PROFILE
        id_, other = str(uuid.uuid4()), str(uuid.uuid4())
        client.rows[id_] = f"{id_} posted"
        for _ in range(2):  # the second one is a repeated call
            (row,) = client.send("POST", "/todos", {"id": id_, name: client.rows[id_]})
            check(row, client.rows[id_])
        client.rows[other] = f"{other} added"
        row = client.send("POST", "/rpc/add_todo", {"id": other, name: client.rows[other]})
        check(row, client.rows[other])

        changed, toggled, deleted, *read = client.pick(8)
        client.rows[changed] = f"{changed} {uuid.uuid4()}"
        (row,) = client.send("PATCH", f"/todos?id=eq.{changed}", {name: client.rows[changed]})
        check(row, client.rows[changed])
        check(client.send("POST", "/rpc/toggle_todo", {"id": toggled}), client.rows[toggled])
        text = client.rows.pop(deleted)
        check(client.send("POST", "/rpc/delete_todo", {"id": deleted}), text)
        for row in client.send("GET", f"/todos?id=in.({','.join(read)})"):
            check(row, client.rows[row["id"]])
            read.remove(row["id"])
        assert not read, f"these todos are missing: {read}"

    return steps


def start_when_known(change: Change, path: str, steps: Callable[[Client], None]) -> Group:
    """Start the new clients as soon as PostgREST has loaded a column of the API."""
    with httpx.Client(base_url=change.stack.rest_url, trust_env=False) as http:
        token = sign(make_claims("probe"), change.stack.jwt_secret)
        headers = {"Authorization": f"Bearer {token}"}
        wait_for(lambda: http.get(path, headers=headers).is_success, f"{path} is not available")
    return change.start(steps, new_profiles())


def require_todos(change: Change, column: str, clients: list[Client]) -> None:
    """Fail unless exactly the todos that these ended clients have written are stored."""
    for client in clients:
        query = f"select id::text, {column} from app.todos where profile_id = %s"
        assert dict(change.fetch(query, client.profile)) == client.rows


def test_a_column_is_renamed_under_load(
    change: Change, record_property: Callable[[str, object], None]
) -> None:
    fill(change, OLD_TODOS)
    old = change.start(use_todos("text"), old_profiles())
    change.step("Rename, step 1: add the column")
    assert change.value("select count(*) from app.todos where title is null") > ROWS // 2
    change.step("Rename, step 2: fill the older rows")
    both_columns = "select count(*) from app.todos where title is distinct from text"
    assert change.value(both_columns) == 0

    change.step("Rename, step 3: the API has both names")
    start_when_known(change, "/todos?select=title&limit=1", use_todos("title"))
    assert change.value(both_columns) == 0
    old.stop()
    for column in ("text", "title"):
        require_todos(change, column, old.clients)

    change.step("Rename, step 4: the API has only the new name")
    change.step("Rename, step 5: drop the old column")
    change.traffic.stop()
    require_todos(change, "title", change.traffic.clients)
    idle = "select count(*) from app.todos where profile_id like 'idle-%' and title like 'old %'"
    assert change.value(idle) == OF_PROFILE * (PROFILES - 2 * CLIENTS)
    finish(change, record_property)


# Add a NOT NULL column: misalignments.status_changed_at

NEXT = {"open": "acknowledged", "acknowledged": "dismissed", "dismissed": "open"}


def use_misalignments(*, new: bool) -> Callable[[Client], None]:
    """Return the steps of a client; a new one also checks status_changed_at."""

    def steps(client: Client) -> None:
        if not client.rows:
            found = client.send("GET", "/misalignments")
            client.rows = {row["id"]: (row["title"], row["status"]) for row in found}
            assert len(client.rows) == OF_PROFILE
        ids = [str(uuid.uuid4()), str(uuid.uuid4()), *client.pick(3)]
        for id_ in ids:
            _, status = client.rows.get(id_, ("", "open"))
            client.rows[id_] = (f"{id_} {uuid.uuid4()}", status)
        candidates = [
            {"id": id_, "rule_id": "r", "title": client.rows[id_][0], "summary": "s"} for id_ in ids
        ]
        for _ in range(2):  # the second one is a repeated call
            body = {"session_id": "s", "candidates": candidates}
            rows = client.send("POST", "/rpc/ingest_misalignments", body)
            assert len(rows) == len(ids)
            for row in rows:
                assert (row["title"], row["status"]) == client.rows[row["id"]]

        (moved,) = client.pick(1)
        title, before = client.rows[moved]
        client.rows[moved] = (title, NEXT[before])
        body = {"session_id": "s", "id": moved, "to_status": NEXT[before]}
        row = client.send("POST", "/rpc/transition_misalignment", body)
        assert (row["title"], row["status"]) == client.rows[moved]
        assert row["previous_status"] == before
        if new:
            assert row["status_changed_at"] == row["updated_at"]

        read = client.pick(3)
        for row in client.send("GET", f"/misalignments?id=in.({','.join(read)})"):
            assert (row["title"], row["status"]) == client.rows[row["id"]]
            assert not new or row["status_changed_at"] <= row["updated_at"]
            read.remove(row["id"])
        assert not read, f"these misalignments are missing: {read}"

    return steps


def test_a_not_null_column_is_added_under_load(
    change: Change, record_property: Callable[[str, object], None]
) -> None:
    fill(change, OLD_MISALIGNMENTS)
    idle = "select id, profile_id, updated_at from app.misalignments where profile_id like 'idle-%'"
    before = sorted(change.fetch(idle))
    change.start(use_misalignments(new=False), old_profiles())
    change.step("NOT NULL, step 1: add the column")
    change.step("NOT NULL, step 2: fill the older rows")
    assert (
        change.value("select count(*) from app.misalignments where status_changed_at is null") == 0
    )
    change.step("NOT NULL, step 3: require the value")
    start_when_known(
        change, "/misalignments?select=status_changed_at&limit=1", use_misalignments(new=True)
    )
    change.traffic.stop()

    assert sorted(change.fetch(idle)) == before, "the backfill changed updated_at"
    for client in change.traffic.clients:
        query = "select id, title, status from app.misalignments where profile_id = %s"
        stored = {
            id_: (title, status) for id_, *(title, status) in change.fetch(query, client.profile)
        }
        assert stored == client.rows
    # The log's own time is a moment later than the one of the trigger.
    wrong = change.fetch(
        "select stored.id, status_changed_at, updated_at, latest.changed_at"
        " from app.misalignments as stored cross join lateral"
        "  (select max(changed_at) as changed_at from app.misalignment_transitions as entry"
        "   where entry.profile_id = stored.profile_id and entry.session_id = stored.session_id"
        "   and entry.misalignment_id = stored.id) as latest"
        " where status_changed_at > least(latest.changed_at, updated_at)"
        " or status_changed_at < latest.changed_at - interval '2 s'"
    )
    assert not wrong, wrong[:5]
    finish(change, record_property)


# Split a table: the results of tool_events go to tool_event_results


def use_tool_events(client: Client) -> None:
    """Record, finish and read events; a row of the client is the event's result and error."""
    if not client.rows:
        found = client.send("GET", "/tool_events?session_id=eq.s")
        client.rows = {row["id"]: (row["result"], row["error"]) for row in found}
        assert len(client.rows) == OF_PROFILE
    finished = [
        ({"n": client.requests, "text": "x" * 3000}, None),
        (None, f"failed {client.requests}"),
        ([client.requests], "with a result"),
        (None, None),
    ]
    for number, (result, error) in enumerate(finished):
        id_ = str(uuid.uuid4())
        event = {"id": id_, "session_id": "s", "tool_name": "t", "tool_call_id": id_}
        for _ in range(2):  # the second one is a repeated call
            row = client.send(
                "POST", "/rpc/record_tool_event", {**event, "arguments": {"n": number}}
            )
            assert (row["result"], row["error"]) == (None, None)
        key = {"id": id_} if number % 2 else {"tool_call_id": id_}
        call = "transition_tool_event" if number % 2 else "transition_tool_event_by_call"
        status = "failed" if error else "succeeded"
        body = {**key, "to_status": status, "result": result, "error": error}
        client.rows[id_] = (result, error)
        for _ in range(2):
            answer = client.send("POST", f"/rpc/{call}?select=*,txid", body)
            row = answer[0] if isinstance(answer, list) else answer
            assert (row["result"], row["error"], row["status"]) == (result, error, status)
    read = client.pick(4)
    for row in client.send("GET", f"/tool_events?id=in.({','.join(read)})"):
        assert (row["result"], row["error"]) == client.rows[row["id"]]
        read.remove(row["id"])
    assert not read, f"these events are missing: {read}"
    refused = {"id": client.pick(1)[0], "to_status": "executing", "result": 1}
    client.send_refused("/rpc/transition_tool_event", refused, "already_finished")
    unfinished = {"id": str(uuid.uuid4()), "session_id": "s2", "tool_name": "t"}
    client.send("POST", "/rpc/record_tool_event", unfinished)
    refused = {"id": unfinished["id"], "to_status": "executing", "result": 1}
    client.send_refused("/rpc/transition_tool_event", refused, "invalid_argument")


DIFFERENT_RESULTS = """
select count(*)
from app.tool_events as event
full join app.tool_event_results as outcome
  on outcome.profile_id = event.profile_id and outcome.tool_event_id = event.id
where event.id is null
  or (event.result, event.error) is distinct from (outcome.result, outcome.error)
"""


def test_a_table_is_split_under_load(
    change: Change, record_property: Callable[[str, object], None]
) -> None:
    fill(change, OLD_TOOL_EVENTS)
    change.start(use_tool_events, old_profiles())
    change.step("Split, step 1: add the table")
    change.step("Split, step 2: copy the older results")
    assert change.value(DIFFERENT_RESULTS) == 0
    change.step("Split, step 3: read from the new table")
    assert change.value(DIFFERENT_RESULTS) == 0
    change.start(use_tool_events, new_profiles())
    change.step("Split, step 4: write to the new table")
    change.step("Split, step 5: drop the old columns")
    change.traffic.stop()

    for client in change.traffic.clients:
        rows = change.fetch(
            "select id, result, error from app.tool_events as event left join"
            " app.tool_event_results as outcome on outcome.profile_id = event.profile_id"
            " and outcome.tool_event_id = event.id"
            " where event.profile_id = %s and event.session_id = 's'",
            client.profile,
        )
        assert {id_: (result, error) for id_, result, error in rows} == client.rows
    count = "select count(*) from app.tool_event_results where profile_id like 'idle-%'"
    of_profile = sum(n % 3 != 0 or n % 5 == 0 for n in range(1, OF_PROFILE + 1))
    assert change.value(count) == of_profile * (PROFILES - 2 * CLIENTS)
    finish(change, record_property)


# Without the backfill files: a small database, and a large one

CHANGES = {
    "Rename": (OLD_TODOS, "0010_todos_title.sql"),
    "NOT NULL": (OLD_MISALIGNMENTS, "0010_misalignments_status_changed_at.sql"),
    "Split": (OLD_TOOL_EVENTS, "0010_tool_event_results.sql"),
}


def write_change(name: str, folder: Path) -> None:
    """Write all steps of a change into a copy of the SQL folder."""
    shutil.copytree(resource_path("sql"), folder)
    text = (PROJECT_DIR / "docs" / PAGE).read_text(encoding="utf-8")
    for heading in re.findall(rf"^### ({name}, step \d: .+)$", text, re.MULTILINE):
        write_step(folder, heading)


@pytest.mark.parametrize("name", CHANGES)
def test_a_small_database_gets_all_steps_of_a_change_in_one_run(
    name: str, migrated_database: str, tmp_path: Path
) -> None:
    insert, _ = CHANGES[name]
    with psycopg.connect(migrated_database) as conn:
        conn.execute(insert.encode(), {"profile": "p", "count": 100})
    before = rows_of_views(migrated_database)
    write_change(name, tmp_path / "sql")
    migrate(migrated_database, tmp_path / "sql")
    assert doctor_errors(migrated_database, tmp_path / "sql") == []
    for view, rows in rows_of_views(migrated_database).items():
        for old, new in zip(before[view], rows, strict=True):
            renamed = {"title" if (view, key) == ("todos", "text") else key for key in old}
            assert renamed <= new.keys()
            assert set(map(json.dumps, old.values())) <= set(map(json.dumps, new.values()))


@pytest.mark.parametrize("name", CHANGES)
def test_a_large_backfill_that_was_left_out_is_refused_with_the_name_of_its_file(
    name: str, migrated_database: str, tmp_path: Path
) -> None:
    insert, backfill = CHANGES[name]
    with psycopg.connect(migrated_database) as conn:
        conn.execute(insert.encode(), {"profile": "p", "count": 20_000})
    write_change(name, tmp_path / "sql")
    with pytest.raises(SessionbaseError) as refused:
        migrate(migrated_database, tmp_path / "sql")
    assert "migrations/0011" in refused.value.message
    assert f"sql/backfill/{backfill}" in str(refused.value.hint)


def rows_of_views(uri: str) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of the views that the changes concern."""
    with psycopg.connect(uri) as conn:
        return {
            view: [
                row[0]
                for row in conn.execute(
                    f"select to_jsonb(v) from api.{view} as v order by v.id".encode()
                )
            ]
            for view in ("todos", "misalignments", "tool_events")
        }
