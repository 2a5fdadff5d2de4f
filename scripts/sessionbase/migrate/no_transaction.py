"""Run a migration without a transaction: CREATE INDEX CONCURRENTLY and the like.

PostgreSQL runs such a statement in several transactions of its own, so that it and its row in the
ledger can't be committed together. A row in ops.unfinished_migrations is committed first. If the
run ends in between, the next run finds that row, removes what the statement left, and runs it
again, or records it if it was complete.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from pglast import ast
from pglast.parser import scan
from psycopg import sql

from sessionbase.console import Log
from sessionbase.errors import SessionbaseError
from sessionbase.migrate.blockers import blockers_of
from sessionbase.migrate.execute import (
    StatementFailed,
    apply_session_settings,
    run_statement,
    session_settings,
)
from sessionbase.migrate.files import Migration, Statement
from sessionbase.migrate.ledger import (
    Connection,
    delete_repeatable_rows,
    record_migration,
    tables_in_ops,
)
from sessionbase.signals import Stopped

PROGRESS_S = 5.0
"""The time between two lines about a running statement, in seconds."""

# Another session's CONCURRENTLY and this one can wait for each other. PostgreSQL then ends one.
_TRIES = 5
_PAUSE_S = 1.0
_DEADLOCK = "40P01"

_INDEX = """
select i.indrelid = to_regclass(%(table)s) as on_table,
       i.indisvalid and i.indisready and i.indislive as valid,
       c.oid, i.indrelid
  from pg_class c left join pg_index i on i.indexrelid = c.oid
 where c.oid = to_regclass(%(index)s)
"""

# The definition without the names of the index and of its table.
_DEFINITION = """
select i.indisunique, c.reltablespace,
       substr(pg_get_indexdef(c.oid), 1 + length(format(
         'CREATE %%sINDEX %%I ON %%I.%%I', case when i.indisunique then 'UNIQUE ' end,
         c.relname, n.nspname, t.relname)))
  from pg_index i
  join pg_class c on c.oid = i.indexrelid
  join pg_class t on t.oid = i.indrelid
  join pg_namespace n on n.oid = t.relnamespace
 where i.indexrelid = %s
"""

# What REINDEX CONCURRENTLY leaves: the new index or the replaced one, with a suffix to the name,
# which is shortened before it if it is too long.
_LEFT_BY_REINDEX = """
select n.nspname, c.relname
  from pg_index o
  join pg_class r on r.oid = o.indexrelid
  join pg_index i on i.indrelid = o.indrelid and i.indexrelid <> o.indexrelid
  join pg_class c on c.oid = i.indexrelid
  join pg_namespace n on n.oid = c.relnamespace
 where o.indexrelid = %s and not (i.indisvalid and i.indisready and i.indislive)
   and c.relname ~ '_cc(new|old)[0-9]*$'
   and starts_with(r.relname, regexp_replace(c.relname, '_cc(new|old)[0-9]*$', ''))
"""

# CREATE INDEX, DROP INDEX and REINDEX with CONCURRENTLY hold this lock on the table. A vacuum
# holds it too; an automatic one ends when another session waits for the lock.
_OTHER_BUILDER = """
select l.pid from pg_locks l join pg_stat_activity a using (pid)
 where l.locktype = 'relation' and l.relation = %s and l.granted
   and l.database = (select d.oid from pg_database d where d.datname = current_database())
   and l.mode = 'ShareUpdateExclusiveLock'
   and l.pid <> pg_backend_pid() and a.backend_type <> 'autovacuum worker'
 limit 1
"""

_PARTITION = """
select inhdetachpending from pg_inherits
 where inhrelid = to_regclass(%s) and inhparent = to_regclass(%s)
"""

_PROGRESS = """
select format('%%s, %%s of %%s blocks', phase, blocks_done, blocks_total)
  from pg_stat_progress_create_index where pid = %(pid)s
union all
select format('%%s, %%s of %%s blocks', phase, heap_blks_scanned, heap_blks_total)
  from pg_stat_progress_vacuum where pid = %(pid)s
"""


@dataclass(frozen=True)
class Unfinished:
    """A row of ops.unfinished_migrations: a migration that started, and that no run completed."""

    version: int
    sha256: str
    started_by: str
    started_at: datetime


def unfinished(conn: Connection) -> list[Unfinished]:
    """Return the migrations without a transaction that started and are not complete.

    Reads only; the list is empty in a database whose ledger an earlier version created.
    """
    if "unfinished_migrations" not in tables_in_ops(conn):
        return []
    rows = conn.execute(
        "select version, sha256, started_by, started_at"
        " from ops.unfinished_migrations order by version"
    ).fetchall()
    return [Unfinished(*row) for row in rows]


def refuse_edited(conn: Connection, pending: list[Migration]) -> None:
    """Raise a SessionbaseError if an unfinished migration was edited after it started.

    What the old text left in the database is then unknown.
    """
    files = {migration.version: migration.file for migration in pending}
    for row in unfinished(conn):
        file = files.get(row.version)
        if file is not None and file.sha256 != row.sha256:
            raise SessionbaseError(
                f"{file.label} was edited after a run of it was interrupted at "
                f"{row.started_at.isoformat(timespec='seconds')}",
                "restore the file and run again, which completes it; or drop what it left (an "
                "INVALID index) and delete its row: "
                f"delete from ops.unfinished_migrations where version = {row.version}",
            )


def _qualified(relation: ast.RangeVar) -> str:
    return sql.Identifier(str(relation.schemaname), str(relation.relname)).as_string()


def _wait_for_other_builder(conn: Connection, table: int, log: Log) -> None:
    """Wait until no other session builds or drops an index of the table concurrently.

    An index that another session builds is INVALID until it is complete.
    """
    logged = False
    while row := conn.execute(_OTHER_BUILDER, (table,)).fetchone():
        if not logged:
            log(f"pid {row[0]} builds or drops an index of the same table: waiting for it to end")
            logged = True
        time.sleep(0.2)


class _Operation:
    """A statement that runs without a transaction, and how it continues after an interruption."""

    def refuse(self, conn: Connection, *, started: bool) -> None:
        """Raise a SessionbaseError if the statement must not run.

        `started`: an earlier run started it.
        """

    def is_complete(self, conn: Connection, *, started: bool) -> bool:
        """Return whether the database has the result of the statement already."""
        return False

    def clean(self, conn: Connection, log: Log) -> bool:
        """Remove what an incomplete statement left; return whether nothing is left."""
        return True


class _CreateIndex(_Operation):
    def __init__(self, migration: Migration, statement: Statement) -> None:
        tree: Any = statement.tree
        self._label = migration.file.label
        self._statement = statement
        self._unique = bool(tree.unique)
        self._schema = str(tree.relation.schemaname)
        self._table = _qualified(tree.relation)
        self._index = sql.Identifier(self._schema, str(tree.idxname)).as_string()

    def _state(self, conn: Connection) -> tuple[bool, bool, int, int] | None:
        """Return whether the index is on the table and valid, its oid and that of its table."""
        names = {"index": self._index, "table": self._table}
        row = conn.execute(_INDEX, names).fetchone()
        return row and (bool(row[0]), bool(row[1]), int(row[2]), int(row[3] or 0))

    def _definition(self) -> str:
        """Return the statement after the name of the table, which ends at `on SCHEMA.TABLE`."""
        text = self._statement.text
        tokens = [t for t in scan(text) if t.name not in {"SQL_COMMENT", "C_COMMENT"}]
        names = [token.name for token in tokens]
        first = names.index("ON") + 1
        first += names[first] == "ONLY"
        return text[tokens[first + 2].end + 1 :]

    def _has_same_definition(self, conn: Connection, index: int) -> bool:
        """Compare the index with that which the statement makes on an empty copy of the table."""
        found = conn.execute(_DEFINITION, (index,)).fetchone()
        copy = sql.Identifier(self._schema, "sessionbase copy without rows").as_string()
        unique = "unique " if self._unique else ""
        with conn.transaction(force_rollback=True):
            conn.execute(f"create table {copy} (like {self._table})".encode())
            conn.execute(f"create {unique}index on {copy}{self._definition()}".encode())
            row = conn.execute(
                "select indexrelid from pg_index where indrelid = to_regclass(%s)", (copy,)
            ).fetchone()
            wanted = row and conn.execute(_DEFINITION, row).fetchone()
        return bool(found == wanted)

    def refuse(self, conn: Connection, *, started: bool) -> None:
        state = self._state(conn)
        if state is None:
            return
        on_table, valid, oid, _ = state
        if not on_table:
            raise SessionbaseError(
                f"{self._label}: {self._index} exists already and is not an index of {self._table}",
                "give the new index another name",
            )
        if not valid and not started:
            raise SessionbaseError(
                f"{self._label}: an INVALID index {self._index} exists, and no run of this file "
                "made it",
                f"if no other session builds it: drop index concurrently {self._index}",
            )
        if valid and not self._has_same_definition(conn, oid):
            raise SessionbaseError(
                f"{self._label}: an index {self._index} with another definition exists already",
                f"give the new index another name, or drop index concurrently {self._index}",
            )

    def is_complete(self, conn: Connection, *, started: bool) -> bool:
        state = self._state(conn)
        return state is not None and state[1]

    def clean(self, conn: Connection, log: Log) -> bool:
        state = self._state(conn)
        if state is None or state[1] or not state[0]:
            return True
        _wait_for_other_builder(conn, state[3], log)
        state = self._state(conn)
        if state is not None and state[0] and not state[1]:
            log(f"{self._label}: dropping the INVALID index {self._index}")
            conn.execute(f"drop index concurrently if exists {self._index}".encode())
        return True


class _DropIndex(_Operation):
    def __init__(self, index: str) -> None:
        self._index = index

    def _exists(self, conn: Connection) -> bool:
        return conn.execute("select to_regclass(%s)", (self._index,)).fetchone() != (None,)

    def is_complete(self, conn: Connection, *, started: bool) -> bool:
        return started and not self._exists(conn)

    def clean(self, conn: Connection, log: Log) -> bool:
        row = conn.execute(_INDEX, {"index": self._index, "table": None}).fetchone()
        return row is None or bool(row[1])


class _Reindex(_Operation):
    def __init__(self, index: str) -> None:
        self._index = index

    def clean(self, conn: Connection, log: Log) -> bool:
        row = conn.execute(
            "select indexrelid, indrelid from pg_index where indexrelid = to_regclass(%s)",
            (self._index,),
        ).fetchone()
        if row is None:
            return True
        _wait_for_other_builder(conn, row[1], log)
        for schema, name in conn.execute(_LEFT_BY_REINDEX, (row[0],)).fetchall():
            left = sql.Identifier(schema, name).as_string()
            log(f"dropping the INVALID index {left}, which REINDEX left")
            conn.execute(f"drop index concurrently if exists {left}".encode())
        return True


class _DetachPartition(_Operation):
    def __init__(self, parent: str, partition: str) -> None:
        self._parent = parent
        self._partition = partition

    def _pending(self, conn: Connection) -> bool | None:
        """Return whether an incomplete DETACH is there; None: it is no partition of the table."""
        row = conn.execute(_PARTITION, (self._partition, self._parent)).fetchone()
        return bool(row[0]) if row else None

    def is_complete(self, conn: Connection, *, started: bool) -> bool:
        if started and self._pending(conn):
            conn.execute(
                f"alter table {self._parent} detach partition {self._partition} finalize".encode()
            )
        return started and self._pending(conn) is None

    def clean(self, conn: Connection, log: Log) -> bool:
        return not self._pending(conn)


def _operation(migration: Migration, statement: Statement) -> _Operation:
    tree = statement.tree
    parts: Any = tree  # check_migration has checked which ones it has
    if isinstance(tree, ast.IndexStmt):
        return _CreateIndex(migration, statement)
    if isinstance(tree, ast.DropStmt):
        (name,) = parts.objects
        return _DropIndex(sql.Identifier(*(str(part.sval) for part in name)).as_string())
    if isinstance(tree, ast.ReindexStmt):
        return _Reindex(_qualified(parts.relation))
    if isinstance(tree, ast.AlterTableStmt):
        return _DetachPartition(_qualified(parts.relation), _qualified(parts.cmds[0].def_.name))
    return _Operation()


def _progress_line(watcher: Connection, pid: int) -> str:
    """Return what the session does, in words; '' if nothing is known."""
    phases = watcher.execute(_PROGRESS, {"pid": pid}).fetchall()
    parts = [str(row[0]) for row in phases]
    blockers = blockers_of(watcher, pid)
    if blockers:
        parts.append(f"waits for {'; '.join(map(str, blockers))}")
    return "; ".join(parts)


def _watch(conn: Connection, pid: int, label: str, log: Log, end: threading.Event) -> None:
    """Log a line every PROGRESS_S seconds, from a connection of its own, until `end` is set."""
    start = time.monotonic()
    if end.wait(PROGRESS_S):
        return
    try:
        with psycopg.connect(
            conn.info.dsn,
            password=conn.info.password or None,
            autocommit=True,
        ) as watcher:
            watcher.execute("set statement_timeout = '5s'")
            watcher.execute("set search_path = ''")
            while True:
                found = _progress_line(watcher, pid) or "running"
                log(f"{label}: {time.monotonic() - start:.0f} s: {found}")
                if end.wait(PROGRESS_S):
                    return
    except psycopg.Error as error:
        log(f"{label}: no progress can be shown: {str(error).strip().splitlines()[0]}")


@contextmanager
def _progress(conn: Connection, label: str, log: Log) -> Iterator[None]:
    end = threading.Event()
    watch = threading.Thread(
        target=_watch, args=(conn, conn.info.backend_pid, label, log, end), daemon=True
    )
    watch.start()
    try:
        yield
    finally:
        end.set()
        watch.join()


def _start(conn: Connection, migration: Migration) -> None:
    with conn.transaction():
        conn.execute(
            "insert into ops.unfinished_migrations (version, sha256) values (%s, %s)",
            (migration.version, migration.file.sha256),
        )


def _delete_unfinished(conn: Connection, migration: Migration) -> None:
    conn.execute("delete from ops.unfinished_migrations where version = %s", (migration.version,))


def _run_to_completion(
    conn: Connection, migration: Migration, statement: Statement, operation: _Operation, log: Log
) -> None:
    """Run the statement; clean up after a failure, and repeat it after a deadlock."""
    for last in [False] * (_TRIES - 1) + [True]:
        try:
            run_statement(conn, migration.file, statement)
            return
        except StatementFailed as failure:
            again = failure.sqlstate == _DEADLOCK and not last
            if again:
                log(f"{failure.message}: trying again")
            clean = operation.clean(conn, log)
            if not again:
                if clean:
                    _delete_unfinished(conn, migration)
                raise
        time.sleep(_PAUSE_S)


def run_without_transaction(
    conn: Connection,
    migration: Migration,
    statement: Statement,
    log: Log,
    verify: Callable[[], None] = lambda: None,
) -> int:
    """Run the only statement of a migration without a transaction; return its milliseconds.

    `conn` is in autocommit mode and has no open transaction. Waits for locks without end: the
    statements that are allowed here block no client that reads or writes rows. A row in
    ops.unfinished_migrations exists from before the statement until the row in ops.migrations is
    written. `verify` is called in the transaction of the latter. Raises SessionbaseError; after a
    failure of the statement, what it left was removed.
    """
    label = migration.file.label
    start = time.monotonic()
    operation = _operation(migration, statement)
    try:
        with session_settings(conn), _progress(conn, label, log):
            started = any(row.version == migration.version for row in unfinished(conn))
            operation.refuse(conn, started=started)
            if started:
                log(f"{label} was interrupted in an earlier run: completing it")
            else:
                _start(conn, migration)
            if operation.is_complete(conn, started=started):
                log(f"{label}: its result exists already, and is recorded")
            else:
                if started:
                    operation.clean(conn, log)
                _run_to_completion(conn, migration, statement, operation, log)
    except Stopped as stop:
        stop.file = label
        raise
    duration_ms = round((time.monotonic() - start) * 1000)
    with conn.transaction():
        apply_session_settings(conn, 0)
        verify()
        record_migration(conn, migration, duration_ms)
        delete_repeatable_rows(conn)
        _delete_unfinished(conn, migration)
    return duration_ms
