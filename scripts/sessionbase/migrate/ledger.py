"""The ledger: the files that were applied to a database, compared with those of the SQL folder."""

import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import psycopg

from sessionbase.errors import SessionbaseError
from sessionbase.migrate.files import Migration, SqlFolder

Connection = psycopg.Connection[tuple[Any, ...]]

OWNER = "sessionbase_owner"
"""The role that owns every object."""

# The ledger can't come from a migration: the first migration's own row goes into it.
CREATE_LEDGER = """
create schema if not exists ops;
comment on schema ops is 'The migration ledger: the files that were applied to this database.';
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
  'SHA-256 of the previous row''s chain followed by this row''s sha256 (both in hex). It does not '
  'match if a row was edited later.';
comment on column ops.migrations.applied_by is 'The login that ran it.';
comment on column ops.migrations.applied_at is 'When its transaction began.';
comment on column ops.migrations.duration_ms is 'How long its statements took, in milliseconds.';
create table ops.repeatable_files (
  file text primary key,
  sha256 text not null constraint sha256_is_hex check (sha256 ~ '^[0-9a-f]{64}$'),
  applied_at timestamptz not null default now()
);
comment on table ops.repeatable_files is
  'The files of sql/app and sql/api that were applied last.';
comment on column ops.repeatable_files.file is 'The file''s path below sql/.';
comment on column ops.repeatable_files.sha256 is 'SHA-256 of the file''s bytes, in hex.';
comment on column ops.repeatable_files.applied_at is 'When the files were applied.';
alter table ops.migrations enable row level security;
alter table ops.repeatable_files enable row level security;
"""

# What later versions of the runner added. Run once: in a new database directly after CREATE_LEDGER,
# in an older one by the first run of this version.
UPGRADE_LEDGER = """
alter table ops.migrations
  add column content text,
  add column kind text not null default 'applied'
    constraint kind_is_known check (kind in ('applied', 'baseline'));
comment on column ops.migrations.content is
  'The text of the file. Null if a version that did not keep it applied the file.';
comment on column ops.migrations.kind is
  'applied: its statements ran. baseline: its objects existed, and only this row was written.';
alter table ops.repeatable_files add column content text;
comment on column ops.repeatable_files.content is
  'The text of the file. Null if a version that did not keep it applied the file.';
create table ops.unfinished_migrations (
  version integer primary key,
  sha256 text not null constraint sha256_is_hex check (sha256 ~ '^[0-9a-f]{64}$'),
  started_by text not null default session_user,
  started_at timestamptz not null default now()
);
comment on table ops.unfinished_migrations is
  'A row while a migration without a transaction runs. After a crash it remains, and the next run '
  'completes that migration.';
comment on column ops.unfinished_migrations.version is
  'The number that the file''s name starts with.';
comment on column ops.unfinished_migrations.sha256 is 'SHA-256 of the file''s bytes, in hex.';
comment on column ops.unfinished_migrations.started_by is 'The login that ran it.';
comment on column ops.unfinished_migrations.started_at is 'When its statement began.';
create table ops.ledger_changes (
  id bigint generated always as identity primary key,
  changed_at timestamptz not null default now(),
  changed_by text not null default session_user,
  action text not null constraint action_is_known check (action in ('baseline', 'repair')),
  reason text not null constraint reason_is_not_empty check (reason <> ''),
  before jsonb not null,
  after jsonb not null
);
comment on table ops.ledger_changes is
  'The deliberate changes of ops.migrations: by migrate baseline and migrate repair.';
comment on column ops.ledger_changes.id is 'In the order of the changes.';
comment on column ops.ledger_changes.changed_at is 'When its transaction began.';
comment on column ops.ledger_changes.changed_by is 'The login that made the change.';
comment on column ops.ledger_changes.action is 'The command: baseline or repair.';
comment on column ops.ledger_changes.reason is 'Why, in the words of the person who ran it.';
comment on column ops.ledger_changes.before is 'The rows that were changed or removed.';
comment on column ops.ledger_changes.after is 'These rows after the change.';
alter table ops.unfinished_migrations enable row level security;
alter table ops.ledger_changes enable row level security;
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
    """The difference between a folder and a database. Files are named without their folder."""

    applied: list[Applied]
    pending: list[Migration]
    changed: list[str]
    """Files that were edited or renamed after they were applied."""
    missing: list[str]
    """Files that were applied and are not in the folder any more."""
    newer: list[str]
    """Files that were applied and have a number above the folder's last."""
    gaps: list[int]
    """Numbers that neither a file nor the ledger has, below the folder's last."""
    repeatable_files: list[str]
    """Labels of the files of app/ and api/ to apply, in order, and then of deleted ones.

    All files, if one of them changed or a migration is pending; else empty.
    """
    broken_at: int | None = field(default=None)
    """The first version whose chain does not match the rows before it."""


def next_chain(previous: str, sha256: str) -> str:
    """Return the chain value of the row after the one whose chain is `previous` ('' at first)."""
    return hashlib.sha256((previous + sha256).encode()).hexdigest()


def tables_in_ops(conn: Connection) -> set[str]:
    """Return the names of the tables in schema ops; the login needs no right on the schema."""
    rows = conn.execute(
        "select relname from pg_class where relnamespace = to_regnamespace('ops') and relkind = 'r'"
    ).fetchall()
    return {str(row[0]) for row in rows}


def ledger_exists(conn: Connection) -> bool:
    """Return whether this database has our ledger."""
    return tables_in_ops(conn) >= {"migrations", "repeatable_files"}


def ledger_is_current(conn: Connection) -> bool:
    """Return whether the ledger has what UPGRADE_LEDGER adds."""
    return "ledger_changes" in tables_in_ops(conn)


def _read_rows(conn: Connection) -> tuple[list[Applied], dict[str, str]]:
    if not ledger_exists(conn):
        return [], {}
    try:
        rows = conn.execute(
            "select version, name, sha256, chain, applied_by, applied_at, duration_ms"
            " from ops.migrations order by version"
        ).fetchall()
        files = conn.execute("select file, sha256 from ops.repeatable_files").fetchall()
    except psycopg.errors.InsufficientPrivilege as error:
        raise SessionbaseError(
            f"this login may not read the migration ledger: {error.diag.message_primary}",
            f'a DBA runs: grant {OWNER} to "{conn.info.user}"',
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
    """Compare the ledger with the folder. Reads only."""
    applied, before = _read_rows(conn)
    files = {migration.version: migration for migration in folder.migrations}
    last = max(files, default=0)
    done = {row.version for row in applied}
    now = {file.label: file.sha256 for file in folder.repeatable}
    pending = [migration for migration in folder.migrations if migration.version not in done]
    deleted = sorted(before.keys() - now.keys())
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
        # A migration can change what a view selects, so all of them are applied after it.
        repeatable_files=[*now, *deleted] if pending or now != before else [],
        broken_at=_first_broken(applied),
    )


def validate_plan(plan: Plan) -> None:
    """Raise a SessionbaseError if the folder's migrations do not continue the ledger."""
    if plan.newer:
        raise SessionbaseError(
            f"the database is newer than this folder: it has {', '.join(plan.newer)}",
            "use the version of sessionbase that applied it, or a later one",
        )
    if plan.missing:
        raise SessionbaseError(
            f"applied, but deleted from migrations/: {', '.join(plan.missing)}",
            "restore the file from version control",
        )
    if plan.changed:
        raise SessionbaseError(
            f"changed after it was applied: {', '.join(plan.changed)}",
            "restore the file, and put the change into a new migration",
        )
    if plan.gaps:
        raise SessionbaseError(
            f"migrations/ has no file numbered {', '.join(f'{number:04}' for number in plan.gaps)}",
            "the numbers start at 0001 and have no gap",
        )
    if plan.broken_at is not None:
        raise SessionbaseError(
            f"the ledger ops.migrations was edited: the chain of row {plan.broken_at} does not "
            "match the rows before it",
            "restore its rows from a backup",
        )


def record_migration(conn: Connection, migration: Migration, duration_ms: int) -> None:
    """Write the ledger row of a migration into the running transaction."""
    row = conn.execute("select chain from ops.migrations order by version desc limit 1").fetchone()
    sha256 = migration.file.sha256
    conn.execute(
        "insert into ops.migrations (version, name, sha256, chain, duration_ms, content)"
        " values (%s, %s, %s, %s, %s, %s)",
        (
            migration.version,
            migration.name,
            sha256,
            next_chain(row[0] if row else "", sha256),
            duration_ms,
            migration.file.text,
        ),
    )


def record_repeatable_files(conn: Connection, folder: SqlFolder) -> None:
    """Write into the running transaction which repeatable files were applied."""
    conn.execute("delete from ops.repeatable_files")
    for file in folder.repeatable:
        conn.execute(
            "insert into ops.repeatable_files (file, sha256, content) values (%s, %s, %s)",
            (file.label, file.sha256, file.text),
        )
