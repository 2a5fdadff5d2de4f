"""Measure sessionbase: next to the same work on baseline tables, and next to a large profile.

Usage: bench/run [--quick] [--only PART]. Everything runs on throwaway embedded stacks. The two
sides of a comparison are measured in alternating rounds of one run, and a ratio is the median of
the ratios of the rounds: other work on the machine then affects both sides in the same way. The
exit code is 1 if the part `growth` finds that a write or an import costs more next to a large
profile; the other parts only print numbers.
"""

import argparse
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from rich.console import Console
from rich.progress import track
from rich.table import Table

import cases
import growth
import importing
import locks
import modules
import partitioning
from database import run_pgbench
from load import Measured, quantile, request, run
from sessionbase.migrate.runner import migrate
from sessionbase.stack import manage
from sessionbase.stack.token import make_claims, sign
from sessionbase.state import dba_uri, require

CLIENTS = 4
PARTS = ("endpoints", "pgbench", "client", "import", "growth", "partitioning", "locks")
console = Console(width=140)


@dataclass(frozen=True)
class Sizes:
    """The numbers of rounds, requests and rows."""

    rounds: int
    per_round: int
    records: int
    growth: growth.Sizes
    partitioning: partitioning.Sizes
    locks: locks.Sizes


FULL = Sizes(7, 600, 100_000, growth.Sizes(), partitioning.Sizes(), locks.Sizes())
QUICK = Sizes(3, 300, 20_000, growth.QUICK, partitioning.QUICK, locks.QUICK)


@dataclass(frozen=True)
class Stack:
    """The running throwaway stack."""

    data_dir: Path

    @property
    def port(self) -> int:
        """PostgREST's port."""
        return require(self.data_dir)[0].port

    def uri_of(self, database: str = "sessionbase") -> str:
        """Return the superuser's URI of a database."""
        return dba_uri(*require(self.data_dir), database)

    def token(self, profile: str, role: str = "authenticated") -> str:
        """Return a token that is valid for the run."""
        claims = make_claims(profile, role, ttl=24 * 3600)
        return sign(claims, require(self.data_dir)[1].jwt_secret)


def main() -> int:
    """Run the parts and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer and smaller rounds")
    parser.add_argument("--only", choices=PARTS, action="append", help="run this part only")
    options = parser.parse_args()
    sizes = QUICK if options.quick else FULL
    wanted = options.only or PARTS
    passed = True
    if not set(wanted) <= {"growth", "partitioning", "locks"}:
        with _stack() as stack:
            _compare_with_baseline(stack, wanted, sizes)
    if "growth" in wanted:
        with _stack() as stack:
            passed = _measure_growth(stack, sizes.growth)
    if "partitioning" in wanted:
        with _stack() as stack:
            _measure_partitioning(stack.uri_of(), sizes.partitioning)
    if "locks" in wanted:
        with _stack() as stack:
            _measure_locks(stack, sizes.locks)
    return 0 if passed else 1


@contextmanager
def _stack() -> Iterator[Stack]:
    with tempfile.TemporaryDirectory(prefix="sessionbase-bench-") as folder:
        data_dir = Path(folder) / "data"
        manage.up(data_dir, manage.UpOptions(port=_free_port(), admin_port=_free_port()))
        try:
            yield Stack(data_dir)
        finally:
            manage.delete_data(data_dir)


def _compare_with_baseline(stack: Stack, wanted: tuple[str, ...], sizes: Sizes) -> None:
    uri = stack.uri_of()
    with psycopg.connect(uri, autocommit=True) as connection:
        connection.execute((Path(__file__).parent / "baseline.sql").read_text())
        connection.execute("reset role")
        cases.fill(connection, "lists.sql", "others.sql")
        _wait_for_baseline_tables(stack)
        if "endpoints" in wanted:
            _measure_endpoints(stack, connection, sizes)
    if "pgbench" in wanted:
        _measure_database(uri, sizes)
    if "client" in wanted:
        _measure_client(stack, sizes)
    if "import" in wanted:
        _measure_import(uri, sizes)


def _measure_endpoints(stack: Stack, connection: psycopg.Connection, sizes: Sizes) -> None:
    table = Table(
        "request",
        "sessionbase/s",
        "baseline/s",
        "p50 ms",
        "p99 ms",
        "baseline p50",
        "baseline p99",
        "ratio",
        "aim",
        title=f"HTTP, {CLIENTS} clients, {sizes.rounds} rounds of {sizes.per_round} requests",
    )
    # The lists first: the writes fill the baseline tables, which do not separate profiles.
    lists = [cases.list_case(name, query) for name, query in cases.LISTS]
    for group, profile, files in (
        (lists, cases.LIST_PROFILE, []),
        ([cases.TRANSITION, *cases.WRITES], cases.PROFILE, ["others_baseline.sql"]),
    ):
        cases.fill(connection, *files)
        for case in track(group, console=Console(stderr=True), transient=True):
            profiles = (
                [f"{profile}-{n}" for n in range(CLIENTS)] if case.profile_each else [profile]
            )
            tokens = [stack.token(name) for name in profiles]
            table.add_row(*_compare(connection, stack.port, tokens, case, sizes))
    console.print(table)


def _measure_database(uri: str, sizes: Sizes) -> None:
    table = Table(
        "pgbench, one statement a transaction", "per second", "mean ms", title="The database alone"
    )
    per_client = sizes.rounds * sizes.per_round // CLIENTS
    for name, (rate, latency) in run_pgbench(uri, CLIENTS, per_client).items():
        table.add_row(name, f"{rate:,.0f}", f"{latency:.2f}")
    console.print(table)


def _measure_client(stack: Stack, sizes: Sizes) -> None:
    turns = sizes.rounds * 30
    table = Table(
        "call",
        "p50 ms",
        "p99 ms",
        "curl p50",
        "curl p99",
        "p50 difference",
        title=f"TypeScript client and curl, one call at a time, {turns} calls each",
    )
    profile = "bench-modules"
    rest_url = f"http://127.0.0.1:{stack.port}"
    for row in modules.measure(rest_url, profile, stack.token(profile), turns):
        cells = (row["module_p50"], row["module_p99"], row["curl_p50"], row["curl_p99"])
        more = row["module_p50"] - row["curl_p50"]
        table.add_row(row["name"], *(f"{cell:.2f}" for cell in cells), f"{more:+.2f}")
    console.print(table)


def _measure_import(uri: str, sizes: Sizes) -> None:
    ours, plain = importing.compare(uri, sizes.records, max(3, sizes.rounds // 2))
    table = Table("", "records/s", "ratio", "aim", title=f"Importing {sizes.records:,} records")
    table.add_row("sessionbase import tool-events", f"{ours:,.0f}")
    for name, (rate, ratio) in plain.items():
        table.add_row(name, f"{rate:,.0f}", f"{ratio:.2f}", "0.25")
    console.print(table)


def _measure_growth(stack: Stack, sizes: growth.Sizes) -> bool:
    """Print the tables and return whether no ratio is above its limit."""
    large, small, empty = (stack.uri_of(name) for name in ("sessionbase", "small", "empty"))
    with psycopg.connect(large, autocommit=True) as connection:
        connection.execute("create database small")
        connection.execute("create database empty")
    migrate(small)
    migrate(empty)
    Console(stderr=True).print(f"inserting {sizes.events:,} tool events and other rows ...")
    for uri, events in ((small, growth.BASELINE_EVENTS), (large, sizes.events)):
        growth.fill_profile(uri, sizes.rows(growth.LARGE, events))
        growth.vacuum_analyze(uri)
    for uri in (small, large, empty):
        growth.switch_autovacuum_off(uri)

    baseline = f"a profile of {growth.BASELINE_EVENTS:,} tool events"
    title = f"Next to a profile of {sizes.events:,} tool events, compared with {baseline}"
    passed = _print_writes(title, stack, (small, large), growth.NEW, sizes)
    growth.fill_profile(large, sizes.rows(growth.UNANALYSED, sizes.unanalysed))
    title = f"The same, with {sizes.unanalysed:,} own rows that are not analysed"
    passed &= _print_writes(title, stack, (small, large), growth.UNANALYSED, sizes)
    title = f"In an empty database that is not analysed, compared with {baseline}"
    passed &= _print_writes(title, stack, (small, empty), growth.UNANALYSED, sizes)

    growth.fill_profile(large, sizes.rows(growth.SMALL, growth.SMALL_ROWS))
    table = Table(
        "list", "p50 ms", "p99 ms", title=f"Lists over HTTP at {sizes.events:,} tool events"
    )
    for read in growth.measure_reads(stack.port, stack.token, sizes.events, sizes.reads):
        table.add_row(read.name, f"{read.median_ms:.2f}", f"{read.p99_ms:.2f}")
    console.print(table)

    imports = growth.measure_imports(stack.uri_of, migrate, sizes)
    table = Table(
        f"{imports.records:,} records",
        f"{8 * imports.records:,} records",
        "ratio",
        "least",
        "limit",
        title=f"Import next to {8 * imports.records:,} analysed records",
    )
    table.add_row(
        f"{imports.few:.2f} s",
        f"{imports.many:.2f} s",
        _marked(imports.ratio, imports.too_high),
        f"{imports.least_ratio:.2f}",
        f"{growth.MAX_IMPORT_RATIO}",
    )
    console.print(table)
    return passed and not imports.too_high


def _measure_partitioning(uri: str, sizes: partitioning.Sizes) -> None:
    table = Table(
        "",
        "unit",
        "one table",
        "by month",
        "ratio",
        title=f"{sizes.events:,} tool events of {partitioning.PROFILES:,} profiles in one table,"
        f" and in {partitioning.MONTHS + 1} partitions by month",
    )
    with psycopg.connect(uri, autocommit=True) as connection:
        Console(stderr=True).print(f"inserting {sizes.events:,} tool events twice ...")
        partitioning.fill(connection, sizes)
        for result in partitioning.measure(connection, sizes):
            table.add_row(
                result.name,
                result.unit,
                f"{result.plain:,.3f}",
                f"{result.monthly:,.3f}",
                f"{result.ratio:.2f}",
            )
    console.print(table)


def _measure_locks(stack: Stack, sizes: locks.Sizes) -> None:
    table = Table(
        "migration",
        *("requests", "p50 ms", "p95 ms", "p99 ms", "max ms"),
        *("at a fixed rate: p50", "p95", "p99", "failed runs", "done after s"),
        title=f"{locks.CLIENTS} clients, a session that holds a lock for {sizes.blocker_s} s, "
        f"{sizes.rounds} rounds",
    )
    tokens = [stack.token(f"bench-locks-{number}") for number in range(locks.CLIENTS)]
    with tempfile.TemporaryDirectory(prefix="sessionbase-bench-") as name:
        rounds = locks.measure(stack.port, stack.uri_of(), tokens, Path(name) / "sql", sizes)
        sides = list(track(rounds, total=sizes.rounds, console=Console(stderr=True)))[-1]
    for side in sides:
        quantiles = [quantile(side.latencies, share) for share in (0.5, 0.95, 0.99, 1)]
        even = locks.at_fixed_rate(side.latencies)
        quantiles += [quantile(even, share) for share in (0.5, 0.95, 0.99)]
        table.add_row(
            side.name,
            f"{len(side.latencies):,}",
            *(f"{1000 * found:,.0f}" for found in quantiles),
            f"{side.failed_runs}",
            f"{statistics.median(side.durations):.1f}",
        )
    console.print(table)


def _print_writes(
    title: str, stack: Stack, uris: tuple[str, str], profile: str, sizes: growth.Sizes
) -> bool:
    """Print the writes of `profile` in two databases; return whether no ratio is too high."""
    table = Table(
        "call", "baseline ms", "measured ms", "ratio", "95 % interval", "limit", title=title
    )
    password = require(stack.data_dir)[1].authenticator_password
    passed = True
    for ratio in growth.compare_writes(*uris, password, profile, sizes):
        passed &= not ratio.too_high
        table.add_row(
            ratio.name,
            f"{ratio.baseline_ms:.3f}",
            f"{ratio.measured_ms:.3f}",
            _marked(ratio.ratio, ratio.too_high),
            f"{ratio.low:.2f} to {ratio.high:.2f}",
            f"{growth.MAX_WRITE_RATIO}",
        )
    console.print(table)
    return passed


def _marked(ratio: float, too_high: bool) -> str:
    return f"{ratio:.2f}{' TOO HIGH' if too_high else ''}"


def _compare(
    connection: psycopg.Connection, port: int, tokens: list[str], case: cases.Case, sizes: Sizes
) -> list[str]:
    sessionbase: list[Measured] = []
    baseline: list[Measured] = []
    for number in range(sizes.rounds + 1):
        pairs = [(case.sessionbase, sessionbase), (case.baseline, baseline)]
        # The second side finds warmer caches: alternate which one goes first.
        for side, results in pairs if number % 2 else reversed(pairs):
            measured = run(port, side.prepare(connection, tokens, sizes.per_round), CLIENTS)
            if number:  # the first round is a warm-up
                results.append(measured)
    ratio = statistics.median(
        ours.per_second / plain.per_second
        for ours, plain in zip(sessionbase, baseline, strict=True)
    )
    return [
        case.name,
        f"{statistics.median(measured.per_second for measured in sessionbase):,.0f}",
        f"{statistics.median(measured.per_second for measured in baseline):,.0f}",
        *(
            f"{1000 * quantile([latency for m in side for latency in m.latencies], share):.2f}"
            for side in (sessionbase, baseline)
            for share in (0.5, 0.99)
        ),
        f"{ratio:.2f}",
        f"{case.aim}",
    ]


def _wait_for_baseline_tables(stack: Stack) -> None:
    """Wait until PostgREST has reloaded its schema cache and serves the baseline tables."""
    for _ in range(100):
        try:
            run(stack.port, [request("GET", "/baseline_todos?limit=1", stack.token("bench"))], 1)
        except RuntimeError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError("PostgREST does not serve the baseline tables")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main())
