"""Import a legacy chat-tool-events.json: stage it by COPY, judge it in SQL, load it in one go."""

import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import psycopg
from psycopg import sql
from psycopg.copy import LibpqWriter

from sessionbase.errors import InterruptError, SessionbaseError
from sessionbase.importer import statements
from sessionbase.importer.json_array import BadJsonError, Element, JsonArrayReader
from sessionbase.importer.records import Event, read_record
from sessionbase.importer.rejects import write_rejects
from sessionbase.importer.report import ImportReport, Parity, StatusParity
from sessionbase.importer.statements import composed
from sessionbase.options import become_owner, check_profile, connect

Connection = psycopg.Connection[tuple[Any, ...]]

ATTEMPTS = 5
FLUSH_BYTES = 256 * 1024  # without it a file that is read faster than stored piles up in memory


class Progress(Protocol):
    """Told how far the import is; `stage` is 'reading', 'checking' or 'loading'."""

    def __call__(self, stage: str, bytes_read: int, bytes_total: int, records: int) -> None:
        """Take the bytes read so far of all there are, and the number of records in them."""


def import_tool_events(
    db_uri: str,
    file: Path,
    profile: str,
    *,
    accept_rejects: bool = False,
    dry_run: bool = False,
    rejects_file: Path | None = None,
    progress: Progress | None = None,
) -> ImportReport:
    """Load the tool events of `file`, a JSON array, into the profile `profile`.

    All or nothing: with a reject or a conflict nothing is loaded, unless `accept_rejects`; the
    report then has `refused` set. A missing file is reported, not raised: the app takes it as
    empty.
    `file` is only read. Rejects and conflicts go to `rejects_file`, a new file (default:
    `<file>.rejects.jsonl`); a dry run writes it too, and nothing else.

    Raises SessionbaseError where the file is no JSON array, was changed during the import, or the
    database cannot be used, and InterruptError for a KeyboardInterrupt before the commit; in all of
    these nothing was loaded.
    """
    started = time.monotonic()
    report = ImportReport(str(file), profile, dry_run=dry_run)
    check_profile(profile)
    if rejects_file and rejects_file.exists():
        raise SessionbaseError(f"{rejects_file} exists already", "name a new file by --rejects")
    try:
        stream = file.open("rb")
    except FileNotFoundError:
        report.missing_file = True
        return report
    except OSError as error:
        raise SessionbaseError(f"{file} cannot be read: {error.strerror}") from error
    with stream, connect(db_uri) as conn:
        conn.autocommit = True
        with _before_the_commit():
            _prepare(conn, profile)
            try:
                records = _stage(conn, stream, file, progress)
            except BadJsonError as error:
                raise SessionbaseError(f"{file}: {error}", "nothing was loaded") from error
            size = os.fstat(stream.fileno()).st_size
            if progress:
                progress("checking", size, size, records)
            _validate(conn)
        if progress:
            progress("loading", size, size, records)
        _load(conn, report, accept_rejects=accept_rejects, rejects_file=rejects_file)
    report.seconds = time.monotonic() - started
    return report


@contextmanager
def _before_the_commit() -> Iterator[None]:
    """Log what Ctrl-C means here; during the commit itself nobody could know."""
    try:
        yield
    except KeyboardInterrupt as error:
        raise InterruptError("interrupted; nothing was loaded") from error


def _row(conn: Connection, query: str | sql.Composed) -> tuple[Any, ...]:
    found = conn.execute(query).fetchone()
    assert found is not None  # noqa: S101 - an aggregate always gives a row
    return found


def _prepare(conn: Connection, profile: str) -> None:
    conn.execute("set search_path = ''")
    conn.execute("set statement_timeout = 0")
    conn.execute("set idle_in_transaction_session_timeout = 0")
    conn.execute("set timezone = 'UTC'")
    conn.execute("select set_config('sessionbase.actor', 'import', false)")
    become_owner(conn)
    conn.execute(composed(statements.STAGED, profile=sql.Literal(profile)))
    conn.execute(statements.CANDIDATES)


def _stage(conn: Connection, stream: BinaryIO, file: Path, progress: Progress | None) -> int:
    """Copy each record into the staging table, as an event or with its reasons; return how many."""
    before = os.fstat(stream.fileno())
    if stat.S_ISDIR(before.st_mode):
        raise SessionbaseError(f"{file} is a folder")
    records = 0

    changed = SessionbaseError(
        f"{file} was changed while it was read; nothing was loaded",
        "stop the app that writes it, and run again",
    )

    def on_read(total: int) -> None:
        # A file that grows as fast as it is read has no end; a pipe has no size.
        if stat.S_ISREG(before.st_mode) and total > before.st_size:
            raise changed
        if progress:
            progress("reading", total, before.st_size, records)

    with (
        conn.cursor() as cursor,
        cursor.copy(
            "copy pg_temp.staged (position, byte_offset, id, session_id, thread_id, tool_call_id, "
            "tool_name, status, error, started_at, completed_at, record, raw, reasons) from stdin",
            writer=LibpqWriter(cursor, flush_threshold=FLUSH_BYTES),
        ) as copy,
    ):
        for element in JsonArrayReader(stream, on_read):
            copy.write_row(_staged_row(element))
            records += 1
    after = os.fstat(stream.fileno())
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise changed
    return records


def _staged_row(element: Element) -> tuple[Any, ...]:
    place = (element.position, element.offset)
    told = [element.problem] if element.problem else read_record(element.value)
    if isinstance(told, Event):
        return (*place, *told, element.text, None, None)
    return (*place, *_NO_EVENT, None, element.text, told)


_NO_EVENT = (None,) * len(Event._fields)


def _validate(conn: Connection) -> None:
    """Reject what the constraints of the table would refuse, in their own words, and duplicates."""
    conn.execute("analyze pg_temp.staged")
    latency = str(_row(conn, statements.LATENCY)[0])
    rules = [(str(rule), str(words)) for rule, words in conn.execute(statements.RULES)]
    rules.append(
        (
            statements.LATENCY_RULE.format(latency=latency),
            "latencyMs is not completedAt - startedAt",
        )
    )
    # The rules come from the catalogue, where they are SQL already.
    broken = [
        composed("(" + rule.replace("{", "{{").replace("}", "}}") + ") is false")
        for rule, _ in rules
    ]
    reasons = [
        composed("case when {broken} then {words} end", broken=test, words=sql.Literal(words))
        for test, (_, words) in zip(broken, rules, strict=True)
    ]
    conn.execute(
        composed(
            statements.REJECT_INVALID,
            reasons=sql.SQL(", ").join(reasons),
            broken=sql.SQL(" or ").join(broken),
        )
    )
    conn.execute(statements.REJECT_DUPLICATES)


class _Raced(Exception):
    """A client recorded one of the events between the comparison and the load."""


class _RollBack(Exception):
    """The transaction has told what it had to and must change nothing."""


def _load(
    conn: Connection, report: ImportReport, *, accept_rejects: bool, rejects_file: Path | None
) -> None:
    for _ in range(ATTEMPTS):
        with suppress(_Raced):
            with suppress(_RollBack), conn.transaction(), _before_the_commit():
                _load_once(conn, report, accept_rejects, rejects_file)
            return
    raise SessionbaseError(
        "clients keep recording the same events; nothing was loaded",
        "stop the app, and run again",
    )


def _load_once(
    conn: Connection, report: ImportReport, accept_rejects: bool, rejects_file: Path | None
) -> None:
    """Compare, load and prove, in the running transaction."""
    conn.execute(
        "select pg_advisory_xact_lock(hashtextextended('sessionbase import ' || %s, 0))",
        (report.profile,),
    )
    conn.execute(statements.COMPARED)
    conn.execute("analyze pg_temp.compared")
    records, rejected, there, moved_on, conflicts = _row(conn, statements.COUNTS)
    report.records, report.rejected, report.conflicts = records, rejected, conflicts
    report.already_there, report.moved_on = there, moved_on
    report.new = records - rejected - conflicts - there
    bad = rejected + conflicts
    report.refused = bool(bad) and not accept_rejects
    if not (report.refused or report.dry_run):
        if conn.execute(statements.LOAD).rowcount != report.new:
            raise _Raced
        report.parity = _verify(conn)
        if not report.parity.agrees:
            raise SessionbaseError(
                f"parity failed, and nothing was loaded: {report.parity}",
                "this is a fault of the importer; please report it",
            )
    if bad:
        write_rejects(conn, report, rejects_file)
    if report.refused or report.dry_run:
        raise _RollBack


def _verify(conn: Connection) -> Parity:
    """Compare the accepted records with the rows that the database now has, one by one."""
    counts: dict[str, list[int]] = {}
    sessions = missing = out_of_order = 0
    for told, stored, absent, moved, events, first, misplaced in conn.execute(statements.PARITY):
        sessions += first
        out_of_order += misplaced
        counts.setdefault(told, [0, 0, 0, 0])[0] += events
        if absent:
            missing += events
            continue
        counts.setdefault(stored, [0, 0, 0, 0])[1] += events
        if moved:
            counts[told][2] += events
            counts[stored][3] += events
    return Parity(
        [StatusParity(status, *counts[status]) for status in sorted(counts)],
        sessions,
        missing,
        out_of_order,
    )
