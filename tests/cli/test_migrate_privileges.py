"""Migrations and the other commands by logins that are not superusers, as docs/privileges.md says.

Roles belong to the whole cluster, so each test has a cluster of its own, with only a Unix socket.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from conftest import Stack, bring_up
from sessionbase import state
from sessionbase.errors import SessionbaseError
from sessionbase.migrate.dump import dump_schema
from sessionbase.migrate.privileges import ROLES
from sessionbase.migrate.runner import migrate
from sessionbase.paths import resource_path
from sessionbase.secret_files import files
from sessionbase.stack.scratch import scratch_cluster
from sessionbase.stack.token import make_claims, sign
from support.command import run_main
from support.databases import content, fill

NEW_MIGRATION = "alter table app.todos set (autovacuum_vacuum_scale_factor = 0.1);\n"
PASSWORD = "only-in-this-test"
TODO = "01890a5d-ac96-774b-bcce-b302099a8057"


class Cluster:
    """A cluster without sessionbase's roles."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        with psycopg.connect(uri) as conn:
            self.major = conn.info.server_version // 10_000

    def run(self, *statements: str, database: str = "postgres") -> None:
        """Run statements as the superuser."""
        with psycopg.connect(self.superuser(database), autocommit=True) as conn:
            for statement in statements:
                conn.execute(statement.encode())

    def fetch(self, query: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        with psycopg.connect(self.superuser(database)) as conn:
            return conn.execute(query.encode()).fetchall()

    def login(self, name: str, attributes: str) -> None:
        """Create a login."""
        self.run(f"create role {name} login password '{PASSWORD}' {attributes}")

    def superuser(self, database: str) -> str:
        return self._uri_of({"dbname": database})

    def uri_of(self, login: str, database: str) -> str:
        return self._uri_of({"user": login, "password": PASSWORD, "dbname": database})

    def _uri_of(self, changed: dict[str, str]) -> str:
        parameters = {k: str(v) for k, v in conninfo_to_dict(self.uri).items() if v}
        return state.build_uri({**parameters, **changed})

    def everything(self) -> list[tuple[Any, ...]]:
        """Return the roles, the memberships, and the schemas and rights of each database."""
        rows = self.fetch(
            "select rolname, rolcreaterole, rolcanlogin, rolconfig::text from pg_roles"
            " where rolname !~ '^pg_' order by 1"
        )
        rows += self.fetch(
            "select roleid::regrole::text, member::regrole::text from pg_auth_members"
            " where roleid > 16383 order by 1, 2"
        )
        databases = self.fetch("select datname, datacl::text from pg_database where datallowconn")
        for name, _ in databases:
            rows += self.fetch("select nspname from pg_namespace where oid > 16383", name)
        return rows + sorted(databases)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """Yield a new cluster."""
    with scratch_cluster() as uri:
        yield Cluster(uri)


@pytest.fixture
def sql_dir(tmp_path: Path) -> Path:
    """Return a copy of the shipped SQL folder."""
    return Path(shutil.copytree(resource_path("sql"), tmp_path / "sql"))


def change(sql_dir: Path) -> int:
    """Add a migration and change a function of app/; return the number of the migration."""
    number = len(list((sql_dir / "migrations").glob("*.sql"))) + 1
    (sql_dir / f"migrations/{number:04}_try.sql").write_text(NEW_MIGRATION)
    file = sql_dir / "app/60_ui_settings.sql"
    file.write_text(file.read_text() + "\n-- changed\n")
    return number


def run_hint(cluster: Cluster, refusal: SessionbaseError, database: str) -> None:
    """Run the statements of a hint as the superuser, as a DBA would."""
    statements = re.findall(r"(?:grant|create|alter) [^;]+", str(refusal.hint))
    assert statements, f"the hint has no statement: {refusal.hint}"
    cluster.run(*statements, database=database)


def refused(cluster: Cluster, uri: str) -> SessionbaseError:
    """Assert that a run and a dry run are refused alike, and change nothing; return the error."""
    before = cluster.everything()
    with pytest.raises(SessionbaseError) as of_dry_run:
        migrate(uri, dry_run=True)
    with pytest.raises(SessionbaseError) as of_run:
        migrate(uri)
    assert str(of_run.value) == str(of_dry_run.value)
    assert cluster.everything() == before
    return of_run.value


def assert_migrated(cluster: Cluster, database: str, login: str) -> None:
    """Assert that everything belongs to sessionbase_owner, and the login is in the ledger."""
    owners = cluster.fetch(
        "select distinct relowner::regrole::text from pg_class"
        " where relnamespace::regnamespace::text in ('app', 'api', 'ops')"
        " union select distinct proowner::regrole::text from pg_proc"
        " where pronamespace::regnamespace::text in ('app', 'api', 'ops')"
        " union select nspowner::regrole::text from pg_namespace"
        " where nspname in ('app', 'api', 'ops')"
        " union select pubowner::regrole::text from pg_publication",
        database,
    )
    assert owners == [("sessionbase_owner",)]
    # The owner of a table is not subject to its policies, unless they are forced on it.
    forced = cluster.fetch("select relname from pg_class where relforcerowsecurity", database)
    assert forced == []
    assert cluster.fetch("select distinct applied_by from ops.migrations", database) == [(login,)]


def doctor(uri: str) -> tuple[int, list[dict[str, str]]]:
    """Return the exit code of doctor, and its findings."""
    done = run_main("doctor", "--json", "--db-uri", uri)
    return done.returncode, json.loads(done.stdout)["findings"]


def succeeds(*arguments: object) -> str:
    """Run a command that must succeed; return what it prints."""
    done = run_main(*arguments)
    assert done.returncode == 0, f"{arguments}: {done.stderr}{done.stdout}"
    return done.stdout


def test_a_login_with_createrole_can_migrate_and_run_every_command(
    cluster: Cluster, sql_dir: Path, data_dir: Path, tmp_path: Path
) -> None:
    # What a managed service gives: no superuser, but rights to create roles and databases. Without
    # INHERIT, which is the harder case: it has the rights of sessionbase_owner only as that role.
    cluster.login("manager", "noinherit createrole createdb in role pg_monitor, pg_signal_backend")
    with psycopg.connect(cluster.uri_of("manager", "postgres"), autocommit=True) as conn:
        conn.execute("create database mine")
    uri = cluster.uri_of("manager", "mine")

    report = migrate(uri, sql_dir)
    assert (report.roles, report.migrations[0].version) == ("applied", 1)
    assert migrate(uri, sql_dir).nothing_to_do
    assert_migrated(cluster, "mine", "manager")
    assert doctor(uri) == (0, [])
    rest_works(uri, data_dir)

    fill(cluster.superuser("mine"), "p", "q")
    restore_elsewhere(cluster, uri, tmp_path / "backup")
    operate(uri, tmp_path)
    number = change(sql_dir)
    report = migrate(uri, sql_dir)
    assert [migration.version for migration in report.migrations] == [number]
    assert "app/60_ui_settings.sql" in report.repeatable_files
    assert migrate(uri, sql_dir).nothing_to_do
    assert_migrated(cluster, "mine", "manager")


def rest_works(uri: str, data_dir: Path) -> None:
    """Start PostgREST for this login; write a row over HTTP, and read it as two profiles."""
    assert bring_up(data_dir, postgres_uri=uri).started == ["PostgREST"]
    stack = Stack.of(data_dir)
    todos = f"{stack.rest_url}/todos"
    headers = {
        name: {"Authorization": f"Bearer {sign(make_claims(name), stack.jwt_secret)}"}
        for name in ("one", "two")
    }
    with httpx.Client(trust_env=False, timeout=60) as client:
        written = client.post(todos, json={"id": TODO, "text": "x"}, headers=headers["one"])
        assert written.status_code == 201, written.text
        mine = client.get(f"{todos}?select=id", headers=headers["one"])
        others = client.get(f"{todos}?select=id", headers=headers["two"])
    assert (mine.status_code, mine.json()) == (200, [{"id": TODO}])
    assert (others.status_code, others.json()) == (200, [])


def restore_elsewhere(cluster: Cluster, uri: str, backup: Path) -> None:
    """Back up; restore into a new database of the same cluster and into a cluster without roles."""
    succeeds("backup", backup, "--db-uri", uri)
    source = cluster.superuser("mine")
    with psycopg.connect(cluster.uri_of("manager", "postgres"), autocommit=True) as conn:
        conn.execute("create database copy")
    succeeds("restore", backup, "--db-uri", cluster.uri_of("manager", "copy"))
    assert content(cluster.superuser("copy")) == content(source)
    with scratch_cluster() as empty_uri:
        empty = Cluster(empty_uri)
        empty.login("manager", "createrole createdb")
        empty.run("create database copy owner manager")
        succeeds("restore", backup, "--db-uri", empty.uri_of("manager", "copy"))
        assert content(empty.superuser("copy")) == content(source)
        assert dump_schema(empty.superuser("copy")) == dump_schema(source)
        assert migrate(empty.uri_of("manager", "copy")).nothing_to_do


def operate(uri: str, tmp_path: Path) -> None:
    """Run the commands of docs/privileges.md."""
    files.generate(tmp_path / "secrets")
    (tmp_path / "postgrest").mkdir()
    for command in (
        ["secrets", "install", tmp_path / "secrets", tmp_path / "postgrest"],
        ["profile", "list"],
        ["profile", "export", "p", tmp_path / "p.jsonl"],
        ["profile", "erase", "p", "--yes"],
        ["audit", "verify"],
        ["stats", "--exact"],
        ["replication", "status"],
        ["migrate", "status"],
        ["migrate", "dump"],
    ):
        succeeds(*command, "--db-uri", uri)
    enabled = run_main("replication", "enable", "todos", "--db-uri", uri)
    assert enabled.returncode == 1
    assert "alter role sessionbase_replicator replication" in enabled.stdout


@pytest.mark.parametrize("attributes", ["inherit", "noinherit"])
def test_a_login_that_is_only_a_member_of_the_owner_can_migrate_after_a_dba_ran_roles_sql(
    cluster: Cluster, sql_dir: Path, attributes: str
) -> None:
    cluster.login("deployer", attributes)
    cluster.run("create database app")
    uri = cluster.uri_of("deployer", "app")
    refusal = refused(cluster, uri)
    assert f"the roles {', '.join(ROLES)} are missing" in refusal.message
    assert "psql -f sql/roles.sql" in str(refusal.hint)

    cluster.run((resource_path("sql") / "roles.sql").read_text(), database="app")
    run_hint(cluster, refusal, "app")
    report = migrate(uri, sql_dir)
    assert report.roles == "skipped"
    number = change(sql_dir)
    assert [migration.version for migration in migrate(uri, sql_dir).migrations] == [number]
    assert migrate(uri, sql_dir).nothing_to_do
    assert_migrated(cluster, "app", "deployer")
    assert doctor(uri)[0] == 0


@pytest.mark.postgres_version(16, "before, there is no such setting")
@pytest.mark.parametrize("options", ["inherit", "set", "set, inherit"])
def test_what_the_login_gets_for_the_roles_that_it_creates_does_not_matter(
    cluster: Cluster, options: str
) -> None:
    cluster.login("manager", "createrole")
    cluster.run(
        f"alter role manager set createrole_self_grant = '{options}'",
        "create database app owner manager",
    )
    uri = cluster.uri_of("manager", "app")
    assert migrate(uri).roles == "applied"
    assert migrate(uri).nothing_to_do
    assert_migrated(cluster, "app", "manager")
    assert doctor(uri) == (0, [])


@pytest.mark.postgres_version(16, "before, a membership has no options")
def test_a_membership_with_only_the_set_option_is_enough(cluster: Cluster) -> None:
    cluster.login("deployer", "")
    cluster.run("create database app")
    cluster.run((resource_path("sql") / "roles.sql").read_text(), database="app")
    cluster.run("grant sessionbase_owner to deployer with inherit true, set false")
    refusal = refused(cluster, cluster.uri_of("deployer", "app"))
    assert "is not a member of sessionbase_owner" in refusal.message
    run_hint(cluster, refusal, "app")
    cluster.run("grant sessionbase_owner to deployer with inherit false")
    uri = cluster.uri_of("deployer", "app")
    assert len(migrate(uri).migrations) > 0
    assert migrate(uri).nothing_to_do
    assert doctor(uri) == (0, [])


def test_a_database_of_another_owner_needs_create_with_grant_option_or_the_grant_of_its_owner(
    cluster: Cluster,
) -> None:
    cluster.login("manager", "createrole")
    cluster.run(
        "create database one", "create database two", "grant create on database one to manager"
    )
    refusal = refused(cluster, cluster.uri_of("manager", "one"))
    assert refusal.hint == (
        "the owner of the database runs: grant create on database one to manager with grant option"
    )
    run_hint(cluster, refusal, "one")
    assert migrate(cluster.uri_of("manager", "one")).roles == "applied"

    # Now the roles exist, so the grant can name the owner of the objects.
    refusal = refused(cluster, cluster.uri_of("manager", "two"))
    assert refusal.hint == (
        "the owner of the database runs: grant create on database two to sessionbase_owner"
    )
    run_hint(cluster, refusal, "two")
    assert migrate(cluster.uri_of("manager", "two")).roles == "applied"
    assert_migrated(cluster, "two", "manager")


def test_the_login_of_a_second_database_needs_the_owner_role_from_16_on(cluster: Cluster) -> None:
    for number in ("one", "two"):
        cluster.login(f"manager_{number}", "createrole")
        cluster.run(f"create database {number} owner manager_{number}")
    migrate(cluster.uri_of("manager_one", "one"))
    second = cluster.uri_of("manager_two", "two")
    if cluster.major >= 16:
        refusal = refused(cluster, second)
        assert "this login, manager_two, is not a member of sessionbase_owner" in refusal.message
        assert "a login with ADMIN OPTION on the role runs: " in str(refusal.hint)
        # The login that created the roles may run it; a superuser is not needed.
        grant = str(refusal.hint).split(" runs: ")[1]
        with psycopg.connect(cluster.uri_of("manager_one", "one")) as conn:
            conn.execute(grant.encode())
    assert migrate(second).roles == "applied"
    assert migrate(second).nothing_to_do
    assert_migrated(cluster, "two", "manager_two")
    assert doctor(second) == (0, [])
    assert migrate(cluster.uri_of("manager_one", "one")).nothing_to_do


def test_a_login_without_a_right_on_a_migrated_database_gets_the_statement(
    cluster: Cluster,
) -> None:
    cluster.login("stranger", "")
    cluster.run("create database app")
    migrate(cluster.superuser("app"))
    refusal = refused(cluster, cluster.uri_of("stranger", "app"))
    assert "may not read the migration ledger" in refusal.message
    run_hint(cluster, refusal, "app")
    assert migrate(cluster.uri_of("stranger", "app")).nothing_to_do


def supabase(cluster: Cluster) -> None:
    """Create the roles that Supabase has: they belong to a login that is not ours."""
    cluster.run(
        "create role anon nologin noinherit",
        "create role authenticated nologin noinherit",
        "create role service_role nologin noinherit bypassrls",
        "create role authenticator login noinherit",
        "grant authenticated, service_role to authenticator",
        "alter role authenticated set statement_timeout = '8s'",
        "create database app owner manager",
    )


def test_beside_the_roles_of_supabase_a_missing_grant_is_named_and_the_rest_works(
    cluster: Cluster,
) -> None:
    cluster.login("manager", "createrole createdb")
    supabase(cluster)
    uri = cluster.uri_of("manager", "app")
    lines: list[str] = []
    assert migrate(uri, log=lines.append).roles == "applied"
    warnings = [line for line in lines if line.startswith("warning: PostgREST")]
    if cluster.major >= 16:  # before, CREATEROLE is enough to grant it
        assert warnings == [
            "warning: PostgREST needs a right that is missing; a DBA runs: "
            "grant anon to authenticator with set true"
        ]
        cluster.run("grant anon to authenticator")
    assert_migrated(cluster, "app", "manager")
    lines.clear()
    assert migrate(uri, log=lines.append).nothing_to_do
    assert not [line for line in lines if line.startswith("warning")]
    # Roles that exist are not changed.
    assert cluster.fetch("select rolconfig from pg_roles where rolname = 'authenticated'") == [
        (["statement_timeout=8s"],)
    ]
    code, findings = doctor(uri)
    assert code == 0
    assert {finding["level"] for finding in findings} == {"warning"}
    whats = {(finding["object"], finding["what"]) for finding in findings}
    assert whats == {
        ("role anon", "has no setting statement_timeout"),
        ("role authenticated", "has no setting enable_seqscan"),
        ("role authenticated", "has no setting max_parallel_workers_per_gather"),
        (
            "role authenticator",
            "is a member of service_role, which bypasses row-level security",
        ),
    }


def test_a_login_whose_default_role_has_createrole_can_migrate(cluster: Cluster) -> None:
    # Temporary logins of a secret store act as a role like this.
    cluster.run("create role dbas createrole", "create database app owner dbas")
    cluster.login("temporary", "in role dbas")
    cluster.run("alter role temporary set role = 'dbas'")
    uri = cluster.uri_of("temporary", "app")
    assert migrate(uri).roles == "applied"
    assert migrate(uri).nothing_to_do
    assert_migrated(cluster, "app", "temporary")
    assert doctor(uri) == (0, [])


def test_the_statements_of_roles_sql_that_the_login_may_not_run_are_warnings_of_psql(
    cluster: Cluster,
) -> None:
    cluster.login("manager", "createrole")
    supabase(cluster)
    warnings: list[str] = []
    with psycopg.connect(cluster.uri_of("manager", "app")) as conn:
        conn.add_notice_handler(lambda diag: warnings.append(str(diag.message_primary)))
        conn.execute((resource_path("sql") / "roles.sql").read_bytes())
    allowed = cluster.major < 16
    statement = "grant anon to authenticator with set true"
    assert warnings == ([] if allowed else [f"this login may not run: {statement}"])


def test_secrets_install_by_a_login_that_may_not_set_the_password_changes_nothing(
    cluster: Cluster, tmp_path: Path
) -> None:
    cluster.login("deployer", "")
    cluster.run("create database app")
    migrate(cluster.superuser("app"))
    cluster.run("grant sessionbase_owner to deployer")
    files.generate(tmp_path / "secrets")
    target = tmp_path / "postgrest"
    target.mkdir()
    done = run_main(
        *("secrets", "install", tmp_path / "secrets", target),
        *("--db-uri", cluster.uri_of("deployer", "app")),
    )
    assert done.returncode == 1
    assert "this login, deployer, may not set the password of authenticator" in done.stderr
    assert "CREATEROLE" in done.stderr
    assert list(target.iterdir()) == []
