"""The tables that are published for a replication client: read and change them.

Three things make a table usable for such a client: it is in the publication `sessionbase`, its
replica identity is full (a change carries the whole old row), and `sessionbase_replicator` may
select from it. The role also needs the attribute REPLICATION. roles.sql does not give it: with it a
login can copy the whole cluster with pg_basebackup, unless pg_hba.conf prevents it.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from sessionbase.database import become_owner, refuse_standby
from sessionbase.doctor.lints import Row, read_lints
from sessionbase.errors import SessionbaseError, UsageError
from sessionbase.paths import command

PUBLICATION = sql.Identifier("sessionbase")
REPLICATOR = "sessionbase_replicator"

Connection = psycopg.Connection[Any]

# A table may be published if its policies let the replicator read it: they are part of the schema.
_TABLES = """
select
  class.relname as name,
  exists (
    select from pg_catalog.pg_publication_rel as published
    inner join pg_catalog.pg_publication as publication on publication.oid = published.prpubid
    where published.prrelid = class.oid and publication.pubname = 'sessionbase'
  ) as published,
  class.relreplident = 'f' as full_identity,
  pg_catalog.has_table_privilege('sessionbase_replicator', class.oid, 'select') as readable
from pg_catalog.pg_class as class
where class.relnamespace = pg_catalog.to_regnamespace('app')
  and exists (
    select from pg_catalog.pg_policy as policy
    where policy.polrelid = class.oid
      and policy.polroles @> array[pg_catalog.to_regrole('sessionbase_replicator')::oid]
  )
order by class.relname
"""

_SLOTS = """
select slot_name as name, plugin, active, wal_status
from pg_catalog.pg_replication_slots
where slot_type = 'logical' and database = pg_catalog.current_database()
order by slot_name
"""


@dataclass(frozen=True)
class Table:
    """A table that may be published, and which of the three things it has."""

    name: str
    """Without its schema, which is `app`."""
    published: bool
    full_identity: bool
    readable: bool

    @property
    def enabled(self) -> bool:
        """Return whether a replication client can use the table."""
        return self.published and self.full_identity and self.readable

    @property
    def untouched(self) -> bool:
        """Return whether the table has none of the three."""
        return not (self.published or self.full_identity or self.readable)


@dataclass(frozen=True)
class Slot:
    """A logical replication slot of this database; it keeps WAL until its consumer has read it."""

    name: str
    plugin: str
    active: bool
    wal_status: str | None


@dataclass(frozen=True)
class Status:
    """The state of logical replication in a database."""

    database: str
    wal_level: str
    """The server's setting; logical replication needs `logical`."""
    role_has_replication: bool
    role_can_log_in: bool
    tables: list[Table]
    slots: list[Slot]
    findings: list[Row]
    """The findings of doctor's lint `replication`."""
    pg_hba_lines: list[str]
    """The lines of pg_hba.conf that keep the role to logical replication of this database."""


@dataclass(frozen=True)
class Change:
    """The result of `enable` or `disable`."""

    changed: list[str]
    """The tables that were changed, without their schema."""
    statement_for_dba: str | None
    """The statement that this login may not run; None if nothing is left to do."""
    status: Status


def pg_hba_lines(database: str) -> list[str]:
    """Return the lines that keep the replicator to logical replication of `database`.

    A physical replication connection (pg_basebackup) matches the keyword `replication`, a logical
    one the name of its database. The first line that matches a connection decides.
    """
    name = _quote_hba(database)
    rows = [
        ("local", name, "", "scram-sha-256"),
        ("host", name, "all", "scram-sha-256"),
        ("local", "all,replication", "", "reject"),
        ("host", "all,replication", "all", "reject"),
    ]
    width = max(len(row[1]) for row in rows)
    return [
        f"{kind:<5}  {names:<{width}}  {REPLICATOR}  {address:<3}  {method}"
        for kind, names, address, method in rows
    ]


def _quote_hba(name: str) -> str:
    """Quote a database's name for pg_hba.conf; some words and characters are special there."""
    keywords = {"all", "sameuser", "samerole", "samegroup", "replication"}
    if re.fullmatch(r"\w+", name, re.ASCII) and name not in keywords:
        return name
    return '"' + name.replace('"', '""') + '"'


def read_status(conn: Connection) -> Status:
    """Read the state of replication; any login may. Raises SessionbaseError without the schema."""
    row = conn.execute(
        "select current_setting('wal_level'), rolreplication, rolcanlogin from pg_roles"
        " where rolname = %s and exists (select from pg_publication where pubname = 'sessionbase')",
        [REPLICATOR],
    ).fetchone()
    if row is None:
        raise SessionbaseError(
            f"the database {conn.info.dbname} has no publication sessionbase"
            f" or no role {REPLICATOR}",
            f"run {command()} migrate first",
        )
    with conn.cursor(row_factory=class_row(Table)) as cursor:
        tables = cursor.execute(_TABLES).fetchall()
    with conn.cursor(row_factory=class_row(Slot)) as cursor:
        slots = cursor.execute(_SLOTS).fetchall()
    lint = next(lint for lint in read_lints() if lint.name == "replication")
    with conn.transaction(), conn.cursor(row_factory=class_row(Row)) as cursor:
        conn.execute("set local search_path = ''")
        findings = cursor.execute(lint.sql.encode()).fetchall()
    wal_level, role_has_replication, role_can_log_in = row
    return Status(
        conn.info.dbname,
        wal_level,
        role_has_replication,
        role_can_log_in,
        tables,
        slots,
        findings,
        pg_hba_lines(conn.info.dbname),
    )


def enable(conn: Connection, names: list[str]) -> Change:
    """Publish the tables `names` (with or without `app.`); a repetition changes nothing.

    The tables are changed in one transaction, the role in a second one: if the login may not grant
    REPLICATION, the result has the statement for a DBA. `conn` must be in autocommit mode. Raises
    UsageError for a table that may not be published, SessionbaseError if wal_level is not logical.
    """
    refuse_standby(conn)
    before = read_status(conn)
    chosen = _choose(before, names)
    if before.wal_level != "logical":
        raise SessionbaseError(
            f"wal_level is {before.wal_level}, and logical replication needs logical",
            "a DBA runs: alter system set wal_level = logical; then restarts PostgreSQL",
        )
    todo = [table for table in chosen if not table.enabled]
    with _as_owner(conn):
        for table in todo:
            name = sql.Identifier("app", table.name)
            if not table.full_identity:
                _run(conn, "alter table {} replica identity full", name)
            if not table.published:
                _run(conn, "alter publication {} add table {}", PUBLICATION, name)
            if not table.readable:
                _run(conn, "grant select on {} to {}", name, sql.Identifier(REPLICATOR))
    statement = None
    if not before.role_has_replication:
        statement = _alter_role(conn, "replication")
    return Change([table.name for table in todo], statement, read_status(conn))


def disable(conn: Connection, names: list[str]) -> Change:
    """Undo `enable` for the tables; after the last one the role loses REPLICATION.

    `conn` must be in autocommit mode. Raises UsageError for a table that may not be published.
    """
    refuse_standby(conn)
    before = read_status(conn)
    chosen = _choose(before, names)
    if not any(table.published for table in before.tables if table not in chosen):
        chosen = before.tables  # the last one: also those that have only one of the three
    todo = [table for table in chosen if not table.untouched]
    with _as_owner(conn):
        for table in todo:
            name = sql.Identifier("app", table.name)
            if table.published:
                _run(conn, "alter publication {} drop table {}", PUBLICATION, name)
            if table.full_identity:
                _run(conn, "alter table {} replica identity default", name)
            if table.readable:
                _run(conn, "revoke select on {} from {}", name, sql.Identifier(REPLICATOR))
    after = read_status(conn)
    if after.role_has_replication and not any(table.published for table in after.tables):
        statement = _alter_role(conn, "noreplication")
        return Change([table.name for table in todo], statement, read_status(conn))
    return Change([table.name for table in todo], None, after)


def _choose(status: Status, names: list[str]) -> list[Table]:
    allowed = {table.name: table for table in status.tables}
    wanted = dict.fromkeys(name.removeprefix("app.") for name in names)
    unknown = [name for name in wanted if name not in allowed]
    if unknown:
        raise UsageError(
            f"not a table that may be published: {', '.join(unknown)}",
            f"these may be: {', '.join(allowed)}",
        )
    return [allowed[name] for name in wanted]


@contextmanager
def _as_owner(conn: Connection) -> Iterator[None]:
    """Open a transaction as the owner of the objects, with a limit on the wait for locks."""
    with conn.transaction():
        become_owner(conn)
        conn.execute("set local lock_timeout = '5s'")
        yield
    conn.execute("reset role")


def _run(conn: Connection, statement: str, *names: sql.Composable) -> None:
    conn.execute(sql.SQL(statement).format(*names))


def _alter_role(conn: Connection, attribute: str) -> str | None:
    """Set or remove the attribute of the role; return the statement if this login may not."""
    statement = f"alter role {REPLICATOR} {attribute}"
    try:
        conn.execute(statement.encode())
    except psycopg.errors.InsufficientPrivilege:
        return statement
    return None
