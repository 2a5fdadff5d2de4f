"""The cost of a new profile next to a large one: writes, lists, and imports of two sizes.

The writes are measured on a direct connection, not over HTTP: the time of PostgREST is the same on
both sides and would hide a part of the difference. A call is one transaction, as PostgREST makes
it: the login authenticator, the settings of the role, the claims, the check before the request.
Timed are the call of the function and the commit. `synchronous_commit` is off here, because the
wait for the disk is the same on both sides too. The lists are measured over HTTP, because PostgREST
writes their SQL.
"""

import json
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from cases import SETTINGS, TRANSITION, WRITES, Side
from importing import make_rows, run_import, write_legacy_file
from load import quantile, request, run

MAX_WRITE_RATIO = 1.2
MAX_IMPORT_RATIO = 9.0
LARGE, NEW, UNANALYSED, SMALL = "bench-large", "bench-new", "bench-unanalysed", "bench-small"
BASELINE_EVENTS, SMALL_ROWS = 1000, 10
REPEATABLE = (
    "record_tool_event",
    "transition_tool_event",
    "transition_tool_event_by_call",
    "record_hookify_decision",
    "ingest_misalignments",
    "add_todo",
    "set_session_repo_binding",
)
TABLES = (
    "tool_events",
    "tool_event_transitions",
    "hookify_decisions",
    "hookify_chains",
    "misalignments",
    "misalignment_transitions",
    "todos",
    "session_repo_bindings",
    "ui_settings",
)


@dataclass(frozen=True)
class Sizes:
    """Numbers: rows of the large profile, rows without statistics, rounds, calls."""

    events: int = 2_000_000
    unanalysed: int = 100_000
    rounds: int = 31
    calls: int = 20
    reads: int = 100
    records: int = 10_000
    imports: int = 3

    def rows(self, profile: str, events: int) -> dict[str, object]:
        """Return the values for profile_rows.sql: a quarter as many rows in the other domains."""
        others = max(events // 4, SMALL_ROWS)
        return {
            "profile": profile,
            "events": events,
            "decisions": others,
            "misalignments": others,
            "todos": others,
            "bindings": others,
            "settings": json.dumps(SETTINGS),
        }


QUICK = Sizes(events=200_000, unanalysed=20_000, rounds=11, reads=30, imports=2)


@dataclass(frozen=True)
class Ratio:
    """Medians in ms, and the median of the ratios with its 95 % confidence interval."""

    name: str
    baseline_ms: float
    measured_ms: float
    ratio: float
    low: float
    high: float

    @property
    def too_high(self) -> bool:
        """Whether the ratio is above the limit by more than noise can explain."""
        return self.low > MAX_WRITE_RATIO


def fill_profile(uri: str, rows: dict[str, object]) -> None:
    """Insert rows of one profile without triggers and foreign keys."""
    statements = (Path(__file__).parent / "profile_rows.sql").read_text()
    with psycopg.connect(uri, autocommit=True) as connection:
        connection.execute("set session_replication_role = replica")
        psycopg.ClientCursor(connection).execute(statements, rows)


def compare_writes(
    baseline_uri: str, uri: str, authenticator_password: str, profile: str, sizes: Sizes
) -> Iterator[Ratio]:
    """Measure every write of `profile` in two databases, on new connections.

    The calls alternate between the databases. Each round measures every write, so that the rounds
    of one write are spread over the whole time: other work on the machine, which can slow down one
    of two connections for seconds, affects few of its rounds.
    """
    rounds: dict[str, list[tuple[float, float]]] = {name: [] for name, _, _ in _writes()}
    with (
        _caller(baseline_uri, authenticator_password) as baseline,
        _caller(uri, authenticator_password) as measured,
    ):
        for number in range(sizes.rounds + 1):
            for name, side, repeated in _writes():
                times: dict[_Caller, list[float]] = {baseline: [], measured: []}
                keys = {caller: caller.make_rows(side, profile, sizes.calls) for caller in times}
                for call in range(sizes.calls):
                    for caller in (baseline, measured) if call % 2 else (measured, baseline):
                        times[caller].append(
                            caller.measure(side, profile, keys[caller][call], repeated)
                        )
                if number:  # the first round is a warm-up
                    rounds[name].append(
                        (statistics.median(times[baseline]), statistics.median(times[measured]))
                    )
    for name, pairs in rounds.items():
        ratios = sorted(after / before for before, after in pairs)
        outside = _outside_confidence(len(ratios))
        yield Ratio(
            name,
            1000 * statistics.median(before for before, _ in pairs),
            1000 * statistics.median(after for _, after in pairs),
            statistics.median(ratios),
            ratios[outside],
            ratios[-1 - outside],
        )


def _writes() -> Iterator[tuple[str, Side, bool]]:
    """Return the RPCs of the HTTP cases, each once, and the repeated calls."""
    sides: dict[str, Side] = {}
    for case in (TRANSITION, *WRITES):
        if case.sessionbase.path.startswith("/rpc/"):
            sides.setdefault(case.sessionbase.path.removeprefix("/rpc/"), case.sessionbase)
    for function, side in sides.items():
        yield function, side, False
    for function in REPEATABLE:
        yield f"{function}, repeated", sides[function], True


def _outside_confidence(count: int) -> int:
    """Return how many of `count` sorted values are below the median's 95 % confidence interval.

    By the sign test: a value is above the true median with probability 1/2.
    """
    below, total = 0, 1
    while total / 2**count <= 0.025:
        below += 1
        total += math.comb(count, below)
    return max(below - 1, 0)


class _Caller:
    """Calls functions as PostgREST does, one transaction per call."""

    def __init__(self, calls: psycopg.Connection, dba: psycopg.Connection) -> None:
        self._calls = calls
        self._dba = dba
        self._role_settings = self._dba.execute(
            """select split_part(setting, '=', 1), substr(setting, strpos(setting, '=') + 1)
            from pg_roles, unnest(rolconfig) as setting where rolname = 'authenticated'"""
        ).fetchall()

    def make_rows(self, side: Side, profile: str, count: int) -> list[str]:
        """Insert the rows that `count` calls need and return the ids."""
        return side.make_rows(self._dba, profile, count)

    def measure(self, side: Side, profile: str, key: str, repeated: bool) -> float:
        """Return the seconds of a call or, if `repeated`, of the same call a second time."""
        assert side.body
        function = side.path.removeprefix("/rpc/")
        if repeated:
            self._call(function, side.body(key), profile)
        return self._call(function, side.body(key), profile)

    def _call(self, function: str, arguments: dict[str, object], profile: str) -> float:
        claims = json.dumps({"role": "authenticated", "sub": profile})
        settings = {
            "search_path": '"api", "app", "pg_catalog"',
            "role": "authenticated",
            "request.jwt.claims": claims,
            "request.method": "POST",
            "request.path": f"/rpc/{function}",
            **dict(self._role_settings),
        }
        self._calls.execute(
            "select " + ", ".join(["set_config(%s, %s, true)"] * len(settings)),
            [part for setting in settings.items() for part in setting],
            prepare=True,
        )
        self._calls.execute("select app.check_request()", prepare=True)
        statement = sql.SQL("select * from api.{}({})").format(
            sql.Identifier(function),
            sql.SQL(", ").join(
                sql.SQL("{} => %s").format(sql.Identifier(name)) for name in arguments
            ),
        )
        values = [
            json.dumps(value) if isinstance(value, dict | list) else value
            for value in arguments.values()
        ]
        began = time.perf_counter()
        self._calls.execute(statement, values, prepare=True)
        self._calls.commit()
        return time.perf_counter() - began


@contextmanager
def _caller(uri: str, authenticator_password: str) -> Iterator[_Caller]:
    with (
        psycopg.connect(
            uri,
            user="authenticator",
            password=authenticator_password,
            options="-c synchronous_commit=off",
        ) as calls,
        psycopg.connect(uri, autocommit=True) as dba,
    ):
        yield _Caller(calls, dba)


@dataclass(frozen=True)
class Read:
    """A list over HTTP, and the latency of its requests in ms."""

    name: str
    path: str
    median_ms: float
    p99_ms: float


def measure_reads(
    port: int, token_of: Callable[[str, str], str], events: int, count: int
) -> Iterator[Read]:
    """Measure the lists that have an index of their own; `token_of` gets a profile and a role."""
    newest, log = "order=started_at.desc,id.desc&limit=50", "order=changed_at.desc"
    middle = f"s{events // 200}"
    for name, profile, role, path in (
        ("newest 50 tool events", LARGE, "authenticated", f"/tool_events?{newest}"),
        (
            "failed ones, newest 50",
            LARGE,
            "authenticated",
            f"/tool_events?status=eq.failed&{newest}",
        ),
        (
            "one session, 100 tool events",
            LARGE,
            "authenticated",
            f"/tool_events?session_id=eq.{middle}&order=started_at,id",
        ),
        (
            "newest 50 transitions",
            LARGE,
            "authenticated",
            f"/tool_event_transitions?{log}&limit=50",
        ),
        (
            "auditor: newest 50 transitions",
            LARGE,
            "auditor",
            f"/tool_event_transitions?{log}&limit=50",
        ),
        (
            "auditor: newest 50 decisions",
            LARGE,
            "auditor",
            "/hookify_decisions?order=created_at.desc&limit=50",
        ),
        (
            "newest 50 misalignments",
            LARGE,
            "authenticated",
            "/misalignments?order=created_at.desc&limit=50",
        ),
        (
            "10-row profile: its tool events",
            SMALL,
            "authenticated",
            "/tool_events?order=started_at,id",
        ),
        ("10-row profile: its todos", SMALL, "authenticated", "/todos?order=created_at,id"),
    ):
        requests = [request("GET", path, token_of(profile, role))] * count
        run(port, requests[:10], 1)
        latencies = [1000 * latency for latency in run(port, requests, 1).latencies]
        yield Read(name, path, statistics.median(latencies), quantile(latencies, 0.99))


def switch_autovacuum_off(uri: str) -> None:
    """Switch autovacuum off, so that the statistics of the tables do not change."""
    with psycopg.connect(uri, autocommit=True) as connection:
        for table in TABLES:
            connection.execute(f"alter table app.{table} set (autovacuum_enabled = false)")


def vacuum_analyze(uri: str) -> None:
    """Vacuum and analyse all tables, and write all dirty pages to disk."""
    with psycopg.connect(uri, autocommit=True) as connection:
        connection.execute("vacuum analyze")
        connection.execute("checkpoint")


@dataclass(frozen=True)
class Imports:
    """Seconds of an import of n and of 8 n records, without the start of the program."""

    records: int
    few: float
    many: float
    ratio: float
    """The median of the rounds."""
    least_ratio: float

    @property
    def too_high(self) -> bool:
        """Whether the ratio is above the limit in every round; noise makes it high in some."""
        return self.least_ratio > MAX_IMPORT_RATIO


def measure_imports(
    uri_of: Callable[[str], str], migrate: Callable[[str], object], sizes: Sizes
) -> Imports:
    """Import files of n and of 8 n records by the command, next to a profile of 8 n records.

    `uri_of` returns the superuser's URI of a database by its name, `migrate` applies the SQL to a
    URI. Each import runs in a new copy of one database, whose tables are analysed. In each round
    eight imports of n records surround one of 8 n records: other work on the machine then affects
    both sizes for about the same time. The time of an import without records is subtracted.
    """
    base, copy = "bench_import", "bench_import_copy"
    few, many = sizes.records, 8 * sizes.records
    order = [0, few, few, few, few, many, few, few, few, few, 0]
    rounds: list[tuple[float, float]] = []
    with (
        psycopg.connect(uri_of("postgres"), autocommit=True) as dba,
        tempfile.TemporaryDirectory() as folder,
    ):
        files = {}
        for number, records in enumerate((0, few, many)):
            files[records] = Path(folder) / f"{records}.json"
            write_legacy_file(files[records], make_rows(number, records))
        dba.execute(f"create database {base}")
        migrate(uri_of(base))
        switch_autovacuum_off(uri_of(base))
        run_import(uri_of(base), files[many], LARGE)
        vacuum_analyze(uri_of(base))
        for _ in range(sizes.imports):
            times: dict[int, list[float]] = {records: [] for records in files}
            for records in order:
                dba.execute(f"create database {copy} template {base}")
                times[records].append(run_import(uri_of(copy), files[records], NEW))
                dba.execute(f"drop database {copy} with (force)")
            start, short, long = (statistics.mean(taken) for taken in times.values())
            rounds.append((short - start, long - start))
    return Imports(
        few,
        statistics.median(short for short, _ in rounds),
        statistics.median(long for _, long in rounds),
        statistics.median(long / short for short, long in rounds),
        min(long / short for short, long in rounds),
    )
