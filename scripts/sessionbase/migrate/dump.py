"""The whole schema as one text, so that a review sees what a migration makes of it."""

import os
import re
import subprocess
from pathlib import Path

from sessionbase.errors import SessionbaseError
from sessionbase.stack.account import Account, postgres_bin

SCHEMAS = ("app", "api", "ops")

# Lines that differ from run to run or server to server and say nothing about the schema: pg_dump's
# versions, its one-time \restrict key, the settings it starts with, the frames of its headings.
_NOISE = re.compile(
    r"^(--|-- Dumped .*|-- PostgreSQL database dump.*|\\(un)?restrict .*|SET \w+ = .*;"
    r"|SELECT pg_catalog\.set_config\(.*\);)\n",
    re.MULTILINE,
)


def dump_schema(db_uri: str, pg_dump: Path | None = None) -> str:
    """Return the schemas app, api and ops as pg_dump writes them, without what varies.

    `pg_dump` is the program to use, of the server's major version or a later one; the embedded
    PostgreSQL's unless named. Raises SessionbaseError with what it said where it fails.
    """
    program = pg_dump or postgres_bin(Account(os.geteuid(), os.getegid())) / "pg_dump"
    try:
        done = subprocess.run(
            [
                str(program),
                "--schema-only",
                *(f"--schema={schema}" for schema in SCHEMAS),
                f"--dbname={db_uri}",
            ],
            capture_output=True,
            text=True,
            check=True,
        )
    except OSError as error:
        raise SessionbaseError(f"{program} does not run: {error.strerror}") from error
    except subprocess.CalledProcessError as error:
        raise SessionbaseError(f"pg_dump failed: {error.stderr.strip().splitlines()[0]}") from error
    return re.sub(r"\n{3,}", "\n\n", _NOISE.sub("", done.stdout)).strip() + "\n"
