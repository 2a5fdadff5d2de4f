"""Read the SQL folder and split its files into statements."""

import hashlib
import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from pglast import ast, parse_sql
from pglast.parser import ParseError, scan

from sessionbase.errors import SessionbaseError

_MIGRATION_NAME = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")
_VERIFY_NAME = re.compile(r"(\d{4})\.sql")

NO_TRANSACTION = "-- sessionbase: no-transaction"
"""The directive of a migration that runs without a transaction: a comment line at its head."""

REPEATABLE = "the files of app/ and api/"
"""How messages name the repeatable files, which run in one transaction."""

_DIRECTIVE = re.compile(r"(--|/\*)\s*sessionbase\s*:", re.IGNORECASE)


@dataclass(frozen=True)
class Statement:
    """One statement of a file: its text, its place there and its parse tree."""

    text: str
    offset: int
    line: int
    tree: ast.Node = field(repr=False)

    @property
    def summary(self) -> str:
        """The statement's first line, shortened, for an error message."""
        first = self.text.split("\n", 1)[0].strip()
        return first if len(first) <= 80 else first[:79] + "…"


@dataclass(frozen=True)
class SqlFile:
    """One file: `label` is its name below the SQL folder, `sha256` the hex digest of its bytes."""

    path: Path
    label: str
    sha256: str
    text: str = field(repr=False)

    def line_at(self, offset: int) -> int:
        """Return the line (from 1) of the character at `offset`."""
        return self.text.count("\n", 0, offset) + 1

    @cached_property
    def no_transaction(self) -> bool:
        """Return whether the file has the directive NO_TRANSACTION.

        Raises SessionbaseError for another directive, and for one that is not a whole line above
        the first statement.
        """
        found = False
        if _DIRECTIVE.search(self.text) is None:
            return found
        try:
            tokens = scan(self.text)
        except ParseError:
            return found  # statements() reports the error
        above = True
        for token in tokens:
            if token.name not in {"SQL_COMMENT", "C_COMMENT"}:
                above = False
                continue
            text = self.text[token.start : token.end + 1].rstrip()
            if not _DIRECTIVE.match(text):
                continue
            where = f"{self.label}, line {self.line_at(token.start)}"
            if text != NO_TRANSACTION:
                raise SessionbaseError(
                    f"{where}: unknown directive: {text.splitlines()[0]}",
                    f"the only one is, as a line of its own: {NO_TRANSACTION}",
                )
            alone = self.text[: token.start].rpartition("\n")[2].strip() == ""
            if not above or not alone or found:
                raise SessionbaseError(
                    f"{where}: this directive must be a line above the first statement, once"
                )
            found = True
        return found

    def statements(self) -> list[Statement]:
        """Split the file with PostgreSQL's own grammar.

        Raises SessionbaseError that names the file and the line of a syntax error.
        """
        return list(self._statements)

    @cached_property
    def _statements(self) -> list[Statement]:
        """What `statements` returns: several checks of a run need the parse trees."""
        try:
            parsed = parse_sql(self.text)
        except ParseError as error:
            message, *rest = error.args
            where = self.label
            if rest and isinstance(rest[0], int):
                where = f"{self.label}, line {self.line_at(rest[0])}"
            raise SessionbaseError(f"{where}: {message}", "nothing was run") from error
        found = []
        for raw in parsed:
            start = raw.stmt_location or 0
            end = start + raw.stmt_len if raw.stmt_len else len(self.text)
            if raw.stmt is not None:
                text = self.text[start:end].rstrip()
                found.append(Statement(text, start, self.line_at(start), raw.stmt))
        return found


@dataclass(frozen=True)
class Migration:
    """A file `migrations/NNNN_name.sql`."""

    version: int
    name: str
    file: SqlFile


@dataclass(frozen=True)
class SqlFolder:
    """The files of an SQL folder; `migrations`, `app` and `api` are in the order they run in."""

    roles: SqlFile | None
    """roles.sql; None if the folder has none."""
    migrations: list[Migration]
    app: list[SqlFile]
    """The functions of schema app."""
    api: list[SqlFile]
    """The views and functions of schema api."""
    root: Path
    """The folder itself."""
    verify: dict[int, SqlFile] = field(default_factory=dict)
    """The SELECTs that run after the statements of a migration, by its number."""

    @property
    def repeatable(self) -> list[SqlFile]:
        """The repeatable files: those of app/, then those of api/."""
        return self.app + self.api


def _read(folder: Path, path: Path) -> SqlFile:
    label = path.relative_to(folder).as_posix()
    data = path.read_bytes()
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise SessionbaseError(f"{label} is not UTF-8 at byte {error.start}") from error
    return SqlFile(path, label, hashlib.sha256(data).hexdigest(), text)


def _read_migrations(folder: Path) -> list[Migration]:
    by_version: dict[int, Migration] = {}
    for path in sorted((folder / "migrations").iterdir()):
        match = _MIGRATION_NAME.fullmatch(path.name)
        if path.name.startswith(".") or path.suffix == ".md":
            continue
        if match is None:
            raise SessionbaseError(
                f"migrations/{path.name} does not have the name of a migration",
                "NNNN_name.sql: four digits, then lowercase letters, digits and underscores",
            )
        version = int(match[1])
        if version in by_version:
            raise SessionbaseError(
                f"two migrations have the number {version:04}: "
                f"{by_version[version].file.path.name} and {path.name}",
                "renumber the newer one",
            )
        by_version[version] = Migration(version, match[2], _read(folder, path))
    return [by_version[version] for version in sorted(by_version)]


def _read_repeatable(folder: Path, name: str) -> list[SqlFile]:
    return [_read(folder, path) for path in sorted((folder / name).glob("*.sql"))]


def _read_verify(folder: Path, migrations: list[Migration]) -> dict[int, SqlFile]:
    """Return the files of verify/, which is optional, by the number of their migration."""
    found, versions = {}, {migration.version for migration in migrations}
    for path in sorted((folder / "verify").glob("*")):
        match = _VERIFY_NAME.fullmatch(path.name)
        if path.name.startswith(".") or path.suffix == ".md":
            continue
        if match is None or int(match[1]) not in versions:
            raise SessionbaseError(
                f"verify/{path.name} does not have the number of a migration",
                "restore the migration, or name the file like the one that it checks: "
                "verify/0003.sql for migrations/0003_name.sql",
            )
        found[int(match[1])] = _read(folder, path)
    return found


def read_folder(folder: Path) -> SqlFolder:
    """Read the SQL folder; only its folder migrations/ is required.

    Raises SessionbaseError for a folder without migrations/, a bad file name, two files with one
    number, or a file of verify/ without a migration.
    """
    if not (folder / "migrations").is_dir():
        raise SessionbaseError(
            f"{folder} has no folder migrations/", "name another folder with --sql-dir"
        )
    roles = folder / "roles.sql"
    migrations = _read_migrations(folder)
    return SqlFolder(
        roles=_read(folder, roles) if roles.exists() else None,
        migrations=migrations,
        app=_read_repeatable(folder, "app"),
        api=_read_repeatable(folder, "api"),
        root=folder,
        verify=_read_verify(folder, migrations),
    )
