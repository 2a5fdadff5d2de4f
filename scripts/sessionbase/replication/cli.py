"""The command `sessionbase replication`."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated

import typer

from sessionbase.console import print_json, print_line
from sessionbase.database import connect
from sessionbase.options import DEFAULT_DATA_DIR, DataDir, DbUri, resolve_db_uri
from sessionbase.replication import tables
from sessionbase.replication.tables import REPLICATOR, Change, Connection, Status, Table

COST = (
    "Cost: each update and delete of these tables now also writes the whole old row to the WAL."
    " Measured on transitions of tool events with large rows: 95 kB each, instead of 0.65 kB."
)

app = typer.Typer(
    no_args_is_help=True,
    help="""Switch logical replication of tables on and off; it is off by default.

    A replication client such as Electric needs it. docs/replication.md says what it costs and what
    the replication login can read.

    Example: sessionbase replication enable todos
    """,
)

Tables = Annotated[
    list[str], typer.Argument(metavar="TABLE", help="Names, with or without `app.`.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON, for a program.")]


@contextmanager
def _open(db_uri: str | None, data_dir: DataDir) -> Iterator[Connection]:
    with connect(resolve_db_uri(db_uri, data_dir)) as conn:
        conn.autocommit = True
        yield conn


@app.command()
def enable(
    names: Tables,
    db_uri: DbUri = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Publish tables for a replication client.

    For each table: replica identity full, the publication sessionbase, and SELECT for the role
    sessionbase_replicator. The role gets REPLICATION. Prints the lines of pg_hba.conf that keep the
    role to logical replication of this database. A repetition changes nothing.

    Exit code 0: done. 1: refused, or this login may not grant REPLICATION: a DBA must run the
    statement that is printed. 2: a table that may not be published.

    Example: sessionbase replication enable tool_events todos
    """
    with _open(db_uri, data_dir) as conn:
        change = tables.enable(conn, names)
    _report(change, as_json)
    if not as_json:
        print_line(COST)
        if not change.status.role_can_log_in:
            print_line(
                f"{REPLICATOR} can't log in yet: alter role {REPLICATOR} login password '...'"
            )
        _print_pg_hba(change.status)
    raise typer.Exit(1 if change.statement_for_dba else 0)


@app.command()
def disable(
    names: Tables,
    db_uri: DbUri = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Undo `enable` for tables; after the last one the role loses REPLICATION.

    Roles belong to the whole cluster: if another database of it also publishes tables for this
    role, run `enable` there again.

    Exit code 0: done. 1: refused, or this login may not remove REPLICATION: a DBA must run the
    statement that is printed. 2: a table that may not be published.

    Example: sessionbase replication disable todos
    """
    with _open(db_uri, data_dir) as conn:
        change = tables.disable(conn, names)
    _report(change, as_json)
    if not as_json:
        for slot in change.status.slots:
            print_line(
                f"Replication slot {slot.name} still exists and keeps WAL. If it is not needed:"
                f" select pg_drop_replication_slot('{slot.name}')"
            )
    raise typer.Exit(1 if change.statement_for_dba else 0)


@app.command("status")
def show_status(
    db_uri: DbUri = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Print which tables are published, what the role may do, the slots, and doctor's findings.

    It reads only, and any login may run it.

    Example: sessionbase replication status --json
    """
    with _open(db_uri, data_dir) as conn:
        status = tables.read_status(conn)
    if as_json:
        print_json(asdict(status))
        return
    for table in status.tables:
        print_line(f"app.{table.name}: {_describe(table)}")
    can = "has" if status.role_has_replication else "does not have"
    login = "can" if status.role_can_log_in else "can't"
    print_line(
        f"{REPLICATOR} {can} REPLICATION and {login} log in; wal_level is {status.wal_level}."
    )
    for slot in status.slots:
        state = "in use" if slot.active else "not in use"
        print_line(f"slot {slot.name} ({slot.plugin}): {state}, WAL {slot.wal_status or 'unknown'}")
    for finding in status.findings:
        print_line(f"{finding.level}: {finding.object} {finding.what}; {finding.remediation}")
    if status.role_has_replication:
        _print_pg_hba(status)


def _report(change: Change, as_json: bool) -> None:
    if as_json:
        print_json(asdict(change))
        return
    for table in change.status.tables:
        if table.name in change.changed:
            print_line(f"app.{table.name}: {_describe(table)}")
    if not change.changed:
        print_line("No table was changed.")
    if change.statement_for_dba:
        print_line(
            f"This login may not alter the role. A DBA must run: {change.statement_for_dba};"
        )
    else:
        can = "has" if change.status.role_has_replication else "does not have"
        print_line(f"{REPLICATOR} {can} REPLICATION.")


def _describe(table: Table) -> str:
    if table.untouched:
        return "off"
    parts = {
        "published": table.published,
        "full identity": table.full_identity,
        "readable": table.readable,
    }
    missing = [name for name, there in parts.items() if not there]
    return f"incomplete, not {' and not '.join(missing)}" if missing else "on"


def _print_pg_hba(status: Status) -> None:
    print_line(
        "Put these lines at the top of pg_hba.conf, then run: select pg_reload_conf(). Without them"
        f" {REPLICATOR} can copy the whole cluster with pg_basebackup. With them it can still read"
        " the changes of every table of this database, published or not."
    )
    for line in status.pg_hba_lines:
        print_line(line)
