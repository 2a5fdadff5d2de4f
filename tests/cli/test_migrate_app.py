"""Functions of schema app: defined in app/, created before the migrations, replaced in place."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import psycopg
import pytest

from sessionbase.errors import SessionbaseError
from sessionbase.migrate.runner import MigrateReport, pending

if TYPE_CHECKING:
    from support.sql_folder import Folder

pytest_plugins = ["support.sql_folder"]

FOUNDATION = """
alter default privileges revoke execute on functions from public;
create schema app;
grant usage on schema app to authenticated;
"""
TABLE = """
create table app.notes (
  id int primary key,
  text text not null default app.who(),
  owner text not null default current_user
);
create trigger guard before insert on app.notes for each row execute function app.guard();
alter table app.notes enable row level security;
create policy select_own on app.notes for select to authenticated using (owner = app.who());
"""
WHO = """
create or replace function app.who() returns text
language sql stable set search_path = '' as 'select current_user::text';
comment on function app.who() is 'The current user.';
grant execute on function app.who() to authenticated;
"""
# Its body uses a table that does not exist when the function is created.
GUARD = """
create or replace function app.guard() returns trigger
language plpgsql set search_path = '' as $$
begin
  new.text := new.text || ' ' || (select count(*) from app.notes);
  return new;
end
$$;
comment on function app.guard() is 'Counts.';
"""
# It can be created only when the table exists: its parameter has the type of a row.
LENGTH = """
create or replace function app.length(note app.notes) returns integer
language sql immutable set search_path = '' as 'select pg_catalog.length(note.text)';
grant execute on function app.length(app.notes), app.who() to authenticated;
"""
VIEW = "create or replace view api.notes as select id, app.length(n) as length from app.notes n;\n"


@pytest.fixture
def notes(folder: Folder) -> Folder:
    """Return an applied folder whose second migration uses functions of app/."""
    folder.write("migrations/0001_foundation.sql", FOUNDATION)
    folder.write("migrations/0002_notes.sql", TABLE)
    folder.write("app/10_guard.sql", GUARD)
    folder.write("app/20_who.sql", WHO)
    folder.write("app/30_length.sql", LENGTH)
    folder.write("api/10_notes.sql", VIEW)
    folder.migrate()
    return folder


def functions(folder: Folder) -> dict[str, int]:
    rows = folder.fetch(
        "select oid::regprocedure::text, oid::int from pg_proc"
        " where pronamespace = 'app'::regnamespace"
    )
    return dict(rows)


def may(folder: Folder, role: str, function: str) -> bool:
    found = folder.fetch(f"select has_function_privilege('{role}', '{function}', 'execute')")
    return bool(found[0][0])


def test_a_migration_can_name_functions_that_only_app_defines(notes: Folder) -> None:
    assert set(functions(notes)) == {"app.guard()", "app.who()", "app.length(app.notes)"}
    notes.execute("insert into app.notes (id) values (1)")
    assert notes.fetch("select text from app.notes") == [("sessionbase_owner 0",)]
    assert may(notes, "authenticated", "app.length(app.notes)")
    assert notes.fetch("select obj_description('app.who()'::regprocedure)") == [
        ("The current user.",)
    ]
    assert notes.migrate().nothing_to_do


def test_the_report_names_the_functions_that_were_created_for_a_migration(folder: Folder) -> None:
    folder.write("migrations/0001_foundation.sql", FOUNDATION)
    folder.write("migrations/0002_notes.sql", TABLE)
    folder.write("app/10_all.sql", GUARD + WHO)
    report = folder.migrate()
    assert report.repeatable_files == ["app/10_all.sql"]
    assert report.repeatable is not None
    assert report.repeatable.created == ["app.guard()", "app.who()"]
    assert report.repeatable.recreated == []


def test_a_function_has_its_grants_and_comment_while_its_migration_runs(folder: Folder) -> None:
    folder.write("migrations/0001_foundation.sql", FOUNDATION)
    folder.write(
        "migrations/0002_check.sql",
        "create table app.seen as select\n"
        "  has_function_privilege('authenticated', 'app.who()', 'execute') as may,\n"
        "  obj_description('app.who()'::regprocedure) as comment;\n",
    )
    folder.write("app/20_who.sql", WHO)
    folder.migrate()
    assert folder.fetch("select * from app.seen") == [(True, "The current user.")]


def test_a_migration_can_name_a_function_whose_body_names_the_table_of_that_migration(
    folder: Folder,
) -> None:
    folder.write("migrations/0001_foundation.sql", FOUNDATION)
    folder.write(
        "migrations/0002_notes.sql",
        "create table app.notes (id int);\n"
        "alter table app.notes alter column id set default app.next_id();\n",
    )
    folder.write(
        "app/10_notes.sql",
        "create or replace function app.next_id() returns int language sql\n"
        "as 'select coalesce(max(id), 0) + 1 from app.notes';\n",
    )
    folder.migrate()
    folder.execute("insert into app.notes default values")
    assert folder.fetch("select id from app.notes") == [(1,)]


def test_a_migration_calls_an_existing_function_as_it_was_before_the_run(notes: Folder) -> None:
    notes.write("app/20_who.sql", WHO.replace("current_user::text", "''new''::text"))
    notes.write("migrations/0003_seen.sql", "create table app.seen as select app.who() as who;\n")
    notes.migrate()
    assert notes.fetch("select who, app.who() from app.seen") == [("sessionbase_owner", "new")]


def test_a_migration_that_names_an_undefined_function_is_refused_with_the_folder(
    folder: Folder,
) -> None:
    folder.write("migrations/0001_foundation.sql", FOUNDATION)
    folder.write("migrations/0002_notes.sql", TABLE)
    folder.write("app/20_who.sql", WHO)
    with pytest.raises(
        SessionbaseError, match=r"function app\.guard\(\) does not exist"
    ) as refusal:
        folder.migrate()
    assert "no file of app/" in str(refusal.value.hint)


def test_a_function_whose_schema_or_type_never_exists_is_refused_with_its_line(
    notes: Folder,
) -> None:
    notes.write("app/30_length.sql", LENGTH.replace("note app.notes", "note app.nots"))
    with pytest.raises(
        SessionbaseError, match=r"app/30_length\.sql, line 2: type app\.nots does not exist"
    ):
        notes.migrate()


def test_functions_that_call_each_other_can_be_in_any_order(folder: Folder) -> None:
    folder.write("migrations/0001_foundation.sql", FOUNDATION)
    folder.write(
        "app/10_first.sql",
        "create or replace function app.first(n int default app.second()) returns int\n"
        "language sql begin atomic; select n + app.second(); end;\n"
        "create or replace function app.third() returns int language sql as 'select app.second()';",
    )
    folder.write(
        "app/20_second.sql",
        "create or replace function app.second() returns int language sql return 1;\n",
    )
    folder.migrate()
    assert folder.fetch("select app.first(), app.third()") == [(2, 1)]


def test_a_function_body_with_an_error_is_refused_and_nothing_is_changed(notes: Folder) -> None:
    before = functions(notes)
    notes.write("app/10_guard.sql", GUARD.replace("Counts", "Changed"))
    notes.write("app/20_who.sql", WHO.replace("current_user::text", "nothing"))
    with pytest.raises(SessionbaseError, match=r'app/20_who\.sql, line 3: column "nothing"'):
        notes.migrate()
    assert functions(notes) == before
    assert notes.fetch("select obj_description('app.guard()'::regprocedure)") == [("Counts.",)]
    assert may(notes, "authenticated", "app.who()")
    assert pending(notes.uri, notes.path)[0] == "app/10_guard.sql"


def test_a_changed_function_is_replaced_in_place(notes: Folder) -> None:
    before = functions(notes)
    notes.write("app/10_guard.sql", GUARD.replace("' '", "'-'"))
    report = notes.migrate().repeatable
    assert report is not None
    assert (report.created, report.recreated, report.dropped) == ([], [], [])
    assert functions(notes) == before
    notes.execute("insert into app.notes (id, text) values (1, 'a')")
    assert notes.fetch("select text from app.notes") == [("a-0",)]


def test_a_change_in_app_also_applies_the_files_of_api(notes: Folder) -> None:
    notes.write("app/10_guard.sql", GUARD + "-- changed\n")
    assert notes.migrate().repeatable_files == [
        "app/10_guard.sql",
        "app/20_who.sql",
        "app/30_length.sql",
        "api/10_notes.sql",
    ]


def test_grants_and_comments_that_were_deleted_from_the_files_are_removed(notes: Folder) -> None:
    notes.execute("grant execute on function app.guard() to public, anon")
    notes.write("app/10_guard.sql", GUARD.split("comment on", maxsplit=1)[0])
    notes.write("app/30_length.sql", LENGTH.split("grant", maxsplit=1)[0])
    notes.migrate()
    assert not may(notes, "anon", "app.guard()")
    assert not may(notes, "authenticated", "app.length(app.notes)")
    assert may(notes, "authenticated", "app.who()")
    assert notes.fetch("select obj_description('app.guard()'::regprocedure)") == [(None,)]


def test_grants_and_comments_of_tables_in_app_are_not_changed(notes: Folder) -> None:
    notes.execute("grant select on app.notes to auditor", "comment on table app.notes is 'Notes.'")
    notes.write("app/10_guard.sql", GUARD + "-- changed\n")
    notes.migrate()
    assert notes.fetch(
        "select has_table_privilege('auditor', 'app.notes', 'select'),"
        " obj_description('app.notes'::regclass)"
    ) == [(True, "Notes.")]


def test_a_function_that_was_deleted_from_the_files_is_dropped(notes: Folder) -> None:
    notes.write(
        "app/40_more.sql", "create or replace function app.f() returns int language sql return 1;\n"
    )
    notes.migrate()
    notes.remove("app/40_more.sql")
    report = notes.migrate()
    assert report.repeatable_files[-1] == "app/40_more.sql"
    assert report.repeatable is not None
    assert report.repeatable.dropped == ["app.f()"]
    assert notes.migrate().nothing_to_do


def test_a_function_used_by_a_trigger_is_never_dropped(notes: Folder) -> None:
    before = functions(notes)
    notes.remove("app/10_guard.sql")
    with pytest.raises(SessionbaseError) as refusal:
        notes.migrate()
    assert refusal.value.message == (
        "no file in app/ defines app.guard(), and trigger guard on table app.notes depends on it"
    )
    assert "in a migration first" in str(refusal.value.hint)
    assert functions(notes) == before
    notes.write("migrations/0003_no_guard.sql", "drop trigger guard on app.notes;\n")
    report = notes.migrate().repeatable
    assert report is not None
    assert report.dropped == ["app.guard()"]


def test_a_function_used_by_a_default_and_a_policy_is_never_dropped(notes: Folder) -> None:
    notes.write("app/20_who.sql", "-- empty\n")
    notes.write("app/30_length.sql", LENGTH.replace(", app.who()", ""))
    with pytest.raises(SessionbaseError) as refusal:
        notes.migrate()
    assert "default value for column text of table app.notes" in refusal.value.message
    assert "policy select_own on table app.notes" in refusal.value.message
    assert may(notes, "authenticated", "app.who()")


def test_a_function_that_the_body_of_another_one_calls_is_never_dropped(notes: Folder) -> None:
    called = "create or replace function app.f() returns int language sql return 1;\n"
    caller = (
        "create or replace function api.g() returns int language plpgsql"
        " as $$ begin return app.f(); end $$;\n"
    )
    notes.write("app/40_more.sql", called)
    notes.write("api/40_more.sql", caller)
    notes.migrate()
    before = functions(notes)
    notes.remove("app/40_more.sql")
    with pytest.raises(SessionbaseError) as refusal:
        notes.migrate()
    assert refusal.value.message == (
        "no file in app/ defines app.f, and the body of api.g() calls it"
    )
    assert functions(notes) == before
    notes.write("api/40_more.sql", caller.replace("app.f()", "1"))
    report = notes.migrate().repeatable
    assert report is not None
    assert report.dropped == ["app.f()"]


def test_a_view_of_api_can_stop_using_a_function_in_the_run_that_drops_it(notes: Folder) -> None:
    notes.remove("app/30_length.sql")
    with pytest.raises(SessionbaseError, match=r"and view api\.notes depends on it"):
        notes.migrate()
    notes.write("api/10_notes.sql", VIEW.replace("app.length(n)", "length(text)"))
    report = notes.migrate().repeatable
    assert report is not None
    assert (report.recreated, report.dropped) == ([], ["app.length(app.notes)"])


def test_a_function_with_changed_parameters_replaces_the_old_one(notes: Folder) -> None:
    one = "create or replace function app.f(a int) returns int language sql return 1;\n"
    comment = "comment on function app.f is 'F.';\n"
    notes.write("app/40_more.sql", one + comment)
    notes.migrate()
    notes.write("app/40_more.sql", one.replace("a int", "a text") + comment)
    report = notes.migrate().repeatable
    assert report is not None
    assert (report.created, report.dropped) == (["app.f(text)"], ["app.f(integer)"])


def test_an_unused_function_that_cannot_be_replaced_is_created_again(
    notes: Folder,
) -> None:
    one = "create or replace function app.f(a int) returns int language sql return 1;\n"
    notes.write("app/40_more.sql", one)
    notes.migrate()
    notes.write(
        "app/40_more.sql",
        "create or replace function app.f(b int) returns text language sql return 'a';\n",
    )
    report = notes.migrate().repeatable
    assert report is not None
    assert report.recreated == ["app.f(integer)"]


def test_a_used_function_that_cannot_be_replaced_is_refused(notes: Folder) -> None:
    before = functions(notes)
    notes.write("app/30_length.sql", LENGTH.replace("returns integer", "returns bigint"))
    with pytest.raises(SessionbaseError) as refusal:
        notes.migrate()
    assert "app/30_length.sql, line 2: cannot change return type" in refusal.value.message
    assert "view api.notes depends on it" in refusal.value.message
    assert "under another name" in str(refusal.value.hint)
    assert functions(notes) == before


HISTORY = """
create function app.hash(text text) returns text language sql immutable return md5(text);
comment on function app.hash(text) is 'Stored.';
grant execute on function app.hash(text) to authenticated;
"""


def test_a_function_of_a_migration_is_never_changed_by_the_files(notes: Folder) -> None:
    notes.write("migrations/0003_hash.sql", HISTORY)
    notes.migrate()
    oid = functions(notes)["app.hash(text)"]
    notes.write("app/10_guard.sql", GUARD + "-- changed\n")
    report = notes.migrate().repeatable
    assert report is not None
    assert report.dropped == []
    assert functions(notes)["app.hash(text)"] == oid
    assert may(notes, "authenticated", "app.hash(text)")
    assert notes.fetch("select obj_description('app.hash(text)'::regprocedure)") == [("Stored.",)]


@pytest.mark.parametrize(
    "text",
    [
        "create or replace function app.hash(text text) returns text language sql return text;",
        "comment on function app.hash(text) is 'Mine.';",
        "revoke all on function app.hash from authenticated;",
    ],
)
def test_a_function_of_a_migration_is_refused_in_app(notes: Folder, text: str) -> None:
    notes.write("migrations/0003_hash.sql", HISTORY)
    notes.write("app/40_hash.sql", f"-- first line\n{text}\n")
    with pytest.raises(
        SessionbaseError,
        match=r"app/40_hash\.sql, line 2: migrations/0003_hash\.sql creates app\.hash",
    ):
        notes.migrate()
    assert "app.hash(text)" not in functions(notes)


def test_a_function_that_a_migration_dropped_is_accepted_in_app(notes: Folder) -> None:
    notes.write("migrations/0003_hash.sql", HISTORY)
    notes.migrate()
    notes.write("migrations/0004_no_hash.sql", "drop function app.hash(text);\n")
    notes.write(
        "app/40_hash.sql",
        "create or replace function app.hash(text) returns text language sql return $1;\n",
    )
    notes.migrate()
    assert notes.fetch("select app.hash('a')") == [("a",)]


@pytest.mark.parametrize(
    "text",
    [
        "create table app.t (id int);",
        "create function app.f() returns int language sql return 1;",
        "create or replace function f() returns int language sql return 1;",
        "create or replace function api.f() returns int return 1;",
        "create or replace view app.v as select 1 as one;",
        "comment on table app.notes is 'Notes.';",
        "grant select on app.notes to authenticated;",
        "grant execute on all functions in schema app to authenticated;",
        "revoke usage on schema app from authenticated;",
        "comment on function api.f() is 'F.';",
        "drop function app.who();",
        "commit;",
    ],
)
def test_a_statement_that_is_not_allowed_in_app_is_refused(notes: Folder, text: str) -> None:
    before = functions(notes)
    notes.write("migrations/0003_more.sql", "create table app.more (id int);\n")
    notes.write("app/40_more.sql", f"-- first line\n{text}\n")
    with pytest.raises(SessionbaseError, match=r"app/40_more\.sql, line 2: not allowed in app/"):
        notes.migrate()
    assert functions(notes) == before
    assert notes.fetch("select to_regclass('app.more')") == [(None,)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("grant execute on function app.gone() to anon;", r"no file in app/ defines app\.gone"),
        (WHO.strip(), r"app/20_who\.sql, line 2 defines it too"),
        (
            "create or replace function app.f(a app.notes.id%type) returns int return 1;",
            "%TYPE is not allowed",
        ),
    ],
)
def test_a_statement_that_contradicts_the_other_files_is_refused(
    notes: Folder, text: str, message: str
) -> None:
    notes.write("app/40_more.sql", f"-- first line\n{text}\n")
    with pytest.raises(SessionbaseError, match=rf"app/40_more\.sql, line 2: {message}"):
        notes.migrate(dry_run=True)


def test_the_types_of_parameters_are_compared_as_types_and_not_as_text(notes: Folder) -> None:
    notes.write(
        "app/40_more.sql",
        "create or replace function app.f(int4, varchar(3), timestamptz[], out x int, "
        "variadic text[]) language sql as 'select 1';\n"
        "comment on function app.f(integer, character varying, timestamp with time zone[], text[])"
        " is 'F.';\n"
        'create or replace procedure app."P q"(inout "A" int) language sql as \'select 1\';\n'
        'grant execute on procedure app."P q" to auditor;\n',
    )
    notes.migrate()
    before = functions(notes)
    notes.write("app/10_guard.sql", GUARD + "-- changed\n")
    report = notes.migrate().repeatable
    assert report is not None
    assert (report.created, report.recreated, report.dropped) == ([], [], [])
    assert functions(notes) == before
    assert may(notes, "auditor", 'app."P q"(integer)')


def test_one_of_eight_concurrent_runs_applies_the_files_of_app(folder: Folder) -> None:
    folder.write("migrations/0001_foundation.sql", FOUNDATION)
    folder.write("migrations/0002_notes.sql", TABLE + "select pg_sleep(0.3);\n")
    folder.write("app/10_all.sql", GUARD + WHO)
    start = threading.Barrier(8)

    def run(_: int) -> bool:
        start.wait()
        report: MigrateReport = folder.migrate()
        return report.nothing_to_do

    with ThreadPoolExecutor(8) as pool:
        idle = list(pool.map(run, range(8)))
    assert sorted(idle) == [False] + [True] * 7
    assert set(functions(folder)) == {"app.guard()", "app.who()"}
    assert folder.fetch("select file from ops.repeatable_files") == [("app/10_all.sql",)]


def test_a_function_is_replaced_while_a_client_is_in_a_transaction_that_called_it(
    notes: Folder,
) -> None:
    notes.write("app/10_guard.sql", GUARD.replace("' '", "'-'"))
    notes.remove("api/10_notes.sql")
    notes.migrate()
    with psycopg.connect(notes.uri) as client:
        client.execute("insert into app.notes (id, text) values (1, 'a')")
        notes.write("app/10_guard.sql", GUARD.replace("' '", "'+'"))
        notes.migrate(lock_timeout_ms=300)
        client.execute("insert into app.notes (id, text) values (2, 'a')")
    assert notes.fetch("select text from app.notes order by id") == [("a-0",), ("a+1",)]
