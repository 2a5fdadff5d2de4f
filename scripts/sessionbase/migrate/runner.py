"""The migration runner: roles.sql, then each new migration, then the repeatable files."""

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from sessionbase.console import Log
from sessionbase.database import refuse_standby
from sessionbase.errors import SessionbaseError
from sessionbase.migrate.checks import RepeatableFiles, check_migration, check_repeatable
from sessionbase.migrate.database import (
    check_database,
    refuse_objects_of_others,
)
from sessionbase.migrate.execute import (
    SessionState,
    apply_session_settings,
    current_role,
    require_owner,
    run_statements,
)
from sessionbase.migrate.files import (
    REPEATABLE,
    Migration,
    SqlFile,
    SqlFolder,
    Statement,
    read_folder,
)
from sessionbase.migrate.functions import create_missing
from sessionbase.migrate.interrupt import explain_stop, with_timeouts
from sessionbase.migrate.ledger import (
    OWNER,
    Connection,
    Plan,
    delete_repeatable_rows,
    keep_texts,
    make_plan,
    record_migration,
    validate_plan,
)
from sessionbase.migrate.locks import (
    LockLimits,
    LockTries,
    LockWait,
    require_runner_lock,
    runner_lock,
)
from sessionbase.migrate.no_transaction import refuse_edited, run_without_transaction
from sessionbase.migrate.privileges import (
    may_create_roles,
    missing_client_grants,
    require_rights,
)
from sessionbase.migrate.repeatable import RepeatableReport, apply_repeatable
from sessionbase.migrate.restored import read_definitions, restored
from sessionbase.migrate.session import (
    apply_roles,
    create_ledger_in_tries,
    open_session,
    reading,
)
from sessionbase.migrate.verify import Verification, check_verify_files
from sessionbase.paths import resource_path


@dataclass(frozen=True)
class AppliedMigration:
    """A migration that this run applied, or in a dry run would apply.

    `duration_ms` is in milliseconds, and None in a dry run.
    """

    version: int
    name: str
    duration_ms: int | None
    no_transaction: bool = False
    """Whether its statement runs without a transaction."""


@dataclass
class MigrateReport:
    """What a run did, or in a dry run would do."""

    dry_run: bool
    roles: str
    """`applied`, or `skipped` if the login may not create roles and they exist already."""
    migrations: list[AppliedMigration] = field(default_factory=list)
    repeatable_files: list[str] = field(default_factory=list)
    """The files of app/ and api/ that were applied, and deleted files, removed from the history."""
    repeatable: RepeatableReport | None = None
    """What changed in the schemas app and api; None if no file was applied."""
    restored: list[str] | None = None
    """With repair_api: each object that is different now, and in what; else None."""
    lock_waits: list[LockWait] = field(default_factory=list)
    """The files that were tried more than once, and what blocked them."""

    @property
    def nothing_to_do(self) -> bool:
        """Return whether the database was already up to date."""
        return not self.migrations and not self.repeatable_files


def _keep_texts(conn: Connection, folder: SqlFolder, log: Log) -> None:
    """Store the texts of applied files that an older version did not keep."""
    completed = keep_texts(conn, folder)
    if completed:
        log(f"kept the text of {completed} files in the ledger; an older version applied them")


@dataclass(frozen=True)
class Work:
    """The files that a run applies, checked and split into statements."""

    folder: SqlFolder
    plan: Plan
    migrations: list[tuple[Migration, list[Statement]]]
    repeatable: RepeatableFiles
    """Without files if they are up to date."""


def check_work(plan: Plan, folder: SqlFolder) -> Work:
    """Return the work of a plan; raise SessionbaseError if it must not start."""
    validate_plan(plan)
    check_verify_files(folder)
    migrations = [(migration, check_migration(migration.file)) for migration in plan.pending]
    for migration, statements in migrations:
        if not statements:
            raise SessionbaseError(
                f"{migration.file.label} has no statement",
                "write it, or delete the file; an applied file can't be edited",
            )
    needed = bool(plan.pending or plan.repeatable_files)
    repeatable = check_repeatable(folder) if needed else RepeatableFiles([], [], [])
    return Work(folder, plan, migrations, repeatable)


def _read_plan(conn: Connection, folder: SqlFolder) -> Plan:
    """Check the database and compare it with the folder. Reads only."""
    with reading(conn):
        check_database(conn)
        return make_plan(conn, folder)


def _prepare(conn: Connection, folder: SqlFolder, *, repair_api: bool) -> Work:
    """Return what a run has to do. Raises SessionbaseError if it must not start. Reads only."""
    plan = _read_plan(conn, folder)
    if repair_api and not plan.repeatable_files:
        plan = replace(plan, repeatable_files=[file.label for file in folder.repeatable])
    work = check_work(plan, folder)
    if plan.repeatable_files:
        refuse_objects_of_others(conn)
    return work


def _dry_run(conn: Connection, folder: SqlFolder, *, repair_api: bool) -> MigrateReport:
    plan = _prepare(conn, folder, repair_api=repair_api).plan
    with reading(conn):
        refuse_edited(conn, plan.pending)
    applies_roles = folder.roles is not None and may_create_roles(conn)
    require_rights(conn, with_roles_file=applies_roles)
    return MigrateReport(
        dry_run=True,
        roles="applied" if applies_roles else "skipped",
        migrations=[
            AppliedMigration(m.version, m.name, None, m.file.no_transaction) for m in plan.pending
        ],
        repeatable_files=plan.repeatable_files,
    )


def apply_migration(  # noqa: PLR0917 - functools.partial binds them
    conn: Connection,
    migration: Migration,
    statements: list[Statement],
    files: RepeatableFiles,
    created: frozenset[int],
    verification: Verification,
    lock_timeout_ms: int,
    run: Callable[[Connection, SqlFile, list[Statement]], None] = run_statements,
) -> tuple[int, frozenset[int]]:
    """Apply a migration in one transaction: one try, which waits so long for each lock.

    `created` has the oids of the functions that earlier migrations of this run created. `run` runs
    the statements in the open transaction. Returns the duration in milliseconds, and the oids of
    the functions that this try created.
    """
    start = time.monotonic()
    with conn.transaction():
        apply_session_settings(conn, lock_timeout_ms)
        # Before the migration, because its triggers, defaults and policies can name them.
        found = create_missing(conn, files.app, created)
        run(conn, migration.file, statements)
        role = current_role(conn)
        verification.check(conn, migration)
        # After the checks, whose findings say more.
        require_owner(role, migration.file)
        require_runner_lock(conn, migration.file.label)
        duration_ms = round((time.monotonic() - start) * 1000)
        record_migration(conn, migration, duration_ms)
        delete_repeatable_rows(conn)
    return duration_ms, found


def create_functions(
    conn: Connection, files: RepeatableFiles, created: frozenset[int], lock_timeout_ms: int
) -> frozenset[int]:
    """Create the missing functions of app/ in a transaction of their own; return their oids."""
    with conn.transaction():
        apply_session_settings(conn, lock_timeout_ms)
        return create_missing(conn, files.app, created)


def _run(
    conn: Connection,
    work: Work,
    report: MigrateReport,
    verification: Verification,
    *,
    tries: LockTries,
    log: Log,
) -> None:
    """Apply the migrations, each in its own transaction, and then the repeatable files."""
    files = work.repeatable
    created: frozenset[int] = frozenset()
    session = SessionState(conn)
    for migration, statements in work.migrations:
        label = migration.file.label
        if migration.file.no_transaction:
            create = partial(create_functions, conn, files, created)
            created |= tries.run(label, create)
            duration_ms = run_without_transaction(
                conn,
                migration,
                statements[0],
                log,
                partial(verification.check, conn, migration, rolled_back=False),
            )
        else:
            attempt = partial(
                apply_migration, conn, migration, statements, files, created, verification
            )
            duration_ms, found = tries.run(label, attempt)
            created |= found
        report.migrations.append(
            AppliedMigration(
                migration.version, migration.name, duration_ms, migration.file.no_transaction
            )
        )
        log(f"applied {label} in {duration_ms} ms")
        changed = session.restore()
        if changed:
            log(
                f"{label} changed settings of the session, which are reset for the next file: "
                f"{', '.join(changed)}; use set local"
            )
    if report.repeatable_files:
        report.repeatable = tries.run(
            REPEATABLE,
            lambda lock_timeout_ms: apply_repeatable(
                conn,
                files,
                work.folder,
                lock_timeout_ms,
                created,
                verify=lambda: verification.check(conn, None),
            ),
        )
        log(f"applied the {len(work.folder.repeatable)} files of app/ and api/")


def migrate(
    db_uri: str,
    sql_dir: Path | None = None,
    *,
    dry_run: bool = False,
    repair_api: bool = False,
    lock_timeout_ms: int = LockLimits.total_ms,
    lock_try_ms: int = LockLimits.try_ms,
    runner_timeout_ms: int = 0,
    skip_lints: Collection[str] = (),
    log: Log = lambda _: None,
) -> MigrateReport:
    """Apply the SQL folder to the database, and return what was done.

    `sql_dir` is the shipped folder unless named. `repair_api` applies the repeatable files also if
    the ledger has them already: functions and views can be edited by hand. A file that does not get
    a lock within `lock_try_ms` is rolled back and tried again, until it has waited for
    `lock_timeout_ms` (0: without end). `runner_timeout_ms` (0: without end) is how long to wait for
    another runner. All are in milliseconds. `skip_lints` has the names of checks whose findings do
    not stop the run (sessionbase.migrate.verify.check_names). `log` gets one line of text for each
    step. Raises SessionbaseError; the files before the one that failed stay applied, and that one
    is rolled back.
    """
    folder = read_folder(sql_dir or resource_path("sql"))
    with open_session(db_uri) as conn:
        if dry_run:
            return _dry_run(conn, folder, repair_api=repair_api)
        refuse_standby(conn)
        limits = LockLimits(lock_try_ms, lock_timeout_ms)
        with (
            explain_stop(conn) as stop,
            runner_lock(conn, log, runner_timeout_ms),
            LockTries(conn, with_timeouts(db_uri), limits, log) as tries,
        ):
            work = _prepare(conn, folder, repair_api=repair_api)
            plan = work.plan
            stop.pending = plan.pending
            verification = Verification(conn, folder, plan, skip_lints, log)
            roles = apply_roles(conn, folder.roles, tries, log)
            statement = missing_client_grants(conn)
            if statement:
                log(f"warning: PostgREST needs a right that is missing; a DBA runs: {statement}")
            conn.execute(f"set role {OWNER}".encode())
            create_ledger_in_tries(conn, tries)
            _keep_texts(conn, folder, log)
            refuse_edited(conn, plan.pending)
            report = MigrateReport(
                dry_run=False,
                roles=roles,
                repeatable_files=plan.repeatable_files,
                lock_waits=tries.waits,
            )
            before = read_definitions(conn) if repair_api else None
            verification.start_probes(conn)
            _run(conn, work, report, verification, tries=tries, log=log)
            if before is not None:
                report.restored = restored(before, read_definitions(conn))
            return report


def status(db_uri: str, sql_dir: Path | None = None) -> Plan:
    """Compare the database with the SQL folder. Reads only, and waits for no lock of a runner.

    Raises SessionbaseError if it can't connect or read, or if the runner must not work on this
    database.
    """
    folder = read_folder(sql_dir or resource_path("sql"))
    with open_session(db_uri) as conn:
        return _read_plan(conn, folder)


def pending(db_uri: str, sql_dir: Path | None = None) -> list[str]:
    """Return the labels of the files that `migrate` would apply, in order."""
    plan = status(db_uri, sql_dir)
    return [migration.file.label for migration in plan.pending] + plan.repeatable_files
