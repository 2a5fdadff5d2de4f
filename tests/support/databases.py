"""Rows in every table of a database, and the whole content of a database for comparison."""

import json
from typing import Any

import psycopg

from support.profiles import fill_profile


def fill(uri: str, *profiles: str) -> None:
    """Store rows of each profile in every table of schema app.

    The log of profiles gets the entry of an erased profile.
    """
    for profile in profiles:
        fill_profile(uri, profile)
    with psycopg.connect(uri) as conn:
        conn.execute("insert into app.profile_log (profile_id, action) values ('gone', 'erase')")
    empty = [name for name, rows in content(uri).items() if name.startswith("app.") and not rows]
    assert not empty, f"add calls to tests/support/profiles.py that store rows of {empty}"


def content(uri: str) -> dict[str, list[Any]]:
    """Return all rows of every table of the schemas app and ops, sorted as text."""
    found = {}
    with psycopg.connect(uri) as conn:
        tables = conn.execute(
            "select oid::regclass::text from pg_class where relkind = 'r'"
            " and relnamespace::regnamespace::text in ('app', 'ops')"
        ).fetchall()
        for (table,) in tables:
            rows = conn.execute(f"select to_jsonb(t) from {table} as t".encode()).fetchall()
            found[table] = sorted((row[0] for row in rows), key=json.dumps)
    return found


def index_order(uri: str) -> dict[str, list[str]]:
    """Return the indexes of each table of schema app, the oldest first."""
    with psycopg.connect(uri) as conn:
        rows = conn.execute(
            "select indrelid::regclass::text,"
            " array_agg(indexrelid::regclass::text order by indexrelid)"
            " from pg_index inner join pg_class on pg_class.oid = indrelid"
            " where relnamespace = 'app'::regnamespace group by indrelid"
        ).fetchall()
    return dict(rows)
