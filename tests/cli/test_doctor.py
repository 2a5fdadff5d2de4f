"""`sessionbase doctor`: clean on a fresh database, and each lint finds what it is there to find."""

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo
from typer.testing import CliRunner

from sessionbase.cli import app
from sessionbase.doctor.lints import Finding, read_lints, run
from sessionbase.migrate.runner import migrate

Database = psycopg.Connection[Any]


@dataclass(frozen=True)
class Case:
    """What breaks a sound database, and the one kind of finding that it must lead to."""

    lint: str
    level: str
    breakage: str
    object: str
    what: str
    mends: bool = True
    """Whether remediation is a statement that can be run as it stands."""


AS_OWNER = "set local role sessionbase_owner;"
NEW_TABLE = "create table app.notes (profile_id text primary key, body text);"
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
        AS_OWNER + NEW_TABLE + "alter table app.notes enable row level security",
        "table app.notes",
        "no policy",
        mends=False,
    ),
    Case(
        "row_level_security",
        "error",
        "create policy all_rows on ops.migrations to auditor using (true)",
        "table ops.migrations",
        "has a policy",
        mends=False,
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
        mends=False,
    ),
    Case(
        "policy_per_row",
        "error",
        "alter policy insert_own on app.todos with check"
        " (profile_id = (select app.profile_id()) and text <> app.actor())",
        "policy insert_own on app.todos",
        "each row in with check",
        mends=False,
    ),
    Case(
        "policy_per_row",
        "error",
        "alter policy select_own on app.todos using (profile_id ="
        " (current_setting('request.jwt.claims', true)::json ->> 'sub'))",
        "policy select_own on app.todos",
        "each row in using",
        mends=False,
    ),
    Case(
        "policy_per_row",
        "error",
        "alter policy select_own on app.todos using (exists (select from app.ui_settings as s"
        " where s.profile_id = app.profile_id()))",
        "policy select_own on app.todos",
        "each row in using",
        mends=False,
    ),
    Case(
        "policy_scope",
        "error",
        "create policy open_door on app.todos for select to authenticated using (true)",
        "policy open_door on app.todos",
        "does not keep using to",
        mends=False,
    ),
    Case(
        "policy_scope",
        "error",
        "alter policy select_own on app.todos"
        " using (profile_id = (select app.profile_id()) or completed)",
        "policy select_own on app.todos",
        "does not keep using to",
        mends=False,
    ),
    Case(
        "policy_scope",
        "error",
        "create policy everybody on app.todos for insert to public with check (profile_id <> '')",
        "policy everybody on app.todos",
        "does not keep with check to",
        mends=False,
    ),
    Case(
        "policy_index",
        "error",
        "create policy done on app.todos to auditor using (completed)",
        "column app.todos.completed",
        "no index leads with it",
        mends=False,
    ),
    Case(
        "foreign_key_index",
        "error",
        AS_OWNER
        + NEW_TABLE
        + "alter table app.notes add todo uuid, add constraint on_a_todo foreign key"
        " (profile_id, todo) references app.todos (profile_id, id)",
        "constraint on_a_todo on app.notes",
        "no index starts with its columns",
        mends=False,
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
        mends=False,
    ),
    Case(
        "search_path",
        "error",
        NEW_FUNCTION.format(settings=""),
        "function app.try()",
        "empty search_path",
        mends=False,
    ),
    Case(
        "search_path",
        "error",
        NEW_FUNCTION.format(settings="set search_path = 'public'"),
        "function app.try()",
        "empty search_path",
        mends=False,
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
        "may pass select on",
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
        mends=False,
    ),
    Case(
        "default_privileges",
        "error",
        "alter default privileges for role sessionbase_owner in schema app"
        " grant select on tables to anon",
        "default privileges of sessionbase_owner",
        "anon gets SELECT on each new table in schema app",
        mends=False,
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
        "create role service bypassrls; grant service to authenticator with inherit false",
        "role authenticator",
        "service, which bypasses row-level security",
    ),
    Case(
        "roles",
        "error",
        "grant auditor to authenticator with inherit true",
        "role authenticator",
        "the rights of auditor without becoming it",
    ),
    Case(
        "roles",
        "error",
        "alter role sessionbase_replicator rename to somebody",
        "role sessionbase_replicator",
        "is missing",
        mends=False,
    ),
    Case(
        "ownership",
        "error",
        "alter view api.todos owner to postgres",
        "view api.todos",
        "belongs to postgres",
        mends=False,
    ),
    Case(
        "ownership",
        "error",
        "create schema elsewhere; create table elsewhere.mine ();"
        " alter table elsewhere.mine owner to authenticated",
        "table elsewhere.mine",
        "belongs to authenticated",
        mends=False,
    ),
    Case(
        "public_schema",
        "warning",
        "create table public.trial (id int)",
        "table public.trial",
        "is in public",
        mends=False,
    ),
    Case(
        "public_schema",
        "error",
        "grant create on schema public to public",
        "schema public",
        "anon may create objects in it",
        mends=False,
    ),
    Case(
        "comments",
        "warning",
        "comment on column api.todos.text is null",
        "column api.todos.text",
        "no comment",
        mends=False,
    ),
    Case(
        "comments",
        "warning",
        "comment on function api.toggle_todo(uuid) is null",
        "function api.toggle_todo(uuid)",
        "no comment",
        mends=False,
    ),
    Case(
        "invalid_indexes",
        "error",
        "update pg_index set indisvalid = false where indexrelid = 'app.todos_by_age'::regclass",
        "index app.todos_by_age",
        "is invalid",
        mends=False,
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
        mends=False,
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
        mends=False,
    ),
    Case(
        "triggers",
        "error",
        "alter role auditor set session_replication_role = replica",
        "role auditor",
        "no trigger fires",
        mends=False,
    ),
    Case(
        "replication",
        "error",
        "alter publication sessionbase set table app.todos;"
        " alter table app.todos replica identity default",
        "publication sessionbase",
        "app.todos, whose replica identity is not full",
    ),
    Case(
        "replication",
        "warning",
        "alter role sessionbase_replicator replication",
        "role sessionbase_replicator",
        "can copy the whole cluster",
        mends=False,
    ),
]


@pytest.fixture(scope="module")
def own_database(stack: Any) -> Iterator[str]:
    """Yield the connection string of a freshly migrated database that only this module uses."""
    name = f"doctor_{uuid.uuid4().hex}"
    with psycopg.connect(stack.db_uri, autocommit=True) as conn:
        conn.execute(sql.SQL("create database {} template template0").format(sql.Identifier(name)))
        uri = make_conninfo(conn.info.dsn, password=conn.info.password, dbname=name)
        migrate(uri)
        yield uri
        conn.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


@pytest.fixture
def doomed(own_database: str) -> Iterator[Database]:
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
def test_the_doctor_finds_what_was_broken_and_says_how_to_mend_it(
    case: Case, doomed: Database
) -> None:
    assert matching(case, doomed) == []
    doomed.execute(case.breakage.encode())
    doomed.execute("reset role")
    found = matching(case, doomed)
    assert found
    assert {finding.level for finding in found} == {case.level}
    assert all(finding.remediation for finding in found)
    if case.mends:
        for finding in found:
            doomed.execute(finding.remediation.encode())
        assert matching(case, doomed) == []


def test_every_lint_and_every_level_of_it_is_triggered_by_a_case() -> None:
    reported = {(lint.name, level) for lint in read_lints() for level in lint.levels}
    assert reported == {(case.lint, case.level) for case in CASES}


def test_every_trigger_of_a_fresh_database_is_on_the_list_of_needed_ones(
    doomed: Database,
) -> None:
    triggers = doomed.execute(
        "select tgname, tgrelid::regclass::text from pg_trigger where not tgisinternal"
    ).fetchall()
    lint = next(lint for lint in read_lints() if lint.name == "triggers")
    assert triggers
    for name, table in triggers:
        assert f"('{table}', '{name}')" in lint.sql


def test_policies_whose_identity_is_in_a_subselect_are_left_alone(doomed: Database) -> None:
    doomed.execute(
        "alter policy select_own on app.todos using (profile_id = (select (current_setting("
        "'request.jwt.claims', true)::json ->> 'sub')) and (completed or text <> 'x (y)'))"
    )
    assert [f for f in run(doomed).findings if f.lint == "policy_per_row"] == []


@pytest.mark.contrib
def test_members_of_an_extension_in_public_are_left_alone(doomed: Database) -> None:
    doomed.execute("create extension citext schema public")
    assert run(doomed).findings == []


def test_the_stack_that_is_served_is_clean(stack: Any) -> None:
    answer = CliRunner().invoke(app, ["doctor", "--db-uri", stack.db_uri, "--json"])
    report = json.loads(answer.stdout)
    assert report["findings"] == []
    assert (report["errors"], report["warnings"]) == (0, 0)
    assert report["lints"] == len(read_lints())
    assert answer.exit_code == 0


@pytest.fixture
def stranger(own_database: str) -> Iterator[str]:
    """Yield the connection string of a login that was granted nothing."""
    name, password = f"stranger_{uuid.uuid4().hex}", uuid.uuid4().hex
    with psycopg.connect(own_database, autocommit=True) as conn:
        role = sql.Identifier(name)
        conn.execute(
            sql.SQL("create role {} login password {}").format(role, sql.Literal(password))
        )
        yield make_conninfo(own_database, user=name, password=password)
        conn.execute(sql.SQL("drop role {}").format(role))


def test_a_login_without_any_right_of_its_own_can_run_it(stranger: str) -> None:
    answer = CliRunner().invoke(app, ["doctor", "--db-uri", stranger])
    assert answer.exit_code == 0, answer.output
    assert f"{len(read_lints())} lints run: 0 errors, 0 warnings." in answer.stdout


@pytest.fixture
def broken(own_database: str) -> Iterator[str]:
    """Yield the database while it has an uncommented column; mended afterwards."""
    with psycopg.connect(own_database, autocommit=True) as conn:
        row = conn.execute("select col_description('api.todos'::regclass, 2)").fetchone()
        assert row
        conn.execute("comment on column api.todos.text is null")
        yield own_database
        conn.execute(sql.SQL("comment on column api.todos.text is {}").format(sql.Literal(row[0])))
        conn.execute("alter view api.todos set (security_invoker = true)")


def test_warnings_are_told_with_exit_code_0_and_errors_with_1(broken: str) -> None:
    answer = CliRunner().invoke(app, ["doctor", "--db-uri", broken, "--json"])
    report = json.loads(answer.stdout)
    assert answer.exit_code == 0
    assert (report["errors"], report["warnings"]) == (0, 1)
    assert report["findings"] == [
        {
            "level": "warning",
            "object": "column api.todos.text",
            "what": "has no comment: OpenAPI shows a bare name",
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
