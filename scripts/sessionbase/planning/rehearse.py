"""Run the pending files on a copy of the target, and report what really happened."""

import threading
import time
from collections.abc import Callable, Collection
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from sessionbase.console import CountProgress, Log
from sessionbase.database import connect
from sessionbase.errors import SessionbaseError
from sessionbase.migrate.checks import RepeatableFiles, check_migration
from sessionbase.migrate.database import refuse_objects_of_others
from sessionbase.migrate.execute import apply_session_settings, run_statements
from sessionbase.migrate.files import Migration, SqlFile, SqlFolder, Statement
from sessionbase.migrate.ledger import OWNER
from sessionbase.migrate.locks import take_runner_lock
from sessionbase.migrate.no_transaction import refuse_edited, run_without_transaction
from sessionbase.migrate.repeatable import apply_repeatable
from sessionbase.migrate.runner import Work, apply_migration, create_functions
from sessionbase.migrate.session import create_ledger
from sessionbase.migrate.verify import CheckFailed, Verification, require_check_names
from sessionbase.planning.clone import Clone, clone
from sessionbase.planning.locks import LOCKS, Lock, from_pg_locks
from sessionbase.planning.plan import MigrationPlan, StatementPlan, read_work
from sessionbase.planning.security import Change, Facts, changes, read_facts

Connection = psycopg.Connection[Any]

# relfilenode changes when a relation gets a new file: when it is rewritten or emptied.
_RELATIONS = """
select c.oid, n.nspname || '.' || c.relname, c.relkind::text, c.relfilenode,
       coalesce(i.indrelid, 0)
  from pg_catalog.pg_class c
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  left join pg_catalog.pg_index i on i.indexrelid = c.oid
 where c.relkind in ('r', 'p', 'v', 'm', 'f', 'i', 'I', 'S')
   and n.nspname !~ '^(pg_|information_schema$)'
"""

_LOCKS = """
select relation, mode from pg_catalog.pg_locks
 where pid = %s and locktype = 'relation' and relation is not null
   and database = (
     select oid from pg_catalog.pg_database where datname = pg_catalog.current_database()
   )
"""

_WAITING = "select from pg_catalog.pg_locks where pid = %s and not granted"

_SCANS = "select relid, seq_scan from pg_catalog.pg_stat_xact_user_tables where seq_scan > 0"

_POLL_SECONDS = 0.002
_LONGEST_BLOCK_S = 2.0


@dataclass(frozen=True)
class HeldLock:
    """The strongest lock that a statement took on a relation and that was not held before it."""

    relation: str
    lock: str
    new: bool
    """The pending files create the relation: nobody uses it yet."""


@dataclass(frozen=True)
class RehearsedStatement:
    """What a statement did on the copy."""

    line: int
    summary: str
    locks: list[HeldLock]
    rewritten: list[str]
    """Tables and materialized views that got a new file."""
    scanned: list[str]
    """Tables that were read from end to end, as pg_stat_xact_user_tables counts; empty for a
    statement outside a transaction, where nothing shows it."""
    duration_ms: float
    wal_bytes: int
    differences: list[str]
    """What the plan said otherwise."""


@dataclass(frozen=True)
class RehearsedFile:
    """A migration, or the repeatable files."""

    file: str
    statements: list[RehearsedStatement]
    duration_ms: float


@dataclass
class Rehearsal:
    """The result of a rehearsal."""

    source_version: str
    version: str
    sampled: dict[str, int]
    not_included: list[str]
    files: list[RehearsedFile] = field(default_factory=list)
    repeatable: RehearsedStatement | None = None
    changes: list[Change] = field(default_factory=list)
    failure: str | None = None
    """Why a file failed, a statement or the checks before its commit: the migration would too."""

    @property
    def differences(self) -> int:
        """The number of differences to the plan."""
        return sum(len(one.differences) for file in self.files for one in file.statements)


@dataclass(frozen=True)
class _Relation:
    name: str
    kind: str
    file: int
    table: int
    """The oid of the table of an index; 0 for other relations."""


def rehearse(
    db_uri: str,
    sql_dir: Path | None,
    extra: list[Path],
    plan: MigrationPlan,
    *,
    sample: int = 0,
    skip_lints: Collection[str] = (),
    progress: CountProgress | None = None,
    log: Log = lambda _: None,
) -> Rehearsal:
    """Run the pending files on a copy of the target and compare with `plan`.

    `sample` is the number of rows of each table of app that are copied. `skip_lints` has the names
    of checks whose findings do not end the rehearsal. A statement that fails, or a finding of the
    checks before the commit, ends it: the message is in the result. Raises SessionbaseError if the
    copy can't be made, UsageError for an unknown name of a check.
    """
    require_check_names(skip_lints)
    with clone(db_uri, sample=sample, progress=progress, log=log) as made:
        work = read_work(made.uri, sql_dir, extra)
        if [one.file.label for one, _ in work.migrations] != [one.file for one in plan.files]:
            raise SessionbaseError("migrations ran in the target meanwhile", "run plan again")
        log("running the pending files on the copy ...")
        with connect(made.uri) as conn:
            conn.autocommit = True
            # Each migration checks that its session has this lock.
            take_runner_lock(conn, log)
            return _Rehearsal(conn, made, work, plan, skip_lints, progress, log).run()


class _Checks(Verification):
    """The checks before the commit. A refusal keeps what the file did to the security."""

    facts: Facts | None = None
    """The sentences that are true in the transaction that a check refused."""

    def check(
        self, conn: Connection, migration: Migration | None, *, rolled_back: bool = True
    ) -> None:
        try:
            super().check(conn, migration, rolled_back=rolled_back)
        except CheckFailed:
            self.facts = read_facts(conn)
            raise


class _Rehearsal:
    """The run on the copy."""

    def __init__(  # noqa: PLR0917
        self,
        conn: Connection,
        made: Clone,
        work: Work,
        plan: MigrationPlan,
        skip_lints: Collection[str],
        progress: CountProgress | None,
        log: Log,
    ) -> None:
        self.conn = conn
        self.made = made
        self.work = work
        self.plan = plan
        self.skip_lints = skip_lints
        self.progress = progress
        self.log = log
        self.known = self._relations()
        """The relations that existed before the pending files."""
        self.report = Rehearsal(made.source_version, made.version, made.sampled, made.not_included)

    def run(self) -> Rehearsal:
        """Run everything; return the report."""
        conn = self.conn
        before = read_facts(conn)
        work = self.work
        checks = _Checks(conn, work.folder, work.plan, self.skip_lints, self.log)
        try:
            self._run_files(checks)
        except (SessionbaseError, psycopg.Error) as failure:
            if conn.closed:
                raise
            self.report.failure = str(failure).strip()
        conn.execute("reset role")
        self.report.changes = changes(before, checks.facts or read_facts(conn))
        return self.report

    def _run_files(self, checks: _Checks) -> None:
        """Do what `migrate` does, in the same order."""
        conn, work = self.conn, self.work
        if work.plan.repeatable_files:
            refuse_objects_of_others(conn)
        self._prepare(work.folder)
        refuse_edited(conn, work.plan.pending)
        checks.start_probes(conn)
        files = work.repeatable
        created: frozenset[int] = frozenset()
        for done, (migration, statements) in enumerate(work.migrations):
            if self.progress:
                self.progress(done, len(work.migrations) + 1)
            planned = self.plan.files[done].statements
            if migration.file.no_transaction:
                created |= create_functions(conn, files, created, 0)
                self._run_alone(migration, statements[0], planned[0], checks)
            else:
                created |= self._run_migration(
                    migration, statements, planned, files, created, checks
                )
        if work.plan.repeatable_files:
            self._run_repeatable(files, created, checks)

    def _prepare(self, folder: SqlFolder) -> None:
        """Apply roles.sql and create the ledger, as the runner does before the first migration."""
        conn = self.conn
        if folder.roles:
            with conn.transaction():
                apply_session_settings(conn, 0)
                run_statements(conn, folder.roles, check_migration(folder.roles))
        conn.execute(f"set role {OWNER}".encode())
        create_ledger(conn, 0)

    def _run_migration(  # noqa: PLR0917
        self,
        migration: Migration,
        statements: list[Statement],
        planned: list[StatementPlan],
        files: RepeatableFiles,
        created: frozenset[int],
        checks: _Checks,
    ) -> frozenset[int]:
        """Run a migration in one transaction; return the oids of the functions that it created."""
        conn = self.conn
        results: list[RehearsedStatement] = []

        def run(_: Connection, __: SqlFile, ___: list[Statement]) -> None:
            seen = self._held(conn.info.backend_pid)
            for statement, expected in zip(statements, planned, strict=True):
                result, seen = self._observe(migration, statement, expected, seen)
                results.append(result)

        started = time.monotonic()
        try:
            _, found = apply_migration(conn, migration, statements, files, created, checks, 0, run)
        finally:
            duration_ms = round((time.monotonic() - started) * 1000, 1)
            self.report.files.append(RehearsedFile(migration.file.label, results, duration_ms))
        return found

    def _observe(
        self,
        migration: Migration,
        statement: Statement,
        expected: StatementPlan,
        seen: set[tuple[int, Lock]],
    ) -> tuple[RehearsedStatement, set[tuple[int, Lock]]]:
        """Run one statement of an open transaction; return what it did, and all locks held now."""
        conn = self.conn
        before, scans = self._relations(), self._scans()
        position, started = self._wal(), time.monotonic()
        run_statements(conn, migration.file, [statement])
        duration_ms = round((time.monotonic() - started) * 1000, 1)
        wal = self._wal() - position
        held = self._held(conn.info.backend_pid)
        after = self._relations()
        locks = self._strongest(held - seen, before, after)
        scanned = [
            before[oid].name
            for oid, count in self._scans().items()
            if count > scans.get(oid, 0) and oid in before
        ]
        rewritten = _rewritten(before, after)
        differences = self._differences(
            expected, locks, held, before, rewritten, scanned, in_transaction=True
        )
        result = RehearsedStatement(
            statement.line,
            statement.summary,
            self._shown(locks, before, after),
            rewritten,
            sorted(scanned),
            duration_ms,
            wal,
            differences,
        )
        return result, held

    def _run_alone(
        self,
        migration: Migration,
        statement: Statement,
        expected: StatementPlan,
        checks: _Checks,
    ) -> None:
        """Run a file without a transaction. Its locks are read by a second session meanwhile."""
        conn = self.conn
        before, position, started = self._relations(), self._wal(), time.monotonic()
        results: list[RehearsedStatement] = []
        observed: set[tuple[int, Lock]] = set()

        def check() -> None:
            """Note what the statement did, when it has ended; then check as the runner does."""
            duration_ms = round((time.monotonic() - started) * 1000, 1)
            wal, after = self._wal() - position, self._relations()
            planned = {one.relation for one in expected.tables}
            seen = {
                one
                for one in observed
                if (relation := before.get(one[0]) or after.get(one[0]))
                and (relation.name in planned or not relation.name.startswith("ops."))
            }
            locks = self._strongest(seen, before, after)
            rewritten = _rewritten(before, after)
            differences = self._differences(
                expected, locks, seen, before, rewritten, [], in_transaction=False
            )
            results.append(
                RehearsedStatement(
                    statement.line,
                    statement.summary,
                    self._shown(locks, before, after),
                    rewritten,
                    [],
                    duration_ms,
                    wal,
                    differences,
                )
            )
            checks.check(conn, migration, rolled_back=False)

        run = partial(run_without_transaction, conn, migration, statement, self.log, check)
        try:
            self._watch(run, expected, before, observed)
        finally:
            duration_ms = round((time.monotonic() - started) * 1000, 1)
            self.report.files.append(RehearsedFile(migration.file.label, results, duration_ms))

    def _watch(
        self,
        run: Callable[[], object],
        expected: StatementPlan,
        before: dict[int, _Relation],
        observed: set[tuple[int, Lock]],
    ) -> None:
        """Call `run` in a thread, and add to `observed` the locks that the session holds meanwhile.

        So that the statement does not end before its locks are read, other sessions hold locks on
        the tables of the plan: SHARE UPDATE EXCLUSIVE, with which VACUUM and the like conflict, and
        ROW EXCLUSIVE, whose transaction CREATE INDEX CONCURRENTLY waits for. Each ends when the
        statement waits, and all end after _LONGEST_BLOCK_S: the runner can wait without a lock.
        """
        pid = self.conn.info.backend_pid
        failures: list[BaseException] = []

        def call() -> None:
            try:
                run()
            except BaseException as failure:
                failures.append(failure)

        tables = {one.name for one in before.values() if one.kind in {"r", "p"}}
        names = [one.relation for one in expected.tables if one.relation in tables]
        thread = threading.Thread(target=call)
        with ExitStack() as opened:
            watcher = opened.enter_context(psycopg.connect(self.made.uri, autocommit=True))
            blockers = []
            for mode in ("share update exclusive", "row exclusive"):
                blocker = opened.enter_context(psycopg.connect(self.made.uri))
                for name in names:
                    table = sql.Identifier(*name.split(".", 1))
                    blocker.execute(sql.SQL(f"lock table {{}} in {mode} mode").format(table))
                blockers.append(blocker)
            end = time.monotonic() + _LONGEST_BLOCK_S
            thread.start()
            try:
                while thread.is_alive():
                    waiting = watcher.execute(_WAITING, (pid,)).fetchone()
                    rows = watcher.execute(_LOCKS, (pid,)).fetchall()
                    observed |= {(row[0], from_pg_locks(row[1])) for row in rows}
                    if blockers and (waiting is not None or time.monotonic() > end):
                        blockers.pop(0).rollback()
                    time.sleep(_POLL_SECONDS)
            except BaseException:
                self.conn.cancel_safe()
                raise
            finally:
                thread.join()
        if failures:
            raise failures[0]

    def _run_repeatable(
        self, files: RepeatableFiles, created: frozenset[int], checks: _Checks
    ) -> None:
        conn, folder = self.conn, self.work.folder
        before, position, started = self._relations(), self._wal(), time.monotonic()
        verify = partial(checks.check, conn, None)
        with conn.transaction():
            report = apply_repeatable(conn, files, folder, 0, created, verify=verify)
            duration_ms = round((time.monotonic() - started) * 1000, 1)
            wal = self._wal() - position
            after = self._relations()
            locks = self._strongest(self._held(conn.info.backend_pid), before, after)
        strong = {oid: lock for oid, lock in locks.items() if lock > Lock.ROW_EXCLUSIVE}
        ours = {oid: lock for oid, lock in strong.items() if not _in_ledger(oid, before, after)}
        dropped = [f"dropped: {name}" for name in report.dropped]
        again = [f"dropped and created again: {name}" for name in report.recreated]
        self.report.repeatable = RehearsedStatement(
            0,
            f"{len(report.files)} files of app/ and api/",
            self._shown(ours, before, after),
            [],
            [],
            duration_ms,
            wal,
            dropped + again,
        )

    # What the server shows

    def _relations(self) -> dict[int, _Relation]:
        rows = self.conn.execute(_RELATIONS).fetchall()
        return {row[0]: _Relation(*row[1:]) for row in rows}

    def _held(self, pid: int) -> set[tuple[int, Lock]]:
        rows = self.conn.execute(_LOCKS, (pid,)).fetchall()
        return {(row[0], from_pg_locks(row[1])) for row in rows}

    def _scans(self) -> dict[int, int]:
        return dict(self.conn.execute(_SCANS).fetchall())

    def _wal(self) -> int:
        row = self.conn.execute(
            "select pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_insert_lsn(), '0/0')"
        ).fetchone()
        return int(row[0]) if row else 0

    # Compared with the plan

    @staticmethod
    def _strongest(
        locks: set[tuple[int, Lock]], before: dict[int, _Relation], after: dict[int, _Relation]
    ) -> dict[int, Lock]:
        """Return the strongest lock of each relation; not of an index whose table has it too."""
        strongest: dict[int, Lock] = {}
        for oid, lock in locks:
            if (oid in before or oid in after) and lock > Lock.ACCESS_SHARE:
                strongest[oid] = max(lock, strongest.get(oid, lock))
        result = {}
        for oid, lock in strongest.items():
            relation = before.get(oid) or after[oid]
            if relation.table and strongest.get(relation.table, Lock.ACCESS_SHARE) >= lock:
                continue
            result[oid] = lock
        return result

    def _shown(
        self, locks: dict[int, Lock], before: dict[int, _Relation], after: dict[int, _Relation]
    ) -> list[HeldLock]:
        return sorted(
            (
                HeldLock((before.get(oid) or after[oid]).name, lock.label, oid not in self.known)
                for oid, lock in locks.items()
            ),
            key=lambda one: (one.new, one.relation),
        )

    def _differences(  # noqa: PLR0917
        self,
        expected: StatementPlan,
        locks: dict[int, Lock],
        held: set[tuple[int, Lock]],
        before: dict[int, _Relation],
        rewritten: list[str],
        scanned: list[str],
        *,
        in_transaction: bool,
    ) -> list[str]:
        """Compare with the plan. Relations that the pending files create do not count."""
        planned = {one.relation: one for one in expected.tables if not one.new}
        here = {one.name: oid for oid, one in before.items() if oid in self.known}
        found = []
        for oid, lock in sorted(locks.items()):
            if oid not in before or oid not in self.known:
                continue
            relation = before[oid]
            table = planned.get(relation.name)
            if table is None and (relation.kind in {"i", "I", "S"} or lock <= Lock.ROW_SHARE):
                continue  # ROW SHARE, of a foreign key's check, blocks neither reads nor writes
            if table is None and expected.unknown:
                continue  # the plan says that it is not complete
            if table is None:
                found.append(f"took {lock.label} on {relation.name}, which the plan does not have")
            elif lock > LOCKS[table.lock]:
                found.append(f"took {lock.label} on {relation.name}; planned: {table.lock}")
        for name, table in planned.items():
            # An earlier statement of the file can hold the lock already.
            oid = here.get(name, 0)
            if oid and (oid, LOCKS[table.lock]) not in held:
                found.append(f"did not take {table.lock} on {name}, otherwise than planned")
        return found + _work_differences(
            expected,
            {name: before[oid].kind for name, oid in here.items()},
            rewritten,
            scanned if in_transaction else None,
        )


def _work_differences(
    expected: StatementPlan, kinds: dict[str, str], rewritten: list[str], scanned: list[str] | None
) -> list[str]:
    """Compare rewrites and scans with the plan. `kinds`: relkind of what existed before."""
    planned = {one.relation: one for one in expected.tables if not one.new}
    found = []
    for name, table in planned.items():
        if kinds.get(name) not in {"r", "m"}:
            continue
        if table.rewrite is not None and table.rewrite != (name in rewritten):
            done = "rewrote" if name in rewritten else "did not rewrite"
            found.append(f"{done} {name}, otherwise than planned")
        checked = scanned is not None and table.scan is not None and not table.rewrite
        if checked and table.scan != (name in (scanned or ())):
            done = "scanned" if name in (scanned or ()) else "did not scan"
            found.append(f"{done} {name}, otherwise than planned")
    if not expected.unknown:
        unplanned = (set(rewritten) & kinds.keys()) - planned.keys()
        found += [f"rewrote {name}, which the plan does not have" for name in sorted(unplanned)]
    return found


def _rewritten(before: dict[int, _Relation], after: dict[int, _Relation]) -> list[str]:
    """Return the tables and materialized views that have another file now."""
    return sorted(
        one.name
        for oid, one in before.items()
        if one.kind in {"r", "m"} and oid in after and after[oid].file != one.file
    )


def _in_ledger(oid: int, before: dict[int, _Relation], after: dict[int, _Relation]) -> bool:
    return (before.get(oid) or after[oid]).name.startswith("ops.")
