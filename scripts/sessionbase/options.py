"""Options that several subcommands share, and the choice of the database."""

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
        help="The folder of the embedded stack: cluster, secrets and logs.",
    ),
]
DEFAULT_DATA_DIR = PROJECT_DIR / ".sessionbase"

DbUri = Annotated[
    str | None,
    typer.Option(
        "--db-uri",
        envvar="SESSIONBASE_DB_URI",
        help="A PostgreSQL connection URI. Default: the embedded stack of --data-dir.",
        show_default=False,
    ),
]


def resolve_db_uri(db_uri: str | None, data_dir: Path) -> str:
    """Return `db_uri`, or if it is None the URI of the embedded stack's database.

    Raises SessionbaseError if there is neither.
    """
    return db_uri or read_db_uri(data_dir)
