"""The whole schema as one text; its diff in a review shows what a migration changes."""

import re
import subprocess
from pathlib import Path

from sessionbase.errors import SessionbaseError
from sessionbase.postgres_programs import embedded_bin

SCHEMAS = ("app", "api", "ops")

# Lines that differ between runs or servers and are not part of the schema: the versions, the
# random key of \restrict, the settings at the start, the empty lines of the headings.
_NOISE = re.compile(
    r"^(--|-- Dumped .*|-- PostgreSQL database dump.*|\\(un)?restrict .*|SET \w+ = .*;"
    r"|SELECT pg_catalog\.set_config\(.*\);)\n",
    re.MULTILINE,
)


def _failure(program: Path, stderr: str) -> SessionbaseError:
    """Make one line of what pg_dump wrote: `pg_dump: error: …` and `pg_dump: detail: …`."""
    lines = [re.sub(r"^pg_dump: (error: |detail: )?", "", line) for line in stderr.splitlines()]
    message = "; ".join(line for line in lines if line) or "it wrote no message"
    hint = None
    if "server version mismatch" in message:
        hint = "name a pg_dump that is not older than the server by --pg-dump"
    return SessionbaseError(f"{program} failed: {message}", hint)


def dump_schema(db_uri: str, pg_dump: Path | None = None) -> str:
    """Return the schemas app, api and ops as pg_dump writes them, without lines that vary.

    `pg_dump` is the program to use, not older than the server; the embedded PostgreSQL's unless
    named. Raises SessionbaseError with the message of pg_dump where it fails or is missing.
    """
    program = pg_dump or embedded_bin() / "pg_dump"
    schemas = [f"--schema={schema}" for schema in SCHEMAS]
    try:
        done = subprocess.run(
            [str(program), "--schema-only", *schemas, f"--dbname={db_uri}"],
            capture_output=True,
            text=True,
            check=True,
        )
    except OSError as error:
        raise SessionbaseError(
            f"{program} does not run: {error.strerror}", "name another pg_dump by --pg-dump"
        ) from error
    except subprocess.CalledProcessError as error:
        raise _failure(program, error.stderr) from error
    return re.sub(r"\n{3,}", "\n\n", _NOISE.sub("", done.stdout)).strip() + "\n"
