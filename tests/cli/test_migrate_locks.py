"""Migrations behind a lock: short tries, the names of the blocking sessions, the runner's lock."""

import copy
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from sessionbase.errors import SessionbaseError
from sessionbase.migrate.locks import (
    LOCK_KEY,
    pauses,
    release_runner_lock,
    take_runner_lock,
)
from sessionbase.migrate.runner import MigrateReport
from sessionbase.stack.scratch import scratch_cluster
from support.command import run_main
from support.concurrency import rolled_back_after, wait_until_blocked_by
from support.delays import require_delay_below
from support.sql_folder import Folder, empty_database, folder, new_database
from support.waiting import wait_for

__all__ = ["empty_database", "folder"]

TABLES = "create schema app;\n" + "".join(
    f"create table app.{name} (id int);\n" for name in ("a", "b", "c", "d")
)
ADD_COLUMN = "alter table app.a add column text text;\n"


@pytest.fixture
def tables(folder: Folder) -> Folder:
    """Return a folder whose first migration, with the tables app.a to app.d, is applied."""
    folder.write("migrations/0001_tables.sql", TABLES)
    folder.migrate()
    return folder


@contextmanager
def session(uri: str, *statements: str, **parameters: str) -> Iterator[psycopg.Connection[Any]]:
    """Yield a session with an open transaction in which the statements ran."""
    with psycopg.connect(make_conninfo(uri, **parameters)) as conn:
        for statement in statements:
            conn.execute(statement.encode())
        yield conn


class Run:
    """A run of the runner in a thread, with its lines of log."""

    def __init__(self, folder: Folder, **options: Any) -> None:
        self.log: list[str] = []
        self._pool = ThreadPoolExecutor(1)
        self.result: Future[MigrateReport] = self._pool.submit(
            lambda: folder.migrate(log=self.log.append, **options)
        )

    def wait_for_line(self, text: str) -> str:
        """Wait until a line of the log contains `text`, and return it."""
        wait_for(
            lambda: any(text in line for line in self.log) or self.result.done(),
            f"the runner has not logged {text!r}",
        )
        found = [line for line in self.log if text in line]
        assert found, f"no line contains {text!r}: {self.log}"
        return found[0]

    def report(self) -> MigrateReport:
        """Wait for the end and return the report."""
        report = self.result.result(timeout=60)
        self._pool.shutdown()
        return report


@contextmanager
def new_login(uri: str, *grants: str) -> Iterator[str]:
    """Yield the connection string of a new login that owns nothing; `grants` end with `to`."""
    name = f"login_{uuid.uuid4().hex}"
    with psycopg.connect(uri, autocommit=True) as conn:
        conn.execute(f"create role {name} login password 'try'".encode())
        for grant in grants:
            conn.execute(f"{grant} {name}".encode())
        yield make_conninfo(uri, user=name, password="try")
        conn.execute(f"drop owned by {name}".encode())
        conn.execute(f"drop role {name}".encode())


def test_a_failed_try_names_the_lock_and_the_session_that_blocks_it(tables: Folder) -> None:
    tables.write("migrations/0002_text.sql", ADD_COLUMN)
    with session(
        tables.uri, "select from app.a /* \x1b[31mred\n   next line */", application_name="report"
    ) as blocker:
        run, pid = Run(tables), blocker.info.backend_pid
        line = run.wait_for_line(f"blocked by pid {pid}")
        blocker.rollback()
        report = run.report()
    for part in (
        "login postgres, application report, idle in transaction, its transaction is open for ",
        "has AccessShareLock, last query: select from app.a /* ?[31mred next line */",
    ):
        assert part in line
    tried = run.wait_for_line("did not get a lock (AccessExclusiveLock on app.a) in 200 ms; next")
    assert tried.startswith("migrations/0002_text.sql: try ")
    assert [m.version for m in report.migrations] == [2]
    (wait,) = report.lock_waits
    assert (wait.file, wait.blockers[0].pid) == ("migrations/0002_text.sql", pid)
    assert wait.failed_tries >= 1


def test_the_statement_in_the_error_ends_the_blocking_session(tables: Folder) -> None:
    tables.write("migrations/0002_text.sql", ADD_COLUMN)
    with session(tables.uri, "select from app.a") as blocker:
        begin = time.monotonic()
        with pytest.raises(SessionbaseError) as refusal:
            tables.migrate(lock_timeout_ms=700)
        assert 0.7 <= time.monotonic() - begin < 10
        statement = f"select pg_terminate_backend({blocker.info.backend_pid})"
        assert statement in str(refusal.value.hint)
        assert f"blocked by pid {blocker.info.backend_pid}: " in refusal.value.message
        assert "--lock-timeout" in str(refusal.value.hint)
        tables.execute("reset role", statement)
        assert [m.version for m in tables.migrate().migrations] == [2]
        blocker.close()


def test_the_report_as_json_has_the_failed_tries_and_the_blockers_of_each_file(
    tables: Folder,
) -> None:
    tables.write("migrations/0002_text.sql", ADD_COLUMN)
    with (
        session(tables.uri, "select from app.a", application_name="report") as blocker,
        rolled_back_after(tables.uri, blocker, 0.5),
    ):
        done = run_main("migrate", "--json", "--db-uri", tables.uri, "--sql-dir", tables.path)
    assert done.returncode == 0, done.stderr
    (wait,) = json.loads(done.stdout)["lock_waits"]
    assert wait["file"] == "migrations/0002_text.sql"
    assert wait["failed_tries"] >= 1
    assert wait["blockers"][0]["application"] == "report"
    assert "application report" in done.stderr


def test_a_try_without_end_is_refused(tables: Folder) -> None:
    done = run_main("migrate", "--lock-try", "0s", "--db-uri", tables.uri)
    assert done.returncode == 2
    assert "--lock-timeout 0s" in done.stderr


def test_a_slow_statement_is_not_a_lock_problem(tables: Folder) -> None:
    tables.write("migrations/0002_slow.sql", ADD_COLUMN + "select pg_sleep(0.8);\n")
    report = tables.migrate()
    assert report.lock_waits == []
    assert report.migrations[0].duration_ms is not None
    assert report.migrations[0].duration_ms >= 800


def longest_delay(uri: str, query: str, done: Callable[[], bool]) -> float:
    """Return the longest time in seconds that `query` took, repeated until `done()`."""
    longest = 0.0
    with psycopg.connect(uri, autocommit=True) as conn:
        while not done():
            begin = time.monotonic()
            conn.execute(query.encode())
            longest = max(longest, time.monotonic() - begin)
            time.sleep(0.005)
    return longest


def delays_of_a_file_with_two_tables(folder: Folder, lock_try_ms: int) -> tuple[float, float]:
    """Change app.a and app.b; another session holds a lock on app.b for 2 s.

    Returns the longest delay of a client of app.a, and of one of app.c.
    """
    number = len(list((folder.path / "migrations").iterdir())) + 1
    name = f"migrations/{number:04}_two.sql"
    folder.write(
        name,
        f"alter table app.a add column text_{number} text;\n"
        f"alter table app.b add column text_{number} text;\n",
    )
    with (
        session(folder.uri, "select from app.b") as blocker,
        rolled_back_after(folder.uri, blocker, 2),
        ThreadPoolExecutor(1) as pool,
    ):
        run = Run(folder, lock_try_ms=lock_try_ms)
        control = pool.submit(longest_delay, folder.uri, "select from app.c", run.result.done)
        delay = longest_delay(folder.uri, "select from app.a", run.result.done)
        assert run.report().lock_waits[0].file == name
        return delay, control.result()


def test_a_file_that_has_one_lock_and_waits_for_another_blocks_no_client_longer_than_a_try(
    tables: Folder,
) -> None:
    require_delay_below(0.5, lambda: delays_of_a_file_with_two_tables(tables, 200))


def test_the_measurement_of_delays_finds_a_long_try(tables: Folder) -> None:
    with pytest.raises(AssertionError, match="the longest delay was"):
        require_delay_below(0.5, lambda: delays_of_a_file_with_two_tables(tables, 1500))


def test_several_waits_of_one_try_are_together_not_longer_than_a_try(tables: Folder) -> None:
    names = ("a", "b", "c", "d")
    tables.write(
        "migrations/0002_all.sql",
        "".join(f"alter table app.{name} add column text text;\n" for name in names),
    )
    holders = [psycopg.connect(tables.uri) for _ in names]
    for holder, name in zip(holders, names, strict=True):
        holder.execute(f"select from app.{name}".encode())
    with psycopg.connect(tables.uri, autocommit=True) as db:
        run = Run(tables, lock_try_ms=1000)
        for holder in holders:
            # Each wait is shorter than a try, so lock_timeout ends none of them.
            wait_until_blocked_by(db, holder)
            time.sleep(0.5)
            holder.close()
        report = run.report()
    assert [m.version for m in report.migrations] == [2]
    assert "together 1000 ms" in run.wait_for_line("0002_all.sql: try 1")


def test_pauses_grow_to_the_limit_and_are_random() -> None:
    some = [next(item) for item in [pauses(2.0)] for _ in range(12)]
    assert all(0 < pause <= 2 for pause in some)
    assert some[0] <= 0.2 < 1 <= min(some[5:])
    assert len(set(some)) == len(some), "the pauses have no random part"


TWO_TABLES = """
lock table app.a in access exclusive mode;
select pg_sleep(0.4);
alter table app.b add column text text;
"""


@pytest.mark.parametrize("superuser", [True, False])
def test_in_a_deadlock_the_migration_is_cancelled_and_tried_again_and_the_client_goes_on(
    tables: Folder, superuser: bool
) -> None:
    tables.write("migrations/0002_two.sql", TWO_TABLES)
    database = conninfo_to_dict(tables.uri)["dbname"]
    with (
        new_login(
            tables.uri,
            "grant sessionbase_owner to",
            f"grant create on database {database} to",
        ) as login,
        session(tables.uri, "select from app.b") as client,
    ):
        runner = copy.copy(tables)
        runner.uri = tables.uri if superuser else login
        run = Run(runner)
        wait_for(
            lambda: tables.fetch(
                "select from pg_locks where relation = 'app.a'::regclass"
                " and mode = 'AccessExclusiveLock' and granted"
            ),
            "the migration has not locked app.a",
        )
        # The client waits for the migration, which then waits for the client.
        client.execute("select from app.a")
        client.commit()
        report = run.report()
    assert [m.version for m in report.migrations] == [2]
    line = run.wait_for_line("0002_two.sql: try 1")
    if superuser:
        assert "was cancelled because of a deadlock" in line
    else:
        assert "did not get a lock" in line


def test_a_deadlock_timeout_that_is_shorter_than_a_try_is_reported(tables: Folder) -> None:
    database = conninfo_to_dict(tables.uri)["dbname"]
    tables.execute("reset role", f"alter database {database} set deadlock_timeout = '100ms'")
    lines: list[str] = []
    tables.migrate(log=lines.append)
    assert not [line for line in lines if "deadlock_timeout" in line], "the superuser may set it"
    with new_login(tables.uri, "grant sessionbase_owner to") as login:
        tables.uri = login
        tables.migrate(log=lines.append)
    (line,) = [line for line in lines if "deadlock_timeout" in line]
    assert "deadlock_timeout is 100 ms, not longer than a try (200 ms)" in line


def test_a_login_that_may_not_see_queries_gets_the_pid_and_the_reason(tables: Folder) -> None:
    tables.write("migrations/0002_text.sql", ADD_COLUMN)
    with (
        new_login(tables.uri, "grant sessionbase_owner to") as login,
        session(tables.uri, "select from app.a", application_name="report") as blocker,
    ):
        tables.uri = login
        run = Run(tables)
        line = run.wait_for_line(f"blocked by pid {blocker.info.backend_pid}")
        blocker.rollback()
        run.report()
    assert "login postgres, application report, has AccessShareLock" in line
    assert "hidden, because this login is not a member of pg_read_all_stats" in line


def test_without_a_second_connection_the_tries_go_on_and_the_line_has_the_reason(
    tables: Folder,
) -> None:
    tables.write("migrations/0002_text.sql", ADD_COLUMN)
    with (
        new_login(tables.uri, "grant sessionbase_owner to") as login,
        session(tables.uri, "select from app.a") as blocker,
    ):
        name = conninfo_to_dict(login)["user"]
        tables.execute("reset role", f"alter role {name} connection limit 1")
        tables.uri = login
        run = Run(tables)
        line = run.wait_for_line("did not get a lock")
        blocker.rollback()
        assert [m.version for m in run.report().migrations] == [2]
    assert "the blocking session was not seen: no connection to the database" in line
    assert "too many connections for role" in line


def test_a_blocker_that_waits_itself_is_shown_with_the_session_it_waits_for(
    tables: Folder,
) -> None:
    tables.write("migrations/0002_text.sql", ADD_COLUMN)
    with (
        session(tables.uri, "insert into app.b values (1)", "lock table app.b") as root,
        session(tables.uri, "select from app.a") as middle,
        ThreadPoolExecutor(1) as pool,
        psycopg.connect(tables.uri, autocommit=True) as db,
    ):
        root_pid = root.info.backend_pid
        waiting = pool.submit(lambda: middle.execute("select from app.b"))
        wait_until_blocked_by(db, root)
        run = Run(tables)
        line = run.wait_for_line(f"blocked by pid {middle.info.backend_pid}")
        root.rollback()
        waiting.result()
        middle.rollback()
        run.report()
    assert f"it waits itself for pid {root_pid}" in line
    assert "query: select from app.b" in line


# The runner's own lock.


@contextmanager
def runner_of_old(uri: str) -> Iterator[threading.Thread]:
    """Wait for the lock of the runner as version 0.1.0 did, in a thread."""

    def wait() -> None:
        with psycopg.connect(uri, autocommit=True) as conn:
            conn.execute("select pg_advisory_lock(%s)", (LOCK_KEY,))

    thread = threading.Thread(target=wait)
    thread.start()
    yield thread
    thread.join()


CREATE_INDEX = "create index concurrently on app.a (id)"


def test_waiting_in_pg_advisory_lock_is_a_deadlock_with_create_index_concurrently(
    tables: Folder,
) -> None:
    """The reason why the lock is polled; the next test has the same index with the poll."""
    with psycopg.connect(tables.uri, autocommit=True) as holder:
        holder.execute("select pg_advisory_lock(%s)", (LOCK_KEY,))
        holder.execute("set deadlock_timeout = '100ms'")
        with psycopg.connect(tables.uri, autocommit=True) as db, runner_of_old(tables.uri):
            wait_until_blocked_by(db, holder)
            with pytest.raises(psycopg.errors.DeadlockDetected):
                holder.execute(CREATE_INDEX.encode())
            holder.execute("select pg_advisory_unlock(%s)", (LOCK_KEY,))


@pytest.mark.parametrize("backup", [False, True])
def test_a_waiting_runner_or_backup_does_not_block_create_index_concurrently(
    tables: Folder, backup: bool
) -> None:
    lines: list[str] = []
    with (
        psycopg.connect(tables.uri, autocommit=True) as holder,
        # A backup has a connection that is not in autocommit mode.
        psycopg.connect(tables.uri, autocommit=not backup) as waiter,
        ThreadPoolExecutor(1) as pool,
    ):
        take_runner_lock(holder, lines.append)
        assert lines == []
        waiting = pool.submit(lambda: take_runner_lock(waiter, lines.append, shared=backup))
        wait_for(lambda: lines, "the second runner has not waited")
        holder.execute("set statement_timeout = '30s'")
        for _ in range(20):
            holder.execute(CREATE_INDEX.encode())
        assert not waiting.done()
        release_runner_lock(holder)
        waiting.result(timeout=30)
        release_runner_lock(waiter, shared=backup)


def test_the_waiting_runner_names_the_other_one_and_ends_at_its_limit(tables: Folder) -> None:
    with session(tables.uri, application_name="sessionbase/other") as other:
        other.execute("select pg_advisory_lock(%s)", (LOCK_KEY,))
        other.commit()
        lines: list[str] = []
        begin = time.monotonic()
        with pytest.raises(SessionbaseError) as refusal:
            tables.migrate(log=lines.append, runner_timeout_ms=500)
        assert 0.5 <= time.monotonic() - begin < 10
        name = (
            f"pid {other.info.backend_pid}, login postgres, application sessionbase/other, "
            "connected since 20"
        )
        assert f"another runner is working in this database: {name}" in refusal.value.message
        assert [line for line in lines if name in line], lines
        assert "--runner-timeout" in str(refusal.value.hint)
        run = Run(tables)
        run.wait_for_line(name)
        other.execute("select pg_advisory_unlock(%s)", (LOCK_KEY,))
        assert run.report().nothing_to_do


# What needs settings of the whole server.


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Yield the superuser's URI of a server with prepared transactions and an eager autovacuum."""
    with scratch_cluster({"max_prepared_transactions": "5", "autovacuum_naptime": "1s"}) as uri:
        yield uri


@pytest.fixture
def own_tables(server: str, tmp_path: Path) -> Iterator[Folder]:
    """Yield a folder as `tables` does, with a database of that server."""
    with new_database(server) as uri:
        found = Folder(tmp_path / "own", uri)
        found.write("migrations/0001_tables.sql", TABLES)
        found.migrate()
        yield found


@pytest.mark.parametrize("block", ["select from app.a", "insert into app.a values (1)"])
def test_a_prepared_transaction_is_named_and_can_be_ended(own_tables: Folder, block: str) -> None:
    own_tables.write("migrations/0002_text.sql", ADD_COLUMN)
    with session(own_tables.uri, block) as conn:
        conn.execute("prepare transaction 'it''s one'")
    with pytest.raises(SessionbaseError) as refusal:
        own_tables.migrate(lock_timeout_ms=1500)
    assert 'blocked by prepared transaction "it\'s one": login postgres' in refusal.value.message
    statement = "rollback prepared 'it''s one'"
    assert statement in str(refusal.value.hint)
    with psycopg.connect(own_tables.uri, autocommit=True) as conn:
        conn.execute(statement)
    assert [m.version for m in own_tables.migrate().migrations] == [2]


def test_a_change_of_a_role_that_is_not_committed_blocks_roles_sql_only_in_short_tries(
    own_tables: Folder,
) -> None:
    with (own_tables.path / "roles.sql").open("a") as roles:
        roles.write("comment on role anon is 'a guest';\n")
    with session(own_tables.uri, "comment on role anon is 'other'") as blocker:
        run = Run(own_tables)
        line = run.wait_for_line("did not get a lock (ShareUpdateExclusiveLock on role anon)")
        assert line.startswith("roles.sql: try ")
        blocker.rollback()
        run.report()


def start_slow_autovacuum(folder: Folder) -> int:
    """Make autovacuum work on app.a for many seconds; return the pid of the worker."""
    folder.execute(
        "alter table app.a set (autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit ="
        " 1, autovacuum_vacuum_threshold = 1, autovacuum_vacuum_scale_factor = 0)",
        "insert into app.a select n from generate_series(1, 100000) n",
    )
    folder.execute("delete from app.a")
    query = (
        "select l.pid from pg_locks l join pg_stat_activity a using (pid)"
        " where l.relation = 'app.a'::regclass and a.backend_type = 'autovacuum worker'"
    )
    wait_for(lambda: folder.fetch(query), "autovacuum has not begun")
    return int(folder.fetch(query)[0][0])


def test_autovacuum_is_cancelled_if_the_login_may_set_deadlock_timeout_and_named_if_not(
    own_tables: Folder,
) -> None:
    own_tables.write("migrations/0002_text.sql", ADD_COLUMN)
    worker = start_slow_autovacuum(own_tables)
    as_superuser = own_tables.uri
    with new_login(as_superuser, "grant sessionbase_owner to", "grant pg_read_all_stats to") as uri:
        own_tables.uri = uri
        with pytest.raises(SessionbaseError) as refusal:
            own_tables.migrate(lock_timeout_ms=1500)
        assert f"blocked by pid {worker}: autovacuum worker" in refusal.value.message
        assert "deadlock_timeout" in str(refusal.value.hint)
        with psycopg.connect(as_superuser, autocommit=True) as conn:
            login = sql.Identifier(str(conninfo_to_dict(uri)["user"]))
            grant = "grant set on parameter deadlock_timeout to {}"
            conn.execute(sql.SQL(grant).format(login))
        assert [m.version for m in own_tables.migrate(lock_timeout_ms=10_000).migrations] == [2]
