"""The lints: SQL files in sql/doctor, each one SELECT, run read-only on a database."""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import class_row

from sessionbase.database import connect
from sessionbase.doctor.authority import expand, read_authority
from sessionbase.doctor.functions import expected_functions, read_functions
from sessionbase.errors import SessionbaseError
from sessionbase.migrate.database import refuse_old_database
from sessionbase.paths import command, resource_path

_FILE_NAME = re.compile(r"\d\d_(\w+)\.sql")


@dataclass(frozen=True)
class Lint:
    """One file: its name, its title and why a finding matters (both from its header)."""

    name: str
    title: str
    why: str
    sql: str = field(repr=False)

    @property
    def levels(self) -> list[str]:
        """The levels that it reports, `error` first."""
        return [level for level in ("error", "warning") if f"'{level}'" in self.sql]


@dataclass(frozen=True)
class Row:
    """A row that a lint's SELECT returns. `level` is `error` or `warning`."""

    level: str
    object: str
    what: str
    remediation: str


@dataclass(frozen=True)
class Finding(Row):
    """A row, and the name of the lint that returned it."""

    lint: str


@dataclass(frozen=True)
class Report:
    """All findings, in the order of the lints, and how many lints were run."""

    lints: int
    findings: list[Finding]

    def count(self, level: str) -> int:
        """Return how many findings have this level."""
        return sum(finding.level == level for finding in self.findings)


def _read(path: Path) -> Lint:
    match = _FILE_NAME.fullmatch(path.name)
    if match is None:
        raise SessionbaseError(
            f"{path} does not have the name of a lint", "rename it to NN_name.sql"
        )
    sql = path.read_text(encoding="utf-8")
    header = []
    for line in sql.splitlines():
        if not line.startswith("--"):
            break
        header.append(line.removeprefix("--").strip())
    if len(header) < 2:
        raise SessionbaseError(
            f"{path} has no title and explanation", "start it with two or more comment lines"
        )
    return Lint(match[1], header[0], " ".join(header[1:]), sql)


def read_lints() -> list[Lint]:
    """Return the shipped lints in the order of their numbers."""
    return [_read(path) for path in sorted((resource_path("sql") / "doctor").glob("*.sql"))]


def set_expectations(conn: psycopg.Connection[Any]) -> None:
    """Set what the lints compare the catalogue with, for the open transaction of `conn`.

    The search_path becomes empty. The setting sessionbase.authority holds sql/authority.json as
    lists of rows, and sessionbase.functions the functions that the shipped SQL files create.
    Raises SessionbaseError if one of those files has a mistake.
    """
    conn.execute("set local search_path = ''")
    functions = expected_functions(conn, read_functions(resource_path("sql")))
    signatures: dict[str, list[str]] = {}
    for function in functions:
        signatures.setdefault(function["name"], []).append(function["signature"])
    for name, value in {
        "authority": expand(read_authority(), signatures),
        "functions": functions,
    }.items():
        conn.execute(
            "select pg_catalog.set_config(%s, %s, true)", (f"sessionbase.{name}", json.dumps(value))
        )


def run(conn: psycopg.Connection[Any]) -> Report:
    """Run every lint in the open transaction of `conn`, whose search_path becomes empty."""
    lints = read_lints()
    findings = []
    set_expectations(conn)
    for lint in lints:
        with conn.cursor(row_factory=class_row(Row)) as cursor:
            rows = cursor.execute(lint.sql.encode()).fetchall()
        findings += [Finding(**vars(row), lint=lint.name) for row in rows]
    return Report(len(lints), findings)


def examine(db_uri: str) -> Report:
    """Run every lint on the database, in one read-only snapshot.

    Any login that can connect is enough: the lints read only the system catalogue. Raises
    SessionbaseError if the connection fails, if the database has no schemas app and api, or if it
    was made by a version before 0.1.0.
    """
    with connect(db_uri) as conn:
        conn.execute("set default_transaction_read_only = on")
        conn.commit()
        conn.execute("set transaction isolation level repeatable read")
        refuse_old_database(conn)
        row = conn.execute(
            "select pg_catalog.to_regnamespace('app') is not null"
            " and pg_catalog.to_regnamespace('api') is not null"
        ).fetchone()
        if row != (True,):
            raise SessionbaseError(
                f"the database {conn.info.dbname} has no schemas app and api",
                f"run {command()} migrate, or name another database with --db-uri",
            )
        return run(conn)
