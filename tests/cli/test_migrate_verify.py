"""What is checked before the commit of a file: lints, sql/verify/NNNN.sql and role probes."""

# ruff: noqa: F811 - the fixtures that are imported

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from conftest import Stack
from sessionbase.doctor.lints import read_lints
from sessionbase.errors import SessionbaseError, UsageError
from sessionbase.migrate.execute import StatementFailed
from sessionbase.migrate.files import read_folder
from sessionbase.migrate.runner import migrate, pending
from sessionbase.migrate.verify import CheckFailed, check_names
from sessionbase.paths import PROJECT_DIR, resource_path
from sessionbase.postgres_programs import embedded_bin
from support.command import run_main
from support.pages import code_block, commands, run_script
from support.profiles import fill_profile
from support.sql_folder import (  # noqa: F401 - fixtures
    Folder,
    empty_database,
    folder,
    new_database,
)

# The statement runs with the rights of the login and not with those of the owner.
AS_LOGIN = (
    "do $$ begin perform set_config('role', 'none', true); {};"
    " perform set_config('role', 'sessionbase_owner', true); end $$"
)

STATE = """
select md5(string_agg(line, e'\\n' order by line)) from (
  select concat(c.oid::regclass, c.relacl, c.reloptions, c.relrowsecurity, c.relowner) as line
    from pg_class c where c.relnamespace::regnamespace::text in ('app', 'api', 'ops')
  union all select concat(p.oid::regprocedure, p.proacl, p.prosecdef, p.prosrc, p.proowner)
    from pg_proc p where p.pronamespace::regnamespace::text in ('app', 'api', 'ops')
  union all select to_jsonb(p)::text from pg_policy p
  union all select concat(t.tgrelid::regclass, t.tgname, t.tgenabled) from pg_trigger t
  union all select concat(rolname, rolbypassrls, rolsuper) from pg_roles
   where rolname in ('anon', 'authenticated', 'auditor')
  union all select to_jsonb(m)::text from ops.migrations m
  union all select to_jsonb(l)::text from ops.ledger_changes l
  union all select to_jsonb(t)::text from app.todos t
) state
"""


@pytest.fixture(scope="module")
def filled_template(stack: Stack) -> Iterator[str]:
    """Yield the name of a database with the shipped schema and two profiles, to copy."""
    with new_database(stack.db_uri) as uri:
        migrate(uri)
        fill_profile(uri, "anna")
        fill_profile(uri, "boris")
        yield str(conninfo_to_dict(uri)["dbname"])


class Shipped(Folder):
    """A copy of the shipped SQL folder, and a database where it is applied."""

    def __init__(self, path: Path, uri: str) -> None:
        self.path, self.uri = path, uri
        shutil.copytree(resource_path("sql"), path)
        self.last = read_folder(path).migrations[-1].version

    def add(self, text: str, offset: int = 1) -> str:
        """Write a migration after the last one; return its label."""
        label = f"migrations/{self.last + offset:04}_try.sql"
        self.write(label, text)
        return label

    def add_verify(self, text: str, offset: int = 1) -> None:
        self.write(f"verify/{self.last + offset:04}.sql", text)

    def state(self) -> Any:
        return self.fetch(STATE)

    def refused(self, **options: Any) -> CheckFailed:
        """Run migrate; return its refusal, after a check that the database is as before."""
        before = self.state()
        with pytest.raises(CheckFailed) as refusal:
            self.migrate(**options)
        assert self.state() == before, "the file that was refused must be rolled back"
        return refusal.value


@pytest.fixture
def shipped(tmp_path: Path, stack: Stack, filled_template: str) -> Iterator[Shipped]:
    """Yield a copy of the shipped folder and a database with two profiles."""
    with new_database(stack.db_uri, filled_template) as uri:
        yield Shipped(tmp_path / "sql", uri)


@pytest.fixture(scope="module")
def kept_database(stack: Stack, filled_template: str) -> Iterator[str]:
    """Yield a database for tests whose files are all refused: it stays as it is."""
    with new_database(stack.db_uri, filled_template) as uri:
        yield uri


@pytest.fixture
def refusing(tmp_path: Path, kept_database: str) -> Shipped:
    """Return a copy of the shipped folder and a database that no test changes."""
    return Shipped(tmp_path / "sql", kept_database)


def names_of(failure: CheckFailed) -> set[str]:
    return {finding.lint for finding in failure.findings}


# What each statement does, and the lints that find it besides the role probes.
SABOTAGE = {
    "a policy that shows every row": (
        "create policy more on app.todos for select to authenticated using (true)",
        {"policy_scope", "policies"},
    ),
    "a policy for every role": (
        "create policy more on app.todos for select using (true)",
        {"policy_scope", "policies", "policy_roles"},
    ),
    "a policy that is dropped": ("drop policy select_own on app.todos", set()),
    "row-level security that is off": (
        "alter table app.todos disable row level security",
        {"row_level_security"},
    ),
    "a view with the rights of its owner": (
        "alter view api.todos set (security_invoker = false)",
        {"security_invoker_views"},
    ),
    "a right on a table that is lost": ("revoke select on app.todos from authenticated", set()),
    "a right on a view that is lost": ("revoke select on api.todos from authenticated", set()),
    "a function of the policies that can't be called": (
        "revoke execute on function app.refuse_explain() from authenticated",
        set(),
    ),
    "a request that is always refused": (
        "revoke execute on function app.check_request() from authenticated",
        set(),
    ),
    "a guest who reads": (
        "grant usage on schema app to anon; grant select on app.todos to anon",
        {"grants"},
    ),
    "an auditor who reads arguments": (
        "grant select on app.tool_events to auditor;"
        "create policy audit_all on app.tool_events for select to auditor using (true)",
        {"grants", "policies"},
    ),
    "an auditor who sees no log any more": (
        "drop policy select_all on app.tool_event_transitions",
        set(),
    ),
    "rows that go to another profile": (
        "update app.todos set profile_id = 'new-' || profile_id",
        set(),
    ),
    "rows that are gone": ("truncate app.todos", set()),
    "a role without row-level security": (
        AS_LOGIN.format("alter role authenticated bypassrls"),
        {"roles"},
    ),
    "a table without its profile in the policy": (
        "create table app.notes (profile_id text, id int, primary key (profile_id, id));"
        "alter table app.notes enable row level security;"
        "insert into app.notes values ('anna', 1), ('boris', 2);"
        "create policy select_own on app.notes for select to authenticated"
        " using (profile_id >= (select app.profile_id()));"
        "grant select on app.notes to authenticated",
        {"policy_scope", "policies", "grants"},
    ),
}


@pytest.mark.parametrize("what", SABOTAGE)
def test_the_lints_and_the_role_probes_refuse(refusing: Shipped, what: str) -> None:
    statement, lints = SABOTAGE[what]
    label = refusing.add(f"{statement};\n")
    failure = refusing.refused()
    assert names_of(failure) == lints | {"role_probes"}
    assert failure.message.startswith(f"{label}: ")
    assert "rolled back" in failure.message


# What the lints alone can find.
LINTED = {
    "security_definer": "alter function app.refuse_array_body() security definer",
    "search_path": "alter function api.session_context(text) reset search_path",
    "foreign_key_index": "create table app.notes (profile_id text primary key, e text,"
    " foreign key (profile_id, e) references app.tool_events (profile_id, id));"
    "alter table app.notes enable row level security",
    "default_privileges": "alter default privileges grant execute on functions to public",
    "triggers": "drop trigger append_only on app.hookify_decisions",
    "ownership": AS_LOGIN.format("create table app.notes (); alter table app.notes owner to {}"),
    "public_schema": AS_LOGIN.format("grant create on schema public to authenticated"),
}


@pytest.mark.parametrize("lint", LINTED)
def test_a_lint_refuses_a_migration(refusing: Shipped, lint: str) -> None:
    login = refusing.fetch("select quote_ident(current_user)")[0][0]
    refusing.add(LINTED[lint].replace("{}", login) + ";\n")
    failure = refusing.refused()
    assert lint in names_of(failure)
    assert "Remedy: " in failure.message
    assert f"--skip-lint {lint}" in str(failure.hint)


def test_a_disabled_trigger_is_refused_in_each_file(refusing: Shipped) -> None:
    label = refusing.add("alter table app.todos disable trigger require_columns;\n")
    refusing.add("select 1;\n", 2)
    failure = refusing.refused()
    assert failure.message.startswith(label)
    assert names_of(failure) == {"triggers"}


def test_a_migration_without_a_finding_is_applied(shipped: Shipped) -> None:
    shipped.add(
        "alter table app.todos add column note text;\n"
        "comment on column app.todos.note is 'A note';\n"
    )
    lines: list[str] = []
    report = shipped.migrate(log=lines.append)
    assert len(report.migrations) == 1
    assert not [line for line in lines if "role_probes" in line or "warning" in line]
    assert shipped.fetch("select count(*) from ops.ledger_changes") == [(0,)]


def test_a_finding_that_compares_with_the_last_file_stops_the_last_migration(
    shipped: Shipped,
) -> None:
    first = shipped.add("grant update (created_at) on app.todos to authenticated;\n")
    second = shipped.add("select 1;\n", 2)
    with pytest.raises(CheckFailed) as failure:
        shipped.migrate()
    assert failure.value.message.startswith(second)
    assert f"there since {first}, which is committed" in failure.value.message
    assert len(pending(shipped.uri, shipped.path)) > 1


def test_a_right_that_a_later_migration_takes_away_stops_nothing(shipped: Shipped) -> None:
    shipped.add("grant update (created_at) on app.todos to authenticated;\n")
    shipped.add("revoke update (created_at) on app.todos from authenticated;\n", 2)
    assert len(shipped.migrate().migrations) == 2


DEFINER = (
    "create function app.helper() returns int language sql security definer\n"
    "set search_path = '' as $$ select 1 $$;\n"
    "comment on function app.helper() is 'h';\n"
    "revoke execute on function app.helper() from public;\n"
)


def test_a_function_with_the_rights_of_its_owner_stops_the_last_migration(
    refusing: Shipped,
) -> None:
    refusing.add(DEFINER)
    assert names_of(refusing.refused()) == {"security_definer"}


def test_a_function_with_the_rights_of_its_owner_that_a_later_migration_drops_stops_nothing(
    shipped: Shipped,
) -> None:
    shipped.add(DEFINER)
    shipped.add("drop function app.helper();\n", 2)
    assert len(shipped.migrate().migrations) == 2


def test_a_finding_from_before_the_run_is_printed_and_stops_nothing(shipped: Shipped) -> None:
    shipped.execute(
        "create table app.by_hand (id int primary key)",
        "create policy more on app.todos for select to authenticated using (true)",
    )
    shipped.add("comment on table app.todos is 'changed';\n")
    lines: list[str] = []
    assert len(shipped.migrate(log=lines.append).migrations) == 1
    printed = "\n".join(lines)
    assert "not caused by this run (error): row_level_security: table app.by_hand" in printed
    assert "not caused by this run (error): role_probes: api.todos shows a profile" in printed


def test_a_finding_that_a_migration_removes_is_refused_when_it_comes_back(
    shipped: Shipped,
) -> None:
    shipped.execute("create table app.by_hand (id int primary key)")
    shipped.add("alter table app.by_hand enable row level security;\n")
    label = shipped.add("alter table app.by_hand disable row level security;\n", 2)
    with pytest.raises(CheckFailed) as failure:
        shipped.migrate()
    assert failure.value.message.startswith(label)


def test_the_files_of_api_are_refused_and_nothing_of_them_is_changed(refusing: Shipped) -> None:
    file = refusing.path / "api/40_todos.sql"
    text = file.read_text()
    assert "create or replace view api.todos\nwith (security_invoker = true)" in text
    file.write_text(
        text.replace(
            "create or replace view api.todos\nwith (security_invoker = true)",
            "create or replace view api.todos\nwith (security_invoker = false)",
        )
    )
    failure = refusing.refused()
    assert failure.message.startswith("the files of app/ and api/: ")
    assert names_of(failure) == {"security_invoker_views", "role_probes"}


def test_a_view_that_sql_authority_json_lists_must_exist(refusing: Shipped) -> None:
    file = refusing.path / "api/40_todos.sql"
    file.write_text(file.read_text().replace("grant select on api.todos to authenticated;\n", ""))
    failure = refusing.refused()
    assert [finding.object for finding in failure.findings] == ["api.todos"]
    assert "permission denied for authenticated" in failure.message


def test_a_function_that_takes_the_profile_from_elsewhere_is_refused(refusing: Shipped) -> None:
    file = refusing.path / "app/00_foundation.sql"
    text = file.read_text()
    assert "  return subject;\n" in text
    file.write_text(text.replace("  return subject;\n", "  return 'anna';\n"))
    assert names_of(refusing.refused()) == {"role_probes"}


def test_a_deferred_trigger_runs_before_the_checks(refusing: Shipped) -> None:
    refusing.add(
        "create table app.bait (id int primary key);\n"
        "alter table app.bait enable row level security;\n"
        "create function app.bite() returns trigger language plpgsql set search_path = '' as\n"
        "'begin grant select on app.todos to anon; return null; end';\n"
        "create constraint trigger bite after insert on app.bait initially deferred\n"
        "for each row execute function app.bite();\n"
        "insert into app.bait values (1);\n"
    )
    assert "app.todos anon has select" in refusing.refused().message


def test_a_migration_can_not_leave_the_checks_under_another_role(refusing: Shipped) -> None:
    before = refusing.state()
    refusing.add("do $$ begin perform set_config('role', 'none', true); end $$;\n")
    with pytest.raises(SessionbaseError, match="changed the role to"):
        refusing.migrate()
    assert refusing.state() == before


def test_a_migration_can_not_turn_row_security_off_for_the_checks(refusing: Shipped) -> None:
    refusing.add(
        "drop policy select_own on app.todos;\n"
        "do $$ begin perform set_config('row_security', 'off', true); end $$;\n"
    )
    assert "role_probes" in names_of(refusing.refused())


def test_a_skipped_check_is_printed_and_recorded(shipped: Shipped) -> None:
    label = shipped.add("create table app.notes (id int primary key);\n")
    done = run_main(
        "migrate", "--db-uri", shipped.uri, "--sql-dir", shipped.path,
        "--skip-lint", "row_level_security",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert f"{label}: left out with --skip-lint: row_level_security: table app.notes" in (
        " ".join(done.stderr.split())
    )
    ((action, reason, findings),) = shipped.fetch(
        "select action, reason, after from ops.ledger_changes"
    )
    assert (action, reason) == ("skip", f"{label}: --skip-lint row_level_security")
    assert [finding["object"] for finding in findings] == ["table app.notes"]
    assert shipped.migrate().nothing_to_do


def test_skipping_one_check_does_not_skip_another(refusing: Shipped) -> None:
    refusing.add(SABOTAGE["row-level security that is off"][0] + ";\n")
    assert names_of(refusing.refused(skip_lints=["row_level_security"])) == {"role_probes"}


def test_a_skip_of_an_unknown_check_is_a_usage_error(refusing: Shipped) -> None:
    with pytest.raises(UsageError, match="row_level_securiti"):
        refusing.migrate(skip_lints=["row_level_securiti"])


def test_the_findings_of_a_dry_run_are_not_computed_and_nothing_changes(refusing: Shipped) -> None:
    refusing.add(SABOTAGE["row-level security that is off"][0] + ";\n")
    before = refusing.state()
    assert refusing.migrate(dry_run=True).dry_run
    assert refusing.state() == before


def test_each_row_of_a_verify_file_is_a_finding(refusing: Shipped) -> None:
    label = refusing.add("update app.todos set text = 'x';\n")
    refusing.add_verify(
        "select 1 where false;\n"
        "-- Every text is kept.\n"
        "select profile_id, text from app.todos where text = 'x' limit 1;\n"
    )
    failure = refusing.refused()
    assert names_of(failure) == {"verify"}
    assert failure.message.startswith(label)
    assert f"verify/{refusing.last + 1:04}.sql, line 3 found profile_id: " in failure.message
    assert "text: x" in failure.message


def test_only_the_first_rows_of_a_verify_file_are_shown(refusing: Shipped) -> None:
    refusing.add("select 1;\n")
    refusing.add_verify("select n from generate_series(1, 1000000) n;\n")
    failure = refusing.refused()
    assert len(failure.findings) == 6
    assert failure.findings[-1].what == "found more rows, which are not shown"


def test_a_verify_file_sees_what_its_migration_did(shipped: Shipped) -> None:
    shipped.add("create schema extra;\ncreate table extra.t as select 7 as n;\n")
    shipped.add_verify("select n from extra.t where n <> 7;\n")
    assert len(shipped.migrate().migrations) == 1


def test_a_verify_file_runs_only_with_its_own_migration(shipped: Shipped) -> None:
    shipped.add("select 1;\n")
    shipped.add_verify("select 1 where to_regclass('app.later') is not null;\n")
    shipped.add(
        "create table app.later (id int primary key);\n"
        "alter table app.later enable row level security;\n",
        2,
    )
    assert len(shipped.migrate().migrations) == 2


@pytest.mark.parametrize(
    "statement",
    [
        "delete from app.todos",
        "select 1 into app.copy",
        "select id from app.todos for update",
        "with gone as (delete from app.todos returning id) select id from gone",
        "create table app.more ()",
        "do $$ begin null; end $$",
        "set role authenticated",
        "values (1); commit",
        "call app.nothing()",
        "explain analyze select 1",
    ],
)
def test_a_verify_file_with_anything_but_a_select_is_refused_before_anything_runs(
    refusing: Shipped, statement: str
) -> None:
    refusing.add("create schema extra;\n")
    refusing.add_verify(f"{statement};\n")
    with pytest.raises(SessionbaseError, match=f"verify/{refusing.last + 1:04}.sql, line 1"):
        refusing.migrate(dry_run=True)
    with pytest.raises(SessionbaseError, match="not only a SELECT"):
        refusing.migrate()
    assert refusing.fetch("select to_regnamespace('extra')") == [(None,)]


def test_a_function_in_a_verify_file_can_not_write(refusing: Shipped) -> None:
    refusing.add("select 1;\n")
    refusing.add_verify("select pg_catalog.nextval('extra.s');\n")
    refusing.write(
        f"migrations/{refusing.last + 1:04}_try.sql",
        "create schema extra; create sequence extra.s;",
    )
    with pytest.raises(StatementFailed, match="read-only transaction"):
        refusing.migrate()
    assert refusing.fetch("select to_regnamespace('extra')") == [(None,)]


def test_a_verify_file_that_takes_too_long_is_cancelled_and_the_file_rolled_back(
    refusing: Shipped,
) -> None:
    refusing.add("create schema extra;\n")
    refusing.add_verify("select pg_sleep(60);\n")
    with pytest.raises(StatementFailed) as failure:
        refusing.migrate()
    assert "statement timeout" in failure.value.message
    assert "LIMIT" in str(failure.value.hint)
    assert refusing.fetch("select to_regnamespace('extra')") == [(None,)]


def test_a_verify_file_that_fails_names_its_line(refusing: Shipped) -> None:
    refusing.add("select 1;\n")
    refusing.add_verify("select 1 where false;\nselect 1 / 0;\n")
    with pytest.raises(StatementFailed, match=rf"verify/{refusing.last + 1:04}.sql, line 2: div"):
        refusing.migrate()


@pytest.mark.parametrize("name", ["9999.sql", "1.sql", "0001_foundation.sql", "notes.txt"])
def test_a_verify_file_without_a_migration_is_refused(refusing: Shipped, name: str) -> None:
    refusing.write(f"verify/{name}", "select 1 where false;\n")
    with pytest.raises(SessionbaseError, match=f"verify/{name}"):
        refusing.migrate()


def test_a_verify_file_is_no_part_of_the_checksum_of_its_migration(shipped: Shipped) -> None:
    shipped.add("select 1;\n")
    shipped.migrate()
    shipped.add_verify("select 1;\n")
    assert pending(shipped.uri, shipped.path) == []
    assert shipped.migrate().nothing_to_do


def test_the_verify_files_of_another_schema_run_and_its_lints_do_not(folder: Folder) -> None:
    folder.write("migrations/0001_notes.sql", "create schema app; create table app.n (id int);")
    folder.write("verify/0001.sql", "select 'wrong' as state;\n")
    lines: list[str] = []
    with pytest.raises(CheckFailed) as failure:
        folder.migrate(log=lines.append)
    assert names_of(failure.value) == {"verify"}
    assert any("not that of sessionbase" in line for line in lines)
    folder.remove("verify/0001.sql")
    folder.migrate()


# What a change of a shipped migration breaks, and the file of verify/ that finds it.
BROKEN = {
    "0003_hookify_decisions.sql": ("          decision.severity,\n", "", "0003.sql, line 4"),
    "0005_todos.sql": ("\\u3000\\ufeff", "", "0005.sql, line 3"),
    "0008_replication.sql": (
        "create publication sessionbase;",
        "create publication sessionbase for table app.todos;"
        "alter table app.todos replica identity full;",
        "0008.sql, line 3",
    ),
    "0009_profiles.sql": (
        "create or replace trigger append_only before update or truncate on app.hookify_decisions",
        "create or replace trigger append_only before update on app.hookify_decisions",
        "0009.sql, line 4",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_the_verify_file_of_a_shipped_migration_finds_a_mistake(
    tmp_path: Path, empty_database: str, name: str
) -> None:
    shipped = Shipped(tmp_path / "sql", empty_database)
    old, new, where = BROKEN[name]
    file = shipped.path / "migrations" / name
    text = file.read_text()
    assert old in text, f"correct the change of {name} in this test"
    file.write_text(text.replace(old, new))
    with pytest.raises(CheckFailed) as failure:
        shipped.migrate()
    assert failure.value.message.startswith(f"migrations/{name}: ")
    assert any(
        finding.object == f"verify/{where}" and finding.lint == "verify"
        for finding in failure.value.findings
    )


def test_a_new_database_has_no_finding_and_no_warning(empty_database: str) -> None:
    lines: list[str] = []
    migrate(empty_database, log=lines.append)
    assert [line for line in lines if not line.startswith("applied ")] == []


def test_a_trigger_that_the_files_do_not_create_is_found_in_a_new_database(
    tmp_path: Path, empty_database: str
) -> None:
    shipped = Shipped(tmp_path / "sql", empty_database)
    file = shipped.path / "authority.json"
    authority = json.loads(file.read_text())
    authority["domains"]["todos"]["tables"]["todos"]["triggers"].append("not_there")
    file.write_text(json.dumps(authority))
    with pytest.raises(CheckFailed) as failure:
        shipped.migrate()
    assert "trigger not_there on app.todos is missing" in failure.value.message


def test_the_probes_read_few_rows_of_a_large_profile(shipped: Shipped) -> None:
    with psycopg.connect(shipped.uri) as conn:
        conn.execute("set session_replication_role = replica")
        conn.execute(
            "insert into app.todos (profile_id, text)"
            " select 'a-large-one', 't' from generate_series(1, 50000)"
        )
        conn.execute("select pg_stat_force_next_flush()")
    counters = (
        "select seq_tup_read, idx_tup_fetch from pg_stat_user_tables"
        " where relid = 'app.todos'::regclass"
    )
    ((read, fetched),) = shipped.fetch(counters)
    shipped.add("select 1;\n")
    shipped.migrate()
    with psycopg.connect(shipped.uri) as conn:
        conn.execute("select pg_stat_force_next_flush()")
    ((read_after, fetched_after),) = shipped.fetch(counters)
    assert read_after == read, "the probes must read no table from its beginning to its end"
    assert fetched_after - fetched < 2000


def test_a_login_that_may_not_become_the_client_roles_gets_a_line_that_the_probes_are_left_out(
    shipped: Shipped, db: psycopg.Connection[Any]
) -> None:
    login = sql.Identifier("try_verify_login")
    db.execute(sql.SQL("create role {} login password 'try'").format(login))
    try:
        db.execute(sql.SQL("grant sessionbase_owner to {}").format(login))
        database = sql.Identifier(str(conninfo_to_dict(shipped.uri)["dbname"]))
        db.execute(sql.SQL("grant create on database {} to sessionbase_owner").format(database))
        shipped.add("comment on table app.todos is 'changed';\n")
        shipped.uri = make_conninfo(shipped.uri, user="try_verify_login", password="try")
        lines: list[str] = []
        shipped.migrate(log=lines.append)
        assert "grant anon, auditor, authenticated to the login" in " ".join(lines)
    finally:
        db.execute(sql.SQL("drop role {}").format(login))


def test_every_check_of_this_page_is_a_lint_or_named_here() -> None:
    lints = {lint.name for lint in read_lints()}
    assert set(check_names()) - lints == {"role_probes", "verify"}
    assert {"functions", "grants", "policies", "triggers"} <= lints


def test_the_example_of_the_page_is_refused_and_corrected(shipped: Shipped) -> None:
    page, heading = "migration-checks.md", "A file with its own checks"
    shipped.add(code_block(page, heading, "sql", 0))
    shipped.add_verify(code_block(page, heading, "sql", 1))
    assert len(shipped.migrate().migrations) == 1
    wrong = shipped.last + 2
    shipped.write(f"migrations/{wrong:04}_wrong.sql", "update app.todos set due_at = now();\n")
    shipped.write(f"verify/{wrong:04}.sql", code_block(page, heading, "sql", 1))
    failure = shipped.refused()
    assert names_of(failure) == {"verify"}


def test_the_commands_of_the_page_skip_a_check_and_show_its_findings(shipped: Shipped) -> None:
    label = shipped.add("create table app.notes (id int primary key);\n")
    environment = os.environ | {"DBA": shipped.uri, "SQL": str(shipped.path)}
    environment["PATH"] = f"{embedded_bin()}:{os.environ['PATH']}"
    printed = ""
    for block in commands("migration-checks.md", "Skip a check"):
        printed += run_script("migration-checks.md", block, PROJECT_DIR, environment, None)
    assert f"{label}: --skip-lint row_level_security" in printed


def test_a_finding_after_a_statement_without_a_transaction_leaves_the_file_unrecorded(
    shipped: Shipped,
) -> None:
    label = shipped.add(
        "-- sessionbase: no-transaction\ncreate index concurrently more on app.todos (text);\n"
    )
    shipped.add_verify("select 'too many indexes' as problem;\n")
    with pytest.raises(CheckFailed) as failure:
        shipped.migrate()
    assert failure.value.message.startswith(label)
    assert "its statement is committed, and it is not recorded as applied" in failure.value.message
    assert shipped.fetch("select max(version) from ops.migrations") == [(shipped.last,)]
    shipped.remove(f"verify/{shipped.last + 1:04}.sql")
    assert len(shipped.migrate().migrations) == 1
