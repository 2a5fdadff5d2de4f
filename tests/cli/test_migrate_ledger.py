"""The ledger: exit codes of status, edited files as a diff, baseline, repair, new, --repair-api."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import shutil
import subprocess
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from sessionbase.errors import SessionbaseError, UsageError
from sessionbase.migrate.baseline import baseline
from sessionbase.migrate.ledger import CREATE_LEDGER
from sessionbase.migrate.new import new_migration
from sessionbase.migrate.repair import plan_repair, repair
from sessionbase.migrate.runner import migrate
from sessionbase.paths import PROJECT_DIR, resource_path
from sessionbase.stack.account import postgres_bin, service_account
from sessionbase.stack.scratch import scratch_cluster
from support.command import run_main
from support.pages import commands, run_script

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Stack
    from support.sql_folder import Folder

pytest_plugins = ["support.sql_folder"]

PAGE = "migration-ledger.md"
FIRST = "create schema app;\ncreate table app.notes (id int primary key);\n"
SECOND = "alter table app.notes add column text text;\n"
THIRD = "create index notes_by_text on app.notes (text);\n"
VIEW = """
create or replace view api.notes with (security_invoker = true) as select id, text from app.notes;
comment on view api.notes is 'All notes.';
grant select on api.notes to authenticated;
"""
ONE = """
create or replace function app.one() returns integer language sql immutable
set search_path = '' as 'select 1';
comment on function app.one() is 'One.';
grant execute on function app.one() to authenticated;
"""

CATALOGUE = """
select 'role', rolname, (rolsuper, rolcanlogin, rolcreaterole)::text from pg_roles
union all
select 'member', roleid::regrole::text, member::regrole::text from pg_auth_members
union all
select 'schema', nspname, nspowner::regrole::text || coalesce(nspacl::text, '') from pg_namespace
 where nspname !~ '^pg_'
union all
select 'relation', oid::regclass::text, relowner::regrole::text || coalesce(relacl::text, '')
  from pg_class where relnamespace not in ('pg_catalog'::regnamespace, 'pg_toast'::regnamespace)
union all
select 'function', oid::regprocedure::text, proowner::regrole::text from pg_proc
 where pronamespace <> 'pg_catalog'::regnamespace
union all
select 'database', datname, coalesce(datacl::text, '') from pg_database
 where datname = current_database()
 order by 1, 2, 3
"""


def catalogue(uri: str) -> list[tuple[Any, ...]]:
    """Return roles, schemas, relations, functions and the rights on the database."""
    with psycopg.connect(uri, client_encoding="utf8") as conn:
        return conn.execute(CATALOGUE.encode()).fetchall()


def ledger(uri: str) -> list[tuple[Any, ...]]:
    """Return every row of the ledger's tables, as text."""
    tables = ("migrations", "repeatable_files", "unfinished_migrations", "ledger_changes")
    with psycopg.connect(uri) as conn:
        return [
            row
            for table in tables
            for row in conn.execute(f"select t::text from ops.{table} t order by 1".encode())
        ]


@pytest.fixture
def notes(folder: Folder) -> Folder:
    """Return a folder with three applied migrations, a function of app and a view of api."""
    folder.write("migrations/0001_notes.sql", FIRST)
    folder.write("migrations/0002_text.sql", SECOND)
    folder.write("migrations/0003_index.sql", THIRD)
    folder.write("app/10_one.sql", ONE)
    folder.write("api/10_notes.sql", "grant usage on schema api to authenticated;\n" + VIEW)
    folder.migrate()
    return folder


def run(folder: Folder, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run `sessionbase migrate` on the folder, in this process."""
    return run_main("migrate", *arguments, "--db-uri", folder.uri, "--sql-dir", folder.path)


# status


def edit(folder: Folder) -> None:
    folder.write("migrations/0002_text.sql", "-- edited\n" + SECOND)


def rename(folder: Folder) -> None:
    folder.remove("migrations/0002_text.sql")
    folder.write("migrations/0002_other.sql", SECOND)


def delete(folder: Folder) -> None:
    folder.remove("migrations/0002_text.sql")


def delete_newest(folder: Folder) -> None:
    folder.remove("migrations/0003_index.sql")


def skip_a_number(folder: Folder) -> None:
    folder.write("migrations/0005_more.sql", "create table app.more (id int);\n")


def edit_the_ledger(folder: Folder) -> None:
    folder.execute("update ops.migrations set chain = sha256 where version = 2")


def begin_without_transaction(folder: Folder) -> None:
    text = "create table app.more (id int);\n"
    folder.write("migrations/0004_more.sql", text)
    digest = hashlib.sha256(text.encode()).hexdigest()
    folder.execute(
        f"insert into ops.unfinished_migrations (version, sha256) values (4, '{digest}')"
    )


def edit_an_unfinished_one(folder: Folder) -> None:
    begin_without_transaction(folder)
    folder.write("migrations/0004_more.sql", "create table app.other (id int);\n")


def add_a_migration(folder: Folder) -> None:
    folder.write("migrations/0004_more.sql", "create table app.more (id int);\n")


def edit_a_view(folder: Folder) -> None:
    folder.write("api/10_notes.sql", VIEW + "-- edited\n")


@pytest.mark.parametrize(
    ("change", "code", "key", "value"),
    [
        (None, 0, "state", "up to date"),
        (add_a_migration, 1, "pending", ["0004_more.sql"]),
        (edit_a_view, 1, "repeatable_files", ["app/10_one.sql", "api/10_notes.sql"]),
        (edit, 2, "changed", ["0002_text.sql"]),
        (rename, 2, "changed", ["0002_text.sql"]),
        (delete, 2, "missing", ["0002_text.sql"]),
        (delete_newest, 2, "newer", ["0003_index.sql"]),
        (skip_a_number, 2, "gaps", [4]),
        (edit_the_ledger, 2, "broken_at", 2),
        (begin_without_transaction, 1, "unfinished", ["0004_more.sql"]),
        (edit_an_unfinished_one, 2, "cannot_continue", ["0004_more.sql"]),
    ],
)
def test_status_exits_with_1_for_pending_files_and_with_2_for_what_needs_a_decision(
    notes: Folder, change: Any, code: int, key: str, value: object
) -> None:
    if change:
        change(notes)
    done = run(notes, "status", "--json")
    assert done.returncode == code, done.stderr
    assert json.loads(done.stdout)[key] == value
    text = run(notes, "status")
    assert text.returncode == code


def test_status_of_an_empty_database_is_pending(folder: Folder) -> None:
    folder.write("migrations/0001_notes.sql", FIRST)
    assert run(folder, "status").returncode == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["status", "--db-uri", "postgresql://nobody@127.0.0.1:1/none"],
        ["status", "--sql-dir", "/nonexistent"],
        ["status", "--no-such-option"],
        ["--dry-run", "status"],
    ],
)
def test_status_that_could_not_compare_exits_with_3(arguments: list[str]) -> None:
    done = run_main("migrate", *arguments)
    assert (done.returncode, done.stdout) == (3, "")
    assert len(done.stderr.splitlines()) == 1


def test_the_exit_codes_are_in_the_help_of_status() -> None:
    text = " ".join(run_main("migrate", "status", "--help").stdout.split())
    for part in ("0: up to date", "1: files are pending", "2: changed, missing", "3: could not"):
        assert part in text


def test_an_edited_file_is_shown_as_a_unified_diff(notes: Folder) -> None:
    notes.write("migrations/0001_notes.sql", FIRST.replace("int", "bigint") + "-- end")
    done = run(notes, "status")
    assert "changed  0001_notes.sql (first at line 2: create table app." in done.stdout
    assert "status --diff" in done.stderr
    shown = run(notes, "status", "--diff").stdout
    assert (
        "--- migrations/0001_notes.sql (applied)\n"
        "+++ migrations/0001_notes.sql (in the folder)\n"
        "@@ -1,2 +1,3 @@\n"
        " create schema app;\n"
        "-create table app.notes (id int primary key);\n"
        "+create table app.notes (id bigint primary key);\n"
        "+-- end\n"
        "\\ No newline at end of file\n"
    ) in shown
    with pytest.raises(SessionbaseError) as refusal:
        notes.migrate()
    assert "0001_notes.sql (first at line 2: create table" in refusal.value.message
    assert "migrate status --diff" in str(refusal.value.hint)


def test_a_diff_shows_changed_line_ends_and_an_edited_view(notes: Folder) -> None:
    (notes.path / "migrations/0002_text.sql").write_bytes(SECOND.replace("\n", "\r\n").encode())
    notes.write("api/10_notes.sql", VIEW)
    shown = run(notes, "status", "--diff").stdout
    assert "+alter table app.notes add column text text;\\r\n" in shown
    assert "-grant usage on schema api to authenticated;\n" in shown


@pytest.fixture
def old_ledger(notes: Folder) -> Folder:
    """Return the folder with the ledger as version 0.1.0 created it: without the later columns."""
    rows = notes.fetch("select version, name, sha256, chain, duration_ms from ops.migrations")
    files = notes.fetch("select file, sha256 from ops.repeatable_files")
    notes.execute("drop schema ops cascade")
    with psycopg.connect(notes.uri) as conn:
        conn.execute("set role sessionbase_owner")
        conn.execute(CREATE_LEDGER.encode())
        for row in rows:
            conn.execute(
                "insert into ops.migrations (version, name, sha256, chain, duration_ms)"
                " values (%s, %s, %s, %s, %s)",
                row,
            )
        for file in files:
            conn.execute("insert into ops.repeatable_files (file, sha256) values (%s, %s)", file)
    return notes


def test_status_works_on_the_ledger_of_an_older_version_and_changes_nothing(
    old_ledger: Folder,
) -> None:
    before = catalogue(old_ledger.uri)
    assert run(old_ledger, "status").returncode == 0
    edit(old_ledger)
    done = run(old_ledger, "status", "--diff")
    assert done.returncode == 2
    assert "changed  0002_text.sql (no text kept)" in done.stdout
    assert "migrations/0002_text.sql: the ledger has no text to compare with" in done.stdout
    assert plan_repair(old_ledger.uri, old_ledger.path).changes[0].diff is None
    assert catalogue(old_ledger.uri) == before


def test_the_next_run_keeps_the_texts_that_an_older_version_did_not_keep(
    old_ledger: Folder,
) -> None:
    lines: list[str] = []
    assert old_ledger.migrate(log=lines.append).nothing_to_do
    assert [line for line in lines if "kept the text of 5 files" in line] == lines
    assert old_ledger.fetch("select content from ops.migrations order by version") == [
        (FIRST,),
        (SECOND,),
        (THIRD,),
    ]
    assert old_ledger.fetch("select count(content) from ops.repeatable_files") == [(2,)]
    lines.clear()
    old_ledger.migrate(log=lines.append)
    assert lines == []
    edit(old_ledger)
    assert "+-- edited\n" in run(old_ledger, "status", "--diff").stdout


def test_the_text_of_a_file_that_was_edited_meanwhile_is_not_kept(old_ledger: Folder) -> None:
    edit(old_ledger)
    planned = plan_repair(old_ledger.uri, old_ledger.path)
    repair(old_ledger.uri, old_ledger.path, planned=planned, reason="a comment")
    kept = old_ledger.fetch("select content from ops.migrations order by version")
    assert kept == [(None,), ("-- edited\n" + SECOND,), (None,)]


@pytest.mark.parametrize(
    "statement",
    [
        "update ops.ledger_changes set reason = 'another'",
        "delete from ops.ledger_changes",
        "truncate ops.ledger_changes",
    ],
)
def test_the_log_of_ledger_changes_can_not_be_changed(notes: Folder, statement: str) -> None:
    edit(notes)
    planned = plan_repair(notes.uri, notes.path)
    repair(notes.uri, notes.path, planned=planned, reason="a comment")
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="rows are never changed"):
        notes.execute(statement)
    assert notes.fetch("select reason from ops.ledger_changes") == [("a comment",)]


# baseline


@pytest.fixture
def unrecorded(notes: Folder) -> Folder:
    """Return the folder with a database that has all objects and no ledger."""
    notes.execute("drop schema ops cascade")
    return notes


@pytest.mark.parametrize("arguments", [[], ["--dry-run"], ["status"]])
def test_our_schemas_without_a_ledger_are_refused_and_baseline_is_named(
    unrecorded: Folder, arguments: list[str]
) -> None:
    before = catalogue(unrecorded.uri)
    done = run(unrecorded, *arguments)
    assert done.returncode == (3 if arguments == ["status"] else 1)
    assert "migrate baseline" in done.stderr
    assert catalogue(unrecorded.uri) == before


def test_baseline_records_the_files_and_migrate_applies_the_rest(unrecorded: Folder) -> None:
    add_a_migration(unrecorded)
    before = catalogue(unrecorded.uri)
    options = ("baseline", "--version", 3, "--reason", "restored without ops")
    done = run(unrecorded, *options, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "would be recorded as applied: 0003_index.sql" in done.stdout
    assert "pending: 0004_more.sql" in done.stdout
    assert catalogue(unrecorded.uri) == before
    done = run(unrecorded, *options, "--json")
    report = json.loads(done.stdout)
    assert report["migrations"] == ["0001_notes.sql", "0002_text.sql", "0003_index.sql"]
    assert unrecorded.fetch("select version, kind, duration_ms from ops.migrations") == [
        (1, "baseline", 0),
        (2, "baseline", 0),
        (3, "baseline", 0),
    ]
    (log,) = unrecorded.fetch(
        "select action, reason, changed_by, before, jsonb_array_length(after)"
        " from ops.ledger_changes"
    )
    assert log == ("baseline", "restored without ops", "postgres", [], 3)
    assert [m.version for m in unrecorded.migrate().migrations] == [4]
    done = run(unrecorded, "status")
    assert done.returncode == 0
    assert "(baseline: its objects existed)" in done.stdout


def test_baseline_of_the_shipped_schema_leaves_nothing_to_find(
    stack: Stack, migrated_database: str
) -> None:
    with psycopg.connect(migrated_database) as conn:
        conn.execute("drop schema ops cascade")
    report = baseline(migrated_database, reason="restored without ops")
    assert (report.version, report.unchecked, report.pending) == (9, [], [])
    assert report.checked > 200
    assert migrate(migrated_database).migrations == []
    assert run_main("migrate", "status", "--db-uri", migrated_database).returncode == 0
    done = run_main("doctor", "--db-uri", migrated_database)
    assert done.returncode == 0, done.stdout


def test_baseline_refuses_a_version_whose_objects_are_missing(unrecorded: Folder) -> None:
    add_a_migration(unrecorded)
    before = catalogue(unrecorded.uri)
    with pytest.raises(SessionbaseError) as refusal:
        baseline(unrecorded.uri, unrecorded.path, reason="try")
    assert "objects of the files up to 0004 do not exist: " in refusal.value.message
    assert "column app.more.id" in refusal.value.message
    assert "table app.more" in refusal.value.message
    assert "--version 3" in str(refusal.value.hint)
    assert catalogue(unrecorded.uri) == before


def test_baseline_refuses_a_version_below_the_objects_that_exist(unrecorded: Folder) -> None:
    with pytest.raises(SessionbaseError, match="after 0001 exist already") as refusal:
        baseline(unrecorded.uri, unrecorded.path, reason="try", version=1)
    assert "--version 3" in str(refusal.value.hint)


@pytest.mark.parametrize("version", [0, 7])
def test_baseline_refuses_a_number_without_a_file(unrecorded: Folder, version: int) -> None:
    with pytest.raises(UsageError, match="no file with the number"):
        baseline(unrecorded.uri, unrecorded.path, reason="try", version=version)


def test_baseline_refuses_a_ledger_with_rows_and_an_empty_reason(notes: Folder) -> None:
    before = ledger(notes.uri)
    with pytest.raises(SessionbaseError, match="has a ledger with rows already"):
        baseline(notes.uri, notes.path, reason="try")
    with pytest.raises(UsageError, match="--reason is empty"):
        baseline(notes.uri, notes.path, reason=" ")
    assert ledger(notes.uri) == before


def test_a_ledger_that_was_emptied_by_hand_can_be_written_again(notes: Folder) -> None:
    notes.execute("truncate ops.migrations")
    with pytest.raises(SessionbaseError, match="ledger is missing or empty") as refusal:
        notes.migrate()
    assert "migrate baseline" in str(refusal.value.hint)
    baseline(notes.uri, notes.path, reason="it was truncated by mistake")
    assert notes.migrate().nothing_to_do


def test_baseline_refuses_an_empty_database(folder: Folder) -> None:
    folder.write("migrations/0001_notes.sql", FIRST)
    before = catalogue(folder.uri)
    with pytest.raises(SessionbaseError, match="no schema app"):
        baseline(folder.uri, folder.path, reason="try")
    assert catalogue(folder.uri) == before


def test_baseline_refuses_the_schema_of_another_application(folder: Folder) -> None:
    """Also if that application has a table of the same name."""
    folder.write("migrations/0001_notes.sql", FIRST)
    with psycopg.connect(folder.uri) as conn:
        conn.execute("create schema app")
        conn.execute("create table app.notes (id int primary key)")
    before = catalogue(folder.uri)
    with pytest.raises(SessionbaseError, match="belong to another application"):
        baseline(folder.uri, folder.path, reason="try")
    with psycopg.connect(folder.uri) as conn:
        conn.execute("alter schema app owner to sessionbase_owner")
    owned = catalogue(folder.uri)
    assert owned != before
    with pytest.raises(SessionbaseError, match=r"not owned by sessionbase_owner: .*app\.notes"):
        baseline(folder.uri, folder.path, reason="try")
    assert catalogue(folder.uri) == owned


# repair


def repair_now(folder: Folder, *versions: int, **options: Any) -> list[str]:
    """Repair, and return the actions."""
    planned = plan_repair(folder.uri, folder.path, versions=set(versions), **options)
    done = repair(
        folder.uri, folder.path, planned=planned, reason="try", versions=set(versions), **options
    )
    return [change.action for change in done.changes]


def test_repair_shows_the_diff_asks_and_accepts_the_edited_text(notes: Folder) -> None:
    edit(notes)
    before = ledger(notes.uri)
    done = run(notes, "repair", "--reason", "a comment", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "+-- edited\n" in done.stdout
    assert "row 0003: sha256 " in done.stdout
    refused = run(notes, "repair", "--reason", "a comment")
    assert refused.returncode == 2
    assert "--yes" in refused.stderr
    assert ledger(notes.uri) == before
    done = run(notes, "repair", "2", "--reason", "a comment", "--yes", "--json")
    assert done.returncode == 0, done.stderr
    assert [change["action"] for change in json.loads(done.stdout)["changes"]] == ["accept"]
    assert run(notes, "status").returncode == 0
    text = "-- edited\n" + SECOND
    assert notes.fetch("select content, sha256 from ops.migrations where version = 2") == [
        (text, hashlib.sha256(text.encode()).hexdigest())
    ]
    ((action, old, new),) = notes.fetch("select action, before, after from ops.ledger_changes")
    assert action == "repair"
    assert [row["version"] for row in old] == [row["version"] for row in new] == [2, 3]
    assert (old[0]["content"], new[0]["content"]) == (SECOND, text)
    add_a_migration(notes)
    assert [m.version for m in notes.migrate().migrations] == [4]
    assert run(notes, "repair", "--reason", "again", "--yes").stdout == "nothing to repair\n"


def test_repair_asks_on_a_terminal_and_no_changes_nothing(notes: Folder) -> None:
    edit(notes)
    before = ledger(notes.uri)
    program = [sys.executable, "-m", "sessionbase", "migrate", "repair", "--reason", "a comment"]
    program += ["--db-uri", notes.uri, "--sql-dir", str(notes.path)]
    for answer, code in (("n", 1), ("y", 0)):
        ours, theirs = pty.openpty()
        os.write(ours, f"{answer}\n".encode())
        done = subprocess.run(
            program, stdin=theirs, capture_output=True, text=True, check=False, timeout=60
        )
        os.close(theirs)
        os.close(ours)
        assert done.returncode == code, done.stderr
        assert "+-- edited\n" in done.stderr
        assert (ledger(notes.uri) == before) == (answer == "n")


def test_repair_accepts_a_renamed_file(notes: Folder) -> None:
    rename(notes)
    assert repair_now(notes) == ["rename"]
    assert notes.migrate().nothing_to_do
    assert notes.fetch("select name from ops.migrations where version = 2") == [("other",)]


def test_repair_accepts_only_the_named_versions(notes: Folder) -> None:
    edit(notes)
    notes.write("migrations/0003_index.sql", THIRD + "-- edited\n")
    assert repair_now(notes, 3) == ["accept"]
    assert json.loads(run(notes, "status", "--json").stdout)["changed"] == ["0002_text.sql"]
    with pytest.raises(SessionbaseError, match="nothing to repair for 0001, 0009"):
        plan_repair(notes.uri, notes.path, versions={1, 9})


def test_repair_removes_only_the_newest_rows_and_only_if_they_are_named(notes: Folder) -> None:
    delete(notes)
    with pytest.raises(SessionbaseError, match=r"0003_index\.sql was applied after it"):
        plan_repair(notes.uri, notes.path, versions={2})
    delete_newest(notes)
    assert plan_repair(notes.uri, notes.path).changes == []
    assert repair_now(notes, 2, 3) == ["remove", "remove"]
    assert notes.migrate().migrations == []
    assert notes.fetch("select version from ops.migrations") == [(1,)]


def test_repair_clears_an_unfinished_migration_only_if_it_is_named(notes: Folder) -> None:
    begin_without_transaction(notes)
    assert plan_repair(notes.uri, notes.path).changes == []
    assert repair_now(notes, 4) == ["clear"]
    assert notes.fetch("select before -> 0 ->> 'version' from ops.ledger_changes") == [("4",)]
    assert run(notes, "status").returncode == 1


def test_repair_of_an_edited_ledger_needs_its_own_option(notes: Folder) -> None:
    edit_the_ledger(notes)
    with pytest.raises(SessionbaseError, match="the chain of row 2") as refusal:
        repair_now(notes)
    assert "--recompute-chain" in str(refusal.value.hint)
    assert repair_now(notes, recompute_chain=True) == ["recompute"]
    assert notes.migrate().nothing_to_do


def test_repair_can_not_replace_a_row_that_was_deleted_by_hand(notes: Folder) -> None:
    notes.execute("delete from ops.migrations where version = 2")
    with pytest.raises(SessionbaseError, match="the row of migration 0002 was removed"):
        repair_now(notes, recompute_chain=True)


def test_repair_writes_nothing_if_the_file_changed_after_it_was_shown(notes: Folder) -> None:
    edit(notes)
    planned = plan_repair(notes.uri, notes.path)
    notes.write("migrations/0002_text.sql", SECOND + "-- edited again\n")
    before = ledger(notes.uri)
    with pytest.raises(SessionbaseError, match="changed after the changes were shown"):
        repair(notes.uri, notes.path, planned=planned, reason="try")
    assert ledger(notes.uri) == before


# new


def test_new_creates_the_next_file_which_has_only_comments(notes: Folder) -> None:
    done = run_main("migrate", "new", "due_at", "--sql-dir", notes.path)
    path = notes.path / "migrations/0004_due_at.sql"
    assert (done.returncode, done.stdout) == (0, f"{path}\n")
    assert all(line.startswith("--") for line in path.read_text().split("\n") if line)
    with pytest.raises(SessionbaseError, match=r"0004_due_at\.sql has no statement"):
        notes.migrate()
    path.write_text(path.read_text() + "alter table app.notes add column due_at timestamptz;\n")
    assert [m.name for m in notes.migrate().migrations] == ["due_at"]


def test_new_writes_the_directive_into_the_first_line(notes: Folder) -> None:
    options = ("--no-transaction", "--json", "--sql-dir", notes.path)
    done = run_main("migrate", "new", "by_id", *options)
    path = notes.path / "migrations/0004_by_id.sql"
    assert json.loads(done.stdout) == {"path": str(path)}
    assert path.read_text().startswith("-- sessionbase: no-transaction\n")


@pytest.mark.parametrize("name", ["", "Due", "due-at", "../due", "1st", "due at", "x" * 101])
def test_new_refuses_a_name_that_no_migration_can_have(notes: Folder, name: str) -> None:
    with pytest.raises(UsageError, match="is not the name of a migration"):
        new_migration(name, notes.path)


def test_new_starts_with_1_and_never_replaces_a_file(tmp_path: Path) -> None:
    (tmp_path / "migrations").mkdir()
    assert new_migration("first", tmp_path).name == "0001_first.sql"
    (tmp_path / "migrations/0002_second.sql").symlink_to(tmp_path / "nowhere")
    with pytest.raises((SessionbaseError, OSError)):
        new_migration("second", tmp_path)
    assert not (tmp_path / "nowhere").exists()


# --repair-api


def test_repair_api_restores_what_was_edited_by_hand(notes: Folder) -> None:
    read = (
        "select 'app.one()'::regprocedure::oid::int, app.one(), obj_description('api.notes'"
        "::regclass), has_table_privilege('authenticated', 'api.notes', 'select'),"
        " has_function_privilege('authenticated', 'app.one()', 'execute'),"
        " (select prosecdef from pg_proc where oid = 'app.one()'::regprocedure),"
        " (select string_agg(attname, ',') from pg_attribute"
        " where attrelid = 'api.notes'::regclass)"
    )
    before = notes.fetch(read)
    notes.execute(
        "create or replace function app.one() returns integer language sql as 'select 2'",
        "alter function app.one() security definer",
        "revoke execute on function app.one() from authenticated",
        "create or replace view api.notes as select id, text, 1 as more from app.notes",
        "revoke select on api.notes from authenticated",
        "comment on view api.notes is 'By hand.'",
        "create view api.mine as select 1 as id",
        "revoke usage on schema api from authenticated",
    )
    assert notes.migrate().nothing_to_do
    done = run(notes, "--repair-api", "--dry-run")
    assert "to apply: api/10_notes.sql" in done.stdout
    done = run(notes, "--repair-api")
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if line.startswith("changed: ")] == [
        "changed: api.mine: dropped",
        "changed: api.notes: comment, definition, grants",
        "changed: app.one(): definition, grants",
        "changed: schema api: grants",
    ]
    assert notes.fetch(read) == before
    done = run(notes, "--repair-api", "--json")
    assert json.loads(done.stdout)["restored"] == []
    assert "no function, view, grant or comment differed" in run(notes, "--repair-api").stdout


def test_repair_api_names_an_object_of_another_owner_before_it_changes_anything(
    notes: Folder,
) -> None:
    with psycopg.connect(notes.uri) as conn:
        conn.execute("create view api.theirs as select 1 as id")
    before = catalogue(notes.uri)
    with pytest.raises(SessionbaseError, match=r"view api\.theirs \(owner postgres\)"):
        notes.migrate(repair_api=True)
    assert notes.migrate().nothing_to_do  # without work nothing of theirs is in the way
    assert catalogue(notes.uri) == before


# Databases that are not ours


def refuse_and_compare(uri: str, folder: Path, match: str) -> None:
    """Check that each command refuses the database, and that the cluster is as before."""
    before = catalogue(uri)
    for dry_run in (True, False):
        with pytest.raises(SessionbaseError, match=match):
            migrate(uri, folder, dry_run=dry_run)
    for arguments in (["status"], ["baseline", "--reason", "try"]):
        done = run_main("migrate", *arguments, "--db-uri", uri, "--sql-dir", folder)
        assert done.returncode == (3 if arguments == ["status"] else 1), done.stdout
    assert catalogue(uri) == before


@pytest.mark.parametrize("schema", ["app", "api", "ops"])
def test_a_foreign_schema_is_found_before_the_first_migration(folder: Folder, schema: str) -> None:
    with psycopg.connect(folder.uri) as conn:
        conn.execute(f"create schema {schema}")
    refuse_and_compare(folder.uri, resource_path("sql"), f"has a schema {schema}")


def test_a_foreign_api_is_found_after_a_crash_directly_after_the_ledger(folder: Folder) -> None:
    folder.migrate()  # a folder without migrations: only the ledger is created
    with psycopg.connect(folder.uri) as conn:
        conn.execute("drop schema if exists api")
        conn.execute("create schema api")
    refuse_and_compare(folder.uri, resource_path("sql"), "the schema api belongs to postgres")


def test_an_empty_ledger_without_other_schemas_is_completed(folder: Folder) -> None:
    folder.migrate()
    folder.write("migrations/0001_notes.sql", FIRST)
    assert [m.version for m in folder.migrate().migrations] == [1]


def test_an_api_that_another_application_made_again_is_refused(notes: Folder) -> None:
    notes.execute("drop schema api cascade")
    with psycopg.connect(notes.uri) as conn:
        conn.execute("create schema api")
        conn.execute("create table api.theirs (id int)")
    refuse_and_compare(notes.uri, notes.path, "the schema api belongs to postgres")


def test_an_incomplete_ledger_is_refused(notes: Folder) -> None:
    notes.execute("drop table ops.repeatable_files")
    refuse_and_compare(notes.uri, notes.path, "not the complete ledger")


@pytest.fixture(scope="module")
def scratch() -> Iterator[str]:
    """Yield the URI of a cluster without our roles."""
    with scratch_cluster() as uri:
        yield uri


def new_in(cluster: str, name: str, options: str = "") -> str:
    with psycopg.connect(cluster, autocommit=True) as conn:
        statement = sql.SQL("create database {} template template0 " + options)
        conn.execute(statement.format(sql.Identifier(name)))
    return make_conninfo(cluster, dbname=name)


def test_no_role_is_created_in_a_cluster_whose_database_is_refused(scratch: str) -> None:
    uri = new_in(scratch, "theirs")
    with psycopg.connect(uri) as conn:
        conn.execute("create schema api")
    with psycopg.connect(uri) as conn:
        assert conn.execute("select from pg_roles where rolname = 'anon'").fetchall() == []
    refuse_and_compare(uri, resource_path("sql"), "belong to another application")


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_database_with_another_encoding_is_refused_with_the_reason(
    scratch: str, encoding: str
) -> None:
    uri = new_in(scratch, f"enc_{encoding.lower()}", f"encoding '{encoding}' locale 'C'")
    refuse_and_compare(uri, resource_path("sql"), f"is {encoding}, and sessionbase needs UTF8")
    for arguments in ([], ["--dry-run"], ["repair", "--reason", "try"]):
        done = run_main("migrate", *arguments, "--db-uri", uri)
        assert done.returncode == 1
        assert "encoding 'UTF8'" in done.stderr


@pytest.mark.parametrize(
    ("role", "attributes"),
    [
        ("auditor", "login superuser"),
        ("auditor", "login"),
        ("authenticated", "bypassrls"),
        ("authenticator", "login createrole"),
    ],
)
def test_a_role_of_another_application_that_could_read_every_row_is_refused(
    scratch: str, role: str, attributes: str
) -> None:
    uri = make_conninfo(scratch, dbname=conninfo_to_dict(scratch)["dbname"])
    with psycopg.connect(uri) as conn:
        conn.execute(f"create role {role} {attributes}".encode())
    try:
        before = catalogue(uri)
        with pytest.raises(SessionbaseError, match=f"{role} has ") as refusal:
            migrate(uri)
        assert f"alter role {role} no" in str(refusal.value.hint)
        assert catalogue(uri) == before
    finally:
        with psycopg.connect(uri) as conn:
            conn.execute(f"drop role {role}".encode())


def test_the_roles_of_supabase_are_accepted(scratch: str) -> None:
    uri = new_in(scratch, "supabase")
    with psycopg.connect(uri) as conn:
        conn.execute("create role anon nologin noinherit")
        conn.execute("create role authenticated nologin noinherit")
        conn.execute("create role authenticator login noinherit")
        conn.execute("grant anon, authenticated to authenticator")
    assert len(migrate(uri).migrations) == 9


# docs/migration-ledger.md


def test_the_commands_of_the_page_work(
    stack: Stack, migrated_database: str, empty_database: str, tmp_path: Path
) -> None:
    folder = tmp_path / "sql"
    shutil.copytree(resource_path("sql"), folder)
    environment = {
        "PATH": f"{postgres_bin(service_account())}:/usr/bin:/bin",
        "LC_ALL": "C.UTF-8",
        "SESSIONBASE_DB_URI": migrated_database,
        "DB": migrated_database,
        "NEW": empty_database,
        "SQL": str(folder),
        "DUMP": str(tmp_path / "dump"),
    }

    def run_section(heading: str) -> str:
        (script,) = commands(PAGE, heading)
        return run_script(PAGE, script, PROJECT_DIR, environment, None)

    assert run_section("Status in CI").endswith("up to date\n")
    with psycopg.connect(migrated_database) as conn:
        conn.execute("set role sessionbase_owner")
        conn.execute("delete from ops.repeatable_files where file = 'api/40_todos.sql'")
        conn.execute("comment on view api.todos is 'By hand.'")
    assert "done: 0 migrations" in run_section("Status in CI")
    with psycopg.connect(migrated_database) as conn:
        conn.execute("comment on view api.todos is 'By hand.'")
    repaired = run_section("Functions and views edited by hand")
    assert "changed: api.todos: comment\n" in repaired
    file = folder / "migrations/0009_profiles.sql"
    file.write_text(file.read_text() + "-- One more line.\n")
    (script,) = commands(PAGE, "An edited file")
    shown = run_script(PAGE, f"{script.strip()} || test $? = 2", PROJECT_DIR, environment, None)
    assert "+-- One more line.\n" in shown
    assert "recorded in ops.ledger_changes" in run_section("Repair")
    assert "+-- One more line.\n" not in run_section("An edited file")
    assert run_section("Baseline").count("0009_profiles.sql") == 2
    status = run_main("migrate", "status", "--db-uri", empty_database, "--json")
    assert json.loads(status.stdout)["state"] == "up to date"
    run_section("A new migration")
    names = sorted(path.name for path in (folder / "migrations").glob("001*"))
    assert names == ["0010_todos_due_at.sql", "0011_todos_by_due_at.sql"]
