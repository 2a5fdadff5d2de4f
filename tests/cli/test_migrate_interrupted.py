"""A run of the migration runner that ends early: by a signal, by kill -9, or at any statement.

With SESSIONBASE_LONG_TESTS=1 the run is killed at each of its statements, and not only at some.
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import subprocess
import sys
import termios
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psutil
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from sessionbase.database import connect
from sessionbase.migrate.dump import dump_schema
from sessionbase.migrate.interrupt import with_timeouts
from sessionbase.migrate.locks import LOCK_KEY
from sessionbase.migrate.privileges import ROLES
from sessionbase.migrate.runner import migrate
from sessionbase.paths import PROJECT_DIR
from sessionbase.stack.scratch import scratch_cluster
from support.command import run_main
from support.runner import FIRST, backends, start_migrate, wait_for_query
from support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.sql_folder import Folder

pytest_plugins = ["support.sql_folder"]

LONG = os.environ.get("SESSIONBASE_LONG_TESTS") == "1"
SLEEP = "create table app.more (id int);\nselect pg_catalog.pg_sleep(60);\n"
ALTER = "alter table app.notes add column more int;\n"
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


@pytest.fixture
def notes(folder: Folder) -> Folder:
    """Return a folder with a first migration, which is not applied yet."""
    folder.write("migrations/0001_notes.sql", FIRST)
    return folder


def lock_is_free(folder: Folder) -> bool:
    with psycopg.connect(folder.uri) as conn:
        return conn.execute("select pg_try_advisory_lock(%s)", (LOCK_KEY,)).fetchone() == (True,)


@pytest.mark.parametrize("number", CODES)
def test_a_signal_rolls_the_file_back_and_says_what_stays(
    notes: Folder, number: signal.Signals
) -> None:
    notes.write("migrations/0002_slow.sql", SLEEP)
    notes.write("migrations/0003_other.sql", "create table app.other (id int);\n")
    with start_migrate(notes) as process:
        wait_for_query(notes, process, "pg_sleep")
        sent = time.monotonic()
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    assert time.monotonic() - sent < 10  # the statement itself takes 60 s
    assert (process.returncode, out) == (CODES[number], "")
    assert err.splitlines()[-1] == (
        f"ended by {number.name}; rolled back: migrations/0002_slow.sql; applied by this run, and "
        "stays: migrations/0001_notes.sql (it is safe to run it again)"
    )
    assert (backends(notes, process.pid), lock_is_free(notes)) == ([], True)
    assert notes.versions() == [1]
    assert notes.fetch("select to_regclass('app.more')") == [(None,)]
    notes.write("migrations/0002_slow.sql", SLEEP.replace("60", "0"))
    assert [m.version for m in notes.migrate().migrations] == [2, 3]


@pytest.mark.parametrize("what", ["a migration", "the files of api/"])
def test_a_signal_during_a_wait_for_a_lock_ends_the_wait(notes: Folder, what: str) -> None:
    view = "create or replace view api.notes as select id from app.notes;\n"
    notes.write("api/notes.sql", view)
    notes.migrate()
    if what == "a migration":
        notes.write("migrations/0002_alter.sql", ALTER)
    else:
        notes.write("api/notes.sql", view.replace("id", "id, body"))
    before = dump_schema(notes.uri)
    with psycopg.connect(notes.uri) as blocker, start_migrate(notes) as process:
        blocker.execute("lock table app.notes, api.notes in access share mode")
        wait_for_query(notes, process, "alter")
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=30)
        assert (process.returncode, backends(notes, process.pid)) == (143, [])
        assert "applied by this run, and stays: no migration (it is safe" in err.splitlines()[-1]
    assert dump_schema(notes.uri) == before
    assert lock_is_free(notes)
    notes.migrate()


def test_a_signal_ends_the_wait_for_another_runner(notes: Folder) -> None:
    with psycopg.connect(notes.uri) as other:
        other.execute("select pg_advisory_lock(%s)", (LOCK_KEY,))
        with start_migrate(notes) as process:
            wait_for(lambda: backends(notes, process.pid), "it has not connected")
            time.sleep(0.3)
            process.send_signal(signal.SIGTERM)
            _, err = process.communicate(timeout=30)
    assert process.returncode == 143, err
    assert err.splitlines()[-1].startswith("ended by SIGTERM; applied by this run, and stays: no")
    assert notes.fetch("select to_regnamespace('ops')") == [(None,)]


def test_a_signal_during_a_migration_without_a_transaction_says_that_it_is_continued(
    notes: Folder,
) -> None:
    notes.migrate()
    notes.write(
        "migrations/0002_index.sql",
        "-- sessionbase: no-transaction\n"
        "create index concurrently notes_by_id on app.notes (id);\n",
    )
    with psycopg.connect(notes.uri) as writer, start_migrate(notes) as process:
        writer.execute("insert into app.notes values (0, 'open')")
        wait_for_query(notes, process, "concurrently")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert (
        "not finished, and continued by the next run: migrations/0002_index.sql"
        in err.splitlines()[-1]
    )
    notes.migrate()
    assert notes.fetch(
        "select indisvalid from pg_index where indexrelid = 'app.notes_by_id'::regclass"
    ) == [(True,)]


def test_a_second_signal_ends_the_run_at_once(notes: Folder) -> None:
    """The server process is stopped, so that it does not react to the cancel request."""
    notes.write("migrations/0002_slow.sql", SLEEP)
    with start_migrate(notes) as process:
        wait_for_query(notes, process, "pg_sleep")
        server = psutil.Process(backends(notes, process.pid)[0][0])
        server.suspend()
        try:
            process.send_signal(signal.SIGTERM)
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(1)
            process.send_signal(signal.SIGTERM)
            assert process.wait(1) == -signal.SIGTERM
        finally:
            server.resume()
    wait_for(lambda: not backends(notes, process.pid), "the backend stays", 2)
    assert lock_is_free(notes)


def test_under_nohup_a_closed_terminal_does_not_end_the_run(notes: Folder) -> None:
    notes.write("migrations/0002_slow.sql", SLEEP.replace("60", "2"))
    with start_migrate(notes, prefix=("nohup",)) as process:
        wait_for_query(notes, process, "pg_sleep")
        process.send_signal(signal.SIGHUP)
        assert process.wait(30) == 0


def test_a_closed_terminal_ends_the_run(notes: Folder) -> None:
    notes.write("migrations/0002_slow.sql", SLEEP)
    keyboard, terminal = pty.openpty()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "sessionbase", "migrate"),
            *("--db-uri", notes.uri, "--sql-dir", str(notes.path)),
        ],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509
    )
    os.close(terminal)
    try:
        wait_for_query(notes, process, "pg_sleep")  # type: ignore[arg-type]
    finally:
        os.close(keyboard)
    assert process.wait(30) == 129
    assert (backends(notes, process.pid), lock_is_free(notes)) == ([], True)
    assert notes.versions() == [1]


def test_process_1_of_a_container_ends_on_sigterm(notes: Folder) -> None:
    """The kernel ignores a signal for process 1, unless the process handles it."""
    # As another user than root, it must become root in a namespace of users first.
    user = () if os.geteuid() == 0 else ("--map-root-user",)
    prefix = ("unshare", *user, "--pid", "--fork", "--kill-child")
    if subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this user can't make a namespace of processes (unshare)")
    notes.write("migrations/0002_slow.sql", SLEEP)
    with start_migrate(notes, prefix=prefix) as process:
        wait_for_query(notes, process, "pg_sleep", pid=1)
        (first,) = psutil.Process(process.pid).children()
        first.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 143, err
    assert "rolled back: migrations/0002_slow.sql" in err.splitlines()[-1]
    assert (backends(notes, 1), lock_is_free(notes)) == ([], True)


@pytest.mark.parametrize("waits_for", ["the end of a long statement", "a lock"])
def test_after_kill_9_the_backend_ends_within_2_seconds(notes: Folder, waits_for: str) -> None:
    notes.migrate()
    notes.write("migrations/0002_next.sql", ALTER if waits_for == "a lock" else SLEEP)
    with psycopg.connect(notes.uri) as blocker, start_migrate(notes, "--lock-timeout", "1min") as p:
        if waits_for == "a lock":
            blocker.execute("lock table app.notes in access share mode")
        wait_for_query(notes, p, "alter" if waits_for == "a lock" else "pg_sleep")
        p.kill()
        wait_for(lambda: not backends(notes, p.pid), "the backend stays", 2)
        assert lock_is_free(notes)
    assert notes.versions() == [1]


def test_only_the_session_of_a_migration_has_the_settings_for_a_lost_client(
    notes: Folder,
) -> None:
    notes.write(
        "migrations/0002_settings.sql",
        "create table app.settings as select name, setting from pg_catalog.pg_settings\n"
        " where name in ('client_connection_check_interval', 'tcp_keepalives_idle');\n",
    )
    notes.migrate()
    assert notes.fetch("select * from app.settings order by name")[0] == (
        "client_connection_check_interval",
        "1000",
    )
    with connect(notes.uri) as conn:
        row = conn.execute("show client_connection_check_interval").fetchone()
    assert row == ("0",)


def test_the_connection_string_gets_timeouts_that_it_does_not_have() -> None:
    given = conninfo_to_dict(with_timeouts("postgresql://dba@db.example/app?keepalives_idle=60"))
    assert (given["host"], given["user"], given["dbname"]) == ("db.example", "dba", "app")
    assert (given["keepalives_idle"], given["tcp_user_timeout"]) == ("60", "15000")
    assert with_timeouts("no-uri") == "no-uri"


def test_up_that_is_ended_during_its_migrations_says_so(data_dir: Path) -> None:
    from conftest import Stack, bring_up  # noqa: PLC0415 - pytest loads it first

    bring_up(data_dir)
    with psycopg.connect(Stack.of(data_dir).db_uri, autocommit=True) as other:
        other.execute("select pg_advisory_lock(%s)", (LOCK_KEY,))
        process = subprocess.Popen(
            [sys.executable, "-m", "sessionbase", "up", "--data-dir", str(data_dir)],
            stderr=subprocess.PIPE,
            text=True,
        )
        name = f"sessionbase/{process.pid}"
        wait_for(
            lambda: other.execute(
                "select 1 from pg_stat_activity where application_name = %s", (name,)
            ).fetchone(),
            "up has not connected",
        )
        time.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 143, err
    assert "ended by SIGTERM; applied by this run, and stays: no migration" in err.splitlines()[-1]


def test_the_handlers_of_the_caller_are_restored_after_a_command() -> None:
    before = [signal.getsignal(number) for number in CODES]
    assert run_main("--version").returncode == 0
    assert [signal.getsignal(number) for number in CODES] == before


@contextmanager
def killed_runner() -> Iterator[Any]:
    """Start support/killed.py; yield the function that runs and kills one child."""
    folders = [PROJECT_DIR / "scripts", PROJECT_DIR / "tests"]
    with subprocess.Popen(
        [sys.executable, "-m", "support.killed"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, folders))},
    ) as process:
        assert process.stdin
        assert process.stdout

        def run(uri: str, at: int, how: str, sql_dir: Path | None) -> dict[str, Any]:
            order = {"uri": uri, "at": at, "how": how, "sql_dir": sql_dir and str(sql_dir)}
            print(json.dumps(order), file=process.stdin, flush=True)
            line = process.stdout.readline()  # type: ignore[union-attr]
            return dict(json.loads(line))

        try:
            yield run
        finally:
            process.stdin.close()


def end_state(uri: str, *, with_doctor: bool) -> dict[str, Any]:
    """Return the schema, the ledger without times, the roles, and the findings of doctor."""
    with psycopg.connect(uri) as conn:
        ledger = {
            table: conn.execute(
                "select (to_jsonb(t) - '{applied_at,duration_ms,started_at}'::text[])::text"
                f" from ops.{table} t order by 1".encode()
            ).fetchall()
            for table in ("migrations", "repeatable_files", "unfinished_migrations")
        }
        roles = conn.execute(
            "select (to_jsonb(r) - 'oid')::text, array(select roleid::regrole::text"
            " from pg_auth_members m where m.member = r.oid order by 1)"
            " from pg_roles r where rolname = any(%s) order by 1",
            (list(ROLES),),
        ).fetchall()
        invalid = conn.execute("select count(*) from pg_index where not indisvalid").fetchall()
    state = {"schema": dump_schema(uri), "roles": roles, "invalid": invalid, **ledger}
    if with_doctor:
        found = run_main("doctor", "--json", "--db-uri", uri)
        assert found.returncode in {0, 1}, found.stderr
        state["doctor"] = json.loads(found.stdout)
    return state


class KillCases:
    """Databases in a cluster without our roles, in which a run is killed and run again."""

    def __init__(self, uri: str, run: Any, sql_dir: Path | None) -> None:
        self.uri, self.run, self.sql_dir = uri, run, sql_dir
        with psycopg.connect(uri) as conn:
            found = conn.execute("select from pg_roles where rolname = any(%s)", (list(ROLES),))
            assert found.fetchall() == []
        with self.database() as uri:
            found = run(uri, 0, "before", sql_dir)
            assert found["code"] == 0, found
            self.count, self.commits = int(found["count"]), list(found["commits"])
            self.expected = end_state(uri, with_doctor=True)

    @contextmanager
    def database(self) -> Iterator[str]:
        """Yield the URI of an empty database; drop it at the end, and the roles."""
        with psycopg.connect(self.uri, autocommit=True) as admin:
            admin.execute("create database killed template template0")
            try:
                yield make_conninfo(self.uri, dbname="killed")
            finally:
                admin.execute("drop database killed with (force)")
                for role in reversed(ROLES):
                    admin.execute(sql.SQL("drop role if exists {}").format(sql.Identifier(role)))

    def check(self, at: int, how: str, *, with_doctor: bool = True) -> None:
        """Kill a run at a point, run again, and compare the result with an uninterrupted run."""
        with self.database() as uri:
            assert self.run(uri, at, how, self.sql_dir) == {"code": -signal.SIGKILL}
            migrate(uri, self.sql_dir)
            found = end_state(uri, with_doctor=with_doctor)
        for name, value in found.items():
            assert value == self.expected[name], (
                f"killed at point {at} ({how} the message) and run again: {name} differs from an "
                "uninterrupted run"
            )


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """Yield the superuser's connection string of a cluster that has none of our roles."""
    with scratch_cluster() as uri:
        with psycopg.connect(uri, autocommit=True) as admin:
            # The tests kill clients; no test is about a crash of the machine.
            for setting in ("fsync = off", "synchronous_commit = off", "full_page_writes = off"):
                admin.execute(f"alter system set {setting}".encode())
            admin.execute("select pg_reload_conf()")
        yield uri


def test_a_run_that_is_killed_at_a_commit_and_run_again_has_the_same_result(
    cluster: str,
) -> None:
    """At some commits of a run of the shipped files, and at a statement between them.

    With SESSIONBASE_LONG_TESTS=1 at each commit.
    """
    with killed_runner() as run:
        cases = KillCases(cluster, run, None)
        for at in cases.commits if LONG else cases.commits[::6]:
            cases.check(at, "sent", with_doctor=at == cases.commits[0])
        cases.check(cases.count // 2, "before", with_doctor=False)


@pytest.mark.skipif(not LONG, reason="takes an hour: SESSIONBASE_LONG_TESTS=1 runs it")
def test_a_run_that_is_killed_at_any_statement_and_run_again_has_the_same_result(
    cluster: str,
) -> None:
    with killed_runner() as run:
        cases = KillCases(cluster, run, None)
        for at in range(1, cases.count + 1):
            cases.check(at, "before", with_doctor=at % 20 == 0)


def test_a_small_folder_has_the_same_result_after_a_kill_at_each_of_its_statements(
    cluster: str, folder: Folder
) -> None:
    """Its files change what is there, and one runs without a transaction.

    The second migration drops a view of api, which the unchanged file of api/ creates again.
    """
    folder.write("migrations/0001_notes.sql", FIRST)
    folder.write(
        "app/10_key.sql",
        (
            "create or replace function app.key(body text) returns text language sql immutable\n"
            "set search_path = '' return pg_catalog.lower(body);\n"
        ),
    )
    folder.write("api/notes.sql", "create or replace view api.notes as select id from app.notes;\n")
    folder.write(
        "migrations/0002_index.sql",
        "-- sessionbase: no-transaction\n"
        "create unique index concurrently notes_by_key on app.notes (id, app.key(body));\n",
    )
    folder.write("migrations/0003_view.sql", "drop view if exists api.notes;\n" + ALTER)
    with killed_runner() as run:
        cases = KillCases(cluster, run, folder.path)
        points = range(1, cases.count + 1)
        for at in points if LONG else points[20::20]:
            cases.check(at, "before", with_doctor=False)
        for at in points if LONG else cases.commits[2:]:
            cases.check(at, "sent", with_doctor=False)
