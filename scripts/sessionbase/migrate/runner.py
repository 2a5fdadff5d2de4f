"""The migration runner: roles.sql, then each new migration, then the repeatable files."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from sessionbase.database import connect, refuse_standby
from sessionbase.errors import SessionbaseError, UsageError
from sessionbase.migrate.checks import RepeatableFiles, check_migration, check_repeatable
from sessionbase.migrate.database import check_database
from sessionbase.migrate.execute import StatementFailed, apply_session_settings, run_statements
from sessionbase.migrate.files import Migration, SqlFile, SqlFolder, Statement, read_folder
from sessionbase.migrate.functions import create_missing
from sessionbase.migrate.ledger import (
    CREATE_LEDGER,
    OWNER,
    UPGRADE_LEDGER,
    Connection,
    Plan,
    ledger_exists,
    ledger_is_current,
    make_plan,
    record_migration,
    validate_plan,
)
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

# Only one runner works in a database at a time: it holds a session-level advisory lock on this key
# ("sessbase" in ASCII). The lock is per database, and is released when the session ends.
LOCK_KEY = int.from_bytes(b"sessbase", "big")

# Roles belong to the whole cluster, but the lock only to one database: runners in two databases can
# write the row of one role at the same time. PostgreSQL then refuses the second, which tries again.
_ROLES_TRIES = 10

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

    @property
    def nothing_to_do(self) -> bool:
        """Return whether the database was already up to date."""
        return not self.migrations and not self.repeatable_files


def parse_lock_timeout(text: str) -> int:
    """Return the milliseconds of a duration like `500ms`, `5s` or `1min`.

    Raises UsageError for any other text.
    """
    match = re.fullmatch(r"(\d+)\s*(ms|s|min)", text.strip())
    if match is None:
        raise UsageError(
            f"--lock-timeout {text!r} is not a duration",
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


def _apply_roles(conn: Connection, roles: SqlFile | None, log: Log) -> str:
    """Apply roles.sql if the login may; return `applied` or `skipped`."""
    if roles is None or not _may_create_roles(conn):
        _require_roles(conn)
        log("roles.sql skipped: this login may not create roles, and all of them exist")
        return "skipped"
    statements = check_migration(roles)
    for last_try in [False] * (_ROLES_TRIES - 1) + [True]:
        try:
            with conn.transaction():
                apply_session_settings(conn, 0)
                run_statements(conn, roles, statements)
            break
        except StatementFailed as failure:
            # XX000 "tuple concurrently updated", 23505 and 42710: another runner did the same.
            if failure.sqlstate == "42501" and not _missing_roles(conn) and _may_become_owner(conn):
                log("roles.sql skipped: the roles exist, and another login created them")
                return "skipped"
            if last_try or failure.sqlstate not in {"XX000", "23505", "42710"}:
                raise
            time.sleep(0.05)
    _require_roles(conn)
    return "applied"


@contextmanager
def _locked(conn: Connection, log: Log) -> Iterator[None]:
    row = conn.execute("select pg_try_advisory_lock(%s)", (LOCK_KEY,)).fetchone()
    if row != (True,):
        log("another runner is working in this database: waiting for it to end")
        # The login can have timeouts as its defaults; this wait may take longer.
        conn.execute("set lock_timeout = 0")
        conn.execute("set statement_timeout = 0")
        conn.execute("select pg_advisory_lock(%s)", (LOCK_KEY,))
    try:
        yield
    finally:
        if not conn.closed:
            conn.execute("select pg_advisory_unlock(%s)", (LOCK_KEY,))


@contextmanager
def _open(db_uri: str) -> Iterator[Connection]:
    """Connect in autocommit mode: every transaction is opened explicitly."""
    with connect(db_uri) as conn:
        conn.autocommit = True
        yield conn


def create_ledger(conn: Connection) -> None:
    """Create the ledger, or add what it lacks if an earlier version created it."""
    if ledger_is_current(conn):
        return
    try:
        with conn.transaction():
            apply_session_settings(conn, 0)
            if not ledger_exists(conn):
                conn.execute(CREATE_LEDGER.encode())
            conn.execute(UPGRADE_LEDGER.encode())
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


def _read_plan(conn: Connection, folder: SqlFolder) -> Plan:
    """Check the database and compare it with the folder, in a read-only transaction.

    It uses the role of the owner if the login may.
    """
    with conn.transaction():
        conn.execute("set transaction read only")
        check_database(conn)
        if _may_become_owner(conn):
            conn.execute(f"set local role {OWNER}".encode())
        return make_plan(conn, folder)


def _dry_run(conn: Connection, folder: SqlFolder) -> MigrateReport:
    plan = _read_plan(conn, folder)
    _check(plan, folder)
    may_create_roles = _may_create_roles(conn)
    if not may_create_roles:
        _require_roles(conn)
    return MigrateReport(
        dry_run=True,
        roles="applied" if may_create_roles and folder.roles else "skipped",
        migrations=[AppliedMigration(m.version, m.name, None) for m in plan.pending],
        repeatable_files=plan.repeatable_files,
    )


def _run(
    conn: Connection,
    folder: SqlFolder,
    work: _Work,
    report: MigrateReport,
    *,
    lock_timeout_ms: int,
    log: Log,
) -> None:
    """Apply the migrations, each in its own transaction, and then the repeatable files."""
    files = work.repeatable or RepeatableFiles([], [], [])
    created: frozenset[int] = frozenset()
    for migration, statements in work.migrations:
        start = time.monotonic()
        with conn.transaction():
            apply_session_settings(conn, lock_timeout_ms)
            # Before the migration, because its triggers, defaults and policies can name them.
            created |= create_missing(conn, files.app, created)
            run_statements(conn, migration.file, statements)
            duration_ms = round((time.monotonic() - start) * 1000)
            record_migration(conn, migration, duration_ms)
        report.migrations.append(AppliedMigration(migration.version, migration.name, duration_ms))
        log(f"applied {migration.file.label} in {duration_ms} ms")
    if report.repeatable_files:
        report.repeatable = apply_repeatable(conn, files, folder, lock_timeout_ms, created)
        log(f"applied the {len(folder.repeatable)} files of app/ and api/")


def migrate(
    db_uri: str,
    sql_dir: Path | None = None,
    *,
    dry_run: bool = False,
    lock_timeout_ms: int = 5000,
    log: Log = lambda _: None,
) -> MigrateReport:
    """Apply the SQL folder to the database, and return what was done.

    `sql_dir` is the shipped folder unless named. `lock_timeout_ms` (milliseconds, 0 without end)
    is how long a statement may wait for a lock. `log` gets one line of text for each step. Raises
    SessionbaseError; the files before the one that failed stay applied, and that one is rolled
    back.
    """
    folder = read_folder(sql_dir or resource_path("sql"))
    with _open(db_uri) as conn:
        if dry_run:
            return _dry_run(conn, folder)
        refuse_standby(conn)
        with _locked(conn, log):
            plan = _read_plan(conn, folder)
            work = _check(plan, folder)
            roles = _apply_roles(conn, folder.roles, log)
            conn.execute(f"set role {OWNER}".encode())
            create_ledger(conn)
            report = MigrateReport(
                dry_run=False, roles=roles, repeatable_files=plan.repeatable_files
            )
            _run(conn, folder, work, report, lock_timeout_ms=lock_timeout_ms, log=log)
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
