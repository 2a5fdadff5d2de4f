"""The lints: SQL files in sql/doctor, each one SELECT, run read-only over a database."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import class_row

from sessionbase.database import connect
from sessionbase.errors import SessionbaseError
from sessionbase.paths import command, resource_path

_FILE_NAME = re.compile(r"\d\d_(\w+)\.sql")


@dataclass(frozen=True)
class Lint:
    """One file: its name, what it looks for, and why that matters (both from its header)."""

    name: str
    title: str
    why: str
    sql: str = field(repr=False)

    @property
    def levels(self) -> list[str]:
        """The levels that it reports, the graver one first."""
        return [level for level in ("error", "warning") if f"'{level}'" in self.sql]


@dataclass(frozen=True)
class Row:
    """What a lint's SELECT gives. `level` is `error` or `warning`."""

    level: str
    object: str
    what: str
    remediation: str


@dataclass(frozen=True)
class Finding(Row):
    """A row, and the lint that found it."""

    lint: str


@dataclass(frozen=True)
class Report:
    """All that the lints found, in their order, and how many lints there were."""

    lints: int
    findings: list[Finding]

    def count(self, level: str) -> int:
        """Return how many findings have this level."""
        return sum(finding.level == level for finding in self.findings)


def _read(path: Path) -> Lint:
    match = _FILE_NAME.fullmatch(path.name)
    if match is None:
        raise SessionbaseError(f"{path} is not named like a lint", "NN_name.sql")
    sql = path.read_text(encoding="utf-8")
    header = []
    for line in sql.splitlines():
        if not line.startswith("--"):
            break
        header.append(line.removeprefix("--").strip())
    if len(header) < 2:
        raise SessionbaseError(f"{path} says not what it looks for", "two comment lines on top")
    return Lint(match[1], header[0], " ".join(header[1:]), sql)


def read_lints() -> list[Lint]:
    """Return the shipped lints in the order of their numbers."""
    return [_read(path) for path in sorted((resource_path("sql") / "doctor").glob("*.sql"))]


def run(conn: psycopg.Connection[Any]) -> Report:
    """Run every lint in the connection's transaction, whose search_path it empties."""
    lints = read_lints()
    findings = []
    conn.execute("set local search_path = ''")
    for lint in lints:
        with conn.cursor(row_factory=class_row(Row)) as cursor:
            rows = cursor.execute(lint.sql.encode()).fetchall()
        findings += [Finding(**vars(row), lint=lint.name) for row in rows]
    return Report(len(lints), findings)


def examine(db_uri: str) -> Report:
    """Run every lint over the database, in one read-only snapshot.

    Any login that can connect will do: the lints read the system catalogue alone. Raises
    SessionbaseError where there is no connection, or nothing of sessionbase to examine.
    """
    with connect(db_uri) as conn:
        conn.execute("set default_transaction_read_only = on")
        conn.commit()
        conn.execute("set transaction isolation level repeatable read")
        there = conn.execute(
            "select pg_catalog.to_regnamespace('app') is not null"
            " and pg_catalog.to_regnamespace('api') is not null"
        ).fetchone()
        if there != (True,):
            raise SessionbaseError(
                f"the database {conn.info.dbname} has no schemas app and api",
                f"{command()} migrate creates them; --db-uri names another database",
            )
        return run(conn)
