"""Make tests/data/old_databases.tar.xz: the database of each earlier migration, with rows.

A runner of that time applied SQL files of that time to a new cluster, rows were stored by calls of
the API, and pg_dump wrote all of it as SQL. No commit was released while a migration before 0008
was the newest: for those the files of 0008 are used without those of later domains. The programs
of the oldest supported PostgreSQL write SQL that every version can run:

    SESSIONBASE_POSTGRES_BIN=/usr/lib/postgresql/15/bin .venv/bin/python \
      tests/data/make_old_databases.py

After a release with a new migration, add it to COMMITS and run it again in a clone with history.
"""

import io
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from pglast import ast, parse_sql
from pglast.enums import ConstrType

PROJECT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(PROJECT / "scripts"), str(PROJECT / "tests")]

from sessionbase.stack.account import postgres_bin, service_account  # noqa: E402
from sessionbase.stack.scratch import scratch_cluster  # noqa: E402
from support.profiles import fill_what_exists  # noqa: E402

TARGET = Path(__file__).with_name("old_databases.tar.xz")
COMMITS = {**dict.fromkeys(range(1, 9), "74d3567"), 9: "bc0e15f"}
"""The newest migration of a database → the commit that makes it."""

# The files of app/ and api/ that are not named like a migration → the first migration after which
# the objects exist that they name.
OTHER_FILES = {"schema": 1, "session_context": 6}


def cut_folder(folder: Path, newest: int) -> None:
    """Remove from an SQL folder the migrations after `newest`, and the files of later domains."""
    numbers = {
        file.stem[5:]: int(file.name[:4]) for file in (folder / "migrations").glob("*.sql")
    } | OTHER_FILES
    for kind, prefix in (("migrations", 5), ("app", 3), ("api", 3)):
        for file in (folder / kind).glob("*.sql"):
            if numbers[file.stem[prefix:]] > newest:
                file.unlink()


def migrate_with(commit: str, newest: int, uri: str) -> None:
    """Run `sessionbase migrate` of the commit, up to the migration `newest`."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        archive = subprocess.run(
            ["git", "-C", PROJECT, "archive", commit, "scripts", "sql", "postgrest.conf"],
            check=True,
            capture_output=True,
        ).stdout
        subprocess.run(["tar", "-x", "-C", folder], input=archive, check=True)
        cut_folder(folder / "sql", newest)
        subprocess.run(
            [sys.executable, "-m", "sessionbase", "migrate", "--db-uri", uri],
            env={**os.environ, "PYTHONPATH": str(folder / "scripts")},
            cwd=folder,
            check=True,
        )


def is_primary_key(tree: ast.Node | None) -> bool:
    """Return whether a statement adds a primary key."""
    return isinstance(tree, ast.AlterTableStmt) and any(
        isinstance(command, ast.AlterTableCmd)
        and isinstance(command.def_, ast.Constraint)
        and command.def_.contype == ConstrType.CONSTR_PRIMARY
        for command in tree.cmds or ()
    )


def primary_keys_last(text: str) -> str:
    """Move each primary key after all other indexes, as the migrations create them.

    pg_dump writes them first. The order of creation matters: see sql/migrations/0002.
    """
    others: list[str] = []
    keys: list[str] = []
    last_index = 0
    for raw in parse_sql(text):
        start, length = raw.stmt_location or 0, raw.stmt_len or len(text)
        statement = text[start : start + length].strip().removesuffix(";") + ";\n"
        if is_primary_key(raw.stmt):
            keys.append(statement)
            continue
        others.append(statement)
        if isinstance(raw.stmt, ast.IndexStmt):
            last_index = len(others)
    if last_index == 0:
        return text
    return "".join([*others[:last_index], *keys, *others[last_index:]])


def make(commit: str, newest: int) -> str:
    """Return the SQL of a database of the commit."""
    with scratch_cluster() as uri:
        migrate_with(commit, newest, uri)
        for profile in ("p", "q"):
            fill_what_exists(uri, profile)
        dump = subprocess.run(
            [postgres_bin(service_account()) / "pg_dump", "--inserts", uri],
            check=True,
            capture_output=True,
        ).stdout.decode()
    lines = [line for line in dump.split("\n") if not line.startswith(("\\restr", "\\unrestr"))]
    return primary_keys_last("\n".join(lines))


def main() -> None:
    """Write the archive."""
    with tarfile.open(TARGET, "w:xz") as archive:
        for newest, commit in COMMITS.items():
            data = make(commit, newest).encode()
            entry = tarfile.TarInfo(f"{newest:04}.sql")
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))


main()
