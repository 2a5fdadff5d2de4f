"""Import a legacy chat-tool-events.json: stage it by COPY, judge it in SQL, load it in one go."""

import json
import os
import re
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import psycopg
from psycopg import sql
from psycopg.copy import LibpqWriter

from sessionkeep.errors import SessionkeepError
from sessionkeep.importer.json_array import BadJsonError, Element, JsonArrayReader
from sessionkeep.importer.records import Event, read_record
from sessionkeep.importer.report import ImportReport, Parity, StatusParity
from sessionkeep.options import become_owner, connect

Connection = psycopg.Connection[tuple[Any, ...]]

ATTEMPTS = 5
FLUSH_BYTES = 256 * 1024  # without it a file that is read faster than stored piles up in memory
REASONS_SHOWN = 20

_STAGED = """
create temp table staged (
  profile_id text not null default {profile},
  position bigint not null,
  byte_offset bigint not null,
  id text, session_id text, thread_id text, tool_call_id text, tool_name text, status text,
  error text, started_at timestamptz, completed_at timestamptz,
  record jsonb,
  raw text,
  reasons text[]
)
"""
# What the file says of the events that are accepted so far, with the names of the table's columns.
_CANDIDATES = """
create temp view candidates as
select
  position, profile_id, id, session_id, thread_id, tool_call_id, tool_name,
  status, record -> 'arguments' as arguments, record -> 'result' as result, error,
  nullif(record -> 'contextEvents', 'null') as context_events, started_at, completed_at, record
from pg_temp.staged
where reasons is null
"""
_RULES = """
select
  pg_get_expr(conbin, conrelid),
  coalesce(obj_description(oid, 'pg_constraint'), 'it breaks the rule ' || conname)
from pg_constraint
where conrelid = 'app.tool_events'::regclass and contype = 'c'
order by conname
"""
_LATENCY = """
select pg_get_expr(adbin, adrelid)
from pg_attrdef
join pg_attribute on attrelid = adrelid and attnum = adnum
where adrelid = 'app.tool_events'::regclass and attname = 'latency_ms'
"""
_LATENCY_RULE = """
nullif(record -> 'latencyMs', 'null') is null
or (record ->> 'latencyMs')::numeric is not distinct from ({latency})
"""
_REJECT_UNRULY = """
update pg_temp.staged
set reasons = judged.reasons
from (
  select position, array_remove(array[{reasons}], null) as reasons
  from pg_temp.candidates
  where {broken}
) as judged
where judged.position = staged.position
"""
_REJECT_DUPLICATES = """
update pg_temp.staged
set reasons = array[format('duplicate in the file: record %s has the same id', same.first)]
from (
  select id, min(position) as first
  from pg_temp.staged
  where reasons is null
  group by id
  having count(*) > 1
) as same
where staged.id = same.id and staged.position > same.first and staged.reasons is null
"""
# An event that the app has finished since the file was written is not another event: only its
# status, result, error, context events and completion may have changed, and only forward.
_COMPARED = """
create temp table compared on commit drop as
select
  position,
  not identical and legal as moved_on,
  case
    when identical or legal then null
    else array_remove(identity_differs || array[
      case when stored_status <> status then 'status' end,
      case when result_differs then 'result' end,
      case when error_differs then 'error' end,
      case when context_differs then 'contextEvents' end,
      case when completed_differs then 'completedAt' end
    ], null)
  end as differs
from (
  select
    *,
    cardinality(identity_differs) = 0 and stored_status = status and not result_differs
    and not error_differs and not context_differs and not completed_differs as identical,
    cardinality(identity_differs) = 0
    and app.is_legal_tool_event_transition(status, stored_status) as legal
  from (
    select
      file.position,
      file.status,
      stored.status as stored_status,
      array_remove(array[
        case when stored.session_id <> file.session_id then 'sessionId' end,
        case when stored.thread_id is distinct from file.thread_id then 'threadId' end,
        case when stored.tool_call_id is distinct from file.tool_call_id then 'toolCallId' end,
        case when stored.tool_name <> file.tool_name then 'toolName' end,
        case when stored.arguments <> file.arguments then 'arguments' end,
        case when stored.started_at <> file.started_at then 'startedAt' end
      ], null) as identity_differs,
      stored.result is distinct from file.result as result_differs,
      stored.error is distinct from file.error as error_differs,
      stored.context_events is distinct from file.context_events as context_differs,
      stored.completed_at is distinct from file.completed_at as completed_differs
    from pg_temp.candidates as file
    join app.tool_events as stored
      on stored.profile_id = file.profile_id and stored.id = file.id
  ) as fields
) as judged
"""
_COUNTS = """
select
  (select count(*) from pg_temp.staged),
  (select count(*) from pg_temp.staged where reasons is not null),
  (select count(*) from pg_temp.compared where differs is null),
  (select count(*) from pg_temp.compared where moved_on),
  (select count(*) from pg_temp.compared where differs is not null)
"""
_LOAD = """
insert into app.tool_events (
  profile_id, id, session_id, thread_id, tool_call_id, tool_name, status, arguments, result,
  error, context_events, started_at, completed_at
)
select
  profile_id, id, session_id, thread_id, tool_call_id, tool_name, status, arguments, result,
  error, context_events, started_at, completed_at
from pg_temp.candidates
where not exists (
  select from pg_temp.compared where compared.position = candidates.position
)
on conflict (profile_id, id) do nothing
"""
_BAD = """
from (
  select position, byte_offset, 'rejected' as outcome, reasons, coalesce(raw, record::text) as told
  from pg_temp.staged
  where reasons is not null
  union all
  select
    position, byte_offset, 'conflict',
    array['the stored event has another ' || array_to_string(differs, ', ')], record::text
  from pg_temp.compared
  join pg_temp.staged using (position)
  where differs is not null
) as bad
"""
# The file's side is read anew from its JSON, not from the columns that were loaded.
_PARITY = """
with events as (
  select
    staged.record ->> 'id' as id,
    staged.record ->> 'sessionId' as told_session,
    staged.record ->> 'status' as told_status,
    (staged.record ->> 'startedAt')::timestamptz as told_start,
    stored.id is null as missing,
    stored.session_id,
    stored.status,
    stored.started_at,
    coalesce(compared.moved_on, false) as moved_on
  from pg_temp.staged
  left join pg_temp.compared using (position)
  left join app.tool_events as stored
    on stored.profile_id = staged.profile_id and stored.id = staged.record ->> 'id'
  where staged.reasons is null and compared.differs is null
),
placed as (
  select
    *,
    row_number() over (
      partition by told_session order by told_start, id collate "C"
    ) as told_place,
    row_number() over (partition by session_id order by started_at, id collate "C") as place
  from events
)
select
  told_status,
  status,
  missing,
  moved_on,
  count(*),
  count(*) filter (where told_place = 1),
  count(*) filter (where (session_id, place) is distinct from (told_session, told_place))
from placed
group by told_status, status, missing, moved_on
"""


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

    Raises SessionkeepError where the file is no JSON array, was changed during the import, or the
    database cannot be used; in all of these nothing was loaded.
    """
    started = time.monotonic()
    report = ImportReport(str(file), profile, dry_run=dry_run)
    if not 1 <= len(profile.encode()) <= 200 or "\0" in profile:
        raise SessionkeepError("the profile id must have 1 to 200 bytes")
    if rejects_file and rejects_file.exists():
        raise SessionkeepError(f"{rejects_file} exists already", "name a new file by --rejects")
    try:
        stream = file.open("rb")
    except FileNotFoundError:
        report.missing_file = True
        return report
    except OSError as error:
        raise SessionkeepError(f"{file} cannot be read: {error.strerror}") from error
    with stream, connect(db_uri) as conn:
        conn.autocommit = True
        _prepare(conn, profile)
        try:
            records = _stage(conn, stream, file, progress)
        except BadJsonError as error:
            raise SessionkeepError(f"{file}: {error}", "nothing was loaded") from error
        size = os.fstat(stream.fileno()).st_size
        if progress:
            progress("checking", size, size, records)
        _judge(conn)
        if progress:
            progress("loading", size, size, records)
        _load(conn, report, accept_rejects=accept_rejects, rejects_file=rejects_file)
    report.seconds = time.monotonic() - started
    return report


def _query(text: str, **parts: sql.Composable) -> sql.Composed:
    return sql.SQL(text).format(**parts)


def _row(conn: Connection, query: str | sql.Composed) -> tuple[Any, ...]:
    found = conn.execute(query).fetchone()
    assert found is not None  # noqa: S101 - an aggregate always gives a row
    return found


def _prepare(conn: Connection, profile: str) -> None:
    conn.execute("set search_path = ''")
    conn.execute("set statement_timeout = 0")
    conn.execute("set idle_in_transaction_session_timeout = 0")
    conn.execute("set timezone = 'UTC'")
    conn.execute("select set_config('sessionkeep.actor', 'import', false)")
    become_owner(conn)
    conn.execute(_query(_STAGED, profile=sql.Literal(profile)))
    conn.execute(_CANDIDATES)


def _stage(conn: Connection, stream: BinaryIO, file: Path, progress: Progress | None) -> int:
    """Copy each record into the staging table, as an event or with its reasons; return how many."""
    before = os.fstat(stream.fileno())
    if stat.S_ISDIR(before.st_mode):
        raise SessionkeepError(f"{file} is a folder")
    records = 0

    def on_read(total: int) -> None:
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
        raise SessionkeepError(
            f"{file} was changed while it was read; nothing was loaded",
            "stop the app that writes it, and run again",
        )
    return records


def _staged_row(element: Element) -> tuple[Any, ...]:
    place = (element.position, element.offset)
    told = [element.problem] if element.problem else read_record(element.value)
    if isinstance(told, Event):
        return (*place, *told, element.text, None, None)
    return (*place, *_NO_EVENT, None, element.text, told)


_NO_EVENT = (None,) * len(Event._fields)


def _judge(conn: Connection) -> None:
    """Reject what the constraints of the table would refuse, in their own words, and duplicates."""
    conn.execute("analyze pg_temp.staged")
    latency = str(_row(conn, _LATENCY)[0])
    rules = [(str(rule), str(words)) for rule, words in conn.execute(_RULES)]
    rules.append(
        (_LATENCY_RULE.format(latency=latency), "latencyMs is not completedAt - startedAt")
    )
    # The rules come from the catalogue, where they are SQL already.
    broken = [
        _query("(" + rule.replace("{", "{{").replace("}", "}}") + ") is false") for rule, _ in rules
    ]
    reasons = [
        _query("case when {broken} then {words} end", broken=test, words=sql.Literal(words))
        for test, (_, words) in zip(broken, rules, strict=True)
    ]
    conn.execute(
        _query(
            _REJECT_UNRULY, reasons=sql.SQL(", ").join(reasons), broken=sql.SQL(" or ").join(broken)
        )
    )
    conn.execute(_REJECT_DUPLICATES)


class _Raced(Exception):
    """A client recorded one of the events between the comparison and the load."""


class _RollBack(Exception):
    """The transaction has told what it had to and must change nothing."""


def _load(
    conn: Connection, report: ImportReport, *, accept_rejects: bool, rejects_file: Path | None
) -> None:
    for _ in range(ATTEMPTS):
        with suppress(_Raced):
            with suppress(_RollBack), conn.transaction():
                _load_once(conn, report, accept_rejects, rejects_file)
            return
    raise SessionkeepError(
        "clients keep recording the same events; nothing was loaded",
        "stop the app, and run again",
    )


def _load_once(
    conn: Connection, report: ImportReport, accept_rejects: bool, rejects_file: Path | None
) -> None:
    """Compare, load and prove, in the running transaction."""
    conn.execute(
        "select pg_advisory_xact_lock(hashtextextended('sessionkeep import ' || %s, 0))",
        (report.profile,),
    )
    conn.execute(_COMPARED)
    conn.execute("analyze pg_temp.compared")
    records, rejected, there, moved_on, conflicts = _row(conn, _COUNTS)
    report.records, report.rejected, report.conflicts = records, rejected, conflicts
    report.already_there, report.moved_on = there, moved_on
    report.new = records - rejected - conflicts - there
    bad = rejected + conflicts
    report.refused = bool(bad) and not accept_rejects
    if not (report.refused or report.dry_run):
        if conn.execute(_LOAD).rowcount != report.new:
            raise _Raced
        report.parity = _prove(conn)
        if not report.parity.agrees:
            raise SessionkeepError(
                f"parity failed, and nothing was loaded: {report.parity}",
                "this is a fault of the importer; please report it",
            )
    if bad:
        _write_rejects(conn, report, rejects_file)
    if report.refused or report.dry_run:
        raise _RollBack


def _prove(conn: Connection) -> Parity:
    """Compare the accepted records with the rows that the database now has, one by one."""
    counts: dict[str, list[int]] = {}
    sessions = missing = out_of_order = 0
    for told, stored, absent, moved, events, first, misplaced in conn.execute(_PARITY):
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


def _write_rejects(conn: Connection, report: ImportReport, wanted: Path | None) -> None:
    """Write the rejects and conflicts, in the file's order, to a new JSON Lines file."""
    shown = _query(
        "select unnest(reasons), count(*) " + _BAD + "group by 1 order by 2 desc, 1 limit {limit}",
        limit=sql.Literal(REASONS_SHOWN),
    )
    report.reasons = {str(reason): int(count) for reason, count in conn.execute(shown)}
    path, stream = _new_rejects_file(Path(report.file), wanted)
    try:
        with stream, conn.cursor("rejects") as cursor:
            cursor.itersize = 200
            cursor.execute(
                "select position, byte_offset, outcome, reasons, told " + _BAD + "order by position"
            )
            for position, offset, outcome, reasons, told in cursor:
                head = {
                    "position": position,
                    "byte": offset,
                    "outcome": outcome,
                    "reasons": reasons,
                }
                line = json.dumps(head, ensure_ascii=False)[:-1]
                stream.write(f'{line}, "record": {_in_one_line(told)}}}\n'.encode())
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    report.rejects_file = str(path)


def _in_one_line(text: str) -> str:
    """Join the lines of a JSON text: a line break can only stand between its tokens."""
    return re.sub(r"\s*[\r\n]\s*", " ", text)


def _new_rejects_file(file: Path, wanted: Path | None) -> tuple[Path, BinaryIO]:
    candidates = iter([wanted]) if wanted else _rejects_names(file)
    problem: OSError | None = None
    for path in candidates:
        try:
            return path, path.open("xb")
        except OSError as error:
            problem = error
    why = problem.strerror if problem else "no free name"
    raise SessionkeepError(
        f"no file for the rejects can be written, so nothing was loaded: {why}",
        "name one by --rejects",
    ) from problem


def _rejects_names(file: Path) -> Iterator[Path]:
    """Yield names that may be free: beside the file, then in the working directory."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%fZ")
    for folder in (file.parent, Path.cwd()):
        yield folder / f"{file.name}.rejects.jsonl"
        yield folder / f"{file.name}.rejects-{stamp}.jsonl"
