"""Fixtures for the tests of the runner: a new database for each test, and a folder of SQL files."""

import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from sessionbase.migrate.runner import MigrateReport, migrate
from sessionbase.paths import resource_path


class Folder:
    """A folder of SQL files, at first without app/, and a database to apply it to."""

    def __init__(self, path: Path, uri: str) -> None:
        self.path = path
        self.uri = uri
        (path / "migrations").mkdir(parents=True)
        (path / "api").mkdir()
        shutil.copyfile(resource_path("sql") / "roles.sql", path / "roles.sql")

    def write(self, name: str, text: str) -> None:
        path = self.path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    def remove(self, name: str) -> None:
        (self.path / name).unlink()

    def migrate(self, **options: Any) -> MigrateReport:
        return migrate(self.uri, self.path, **options)

    def fetch(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.uri) as conn:
            return conn.execute(query.encode()).fetchall()

    def execute(self, *statements: str) -> None:
        """Run statements as sessionbase_owner, as a DBA would by hand."""
        with psycopg.connect(self.uri) as conn:
            conn.execute("set role sessionbase_owner")
            for statement in statements:
                conn.execute(statement.encode())


@pytest.fixture
def empty_database(db: psycopg.Connection[Any]) -> Iterator[str]:
    """Yield the superuser's connection string of a new, empty database in the test cluster."""
    name = f"try_{uuid.uuid4().hex}"
    db.execute(sql.SQL("create database {} template template0").format(sql.Identifier(name)))
    yield make_conninfo(db.info.dsn, password=db.info.password, dbname=name)
    db.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


@pytest.fixture
def folder(tmp_path: Path, empty_database: str) -> Folder:
    """Return an SQL folder that holds only roles.sql, with an empty database."""
    return Folder(tmp_path / "sql", empty_database)
