"""Measure sessionbase side by side with the same work on bare tables, and print ratios.

Usage: bench/run [--quick]. Everything happens in one run on a throwaway embedded stack, the two
sides of each case in alternating rounds; the ratio is the median of the rounds' ratios, so that a
neighbour on the machine who wakes up in the middle disturbs both sides alike.
"""

import argparse
import socket
import statistics
import sys
import tempfile
import time
from pathlib import Path

import psycopg
from rich.console import Console
from rich.progress import track
from rich.table import Table

import cases
import importing
import modules
from database import run_pgbench
from load import Measured, quantile, request, run
from sessionbase.stack import manage
from sessionbase.stack.token import make_claims, sign
from sessionbase.state import dba_uri, require

CLIENTS = 4
console = Console(width=110)


def main() -> int:
    """Run it all; the exit code is 0 whatever the numbers are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer and smaller rounds")
    quick = parser.parse_args().quick
    rounds, per_round, records = (3, 300, 20_000) if quick else (7, 600, 100_000)

    with tempfile.TemporaryDirectory(prefix="sessionbase-bench-") as folder:
        data_dir = Path(folder) / "data"
        manage.up(data_dir, manage.UpOptions(port=_free_port(), admin_port=_free_port()))
        try:
            _measure(data_dir, rounds, per_round, records)
        finally:
            manage.delete_data(data_dir)
    return 0


def _measure(data_dir: Path, rounds: int, per_round: int, records: int) -> None:
    stack_config, secrets = require(data_dir)
    uri = dba_uri(stack_config, secrets)
    with psycopg.connect(uri, autocommit=True) as connection:
        connection.execute((Path(__file__).parent / "bare.sql").read_text())
        connection.execute("reset role")
        cases.fill(connection, "lists.sql", "others.sql")
        _wait_for_bare_tables(stack_config.port, sign(make_claims("bench"), secrets.jwt_secret))

        table = Table(
            *(
                "request",
                "kept/s",
                "bare/s",
                "p50 ms",
                "p99 ms",
                "bare p50",
                "bare p99",
                "ratio",
                "aim",
            ),
            title=f"HTTP, {CLIENTS} clients, {rounds} alternating rounds of {per_round} requests",
        )
        # Lists first: the writes fill the bare tables, which have no profiles to tell apart.
        lists = [cases.list_case(name, query) for name, query in cases.LISTS]
        for group, profile, files in (
            (lists, cases.LIST_PROFILE, []),
            ([cases.TRANSITION, *cases.WRITES], "bench", ["others_bare.sql"]),
        ):
            cases.fill(connection, *files)
            for case in track(group, console=Console(stderr=True), transient=True):
                profiles = (
                    [f"{profile}-{n}" for n in range(CLIENTS)] if case.profile_each else [profile]
                )
                tokens = [sign(make_claims(name), secrets.jwt_secret) for name in profiles]
                table.add_row(
                    *_compare(connection, stack_config.port, tokens, case, rounds, per_round)
                )
    console.print(table)

    table = Table(
        "pgbench, one statement a transaction", "per second", "mean ms", title="The database alone"
    )
    for name, (rate, latency) in run_pgbench(uri, CLIENTS, rounds * per_round // CLIENTS).items():
        table.add_row(name, f"{rate:,.0f}", f"{latency:.2f}")
    console.print(table)

    turns = rounds * 30
    table = Table(
        "call",
        "p50 ms",
        "p99 ms",
        "curl p50",
        "curl p99",
        "p50 more",
        title=f"TypeScript client and curl, one call at a time, {turns} turns",
    )
    token = sign(make_claims("bench-modules"), secrets.jwt_secret)
    for row in modules.measure(stack_config.rest_url, "bench-modules", token, turns):
        cells = (row["module_p50"], row["module_p99"], row["curl_p50"], row["curl_p99"])
        more = row["module_p50"] - row["curl_p50"]
        table.add_row(row["name"], *(f"{cell:.2f}" for cell in cells), f"{more:+.2f}")
    console.print(table)

    ours, plain = importing.compare(uri, records, max(3, rounds // 2))
    table = Table("", "records/s", "ratio", "aim", title=f"Importing {records:,} records")
    table.add_row("sessionbase import tool-events", f"{ours:,.0f}")
    for name, (rate, ratio) in plain.items():
        table.add_row(name, f"{rate:,.0f}", f"{ratio:.2f}", "0.25")
    console.print(table)


def _compare(
    connection: psycopg.Connection,
    port: int,
    tokens: list[str],
    case: cases.Case,
    rounds: int,
    count: int,
) -> list[str]:
    kept: list[Measured] = []
    bare: list[Measured] = []
    for number in range(rounds + 1):
        pairs = [(case.kept, kept), (case.bare, bare)]
        # Whoever goes second finds a warmer machine: take turns.
        for side, results in pairs if number % 2 else reversed(pairs):
            measured = run(port, side.prepare(connection, tokens, count), CLIENTS)
            if number:  # the first round warms both sides up
                results.append(measured)
    ratio = statistics.median(k.per_second / b.per_second for k, b in zip(kept, bare, strict=True))
    return [
        case.name,
        f"{statistics.median(k.per_second for k in kept):,.0f}",
        f"{statistics.median(b.per_second for b in bare):,.0f}",
        *(
            f"{1000 * quantile([latency for m in side for latency in m.latencies], share):.2f}"
            for side in (kept, bare)
            for share in (0.5, 0.99)
        ),
        f"{ratio:.2f}",
        f"{case.aim}",
    ]


def _wait_for_bare_tables(port: int, token: str) -> None:
    """PostgREST reads the schema anew when it is told to; until then it knows no bare table."""
    for _ in range(100):
        try:
            run(port, [request("GET", "/bare_todos?limit=1", token)], 1)
        except RuntimeError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError("PostgREST does not show the bare tables")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main())
