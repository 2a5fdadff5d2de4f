"""Options that several subcommands share, and how a database is chosen."""

from pathlib import Path
from typing import Annotated

import typer

from sessionbase.paths import PROJECT_DIR
from sessionbase.state import read_db_uri

DataDir = Annotated[
    Path,
    typer.Option(
        "--data-dir",
        envvar="SESSIONBASE_DATA_DIR",
        help="Where the embedded stack keeps its cluster, secrets and logs.",
    ),
]
DEFAULT_DATA_DIR = PROJECT_DIR / ".sessionbase"

DbUri = Annotated[
    str | None,
    typer.Option(
        "--db-uri",
        envvar="SESSIONBASE_DB_URI",
        help="A libpq connection URI. Without it: the embedded stack of --data-dir.",
        show_default=False,
    ),
]


def resolve_db_uri(db_uri: str | None, data_dir: Path) -> str:
    """Return the database to work on: the one named, else the embedded stack's.

    Raises SessionbaseError where neither is there.
    """
    return db_uri or read_db_uri(data_dir)
