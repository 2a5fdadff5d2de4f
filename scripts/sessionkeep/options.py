"""Options that several subcommands share, and how a database is chosen."""

import os
from pathlib import Path
from typing import Annotated

import psycopg
import typer

from sessionkeep.errors import SessionkeepError
from sessionkeep.paths import PROJECT_DIR
from sessionkeep.stack.state import read_db_uri

DataDir = Annotated[
    Path,
    typer.Option(
        "--data-dir",
        envvar="SESSIONKEEP_DATA_DIR",
        help="Where the embedded stack keeps its cluster, secrets and logs.",
    ),
]
DEFAULT_DATA_DIR = PROJECT_DIR / ".sessionkeep"

DbUri = Annotated[
    str | None,
    typer.Option(
        "--db-uri",
        envvar="SESSIONKEEP_DB_URI",
        help="A libpq connection URI. Without it: the embedded stack of --data-dir.",
        show_default=False,
    ),
]


def resolve_db_uri(db_uri: str | None, data_dir: Path) -> str:
    """Return the database to work on: the one named, else the embedded stack's.

    Raises SessionkeepError where neither is there.
    """
    return db_uri or read_db_uri(data_dir)


def connect(uri: str) -> psycopg.Connection[tuple[object, ...]]:
    """Open a connection, or raise a SessionkeepError that says why there is none."""
    try:
        return psycopg.connect(uri, application_name=f"sessionkeep/{os.getpid()}")
    except psycopg.OperationalError as error:
        first_line = str(error).strip().splitlines()[0]
        raise SessionkeepError(
            f"no connection to the database: {first_line}",
            "is it running? scripts/up starts the embedded one",
        ) from error
