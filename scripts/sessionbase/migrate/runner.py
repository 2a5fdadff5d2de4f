"""The migration runner: roles.sql, then each new migration, then the repeatable files."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import psycopg

from sessionbase.database import connect, refuse_standby
from sessionbase.errors import SessionbaseError, UsageError
from sessionbase.migrate.checks import RepeatableFiles, check_migration, check_repeatable
from sessionbase.migrate.database import check_database
from sessionbase.migrate.execute import StatementFailed, apply_session_settings, run_statements
from sessionbase.migrate.files import Migration, SqlFile, SqlFolder, Statement, read_folder
from sessionbase.migrate.functions import create_missing
from sessionbase.migrate.interrupt import end_with_client, explain_stop, with_timeouts
from sessionbase.migrate.ledger import (
    CREATE_LEDGER,
    OWNER,
    UPGRADE_LEDGER,
    Connection,
    Plan,
    forget_repeatable_files,
    ledger_exists,
    ledger_is_current,
    make_plan,
    record_migration,
    validate_plan,
)
from sessionbase.migrate.locks import LockLimits, LockTries, LockWait, runner_lock
from sessionbase.migrate.no_transaction import refuse_edited, run_without_transaction
from sessionbase.migrate.repeatable import RepeatableReport, apply_repeatable
from sessionbase.paths import resource_path

ROLES = (
    OWNER,
    "sessionbase_replicator",
    "authenticator",
    "anon",
    "authenticated",
    "auditor",
)

# Roles belong to the whole cluster, but the lock of the runner only to one database: runners in two
# databases can write the row of one role at the same time. PostgreSQL then refuses the second with
# XX000 "tuple concurrently updated", 23505 or 42710. It tries again.
_ROLE_CONFLICTS = {"XX000", "23505", "42710"}

_UNITS_MS = {"ms": 1, "s": 1000, "min": 60_000}

Log = Callable[[str], None]
"""A function that is called with one line of text about each step."""


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
    lock_waits: list[LockWait] = field(default_factory=list)
    """The files that were tried more than once, and what blocked them."""

    @property
    def nothing_to_do(self) -> bool:
        """Return whether the database was already up to date."""
        return not self.migrations and not self.repeatable_files


def parse_lock_timeout(text: str, option: str = "--lock-timeout") -> int:
    """Return the milliseconds of a duration like `500ms`, `5s` or `1min`.

    Raises UsageError for any other text; its message names the `option`.
    """
    match = re.fullmatch(r"(\d+)\s*(ms|s|min)", text.strip())
    if match is None:
        raise UsageError(
            f"{option} {text!r} is not a duration",
            "write a number with ms, s or min, for example 5s",
        )
    return int(match[1]) * _UNITS_MS[match[2]]


def _missing_roles(conn: Connection) -> list[str]:
    rows = conn.execute("select rolname from pg_roles where rolname = any(%s)", (list(ROLES),))
    existing = {row[0] for row in rows.fetchall()}
    return [role for role in ROLES if role not in existing]


def _may_create_roles(conn: Connection) -> bool:
    row = conn.execute(
        "select rolsuper or rolcreaterole from pg_roles where rolname = session_user"
    ).fetchone()
    return bool(row and row[0])


def _may_become_owner(conn: Connection) -> bool:
    row = conn.execute(
        # Before 16 every member may become the role, and pg_has_role has no 'set'.
        "select pg_has_role(session_user, oid,"
        " case when current_setting('server_version_num')::int < 160000 then 'member'"
        " else 'set' end) from pg_roles where rolname = %s",
        (OWNER,),
    ).fetchone()
    return bool(row and row[0])


def _require_roles(conn: Connection) -> None:
    """Raise a SessionbaseError if a role is missing or the login can't become the owner."""
    missing = _missing_roles(conn)
    if missing:
        raise SessionbaseError(
            f"the roles {', '.join(missing)} are missing, and this login may not create them",
            "a DBA runs once in this database: psql -f sql/roles.sql",
        )
    if not _may_become_owner(conn):
        raise SessionbaseError(
            f"this login is not a member of {OWNER}, which owns every object",
            f"a DBA grants it: grant {OWNER} to the login",
        )


def _apply_roles(conn: Connection, roles: SqlFile | None, tries: LockTries, log: Log) -> str:
    """Apply roles.sql if the login may; return `applied` or `skipped`."""
    if roles is None or not _may_create_roles(conn):
        _require_roles(conn)
        log("roles.sql skipped: this login may not create roles, and all of them exist")
        return "skipped"
    statements = check_migration(roles)

    def attempt(lock_timeout_ms: int) -> None:
        with conn.transaction():
            apply_session_settings(conn, lock_timeout_ms)
            run_statements(conn, roles, statements)

    try:
        tries.run(roles.label, attempt, also=_ROLE_CONFLICTS)
    except StatementFailed as failure:
        if failure.sqlstate == "42501" and not _missing_roles(conn) and _may_become_owner(conn):
            log("roles.sql skipped: the roles exist, and another login created them")
            return "skipped"
        raise
    _require_roles(conn)
    return "applied"


@contextmanager
def _open(db_uri: str) -> Iterator[Connection]:
    """Connect in autocommit mode: every transaction is opened explicitly."""
    with connect(with_timeouts(db_uri)) as conn:
        conn.autocommit = True
        end_with_client(conn)
        yield conn


def _create_ledger(conn: Connection, tries: LockTries) -> None:
    """Create the ledger, or add what it lacks if an earlier version created it."""
    if ledger_is_current(conn):
        return

    def attempt(lock_timeout_ms: int) -> None:
        with conn.transaction():
            apply_session_settings(conn, lock_timeout_ms)
            if not ledger_exists(conn):
                conn.execute(CREATE_LEDGER.encode())
            conn.execute(UPGRADE_LEDGER.encode())

    try:
        tries.run("the migration ledger", attempt)
    except psycopg.errors.InsufficientPrivilege as error:
        raise SessionbaseError(
            f"{OWNER} may not create the ledger: {error.diag.message_primary}",
            f"a DBA runs in this database: grant create on database {conn.info.dbname} to {OWNER}",
        ) from error


@dataclass(frozen=True)
class _Work:
    """The files that a run applies, checked and split into statements."""

    migrations: list[tuple[Migration, list[Statement]]]
    repeatable: RepeatableFiles | None
    """None if the repeatable files are up to date."""


def _check(plan: Plan, folder: SqlFolder) -> _Work:
    """Return the work of a plan; raise SessionbaseError if it must not start."""
    validate_plan(plan)
    migrations = [(migration, check_migration(migration.file)) for migration in plan.pending]
    needed = bool(plan.pending or plan.repeatable_files)
    return _Work(migrations, check_repeatable(folder) if needed else None)


@contextmanager
def _reading(conn: Connection) -> Iterator[None]:
    """Open a read-only transaction, with the role of the owner if the login may."""
    with conn.transaction():
        conn.execute("set transaction read only")
        if _may_become_owner(conn):
            conn.execute(f"set local role {OWNER}".encode())
        yield


def _read_plan(conn: Connection, folder: SqlFolder) -> Plan:
    """Check the database and compare it with the folder. Reads only."""
    with _reading(conn):
        check_database(conn)
        return make_plan(conn, folder)


def _dry_run(conn: Connection, folder: SqlFolder) -> MigrateReport:
    plan = _read_plan(conn, folder)
    _check(plan, folder)
    with _reading(conn):
        refuse_edited(conn, plan.pending)
    may_create_roles = _may_create_roles(conn)
    if not may_create_roles:
        _require_roles(conn)
    return MigrateReport(
        dry_run=True,
        roles="applied" if may_create_roles and folder.roles else "skipped",
        migrations=[
            AppliedMigration(m.version, m.name, None, m.file.no_transaction) for m in plan.pending
        ],
        repeatable_files=plan.repeatable_files,
    )


def _apply_migration(  # noqa: PLR0917 - functools.partial binds them
    conn: Connection,
    migration: Migration,
    statements: list[Statement],
    files: RepeatableFiles,
    created: frozenset[int],
    lock_timeout_ms: int,
) -> tuple[int, frozenset[int]]:
    """Apply a migration in one transaction: one try, which waits so long for each lock.

    `created` has the oids of the functions that earlier migrations of this run created. Returns
    the duration in milliseconds, and the oids of the functions that this try created.
    """
    start = time.monotonic()
    with conn.transaction():
        apply_session_settings(conn, lock_timeout_ms)
        # Before the migration, because its triggers, defaults and policies can name them.
        found = create_missing(conn, files.app, created)
        run_statements(conn, migration.file, statements)
        duration_ms = round((time.monotonic() - start) * 1000)
        record_migration(conn, migration, duration_ms)
        forget_repeatable_files(conn)
    return duration_ms, found


def _create_missing(
    conn: Connection, files: RepeatableFiles, created: frozenset[int], lock_timeout_ms: int
) -> frozenset[int]:
    """Create the missing functions of app/ in a transaction of their own; return their oids."""
    with conn.transaction():
        apply_session_settings(conn, lock_timeout_ms)
        return create_missing(conn, files.app, created)


def _run(
    conn: Connection,
    folder: SqlFolder,
    work: _Work,
    report: MigrateReport,
    *,
    tries: LockTries,
    log: Log,
) -> None:
    """Apply the migrations, each in its own transaction, and then the repeatable files."""
    files = work.repeatable or RepeatableFiles([], [], [])
    created: frozenset[int] = frozenset()
    for migration, statements in work.migrations:
        label = migration.file.label
        if migration.file.no_transaction:
            create = partial(_create_missing, conn, files, created)
            created |= tries.run(label, create)
            duration_ms = run_without_transaction(conn, migration, statements[0], log)
        else:
            attempt = partial(_apply_migration, conn, migration, statements, files, created)
            duration_ms, found = tries.run(label, attempt)
            created |= found
        report.migrations.append(
            AppliedMigration(
                migration.version, migration.name, duration_ms, migration.file.no_transaction
            )
        )
        log(f"applied {label} in {duration_ms} ms")
    if report.repeatable_files:
        report.repeatable = tries.run(
            "the files of app/ and api/",
            lambda lock_timeout_ms: apply_repeatable(conn, files, folder, lock_timeout_ms, created),
        )
        log(f"applied the {len(folder.repeatable)} files of app/ and api/")


def migrate(
    db_uri: str,
    sql_dir: Path | None = None,
    *,
    dry_run: bool = False,
    lock_timeout_ms: int = LockLimits.total_ms,
    lock_try_ms: int = LockLimits.try_ms,
    runner_timeout_ms: int = 0,
    log: Log = lambda _: None,
) -> MigrateReport:
    """Apply the SQL folder to the database, and return what was done.

    `sql_dir` is the shipped folder unless named. A file that does not get a lock within
    `lock_try_ms` is rolled back and tried again, until it has waited for `lock_timeout_ms` (0:
    without end). `runner_timeout_ms` (0: without end) is how long to wait for another runner. All
    are in milliseconds. `log` gets one line of text for each step. Raises
    SessionbaseError; the files before the one that failed stay applied, and that one is rolled
    back.
    """
    folder = read_folder(sql_dir or resource_path("sql"))
    with _open(db_uri) as conn:
        if dry_run:
            return _dry_run(conn, folder)
        refuse_standby(conn)
        limits = LockLimits(lock_try_ms, lock_timeout_ms)
        with (
            explain_stop(conn) as stop,
            runner_lock(conn, log, runner_timeout_ms),
            LockTries(conn, with_timeouts(db_uri), limits, log) as tries,
        ):
            plan = _read_plan(conn, folder)
            stop.pending = plan.pending
            work = _check(plan, folder)
            roles = _apply_roles(conn, folder.roles, tries, log)
            conn.execute(f"set role {OWNER}".encode())
            _create_ledger(conn, tries)
            refuse_edited(conn, plan.pending)
            report = MigrateReport(
                dry_run=False,
                roles=roles,
                repeatable_files=plan.repeatable_files,
                lock_waits=tries.waits,
            )
            _run(conn, folder, work, report, tries=tries, log=log)
            return report


def status(db_uri: str, sql_dir: Path | None = None) -> Plan:
    """Compare the database with the SQL folder. Reads only, and waits for no lock of a runner.

    Raises SessionbaseError if it can't connect or read, or if the runner must not work on this
    database.
    """
    folder = read_folder(sql_dir or resource_path("sql"))
    with _open(db_uri) as conn:
        return _read_plan(conn, folder)


def pending(db_uri: str, sql_dir: Path | None = None) -> list[str]:
    """Return the labels of the files that `migrate` would apply, in order."""
    plan = status(db_uri, sql_dir)
    return [migration.file.label for migration in plan.pending] + plan.repeatable_files
