"""`sessionbase doctor` has no findings on a new database, and each lint finds its mistakes."""

import json
import os
import shlex
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo
from typer.testing import CliRunner

from sessionbase.cli import app
from sessionbase.doctor.authority import expand, read_authority
from sessionbase.doctor.functions import read_functions
from sessionbase.doctor.lints import Finding, examine, read_lints, run
from sessionbase.errors import SessionbaseError
from sessionbase.migrate.runner import migrate
from sessionbase.paths import resource_path
from sessionbase.stack.account import Account, postgres_bin
from support.sql_folder import new_database

Database = psycopg.Connection[Any]


@dataclass(frozen=True)
class Case:
    """A statement that breaks a correct database, and the finding that it causes."""

    lint: str
    level: str
    breakage: str
    object: str
    what: str
    runs: bool = True
    """Whether the remediation is a statement that can be run as it is."""
    versions: range = range(15, 99)
    """The major versions of PostgreSQL that accept `breakage`."""


AS_OWNER = "set local role sessionbase_owner;"
REPAIR_SHIPPED = (
    "doctor has findings in what the shipped files make: correct the files in sql/, or list the"
    " new objects and rights in sql/authority.json"
)
NEW_TABLE = "create table app.made_by_hand (profile_id text primary key, body text);"
NEW_FUNCTION = (
    "create function app.try() returns int language sql stable security invoker"
    " {settings} as 'select 1'; revoke execute on function app.try() from public;"
    " alter function app.try() owner to sessionbase_owner;"
)

CASES = [
    Case(
        "row_level_security",
        "error",
        "alter table app.todos disable row level security",
        "table app.todos",
        "no row-level security",
    ),
    Case(
        "row_level_security",
        "error",
        "alter table ops.migrations disable row level security",
        "table ops.migrations",
        "no row-level security",
    ),
    Case(
        "row_level_security",
        "warning",
        AS_OWNER + NEW_TABLE + "alter table app.made_by_hand enable row level security",
        "table app.made_by_hand",
        "no policy",
        runs=False,
    ),
    Case(
        "row_level_security",
        "error",
        "create policy all_rows on ops.migrations to auditor using (true)",
        "table ops.migrations",
        "has a policy",
        runs=False,
    ),
    Case(
        "triggers",
        "error",
        "alter table ops.ledger_changes disable trigger append_only",
        "trigger append_only on ops.ledger_changes",
        "disabled",
    ),
    Case(
        "policy_roles",
        "error",
        "create policy everyone on app.todos using (profile_id = (select app.profile_id()))",
        "policy everyone on app.todos",
        "every role",
    ),
    Case(
        "policy_per_row",
        "error",
        "alter policy select_own on app.todos using (profile_id = app.profile_id())",
        "policy select_own on app.todos",
        "each row in using",
        runs=False,
    ),
    Case(
        "policy_per_row",
        "error",
        "alter policy insert_own on app.todos with check"
        " (profile_id = (select app.profile_id()) and text <> app.actor())",
        "policy insert_own on app.todos",
        "each row in with check",
        runs=False,
    ),
    Case(
        "policy_per_row",
        "error",
        "alter policy select_own on app.todos using (profile_id ="
        " (current_setting('request.jwt.claims', true)::json ->> 'sub'))",
        "policy select_own on app.todos",
        "each row in using",
        runs=False,
    ),
    Case(
        "policy_per_row",
        "error",
        "alter policy select_own on app.todos using (exists (select from app.ui_settings as s"
        " where s.profile_id = app.profile_id()))",
        "policy select_own on app.todos",
        "each row in using",
        runs=False,
    ),
    Case(
        "policy_scope",
        "error",
        "create policy open_door on app.todos for select to authenticated using (true)",
        "policy open_door on app.todos",
        "does not restrict using to",
        runs=False,
    ),
    Case(
        "policy_scope",
        "error",
        "alter policy select_own on app.todos"
        " using (profile_id = (select app.profile_id()) or completed)",
        "policy select_own on app.todos",
        "does not restrict using to",
        runs=False,
    ),
    Case(
        "policy_scope",
        "error",
        "create policy everybody on app.todos for insert to public with check (profile_id <> '')",
        "policy everybody on app.todos",
        "does not restrict with check to",
        runs=False,
    ),
    Case(
        "policy_index",
        "error",
        "create policy done on app.todos to auditor using (completed)",
        "column app.todos.completed",
        "no index starts with it",
        runs=False,
    ),
    Case(
        "foreign_key_index",
        "error",
        AS_OWNER
        + NEW_TABLE
        + "alter table app.made_by_hand add todo uuid, add constraint on_a_todo foreign key"
        " (profile_id, todo) references app.todos (profile_id, id)",
        "constraint on_a_todo on app.made_by_hand",
        "no index starts with its columns",
        runs=False,
    ),
    Case(
        "security_invoker_views",
        "error",
        "alter view api.todos reset (security_invoker)",
        "view api.todos",
        "rights of its owner",
    ),
    Case(
        "security_invoker_views",
        "error",
        "alter view api.todos set (security_invoker = false)",
        "view api.todos",
        "rights of its owner",
    ),
    Case(
        "security_invoker_views",
        "error",
        AS_OWNER + "create materialized view api.copies as select * from app.todos",
        "view api.copies",
        "materialized",
        runs=False,
    ),
    Case(
        "search_path",
        "error",
        NEW_FUNCTION.format(settings=""),
        "function app.try()",
        "empty search_path",
        runs=False,
    ),
    Case(
        "search_path",
        "error",
        NEW_FUNCTION.format(settings="set search_path = 'public'"),
        "function app.try()",
        "empty search_path",
        runs=False,
    ),
    Case(
        "security_definer",
        "error",
        "alter function api.toggle_todo(uuid) security definer",
        "function api.toggle_todo(uuid)",
        "SECURITY DEFINER",
    ),
    Case(
        "security_definer",
        "error",
        AS_OWNER + "create function app.chain_hookify_decision(text) returns text language sql"
        " security definer set search_path = '' as 'select $1'",
        "function app.chain_hookify_decision(text)",
        "SECURITY DEFINER",
    ),
    Case(
        "grants",
        "error",
        "grant execute on function api.toggle_todo(uuid) to public",
        "function api.toggle_todo(uuid)",
        "public has execute",
    ),
    Case(
        "grants",
        "error",
        "create function app.try() returns int language sql set search_path = '' as 'select 1';"
        "grant execute on function app.try() to public",
        "function app.try()",
        "public has execute",
    ),
    Case(
        "grants",
        "error",
        "grant execute on function api.session_context(text) to anon",
        "function api.session_context(text)",
        "anon has execute",
    ),
    Case(
        "grants",
        "error",
        "grant insert on app.misalignment_transitions to authenticated",
        "app.misalignment_transitions",
        "authenticated has insert",
    ),
    Case(
        "grants",
        "error",
        "grant update (completed_at) on app.tool_events to authenticated",
        "app.tool_events",
        "authenticated has update (completed_at)",
    ),
    Case(
        "grants",
        "error",
        "grant select on app.todos to auditor",
        "app.todos",
        "auditor has select",
    ),
    Case(
        "grants",
        "error",
        "grant select on app.hookify_decisions to sessionbase_replicator",
        "app.hookify_decisions",
        "sessionbase_replicator has select",
    ),
    Case(
        "grants",
        "error",
        "grant truncate on app.todos to authenticator",
        "app.todos",
        "authenticator has truncate",
    ),
    Case(
        "grants",
        "error",
        "grant usage on schema ops to authenticated",
        "schema ops",
        "authenticated has usage",
    ),
    Case(
        "grants",
        "error",
        "grant select on api.todos to authenticated with grant option",
        "api.todos",
        "may grant select to others",
    ),
    Case(
        "grants",
        "warning",
        "revoke insert (text) on api.todos from authenticated",
        "api.todos",
        "authenticated lacks insert (text)",
    ),
    Case(
        "default_privileges",
        "error",
        "alter default privileges for role sessionbase_owner grant execute on functions to public",
        "default privileges of sessionbase_owner",
        "public may execute every new function",
        runs=False,
    ),
    Case(
        "default_privileges",
        "error",
        "alter default privileges for role sessionbase_owner in schema app"
        " grant select on tables to anon",
        "default privileges of sessionbase_owner",
        "anon gets SELECT on each new table in schema app",
        runs=False,
    ),
    Case("roles", "error", "alter role auditor bypassrls", "role auditor", "is bypassrls"),
    Case("roles", "error", "alter role authenticated superuser", "role authenticated", "superuser"),
    Case("roles", "error", "alter role sessionbase_owner login", "role sessionbase_owner", "login"),
    Case("roles", "error", "alter role anon createrole", "role anon", "is createrole"),
    Case("roles", "error", "alter role authenticator replication", "role auth", "is replication"),
    Case(
        "roles",
        "error",
        "grant sessionbase_owner to authenticated",
        "role authenticated",
        "is a member of sessionbase_owner",
    ),
    Case(
        "roles",
        "error",
        "grant sessionbase_owner to authenticator",
        "role authenticator",
        "is a member of sessionbase_owner",
    ),
    Case(
        "roles",
        "error",
        "grant pg_read_all_data to auditor",
        "role auditor",
        "is a member of pg_read_all_data",
    ),
    Case(
        "roles",
        "warning",
        "create role service bypassrls; grant service to authenticator",
        "role authenticator",
        "service, which bypasses row-level security",
    ),
    Case(
        "roles",
        "warning",
        "revoke anon from authenticator",
        "role authenticator",
        "may not become anon",
    ),
    Case(
        "roles",
        "error",
        "grant auditor to authenticator with inherit true",
        "role authenticator",
        "inherits the rights of auditor",
        versions=range(16, 99),
    ),
    Case(
        "roles",
        "error",
        "alter role authenticator inherit",
        "role authenticator",
        "inherits the rights of auditor",
        versions=range(15, 16),
    ),
    Case(
        "roles",
        "error",
        "alter role sessionbase_replicator rename to somebody",
        "role sessionbase_replicator",
        "is missing",
        runs=False,
    ),
    Case(
        "roles",
        "warning",
        "alter role authenticated reset enable_seqscan",
        "role authenticated",
        "has no setting enable_seqscan",
    ),
    Case(
        "roles",
        "warning",
        "alter role auditor reset all",
        "role auditor",
        "has no setting statement_timeout",
    ),
    Case(
        "ownership",
        "error",
        "alter view api.todos owner to postgres",
        "view api.todos",
        "belongs to postgres",
        runs=False,
    ),
    Case(
        "ownership",
        "error",
        "create schema elsewhere; create table elsewhere.mine ();"
        " alter table elsewhere.mine owner to authenticated",
        "table elsewhere.mine",
        "belongs to authenticated",
        runs=False,
    ),
    Case(
        "policies",
        "error",
        "create policy done on app.todos for select to authenticated"
        " using (profile_id = (select app.profile_id()) and completed)",
        "policy done on app.todos",
        "is permissive for select to authenticated",
    ),
    Case(
        "policies",
        "error",
        "drop policy no_estimates on app.todos",
        "policy no_estimates on app.todos",
        "is missing: for select to auditor, authenticated",
        runs=False,
    ),
    Case(
        "policies",
        "error",
        "drop policy no_estimates on app.todos; create policy no_estimates on app.todos"
        " for select to authenticated, auditor using (app.refuse_explain())",
        "policy no_estimates on app.todos",
        "is permissive for select",
    ),
    Case(
        "policies",
        "warning",
        "drop policy delete_own on app.todos",
        "policy delete_own on app.todos",
        "is missing: for delete to authenticated",
        runs=False,
    ),
    Case(
        "functions",
        "error",
        "create or replace function app.profile_id() returns text language plpgsql stable"
        " security invoker parallel safe set search_path = ''"
        " as $$ begin return 'everyone'; end $$",
        "function app.profile_id()",
        " in: body",
        runs=False,
    ),
    Case(
        "functions",
        "error",
        "drop function api.toggle_todo(uuid)",
        "function api.toggle_todo(uuid)",
        "is missing: sql/api/40_todos.sql, line ",
        runs=False,
    ),
    Case(
        "functions",
        "error",
        NEW_FUNCTION.format(settings="set search_path = ''"),
        "function app.try()",
        "no shipped file creates it",
    ),
    Case(
        "statistics",
        "warning",
        "alter table app.todos alter column completed set statistics 0",
        "column app.todos.completed",
        "statistics target 0",
    ),
    Case(
        "public_schema",
        "warning",
        "create table public.trial (id int)",
        "table public.trial",
        "is in public",
        runs=False,
    ),
    Case(
        "public_schema",
        "error",
        "grant create on schema public to public",
        "schema public",
        "anon may create objects in it",
        runs=False,
    ),
    Case(
        "comments",
        "warning",
        "comment on column api.todos.text is null",
        "column api.todos.text",
        "no comment",
        runs=False,
    ),
    Case(
        "comments",
        "warning",
        "comment on function api.toggle_todo(uuid) is null",
        "function api.toggle_todo(uuid)",
        "no comment",
        runs=False,
    ),
    Case(
        "invalid_indexes",
        "error",
        "update pg_index set indisvalid = false where indexrelid = 'app.todos_by_time'::regclass",
        "index app.todos_by_time",
        "is invalid",
        runs=False,
    ),
    Case(
        "constraints",
        "warning",
        "alter table app.todos add constraint short check (length(text) < 9) not valid",
        "constraint short on app.todos",
        "NOT VALID",
    ),
    Case(
        "constraints",
        "error",
        "alter table app.todos add constraint short check (length(text) < 9) not enforced",
        "constraint short on app.todos",
        "NOT ENFORCED",
        runs=False,
        versions=range(18, 99),
    ),
    Case(
        "triggers",
        "error",
        "alter table app.hookify_decisions disable trigger append_only",
        "trigger append_only on app.hookify_decisions",
        "is disabled",
    ),
    Case(
        "triggers",
        "error",
        "alter table app.tool_events enable replica trigger guard_transition",
        "trigger guard_transition on app.tool_events",
        "only in replica sessions",
    ),
    Case(
        "triggers",
        "error",
        "alter table app.tool_event_transitions disable trigger all",
        'trigger "RI_ConstraintTrigger',
        "enforces a foreign key",
    ),
    Case(
        "triggers",
        "error",
        "drop trigger append_only on app.misalignment_transitions",
        "trigger append_only on app.misalignment_transitions",
        "is missing",
        runs=False,
    ),
    Case(
        "triggers",
        "error",
        "alter role auditor set session_replication_role = replica",
        "role auditor",
        "no trigger fires",
        runs=False,
    ),
    Case(
        "replication",
        "error",
        "alter publication sessionbase add table app.todos",
        "publication sessionbase",
        "app.todos, whose replica identity is not full",
    ),
    Case(
        "replication",
        "warning",
        "alter table app.todos replica identity full",
        "table app.todos",
        "full replica identity, and no publication",
    ),
]


@pytest.fixture(scope="module")
def own_database(stack: Any) -> Iterator[str]:
    """Yield the connection string of a migrated database of this module, without findings."""
    with new_database(stack.db_uri) as uri:
        migrate(uri)
        assert examine(uri).findings == [], (
            "a new database has findings: correct the SQL files, sql/authority.json or the lint"
        )
        yield uri


@pytest.fixture
def transaction(own_database: str) -> Iterator[Database]:
    """Yield a superuser's connection in a transaction that is rolled back."""
    with psycopg.connect(own_database) as conn:
        yield conn
        conn.rollback()


def named(case: Case) -> str:
    return f"{case.lint}: {case.object} {case.what}"


def matching(case: Case, conn: Database) -> list[Finding]:
    return [
        finding
        for finding in run(conn).findings
        if finding.lint == case.lint
        and finding.object.startswith(case.object)
        and case.what in finding.what
    ]


@pytest.mark.parametrize("case", CASES, ids=named)
def test_a_broken_object_is_found_and_the_remediation_repairs_it(
    case: Case, transaction: Database
) -> None:
    if transaction.info.server_version // 10000 not in case.versions:
        pytest.skip(f"PostgreSQL {transaction.info.server_version // 10000} has no such statement")
    transaction.execute(case.breakage.encode())
    transaction.execute("reset role")
    found = matching(case, transaction)
    assert found
    assert {finding.level for finding in found} == {case.level}
    assert all(finding.remediation for finding in found)
    if case.runs:
        for finding in found:
            transaction.execute(finding.remediation.encode())
        assert matching(case, transaction) == []


def test_a_setting_of_a_role_that_a_dba_changed_is_left_alone(transaction: Database) -> None:
    transaction.execute("alter role authenticated set enable_seqscan = on")
    assert not [finding for finding in run(transaction).findings if "setting" in finding.what]


def test_the_statement_for_a_missing_restrictive_policy_makes_it_restrictive(
    transaction: Database,
) -> None:
    transaction.execute("drop policy no_estimates on app.todos")
    found = [finding for finding in run(transaction).findings if finding.lint == "policies"]
    assert [
        "on app.todos as restrictive for select" in finding.remediation for finding in found
    ] == [True]


def test_every_level_of_every_lint_has_a_case() -> None:
    reported = {(lint.name, level) for lint in read_lints() for level in lint.levels}
    assert reported == {(case.lint, case.level) for case in CASES}, (
        "add a Case to CASES for each lint and level of sql/doctor, or remove one that is not there"
    )


def test_every_trigger_of_a_fresh_database_is_in_the_authority_list(transaction: Database) -> None:
    triggers = transaction.execute(
        "select tgrelid::regclass::text, tgname from pg_trigger where not tgisinternal"
        # The runner creates the trigger of the ledger, not a file.
        " and tgrelid <> 'ops.ledger_changes'::regclass"
    ).fetchall()
    listed = {
        (name, trigger) for name, items in read_authority().triggers.items() for trigger in items
    }
    assert triggers
    assert set(triggers) - listed == set(), (
        'add them to "triggers" of their table or view in sql/authority.json'
    )


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ("alter function api.toggle_todo(uuid) stable", "volatility"),
        ("alter function api.toggle_todo(uuid) parallel safe", "parallel"),
        ("alter function api.toggle_todo(uuid) strict", "strict"),
        ("alter function api.toggle_todo(uuid) leakproof", "leakproof"),
        ("alter function api.toggle_todo(uuid) security definer", "security"),
        ("alter function api.toggle_todo(uuid) reset all", "set"),
        ("alter function api.toggle_todo(uuid) set search_path = 'public'", "set"),
        ("alter function api.toggle_todo(uuid) set statement_timeout = '1h'", "set"),
        (
            "drop function api.toggle_todo(uuid); create function api.toggle_todo(todo uuid)"
            " returns setof uuid language sql volatile security invoker as 'select todo'",
            "arguments, body, defaults, language, result, returns a set, set",
        ),
        (
            "drop function api.toggle_todo(uuid); create procedure api.toggle_todo(id uuid)"
            " language sql as 'select 1'",
            "body, defaults, kind, language, result, set",
        ),
        (
            "create or replace function api.toggle_todo(id uuid default null) returns api.todos"
            " language sql volatile security invoker return null::api.todos",
            "body, language, set",
        ),
    ],
)
def test_each_property_of_a_function_is_compared_with_the_shipped_file(
    change: str, difference: str, transaction: Database
) -> None:
    transaction.execute(change.encode())
    found = [finding for finding in run(transaction).findings if finding.lint == "functions"]
    assert [finding.object for finding in found] == ["function api.toggle_todo(uuid)"]
    assert found[0].what.startswith("differs from sql/api/40_todos.sql, line ")
    assert found[0].what.endswith(f" in: {difference}")


def test_the_printed_commands_restore_a_function(own_database: str) -> None:
    with psycopg.connect(own_database, autocommit=True) as conn:
        conn.execute("alter function api.toggle_todo(uuid) stable")
        conn.execute("alter function app.hookify_decision_hash(app.hookify_decisions) volatile")
    found = [item for item in examine(own_database).findings if item.lint == "functions"]
    of_api, of_migration = (item.remediation.split("If the finding stays")[1] for item in found)
    psql = shlex.split(of_api.removeprefix(": "))
    assert psql[0] == "psql"
    programs = postgres_bin(Account(os.geteuid(), os.getegid()))
    subprocess.run([programs / "psql", *psql[1:], own_database], check=True)
    with psycopg.connect(own_database, autocommit=True) as conn:
        conn.execute("set role sessionbase_owner")
        conn.execute(of_migration.removeprefix(", run as sessionbase_owner: ").encode())
    assert [item for item in examine(own_database).findings if item.lint == "functions"] == []


def sql_folder(path: Path, **migrations: str) -> Path:
    for number, (name, text) in enumerate(migrations.items(), 1):
        file = path / "migrations" / f"{number:04}_{name}.sql"
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    return path


FUNCTION = "create or replace function app.f({}) returns text language sql as $${}$$;"


def test_a_function_of_a_migration_is_compared_with_its_file_in_app_if_there_is_one(
    tmp_path: Path,
) -> None:
    folder = sql_folder(tmp_path, first=FUNCTION.format("a text", "select 1"))
    (folder / "app").mkdir()
    (folder / "app" / "10_f.sql").write_text(FUNCTION.format("a text", "select 2"))
    (function,) = read_functions(folder)
    assert function.attributes["body"] == "select 2"
    assert function.file.label == "app/10_f.sql"


def test_the_last_of_several_statements_for_a_function_is_compared(tmp_path: Path) -> None:
    folder = sql_folder(
        tmp_path,
        first=FUNCTION.format("a text", "select 1") + FUNCTION.format("a jsonb", "select 2"),
        second=FUNCTION.format("a text", "select 3"),
        third="drop function app.f(jsonb);",
    )
    (function,) = read_functions(folder)
    assert function.inputs == ["text"]
    assert function.attributes["body"] == "select 3"


def test_a_shipped_function_whose_body_is_not_a_string_is_refused(tmp_path: Path) -> None:
    folder = sql_folder(
        tmp_path, first="create function app.f() returns int language sql return 1;"
    )
    with pytest.raises(SessionbaseError, match=r"migrations/0001_first\.sql, line 1: the body"):
        read_functions(folder)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("tables", "todos", "writeable"), {}, "unknown key 'writeable'"),
        (("tables", "todos", "writable", "text"), ["write"], "'write' is not one of insert, up"),
        (("tables", "todos", "rights", "guest"), ["select"], "'guest' is not one of anon, audi"),
        (("tables", "todos", "rights", "anon"), ["insert"], "'insert' is not one of delete, se"),
        (("views", "todos", "verbs", "anon"), ["PUT"], "'PUT' is not one of DELETE, GET, PATCH"),
        (("views", "todos"), {"verbs": {}}, "missing 2 required .* 'filter' and 'row'"),
        (("functions", "toggle_todo", "execute"), ["nobody"], "'nobody' is not one of anon"),
    ],
)
def test_a_mistake_in_the_authority_list_is_refused_with_its_place_and_the_file(
    place: tuple[str, ...], value: Any, message: str, tmp_path: Path
) -> None:
    given = json.loads((resource_path("sql") / "authority.json").read_text())
    item = given["domains"]["todos"]
    for key in place[:-1]:
        item = item[key]
    item[place[-1]] = value
    file = tmp_path / "authority.json"
    file.write_text(json.dumps(given))
    with pytest.raises(SessionbaseError, match=rf"todo.*{message}.*correct sql/authority\.json"):
        read_authority(file)


def test_a_function_in_the_authority_list_that_no_file_creates_is_refused() -> None:
    authority = read_authority()
    todos = replace(authority.domains["todos"], app_functions={"add_todos": ["authenticated"]})
    authority.domains["todos"] = todos
    names = {item.name: [item.name] for item in read_functions(resource_path("sql"))}
    with pytest.raises(
        SessionbaseError, match=r"app\.add_todos: no file below sql/ .*correct sql/"
    ):
        expand(authority, names)


def test_a_policy_with_the_profile_in_a_subselect_is_not_reported(transaction: Database) -> None:
    transaction.execute(
        "alter policy select_own on app.todos using (profile_id = (select (current_setting("
        "'request.jwt.claims', true)::json ->> 'sub')) and (completed or text <> 'x (y)'))"
    )
    assert [f for f in run(transaction).findings if f.lint == "policy_per_row"] == []


@pytest.mark.contrib
def test_objects_of_an_extension_in_public_are_not_reported(transaction: Database) -> None:
    transaction.execute("create extension citext schema public")
    assert run(transaction).findings == [], REPAIR_SHIPPED


def test_a_running_stack_has_no_findings(stack: Any) -> None:
    answer = CliRunner().invoke(app, ["doctor", "--db-uri", stack.db_uri, "--json"])
    report = json.loads(answer.stdout)
    assert report["findings"] == [], REPAIR_SHIPPED
    assert (report["errors"], report["warnings"]) == (0, 0)
    assert report["lints"] == len(read_lints())
    assert answer.exit_code == 0


@pytest.fixture
def login_without_rights(own_database: str) -> Iterator[str]:
    """Yield the connection string of a login that was granted nothing."""
    name, password = f"login_without_rights_{uuid.uuid4().hex}", uuid.uuid4().hex
    with psycopg.connect(own_database, autocommit=True) as conn:
        role = sql.Identifier(name)
        conn.execute(
            sql.SQL("create role {} login password {}").format(role, sql.Literal(password))
        )
        yield make_conninfo(own_database, user=name, password=password)
        conn.execute(sql.SQL("drop role {}").format(role))


def test_a_login_without_rights_can_run_doctor(login_without_rights: str) -> None:
    answer = CliRunner().invoke(app, ["doctor", "--db-uri", login_without_rights])
    assert answer.exit_code == 0, f"{REPAIR_SHIPPED}\n{answer.output}"
    assert f"{len(read_lints())} lints run: 0 errors, 0 warnings." in answer.stdout


@pytest.fixture
def broken(own_database: str) -> Iterator[str]:
    """Yield the database while one of its columns has no comment; restore it afterwards."""
    with psycopg.connect(own_database, autocommit=True) as conn:
        row = conn.execute("select col_description('api.todos'::regclass, 2)").fetchone()
        assert row
        conn.execute("comment on column api.todos.text is null")
        yield own_database
        conn.execute(sql.SQL("comment on column api.todos.text is {}").format(sql.Literal(row[0])))
        conn.execute("alter view api.todos set (security_invoker = true)")


def test_the_exit_code_is_0_for_warnings_and_1_for_errors(broken: str) -> None:
    answer = CliRunner().invoke(app, ["doctor", "--db-uri", broken, "--json"])
    report = json.loads(answer.stdout)
    assert answer.exit_code == 0, f"{REPAIR_SHIPPED}\n{answer.stdout}"
    assert (report["errors"], report["warnings"]) == (0, 1)
    assert report["findings"] == [
        {
            "level": "warning",
            "object": "column api.todos.text",
            "what": "has no comment: OpenAPI shows only its name",
            "remediation": "comment on column api.todos.text is '…', in its file under sql/api",
            "lint": "comments",
        }
    ]

    with psycopg.connect(broken, autocommit=True) as conn:
        conn.execute("alter view api.todos reset (security_invoker)")
    answer = CliRunner().invoke(app, ["doctor", "--db-uri", broken])
    assert answer.exit_code == 1
    assert "alter view api.todos set (security_invoker = true)" in answer.stdout
    assert "1 error, 1 warning" in answer.stdout


def test_a_database_without_sessionbase_is_refused(stack: Any) -> None:
    uri = make_conninfo(stack.db_uri, dbname="postgres")
    answer = CliRunner().invoke(app, ["doctor", "--db-uri", uri])
    assert answer.exit_code == 1
    assert "has no schemas app and api" in str(answer.exception)
