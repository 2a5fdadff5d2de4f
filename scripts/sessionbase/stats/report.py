"""The queries of `sessionbase stats`. None of them reads a whole table, except with --exact.

Estimated row counts, sizes and counters come from the system catalogue and the cumulative
statistics. New rows are counted in the indexes by time, unfinished events in the index by status,
both up to a limit.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from sessionbase.console import CountProgress
from sessionbase.database import connect
from sessionbase.errors import SessionbaseError
from sessionbase.paths import command

Row = dict[str, Any]
Connection = psycopg.Connection[tuple[Any, ...]]

MAX_NEW_ROWS = 200_000
"""So many of the newest rows of a log are counted at most."""
MAX_PROFILES = 20_000
"""In so many profiles unfinished events are counted at most."""
MAX_UNFINISHED = 100_000
"""So many unfinished events are counted at most."""
TIMEOUT = "20s"
"""The statement_timeout of each query without --exact."""
OWNER = "sessionbase_owner"

_DATABASE = """
select
  current_database() as name,
  split_part(current_setting('server_version'), ' ', 1) as server_version,
  pg_is_in_recovery() as is_standby,
  now() as measured_at,
  pg_postmaster_start_time() as server_started_at,
  pg_database_size(current_database()) as size_bytes,
  round(stat.blks_hit::numeric / nullif(stat.blks_hit + stat.blks_read, 0), 4)::float8
    as cache_hit_ratio,
  stat.xact_commit as commits,
  stat.xact_rollback as rollbacks,
  stat.deadlocks,
  stat.temp_bytes as temporary_files_bytes,
  stat.checksum_failures,
  stat.stats_reset as counters_since,
  age(entry.datfrozenxid) as oldest_transaction_id_age,
  current_setting('autovacuum_freeze_max_age')::bigint as autovacuum_freeze_max_age,
  2147483647 - age(entry.datfrozenxid)::bigint as transaction_ids_left,
  mxid_age(entry.datminmxid) as oldest_multixact_age
from pg_database as entry
left join pg_stat_database as stat on stat.datid = entry.oid
where entry.datname = current_database()
"""

# The number of rows as the planner estimates it: the density at the last VACUUM or ANALYZE, for the
# present number of pages. A table that neither has seen has only the counter of live rows.
_TABLES = """
select
  class.relname as name,
  case
    when class.reltuples > 0 and class.relpages > 0 then round(
      class.reltuples::float8 / class.relpages * (pg_relation_size(class.oid) / 8192)
    )::bigint
    else coalesce(stat.n_live_tup, 0)
  end as rows_estimated,
  pg_relation_size(class.oid) as heap_bytes,
  pg_indexes_size(class.oid) as indexes_bytes,
  case when class.reltoastrelid = 0 then 0 else pg_total_relation_size(class.reltoastrelid) end
    as toast_bytes,
  pg_total_relation_size(class.oid) as total_bytes,
  stat.n_dead_tup as dead_rows_estimated,
  stat.n_mod_since_analyze as changed_rows_since_analyze,
  stat.n_tup_ins as inserted_rows,
  stat.n_tup_upd as updated_rows,
  stat.n_tup_hot_upd as updated_rows_heap_only,
  stat.n_tup_del as deleted_rows,
  stat.seq_scan as sequential_scans,
  greatest(stat.last_vacuum, stat.last_autovacuum) as last_vacuum_at,
  greatest(stat.last_analyze, stat.last_autoanalyze) as last_analyze_at,
  age(class.relfrozenxid) as oldest_transaction_id_age
from pg_class as class
left join pg_stat_all_tables as stat on stat.relid = class.oid
where class.relnamespace = 'app'::regnamespace and class.relkind = 'r'
order by total_bytes desc, name
"""

# Of each log: the table whose rows it shows, its column of time (with an index over all profiles),
# and which of its rows are a new row of that table.
_LOGS = (
    ("tool_events", "tool_event_transitions", "changed_at", "from_status is null"),
    ("tool_event_transitions", "tool_event_transitions", "changed_at", "true"),
    ("hookify_decisions", "hookify_decisions", "created_at", "true"),
    ("misalignments", "misalignment_transitions", "changed_at", "number = 1"),
    ("misalignment_transitions", "misalignment_transitions", "changed_at", "true"),
)
_NEW_ROWS = """
select
  count(*) filter (where is_new and at >= now() - interval '1 day') as new_rows_last_day,
  count(*) filter (where is_new) as new_rows_last_7_days,
  count(*) as counted,
  extract(epoch from now() - min(at))::float8 / 86400 as days
from (
  select {time} as at, {condition} as is_new
  from app.{log}
  where {time} >= now() - interval '7 days' and {time} <= now()
  order by {time} desc
  limit {limit}
) as newest
"""

# A recursive query reads the first entry of each profile in the index, so its cost depends on the
# number of profiles and of unfinished events, not on the number of events.
_UNFINISHED = """
with recursive profile (id) as (
  (select profile_id from app.tool_events order by profile_id limit 1)
  union all
  select (
    select event.profile_id
    from app.tool_events as event
    where event.profile_id > profile.id
    order by event.profile_id
    limit 1
  )
  from profile
  where profile.id is not null
),

examined as materialized (
  select id from profile where id is not null limit {profiles}
),

unfinished as (
  select status, now() - started_at as age
  from examined
  cross join lateral (
    select event.status, event.started_at
    from app.tool_events as event
    where event.profile_id = examined.id and event.status in ('pending', 'executing')
  ) as event
  limit {events}
)

select
  (select count(*) from examined) as profiles_examined,
  count(*) as events,
  count(*) filter (where status = 'pending') as pending,
  count(*) filter (where status = 'executing') as executing,
  count(*) filter (where age < interval '1 hour') as younger_than_1_hour,
  count(*) filter (where age >= interval '1 hour' and age < interval '1 day')
    as from_1_hour_to_1_day,
  count(*) filter (where age >= interval '1 day' and age < interval '7 days')
    as from_1_day_to_7_days,
  count(*) filter (where age >= interval '7 days') as older_than_7_days,
  extract(epoch from max(age))::float8 as oldest_age_seconds
from unfinished
"""

_CONNECTIONS = """
select
  coalesce(usename, '(hidden)') as role,
  coalesce(state, '(hidden)') as state,
  count(*) as connections
from pg_stat_activity
where datname = current_database() and backend_type = 'client backend'
group by 1, 2
order by 3 desc, 1, 2
"""

_CONNECTION_LIMITS = """
select
  (select count(*) from pg_stat_activity where backend_type = 'client backend') as used_in_cluster,
  current_setting('max_connections')::integer as max_connections
"""

_OLDEST_TRANSACTION = """
select
  pid,
  usename as role,
  application_name,
  state,
  extract(epoch from now() - xact_start)::float8 as age_seconds,
  extract(epoch from now() - state_change)::float8 as seconds_in_state
from pg_stat_activity
where xact_start is not null and backend_type = 'client backend' and pid <> pg_backend_pid()
order by xact_start
limit 1
"""

_WAITING = """
select count(*) as waiting_for_a_lock
from pg_stat_activity
where wait_event_type = 'Lock' and datname = current_database()
"""

_STATEMENTS = """
select
  statement.calls,
  statement.total_exec_time / 1000 as total_seconds,
  statement.mean_exec_time as mean_ms,
  statement.max_exec_time as max_ms,
  statement.rows,
  role.rolname as role,
  left(regexp_replace(statement.query, '\\s+', ' ', 'g'), 300) as statement
from {view} as statement
left join pg_roles as role on role.oid = statement.userid
where statement.dbid = (select oid from pg_database where datname = current_database())
order by statement.total_exec_time desc
limit 10
"""

# On a standby there is no current position of the WAL, only the one that was replayed.
_POSITION = """
case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end
"""

_REPLICAS = f"""
select
  application_name as name,
  client_addr::text as address,
  state,
  sync_state,
  pg_wal_lsn_diff({_POSITION}, replay_lsn)::bigint as not_replayed_bytes,
  extract(epoch from write_lag)::float8 as write_lag_seconds,
  extract(epoch from flush_lag)::float8 as flush_lag_seconds,
  extract(epoch from replay_lag)::float8 as replay_lag_seconds
from pg_stat_replication
order by name, pid
"""

_SLOTS = f"""
select
  slot_name as name,
  slot_type as type,
  database,
  active,
  wal_status,
  pg_wal_lsn_diff({_POSITION}, restart_lsn)::bigint as retained_wal_bytes,
  safe_wal_size as bytes_until_lost
from pg_replication_slots
order by slot_name
"""

_STANDBY = """
select
  pg_last_wal_receive_lsn()::text as received_lsn,
  pg_last_wal_replay_lsn()::text as replayed_lsn,
  pg_wal_lsn_diff(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())::bigint
    as not_replayed_bytes,
  extract(epoch from now() - pg_last_xact_replay_timestamp())::float8
    as seconds_since_last_replayed_commit
where pg_is_in_recovery()
"""

_WAL = """
select
  current_setting('wal_level') as wal_level,
  current_setting('archive_mode') as archive_mode,
  archiver.archived_count as archived_files,
  archiver.last_archived_time as last_archived_at,
  archiver.failed_count as failed_archive_attempts,
  archiver.last_failed_time as last_failed_at,
  -- The last attempt failed, so WAL collects on the disk of the server.
  coalesce(
    archiver.last_failed_time > coalesce(archiver.last_archived_time, '-infinity'), false
  ) as archiving_fails
from pg_stat_archiver as archiver
"""

_WAL_FILES = "select sum(size)::bigint as files_bytes from pg_ls_waldir()"


def read(uri: str, exact: bool, progress: CountProgress) -> Row:
    """Return the report: a JSON object whose keys name their units.

    `exact` counts all rows, which reads every table; `progress` receives the number of tables
    counted. What this login may not see is null, and `notes` has a line that says what is missing.
    Raises SessionbaseError if there is no connection, or the database has no schema app.
    """
    with connect(uri) as conn:
        conn.autocommit = True
        _prepare(conn)
        notes: list[str] = []
        sees_all = _is_monitor(conn)
        if not sees_all:
            notes.append(
                "this login sees only its own sessions, statements and no replication details:"
                " grant pg_monitor to it"
            )
        database = _row(conn, _DATABASE)
        tables = _rows(conn, _TABLES)
        with _as_owner(conn) as reads_rows:
            if reads_rows:
                _set_timeout(conn, "0" if exact else TIMEOUT)
                growth = [_new_rows(conn, tables, log, notes) for log in _LOGS]
                unfinished = _unfinished(conn, exact, notes)
                if exact:
                    _count_rows(conn, tables, progress)
            else:
                growth, unfinished = [], None
                notes.append(
                    "this login can't read all rows, so new rows and unfinished events are not"
                    f" counted: grant {OWNER} to it, or connect as a superuser"
                )
                if exact:
                    raise SessionbaseError(
                        "this login can't read all rows, so --exact can't count them",
                        f"connect as a member of {OWNER} or as a superuser, or omit --exact",
                    )
        _set_timeout(conn, TIMEOUT)
        return {
            "database": database,
            "tables": tables,
            "growth": growth,
            "unfinished_tool_events": unfinished,
            "statements": _statements(conn, notes),
            "connections": {
                **_row(conn, _CONNECTION_LIMITS),
                **_row(conn, _WAITING),
                "oldest_transaction": next(iter(_rows(conn, _OLDEST_TRANSACTION)), None),
                "by_role_and_state": _rows(conn, _CONNECTIONS),
            },
            "replication": {
                "replicas": _rows(conn, _REPLICAS) if sees_all else None,
                "slots": _rows(conn, _SLOTS),
                "standby": next(iter(_rows(conn, _STANDBY)), None),
            },
            "wal": {
                **_row(conn, _WAL),
                "files_bytes": _row(conn, _WAL_FILES)["files_bytes"] if sees_all else None,
            },
            "notes": notes,
        }


def _prepare(conn: Connection) -> None:
    """Make the session read-only, with short waits and plans that use indexes."""
    for statement in (
        "set default_transaction_read_only = on",
        "set search_path = pg_catalog",
        "set lock_timeout = '2s'",
        "set enable_seqscan = off",
        "set max_parallel_workers_per_gather = 0",
    ):
        conn.execute(statement.encode())
    _set_timeout(conn, TIMEOUT)
    # Not to_regclass, which needs USAGE on the schema.
    found = conn.execute(
        "select from pg_class join pg_namespace on pg_namespace.oid = relnamespace"
        " where nspname = 'app' and relname = 'tool_events'"
    ).fetchone()
    if found is None:
        raise SessionbaseError(
            f"the database {conn.info.dbname} has no table app.tool_events",
            f"run {command()} migrate, or name another database with --db-uri",
        )


def _set_timeout(conn: Connection, timeout: str) -> None:
    conn.execute("select set_config('statement_timeout', %s, false)", [timeout])


def _is_monitor(conn: Connection) -> bool:
    row = conn.execute("select pg_has_role('pg_monitor', 'usage')").fetchone()
    return row == (True,)


@contextmanager
def _as_owner(conn: Connection) -> Iterator[bool]:
    """Become the owner if possible; yield whether the rows of all profiles can be read.

    Row-level security would hide rows without an error, so having SELECT is not enough.
    """
    try:
        conn.execute(sql.SQL("set role {}").format(sql.Identifier(OWNER)))
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.InvalidParameterValue):
        yield _reads_all_rows(conn)
        return
    try:
        yield True
    finally:
        conn.execute("reset role")


def _reads_all_rows(conn: Connection) -> bool:
    row = conn.execute(
        "select has_schema_privilege('app', 'usage') and coalesce(bool_and("
        " has_table_privilege(class.oid, 'select') and not row_security_active(class.oid)), false)"
        " from pg_class as class"
        " where class.relnamespace = 'app'::regnamespace and class.relkind = 'r'"
    ).fetchone()
    return row == (True,)


def _rows(conn: Connection, query: str | sql.Composed) -> list[Row]:
    with conn.cursor(row_factory=dict_row) as cursor:
        text = query.encode() if isinstance(query, str) else query
        return cursor.execute(text).fetchall()


def _row(conn: Connection, query: str | sql.Composed) -> Row:
    (row,) = _rows(conn, query)
    return row


def _new_rows(
    conn: Connection, tables: list[Row], log: tuple[str, str, str, str], notes: list[str]
) -> Row:
    """Return the number of new rows of a table, counted in the newest entries of its log."""
    table, log_table, time, condition = log
    query = sql.SQL(_NEW_ROWS).format(
        time=sql.Identifier(time),
        condition=sql.SQL(condition),
        log=sql.Identifier(log_table),
        limit=MAX_NEW_ROWS,
    )
    result: Row = {
        "table": table,
        "new_rows_last_day": None,
        "new_rows_per_day": None,
        "counted_days": None,
        "new_bytes_per_day_estimated": None,
    }
    try:
        found = _row(conn, query)
    except psycopg.errors.QueryCanceled:
        notes.append(f"{table}: the new rows were not counted within {TIMEOUT}")
        return result
    capped = found["counted"] == MAX_NEW_ROWS
    days = found["days"] if capped else 7.0
    per_day = found["new_rows_last_7_days"] / days
    size = next(row for row in tables if row["name"] == table)
    rows = size["rows_estimated"]
    # The limit can be reached within a day; then the rate is the best that is known.
    last_day = found["new_rows_last_day"] if days >= 1 else round(per_day)
    result.update(
        new_rows_last_day=last_day,
        new_rows_per_day=round(per_day, 1),
        counted_days=round(days, 3),
        new_bytes_per_day_estimated=round(per_day * size["total_bytes"] / rows) if rows else None,
    )
    return result


def _unfinished(conn: Connection, exact: bool, notes: list[str]) -> Row | None:
    """Return the number of unfinished events by age, or None after a timeout."""
    no_limit = sql.SQL("all")
    query = sql.SQL(_UNFINISHED).format(
        profiles=no_limit if exact else sql.Literal(MAX_PROFILES),
        events=no_limit if exact else sql.Literal(MAX_UNFINISHED),
    )
    try:
        found = _row(conn, query)
    except psycopg.errors.QueryCanceled:
        notes.append(f"the unfinished tool events were not counted within {TIMEOUT}")
        return None
    found["complete"] = exact or (
        found["profiles_examined"] < MAX_PROFILES and found["events"] < MAX_UNFINISHED
    )
    if not found["complete"]:
        notes.append(
            f"unfinished tool events: only {found['profiles_examined']:,} profiles and at most"
            f" {MAX_UNFINISHED:,} events were examined; --exact examines all"
        )
    return found


def _count_rows(conn: Connection, tables: list[Row], progress: CountProgress) -> None:
    """Count the rows of all tables, in one snapshot."""
    with conn.transaction():
        conn.execute("set transaction isolation level repeatable read")
        conn.execute("set local enable_seqscan = on")
        for number, table in enumerate(tables):
            progress(number, len(tables))
            query = sql.SQL("select count(*) as rows_exact from app.{}").format(
                sql.Identifier(table["name"])
            )
            table.update(_row(conn, query))


def _statements(conn: Connection, notes: list[str]) -> list[Row] | None:
    """Return the statements with the longest total time; None without pg_stat_statements."""
    row = conn.execute(
        "select nspname from pg_extension join pg_namespace on pg_namespace.oid = extnamespace"
        " where extname = 'pg_stat_statements'"
    ).fetchone()
    if row is None:
        notes.append(
            "the extension pg_stat_statements is not installed, so there are no slowest"
            " statements: docs/operations.md says how to install it"
        )
        return None
    view = sql.Identifier(str(row[0]), "pg_stat_statements")
    try:
        return _rows(conn, sql.SQL(_STATEMENTS).format(view=view))
    except psycopg.errors.ObjectNotInPrerequisiteState:
        notes.append(
            "pg_stat_statements is not in shared_preload_libraries: add it and restart PostgreSQL"
        )
    except psycopg.errors.InsufficientPrivilege:
        notes.append(
            f"this login may not use the schema {row[0]} of pg_stat_statements: grant usage on it"
        )
    return None
