"""The command `sessionbase stats`."""

from datetime import datetime, timedelta
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sessionbase.console import count_bar, print_json, print_line, stdout
from sessionbase.options import DEFAULT_DATA_DIR, DataDir, DbUri, resolve_db_uri
from sessionbase.stats.report import Row, read


def stats(
    db_uri: DbUri = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    exact: Annotated[
        bool, typer.Option("--exact", help="Count all rows. This reads every table.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a program.")] = False,
) -> None:
    """Show sizes, growth, slow statements, unfinished events, connections and replication.

    It only reads. Row counts are the planner's estimates, and no table is read as a whole, so it
    can run every minute in production. --exact counts all rows, in one snapshot.

    pg_monitor is enough for sizes, connections, replication and statements. To count new rows and
    unfinished tool events the login must be a member of sessionbase_owner or a superuser. What the
    login can't see is empty, and a note says so. In the JSON each name ends with its unit.

    Exit code 0: done. 1: no connection, or not a database of sessionbase.

    Example: sessionbase stats --db-uri postgresql://monitor@db.example/sessionbase --json
    """
    with count_bar("Counting the rows of") as progress:
        report = read(resolve_db_uri(db_uri, data_dir), exact, progress)
    if as_json:
        print_json(report)
    else:
        _print(report)


def _print(report: Row) -> None:
    _print_database(report["database"])
    _print_tables(report["tables"])
    _print_growth(report["growth"])
    _print_unfinished(report["unfinished_tool_events"])
    _print_statements(report["statements"])
    _print_connections(report["connections"])
    _print_replication(report["replication"], report["wal"])
    for note in report["notes"]:
        stdout.print(f"Note: {note}.", markup=False)


def _print_database(database: Row) -> None:
    role = "standby" if database["is_standby"] else "primary"
    hits = database["cache_hit_ratio"]
    age, limit = database["oldest_transaction_id_age"], database["autovacuum_freeze_max_age"]
    for line in (
        f"Database {database['name']}: {_bytes(database['size_bytes'])},"
        f" PostgreSQL {database['server_version']}, {role},"
        f" started {_time(database['server_started_at'])}",
        f"Reads from the cache: {'-' if hits is None else f'{100 * hits:.1f} %'};"
        f" deadlocks: {_number(database['deadlocks'])};"
        f" temporary files: {_bytes(database['temporary_files_bytes'])}"
        f" (since {_time(database['counters_since'], 'the first start')})",
        f"Age of the oldest transaction id: {_number(age)}; autovacuum freezes from"
        f" {_number(limit)} on; {_number(database['transaction_ids_left'])} ids are left",
    ):
        print_line(line)


def _print_tables(tables: list[Row]) -> None:
    exact = "rows_exact" in tables[0]
    shown = _table(
        "Tables",
        "table",
        "rows" if exact else "rows, about",
        "heap",
        "indexes",
        "TOAST",
        "dead rows",
        "last vacuum",
        "last analyze",
    )
    for table in tables:
        shown.add_row(
            Text(table["name"]),
            _number(table["rows_exact" if exact else "rows_estimated"]),
            _bytes(table["heap_bytes"]),
            _bytes(table["indexes_bytes"]),
            _bytes(table["toast_bytes"]),
            _number(table["dead_rows_estimated"]),
            _time(table["last_vacuum_at"]),
            _time(table["last_analyze_at"]),
        )
    _print_table(shown)


def _print_growth(growth: list[Row]) -> None:
    if not growth:
        return
    shown = _table("Growth", "table", "new rows, last day", "per day", "bytes per day", "of days")
    for table in growth:
        shown.add_row(
            Text(table["table"]),
            _number(table["new_rows_last_day"]),
            _number(table["new_rows_per_day"]),
            _bytes(table["new_bytes_per_day_estimated"]),
            "-" if table["counted_days"] is None else f"{table['counted_days']:.3g}",
        )
    _print_table(shown)


def _print_unfinished(found: Row | None) -> None:
    if found is None:
        return
    stdout.print(
        f"Unfinished tool events: {_number(found['events'])}"
        f" ({_number(found['pending'])} pending, {_number(found['executing'])} executing)"
        f"; under 1 hour: {_number(found['younger_than_1_hour'])}"
        f", to 1 day: {_number(found['from_1_hour_to_1_day'])}"
        f", to 7 days: {_number(found['from_1_day_to_7_days'])}"
        f", older: {_number(found['older_than_7_days'])}"
        f"; the oldest: {_duration(found['oldest_age_seconds'])}",
        markup=False,
    )


def _print_statements(statements: list[Row] | None) -> None:
    if statements is None:
        return
    shown = _table("Slowest statements, by total time", "total", "calls", "mean", "max", "role")
    shown.add_column("statement", overflow="ellipsis", no_wrap=True)
    for row in statements:
        shown.add_row(
            f"{row['total_seconds']:,.1f} s",
            _number(row["calls"]),
            f"{row['mean_ms']:,.2f} ms",
            f"{row['max_ms']:,.1f} ms",
            Text(row["role"] or "-"),
            Text(row["statement"] or "-"),
        )
    _print_table(shown)


def _print_connections(connections: Row) -> None:
    shown = ", ".join(
        f"{row['role']} {row['state']}: {row['connections']}"
        for row in connections["by_role_and_state"]
    )
    stdout.print(
        f"Connections: {connections['used_in_cluster']} of {connections['max_connections']};"
        f" waiting for a lock: {connections['waiting_for_a_lock']}; here: {shown}",
        markup=False,
    )
    oldest = connections["oldest_transaction"]
    if oldest:
        stdout.print(
            f"Oldest transaction: {_duration(oldest['age_seconds'])}, pid {oldest['pid']},"
            f" {oldest['role']}, {oldest['state']}",
            markup=False,
        )


def _print_replication(replication: Row, wal: Row) -> None:
    archiving = wal["archive_mode"]
    if archiving != "off":
        archiving += f", last file {_time(wal['last_archived_at'])}"
        if wal["archiving_fails"]:
            archiving += ", FAILS NOW"
    lines = [f"WAL on disk: {_bytes(wal['files_bytes'])}; archiving: {archiving}"]
    lines += [
        f"Replica {row['name']}: {row['state']}, {row['sync_state']},"
        f" {_bytes(row['not_replayed_bytes'])} and {_duration(row['replay_lag_seconds'])} behind"
        for row in replication["replicas"] or []
    ]
    lines += [
        f"Slot {row['name']} ({row['type']}): {'in use' if row['active'] else 'NOT in use'},"
        f" WAL {row['wal_status']}, keeps {_bytes(row['retained_wal_bytes'])}"
        for row in replication["slots"]
    ]
    standby = replication["standby"]
    if standby:
        lines.append(
            f"Standby: {_bytes(standby['not_replayed_bytes'])} received but not replayed; the last"
            f" commit {_duration(standby['seconds_since_last_replayed_commit'])} ago"
        )
    for line in lines:
        print_line(line)


def _print_table(shown: Table) -> None:
    """Print a table in 120 columns also where the terminal is narrower or the output is a file."""
    Console(highlight=False, width=max(stdout.width, 120)).print(shown)


def _table(title: str, *columns: str) -> Table:
    shown = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    for number, column in enumerate(columns):
        shown.add_column(column, justify="right" if number else "left")
    return shown


def _bytes(size: int | None) -> str:
    """Return a size with its unit: `12.3 MiB`."""
    if size is None:
        return "-"
    value, units = float(size), ["bytes", "KiB", "MiB", "GiB", "TiB"]
    while abs(value) >= 1024 and len(units) > 1:
        value /= 1024
        units.pop(0)
    return f"{value:,.0f} bytes" if units[0] == "bytes" else f"{value:,.1f} {units[0]}"


def _number(value: Any) -> str:
    return "-" if value is None else f"{value:,.0f}"


def _time(value: datetime | None, missing: str = "never") -> str:
    return missing if value is None else f"{value:%Y-%m-%d %H:%M}"


def _duration(seconds: float | None) -> str:
    """Return a time without fractions: `2 days, 3:04:05`."""
    return "-" if seconds is None else str(timedelta(seconds=round(seconds)))
