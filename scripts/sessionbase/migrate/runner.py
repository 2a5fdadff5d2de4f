"""The migration runner: roles, then each new migration, then schema api."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from sessionbase.errors import SessionbaseError, UsageError
from sessionbase.migrate.execute import StatementFailed, apply_session_settings, run_statements
from sessionbase.migrate.files import (
    Migration,
    SqlFile,
    SqlFolder,
    Statement,
    check_api,
    check_migration,
    read_folder,
)
from sessionbase.migrate.ledger import (
    CREATE_LEDGER,
    Connection,
    Plan,
    ledger_exists,
    make_plan,
    record_migration,
    validate_plan,
)
from sessionbase.migrate.projection import ApiReport, project
from sessionbase.options import connect
from sessionbase.paths import resource_path

OWNER = "sessionbase_owner"
ROLES = (
    OWNER,
    "sessionbase_replicator",
    "authenticator",
    "anon",
    "authenticated",
    "auditor",
)

# One runner at a time in a database: a session-level advisory lock on this key ("sessbase" in
# ASCII). It is the database's own, so a runner that dies lets go of it.
LOCK_KEY = int.from_bytes(b"sessbase", "big")

# Roles belong to the whole cluster, and the lock does not: runners in two databases can write one
# role's row at once. PostgreSQL then refuses the second, which has only to try again.
_ROLES_TRIES = 10

_UNITS_MS = {"ms": 1, "s": 1000, "min": 60_000}

Log = Callable[[str], None]


@dataclass(frozen=True)
class AppliedMigration:
    """A migration that this run applied; in a dry run it would, and `duration_ms` is None."""

    version: int
    name: str
    duration_ms: int | None


@dataclass
class MigrateReport:
    """What a run did, or in a dry run would do."""

    dry_run: bool
    roles: str
    """`applied`, or `skipped` where the login may not create roles and they are there."""
    migrations: list[AppliedMigration] = field(default_factory=list)
    api_files: list[str] = field(default_factory=list)
    """The api files that were applied, or that are gone and therefore forgotten."""
    api: ApiReport | None = None
    """What became of schema api; None where nothing there changed, and in a dry run."""

    @property
    def nothing_to_do(self) -> bool:
        """Tell whether the database already was what the folder says."""
        return not self.migrations and not self.api_files


def parse_lock_timeout(text: str) -> int:
    """Return the milliseconds of a duration like `500ms`, `5s` or `1min`; 0 waits without end."""
    match = re.fullmatch(r"(\d+)\s*(ms|s|min)", text.strip())
    if match is None:
        raise UsageError(f"--lock-timeout {text!r} is no duration", "a number and ms, s or min: 5s")
    return int(match[1]) * _UNITS_MS[match[2]]


def _missing_roles(conn: Connection) -> list[str]:
    rows = conn.execute("select rolname from pg_roles where rolname = any(%s)", (list(ROLES),))
    there = {row[0] for row in rows.fetchall()}
    return [role for role in ROLES if role not in there]


def _may_create_roles(conn: Connection) -> bool:
    row = conn.execute(
        "select rolsuper or rolcreaterole from pg_roles where rolname = session_user"
    ).fetchone()
    return bool(row and row[0])


def _may_become_owner(conn: Connection) -> bool:
    row = conn.execute(
        # Before 16 every member may become the role, and pg_has_role does not know 'set'.
        "select pg_has_role(session_user, oid,"
        " case when current_setting('server_version_num')::int < 160000 then 'member'"
        " else 'set' end) from pg_roles where rolname = %s",
        (OWNER,),
    ).fetchone()
    return bool(row and row[0])


def _require_roles(conn: Connection) -> None:
    """Raise a SessionbaseError where the rest could not run as the owner of the objects."""
    missing = _missing_roles(conn)
    if missing:
        raise SessionbaseError(
            f"the roles {', '.join(missing)} are missing, and this login may not create them",
            "a DBA runs once: psql -f sql/roles.sql",
        )
    if not _may_become_owner(conn):
        raise SessionbaseError(
            f"this login is not a member of {OWNER}, which owns every object",
            f"a DBA grants it: grant {OWNER} to the login",
        )


def _apply_roles(conn: Connection, roles: SqlFile | None, log: Log) -> str:
    """Apply roles.sql where the login may; return `applied` or `skipped`."""
    if roles is None or not _may_create_roles(conn):
        _require_roles(conn)
        log("roles.sql skipped: this login may not create roles, and they are all there")
        return "skipped"
    statements = check_migration(roles)
    for last_try in [False] * (_ROLES_TRIES - 1) + [True]:
        try:
            with conn.transaction():
                apply_session_settings(conn, 0)
                run_statements(conn, roles, statements)
            break
        except StatementFailed as failure:
            # XX000 "tuple concurrently updated", 23505 and 42710: the other made it first.
            if failure.sqlstate == "42501" and not _missing_roles(conn) and _may_become_owner(conn):
                log("roles.sql skipped: the roles are there, and another login made them")
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
        log("another runner is at work in this database: waiting for it to end")
        # A login can have its own timeouts, and this wait is not what they are meant for.
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
    """Connect, with every transaction opened explicitly."""
    with connect(db_uri) as conn:
        conn.autocommit = True
        yield conn


def _create_ledger(conn: Connection) -> None:
    if ledger_exists(conn):
        return
    try:
        with conn.transaction():
            apply_session_settings(conn, 0)
            conn.execute(CREATE_LEDGER.encode())
    except psycopg.errors.InsufficientPrivilege as error:
        raise SessionbaseError(
            f"{OWNER} may not make the ledger: {error.diag.message_primary}",
            f"a DBA runs in this database: grant create on database {conn.info.dbname} to {OWNER}",
        ) from error


def _apply(
    conn: Connection, migration: Migration, statements: list[Statement], lock_timeout_ms: int
) -> AppliedMigration:
    start = time.monotonic()
    with conn.transaction():
        apply_session_settings(conn, lock_timeout_ms)
        run_statements(conn, migration.file, statements)
        duration_ms = round((time.monotonic() - start) * 1000)
        record_migration(conn, migration, duration_ms)
    return AppliedMigration(migration.version, migration.name, duration_ms)


def _check(
    plan: Plan, folder: SqlFolder
) -> tuple[list[tuple[Migration, list[Statement]]], list[tuple[SqlFile, list[Statement]]]]:
    """Refuse all that can be refused before anything runs; return what is to run, parsed."""
    validate_plan(plan)
    migrations = [(migration, check_migration(migration.file)) for migration in plan.pending]
    api = [(file, check_api(file)) for file in folder.api] if plan.api_files else []
    return migrations, api


def _read_plan(conn: Connection, folder: SqlFolder) -> Plan:
    """Read the plan in a read-only transaction, as the owner where the login may."""
    with conn.transaction():
        conn.execute("set transaction read only")
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
        api_files=plan.api_files,
    )


def migrate(
    db_uri: str,
    sql_dir: Path | None = None,
    *,
    dry_run: bool = False,
    lock_timeout_ms: int = 5000,
    log: Log = lambda _: None,
) -> MigrateReport:
    """Bring the database to what the SQL folder says, and return what was done.

    `sql_dir` is the shipped folder unless named. `lock_timeout_ms` (milliseconds, 0 without end)
    is how long a statement of a migration may wait for a lock. `log` gets one line of text for each
    step. Raises SessionbaseError; every file that was
    finished before stays applied, the one that failed leaves nothing behind.
    """
    folder = read_folder(sql_dir or resource_path("sql"))
    with _open(db_uri) as conn:
        if dry_run:
            return _dry_run(conn, folder)
        with _locked(conn, log):
            plan = _read_plan(conn, folder)
            migrations, api = _check(plan, folder)
            roles = _apply_roles(conn, folder.roles, log)
            conn.execute(f"set role {OWNER}".encode())
            _create_ledger(conn)
            report = MigrateReport(dry_run=False, roles=roles, api_files=plan.api_files)
            for migration, statements in migrations:
                applied = _apply(conn, migration, statements, lock_timeout_ms)
                report.migrations.append(applied)
                log(f"applied {migration.file.label} in {applied.duration_ms} ms")
            if plan.api_files:
                report.api = project(conn, api, folder, lock_timeout_ms)
                log(f"schema api now follows {len(api)} files")
            return report


def status(db_uri: str, sql_dir: Path | None = None) -> Plan:
    """Compare the database with the SQL folder; it only reads, and waits for no one.

    Raises SessionbaseError where it can't connect or read.
    """
    folder = read_folder(sql_dir or resource_path("sql"))
    with _open(db_uri) as conn:
        return _read_plan(conn, folder)


def pending(db_uri: str, sql_dir: Path | None = None) -> list[str]:
    """Return the names of the files that `migrate` would apply: migrations, then api files."""
    plan = status(db_uri, sql_dir)
    return [migration.file.label for migration in plan.pending] + plan.api_files
