"""How the runner waits for locks: in short tries with pauses, so that no client waits long.

A statement that waits for a lock blocks every later statement that needs a conflicting one. So each
try of a file is short, and a failed one is rolled back: it releases all locks, and the clients
continue during the pause. docs/migration-locks.md describes it for a DBA.
"""

import itertools
import random
import time
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import TypeVar

import psycopg

from sessionbase.console import Log, printable
from sessionbase.errors import SessionbaseError
from sessionbase.migrate.blockers import Blocker, Seen, Watch
from sessionbase.migrate.execute import StatementFailed
from sessionbase.migrate.ledger import Connection

T = TypeVar("T")

# Only one runner works in a database at a time: it holds a session-level advisory lock on this key
# ("sessbase" in ASCII). The lock is per database, and is released when the session ends.
LOCK_KEY = int.from_bytes(b"sessbase", "big")

LOCK_ERRORS = {"55P03", "40P01"}
"""lock_not_available and deadlock_detected."""
_CANCELLED = "57014"  # query_canceled

# A try with an error of another kind (`also` of LockTries.run) is repeated only so often: such an
# error can be permanent.
_OTHER_TRIES = 10

# PostgreSQL looks for a deadlock when a session has waited so long; the default is 1 s.
_DEADLOCK_TIMEOUT_MS = 20

_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 2.0
_LONGEST_RUNNER_PAUSE_S = 0.5
_RUNNER_LOG_S = 30
_MOST_SHOWN = 5
"""How many blockers a message names; the report of --json has all."""


@dataclass(frozen=True)
class LockLimits:
    """How long a file may wait for locks, in milliseconds."""

    try_ms: int = 200
    """One try."""
    total_ms: int = 300_000
    """All tries and pauses, from the begin of the first wait that failed; 0: without end."""


@dataclass
class LockWait:
    """The failed tries of one file."""

    file: str
    failed_tries: int = 0
    waited_ms: int = 0
    """From the begin of the first wait that failed to the end of the last one."""
    blockers: list[Blocker] = field(default_factory=list)
    """Each session that blocked a try, as it was seen last."""

    def add(self, blockers: list[Blocker]) -> None:
        """Add the blockers of another failed try."""
        found = {(item.pid, item.prepared): item for item in [*self.blockers, *blockers]}
        self.failed_tries += 1
        self.blockers = list(found.values())


def pauses(longest_s: float) -> Iterator[float]:
    """Yield pauses in seconds without end: each up to twice as long as the one before.

    They are random, so that two programs that block each other do not stay in the same rhythm.
    """
    pause = _FIRST_PAUSE_S
    while True:
        yield random.uniform(pause / 2, pause)  # noqa: S311 - no secret
        pause = min(2 * pause, longest_s)


def lower_deadlock_timeout(conn: Connection, limits: LockLimits) -> bool:
    """Make PostgreSQL check this session for a deadlock early in a try, if the login may set it.

    Returns whether it may.

    PostgreSQL cancels the session whose deadlock_timeout ends first: it must be this one and not a
    client. It cancels an autovacuum that blocks this session at the same moment, so without this
    setting a try would end too early for that. Must be called before `set role`: only a superuser
    may set it, or a login with `grant set on parameter deadlock_timeout`.
    """
    row = conn.execute(
        "select set_config('deadlock_timeout', %s, false)"
        " where has_parameter_privilege('deadlock_timeout', 'set')",
        (f"{max(min(limits.try_ms // 2, _DEADLOCK_TIMEOUT_MS), 1)}ms",),
    ).fetchone()
    return row is not None


def _deadlock_timeout_ms(conn: Connection) -> int:
    row = conn.execute(
        "select setting::int from pg_settings where name = 'deadlock_timeout'"
    ).fetchone()
    return int(str(row[0])) if row else 0


class LockTries:
    """Runs each file in tries, and reports who blocks it. Use it as a context manager."""

    def __init__(self, conn: Connection, db_uri: str, limits: LockLimits, log: Log) -> None:
        self.waits: list[LockWait] = []
        """The files that were tried more than once."""
        self._conn, self._limits, self._log = conn, limits, log
        self._watch = Watch(db_uri, conn.info.backend_pid)

    def __enter__(self) -> "LockTries":
        timeout_ms = _deadlock_timeout_ms(self._conn)
        lowered = lower_deadlock_timeout(self._conn, self._limits)
        if not lowered and timeout_ms <= self._limits.try_ms:
            self._log(
                f"deadlock_timeout is {timeout_ms} ms, not longer than a try "
                f"({self._limits.try_ms} ms): in a deadlock PostgreSQL can cancel a client instead "
                "of the migration; use a shorter --lock-try, or grant set on parameter "
                "deadlock_timeout to this login"
            )
        self._watch.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._watch.__exit__(kind, error, traceback)

    def run(self, file: str, attempt: Callable[[int], T], also: Container[str] = ()) -> T:
        """Call `attempt` until it gets all locks, and return its result.

        `attempt` gets the lock_timeout in milliseconds. It must run in one transaction, and roll it
        back when it fails. `file` is its label in messages. `also` has the SQLSTATEs of other
        errors after which it is called again, at most 10 times. Raises SessionbaseError when the
        total limit is over, and every other error of `attempt`.
        """
        limits, wait, first_wait = self._limits, LockWait(file), 0.0
        try_ms, pause = limits.try_ms, pauses(_LONGEST_PAUSE_S)
        if limits.total_ms:
            try_ms = min(try_ms, limits.total_ms)
        for number in itertools.count(1):
            try:
                with self._watch.during(try_ms / 1000) as seen:
                    return attempt(try_ms)
            except (StatementFailed, psycopg.Error) as failure:
                code = failure.sqlstate
                is_lock = code in LOCK_ERRORS or (code == _CANCELLED and seen.cancelled)
                if not is_lock and (code is None or code not in also or number >= _OTHER_TRIES):
                    raise
                seen.discard_older_than(try_ms / 1000)
                now = time.monotonic()
                first_wait = first_wait or now - (try_ms / 1000 if code == "55P03" else 0)
                if not wait.failed_tries:
                    self.waits.append(wait)
                wait.add(seen.blockers)
                wait.waited_ms = round((now - first_wait) * 1000)
                left_ms = limits.total_ms - wait.waited_ms if limits.total_ms else None
                if left_ms is not None and left_ms <= 0:
                    raise _refusal(wait, failure, seen) from failure
                pause_s = next(pause)
                if left_ms is not None:
                    # The last try begins so that it ends with the limit.
                    pause_s = min(pause_s, max(left_ms - limits.try_ms, 0) / 1000)
                why = _why(failure, seen, try_ms)
                self._log(f"{file}: try {number} {why}; next try in {pause_s:.1f} s")
                for text in _shown(seen.blockers):
                    self._log(f"  blocked by {text}")
                if left_ms is not None:
                    try_ms = max(min(limits.try_ms, left_ms), 1)
            time.sleep(pause_s)
        raise AssertionError


def _why(failure: StatementFailed | psycopg.Error, seen: Seen, try_ms: int) -> str:
    """Return why a try failed, as a part of a sentence."""
    if failure.sqlstate == "40P01":
        return f"was cancelled because of a deadlock: {_message(failure)}"
    if failure.sqlstate != "55P03" and not seen.cancelled:
        return f"failed: {_message(failure)}"
    lock = f" ({seen.lock})" if seen.lock else ""
    text = f"did not get a lock{lock} in {try_ms} ms"
    if seen.cancelled and seen.waits > 1:
        text = f"waited for {seen.waits} locks (last: {seen.lock}), together {try_ms} ms"
    if not seen.blockers:
        text += ", the blocking session was not seen" + (
            f": {seen.problem}" if seen.problem else ""
        )
    return text


def _refusal(
    wait: LockWait, failure: StatementFailed | psycopg.Error, seen: Seen
) -> SessionbaseError:
    blockers = seen.blockers or wait.blockers
    message = _message(failure)
    if not message.startswith(wait.file):
        message = f"{wait.file}: {message}"
    if blockers:
        message += f"; blocked by {'; '.join(_shown(blockers))}"
    end = " or ".join(item.remedy for item in blockers[:_MOST_SHOWN]) or (
        "find the session that holds the lock in pg_locks"
    )
    return SessionbaseError(
        message,
        f"{wait.failed_tries} tries in {wait.waited_ms / 1000:.1f} s. The file was rolled "
        f"back. Look at the blocking session first. To end it: {end}. Then run again, or wait "
        "longer with --lock-timeout",
    )


def _shown(blockers: list[Blocker]) -> list[str]:
    shown = [str(item) for item in blockers[:_MOST_SHOWN]]
    more = len(blockers) - len(shown)
    return [*shown, f"{more} more sessions"] if more else shown


def _message(failure: StatementFailed | psycopg.Error) -> str:
    if isinstance(failure, StatementFailed):
        return failure.message
    return failure.diag.message_primary or str(failure)


def take_runner_lock(
    conn: Connection, log: Log, *, timeout_ms: int = 0, shared: bool = False
) -> None:
    """Take the lock that only one runner has in a database, at session level.

    It is polled. A statement that waits for a lock has a snapshot, and CREATE INDEX CONCURRENTLY of
    the runner that has the lock waits until no older snapshot is left: a deadlock. `timeout_ms`
    (milliseconds, 0: without end) is the limit of the wait. A backup takes it `shared`: it keeps
    runners out, but no other backup. Raises SessionbaseError when the limit is over.
    """
    function = "pg_try_advisory_lock_shared" if shared else "pg_try_advisory_lock"
    begin, logged, pause = time.monotonic(), None, pauses(_LONGEST_RUNNER_PAUSE_S)
    while True:
        # In autocommit mode, and in a connection that is not: no transaction is open in the pause.
        with conn.transaction():
            row = conn.execute(f"select pg_catalog.{function}(%s)".encode(), (LOCK_KEY,)).fetchone()
            if row == (True,):
                return
            now = time.monotonic()
            due = logged is None or now - logged > _RUNNER_LOG_S
            over = bool(timeout_ms) and (now - begin) * 1000 >= timeout_ms
            holders = _runners(conn) if due or over else []
        text = "; ".join(holders) or "it has just ended"
        if over:
            raise SessionbaseError(
                f"another runner is working in this database: {text}",
                "wait for it to end, or end it with select pg_terminate_backend(pid), which rolls "
                "back its open file; or wait longer with --runner-timeout",
            )
        if due:
            log(f"another runner is working in this database, waiting for it to end: {text}")
            logged = now
        left = timeout_ms / 1000 - (now - begin) if timeout_ms else _LONGEST_RUNNER_PAUSE_S
        time.sleep(min(next(pause), left))


def _runners(conn: Connection) -> list[str]:
    """Describe the sessions that have the lock of the runner."""
    rows = conn.execute(
        "select l.pid, a.usename, a.application_name, l.mode,"
        " date_trunc('second', a.backend_start)::text,"
        " round(extract(epoch from clock_timestamp() - a.backend_start))::text"
        " from pg_catalog.pg_locks l left join pg_catalog.pg_stat_activity a on a.pid = l.pid"
        " where l.locktype = 'advisory' and l.granted and l.objsubid = 1 and l.database ="
        " (select oid from pg_catalog.pg_database where datname = current_database())"
        " and l.classid::bigint = %s and l.objid::bigint = %s order by l.pid",
        (LOCK_KEY >> 32, LOCK_KEY & 0xFFFFFFFF),
    ).fetchall()
    found = [
        f"{'a backup, ' if mode == 'ShareLock' else ''}pid {pid}, login {login}, application "
        f"{application}, "
        + (f"connected since {since} ({seconds} s)" if since else "the begin is hidden")
        for pid, login, application, mode, since, seconds in rows
    ]
    return [printable(text) for text in found]


def require_runner_lock(conn: Connection, label: str) -> None:
    """Raise SessionbaseError if a file released the lock of the runner (pg_advisory_unlock_all)."""
    row = conn.execute(
        "select exists (select from pg_catalog.pg_locks l where l.locktype = 'advisory'"
        " and l.pid = pg_backend_pid() and l.granted and l.objsubid = 1"
        " and l.classid::bigint = %s and l.objid::bigint = %s)",
        (LOCK_KEY >> 32, LOCK_KEY & 0xFFFFFFFF),
    ).fetchone()
    if row != (True,):
        raise SessionbaseError(
            f"{label} released the lock that keeps other runners out; it was rolled back",
            "remove pg_advisory_unlock_all: another runner could apply the same file now",
        )


def release_runner_lock(conn: Connection, *, shared: bool = False) -> None:
    """Release the lock of take_runner_lock."""
    function = "pg_advisory_unlock_shared" if shared else "pg_advisory_unlock"
    conn.execute(f"select pg_catalog.{function}(%s)".encode(), (LOCK_KEY,))


@contextmanager
def runner_lock(conn: Connection, log: Log, timeout_ms: int = 0) -> Iterator[None]:
    """Hold the lock of the runner during the `with` block."""
    take_runner_lock(conn, log, timeout_ms=timeout_ms)
    try:
        yield
    finally:
        if not conn.closed:
            release_runner_lock(conn)
