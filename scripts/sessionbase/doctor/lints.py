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
from sessionbase.doctor.functions import expected_functions, functions_of
from sessionbase.errors import SessionbaseError
from sessionbase.migrate.database import refuse_old_database
from sessionbase.migrate.files import SqlFolder, read_folder
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


@dataclass(frozen=True)
class Expectations:
    """What the lints compare the catalogue with: the value of each of their two settings."""

    authority: str
    """sql/authority.json as lists of rows."""
    functions: str
    """The functions that the SQL files create."""

    def use(self, conn: psycopg.Connection[Any]) -> None:
        """Set them for the open transaction, whose search_path becomes empty."""
        conn.execute(
            "select pg_catalog.set_config('search_path', '', true),"
            " pg_catalog.set_config('sessionbase.authority', %s, true),"
            " pg_catalog.set_config('sessionbase.functions', %s, true)",
            (self.authority, self.functions),
        )


def expectations(
    conn: psycopg.Connection[Any], folder: SqlFolder, authority_file: Path | None = None
) -> Expectations:
    """Return what the files of `folder` say; the authority file is the shipped one unless named.

    In the open transaction of `conn` the search_path becomes empty. Raises SessionbaseError if one
    of those files has a mistake.
    """
    conn.execute("set local search_path = ''")
    functions = expected_functions(conn, functions_of(folder))
    signatures: dict[str, list[str]] = {}
    for function in functions:
        signatures.setdefault(function["name"], []).append(function["signature"])
    rows = expand(read_authority(authority_file), signatures)
    return Expectations(json.dumps(rows), json.dumps(functions))


def set_expectations(conn: psycopg.Connection[Any]) -> None:
    """Set what the shipped files say, for the open transaction of `conn`.

    The search_path becomes empty. Raises SessionbaseError if one of those files has a mistake.
    """
    expectations(conn, read_folder(resource_path("sql"))).use(conn)


def run_lints(conn: psycopg.Connection[Any], lints: list[Lint]) -> list[Finding]:
    """Run the lints in one round trip, in the open transaction whose expectations are set."""
    findings = []
    with conn.cursor(row_factory=class_row(Row)) as cursor:
        cursor.execute(";\n".join(lint.sql for lint in lints).encode())
        for lint in lints:
            findings += [Finding(**vars(row), lint=lint.name) for row in cursor.fetchall()]
            cursor.nextset()
    return findings


def run(conn: psycopg.Connection[Any]) -> Report:
    """Run every lint in the open transaction of `conn`, whose search_path becomes empty."""
    lints = read_lints()
    set_expectations(conn)
    return Report(len(lints), run_lints(conn, lints))


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
