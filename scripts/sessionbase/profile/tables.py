"""The tables with rows of a profile, and the SQL to read, write and delete these rows."""

from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql


@dataclass(frozen=True)
class Table:
    """A table of schema app."""

    name: str
    order: str
    """The order of the rows in an export. It must not depend on the collation of the database."""


# Parents are before children, for the foreign keys. An order starts with the columns of an
# index, so that the rows are read by it and are not all sorted before the first one is written.
TABLES = (
    Table("tool_events", 'started_at, id collate "C"'),
    Table("tool_event_transitions", 'changed_at, tool_event_id collate "C", to_status collate "C"'),
    Table("hookify_chains", "length"),
    Table("hookify_decisions", '"position"'),
    Table("misalignments", 'created_at, session_id collate "C", id collate "C"'),
    Table(
        "misalignment_transitions",
        'changed_at, session_id collate "C", misalignment_id collate "C", number',
    ),
    Table("todos", "created_at, id"),
    # Before the times of cleared ones: a trigger compares a new binding with them.
    Table("session_repo_bindings", 'session_id collate "C"'),
    Table("cleared_session_repo_bindings", 'session_id collate "C"'),
    Table("ui_settings", "revision"),
)

NAMES = tuple(table.name for table in TABLES)

Types = dict[str, dict[str, str]]
"""The type of each column, without profile_id, by table and column."""

_COLUMNS = """
select class.relname, attribute.attname, format_type(attribute.atttypid, attribute.atttypmod)
from pg_catalog.pg_attribute as attribute
inner join pg_catalog.pg_class as class on class.oid = attribute.attrelid
where class.relnamespace = 'app'::regnamespace
  and class.relname = any(%s)
  and attribute.attnum > 0
  and not attribute.attisdropped
  and attribute.attname <> 'profile_id'
order by class.relname, attribute.attnum
"""


def read_types(conn: psycopg.Connection[Any]) -> Types:
    """Return the columns of the tables and their types, in the order of the table."""
    types: Types = {name: {} for name in NAMES}
    for table, column, type_name in conn.execute(_COLUMNS, (list(NAMES),)):
        types[table][column] = type_name
    return types


def line_prefix(name: str) -> bytes:
    """Return the bytes that each line of a table's row starts with."""
    return f'{{"table":"{name}"'.encode()


def copy_lines(table: Table, profile: str, types: dict[str, str]) -> sql.Composed:
    """Return a COPY of the rows of a profile as lines of JSON.

    A column that is NULL has no key in its line; a JSON null is a value. In this CSV format no line
    is quoted: JSON text has no raw control character, thus no quote or delimiter.
    """
    fields = [
        sql.SQL("{key} || {value}::text").format(
            key=sql.Literal(f'"{column}":'),
            value=sql.SQL("{}" if type_name == "jsonb" else "pg_catalog.to_json({})").format(
                sql.Identifier(column)
            ),
        )
        for column, type_name in types.items()
    ]
    return sql.SQL(
        "copy (select pg_catalog.concat_ws(',', {prefix}, {fields}) || '}}'"
        " from {table} where profile_id = {profile} order by {order})"
        " to stdout (format csv, delimiter e'\\x01', quote e'\\x02', encoding 'UTF8')"
    ).format(
        prefix=sql.Literal(line_prefix(table.name).decode()),
        fields=sql.SQL(", ").join(fields),
        table=sql.Identifier("app", table.name),
        profile=sql.Literal(profile),
        order=sql.SQL(table.order),
    )


def insert_lines(name: str, types: dict[str, str]) -> sql.Composed:
    """Return an INSERT of lines of JSON. Its parameters are `profile` and `lines`, an array."""
    values = [
        # jsonb: -> returns a JSON null as a value, and NULL if there is no key.
        sql.SQL("(line.fields -> {})" if kind == "jsonb" else "(line.fields ->> {})::{}").format(
            sql.Literal(column),
            sql.SQL(kind),
        )
        for column, kind in types.items()
    ]
    return sql.SQL(
        "insert into {table} (profile_id, {columns}) select %(profile)s, {values}"
        " from (select given.text::jsonb as fields, given.number"
        " from pg_catalog.unnest(%(lines)s::text[]) with ordinality as given (text, number)"
        " offset 0) as line order by line.number"
    ).format(
        table=sql.Identifier("app", name),
        columns=sql.SQL(", ").join(map(sql.Identifier, types)),
        values=sql.SQL(", ").join(values),
    )


def count_rows(conn: psycopg.Connection[Any], profile: str) -> dict[str, int]:
    """Return how many rows of the profile each table has."""
    row = conn.execute("select app.profile_row_counts(%s)", (profile,)).fetchone()
    counts: dict[str, int] = row[0] if row else {}
    return {name: counts[name] for name in NAMES}
