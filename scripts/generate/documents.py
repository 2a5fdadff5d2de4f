"""The generated files, and the function that generates each.

To add a file: write `generate(live) -> {path relative to the project: text}`, and list it here.
"""

from collections.abc import Callable

from generate import api_reference, authorization, doctor, states, tables, typescript
from generate.live import Live
from sessionbase.migrate.dump import dump_schema

GENERATORS: dict[str, Callable[[Live], dict[str, str]]] = {
    "schema": lambda live: {"sql/schema.sql": dump_schema(live.db_uri)},
    "api": api_reference.generate,
    "swagger": api_reference.amendment,
    "tables": tables.generate,
    "states": states.generate,
    "doctor": doctor.generate,
    "authorization": authorization.generate,
    "types": typescript.generate,
}
