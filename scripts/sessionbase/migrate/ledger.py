"""The ledger: what was applied to a database, and what that means for the files of today."""

import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import psycopg

from sessionbase.errors import SessionbaseError
from sessionbase.migrate.files import Migration, SqlFolder

Connection = psycopg.Connection[tuple[Any, ...]]

# The ledger can't come from a migration: the first migration's own row goes into it.
CREATE_LEDGER = """
create schema if not exists ops;
comment on schema ops is 'How this database was made: the migration ledger.';
create table ops.migrations (
  version integer primary key constraint version_is_positive check (version > 0),
  name text not null,
  sha256 text not null constraint sha256_is_hex check (sha256 ~ '^[0-9a-f]{64}$'),
  chain text not null constraint chain_is_hex check (chain ~ '^[0-9a-f]{64}$'),
  applied_by text not null default session_user,
  applied_at timestamptz not null default now(),
  duration_ms integer not null constraint duration_is_not_negative check (duration_ms >= 0)
);
comment on table ops.migrations is 'One row for each applied file of sql/migrations.';
comment on column ops.migrations.version is 'The number that the file''s name starts with.';
comment on column ops.migrations.name is 'The rest of the file''s name, without .sql.';
comment on column ops.migrations.sha256 is 'SHA-256 of the file''s bytes, in hex.';
comment on column ops.migrations.chain is
  'SHA-256 of the previous row''s chain followed by this row''s sha256 (both in hex): it shows '
  'an edit of the history.';
comment on column ops.migrations.applied_by is 'The login that ran it.';
comment on column ops.migrations.applied_at is 'When its transaction began.';
comment on column ops.migrations.duration_ms is 'How long its statements took, in milliseconds.';
create table ops.api_files (
  file text primary key,
  sha256 text not null constraint sha256_is_hex check (sha256 ~ '^[0-9a-f]{64}$'),
  applied_at timestamptz not null default now()
);
comment on table ops.api_files is 'The files of sql/api that schema api was last made from.';
comment on column ops.api_files.file is 'The file''s path below sql/.';
comment on column ops.api_files.sha256 is 'SHA-256 of the file''s bytes, in hex.';
comment on column ops.api_files.applied_at is 'When schema api was brought to what it says.';
alter table ops.migrations enable row level security;
alter table ops.api_files enable row level security;
"""


@dataclass(frozen=True)
class Applied:
    """One row of ops.migrations. `duration_ms` is in milliseconds."""

    version: int
    name: str
    sha256: str
    chain: str
    applied_by: str
    applied_at: datetime
    duration_ms: int

    @property
    def file_name(self) -> str:
        """The name that the file had when it was applied."""
        return f"{self.version:04}_{self.name}.sql"


@dataclass(frozen=True)
class Plan:
    """What a folder means for a database. `newer` holds the rows above the folder's last number."""

    applied: list[Applied]
    pending: list[Migration]
    changed: list[str]
    missing: list[str]
    newer: list[str]
    gaps: list[int]
    """Numbers that neither a file nor the ledger has, below the folder's last."""
    api_files: list[str]
    """The api files to apply or forget, empty where schema api is as they say."""
    broken_at: int | None = field(default=None)
    """The first version whose chain does not follow from the rows before it."""


def next_chain(previous: str, sha256: str) -> str:
    """Return the chain value of the row after the one whose chain is `previous` ('' at first)."""
    return hashlib.sha256((previous + sha256).encode()).hexdigest()


def ledger_exists(conn: Connection) -> bool:
    """Tell whether a runner has been at this database."""
    row = conn.execute("select to_regclass('ops.migrations') is not null").fetchone()
    return bool(row and row[0])


def _read_rows(conn: Connection) -> tuple[list[Applied], dict[str, str]]:
    if not ledger_exists(conn):
        return [], {}
    try:
        rows = conn.execute(
            "select version, name, sha256, chain, applied_by, applied_at, duration_ms"
            " from ops.migrations order by version"
        ).fetchall()
        files = conn.execute("select file, sha256 from ops.api_files").fetchall()
    except psycopg.errors.InsufficientPrivilege as error:
        raise SessionbaseError(
            f"this login may not read the migration ledger: {error.diag.message_primary}",
            "as a DBA: grant sessionbase_owner to it",
        ) from error
    return [Applied(*row) for row in rows], dict(files)


def _first_broken(applied: list[Applied]) -> int | None:
    chain = ""
    for number, row in enumerate(applied, start=1):
        chain = next_chain(chain, row.sha256)
        if row.version != number or row.chain != chain:
            return row.version
    return None


def make_plan(conn: Connection, folder: SqlFolder) -> Plan:
    """Compare the ledger with the folder; it reads only."""
    applied, api_before = _read_rows(conn)
    files = {migration.version: migration for migration in folder.migrations}
    last = max(files, default=0)
    done = {row.version for row in applied}
    api_now = {file.label: file.sha256 for file in folder.api}
    pending = [migration for migration in folder.migrations if migration.version not in done]
    differing = {label for label, _ in api_now.items() ^ api_before.items()}
    return Plan(
        applied=applied,
        pending=pending,
        changed=[
            row.file_name
            for row in applied
            if (file := files.get(row.version))
            and (file.file.sha256 != row.sha256 or file.name != row.name)
        ],
        missing=[
            row.file_name for row in applied if row.version not in files and row.version < last
        ],
        newer=[row.file_name for row in applied if row.version > last],
        gaps=[number for number in range(1, last) if number not in files and number not in done],
        # A migration can change what a view selects, so the whole projection follows it.
        api_files=sorted(differing | set(api_now)) if pending or differing else [],
        broken_at=_first_broken(applied),
    )


def validate_plan(plan: Plan) -> None:
    """Raise a SessionbaseError where the folder does not continue the database's history."""
    if plan.newer:
        raise SessionbaseError(
            f"the database is newer than this folder: it has {', '.join(plan.newer)}",
            "use the version of sessionbase that applied it, or a later one",
        )
    if plan.missing:
        raise SessionbaseError(
            f"applied and gone from migrations/: {', '.join(plan.missing)}",
            "bring the file back from version control",
        )
    if plan.changed:
        raise SessionbaseError(
            f"changed after it was applied: {', '.join(plan.changed)}",
            "restore the file, and put the change into a new migration",
        )
    if plan.gaps:
        raise SessionbaseError(
            f"migrations/ has no file numbered {', '.join(f'{number:04}' for number in plan.gaps)}",
            "the numbers start at 0001 and leave no gap",
        )
    if plan.broken_at is not None:
        raise SessionbaseError(
            f"the ledger ops.migrations was edited: row {plan.broken_at} does not follow from the "
            "rows before it",
            "restore its rows from a backup",
        )


def record_migration(conn: Connection, migration: Migration, duration_ms: int) -> None:
    """Write the ledger row of a migration into the running transaction."""
    row = conn.execute("select chain from ops.migrations order by version desc limit 1").fetchone()
    sha256 = migration.file.sha256
    conn.execute(
        "insert into ops.migrations (version, name, sha256, chain, duration_ms)"
        " values (%s, %s, %s, %s, %s)",
        (
            migration.version,
            migration.name,
            sha256,
            next_chain(row[0] if row else "", sha256),
            duration_ms,
        ),
    )


def record_api_files(conn: Connection, folder: SqlFolder) -> None:
    """Note in the running transaction which files schema api now follows."""
    conn.execute("delete from ops.api_files")
    for file in folder.api:
        conn.execute(
            "insert into ops.api_files (file, sha256) values (%s, %s)", (file.label, file.sha256)
        )
