"""Options that several subcommands share, and the choice of the database."""

import os
import re
from pathlib import Path
from typing import Annotated

import typer

from sessionbase.database import PASSFILE_VARIABLE
from sessionbase.errors import UsageError
from sessionbase.paths import PROJECT_DIR
from sessionbase.state import read_db_uri, read_secret

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
        help="A PostgreSQL connection URI. Default: the embedded stack of --data-dir. Its password "
        "can be in a file: SESSIONBASE_DB_PASSWORD_FILE names it.",
        show_default=False,
    ),
]

SkipLint = Annotated[
    list[str] | None,
    typer.Option(
        "--skip-lint",
        metavar="NAME",
        help="Do not refuse the findings of this check; print them, and record them in "
        "ops.ledger_changes. Repeatable.",
        show_default=False,
    ),
]

_UNITS_MS = {"ms": 1, "s": 1000, "min": 60_000}


def resolve_db_uri(db_uri: str | None, data_dir: Path) -> str:
    """Return `db_uri`, or if it is None the URI of the embedded stack's database.

    If the environment variable SESSIONBASE_DB_PASSWORD_FILE names a file, the password in it is
    used for a `db_uri` without one. Raises SessionbaseError if there is no database, or the file
    has no password.
    """
    if db_uri is None:
        return read_db_uri(data_dir)
    password_file = os.environ.get(PASSFILE_VARIABLE)
    if password_file:
        # libpq reads it, also in pg_dump. A password in the URI has precedence.
        os.environ["PGPASSWORD"] = read_secret(Path(password_file))
    return db_uri


def parse_duration(text: str, option: str) -> int:
    """Return the milliseconds of a duration like `500ms`, `5s` or `1min`.

    Raises UsageError for any other text; its message names the `option`.
    """
    match = re.fullmatch(r"(\d+)\s*(ms|s|min)", text.strip())
    if match is None:
        raise UsageError(
            f"{option} {text!r} is not a duration",
            "write a number with ms, s or min, for example 5s",
        )
    return int(match[1]) * _UNITS_MS[match[2]]
