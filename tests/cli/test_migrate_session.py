"""The session of the runner: what a file or another user of the database could change in it."""

import shutil
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from sessionbase.errors import SessionbaseError
from sessionbase.migrate.locks import LOCK_KEY
from sessionbase.migrate.runner import migrate, status
from sessionbase.paths import resource_path
from support.concurrency import rolled_back_after
from support.sql_folder import (
    Folder,
    empty_database,
    folder,
    migrated_database,
    template_database,
)

__all__ = ["empty_database", "folder", "migrated_database", "template_database"]


@pytest.fixture
def tables(folder: Folder) -> Folder:
    """Return a folder whose first migration, with the table app.a, is applied."""
    folder.write("migrations/0001_tables.sql", "create schema app; create table app.a (id int);")
    folder.migrate()
    return folder


@pytest.fixture
def trap(tables: Folder) -> None:
    """Add an operator in schema public that fits a query better than PostgreSQL's own.

    Any user could create it where PUBLIC may create in that schema, as before PostgreSQL 15.
    """
    with psycopg.connect(tables.uri, autocommit=True) as conn:
        conn.execute(
            "create function public.same(oid, regnamespace) returns boolean language plpgsql as"
            " $$ begin raise exception 'ran as %', current_user; end $$"
        )
        conn.execute(
            "create operator public.= (leftarg = oid, rightarg = regnamespace,"
            " function = public.same)"
        )


@pytest.mark.usefixtures("trap")
def test_no_operator_of_schema_public_is_called_with_the_rights_of_the_runner(
    tables: Folder,
) -> None:
    with psycopg.connect(tables.uri) as conn, pytest.raises(psycopg.errors.RaiseException):
        # The trap works in a session with the search_path of the login.
        conn.execute("select from pg_class where relnamespace = to_regnamespace('app')")
    assert status(tables.uri, tables.path).pending == []
    tables.write("migrations/0002_b.sql", "create table app.b (id int);")
    tables.migrate()


def test_a_file_with_a_lock_timeout_of_its_own_does_not_block_clients_longer(
    tables: Folder,
) -> None:
    tables.write(
        "migrations/0002_text.sql",
        "set lock_timeout = 0;\nalter table app.a add column text text;",
    )
    log: list[str] = []
    with psycopg.connect(tables.uri) as blocker:
        blocker.execute("select from app.a")
        with rolled_back_after(tables.uri, blocker, 1.5):
            (wait,) = tables.migrate(log=log.append).lock_waits
    assert wait.failed_tries >= 2, log
    assert any("did not get a lock (AccessExclusiveLock on app.a) in 200 ms" in it for it in log)


@pytest.mark.parametrize("change", ["reset role", "set role postgres"])
def test_a_file_that_changes_the_role_in_a_block_is_rolled_back(
    tables: Folder, change: str
) -> None:
    tables.write(
        "migrations/0002_b.sql",
        f"do $$ begin execute '{change}'; end $$;\ncreate table app.b (id int);",
    )
    with pytest.raises(SessionbaseError, match=r"0002_b\.sql changed the role to postgres"):
        tables.migrate()
    assert tables.fetch("select to_regclass('app.b')") == [(None,)]


def test_a_file_that_releases_the_lock_of_the_runner_is_rolled_back(tables: Folder) -> None:
    tables.write(
        "migrations/0002_b.sql",
        "create table app.b (id int);\nselect pg_catalog.pg_advisory_unlock_all();",
    )
    with pytest.raises(SessionbaseError, match="released the lock that keeps other runners out"):
        tables.migrate()
    assert tables.fetch("select to_regclass('app.b')") == [(None,)]


def test_settings_and_a_role_of_one_file_do_not_apply_to_the_next(tables: Folder) -> None:
    tables.write(
        "migrations/0002_set.sql",
        "set session_replication_role = replica;\nset datestyle = 'german';",
    )
    tables.write(
        "migrations/0003_seen.sql",
        "create table app.seen as select current_user::text as role,"
        " pg_catalog.current_setting('session_replication_role') as replication,"
        " pg_catalog.current_setting('datestyle') as style,"
        " (select count(*) from pg_catalog.pg_locks where locktype = 'advisory'"
        f"  and pid = pg_catalog.pg_backend_pid() and objid::bigint = {LOCK_KEY & 0xFFFFFFFF})"
        "  as locks;",
    )
    # Without a grant, only a superuser may set session_replication_role.
    with psycopg.connect(tables.uri, autocommit=True) as conn:
        conn.execute("grant set on parameter session_replication_role to sessionbase_owner")
    log: list[str] = []
    try:
        tables.migrate(log=log.append)
    finally:
        with psycopg.connect(tables.uri, autocommit=True) as conn:
            conn.execute("revoke set on parameter session_replication_role from sessionbase_owner")
    ((role, replication, style, locks),) = tables.fetch("select * from app.seen")
    assert (role, replication, locks) == ("sessionbase_owner", "origin", 1)
    assert not style.startswith("German")
    assert any("0002_set.sql changed settings of the session" in line for line in log), log


@pytest.mark.parametrize(
    "setting", ["transaction_timeout", "idle_in_transaction_session_timeout", "statement_timeout"]
)
def test_a_time_limit_of_the_database_does_not_end_a_migration(
    tables: Folder, setting: str
) -> None:
    with psycopg.connect(tables.uri, autocommit=True) as conn:
        known = conn.execute("select from pg_settings where name = %s", (setting,)).fetchone()
        if known is None:
            pytest.skip(f"this server has no {setting}")
        conn.execute(
            sql.SQL("alter database {} set {} = '400ms'").format(
                sql.Identifier(conn.info.dbname), sql.Identifier(setting)
            )
        )
    tables.write("migrations/0002_sleep.sql", "select pg_catalog.pg_sleep(0.6);")
    assert [m.version for m in tables.migrate().migrations] == [2]


def test_a_file_with_the_settings_that_pg_dump_writes_passes_the_role_probes(
    migrated_database: str, tmp_path: Path
) -> None:
    shutil.copytree(resource_path("sql"), tmp_path / "sql")
    (tmp_path / "sql/migrations/0010_dump.sql").write_text(
        "SET row_security = off;\nSET lock_timeout = 0;\nSET check_function_bodies = false;\n"
        "comment on table app.todos is 'The tasks of a profile.';\n"
    )
    report = migrate(migrated_database, tmp_path / "sql")
    assert [m.version for m in report.migrations] == [10]
