"""Which documents are generated, and by what.

To add one: write `generate(live) -> {path from the checkout's root: text}`, and name it here.
"""

from collections.abc import Callable

from sessionbase.generate import api_reference, authorization, doctor, states, tables
from sessionbase.generate.live import Live
from sessionbase.migrate.dump import dump_schema

GENERATORS: dict[str, Callable[[Live], dict[str, str]]] = {
    "schema": lambda live: {"sql/schema.sql": dump_schema(live.db_uri)},
    "api": api_reference.generate,
    "tables": tables.generate,
    "states": states.generate,
    "doctor": doctor.generate,
    "authorization": authorization.generate,
}
