"""What a session waits for, and which sessions block it: read from a second connection.

PostgreSQL has this information only while the session waits. After a lock timeout it is gone.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Any

import psycopg
from psycopg.rows import class_row

from sessionbase.console import printable
from sessionbase.database import connect
from sessionbase.errors import SessionbaseError

_QUERY_LENGTH = 100
_LATE_S = 0.1
_HIDDEN = "<insufficient privilege>"

# pg_stat_get_activity reads only shared memory. pg_locks and pg_blocking_pids stop all changes of
# the lock table for a moment, so they are read only while the session waits.
_WAITS = "select from pg_catalog.pg_stat_get_activity(%s) where wait_event_type = 'Lock'"

# A row of pg_locks names the locked object by these columns. A lock of a prepared transaction has
# no pid, only the number of its virtual transaction, which its lock on its own transaction id has
# too. pg_blocking_pids has pid 0 for it, and of parallel workers the pid of their leader.
_COLUMNS = (
    *("locktype", "database", "relation", "page", "tuple"),
    *("virtualxid", "transactionid", "classid", "objid", "objsubid"),
)
_OBJECT = ", ".join(f"{{0}}.{name}" for name in _COLUMNS)
_LOOK = f"""
with waiting as materialized (
  select l.* from pg_catalog.pg_locks l where l.pid = %(pid)s and not l.granted limit 1
), blocking as (
  select distinct b.pid from unnest(pg_catalog.pg_blocking_pids(%(pid)s)) b (pid)
), prepared as materialized (
  select x.gid, x.owner, x.prepared, own.virtualtransaction
    from pg_catalog.pg_prepared_xacts x
    join pg_catalog.pg_locks own on own.locktype = 'transactionid' and own.pid is null
     and own.granted and own.transactionid = x.transaction
   where exists (select from blocking b where b.pid = 0)
), same_object as materialized (
  select l.* from pg_catalog.pg_locks l join waiting w
      on ({_OBJECT.format("l")}) is not distinct from ({_OBJECT.format("w")})
)
select w.mode,
       case when w.relation is not null then w.relation::regclass::text
            when w.locktype = 'transactionid' then 'a row that another transaction has changed'
            when w.locktype = 'virtualxid' then 'the end of a transaction'
            when w.locktype = 'object' then
              coalesce(pg_catalog.pg_describe_object(w.classid, w.objid, w.objsubid), 'an object')
            else w.locktype end as object,
       w.waitstart, pg_catalog.clock_timestamp() as now,
       b.pid, coalesce(a.usename, p.owner)::text as login, a.application_name as application,
       a.backend_type, a.state, a.query, p.gid as prepared,
       extract(epoch from pg_catalog.clock_timestamp() - coalesce(a.xact_start, p.prepared))::float8
         as transaction_s,
       (select string_agg(
                 distinct case when s.granted then 'has ' else 'waits for ' end || s.mode, ', '
               )
          from same_object s
         where s.pid = b.pid or (s.pid is null and s.virtualtransaction = p.virtualtransaction)
            or s.pid in (
              select worker.pid from pg_catalog.pg_stat_activity worker
               where worker.leader_pid = b.pid
            )) as lock,
       case when a.wait_event_type = 'Lock' then pg_catalog.pg_blocking_pids(b.pid)
            else '{{}}' end as waits_for
  from waiting w cross join blocking b
  left join pg_catalog.pg_stat_activity a on a.pid = b.pid
  left join prepared p on b.pid = 0 and exists (
    select from same_object s
     where s.pid is null and s.granted and s.virtualtransaction = p.virtualtransaction
  )
 order by transaction_s desc nulls last, b.pid
"""


@dataclass(frozen=True)
class Blocker:
    """A session or a prepared transaction that another session waits for."""

    pid: int
    """0: a prepared transaction."""
    login: str | None
    """None: a process of the server, for example autovacuum."""
    application: str | None
    state: str | None
    """As in pg_stat_activity; None if it is hidden from the login of the runner."""
    transaction_s: float | None
    """The age of its transaction in seconds; None if it is hidden."""
    query: str | None
    """The statement that it runs, or ran last, shortened; None if it is hidden."""
    lock: str | None
    """What it has of the object that is waited for: `has AccessShareLock`."""
    prepared: str | None
    """The identifier of a prepared transaction."""
    backend_type: str | None
    waits_for: list[int]
    """The sessions that it waits for itself."""

    @property
    def is_autovacuum(self) -> bool:
        """Return whether it is a worker of autovacuum."""
        return self.backend_type == "autovacuum worker"

    @property
    def prevents_wraparound(self) -> bool:
        """Return whether it is an autovacuum that PostgreSQL does not cancel for another session.

        PostgreSQL itself recognizes it by this text in its query.
        """
        return self.is_autovacuum and "(to prevent wraparound)" in (self.query or "")

    def __str__(self) -> str:
        if self.pid == 0:
            name, parts = f"prepared transaction {self.prepared!r}", [f"login {self.login}"]
        else:
            name = f"pid {self.pid}"
            parts = [f"login {self.login}"] if self.login else [self.backend_type or "a process"]
            parts += [f"application {self.application}"] if self.application else []
            parts += [self.state] if self.state else []
        if self.transaction_s is not None:
            parts.append(f"its transaction is open for {self.transaction_s:.1f} s")
        if self.lock:
            parts.append(self.lock)
        if self.waits_for:
            parts.append(f"it waits itself for pid {', '.join(map(str, self.waits_for))}")
        if self.query:
            parts.append(f"{'query' if self.state == 'active' else 'last query'}: {self.query}")
        elif self.pid:
            parts.append(
                "its state and query are hidden, because this login is not a member of "
                "pg_read_all_stats"
            )
        if self.prevents_wraparound:
            parts.append("PostgreSQL does not cancel it, because it prevents wraparound")
        return printable(f"{name}: {', '.join(parts)}")

    @property
    def remedy(self) -> str:
        """Return the statement that ends it, or what else to do."""
        if self.prevents_wraparound:
            return "wait for the end of autovacuum"
        if self.is_autovacuum:
            return (
                "grant set on parameter deadlock_timeout to this login, and run migrate again: "
                "PostgreSQL then cancels the autovacuum"
            )
        if self.pid == 0:
            name = (self.prepared or "").replace("'", "''")
            return printable(f"rollback prepared '{name}'")
        return f"select pg_terminate_backend({self.pid})"


@dataclass(frozen=True)
class _Row:
    mode: str
    object: str | None
    waitstart: datetime | None
    now: datetime
    pid: int
    login: str | None
    application: str | None
    backend_type: str | None
    state: str | None
    query: str | None
    prepared: str | None
    transaction_s: float | None
    lock: str | None
    waits_for: list[int]

    def blocker(self) -> Blocker:
        hidden = self.query == _HIDDEN
        return Blocker(
            pid=self.pid,
            login=self.login,
            application=self.application,
            state=self.state,
            transaction_s=self.transaction_s,
            query=None if hidden or self.query is None else shorten(self.query),
            lock=self.lock,
            prepared=self.prepared,
            backend_type=self.backend_type,
            waits_for=self.waits_for,
        )


def shorten(query: str) -> str:
    """Return a query in one line of at most 100 characters, all of them printable.

    Another user of the database wrote it: an escape sequence must not reach the terminal.
    """
    line = printable(" ".join(query.split()))
    return line if len(line) <= _QUERY_LENGTH else f"{line[: _QUERY_LENGTH - 1]}…"


def blockers_of(conn: psycopg.Connection[Any], pid: int) -> list[Blocker]:
    """Return the sessions that the session `pid` waits for, the oldest transaction first."""
    with conn.cursor(row_factory=class_row(_Row)) as cursor:
        rows = cursor.execute(_LOOK.encode(), {"pid": pid}).fetchall()
    return [row.blocker() for row in rows]


@dataclass
class Seen:
    """What the second connection saw during one try."""

    lock: str | None = None
    """The last lock that the session waited for, as text."""
    blockers: list[Blocker] = field(default_factory=list)
    """Those of that lock, the oldest transaction first."""
    cancelled: bool = False
    """Whether the statement was cancelled, because all waits together were too long."""
    problem: str | None = None
    """Why nothing could be seen."""
    _at: float = 0
    _waits: dict[datetime, float] = field(default_factory=dict)

    @property
    def waited_s(self) -> float:
        """Return how many seconds the session has waited for locks, all waits together."""
        return sum(self._waits.values())

    @property
    def waits(self) -> int:
        """Return the number of waits that were seen."""
        return len(self._waits)

    def add(self, rows: list[_Row]) -> None:
        """Record one look at the waiting session."""
        first = rows[0]
        self.lock = f"{first.mode} on {first.object}"
        self.blockers = [row.blocker() for row in rows]
        self._at = time.monotonic()
        # PostgreSQL sets waitstart a moment after the wait begins.
        if first.waitstart is not None:
            self._waits[first.waitstart] = (first.now - first.waitstart).total_seconds()

    def discard_older_than(self, seconds: float) -> None:
        """Remove lock and blockers if they were seen longer ago: they belong to another wait."""
        if time.monotonic() - self._at > seconds:
            self.lock, self.blockers = None, []


class Watch:
    """Looks at a session through a second connection while the session runs statements.

    The second connection is open during the `with` block. If it can't be opened, the next try
    opens it.
    """

    def __init__(self, db_uri: str, pid: int) -> None:
        self._db_uri, self._pid = db_uri, pid
        self._conn: psycopg.Connection[Any] | None = None

    def __enter__(self) -> "Watch":
        with suppress(psycopg.Error, SessionbaseError):
            self._connected()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._conn:
            self._conn.close()

    @contextmanager
    def during(self, try_s: float) -> Iterator[Seen]:
        """Look at the session during the `with` block, which is one try.

        `lock_timeout` limits each wait. If all waits of the block together take longer than `try_s`
        (seconds), the waiting statement is cancelled: the locks that the session holds already
        block other sessions during all of them.
        """
        seen, done = Seen(), threading.Event()
        arguments = (seen, done, try_s)
        thread = threading.Thread(target=self._look_until, args=arguments, daemon=True)
        thread.start()
        try:
            yield seen
        finally:
            done.set()
            thread.join()

    def _look_until(self, seen: Seen, done: threading.Event, try_s: float) -> None:
        period = min(max(try_s / 8, 0.01), 0.05)
        try:
            conn = self._connected()
            while not done.wait(period):
                self._look(conn, seen, try_s)
        except (psycopg.Error, SessionbaseError) as error:
            seen.problem = str(error).strip().splitlines()[0]

    def _connected(self) -> psycopg.Connection[Any]:
        if self._conn is None or self._conn.closed:
            self._conn = connect(self._db_uri)
            self._conn.autocommit = True
            self._conn.execute("set search_path = ''")  # regclass then writes the schema
            self._conn.execute("set statement_timeout = '1s'")
        return self._conn

    def _look(self, conn: psycopg.Connection[Any], seen: Seen, try_s: float) -> None:
        if conn.execute(_WAITS, (self._pid,)).fetchone() is None:
            return
        with conn.cursor(row_factory=class_row(_Row)) as cursor:
            rows = cursor.execute(_LOOK.encode(), {"pid": self._pid}).fetchall()
        if not rows:
            return
        seen.add(rows)
        # One wait ends by lock_timeout, unless the file has changed that setting.
        limit = try_s if seen.waits > 1 else try_s + _LATE_S
        if seen.waited_s > limit and not seen.cancelled:
            seen.cancelled = True
            conn.execute("select pg_catalog.pg_cancel_backend(%s)", (self._pid,))
