"""Schema api has exactly the objects that the files in api/ define."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from sessionbase.errors import SessionbaseError

if TYPE_CHECKING:
    from support.sql_folder import Folder

pytest_plugins = ["support.sql_folder"]

NOTES = """
create or replace view api.notes with (security_invoker = true) as select id, text from app.notes;
comment on view api.notes is 'All notes.';
comment on column api.notes.text is 'What it says.';
grant select on api.notes to authenticated;
"""
LATEST = """
create or replace function api.latest(number integer) returns setof api.notes
language sql stable set search_path = '' as 'select * from api.notes order by id desc limit number';
comment on function api.latest(integer) is 'The last ones.';
grant execute on function api.latest(integer) to authenticated, auditor;
"""
FIRST = """
alter default privileges revoke execute on functions from public;
create schema app;
create schema api;
create table app.notes (id int primary key, text text);
"""


@pytest.fixture
def notes(folder: Folder) -> Folder:
    """Return an applied folder with a view and a function that returns rows of the view."""
    folder.write("migrations/0001_notes.sql", FIRST)
    folder.write("api/10_notes.sql", NOTES)
    folder.write("api/20_latest.sql", LATEST)
    folder.migrate()
    return folder


def oids(folder: Folder) -> dict[str, int]:
    return dict(
        folder.fetch(
            "select oid::regprocedure::text, oid::int from pg_proc"
            " where pronamespace = 'api'::regnamespace union all"
            " select oid::regclass::text, oid::int from pg_class"
            " where relnamespace = 'api'::regnamespace and relkind = 'v'"
        )
    )


def may(folder: Folder, role: str, routine: str) -> bool:
    found = folder.fetch(f"select has_function_privilege('{role}', '{routine}', 'execute')")
    return bool(found[0][0])


def test_the_first_run_creates_the_objects_of_the_files(notes: Folder) -> None:
    assert set(oids(notes)) == {"api.notes", "api.latest(integer)"}


def test_unchanged_files_are_not_applied_again(notes: Folder) -> None:
    rows = "select xmin::text from pg_proc where pronamespace = 'api'::regnamespace"
    before = notes.fetch(rows)
    with psycopg.connect(notes.uri, autocommit=True) as listener:
        listener.execute("listen pgrst")
        assert notes.migrate().repeatable is None
        assert list(listener.notifies(timeout=0.2)) == []
        notes.write("api/20_latest.sql", LATEST + "-- touched\n")
        assert notes.migrate().repeatable_files == ["api/10_notes.sql", "api/20_latest.sql"]
        received = list(listener.notifies(timeout=5, stop_after=1))
        assert [note.payload for note in received] == ["reload schema"]
    assert notes.fetch(rows) != before


def test_a_changed_body_is_replaced_in_place(notes: Folder) -> None:
    before = oids(notes)
    notes.write("api/20_latest.sql", LATEST.replace("desc", "asc"))
    report = notes.migrate().repeatable
    assert report is not None
    assert (report.created, report.recreated, report.dropped) == ([], [], [])
    assert oids(notes) == before


def test_all_repeatable_files_are_applied_after_a_migration(notes: Folder) -> None:
    notes.write("migrations/0002_more.sql", "create table app.more (id int);\n")
    assert notes.migrate().repeatable is not None


def test_a_function_that_was_deleted_from_the_files_is_dropped(notes: Folder) -> None:
    notes.remove("api/20_latest.sql")
    report = notes.migrate().repeatable
    assert report is not None
    assert report.dropped == ["api.latest(integer)"]
    assert set(oids(notes)) == {"api.notes"}


def test_objects_created_by_hand_in_schema_api_are_dropped(notes: Folder) -> None:
    with psycopg.connect(notes.uri) as conn:
        conn.execute("set role sessionbase_owner")
        conn.execute("create type api.mood as enum ('good')")
        conn.execute("create view api.mine as select 'good'::api.mood as mood")
    notes.write("api/20_latest.sql", LATEST + "-- touched\n")
    report = notes.migrate().repeatable
    assert report is not None
    assert report.dropped == ["api.mine", "api.mood"]


def test_all_of_schema_api_is_dropped_when_all_files_are_deleted(notes: Folder) -> None:
    notes.remove("api/10_notes.sql")
    notes.remove("api/20_latest.sql")
    report = notes.migrate().repeatable
    assert report is not None
    assert report.dropped == ["api.latest(integer)", "api.notes"]
    assert notes.migrate().nothing_to_do


def test_a_grant_that_was_deleted_from_the_files_is_revoked(notes: Folder) -> None:
    assert may(notes, "auditor", "api.latest(integer)")
    with psycopg.connect(notes.uri) as conn:
        conn.execute("grant execute on function api.latest(integer) to public")
        conn.execute("grant select (id) on api.notes to anon")
    notes.write("api/20_latest.sql", LATEST.replace(", auditor", ""))
    notes.migrate()
    assert may(notes, "authenticated", "api.latest(integer)")
    assert not may(notes, "auditor", "api.latest(integer)")
    assert notes.fetch("select has_column_privilege('anon', 'api.notes', 'id', 'select')") == [
        (False,)
    ]


def test_a_comment_that_was_deleted_from_the_files_is_removed(notes: Folder) -> None:
    before, after = NOTES.split("comment on column")
    notes.write("api/10_notes.sql", before + "grant" + after.split("grant")[1])
    notes.migrate()
    assert notes.fetch(
        "select obj_description('api.notes'::regclass), col_description('api.notes'::regclass, 2)"
    ) == [("All notes.", None)]


def test_a_view_with_an_added_column_is_replaced_in_place(notes: Folder) -> None:
    before = oids(notes)
    notes.write("api/10_notes.sql", NOTES.replace("text from", "text, true as fresh from"))
    notes.migrate()
    assert oids(notes) == before


def test_a_view_with_a_removed_column_is_created_again_with_its_dependents(notes: Folder) -> None:
    before = oids(notes)
    notes.write("api/10_notes.sql", NOTES.replace("select id, text", "select text, id"))
    notes.write("api/15_other.sql", "create or replace view api.other as select 1 as one;\n")
    notes.migrate()
    other = oids(notes)["api.other"]
    notes.write("api/10_notes.sql", NOTES.replace("id, text from", "id, upper(text) text from"))
    report = notes.migrate().repeatable
    assert report is not None
    assert report.recreated == ["api.latest(integer)", "api.notes"]
    assert oids(notes)["api.other"] == other
    assert oids(notes)["api.notes"] != before["api.notes"]
    assert may(notes, "authenticated", "api.latest(integer)")


def test_a_function_with_another_return_type_is_created_again(notes: Folder) -> None:
    notes.write(
        "api/20_latest.sql",
        "create or replace function api.latest(number integer) returns integer"
        " language sql stable set search_path = '' as 'select number';\n",
    )
    report = notes.migrate().repeatable
    assert report is not None
    assert report.recreated == ["api.latest(integer)"]
    assert notes.fetch("select api.latest(7)") == [(7,)]


def test_a_function_with_a_renamed_parameter_is_created_again(notes: Folder) -> None:
    notes.write("api/20_latest.sql", LATEST.replace("number", "how_many"))
    report = notes.migrate().repeatable
    assert report is not None
    assert report.recreated == ["api.latest(integer)"]


def test_a_function_with_changed_parameters_replaces_the_old_one(notes: Folder) -> None:
    # `comment on function api.latest` is ambiguous while the old function exists.
    changed = LATEST.replace("number integer", "number integer, since date default null")
    notes.write("api/20_latest.sql", changed.replace("api.latest(integer)", "api.latest"))
    report = notes.migrate().repeatable
    assert report is not None
    assert report.dropped == ["api.latest(integer)"]
    assert report.created == ["api.latest(integer,date)"]


def test_an_api_file_with_an_error_leaves_schema_api_unchanged(notes: Folder) -> None:
    before = oids(notes)
    notes.write("api/10_notes.sql", NOTES.replace("select id, text", "select text"))
    notes.write("api/20_latest.sql", LATEST.replace("order by id", "order by nothing"))
    with pytest.raises(SessionbaseError) as refusal:
        notes.migrate()
    assert "api/20_latest.sql, line" in refusal.value.message
    assert 'column "nothing" does not exist' in refusal.value.message
    assert oids(notes) == before
    assert may(notes, "auditor", "api.latest(integer)")


def test_a_view_that_uses_a_deleted_function_is_refused(notes: Folder) -> None:
    one = "create or replace function api.one() returns integer language sql return 1;\n"
    view = "create or replace view api.ones as select api.one() as one;\n"
    notes.write("api/30_one.sql", one + view)
    notes.migrate()
    before = oids(notes)
    notes.write("api/30_one.sql", view)
    with pytest.raises(SessionbaseError) as refusal:
        notes.migrate()
    assert "no file in api/ defines api.one(), and api.ones uses it" in refusal.value.message
    assert oids(notes) == before


def test_a_dependent_object_outside_schema_api_is_never_dropped(notes: Folder) -> None:
    with psycopg.connect(notes.uri) as conn:
        conn.execute("set role sessionbase_owner")
        conn.execute("create view app.reading as select * from api.notes")
    notes.write("api/10_notes.sql", NOTES.replace("id, text from", "id, 1 as text from"))
    with pytest.raises(SessionbaseError, match=r"view app\.reading depends on"):
        notes.migrate()
    assert notes.fetch("select count(*) from app.reading") == [(0,)]


ADD = """
create or replace function api.add() returns trigger language plpgsql as $$
begin
  insert into app.notes values (new.id, new.text);
  return new;
end
$$;
create or replace trigger add_note instead of insert on api.notes
for each row execute function api.add();
comment on trigger add_note on api.notes is 'Adds.';
"""


def test_a_trigger_of_a_view_is_created_and_replaced_in_place(notes: Folder) -> None:
    triggers = "select oid::int, tgname from pg_trigger where tgrelid = 'api.notes'::regclass"
    notes.write("api/15_add.sql", ADD)
    notes.migrate()
    notes.execute("insert into api.notes (id, text) values (1, 'a')")
    assert notes.fetch("select text from app.notes") == [("a",)]
    before = notes.fetch(triggers)
    assert [row[1] for row in before] == ["add_note"]
    notes.write("api/15_add.sql", ADD + "-- touched\n")
    report = notes.migrate().repeatable
    assert report is not None
    assert (report.created, report.recreated, report.dropped) == ([], [], [])
    assert notes.fetch(triggers) == before


def test_a_trigger_of_a_view_that_was_deleted_from_the_files_is_dropped(notes: Folder) -> None:
    notes.write("api/15_add.sql", ADD)
    notes.migrate()
    notes.remove("api/15_add.sql")
    report = notes.migrate().repeatable
    assert report is not None
    assert report.dropped == ["add_note on api.notes", "api.add()"]


def test_a_view_with_a_trigger_is_created_again_with_the_trigger(notes: Folder) -> None:
    notes.write("api/15_add.sql", ADD)
    notes.migrate()
    notes.write("api/10_notes.sql", NOTES.replace("id, text from", "id, upper(text) text from"))
    notes.migrate()
    notes.write("api/10_notes.sql", NOTES.replace("id, text", "text, id"))
    report = notes.migrate().repeatable
    assert report is not None
    assert "add_note on api.notes" in report.recreated
    notes.execute("insert into api.notes (id, text) values (1, 'a')")


def test_a_trigger_of_a_table_that_uses_a_function_of_api_is_never_dropped(notes: Folder) -> None:
    notes.write("api/15_add.sql", ADD)
    notes.migrate()
    notes.execute(
        "create trigger t before delete on app.notes for each row execute function api.add()"
    )
    notes.remove("api/15_add.sql")
    with pytest.raises(SessionbaseError, match=r"trigger t on app\.notes depends on api\.add"):
        notes.migrate()


@pytest.mark.parametrize(
    "text",
    [
        "create or replace trigger t before insert on app.notes execute function app.f();",
        "create trigger t instead of insert on api.notes for each row execute function app.f();",
        "create table api.t (id int);",
        "create view api.v as select 1 as one;",
        "create or replace view app.v as select 1 as one;",
        "create or replace function f() returns int language sql return 1;",
        "drop view api.notes;",
        "commit;",
    ],
)
def test_a_statement_that_is_not_allowed_in_api_is_refused(notes: Folder, text: str) -> None:
    before = oids(notes)
    notes.write("migrations/0002_more.sql", "create table app.more (id int);\n")
    notes.write("api/30_more.sql", f"-- first line\n{text}\n")
    with pytest.raises(SessionbaseError, match=r"api/30_more\.sql, line 2: not allowed in api/"):
        notes.migrate()
    assert oids(notes) == before
    assert notes.fetch("select to_regclass('app.more')") == [(None,)]


def test_a_run_that_does_not_get_the_lock_retries_and_blocks_no_client(notes: Folder) -> None:
    notes.write("api/20_latest.sql", LATEST + "-- touched\n")
    reports: list[Any] = []
    runner = threading.Thread(target=lambda: reports.append(notes.migrate(lock_timeout_ms=60_000)))
    with psycopg.connect(notes.uri) as client:
        client.execute("select from api.notes")
        runner.start()
        runner.join(timeout=0.6)
        assert runner.is_alive()
        # Other clients can use the view without a long wait.
        with psycopg.connect(notes.uri) as other:
            assert other.execute("select count(*) from api.notes").fetchone() == (0,)
    runner.join(timeout=60)
    assert reports[0].repeatable_files


def test_the_error_of_a_lock_timeout_says_what_to_do(notes: Folder) -> None:
    notes.write("api/20_latest.sql", LATEST + "-- touched\n")
    with psycopg.connect(notes.uri) as client:
        client.execute("select from api.notes")
        with pytest.raises(SessionbaseError, match="lock timeout") as refusal:
            notes.migrate(lock_timeout_ms=300)
    assert "--lock-timeout" in str(refusal.value.hint)
