"""`migrate new`: create the file of the next migration."""

import re
from pathlib import Path

from sessionbase.errors import SessionbaseError, UsageError
from sessionbase.migrate.files import NO_TRANSACTION, read_folder
from sessionbase.paths import resource_path

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_LAST = 9999

_COMMON = """\
-- {title}.
--
-- A migration is applied once and never edited later. Write names with their schema; functions
-- belong into app/ and api/.
"""

_TRANSACTION = """\
-- The whole file is one transaction, and holds each lock until its end. Keep it short:
--   a new column: nullable, or with a constant default;
--   a new constraint: add it "not valid" here, and validate it in the next migration;
--   an index on a large table: create index concurrently, in a file of its own
--   (migrate new --no-transaction).
-- Checks that must hold before the commit: verify/{stem}.sql.
"""

_WITHOUT = """\
-- The first line makes the runner execute this file without a transaction. It must contain exactly
-- one statement, for example: create index concurrently …. If it is interrupted, the next run of
-- migrate completes it.
"""


def new_migration(name: str, sql_dir: Path | None = None, *, no_transaction: bool = False) -> Path:
    """Create migrations/NNNN_name.sql with the next number, and return its path.

    The file has only comments. `sql_dir` is the shipped folder unless named. Raises UsageError for
    a name that no migration can have, SessionbaseError if the file can't be created.
    """
    if not _NAME.fullmatch(name) or len(name) > 100:
        raise UsageError(
            f"{name!r} is not the name of a migration",
            "up to 100 lowercase letters, digits and underscores, for example todos_due_at",
        )
    folder = sql_dir or resource_path("sql")
    migrations = read_folder(folder).migrations
    number = migrations[-1].version + 1 if migrations else 1
    if number > _LAST:
        raise SessionbaseError(f"{_LAST} is the last number that a migration can have")
    stem = f"{number:04}_{name}"
    path = folder / "migrations" / f"{stem}.sql"
    title = name.replace("_", " ").capitalize()
    text = (f"{NO_TRANSACTION}\n" if no_transaction else "") + _COMMON.format(title=title)
    text += _WITHOUT if no_transaction else _TRANSACTION.format(stem=f"{number:04}")
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text + "\n")
    except OSError as error:
        raise SessionbaseError(
            f"{path} can't be created: {error.strerror}", "--sql-dir names another folder"
        ) from error
    return path
