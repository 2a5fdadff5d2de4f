"""Print definitions of two major versions of PostgreSQL alike.

PostgreSQL stores a view or an expression as a tree, and prints it as SQL. The text differs between
versions: before 16, every column of a view has the name of its table before it. The scratch server
reads the text of the other one, and prints it in its own way.
"""

import psycopg

from sessionbase.drift.catalogue import Catalogue, Connection, Item


def print_alike(scratch: Connection, expected: Catalogue, actual: Catalogue) -> None:
    """Replace definitions in `actual` that differ by how the scratch server prints them.

    One that the scratch server does not accept stays. Nothing remains in the scratch database.
    """
    for name, item in actual.items.items():
        wanted = expected.items.get(name)
        if wanted is None or wanted.kind != item.kind:
            continue
        for attribute, text in item.attributes.items():
            if text != wanted.attributes.get(attribute) and isinstance(text, str):
                printed = _printed(scratch, item, attribute, text)
                if printed is not None:
                    item.attributes[attribute] = printed


def _printed(scratch: Connection, item: Item, attribute: str, text: str) -> str | None:
    if (item.kind, attribute) != ("view", "definition"):
        return None
    try:
        with scratch.transaction(force_rollback=True):
            scratch.execute(f"create view pg_temp.printed as {text}".encode())
            row = scratch.execute(
                "select pg_catalog.pg_get_viewdef(pg_catalog.to_regclass('pg_temp.printed'))"
            ).fetchone()
    except psycopg.Error:
        return None
    return str(row[0]).rstrip(";") if row else None
