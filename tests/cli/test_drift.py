"""`sessionbase migrate drift` finds each kind of change that is made by hand, and undoes it."""

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from sessionbase.doctor.lints import read_lints, set_expectations
from sessionbase.drift.applied import AppliedFiles
from sessionbase.drift.catalogue import Catalogue, read_catalogue
from sessionbase.drift.report import DriftReport, compare_catalogues
from sessionbase.migrate.privileges import ROLES
from sessionbase.migrate.runner import migrate
from sessionbase.paths import PROJECT_DIR, resource_path
from sessionbase.stack.account import POSTGRES_BIN_VARIABLE, postgres_bin, service_account
from sessionbase.stack.scratch import scratch_cluster
from support.command import run_main
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
    return compare_catalogues(conn, AppliedFiles({}), server.expected, actual)


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


@pytest.fixture
def target(server: Server) -> Iterator[str]:
    """Yield the superuser's URI of a database of its own, without drift."""
    with new_database(server.uri, server.template) as uri:
        with psycopg.connect(uri) as conn:
            name = sql.Identifier(conn.info.dbname)
            conn.execute(sql.SQL("grant create on database {} to sessionbase_owner").format(name))
        yield uri


def execute(uri: str, *statements: str) -> None:
    with psycopg.connect(uri, autocommit=True) as conn:
        for statement in statements:
            conn.execute(statement.encode())


def drift_json(*arguments: object) -> dict[str, Any]:
    done = run_main("migrate", "drift", "--json", *arguments)
    report: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == (1 if report["drift"] else 0), done.stderr
    return report


def test_the_command_prints_differences_and_statements_that_undo_them(target: str) -> None:
    execute(
        target,
        "alter table app.todos disable row level security",
        "create index by_text on app.todos (text)",
        "drop function api.delete_todo(uuid)",
    )
    done = run_main("migrate", "drift", "--db-uri", target)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert "drift  table app.todos: row-level security is off, expected: on" in lines
    assert "drift  function api.delete_todo(uuid) is missing" in lines
    assert lines[-1].endswith("objects compared: 3 differences, 0 notes.")
    start = next(n for n, line in enumerate(lines) if line.startswith("Statements that undo it"))
    end = next(n for n, line in enumerate(lines) if line.startswith("Functions and views:"))
    script = "\n".join(lines[start + 1 : end])
    conninfo = conninfo_to_dict(target)
    psql = subprocess.run(
        [postgres_bin(service_account()) / "psql", "-v", "ON_ERROR_STOP=1", "-d", target],
        input=script,
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", "PGPASSWORD": str(conninfo.get("password", ""))},
    )
    assert psql.returncode == 0, psql.stderr
    report = drift_json("--db-uri", target)
    assert (report["drift"], report["notes"], report["differences"]) == (0, 0, [])


def test_an_accepted_object_is_a_note(target: str) -> None:
    execute(target, "alter table app.todos set (fillfactor = 50)", "comment on schema app is 'x'")
    report = drift_json("--db-uri", target, "--accept", "table app.*")
    assert {one["object"]: one["level"] for one in report["differences"]} == {
        "table app.todos": "note",
        "comment on schema app": "drift",
    }
    assert [one.split(" is ")[0] for one in report["statements"]] == ["comment on schema app"]


def test_exit_code_3_means_that_they_could_not_be_compared(server: Server) -> None:
    with new_database(server.uri) as empty:
        done = run_main("migrate", "drift", "--db-uri", empty)
        assert (done.returncode, "no migration ledger" in done.stderr) == (3, True)
    gone = run_main("migrate", "drift", "--db-uri", empty)
    assert (gone.returncode, "no connection" in gone.stderr) == (3, True)


def test_a_scratch_server_with_our_roles_is_refused(target: str, server: Server) -> None:
    done = run_main("migrate", "drift", "--db-uri", target, "--scratch-uri", server.uri)
    assert (done.returncode, "already has the roles" in done.stderr) == (3, True)


def test_another_server_can_hold_the_expected_database(target: str) -> None:
    with scratch_cluster() as other:
        for _ in range(2):  # the first run leaves nothing there
            report = drift_json("--db-uri", target, "--scratch-uri", other)
            assert report["differences"] == []
        with psycopg.connect(other) as conn:
            left = conn.execute(
                "select rolname from pg_roles where rolname = any(%s)"
                " union all select datname from pg_database where datname like %s",
                (list(ROLES), "sessionbase_drift_%"),
            ).fetchall()
        assert left == []


def test_a_login_without_rights_can_compare(target: str, server: Server) -> None:
    execute(target, "create role watcher login password 'w'", "grant select on app.todos to anon")
    try:
        report = drift_json("--db-uri", make_conninfo(target, user="watcher", password="w"))
    finally:
        execute(target, "drop role watcher")
    assert [one["object"] for one in report["differences"]] == [
        "grant of select on table app.todos to anon"
    ]
    assert "may not read the migration ledger" in report["remarks"][0]


def test_pending_files_are_listed_and_not_compared(target: str, tmp_path: Path) -> None:
    folder = tmp_path / "sql"
    shutil.copytree(resource_path("sql"), folder)
    number = max(int(path.name[:4]) for path in (folder / "migrations").glob("*.sql")) + 1
    name = f"migrations/{number:04}_more.sql"
    (folder / name).write_text("create table app.more (id int primary key);")
    edited = folder / "api/40_todos.sql"
    edited.write_text(edited.read_text().replace("'Whether it is done'", "'Done or not'"))
    report = drift_json("--db-uri", target, "--sql-dir", folder)
    assert report["differences"] == []
    assert {name, "api/40_todos.sql"} <= set(report["pending"])


def test_an_edited_migration_is_reported_and_the_applied_text_is_compared(
    target: str, tmp_path: Path
) -> None:
    folder = tmp_path / "sql"
    shutil.copytree(resource_path("sql"), folder)
    edited = folder / "migrations/0005_todos.sql"
    edited.write_text(edited.read_text() + "create table app.more (id int primary key);")
    (folder / "migrations/0004_misalignments.sql").unlink()
    report = drift_json("--db-uri", target, "--sql-dir", folder)
    assert [one["what"].split(" after")[0] for one in report["differences"]] == [
        "migrations/0004_misalignments.sql was applied, and is not in the folder",
        "migrations/0005_todos.sql was edited",
    ]


def test_the_ledger_of_an_earlier_version_is_not_drift(target: str) -> None:
    execute(
        target,
        "alter table ops.migrations drop column content, drop column kind",
        "alter table ops.repeatable_files drop column content",
        "drop table ops.unfinished_migrations, ops.ledger_changes",
        "alter table app.todos set (fillfactor = 50)",
    )
    report = drift_json("--db-uri", target)
    assert [one["object"] for one in report["differences"]] == ["table app.todos"]
    assert "ledger is of an earlier version" in report["remarks"][0]


def test_a_database_of_an_older_server_has_no_drift_against_the_embedded_one(
    target: str, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run by `scripts/test --postgres 15`."""
    if POSTGRES_BIN_VARIABLE not in os.environ:
        pytest.skip("the server of the run is the embedded one: scripts/test --postgres 15")
    monkeypatch.delenv(POSTGRES_BIN_VARIABLE)
    execute(
        target,
        "create or replace view api.todos with (security_invoker = true) as"
        " select id, text, completed, created_at from app.todos where completed",
    )
    report = drift_json("--db-uri", target)
    drift = [one["object"] for one in report["differences"] if one["level"] == "drift"]
    assert drift == ["view api.todos"]
    assert report["server"] == major_of(server) < report["scratch_server"]
