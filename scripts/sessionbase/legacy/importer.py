"""Import a legacy file: stage it by COPY, validate it in SQL, load it in one transaction."""

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

from sessionbase.database import become_owner, check_profile, connect, refuse_standby
from sessionbase.errors import InterruptError, SessionbaseError
from sessionbase.legacy import statements
from sessionbase.legacy.fields import InvalidRecordError, Record, read_record
from sessionbase.legacy.json_array import BadJsonError, Element, JsonArrayReader
from sessionbase.legacy.rejects import write_rejects
from sessionbase.legacy.report import ImportReport, Parity, StatusParity
from sessionbase.legacy.statements import Statements
from sessionbase.legacy.tool_events import TOOL_EVENTS

Connection = psycopg.Connection[tuple[Any, ...]]

ATTEMPTS = 5
FIRST_BATCH = 2000
"""Records that are loaded before the table is analyzed. While the statistics do not contain the
profile, the plan of a foreign key check can use an index that begins with the profile instead of
the primary key, and reads all rows of the profile for each new row."""
FLUSH_BYTES = 256 * 1024  # limits the memory if the file is read faster than it is stored


class Progress(Protocol):
    """Receives the progress of an import; `stage` is 'reading', 'checking' or 'loading'."""

    def __call__(self, stage: str, bytes_read: int, bytes_total: int, records: int) -> None:
        """Take the bytes read so far, the bytes of the file, and the number of records read."""


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
    report then has `refused` set. A missing file is reported, not raised, because the app treats it
    as an empty one.
    `file` is only read. Rejects and conflicts are written to `rejects_file`, a new file (default:
    `<file>.rejects.jsonl`); a dry run writes it too, and nothing else.

    Raises SessionbaseError if the file is not a JSON array or was changed during the import, or the
    database cannot be used, and InterruptError for a KeyboardInterrupt before the commit. In all of
    these cases nothing was loaded.
    """
    started = time.monotonic()
    report = ImportReport(str(file), profile, dry_run=dry_run)
    check_profile(profile)
    if rejects_file and rejects_file.exists():
        raise SessionbaseError(f"{rejects_file} exists already", "name a new file with --rejects")
    try:
        stream = file.open("rb")
    except FileNotFoundError:
        report.missing_file = True
        return report
    except OSError as error:
        raise SessionbaseError(f"{file} cannot be read: {error.strerror}") from error
    with stream, connect(db_uri) as conn:
        conn.autocommit = True
        importer = _Importer(conn, TOOL_EVENTS, report)
        with _before_the_commit():
            importer.prepare()
            try:
                records = importer.stage(stream, file, progress)
            except BadJsonError as error:
                raise SessionbaseError(f"{file}: {error}", "nothing was loaded") from error
            size = os.fstat(stream.fileno()).st_size
            if progress:
                progress("checking", size, size, records)
            importer.validate()
        if progress:
            progress("loading", size, size, records)
        importer.load(accept_rejects=accept_rejects, rejects_file=rejects_file)
    report.seconds = time.monotonic() - started
    return report


@contextmanager
def _before_the_commit() -> Iterator[None]:
    """Convert KeyboardInterrupt to InterruptError. For the time before the commit only: during the
    commit it is not certain that nothing was loaded."""
    try:
        yield
    except KeyboardInterrupt as error:
        raise InterruptError("interrupted; nothing was loaded") from error


class _RacedError(Exception):
    """A client stored one of the records between the comparison and the load."""


class _RollBackError(Exception):
    """The transaction is complete and must change nothing."""


class _Importer:
    """The import of one file over one connection in autocommit mode."""

    def __init__(self, conn: Connection, record: Record, report: ImportReport) -> None:
        self._conn = conn
        self._record = record
        self._report = report
        self._sql = Statements(record)

    def _row(self, query: str) -> tuple[Any, ...]:
        found = self._conn.execute(sql.SQL(query)).fetchone()
        assert found is not None  # noqa: S101 - an aggregate always gives a row
        return found

    def prepare(self) -> None:
        """Become the owner of the tables and create the staging table."""
        conn = self._conn
        refuse_standby(conn)
        conn.execute("set search_path = ''")
        conn.execute("set statement_timeout = 0")
        conn.execute("set idle_in_transaction_session_timeout = 0")
        conn.execute("set timezone = 'UTC'")
        conn.execute("select set_config('sessionbase.actor', 'import', false)")
        become_owner(conn)
        conn.execute(self._sql.create_staged(self._report.profile))
        conn.execute(self._sql.create_candidates())

    def stage(self, stream: BinaryIO, file: Path, progress: Progress | None) -> int:
        """Copy each record, or the reasons to reject it, to the staging table; return how many."""
        before = os.fstat(stream.fileno())
        if stat.S_ISDIR(before.st_mode):
            raise SessionbaseError(f"{file} is a folder")
        records = 0

        changed = SessionbaseError(
            f"{file} was changed while it was read; nothing was loaded",
            "stop the app that writes it, and run again",
        )

        def on_read(total: int) -> None:
            # The size at the start is the limit, because the file can grow. A pipe has no size.
            if stat.S_ISREG(before.st_mode) and total > before.st_size:
                raise changed
            if progress:
                progress("reading", total, before.st_size, records)

        with (
            self._conn.cursor() as cursor,
            cursor.copy(
                self._sql.copy_staged(), writer=LibpqWriter(cursor, flush_threshold=FLUSH_BYTES)
            ) as copy,
        ):
            for element in JsonArrayReader(stream, on_read):
                copy.write_row(self._staged_row(element))
                records += 1
        after = os.fstat(stream.fileno())
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise changed
        return records

    def _staged_row(self, element: Element) -> tuple[Any, ...]:
        place = (element.position, element.offset)
        try:
            if element.problem:
                raise InvalidRecordError([element.problem])
            values = read_record(self._record, element.value)
        except InvalidRecordError as error:
            absent = (None,) * len(self._record.staged)
            return (*place, *absent, None, element.text, error.reasons)
        return (*place, *values, element.text, None, None)

    def validate(self) -> None:
        """Reject records that the constraints of the table would refuse, and duplicates.

        The reasons are the comments on the constraints.
        """
        self._conn.execute("analyze pg_temp.staged")
        constraints = self._conn.execute(statements.CONSTRAINTS, (self._record.table,))
        self._conn.execute(
            self._sql.reject_invalid([(str(rule), str(text)) for rule, text in constraints])
        )
        self._conn.execute(statements.REJECT_DUPLICATES)

    def load(self, *, accept_rejects: bool, rejects_file: Path | None) -> None:
        """Compare, load and verify, in one transaction; again if a client has stored a record."""
        for _ in range(ATTEMPTS):
            with suppress(_RacedError):
                with suppress(_RollBackError), self._conn.transaction(), _before_the_commit():
                    self._load_once(accept_rejects, rejects_file)
                return
        raise SessionbaseError(
            f"clients keep recording the same {self._record.noun}s; nothing was loaded",
            "stop the app, and run again",
        )

    def _load_once(self, accept_rejects: bool, rejects_file: Path | None) -> None:
        """Compare, load and verify, in the running transaction."""
        conn, report = self._conn, self._report
        conn.execute(
            "select pg_advisory_xact_lock(hashtextextended('sessionbase import ' || %s, 0))",
            (report.profile,),
        )
        # As the requests of clients do (app.check_request). It waits for `sessionbase profile`.
        conn.execute(
            "select pg_advisory_xact_lock_shared(app.lock_key('profile', %s))", (report.profile,)
        )
        conn.execute(self._sql.compare())
        conn.execute("analyze pg_temp.compared")
        records, rejected, there, moved_on, conflicts = self._row(statements.COUNTS)
        report.records, report.rejected, report.conflicts = records, rejected, conflicts
        report.already_there, report.moved_on = there, moved_on
        report.new = records - rejected - conflicts - there
        bad = rejected + conflicts
        report.refused = bool(bad) and not accept_rejects
        if not (report.refused or report.dry_run):
            if self._insert() != report.new:
                raise _RacedError
            report.parity = self._verify()
            if not report.parity.agrees:
                raise SessionbaseError(
                    f"the check after the load failed, and nothing was loaded: {report.parity}",
                    "this is a bug in the importer; please report it",
                )
        if bad:
            write_rejects(conn, self._sql, report, rejects_file)
        if report.refused or report.dry_run:
            raise _RollBackError

    def _insert(self) -> int:
        """Insert the new records and return their number."""
        inserted = self._conn.execute(self._sql.load(), (0, FIRST_BATCH)).rowcount
        if self._report.records > FIRST_BATCH:
            self._conn.execute(sql.SQL("analyze " + self._record.table))
            rest = (FIRST_BATCH, self._report.records)
            inserted += self._conn.execute(self._sql.load(), rest).rowcount
        return inserted

    def _verify(self) -> Parity:
        """Compare the accepted records with the rows that the database now has, one by one."""
        counts: dict[str, list[int]] = {}
        sessions = missing = out_of_order = 0
        for in_file, stored, absent, moved, records, first, misplaced in self._conn.execute(
            self._sql.verify()
        ):
            sessions += first
            out_of_order += misplaced
            counts.setdefault(in_file, [0, 0, 0, 0])[0] += records
            if absent:
                missing += records
                continue
            counts.setdefault(stored, [0, 0, 0, 0])[1] += records
            if moved:
                counts[in_file][2] += records
                counts[stored][3] += records
        return Parity(
            [StatusParity(status, *counts[status]) for status in sorted(counts)],
            sessions,
            missing,
            out_of_order,
        )
