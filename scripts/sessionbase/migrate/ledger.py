"""The ledger: the files that were applied to a database, compared with those of the SQL folder."""

import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from sessionbase.errors import SessionbaseError
from sessionbase.migrate.edits import Edit, make_edit
from sessionbase.migrate.files import Migration, SqlFolder

Connection = psycopg.Connection[tuple[Any, ...]]

OWNER = "sessionbase_owner"
"""The role that owns every object."""

LEDGER_TABLES = {"migrations", "repeatable_files"}
"""The tables of the ledger of every released version."""

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
  action text not null constraint action_is_known check (action in ('baseline', 'repair', 'skip')),
  reason text not null constraint reason_is_not_empty check (reason <> ''),
  before jsonb not null,
  after jsonb not null
);
comment on table ops.ledger_changes is
  'The deliberate changes of ops.migrations, by migrate baseline and migrate repair, and the '
  'findings that migrate --skip-lint accepted.';
comment on column ops.ledger_changes.id is 'In the order of the changes.';
comment on column ops.ledger_changes.changed_at is 'When its transaction began.';
comment on column ops.ledger_changes.changed_by is 'The login that made the change.';
comment on column ops.ledger_changes.action is
  'The command: baseline or repair; skip: migrate --skip-lint.';
comment on column ops.ledger_changes.reason is 'Why, in the words of the person who ran it.';
comment on column ops.ledger_changes.before is 'The rows that were changed or removed.';
comment on column ops.ledger_changes.after is 'These rows after the change.';
alter table ops.unfinished_migrations enable row level security;
alter table ops.ledger_changes enable row level security;
create function ops.refuse_change() returns trigger
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  raise exception '%.% is a log: its rows are never changed or deleted',
    tg_table_schema, tg_table_name
    using errcode = 'insufficient_privilege',
      hint = 'Only migrate baseline, migrate repair and migrate --skip-lint add rows to it.';
end
$$;
revoke execute on function ops.refuse_change() from public;
comment on function ops.refuse_change() is
  'Trigger: refuses every UPDATE, DELETE and TRUNCATE of the table.';
create trigger append_only before update or delete or truncate on ops.ledger_changes
for each statement execute function ops.refuse_change();
comment on trigger append_only on ops.ledger_changes is
  'A row is not changed or deleted later. The owner of the table could disable this trigger.';
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
    kind: str
    """`applied`, or `baseline` if only the row was written."""
    content: str | None = field(repr=False)
    """The text of the file; None if the version that applied it did not keep it."""

    @property
    def kept_text(self) -> str | None:
        """The text, if it has the row's SHA-256; None if there is none, or it was changed."""
        if self.content is None:
            return None
        matches = hashlib.sha256(self.content.encode()).hexdigest() == self.sha256
        return self.content if matches else None

    @property
    def file_name(self) -> str:
        """The name that the file had when it was applied."""
        return f"{self.version:04}_{self.name}.sql"


@dataclass(frozen=True)
class RepeatableRow:
    """One row of ops.repeatable_files."""

    file: str
    sha256: str
    content: str | None = field(repr=False)
    """The text of the file; None if the version that applied it did not keep it."""


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
    unfinished: list[str] = field(default_factory=list)
    """Migrations without a transaction that began and did not end: the next run completes them."""
    cannot_continue: list[str] = field(default_factory=list)
    """Those of `unfinished` that a run refuses: the file was edited or deleted since it began."""
    edits: list[Edit] = field(default_factory=list)
    """Each file of `changed`, and each repeatable file that was edited since it was applied."""

    @property
    def needs_decision(self) -> list[str]:
        """Return what `migrate` can't or must not apply without a person's decision."""
        gaps = [f"{number:04}" for number in self.gaps]
        broken = [] if self.broken_at is None else [f"row {self.broken_at} of the ledger"]
        return [*self.changed, *self.missing, *self.newer, *gaps, *broken, *self.cannot_continue]


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
    return tables_in_ops(conn) >= LEDGER_TABLES


def ledger_is_current(conn: Connection) -> bool:
    """Return whether the ledger has what UPGRADE_LEDGER adds."""
    return "ledger_changes" in tables_in_ops(conn)


def read_ledger(conn: Connection) -> tuple[list[Applied], list[RepeatableRow], dict[int, str]]:
    """Return the migrations, the repeatable files and the unfinished migrations of the ledger.

    The last are versions with the SHA-256 of the text that began. All are empty if there is no
    ledger. Works with the ledger of every released version.
    Raises SessionbaseError if the login may not read it.
    """
    tables = tables_in_ops(conn)
    if not tables >= LEDGER_TABLES:
        return [], [], {}
    try:
        rows = conn.execute(
            "select version, name, sha256, chain, applied_by, applied_at, duration_ms,"
            # A ledger that an older version created lacks these two columns.
            " coalesce(to_jsonb(m) ->> 'kind', 'applied'), to_jsonb(m) ->> 'content'"
            " from ops.migrations m order by version"
        ).fetchall()
        files = conn.execute(
            "select file, sha256, to_jsonb(f) ->> 'content' from ops.repeatable_files f"
            " order by file"
        ).fetchall()
        unfinished = []
        if "unfinished_migrations" in tables:
            unfinished = conn.execute(
                "select version, sha256 from ops.unfinished_migrations order by version"
            ).fetchall()
    except psycopg.errors.InsufficientPrivilege as error:
        raise SessionbaseError(
            f"this login may not read the migration ledger: {error.diag.message_primary}",
            f'a DBA runs: grant {OWNER} to "{conn.info.user}"',
        ) from error
    return (
        [Applied(*row) for row in rows],
        [RepeatableRow(*row) for row in files],
        {int(version): str(sha256) for version, sha256 in unfinished},
    )


def first_broken(applied: list[Applied]) -> int | None:
    """Return the first version whose chain does not match the rows before it; None if all do."""
    chain = ""
    for number, row in enumerate(applied, start=1):
        chain = next_chain(chain, row.sha256)
        if row.version != number or row.chain != chain:
            return row.version
    return None


def _edits(
    folder: SqlFolder, applied: list[Applied], repeatable: list[RepeatableRow]
) -> list[Edit]:
    """Return the files whose text or name differs from the ledger's."""
    files = {migration.version: migration for migration in folder.migrations}
    found = []
    for row in applied:
        now = files.get(row.version)
        if now and (now.file.sha256 != row.sha256 or now.name != row.name):
            names = f"migrations/{row.file_name}", now.file.label
            found.append(make_edit(names, row.kept_text, now.file))
    now_repeatable = {file.label: file for file in folder.repeatable}
    for item in repeatable:
        file = now_repeatable.get(item.file)
        # Not by the checksum alone: a migration can reset it, so that the file is applied again.
        if file and item.sha256 != file.sha256 and item.content != file.text:
            found.append(make_edit((item.file, item.file), item.content, file))
    return found


def make_plan(conn: Connection, folder: SqlFolder) -> Plan:
    """Compare the ledger with the folder. Reads only."""
    applied, repeatable, unfinished = read_ledger(conn)
    before = {row.file: row.sha256 for row in repeatable}
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
        broken_at=first_broken(applied),
        unfinished=[
            files[version].file.path.name if version in files else f"{version:04}"
            for version in unfinished
        ],
        cannot_continue=[
            files[version].file.path.name if version in files else f"{version:04}"
            for version, sha256 in unfinished.items()
            if version not in files or version in done or files[version].file.sha256 != sha256
        ],
        edits=_edits(folder, applied, repeatable),
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
            "restore the file from version control; migrate repair can remove the newest rows",
        )
    if plan.changed:
        described = [edit.summary for edit in plan.edits if not edit.repeatable]
        raise SessionbaseError(
            f"changed after it was applied: {'; '.join(described)}",
            "restore the file, and put the change into a new migration; migrate status --diff "
            "shows the change, and migrate repair accepts it",
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
            "restore its rows from a backup; migrate repair --recompute-chain accepts them as they "
            "are",
        )


def record_migration(
    conn: Connection, migration: Migration, duration_ms: int, kind: str = "applied"
) -> None:
    """Write the ledger row of a migration into the running transaction."""
    row = conn.execute("select chain from ops.migrations order by version desc limit 1").fetchone()
    sha256 = migration.file.sha256
    conn.execute(
        "insert into ops.migrations (version, name, sha256, chain, duration_ms, content, kind)"
        " values (%s, %s, %s, %s, %s, %s, %s)",
        (
            migration.version,
            migration.name,
            sha256,
            next_chain(row[0] if row else "", sha256),
            duration_ms,
            migration.file.text,
            kind,
        ),
    )


def record_change(
    conn: Connection,
    action: str,
    reason: str,
    before: list[dict[str, Any]],
    after: list[dict[str, Any]],
) -> None:
    """Write a deliberate change of the ledger into its log, in the running transaction."""
    conn.execute(
        "insert into ops.ledger_changes (action, reason, before, after) values (%s, %s, %s, %s)",
        (action, reason, Jsonb(before), Jsonb(after)),
    )


def keep_texts(conn: Connection, folder: SqlFolder) -> int:
    """Store the texts that an older version did not keep; return how many rows were completed.

    Only the text of a file that is unchanged since it was applied: with the same SHA-256.
    """
    texts = {item.sha256: item.text for item in (m.file for m in folder.migrations)}
    texts |= {file.sha256: file.text for file in folder.repeatable}
    count = 0
    with conn.transaction():
        for table in ("migrations", "repeatable_files"):
            rows = conn.execute(
                f"select distinct sha256 from ops.{table} where content is null".encode()
            ).fetchall()
            for (sha256,) in rows:
                if sha256 in texts:
                    count += conn.execute(
                        f"update ops.{table} set content = %s"
                        " where sha256 = %s and content is null".encode(),
                        (texts[sha256], sha256),
                    ).rowcount
    return count


def delete_repeatable_rows(conn: Connection) -> None:
    """Write into the running transaction that the repeatable files must be applied again.

    A migration can change what they define. The end of the run applies and records them; if the run
    ends before that, the next one does.
    """
    conn.execute("delete from ops.repeatable_files")


def record_repeatable_files(conn: Connection, folder: SqlFolder) -> None:
    """Write into the running transaction which repeatable files were applied."""
    delete_repeatable_rows(conn)
    for file in folder.repeatable:
        conn.execute(
            "insert into ops.repeatable_files (file, sha256, content) values (%s, %s, %s)",
            (file.label, file.sha256, file.text),
        )
