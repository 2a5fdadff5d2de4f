"""Migrations with `-- sessionbase: no-transaction`, and how they continue after a crash."""

from __future__ import annotations

import json
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from sessionbase.errors import SessionbaseError
from sessionbase.migrate import no_transaction
from sessionbase.migrate.checks import check_migration
from sessionbase.migrate.files import read_folder
from sessionbase.migrate.no_transaction import run_without_transaction, unfinished
from support.command import run_main
from support.pages import code_block
from support.runner import FIRST, backends, start_migrate, wait_for_query
from support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.sql_folder import Folder

pytest_plugins = ["support.sql_folder"]

DIRECTIVE = "-- sessionbase: no-transaction\n"
INDEX = DIRECTIVE + "create index concurrently notes_by_body on app.notes (body);\n"
UNIQUE = DIRECTIVE + "create unique index concurrently notes_by_id on app.notes (id);\n"
PAGE = "migrations-without-transaction.md"


def index_state(folder: Folder, name: str = "notes_by_body") -> list[tuple[Any, ...]]:
    """Return whether the index is valid; an empty list if there is none."""
    return folder.fetch(
        f"select indisvalid from pg_index where indexrelid = to_regclass('app.{name}')"
    )


def unfinished_versions(folder: Folder) -> list[int]:
    with psycopg.connect(folder.uri) as conn:
        return [row.version for row in unfinished(conn)]


@pytest.fixture
def notes(folder: Folder) -> Folder:
    """Return a folder whose first migration, which is applied, has a table of 1000 rows."""
    folder.write("migrations/0001_notes.sql", FIRST)
    folder.migrate()
    return folder


@contextmanager
def old_transaction(folder: Folder) -> Iterator[psycopg.Connection[Any]]:
    """Hold a transaction that has written to the table: CREATE INDEX CONCURRENTLY waits for it."""
    with psycopg.connect(folder.uri, application_name="writer") as conn:
        conn.execute("insert into app.notes values (0, 'open')")
        yield conn


@contextmanager
def interrupted(folder: Folder, migration: str = INDEX) -> Iterator[None]:
    """Apply a migration 0002, and kill the runner while its statement waits; yield afterwards."""
    folder.write("migrations/0002_index.sql", migration)
    with old_transaction(folder), start_migrate(folder) as process:
        wait_for_query(folder, process, "concurrently")
        process.kill()
        process.wait()
        wait_for(lambda: not backends(folder, process.pid), "the backend stays", 2)
        yield


def test_an_index_is_built_concurrently_between_two_other_migrations(folder: Folder) -> None:
    folder.write("migrations/0001_notes.sql", FIRST)
    folder.write("migrations/0002_index.sql", INDEX)
    folder.write("migrations/0003_more.sql", "create table app.more (id int);\n")
    lines: list[str] = []
    report = folder.migrate(log=lines.append)
    assert [(m.version, m.no_transaction) for m in report.migrations] == [
        (1, False),
        (2, True),
        (3, False),
    ]
    assert index_state(folder) == [(True,)]
    assert folder.fetch("select to_regclass('app.more') is not null") == [(True,)]
    assert (folder.versions(), unfinished_versions(folder)) == ([1, 2, 3], [])
    assert any("applied migrations/0002_index.sql" in line for line in lines)
    assert folder.migrate().nothing_to_do


def test_a_dry_run_marks_the_migration(notes: Folder) -> None:
    notes.write("migrations/0002_index.sql", INDEX)
    options = ["migrate", "--dry-run", "--db-uri", notes.uri, "--sql-dir", notes.path]
    done = run_main(*options)
    assert "to apply: migrations/0002_index.sql (without a transaction)" in done.stdout
    (migration,) = json.loads(run_main(*options, "--json").stdout)["migrations"]
    assert migration["no_transaction"] is True
    assert index_state(notes) == []


def test_the_index_can_use_a_function_of_app_that_the_same_run_creates(notes: Folder) -> None:
    notes.write(
        "app/10_key.sql",
        "create or replace function app.key(body text) returns text language sql immutable\n"
        "set search_path = '' return pg_catalog.lower(body);\n",
    )
    notes.write(
        "migrations/0002_index.sql",
        DIRECTIVE + "create index concurrently notes_by_body on app.notes (app.key(body));\n",
    )
    notes.migrate()
    assert index_state(notes) == [(True,)]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("-- sessionbase: no-transactions\nvacuum app.notes;\n", "line 1: unknown directive"),
        ("--sessionbase: no-transaction\nvacuum app.notes;\n", "line 1: unknown directive"),
        ("/* sessionbase: no-transaction */\nvacuum app.notes;\n", "line 1: unknown directive"),
        ("-- é\n\n-- sessionbase: other\nselect 1;\n", "line 3: unknown directive"),
        ("select 1;\n" + DIRECTIVE, "line 2: this directive must be a line above the first"),
        (DIRECTIVE + DIRECTIVE + "vacuum app.notes;\n", "line 2: this directive must be a line"),
        (INDEX + "select 1;\n", "has one statement, and this one has 2"),
        (DIRECTIVE, "has one statement, and this one has 0"),
        (DIRECTIVE + "create index i on app.notes (id);\n", "not one that runs without a transac"),
        (
            DIRECTIVE + "alter type app.t add value 'x';\n",
            "not one that runs without a transaction",
        ),
        (DIRECTIVE + "create index concurrently on app.notes (id);\n", "the index has no name"),
        (DIRECTIVE + "create index concurrently i on notes (id);\n", "a name without its schema"),
        (DIRECTIVE + "drop index concurrently i;\n", "a name without its schema"),
        (
            DIRECTIVE + "create index concurrently if not exists i on app.notes (id);\n",
            "if not exists is not allowed here",
        ),
        (DIRECTIVE + "vacuum;\n", "name a table"),
        (DIRECTIVE + "vacuum (full) app.notes;\n", "locks the table against reads"),
        ("vacuum full app.notes;\n", "locks the table against reads"),
        ("reindex schema app;\n", "name an index or a table"),
        ("reindex table concurrently app.notes;\n", "the index of its TOAST table"),
        ("create database other;\n", "changes the whole cluster"),
        ("alter system set work_mem = '1GB';\n", "changes the whole cluster"),
    ],
)
def test_a_file_that_could_not_be_continued_is_refused_before_anything_runs(
    folder: Folder, text: str, why: str
) -> None:
    folder.write("migrations/0001_notes.sql", FIRST)
    folder.write("migrations/0002_bad.sql", text)
    with pytest.raises(SessionbaseError) as refusal:
        folder.migrate()
    assert refusal.value.message.startswith("migrations/0002_bad.sql")
    assert why in str(refusal.value)
    assert folder.fetch("select to_regnamespace('app'), to_regnamespace('ops')") == [(None, None)]


@pytest.mark.parametrize(
    "statement",
    [
        "create index concurrently i on app.notes (id)",
        "drop index concurrently app.i",
        "reindex index concurrently app.i",
        "alter table app.notes detach partition app.part concurrently",
        "vacuum (analyze) app.notes",
    ],
)
def test_without_the_directive_the_hint_is_the_line_to_add(folder: Folder, statement: str) -> None:
    folder.write("migrations/0001_notes.sql", FIRST + f"{statement};\n")
    with pytest.raises(SessionbaseError, match="line 4: PostgreSQL does not run this") as refusal:
        folder.migrate(dry_run=True)
    assert DIRECTIVE.strip() in str(refusal.value.hint)


def test_a_comment_about_sessionbase_in_a_string_or_a_sentence_is_no_directive(
    folder: Folder,
) -> None:
    folder.write(
        "migrations/0001_notes.sql",
        "-- The schema of sessionbase: notes.\n"
        + FIRST
        + "comment on table app.notes is '-- sessionbase: x';\n",
    )
    assert [m.no_transaction for m in folder.migrate().migrations] == [False]


def test_after_a_kill_in_the_middle_the_next_run_drops_the_invalid_index_and_completes(
    notes: Folder,
) -> None:
    with interrupted(notes):
        assert index_state(notes) == [(False,)]
        assert (notes.versions(), unfinished_versions(notes)) == ([1], [2])
    (before,) = notes.fetch("select 'app.notes_by_body'::regclass::oid")
    lines: list[str] = []
    notes.migrate(log=lines.append)
    assert index_state(notes) == [(True,)]
    assert notes.fetch("select 'app.notes_by_body'::regclass::oid") != [before]
    assert (notes.versions(), unfinished_versions(notes)) == ([1, 2], [])
    assert any("dropping the INVALID index" in line for line in lines)
    assert notes.migrate().nothing_to_do


def test_a_run_that_ended_after_the_statement_is_recorded_without_running_it_again(
    notes: Folder,
) -> None:
    with interrupted(notes):
        pass
    notes.execute("drop index app.notes_by_body", "create index notes_by_body on app.notes (body)")
    (before,) = notes.fetch("select 'app.notes_by_body'::regclass::oid")
    notes.migrate()
    assert notes.fetch("select 'app.notes_by_body'::regclass::oid") == [before]
    assert (notes.versions(), unfinished_versions(notes)) == ([1, 2], [])


@pytest.mark.parametrize(
    ("wanted", "same"),
    [
        (
            "index {} on app.notes (body, id desc)",
            "index {} on app.notes using btree (body, id desc)",
        ),
        ("index {} on app.notes ((lower(body))) where id > 5", None),
        ("unique index {} on only app.notes (id) include (body)", None),
        ("unique index {} on app.notes (id) nulls not distinct with (fillfactor = 70)", None),
        ('index {} on app."notes" using hash (body)', "index {} on app.notes using hash (body)"),
    ],
)
def test_an_index_with_the_same_definition_is_recognized(
    notes: Folder, wanted: str, same: str | None
) -> None:
    notes.execute(f"create {(same or wanted).format('notes_by_body')}")
    text = wanted.format("notes_by_body").replace("index ", "index /* on */ concurrently ", 1)
    notes.write("migrations/0002_index.sql", f"{DIRECTIVE}create {text};\n")
    notes.migrate()
    assert notes.versions() == [1, 2]
    assert notes.fetch("select count(*) from pg_class where relname like 'sessionbase copy%'") == [
        (0,)
    ]


@pytest.mark.parametrize(
    "other",
    [
        "create index notes_by_body on app.notes (id)",
        "create unique index notes_by_body on app.notes (body)",
        "create index notes_by_body on app.notes (body) where id > 5",
        "create index notes_by_body on app.notes (body desc)",
        "create index notes_by_body on app.notes (body) with (fillfactor = 70)",
        "create table app.notes_by_body (id int)",
        "create table app.other (body text); create index notes_by_body on app.other (body)",
    ],
)
def test_another_object_with_the_name_of_the_index_is_refused_and_stays(
    notes: Folder, other: str
) -> None:
    notes.execute(*other.split("; "))
    notes.write("migrations/0002_index.sql", INDEX)
    (before,) = notes.fetch("select 'app.notes_by_body'::regclass::oid")
    with pytest.raises(SessionbaseError, match="exists already"):
        notes.migrate()
    assert notes.fetch("select 'app.notes_by_body'::regclass::oid") == [before]
    assert (notes.versions(), unfinished_versions(notes)) == ([1], [])


def test_an_invalid_index_that_no_run_left_is_refused_and_stays(notes: Folder) -> None:
    notes.execute("insert into app.notes values (1, 'note 1')")
    with psycopg.connect(notes.uri, autocommit=True) as conn:
        conn.execute("set role sessionbase_owner")
        with pytest.raises(psycopg.errors.UniqueViolation):
            conn.execute("create unique index concurrently notes_by_body on app.notes (body)")
    notes.write("migrations/0002_index.sql", INDEX)
    with pytest.raises(SessionbaseError, match="no run of this file made it"):
        notes.migrate()
    assert index_state(notes) == [(False,)]


def test_a_file_that_was_edited_after_the_crash_is_refused_until_the_state_is_cleared(
    notes: Folder,
) -> None:
    with interrupted(notes):
        pass
    notes.write("migrations/0002_index.sql", INDEX + "-- edited\n")
    for dry_run in (True, False):
        with pytest.raises(SessionbaseError, match="was edited after a run") as refusal:
            notes.migrate(dry_run=dry_run)
    assert index_state(notes) == [(False,)]
    hint = str(refusal.value.hint)
    notes.execute("drop index app.notes_by_body", hint[hint.index("delete from") :])
    notes.migrate()
    assert index_state(notes) == [(True,)]


def test_duplicates_in_a_unique_index_are_named_and_nothing_is_left(notes: Folder) -> None:
    notes.execute("insert into app.notes values (7, 'twice')")
    notes.write("migrations/0002_index.sql", UNIQUE)
    with pytest.raises(SessionbaseError, match=r"Key \(id\)=\(7\) is duplicated"):
        notes.migrate()
    assert index_state(notes, "notes_by_id") == []
    assert (notes.versions(), unfinished_versions(notes)) == ([1], [])
    notes.execute("delete from app.notes where body = 'twice'")
    notes.migrate()
    assert index_state(notes, "notes_by_id") == [(True,)]


def test_a_wait_for_an_old_transaction_has_no_limit_and_names_that_session(
    notes: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(no_transaction, "PROGRESS_S", 0.3)
    notes.write("migrations/0002_index.sql", INDEX)
    lines: list[str] = []
    run = threading.Thread(
        target=lambda: notes.migrate(lock_timeout_ms=50, log=lines.append), daemon=True
    )
    with old_transaction(notes) as writer:
        run.start()
        wanted = f"waits for pid {writer.info.backend_pid}: login "
        wait_for(lambda: any(wanted in line for line in lines), f"no line has {wanted!r}")
        writer.commit()
    run.join(60)
    assert index_state(notes) == [(True,)]
    line = next(line for line in lines if wanted in line)
    assert line.startswith("migrations/0002_index.sql: ")
    assert "waiting for writers before build" in line
    assert "application writer, " in line
    assert "its transaction is open for" in line


def test_clients_read_and_write_the_table_while_the_index_is_built(notes: Folder) -> None:
    notes.write("migrations/0002_index.sql", INDEX)
    with old_transaction(notes), start_migrate(notes) as process:
        wait_for_query(notes, process, "concurrently")
        with psycopg.connect(notes.uri, options="-c lock_timeout=100") as client:
            client.execute("insert into app.notes values (2000, 'new')")
            client.execute("select from app.notes where id = 1 for update")
        assert (process.poll(), index_state(notes)) == (None, [(False,)]), "the build has ended"


def test_the_session_holds_no_transaction_before_the_statement(notes: Folder) -> None:
    """An open transaction of the runner itself would make its own statement wait without end."""
    notes.write("migrations/0002_index.sql", INDEX)
    notes.write("migrations/0003_vacuum.sql", DIRECTIVE + "vacuum (analyze) app.notes;\n")
    start = time.monotonic()
    notes.migrate()
    assert time.monotonic() - start < 10
    assert notes.fetch(
        "select last_vacuum is not null from pg_stat_user_tables where relname = 'notes'"
    ) == [(True,)]


def test_the_settings_of_the_login_do_not_apply_to_the_statement(notes: Folder) -> None:
    notes.write("migrations/0002_index.sql", INDEX)
    with psycopg.connect(notes.uri, autocommit=True) as conn:
        row = conn.execute("select current_database()").fetchone()
        assert row
        conn.execute(f'alter database "{row[0]}" set lock_timeout = 100'.encode())
        conn.execute(f'alter database "{row[0]}" set statement_timeout = 1000'.encode())
    with old_transaction(notes) as writer, start_migrate(notes) as process:
        wait_for_query(notes, process, "concurrently")
        time.sleep(1.2)
        writer.commit()
        output = process.communicate(timeout=60)
        assert process.returncode == 0, output
    assert index_state(notes) == [(True,)]


def test_an_index_is_dropped_concurrently_also_after_a_kill(notes: Folder) -> None:
    notes.execute("create index notes_by_body on app.notes (body)")
    with interrupted(notes, DIRECTIVE + "drop index concurrently app.notes_by_body;\n"):
        assert index_state(notes) == [(False,)]
    notes.migrate()
    assert index_state(notes) == []
    assert (notes.versions(), unfinished_versions(notes)) == ([1, 2], [])


def test_an_index_that_a_killed_run_has_dropped_is_recorded(notes: Folder) -> None:
    notes.execute("create index notes_by_body on app.notes (body)")
    with interrupted(notes, DIRECTIVE + "drop index concurrently app.notes_by_body;\n"):
        pass
    notes.execute("drop index app.notes_by_body")
    notes.migrate()
    assert (notes.versions(), unfinished_versions(notes)) == ([1, 2], [])


def test_an_index_to_drop_that_does_not_exist_is_refused(notes: Folder) -> None:
    notes.write("migrations/0002_index.sql", DIRECTIVE + "drop index concurrently app.other;\n")
    with pytest.raises(SessionbaseError, match='index "other" does not exist'):
        notes.migrate()
    assert (notes.versions(), unfinished_versions(notes)) == ([1], [])


def test_an_interrupted_reindex_leaves_no_second_index(notes: Folder) -> None:
    name = "notes_by_body_" + "x" * 49  # 63 bytes: REINDEX shortens it before it adds its suffix
    notes.execute(f"create index {name} on app.notes (body)")
    with interrupted(notes, f"{DIRECTIVE}reindex index concurrently app.{name};\n"):
        left = notes.fetch("select count(*) from pg_index where not indisvalid")
        assert left == [(1,)]
    notes.migrate()
    assert notes.fetch(
        "select relname::text, indisvalid from pg_index join pg_class on oid = indexrelid"
        " where indrelid = 'app.notes'::regclass"
    ) == [(name, True)]


def test_a_partition_is_detached_also_after_a_kill(folder: Folder) -> None:
    folder.write(
        "migrations/0001_notes.sql",
        "create schema app;\ncreate table app.notes (id int, body text) partition by range (id);\n"
        "create table app.low partition of app.notes for values from (0) to (100);\n",
    )
    folder.migrate()
    text = "alter table app.notes detach partition app.low concurrently;\n"
    with interrupted(folder, DIRECTIVE + text):
        assert folder.fetch("select inhdetachpending from pg_inherits") == [(True,)]
    folder.migrate()
    assert folder.fetch("select count(*) from pg_inherits") == [(0,)]
    assert (folder.versions(), unfinished_versions(folder)) == ([1, 2], [])


def test_a_deadlock_with_another_session_is_tried_again(notes: Folder) -> None:
    """A writer that needs the lock of the statement while the statement waits for the writer."""
    notes.write("migrations/0002_index.sql", INDEX)
    migration = read_folder(notes.path).migrations[1]
    (statement,) = check_migration(migration.file)
    lines: list[str] = []

    def build() -> None:
        with psycopg.connect(notes.uri, autocommit=True) as conn:
            # The runner looks for deadlocks first, so that it is the one that PostgreSQL ends.
            conn.execute("set deadlock_timeout = '2s'")
            conn.execute("set role sessionbase_owner")
            run_without_transaction(conn, migration, statement, lines.append)

    with psycopg.connect(notes.uri) as writer:
        writer.execute("set deadlock_timeout = '1min'")
        writer.execute("insert into app.notes values (0, 'open')")
        run = threading.Thread(target=build, daemon=True)
        run.start()
        wait_for(lambda: index_state(notes) == [(False,)], "the index is not there")
        writer.execute("lock table app.notes in share update exclusive mode")
        wait_for(lambda: any("trying again" in line for line in lines), "there is no second try")
        writer.commit()
        run.join(60)
    assert index_state(notes) == [(True,)]
    assert (notes.versions(), unfinished_versions(notes)) == ([1, 2], [])


def test_two_runners_do_not_wait_for_each_other_while_one_builds_an_index(notes: Folder) -> None:
    """A session that waits for the lock of the runner must hold no snapshot meanwhile."""
    notes.migrate()
    notes.write("migrations/0002_index.sql", INDEX)
    with old_transaction(notes) as writer, start_migrate(notes) as one, start_migrate(notes) as two:
        wait_for(lambda: index_state(notes) == [(False,)], "no runner builds the index")
        wait_for(
            lambda: backends(notes, one.pid) and backends(notes, two.pid), "one has not connected"
        )
        time.sleep(1.5)  # longer than deadlock_timeout
        writer.commit()
        for process in (one, two):
            _, err = process.communicate(timeout=60)
            assert process.returncode == 0, err
            assert "deadlock" not in err
    assert (notes.versions(), index_state(notes)) == ([1, 2], [(True,)])


def test_runners_in_two_databases_build_indexes_at_the_same_time(
    notes: Folder, tmp_path_factory: pytest.TempPathFactory
) -> None:
    from support.sql_folder import Folder, new_database  # noqa: PLC0415 - pytest loads it first

    with new_database(notes.uri) as uri:
        other = Folder(tmp_path_factory.mktemp("other") / "sql", uri)
        other.write("migrations/0001_notes.sql", FIRST)
        other.write("migrations/0002_index.sql", INDEX)
        notes.write("migrations/0002_index.sql", INDEX)
        with start_migrate(notes) as one, start_migrate(other) as two:
            for process in (one, two):
                output = process.communicate(timeout=60)
                assert process.returncode == 0, output
        assert index_state(notes) == index_state(other) == [(True,)]


def test_the_page_says_how_to_write_one_and_how_to_remove_what_an_edited_file_left(
    notes: Folder,
) -> None:
    text = code_block(PAGE, "Write one", "sql")
    assert text.startswith(DIRECTIVE)
    notes.execute("create table app.todos (profile_id text, text text)")
    notes.write("migrations/0002_index.sql", text)
    with psycopg.connect(notes.uri) as writer, start_migrate(notes) as process:
        writer.execute("insert into app.todos values ('a', 'b')")
        wait_for_query(notes, process, "concurrently")
        process.kill()
        process.wait()
        wait_for(lambda: not backends(notes, process.pid), "the backend stays", 2)
        with psycopg.connect(notes.uri, autocommit=True) as dba:
            for query, row in zip(
                code_block(PAGE, "After a crash", "sql", 0).split(";\n"),
                [2, "app.todos_by_text"],
                strict=False,
            ):
                assert dba.execute(query.encode()).fetchall()[0][0] == row
    notes.write("migrations/0002_index.sql", text + "-- edited\n")
    with pytest.raises(SessionbaseError, match="was edited"):
        notes.migrate()
    cleanup = code_block(PAGE, "After a crash", "sql", 1).replace("= 10", "= 2")
    with psycopg.connect(notes.uri, autocommit=True) as dba:
        for statement in cleanup.strip().split("\n"):
            dba.execute(statement.encode())
    notes.migrate()
    assert index_state(notes, "todos_by_text") == [(True,)]
