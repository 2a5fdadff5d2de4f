"""A profile with rows in every table, and the stored rows of a profile."""

import json
import re
from typing import Any

import psycopg
from psycopg import sql

from support.concurrency import transaction_of

CALLS = """
select api.record_tool_event(
  's', 'tool', '{"text": "\\u2028 \\\\ \\"é\\" \\u0001\\n"}', 'e1', 't', 'c', 'pending'
);
select api.transition_tool_event('e1', 'executing');
select api.transition_tool_event('e1', 'succeeded', '[1.50, 1e30, 0.1, null]');
select api.record_tool_event('s', 'tool', '[]', 'e2');
select api.record_tool_event('S', 'tool', 'null', 'E2');
select api.transition_tool_event('E2', 'failed', error => 'Straße');
select api.record_hookify_decision(
  's', 'manual', 'low', number = 2, '[{"id": "r", "severity": "low"}]',
  'content', null, 'é' || number
) from generate_series(1, 3) as number;
select api.ingest_misalignments('s', '[
  {"id": "m1", "rule_id": "r", "title": "t", "summary": "s", "evidence": [{"message": "m"}]},
  {"id": "m2", "rule_id": "r", "title": "t", "summary": "s"}
]');
select api.transition_misalignment('s', 'm1', 'dismissed');
select api.transition_misalignment('s', 'm1', 'open');
select api.add_todo('one');
select api.toggle_todo((api.add_todo(e'tab\\t and \\\\. and line\\nbreak')).id);
select api.set_session_repo_binding('s1', '/asset', '/root');
select api.set_session_repo_binding('s2', '/asset', '/root');
delete from api.session_repo_bindings where session_id = 's2';
select api.save_ui_settings('{"lastSessionPath": null, "n": 1.50}');
select api.patch_ui_settings('{"more": {"deep": [null]}}');
"""
# Not possible over HTTP: a JSON null as the result, and times before Christ and without end.
AS_DBA = """
insert into app.tool_events (
  profile_id, id, session_id, tool_name, status, arguments, result, started_at, completed_at
)
values
  (
    %(profile)s, 'null', 's', 't', 'succeeded', 'null', 'null',
    '2026-11-24 12:00:00.000001+02', 'infinity'
  ),
  (
    %(profile)s, 'old', 's', 't', 'failed', '{}', null,
    '0044-03-15 12:00:00+00 BC', '2026-01-01 00:00:00.1+00'
  )
"""


def fill_profile(uri: str, profile: str) -> None:
    """Store rows in every table, by the calls of a client and some as a superuser."""
    with transaction_of(uri, profile) as connection:
        for call in CALLS.split(";\n"):
            connection.execute(call.encode())
    with psycopg.connect(uri) as connection:
        connection.execute(AS_DBA.encode(), {"profile": profile})


def fill_what_exists(uri: str, profile: str) -> None:
    """Store rows in every table of an older schema: the calls of `fill_profile` that it has."""
    with psycopg.connect(uri) as connection:
        rows = connection.execute(
            "select 'api.' || proname from pg_proc where pronamespace = to_regnamespace('api')"
            " union select relnamespace::regnamespace || '.' || relname from pg_class"
            " where relnamespace in (to_regnamespace('api'), to_regnamespace('app'))"
        ).fetchall()
    there = {str(name) for (name,) in rows}
    with transaction_of(uri, profile) as connection:
        for call in CALLS.split(";\n"):
            if set(re.findall(r"\bapi\.\w+", call)) <= there:
                connection.execute(call.encode())
    with psycopg.connect(uri) as connection:
        if "app.tool_events" in there:
            connection.execute(AS_DBA.encode(), {"profile": profile})
        if "app.profile_log" in there:
            connection.execute(
                "insert into app.profile_log (profile_id, action) values (%s, 'erase')",
                (f"{profile}-gone",),
            )


def tables_of_profiles(db: psycopg.Connection[Any]) -> list[str]:
    """Return the tables of schema app that have the column profile_id."""
    rows = db.execute(
        "select relname from pg_attribute join pg_class on pg_class.oid = attrelid"
        " where relnamespace = 'app'::regnamespace and relkind in ('r', 'p')"
        " and attname = 'profile_id' order by relname"
    )
    return [str(name) for (name,) in rows]


def stored_rows(uri: str, profile: str) -> dict[str, list[str]]:
    """Return every row of the profile as JSON text with each SQL NULL marked, without the log."""
    with psycopg.connect(uri) as db:
        db.execute("set timezone = 'Asia/Kathmandu'")
        rows = {}
        for table in tables_of_profiles(db):
            if table != "profile_log":
                query = sql.SQL(
                    "select stored::text, to_jsonb(stored)::text from {} as stored"
                    ' where profile_id = %s order by stored::text collate "C"'
                ).format(sql.Identifier("app", table))
                rows[table] = [json.dumps(row) for row in db.execute(query, (profile,))]
        return rows


def log_entries(uri: str, profile: str) -> list[tuple[Any, ...]]:
    """Return number, action, login, chain length and reason of the profile's log."""
    with psycopg.connect(uri) as db:
        return db.execute(
            "select number, action, done_by, chain_length, reason from app.profile_log"
            " where profile_id = %s order by number",
            (profile,),
        ).fetchall()
