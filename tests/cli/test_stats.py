"""`sessionbase stats`: its figures are those of the database, at a cost that does not grow."""

import json
import uuid
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from conftest import Stack
from sessionbase.stats import report
from support.command import run_main, sessionbase
from support.sql_folder import (  # noqa: F401 - fixtures
    empty_database,
    migrated_database,
    template_database,
)

Connection = psycopg.Connection[Any]
FILL = """
insert into app.tool_events (
  profile_id, id, session_id, tool_name, status, arguments, started_at, completed_at
)
select 'p' || n % {profiles}, 'e' || n, 's' || n / 100, 't',
  case when n <= {unfinished} then 'executing' else 'succeeded' end, '{{}}',
  now() - {age} + interval '1 s' * n / {events},
  case when n > {unfinished} then now() end
from generate_series(1, {events}) as n;
insert into app.tool_event_transitions (
  profile_id, tool_event_id, from_status, to_status, changed_at, changed_by
)
select profile_id, id, null, 'executing', started_at, 'test' from app.tool_events
"""


@pytest.fixture
def own_db(migrated_database: str) -> Iterator[Connection]:  # noqa: F811
    """Yield a superuser's connection to a database that only this test uses."""
    with psycopg.connect(migrated_database, autocommit=True) as connection:
        yield connection


@pytest.fixture
def login(stack: Stack, migrated_database: str) -> Iterator[tuple[str, str]]:  # noqa: F811
    """Yield the name and the connection string of a new login without any rights."""
    name = f"login_{uuid.uuid4().hex}"
    role = sql.Identifier(name)
    with psycopg.connect(stack.db_uri, autocommit=True) as connection:
        connection.execute(sql.SQL("create role {} login password 'secret'").format(role))
    yield name, make_conninfo(migrated_database, user=name, password="secret")
    with psycopg.connect(stack.db_uri, autocommit=True) as connection:
        connection.execute(sql.SQL("drop role {}").format(role))


def fill(
    connection: Connection,
    events: int,
    profiles: int = 1,
    unfinished: int = 0,
    age: str = "interval '30 days'",
) -> None:
    """Insert events without triggers, so that the times of the log can be chosen."""
    connection.execute("set session_replication_role = replica")
    connection.execute(
        FILL.format(events=events, profiles=profiles, unfinished=unfinished, age=age).encode()
    )
    connection.execute("reset session_replication_role")


def stats(uri: str, *options: str) -> dict[str, Any]:
    done = run_main("stats", "--db-uri", uri, "--json", *options)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def table(found: dict[str, Any], name: str) -> dict[str, Any]:
    return next(row for row in found["tables"] if row["name"] == name)


def growth(found: dict[str, Any], name: str) -> dict[str, Any]:
    return next(row for row in found["growth"] if row["table"] == name)


def test_sizes_and_rows_are_those_of_the_database(
    migrated_database: str,  # noqa: F811
    own_db: Connection,
) -> None:
    fill(own_db, events=3000)
    own_db.execute("insert into app.todos (profile_id, text) values ('p0', 'one'), ('p0', 'two')")
    own_db.execute("analyze app.tool_events")
    found = stats(migrated_database)
    sizes = own_db.execute(
        "select pg_relation_size(oid), pg_indexes_size(oid), pg_total_relation_size(oid)"
        " from pg_class where oid = 'app.tool_events'::regclass"
    ).fetchone()
    events = table(found, "tool_events")
    assert (events["heap_bytes"], events["indexes_bytes"], events["total_bytes"]) == sizes
    assert events["rows_estimated"] == 3000
    assert "rows_exact" not in events
    exact = stats(migrated_database, "--exact")
    assert table(exact, "tool_events")["rows_exact"] == 3000
    assert table(exact, "todos")["rows_exact"] == 2
    assert found["database"]["size_bytes"] > sizes[2] if sizes else False
    names = own_db.execute(
        "select array_agg(relname order by relname) from pg_class"
        " where relnamespace = 'app'::regnamespace and relkind = 'r'"
    ).fetchone()
    assert ([row["name"] for row in sorted(found["tables"], key=lambda row: row["name"])],) == names


def test_the_estimate_follows_the_size_of_the_table_between_two_analyzes(
    migrated_database: str,  # noqa: F811
    own_db: Connection,
) -> None:
    own_db.execute("alter table app.tool_events set (autovacuum_enabled = false)")
    fill(own_db, events=5000)
    own_db.execute("analyze app.tool_events")
    own_db.execute("set session_replication_role = replica")
    own_db.execute("create temporary table copied as select * from app.tool_events")
    own_db.execute("update copied set profile_id = 'q0'")
    own_db.execute("insert into app.tool_events select * from copied")
    assert 9000 < table(stats(migrated_database), "tool_events")["rows_estimated"] < 11000


def test_new_rows_are_counted_by_their_time(
    migrated_database: str,  # noqa: F811
    own_db: Connection,
) -> None:
    fill(own_db, events=700, age="interval '3 days'")
    own_db.execute(
        "insert into app.tool_events (profile_id, id, session_id, tool_name, arguments)"
        " select 'new', 'n' || n, 's', 't', '{}' from generate_series(1, 70) as n"
    )
    own_db.execute(
        "update app.tool_events set status = 'failed', error = 'e' where profile_id = 'new'"
    )
    own_db.execute("analyze")
    found = stats(migrated_database)
    events = growth(found, "tool_events")
    assert events["new_rows_last_day"] == 70
    assert events["new_rows_per_day"] == 110
    assert events["counted_days"] == 7
    size = table(found, "tool_events")
    assert events["new_bytes_per_day_estimated"] == round(110 * size["total_bytes"] / 770)
    assert growth(found, "tool_event_transitions")["new_rows_last_day"] == 140
    assert growth(found, "hookify_decisions") == {
        "table": "hookify_decisions",
        "new_rows_last_day": 0,
        "new_rows_per_day": 0,
        "counted_days": 7,
        "new_bytes_per_day_estimated": None,
    }


def test_above_the_limit_the_rate_is_that_of_the_newest_rows(
    migrated_database: str,  # noqa: F811
    own_db: Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fill(own_db, events=1000, age="interval '12 hours'")
    monkeypatch.setattr(report, "MAX_NEW_ROWS", 500)
    events = growth(stats(migrated_database), "tool_events")
    assert events["counted_days"] == 0.5
    assert abs(events["new_rows_last_day"] - 1000) <= 1
    assert abs(events["new_rows_per_day"] - 1000) <= 1


def test_unfinished_events_are_counted_by_age(
    migrated_database: str,  # noqa: F811
    own_db: Connection,
) -> None:
    fill(own_db, events=500, profiles=7, unfinished=20, age="interval '10 days'")
    for status, age in (("pending", "2 days"), ("executing", "2 hours"), ("executing", "1 minute")):
        own_db.execute(
            "insert into app.tool_events (profile_id, session_id, tool_name, arguments, status,"
            " started_at) values ('late', 's', 't', '{}', %s, now() - %s::interval)",
            [status, age],
        )
    found = stats(migrated_database)["unfinished_tool_events"]
    assert 864_000 <= found.pop("oldest_age_seconds") < 864_060
    assert found == {
        "profiles_examined": 8,
        "events": 23,
        "pending": 1,
        "executing": 22,
        "younger_than_1_hour": 1,
        "from_1_hour_to_1_day": 1,
        "from_1_day_to_7_days": 1,
        "older_than_7_days": 20,
        "complete": True,
    }


def test_with_more_profiles_than_the_limit_a_note_says_so_and_exact_counts_all(
    migrated_database: str,  # noqa: F811
    own_db: Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fill(own_db, events=100, profiles=10, unfinished=100)
    monkeypatch.setattr(report, "MAX_PROFILES", 4)
    found = stats(migrated_database)
    assert found["unfinished_tool_events"]["events"] == 40
    assert not found["unfinished_tool_events"]["complete"]
    assert any("only 4 profiles" in note for note in found["notes"])
    exact = stats(migrated_database, "--exact")
    assert exact["unfinished_tool_events"]["events"] == 100
    assert exact["unfinished_tool_events"]["complete"]


def test_no_table_is_read_as_a_whole(
    migrated_database: str,  # noqa: F811
    own_db: Connection,
) -> None:
    fill(own_db, events=60_000, profiles=20, unfinished=5)
    own_db.execute("vacuum analyze")
    counters = (
        "select relname, seq_scan, seq_tup_read, coalesce(idx_tup_fetch, 0),"
        " (select sum(idx_tup_read) from pg_stat_user_indexes as i where i.relid = t.relid)"
        " from pg_stat_user_tables as t where schemaname = 'app' order by relname"
    )

    def read() -> dict[str, tuple[int, ...]]:
        own_db.execute("select pg_stat_clear_snapshot()")
        own_db.execute("select pg_stat_force_next_flush()")
        return {row[0]: tuple(map(int, row[1:])) for row in own_db.execute(counters.encode())}

    before = read()
    found = stats(migrated_database)
    after = read()
    assert found["unfinished_tool_events"]["events"] == 5
    for name in before:
        assert after[name][:2] == before[name][:2], f"stats reads all rows of app.{name}"
        read_rows = sum(after[name][2:]) - sum(before[name][2:])
        assert read_rows < 500, f"stats reads {read_rows} index entries and rows of app.{name}"


def test_a_login_with_pg_monitor_sees_everything_but_the_rows(
    own_db: Connection, login: tuple[str, str]
) -> None:
    name, uri = login
    own_db.execute(sql.SQL("grant pg_monitor to {}").format(sql.Identifier(name)))
    fill(own_db, events=100, unfinished=3, age="interval '1 day'")
    own_db.execute("analyze app.tool_events")
    found = stats(uri)
    assert table(found, "tool_events")["rows_estimated"] == 100
    assert (found["growth"], found["unfinished_tool_events"]) == ([], None)
    assert found["replication"]["replicas"] == []
    assert found["wal"]["files_bytes"] > 0
    roles = {row["role"] for row in found["connections"]["by_role_and_state"]}
    assert {"postgres", name} <= roles
    (note,) = [note for note in found["notes"] if "rows" in note]
    assert "grant sessionbase_owner to it" in note
    refused = run_main("stats", "--db-uri", uri, "--exact")
    assert refused.returncode == 1
    assert "--exact can't count them" in refused.stderr


def test_rows_that_row_level_security_hides_are_not_counted_as_none(
    own_db: Connection, login: tuple[str, str]
) -> None:
    name, uri = login
    role = sql.Identifier(name)
    own_db.execute(sql.SQL("grant pg_read_all_data to {}").format(role))
    fill(own_db, events=100, unfinished=3, age="interval '1 day'")
    found = stats(uri)
    assert (found["growth"], found["unfinished_tool_events"]) == ([], None)
    own_db.execute(sql.SQL("grant sessionbase_owner to {}").format(role))
    assert stats(uri)["unfinished_tool_events"]["events"] == 3


def test_a_login_without_rights_gets_a_note_for_each_missing_part(login: tuple[str, str]) -> None:
    _, uri = login
    found = stats(uri)
    assert found["replication"]["replicas"] is None
    assert found["wal"]["files_bytes"] is None
    assert found["statements"] is None
    assert [note.partition(":")[0] for note in found["notes"]] == [
        "this login sees only its own sessions, statements and no replication details",
        "this login can't read all rows, so new rows and unfinished events are not counted",
        "the extension pg_stat_statements is not installed, so there are no slowest statements",
    ]


def test_the_connections_and_the_age_of_the_oldest_transaction_are_shown(
    migrated_database: str,  # noqa: F811
) -> None:
    with psycopg.connect(migrated_database) as other, psycopg.connect(migrated_database):
        other.execute("select 1")
        connections = stats(migrated_database)["connections"]
        by_state = {
            (row["role"], row["state"]): row["connections"]
            for row in connections["by_role_and_state"]
        }
        assert by_state["postgres", "idle in transaction"] == 1
        oldest = connections["oldest_transaction"]
        assert oldest["age_seconds"] > 0
        assert connections["waiting_for_a_lock"] == 0
        assert 3 <= connections["used_in_cluster"] < connections["max_connections"]


def test_a_replication_slot_and_the_wal_that_it_keeps_are_shown(
    migrated_database: str,  # noqa: F811
    own_db: Connection,
) -> None:
    name = f"slot_{uuid.uuid4().hex[:8]}"
    own_db.execute("select pg_create_physical_replication_slot(%s, true, true)", [name])
    slots = {slot["name"]: slot for slot in stats(migrated_database)["replication"]["slots"]}
    assert slots[name]["type"] == "physical"
    assert slots[name]["active"]
    assert slots[name]["wal_status"] == "reserved"
    assert slots[name]["retained_wal_bytes"] >= 0


def test_the_output_for_people_has_units_and_the_notes(
    migrated_database: str,  # noqa: F811
    own_db: Connection,
) -> None:
    fill(own_db, events=3000, unfinished=2, age="interval '1 day'")
    own_db.execute("vacuum analyze")
    done = sessionbase("stats", "--db-uri", migrated_database)
    assert done.returncode == 0, done.stderr
    for part in (
        "MiB, PostgreSQL",
        "rows, about",
        "3,000",
        "Unfinished tool events: 2 (0 pending, 2 executing)",
        "the oldest: 1 day, 0:00:",
        "Age of the oldest transaction id:",
        "WAL on disk:",
        "Note: the extension pg_stat_statements is not installed",
    ):
        assert part in done.stdout, f"{part!r} is missing in:\n{done.stdout}"


def test_a_database_that_is_not_migrated_is_refused(
    empty_database: str,  # noqa: F811
) -> None:
    refused = run_main("stats", "--db-uri", empty_database)
    assert refused.returncode == 1
    assert "has no table app.tool_events" in refused.stderr
    assert "migrate" in refused.stderr
