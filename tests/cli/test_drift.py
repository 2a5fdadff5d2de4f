"""`sessionbase migrate drift` finds each kind of change that is made by hand, and undoes it."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from sessionbase.doctor.lints import read_lints, set_expectations
from sessionbase.drift.applied import Applied
from sessionbase.drift.catalogue import Catalogue, read_catalogue
from sessionbase.drift.report import DriftReport, compare_catalogues
from sessionbase.migrate.runner import migrate
from sessionbase.paths import PROJECT_DIR
from sessionbase.stack.scratch import scratch_cluster
from support.drift_cases import CASES, Case
from support.sql_folder import new_database

Connection = psycopg.Connection[Any]
LONG = "SESSIONBASE_LONG_TESTS"
PAGE = PROJECT_DIR / "docs/drift.md"


@dataclass(frozen=True)
class Server:
    """A cluster of this module, because the tests change roles."""

    uri: str
    """A migrated database."""
    template: str
    """The name of a copy of it without connections, to copy."""
    expected: Catalogue


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with scratch_cluster() as uri:
        migrate(uri)
        with new_database(uri, str(conninfo_to_dict(uri)["dbname"])) as template:
            with psycopg.connect(uri) as conn:
                expected = read_catalogue(conn)
            yield Server(uri, str(conninfo_to_dict(template)["dbname"]), expected)


@pytest.fixture(scope="module")
def connection(server: Server) -> Iterator[Connection]:
    with psycopg.connect(server.uri, autocommit=True) as conn:
        conn.prepare_threshold = 0  # each query is planned once
        yield conn


def report_of(conn: Connection, server: Server) -> DriftReport:
    with conn.transaction():
        actual = read_catalogue(conn)
    return compare_catalogues(conn, Applied({}), server.expected, actual)


def major_of(server: Server) -> int:
    return server.expected.version // 10_000


@contextlib.contextmanager
def changed(case: Case, conn: Connection, server: Server) -> Iterator[Connection]:
    """Make the change of a case, in a transaction or in a database of its own."""
    if major_of(server) < case.oldest:
        pytest.skip(f"needs PostgreSQL {case.oldest}")
    known = conn.execute("select count(*) from pg_available_extensions where name = 'citext'")
    if case.contrib and known.fetchone() == (0,):
        pytest.skip("this PostgreSQL comes without the contrib modules")
    if case.needs_database:
        with (
            new_database(server.uri, server.template) as uri,
            psycopg.connect(uri, autocommit=True) as own,
        ):
            # Not copied from the template.
            name = sql.Identifier(own.info.dbname)
            own.execute(sql.SQL("grant create on database {} to sessionbase_owner").format(name))
            own.execute(case.change.encode(), prepare=False)
            yield own
    else:
        with conn.transaction(force_rollback=True):
            conn.execute("set local allow_in_place_tablespaces = on")
            conn.execute(case.change.encode(), prepare=False)
            conn.execute("reset role")
            yield conn


def test_a_migrated_database_has_no_drift(server: Server, connection: Connection) -> None:
    report = report_of(connection, server)
    assert (report.differences, report.statements) == ([], [])


@pytest.mark.parametrize("case", CASES, ids=[case.title for case in CASES])
def test_a_change_by_hand_is_found_and_undone(
    case: Case, server: Server, connection: Connection
) -> None:
    with changed(case, connection, server) as conn:
        report = report_of(conn, server)
        found = [one for one in report.differences if one.object == case.object]
        assert any(case.what in one.what for one in found), (
            f"drift does not report {case.object!r} with {case.what!r}; it reports "
            f"{[one.what for one in report.differences]}"
        )
        levels = {one.level for one in report.differences}
        assert levels == {case.level}, [(one.level, one.what) for one in report.differences]
        if case.level == "note":
            assert report.statements == []
            return
        for statement in report.statements:
            conn.execute(statement.encode(), prepare=False)
        left = [one.what for one in report_of(conn, server).differences]
        assert (left == []) == case.undone, (report.statements, left)
        if not case.undone:
            assert any(not one.statements and one.remark for one in report.differences), (
                "a difference without a statement says what to do"
            )


def title(text: str) -> str:
    return text[0].upper() + text[1:]


def table_of_cases() -> list[str]:
    """Return the table of docs/drift.md."""
    words = {True: "yes", False: "no"}
    lines = ["| change | `migrate drift` | statement | `doctor` |", "| --- | --- | --- | --- |"]
    return lines + [
        f"| {title(case.title)} | {'found' if case.level == 'drift' else 'note'} "
        f"| {words[case.undone] if case.level == 'drift' else ''} | {words[case.doctor]} |"
        for case in CASES
    ]


def test_the_page_lists_each_change() -> None:
    lines = PAGE.read_text().splitlines()
    table = table_of_cases()
    start = lines.index(table[0])
    end = next(n for n in range(start, len(lines) + 1) if n == len(lines) or not lines[n])
    assert lines[start:end] == table, f"replace the table in {PAGE.name} by:\n" + "\n".join(table)


@pytest.mark.skipif(LONG not in os.environ, reason=f"runs all lints per change: set {LONG}=1")
@pytest.mark.parametrize("case", CASES, ids=[case.title for case in CASES])
def test_what_doctor_finds_is_as_the_page_says(
    case: Case, server: Server, connection: Connection
) -> None:
    with changed(case, connection, server) as conn, conn.transaction():
        set_expectations(conn)
        found = [row for lint in read_lints() for row in conn.execute(lint.sql.encode())]
        assert bool(found) == case.doctor, found
