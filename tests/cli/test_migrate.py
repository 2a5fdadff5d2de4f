"""Migrations are applied once and in order; edited files and other databases are refused."""

from __future__ import annotations

import hashlib
import json
import subprocess
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from sessionbase.errors import SessionbaseError
from sessionbase.migrate.database import check_server_version
from sessionbase.migrate.dump import dump_schema
from sessionbase.migrate.runner import pending, status
from sessionbase.options import parse_duration
from support.command import run_main, sessionbase

if TYPE_CHECKING:
    from support.sql_folder import Folder

pytest_plugins = ["support.sql_folder"]

FIRST = "create schema app;\ncreate table app.notes (id int primary key);\n"
ONE = "create or replace function app.one() returns integer language sql return 1;\n"
SECOND = "alter table app.notes add column text text;\n"


def catalogue(folder: Folder) -> list[tuple[Any, ...]]:
    """Return the schemas and relations of the database, without those of PostgreSQL."""
    return folder.fetch(
        "select nspname, relname from pg_namespace n left join pg_class c on c.relnamespace = n.oid"
        " where nspname !~ '^pg_|^information_schema$' order by 1, 2"
    )


def two_migrations(folder: Folder) -> None:
    folder.write("migrations/0001_notes.sql", FIRST)
    folder.write("migrations/0002_text.sql", SECOND)


def test_new_migrations_are_applied_in_order_and_once(folder: Folder) -> None:
    two_migrations(folder)
    report = folder.migrate()
    assert [(m.version, m.name) for m in report.migrations] == [(1, "notes"), (2, "text")]
    assert report.roles == "applied"
    assert folder.migrate().nothing_to_do
    rows = folder.fetch("select version, name, applied_by, duration_ms >= 0 from ops.migrations")
    assert sorted(rows) == [(1, "notes", "postgres", True), (2, "text", "postgres", True)]


def test_every_object_belongs_to_the_owner_role(folder: Folder) -> None:
    two_migrations(folder)
    folder.migrate()
    owners = folder.fetch(
        "select distinct relowner::regrole::text from pg_class where relnamespace in"
        " (select oid from pg_namespace where nspname in ('app', 'api', 'ops'))"
        " union select nspowner::regrole::text from pg_namespace where nspname in ('app', 'ops')"
    )
    assert owners == [("sessionbase_owner",)]


def test_clients_have_no_rights_on_the_migration_history(folder: Folder) -> None:
    folder.migrate()
    rows = folder.fetch(
        "select relname, relrowsecurity, relacl::text from pg_class"
        " where relnamespace = 'ops'::regnamespace and relkind = 'r' order by 1"
    )
    assert [row[:2] for row in rows] == [
        ("ledger_changes", True),
        ("migrations", True),
        ("repeatable_files", True),
        ("unfinished_migrations", True),
    ]
    assert all(row[2] is None or "=r/" not in row[2] for row in rows)


def test_one_of_twenty_concurrent_runs_applies_the_migrations(
    folder: Folder,
) -> None:
    folder.write("migrations/0001_notes.sql", FIRST + "select pg_sleep(0.3);\n")
    folder.write("migrations/0002_text.sql", SECOND)
    folder.write("api/notes.sql", "create or replace view api.notes as select 1 as id;\n")
    start = threading.Barrier(20)
    lines: list[str] = []

    def run(_: int) -> bool:
        start.wait()
        return folder.migrate(log=lines.append).nothing_to_do

    with ThreadPoolExecutor(20) as pool:
        idle = list(pool.map(run, range(20)))
    assert sorted(idle) == [False] + [True] * 19
    assert any("waiting" in line for line in lines)
    assert folder.fetch("select count(*) from ops.migrations") == [(2,)]


def test_the_error_of_a_migration_names_file_line_and_statement(folder: Folder) -> None:
    folder.write("migrations/0001_notes.sql", FIRST)
    folder.write(
        "migrations/0002_bad.sql",
        "-- Größe\ncreate table app.more (id int);\n\ninsert into app.notes\n  select true;\n",
    )
    with pytest.raises(SessionbaseError) as refusal:
        folder.migrate()
    message = refusal.value.message
    assert "migrations/0002_bad.sql, line 5:" in message
    assert "in: insert into app.notes" in message
    assert 'column "id" is of type integer but expression is of type boolean' in message


def test_a_failed_migration_is_rolled_back(folder: Folder) -> None:
    folder.write("migrations/0001_notes.sql", FIRST)
    folder.migrate()
    before = catalogue(folder)
    folder.write("migrations/0002_bad.sql", "create table app.more (id int);\nselect 1 / 0;\n")
    with pytest.raises(SessionbaseError, match="line 2: division by zero"):
        folder.migrate()
    assert catalogue(folder) == before
    assert pending(folder.uri, folder.path) == ["migrations/0002_bad.sql"]
    folder.write("migrations/0002_bad.sql", "create table app.more (id int);\n")
    assert [m.version for m in folder.migrate().migrations] == [2]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("select 1;\nselekt 2;\n", 'line 2: syntax error at or near "selekt"'),
        ("begin;\nselect 1;\n", "line 1: transaction control"),
        ("select 1;\ncommit;\n", "line 2: transaction control"),
        ("set role postgres;\n", "line 1: a change of role"),
    ],
)
def test_an_invalid_file_is_refused_before_any_file_is_applied(
    folder: Folder, text: str, why: str
) -> None:
    folder.write("migrations/0001_notes.sql", FIRST)
    folder.write("migrations/0002_bad.sql", text)
    before = catalogue(folder)
    with pytest.raises(SessionbaseError) as refusal:
        folder.migrate()
    assert f"migrations/0002_bad.sql, {why}" in refusal.value.message
    assert catalogue(folder) == before


def test_an_applied_file_that_was_edited_is_refused(folder: Folder) -> None:
    two_migrations(folder)
    folder.migrate()
    folder.write("migrations/0001_notes.sql", FIRST + "-- one more word\n")
    folder.write("migrations/0003_more.sql", "create table app.more (id int);\n")
    with pytest.raises(SessionbaseError, match=r"changed after it was applied: 0001_notes\.sql"):
        folder.migrate()
    assert status(folder.uri, folder.path).changed == ["0001_notes.sql"]
    assert folder.fetch("select to_regclass('app.more')") == [(None,)]


def test_an_applied_file_that_was_renamed_is_refused(folder: Folder) -> None:
    folder.write("migrations/0001_notes.sql", FIRST)
    folder.migrate()
    folder.remove("migrations/0001_notes.sql")
    folder.write("migrations/0001_other.sql", FIRST)
    with pytest.raises(SessionbaseError, match=r"changed after it was applied: 0001_notes\.sql"):
        folder.migrate()


def test_an_applied_file_that_was_deleted_is_refused(folder: Folder) -> None:
    two_migrations(folder)
    folder.migrate()
    folder.remove("migrations/0001_notes.sql")
    with pytest.raises(SessionbaseError, match=r"deleted from migrations/: 0001_notes\.sql"):
        folder.migrate()
    assert status(folder.uri, folder.path).missing == ["0001_notes.sql"]


def test_a_gap_in_the_numbers_is_refused(folder: Folder) -> None:
    folder.write("migrations/0001_notes.sql", FIRST)
    folder.write("migrations/0003_text.sql", SECOND)
    with pytest.raises(SessionbaseError, match="no file numbered 0002"):
        folder.migrate()
    assert catalogue(folder) == [("public", None)]


def test_two_files_with_one_number_are_refused(folder: Folder) -> None:
    folder.write("migrations/0001_notes.sql", FIRST)
    folder.write("migrations/0001_text.sql", SECOND)
    with pytest.raises(SessionbaseError, match=r"0001_notes\.sql and 0001_text\.sql"):
        folder.migrate()


@pytest.mark.parametrize("name", ["1_notes.sql", "0001-notes.sql", "0001_Notes.sql", "notes.sql"])
def test_a_file_with_a_bad_name_is_refused(folder: Folder, name: str) -> None:
    folder.write(f"migrations/{name}", FIRST)
    with pytest.raises(SessionbaseError, match="does not have the name of a migration"):
        folder.migrate()


def test_a_database_that_is_newer_than_the_folder_is_refused(folder: Folder) -> None:
    two_migrations(folder)
    folder.migrate()
    folder.remove("migrations/0002_text.sql")
    with pytest.raises(SessionbaseError, match=r"newer than this folder: it has 0002_text\.sql"):
        folder.migrate()


def test_an_edited_migration_history_is_refused(folder: Folder) -> None:
    two_migrations(folder)
    folder.migrate()
    edited = FIRST + "-- edited\n"
    folder.write("migrations/0001_notes.sql", edited)
    sha256 = hashlib.sha256(edited.encode()).hexdigest()
    with psycopg.connect(folder.uri) as conn:
        conn.execute("update ops.migrations set sha256 = %s where version = 1", (sha256,))
    with pytest.raises(SessionbaseError, match=r"ops\.migrations was edited: the chain of row 1"):
        folder.migrate()


def test_a_dry_run_lists_the_files_and_changes_nothing(folder: Folder) -> None:
    two_migrations(folder)
    folder.write("app/10_one.sql", ONE)
    folder.write("api/notes.sql", "create or replace view api.notes as select 1 as id;\n")
    before = catalogue(folder)
    report = folder.migrate(dry_run=True)
    assert [m.version for m in report.migrations] == [1, 2]
    assert report.repeatable_files == ["app/10_one.sql", "api/notes.sql"]
    assert catalogue(folder) == before == [("public", None)]


def test_a_dry_run_refuses_the_same_files_as_a_run(folder: Folder) -> None:
    folder.write("migrations/0001_notes.sql", "create tabel app.notes ();\n")
    with pytest.raises(SessionbaseError, match=r"0001_notes\.sql, line 1: syntax error"):
        folder.migrate(dry_run=True)


def test_a_migration_that_does_not_get_a_lock_says_what_to_do(folder: Folder) -> None:
    folder.write("migrations/0001_notes.sql", FIRST)
    folder.migrate()
    folder.write("migrations/0002_text.sql", SECOND)
    with psycopg.connect(folder.uri) as reader:
        reader.execute("select from app.notes")
        with pytest.raises(SessionbaseError) as refusal:
            folder.migrate(lock_timeout_ms=100)
    assert "migrations/0002_text.sql, line 1: canceling statement due to lock timeout" in str(
        refusal.value
    )
    assert "--lock-timeout" in str(refusal.value.hint)
    assert [m.version for m in folder.migrate().migrations] == [2]


@pytest.mark.parametrize(("text", "ms"), [("500ms", 500), ("5s", 5000), ("1min", 60_000)])
def test_a_duration_is_parsed_with_its_unit(text: str, ms: int) -> None:
    assert parse_duration(text, "--lock-timeout") == ms


def test_a_duration_without_a_unit_is_refused_with_the_name_of_the_option() -> None:
    with pytest.raises(SessionbaseError, match="--lock-timeout '5' is not a duration"):
        parse_duration("5", "--lock-timeout")


@pytest.fixture
def plain_login(db: psycopg.Connection[Any], folder: Folder) -> Iterator[str]:
    """Yield the name of a new login that is not a superuser or a member of a role."""
    name = f"login_{uuid.uuid4().hex}"
    role = sql.Identifier(name)
    db.execute(sql.SQL("create role {} login password 'try'").format(role))
    yield name
    db.execute(sql.SQL("drop role {}").format(role))


def test_a_login_that_is_only_a_member_of_the_owner_can_migrate(
    folder: Folder, plain_login: str, db: psycopg.Connection[Any]
) -> None:
    two_migrations(folder)
    folder.write("api/notes.sql", "create or replace view api.notes as select 1 as id;\n")
    login = sql.Identifier(plain_login)
    db.execute(sql.SQL("alter role {} noinherit").format(login))
    db.execute(sql.SQL("grant sessionbase_owner to {}").format(login))
    database = sql.Identifier(psycopg.conninfo.conninfo_to_dict(folder.uri)["dbname"])  # type: ignore[arg-type]
    db.execute(sql.SQL("grant create on database {} to sessionbase_owner").format(database))
    folder.uri = make_conninfo(folder.uri, user=plain_login, password="try")
    report = folder.migrate()
    assert report.roles == "skipped"
    assert [m.version for m in report.migrations] == [1, 2]
    assert folder.migrate().nothing_to_do
    assert status(folder.uri, folder.path).applied[0].applied_by == plain_login


def test_a_login_without_the_owner_role_is_refused(folder: Folder, plain_login: str) -> None:
    two_migrations(folder)
    folder.uri = make_conninfo(folder.uri, user=plain_login, password="try")
    with pytest.raises(SessionbaseError, match="not a member of sessionbase_owner"):
        folder.migrate()
    assert catalogue(folder) == [("public", None)]


def test_the_hint_for_an_owner_without_create_on_the_database_is_the_grant(
    folder: Folder, plain_login: str, db: psycopg.Connection[Any]
) -> None:
    two_migrations(folder)
    db.execute(sql.SQL("grant sessionbase_owner to {}").format(sql.Identifier(plain_login)))
    folder.uri = make_conninfo(folder.uri, user=plain_login, password="try")
    with pytest.raises(SessionbaseError) as refusal:
        folder.migrate()
    assert "grant create on database" in str(refusal.value.hint)


def run_command(folder: Folder, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `sessionbase migrate` on the folder, in this process."""
    return run_main("migrate", *arguments, "--db-uri", folder.uri, "--sql-dir", folder.path)


def test_the_command_prints_the_error_in_one_line(folder: Folder) -> None:
    folder.write("migrations/0001_notes.sql", "select 1;\nselect nothing;\n")
    done = run_command(folder)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        'Error: migrations/0001_notes.sql, line 2: column "nothing" does not exist, '
        "in: select nothing"
    ]


def test_status_json_lists_the_state_of_each_file(folder: Folder) -> None:
    two_migrations(folder)
    folder.migrate()
    folder.write("migrations/0002_text.sql", SECOND + "-- edited\n")
    folder.write("migrations/0003_more.sql", "create table app.more (id int);\n")
    folder.write("app/10_one.sql", ONE)
    folder.remove("migrations/0001_notes.sql")
    done = run_command(folder, "status", "--json")
    assert done.returncode == 2, done.stderr
    result = json.loads(done.stdout)
    assert [row["name"] for row in result["applied"]] == ["notes", "text"]
    assert result["pending"] == ["0003_more.sql"]
    assert result["changed"] == ["0002_text.sql"]
    assert result["missing"] == ["0001_notes.sql"]
    assert result["repeatable_files"] == ["app/10_one.sql"]


def test_the_command_lists_the_files_to_apply_and_the_applied_ones(folder: Folder) -> None:
    two_migrations(folder)
    folder.write("app/10_one.sql", ONE)
    folder.write("api/notes.sql", "create or replace view api.notes as select 1 as id;\n")
    done = run_command(folder, "--dry-run")
    assert done.stdout.splitlines() == [
        "roles.sql: applied in every run",
        "to apply: migrations/0001_notes.sql",
        "to apply: migrations/0002_text.sql",
        "to apply: app/10_one.sql",
        "to apply: api/notes.sql",
        "dry run: nothing was changed",
    ]
    done = run_command(folder, "--json")
    result = json.loads(done.stdout)
    assert result["repeatable_files"] == ["app/10_one.sql", "api/notes.sql"]
    assert result["repeatable"]["created"] == ["api.notes", "app.one()"]
    assert run_command(folder).stdout == "nothing to do: the database is up to date\n"


# The objects that older versions created, with the columns that the runner reads.
OLD_HISTORY = (
    "create schema ops",
    "create table ops.migrations (version integer primary key, name text not null)",
    "create table ops.api_files (file text primary key, sha256 text not null)",
    "insert into ops.migrations values (1, 'foundation')",
    "create schema app",
    "create table app.todos (id text primary key)",
)


@pytest.mark.parametrize("options", [[], ["--dry-run"], ["status"]])
def test_a_database_made_before_0_1_0_is_refused_in_one_line_and_not_changed(
    folder: Folder, options: list[str]
) -> None:
    folder.write("migrations/0001_notes.sql", FIRST)
    with psycopg.connect(folder.uri) as conn:
        for statement in OLD_HISTORY:
            conn.execute(statement)
    before = catalogue(folder)
    done = run_command(folder, *options)
    assert (done.returncode, done.stdout) == (3 if options == ["status"] else 1, "")
    (line,) = done.stderr.splitlines()
    assert "made by a version before 0.1.0" in line
    assert "pg_dump --data-only --schema=app --disable-triggers" in line
    assert "docs/upgrading.md" in line
    doctor = sessionbase("doctor", "--db-uri", folder.uri)
    assert (doctor.returncode, doctor.stderr) == (1, done.stderr)
    assert catalogue(folder) == before


@pytest.mark.parametrize("schema", ["app", "api", "ops"])
def test_a_database_with_the_schema_of_another_application_is_refused_and_not_changed(
    folder: Folder, schema: str
) -> None:
    folder.write("migrations/0001_notes.sql", FIRST)
    with psycopg.connect(folder.uri) as conn:
        conn.execute(f"create schema {schema}")
    before = catalogue(folder)
    for dry_run in (True, False):
        with pytest.raises(SessionbaseError, match=f"has a schema {schema}, and no migration"):
            folder.migrate(dry_run=dry_run)
    with pytest.raises(SessionbaseError, match="belong to another application"):
        status(folder.uri, folder.path)
    assert catalogue(folder) == before


@pytest.mark.parametrize("version", [90624, 140022, 149999])
def test_a_server_version_below_15_is_refused(
    version: int,
) -> None:
    with pytest.raises(SessionbaseError, match="needs 15 or later"):
        check_server_version(version)


@pytest.mark.parametrize("version", [150000, 160004, 170000, 180006])
def test_a_server_version_from_15_on_is_accepted(version: int) -> None:
    check_server_version(version)


def test_a_pg_dump_that_does_not_exist_is_named_with_the_option(folder: Folder) -> None:
    program = folder.path / "no_such_pg_dump"
    with pytest.raises(SessionbaseError) as refusal:
        dump_schema(folder.uri, program)
    assert refusal.value.message == f"{program} does not run: No such file or directory"
    assert "--pg-dump" in str(refusal.value.hint)


def test_the_message_of_a_pg_dump_that_fails_is_shown_in_one_line(folder: Folder) -> None:
    with pytest.raises(SessionbaseError, match="pg_dump failed: no matching schemas were found"):
        dump_schema(folder.uri)
