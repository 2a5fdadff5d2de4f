"""PostgreSQL's client programs: which pg_dump, pg_restore and psql are used, and how they run."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from sessionbase.errors import SessionbaseError
from sessionbase.postgres_programs import embedded_bin
from sessionbase.stack.account import POSTGRES_BIN_VARIABLE


@dataclass(frozen=True)
class Programs:
    """A folder with pg_dump, pg_restore and psql of one version."""

    folder: Path
    version: str
    """As the program prints it: `18.6`."""

    @property
    def major(self) -> int:
        """The major version."""
        return int(self.version.split(".")[0])

    def path(self, name: str) -> str:
        """Return the path of a program."""
        return str(self.folder / name)


def choose_programs(oldest_major: int, what: str) -> Programs:
    """Return programs of the major version `oldest_major`, else of the next newer one.

    Candidates are the folder that SESSIONBASE_POSTGRES_BIN names, the embedded PostgreSQL, and
    PATH. pg_dump and pg_restore work with older servers, not with newer ones. `what` completes
    "must be at least as new as". Raises SessionbaseError if there are none.
    """
    folders = [embedded_bin()]
    if chosen := os.environ.get(POSTGRES_BIN_VARIABLE):
        folders.insert(0, Path(chosen).resolve())
    if on_path := shutil.which("pg_dump"):
        folders.append(Path(on_path).parent)
    found = [programs for folder in folders if (programs := _programs_of(folder))]
    usable = [programs for programs in found if programs.major >= oldest_major]
    if not usable:
        seen = ", ".join(f"{one.folder} (PostgreSQL {one.version})" for one in found) or "nowhere"
        raise SessionbaseError(
            f"pg_dump, pg_restore and psql must be at least as new as {what}, PostgreSQL"
            f" {oldest_major}; found: {seen}",
            f"{POSTGRES_BIN_VARIABLE} names the bin folder of a PostgreSQL {oldest_major} or newer",
        )
    return min(usable, key=lambda programs: programs.major)


def _programs_of(folder: Path) -> Programs | None:
    """Return the programs in the folder; None if one of them is missing or does not run."""
    if not all(os.access(folder / name, os.X_OK) for name in ("pg_dump", "pg_restore", "psql")):
        return None
    try:
        done = subprocess.run(
            [str(folder / "pg_dump"), "--version"], check=True, capture_output=True, text=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    match = re.search(r"\(PostgreSQL\) (\d+\S*)", done.stdout)
    return Programs(folder, match[1]) if match else None


def connection_arguments(db_uri: str) -> tuple[str, dict[str, str]]:
    """Return the argument `--dbname=…` without the password, and the environment with it.

    Other users of the machine can read the arguments of a process, but not its environment.
    """
    parameters = {
        name: str(value) for name, value in conninfo_to_dict(db_uri).items() if value is not None
    }
    # The messages are read, so they must not be translated.
    environment = {**os.environ, "LANGUAGE": "C", "LC_ALL": "C.UTF-8"}
    password = parameters.pop("password", None)
    if password is not None:
        environment["PGPASSWORD"] = password
    return f"--dbname={make_conninfo('', **parameters)}", environment


def failure(program: str, lines: list[str]) -> SessionbaseError:
    """Return the error for a program that failed, with the messages that it wrote to stderr."""
    errors = [
        re.sub(r"^(pg_dump|pg_restore|psql)(:<stdin>:\d+)?: ", "", line)
        for line in lines
        if re.search(r"(error|detail|hint|FATAL|ERROR|DETAIL|HINT): ", line)
    ]
    message = "; ".join(errors[:4]) or (lines[-1] if lines else "it wrote no message")
    hint = None
    if "row-level security" in message:
        hint = (
            "a table has FORCE ROW LEVEL SECURITY: a superuser makes the backup, or a DBA runs"
            " alter table … no force row level security"
        )
    return SessionbaseError(f"{program} failed: {message}", hint)
