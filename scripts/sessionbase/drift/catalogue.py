"""Read the objects of a database from its system catalogue, each with its attributes."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from sessionbase.errors import SessionbaseError
from sessionbase.migrate.privileges import ROLES
from sessionbase.paths import resource_path

Connection = psycopg.Connection[Any]

_FILE_NAME = re.compile(r"\d\d_(\w+)\.sql")

# Some functions of PostgreSQL that print a definition lock its table until they have read it.
_LOCK_TIMEOUT = "10s"


@dataclass(frozen=True)
class Kind:
    """One file of sql/drift: the kind of object that its SELECT reads."""

    name: str
    sql: str = field(repr=False)


@dataclass
class Item:
    """An object of the catalogue, as a row of a file of sql/drift."""

    object: str
    """What it is and its name, as in a statement: `column app.todos.text`. It is unique."""
    parent: str | None
    """The `object` that it is a part of: with it, it appears and disappears."""
    attributes: dict[str, Any]
    """What is compared."""
    parts: dict[str, Any]
    """Names, quoted for a statement, and other values that statements need."""
    creation: list[str] | None
    """The statements that create it; None if there are none."""
    removal: list[str] | None
    """The statements that remove it and delete no row; None if there are none."""
    place: int
    """Its oid or that of its table, which has the order of creation."""
    kind: str = ""


@dataclass(frozen=True)
class Catalogue:
    """All objects that are compared, by their `object`."""

    version: int
    """The server's version, in the form of server_version_num: 180004."""
    items: dict[str, Item]


def read_kinds() -> list[Kind]:
    """Return the kinds of objects, in the order of the numbers of their files."""
    return [_read_kind(path) for path in sorted((resource_path("sql") / "drift").glob("*.sql"))]


def _read_kind(path: Path) -> Kind:
    match = _FILE_NAME.fullmatch(path.name)
    text = path.read_text(encoding="utf-8")
    if match is None or not text.startswith("-- "):
        raise SessionbaseError(
            f"{path} is not a query of drift",
            "rename it to NN_name.sql, and start it with a comment",
        )
    return Kind(match[1].replace("_", " "), text)


def read_catalogue(conn: Connection) -> Catalogue:
    """Return the objects of the database of `conn`, read in its open transaction.

    Its search_path becomes empty until the end of the transaction, so that every name has its
    schema.
    """
    for name, value in {
        "search_path": "",
        "sessionbase.roles": ",".join(ROLES),
        "lock_timeout": _LOCK_TIMEOUT,
        # It decides how time stamps in defaults and constraints are printed.
        "timezone": "UTC",
        "datestyle": "ISO, YMD",
        "intervalstyle": "postgres",
        "bytea_output": "hex",
        "extra_float_digits": "1",
        "quote_all_identifiers": "off",
    }.items():
        conn.execute("select pg_catalog.set_config(%s, %s, true)", (name, value))
    database = sql.Identifier(conn.info.dbname).as_string(conn)
    items: dict[str, Item] = {}
    for kind in read_kinds():
        with conn.cursor(row_factory=class_row(Item)) as cursor:
            rows = cursor.execute(kind.sql.encode()).fetchall()
        for item in rows:
            item.kind = kind.name
            item.creation = _in_database(item.creation, database)
            item.removal = _in_database(item.removal, database)
            if item.object in items:
                raise SessionbaseError(f"two objects have the name {item.object!r}")
            items[item.object] = item
    return Catalogue(conn.info.server_version, items)


def _in_database(statements: list[str] | None, database: str) -> list[str] | None:
    """Return the statements without empty ones, for the kinds that name the database."""
    found = [one for one in statements or () if one]
    return [one.replace("<database>", database) for one in found] or None
