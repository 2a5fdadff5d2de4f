"""Fixtures with new databases and folders of SQL files, for tests of migrations."""

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from conftest import Stack
from sessionbase.migrate.runner import MigrateReport, migrate
from sessionbase.paths import resource_path


class Folder:
    """A folder of SQL files, without app/ at first, and the database that they are applied to."""

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

    def versions(self) -> list[int]:
        """Return the numbers of the migrations in the ledger."""
        return [row[0] for row in self.fetch("select version from ops.migrations order by 1")]

    def execute(self, *statements: str) -> None:
        """Run statements as sessionbase_owner, like a DBA."""
        with psycopg.connect(self.uri) as conn:
            conn.execute("set role sessionbase_owner")
            for statement in statements:
                conn.execute(statement.encode())


@contextmanager
def new_database(uri: str, template: str = "template0") -> Iterator[str]:
    """Create a database beside the one of `uri`; yield its connection string, and drop it."""
    name = f"try_{uuid.uuid4().hex}"
    names = {"new": sql.Identifier(name), "template": sql.Identifier(template)}
    with psycopg.connect(uri, autocommit=True) as conn:
        conn.execute(sql.SQL("create database {new} template {template}").format(**names))
    yield make_conninfo(uri, dbname=name)
    with psycopg.connect(uri, autocommit=True) as conn:
        conn.execute(sql.SQL("drop database {new} with (force)").format(**names))


@contextmanager
def new_template(uri: str) -> Iterator[str]:
    """Create and migrate a database in the cluster of `uri`; yield its name.

    Copying it is faster than migrating a new one.
    """
    with new_database(uri) as created:
        migrate(created)
        yield str(conninfo_to_dict(created)["dbname"])


@pytest.fixture
def empty_database(stack: Stack) -> Iterator[str]:
    """Yield the superuser's connection string of a new, empty database in the test cluster."""
    with new_database(stack.db_uri) as uri:
        yield uri


@pytest.fixture(scope="module")
def template_database(stack: Stack) -> Iterator[str]:
    """Yield the name of a migrated database of the test cluster, to copy."""
    with new_template(stack.db_uri) as name:
        yield name


@pytest.fixture
def migrated_database(stack: Stack, template_database: str) -> Iterator[str]:
    """Yield the superuser's connection string of a new database with the shipped schema."""
    with new_database(stack.db_uri, template_database) as uri:
        yield uri


@pytest.fixture
def folder(tmp_path: Path, empty_database: str) -> Folder:
    """Return an SQL folder that holds only roles.sql, with an empty database."""
    return Folder(tmp_path / "sql", empty_database)
