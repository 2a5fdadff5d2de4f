"""Tool events in one table and in a copy that is partitioned by month: the same work on both.

Both tables have the columns, the checks and the indexes of app.tool_events, without triggers and
row-level security, which cost the same on both sides. A unique constraint of a partitioned table
must contain the partition key, so the key of the copy is (profile_id, id, started_at): it does not
keep an id unique per profile, and a lookup by id visits every partition.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

MONTHS = 24
PROFILES = 1000
PLAIN, MONTHLY = "plain", "monthly"
INDEXES = {
    "by_session": "(profile_id, session_id, started_at, id)",
    "by_tool_call": "(profile_id, tool_call_id, started_at) where tool_call_id is not null",
    "by_time": "(profile_id, started_at, id)",
    "by_status": "(profile_id, status, started_at, id)",
}
# The whole period ends now, so that new rows go into the last month.
FILL = """insert into bench.plain (
  profile_id, id, session_id, thread_id, tool_call_id, tool_name, status, arguments, result,
  started_at, completed_at
)
select
  'p' || hashint8(n) %% %(profiles)s, 'tool_' || gen_random_uuid(), 's' || n / 100000,
  'thread_' || n / 20000, 'call_' || n, 'get_timeline_event',
  case when n %% 50 = 0 then 'failed' else 'succeeded' end,
  jsonb_build_object('sessionId', 's' || n / 100000, 'eventNumber', n),
  '{"found": true, "type": "message", "summary": "a short text of the size of most results"}',
  started_at, started_at + interval '80 ms'
from generate_series(%(first)s::bigint, %(last)s::bigint) as n
cross join lateral (
  select date_trunc('month', now()) - %(months)s * interval '1 month'
    + n * (now() - date_trunc('month', now()) + %(months)s * interval '1 month') / %(events)s
    as started_at
) as at"""


@dataclass(frozen=True)
class Sizes:
    """Numbers: events in the table, rounds of each measurement, calls in a round."""

    events: int = 3_000_000
    rounds: int = 15
    calls: int = 40


QUICK = Sizes(events=200_000, rounds=5, calls=20)


@dataclass(frozen=True)
class Result:
    """A measurement of both tables, in `unit`, and the median of the ratios of its rounds."""

    name: str
    unit: str
    plain: float
    monthly: float
    ratio: float


def fill(connection: psycopg.Connection[Any], sizes: Sizes) -> None:
    """Create the two tables in schema bench, with the same rows, indexes and statistics."""
    connection.execute("drop schema if exists bench cascade")
    connection.execute("create schema bench")
    connection.execute(
        "create table bench.plain (like app.tool_events including defaults including constraints)"
        " with (fillfactor = 80)"
    )
    connection.execute(
        "create table bench.monthly (like app.tool_events including defaults including constraints)"
        " partition by range (started_at)"
    )
    for month in range(MONTHS + 1):
        connection.execute(
            sql.SQL(
                """do $$
                declare first constant timestamptz :=
                  date_trunc('month', now()) - {age} * interval '1 month';
                begin
                  execute format('create table bench.%I partition of bench.monthly for values'
                    ' from (%L) to (%L) with (fillfactor = 80)',
                    {name}, first, first + interval '1 month');
                end $$"""
            ).format(age=sql.Literal(MONTHS - month), name=sql.Literal(f"month_{month:02}"))
        )
    step = max(sizes.events // 10, 1)
    for first in range(1, sizes.events + 1, step):
        connection.execute(
            FILL,
            {
                "profiles": PROFILES,
                "months": MONTHS,
                "events": sizes.events,
                "first": first,
                "last": min(first + step - 1, sizes.events),
            },
        )
    connection.execute("insert into bench.monthly select * from bench.plain")
    connection.execute("set maintenance_work_mem = '256MB'")
    for table, key in ((PLAIN, "profile_id, id"), (MONTHLY, "profile_id, id, started_at")):
        for name, columns in INDEXES.items():
            connection.execute(f"create index {table}_{name} on bench.{table} {columns}".encode())
        connection.execute(f"alter table bench.{table} add primary key ({key})".encode())
    connection.execute("vacuum analyze")
    connection.execute("checkpoint")


def measure(connection: psycopg.Connection[Any], sizes: Sizes) -> Iterator[Result]:
    """Measure the calls, the WAL, the sizes, VACUUM and the removal of the oldest month."""
    connection.execute("set enable_seqscan = off")
    connection.execute("set synchronous_commit = off")
    connection.execute("set plan_cache_mode = force_generic_plan")
    connection.execute("create temporary table made (profile_id text, id text)")
    for name, call in CALLS.items():
        yield _compare_calls(connection, name, call, sizes)
    yield from _sizes(connection)
    yield _one("WAL per insert after a checkpoint", "bytes", _wal_of_inserts, connection, sizes)
    connection.execute("set enable_seqscan = on")
    yield _one("VACUUM after updates of 1 % of the rows", "s", _vacuum, connection, sizes)
    yield _one("remove the oldest month", "s", _remove_oldest, connection, sizes)


def _insert(table: str, number: int) -> tuple[str, dict[str, object]]:
    return (
        f"""insert into bench.{table}
        (profile_id, id, session_id, tool_call_id, tool_name, status, arguments, started_at)
        values (%(profile)s, %(id)s, 's-new', %(call)s, 'get_timeline_event', 'executing',
        '{{"sessionId": "s1", "eventNumber": 7}}', clock_timestamp())""",
        _keys(number),
    )


def _transition(table: str, number: int) -> tuple[str, dict[str, object]]:
    return (
        f"""update bench.{table} set status = 'succeeded', result = '{{"found": true}}',
        completed_at = clock_timestamp()
        where profile_id = %(profile)s and id = %(id)s and status in ('pending', 'executing')
        returning *""",
        _keys(number),
    )


def _newest(table: str, number: int) -> tuple[str, dict[str, object]]:
    return (
        f"""select * from bench.{table} where profile_id = %(profile)s
        order by started_at desc, id desc limit 50""",
        _keys(number),
    )


def _failed(table: str, number: int) -> tuple[str, dict[str, object]]:
    return (
        f"""select * from bench.{table} where profile_id = %(profile)s and status = 'failed'
        order by started_at desc, id desc limit 50""",
        _keys(number),
    )


def _session(table: str, number: int) -> tuple[str, dict[str, object]]:
    return (
        f"""select * from bench.{table} where profile_id = %(profile)s and session_id = 's1'
        order by started_at, id limit 200""",
        _keys(number),
    )


def _by_call(table: str, number: int) -> tuple[str, dict[str, object]]:
    return (
        f"""select * from bench.{table}
        where profile_id = %(profile)s and tool_call_id = %(call)s order by started_at""",
        _keys(number),
    )


Call = Callable[[str, int], tuple[str, dict[str, object]]]
CALLS: dict[str, Call] = {
    "insert an event": _insert,
    "transition by id": _transition,
    "newest 50 of a profile": _newest,
    "newest 50 failed of a profile": _failed,
    "one session of a profile": _session,
    "lookup by tool_call_id": _by_call,
}


def _keys(number: int) -> dict[str, object]:
    # The factor spreads consecutive calls over all profiles.
    profile = f"p{number * 7919 % PROFILES}"
    return {"profile": profile, "id": f"new-{number}", "call": f"call-new-{number}"}


def _compare_calls(
    connection: psycopg.Connection[Any], name: str, call: Call, sizes: Sizes
) -> Result:
    """Time a call on both tables in alternation; the inserts make the rows of the others."""
    rounds: list[tuple[float, float]] = []
    for turn in range(sizes.rounds + 1):
        times: dict[str, list[float]] = {PLAIN: [], MONTHLY: []}
        for number in range(turn * sizes.calls, (turn + 1) * sizes.calls):
            for table in (PLAIN, MONTHLY) if number % 2 else (MONTHLY, PLAIN):
                statement, values = call(table, number)
                began = time.perf_counter()
                connection.execute(statement.encode(), values, prepare=True)
                times[table].append(1000 * (time.perf_counter() - began))
        if turn:  # the first round is a warm-up
            rounds.append((statistics.median(times[PLAIN]), statistics.median(times[MONTHLY])))
    return Result(
        name,
        "ms",
        statistics.median(plain for plain, _ in rounds),
        statistics.median(monthly for _, monthly in rounds),
        statistics.median(monthly / plain for plain, monthly in rounds),
    )


def _sizes(connection: psycopg.Connection[Any]) -> Iterator[Result]:
    # pg_partition_tree returns no row for a table without partitions.
    tables = (
        "select %(table)s::regclass as relid"
        " union select relid from pg_partition_tree(%(table)s::regclass)"
    )
    for name, function in (("table", "pg_table_size"), ("indexes", "pg_indexes_size")):
        found = []
        for table in ("bench.plain", "bench.monthly"):
            row = connection.execute(
                f"select sum({function}(relid)) from ({tables}) as leaf".encode(),
                {"table": table},
            ).fetchone()
            assert row
            found.append(float(row[0]) / 2**20)
        yield Result(f"{name}, all", "MiB", found[0], found[1], found[1] / found[0])
    row = connection.execute(
        "select pg_indexes_size('bench.plain'), pg_indexes_size(%s::regclass)",
        [f"bench.month_{MONTHS - 1:02}"],
    ).fetchone()
    assert row
    plain, newest = (float(size) / 2**20 for size in row)
    yield Result("indexes that a month of inserts changes", "MiB", plain, newest, newest / plain)


def _one(
    name: str,
    unit: str,
    work: Callable[[psycopg.Connection[Any], str, Sizes], float],
    connection: psycopg.Connection[Any],
    sizes: Sizes,
) -> Result:
    """Measure work that is done once on each table."""
    plain, monthly = work(connection, PLAIN, sizes), work(connection, MONTHLY, sizes)
    return Result(name, unit, plain, monthly, monthly / plain)


def _wal_of_inserts(connection: psycopg.Connection[Any], table: str, sizes: Sizes) -> float:
    """Return the WAL of an insert, with the images of pages changed for the first time."""
    connection.execute("checkpoint")
    count = sizes.rounds * sizes.calls
    before = connection.execute("select pg_current_wal_insert_lsn()").fetchone()
    for number in range(count):
        statement, values = _insert(table, number + 1_000_000)
        connection.execute(statement.encode(), values, prepare=True)
    assert before
    row = connection.execute(
        "select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), %s)", before
    ).fetchone()
    assert row
    return float(row[0]) / count


def _vacuum(connection: psycopg.Connection[Any], table: str, sizes: Sizes) -> float:
    """Return the seconds of VACUUM after updates of the newest rows, as transitions are.

    In the partitioned table it vacuums the partitions with dead rows, as autovacuum does.
    """
    connection.execute(
        f"""update bench.{table} set error = 'late', status = 'failed',
        completed_at = clock_timestamp()
        where started_at > now() - {MONTHS * 0.01} * interval '1 month'
        """.encode()
    )
    names = [f"month_{MONTHS - 1:02}", f"month_{MONTHS:02}"] if table == MONTHLY else [table]
    began = time.perf_counter()
    for name in names:
        # Index cleanup on: PostgreSQL skips the indexes if few pages have dead rows, and the work
        # would only come later.
        connection.execute(f"vacuum (index_cleanup on) bench.{name}".encode())
    return time.perf_counter() - began


def _remove_oldest(connection: psycopg.Connection[Any], table: str, sizes: Sizes) -> float:
    """Return the seconds to remove the oldest month: DELETE and VACUUM, or DROP TABLE."""
    began = time.perf_counter()
    if table == MONTHLY:
        connection.execute("alter table bench.monthly detach partition bench.month_00")
        connection.execute("drop table bench.month_00")
    else:
        connection.execute(
            f"""delete from bench.plain where started_at <
            date_trunc('month', now()) - {MONTHS - 1} * interval '1 month'""".encode()
        )
        connection.execute("vacuum (index_cleanup on) bench.plain")
    return time.perf_counter() - began
