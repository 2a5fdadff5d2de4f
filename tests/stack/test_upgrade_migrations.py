"""Databases of every earlier migration come to the newest with all rows, also by 20 runners.

The old databases are those of tests/data/make_old_databases.py: made by old commits with their own
runner, whose ledger lacks what later versions added.
"""

from __future__ import annotations

import json
import os
import tarfile
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from conftest import Stack
from sessionbase.audit.chains import verify_chains
from sessionbase.doctor.lints import examine
from sessionbase.migrate.dump import dump_schema
from sessionbase.migrate.runner import migrate, status
from sessionbase.paths import PROJECT_DIR, resource_path
from sessionbase.stack.scratch import scratch_cluster
from support.command import run_at_once
from support.databases import content, index_order

pytest_plugins = ["support.sql_folder"]

SHIPPED = resource_path("sql")
NEWEST = max(int(file.name[:4]) for file in (SHIPPED / "migrations").glob("*.sql"))
RUNNERS = 20
LONG = os.environ.get("SESSIONBASE_LONG_TESTS") == "1"
OLD_DATABASES = PROJECT_DIR / "tests/data/old_databases.tar.xz"
with tarfile.open(OLD_DATABASES) as archive:
    VERSIONS = sorted(int(name[:4]) for name in archive.getnames())


def load(uri: str, newest: int) -> None:
    """Make the database of an old runner whose newest migration was `newest`."""
    with tarfile.open(OLD_DATABASES) as archive:
        file = archive.extractfile(f"{newest:04}.sql")
        assert file
        text = file.read()
    with psycopg.connect(uri) as conn:
        conn.execute(text)


@pytest.fixture(scope="module")
def newest(stack: Stack, template_database: str) -> tuple[str, dict[str, list[str]]]:
    """Return the schema of a new database, as pg_dump writes it, and the order of its indexes."""
    uri = make_conninfo(stack.db_uri, dbname=template_database)
    return dump_schema(uri), index_order(uri)


def without(row: dict[str, Any], columns: set[str]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in columns}


def assert_rows_intact(before: dict[str, list[Any]], after: dict[str, list[Any]]) -> None:
    """Assert that each table has the same rows, column by column; a column may have been added."""
    assert before.keys() <= after.keys()
    for table, rows in before.items():
        if table == "ops.repeatable_files" or not rows:
            continue  # it has the files that were applied last
        added = set(after[table][0]) - set(rows[0])
        kept = sorted((without(row, added) for row in after[table]), key=json.dumps)
        if table == "ops.migrations":
            kept = [row for row in kept if row["version"] <= len(rows)]
        assert kept == rows, f"{table}: the upgrade changed its rows"


def assert_upgraded(uri: str, newest: tuple[str, dict[str, list[str]]]) -> None:
    """Assert that the database is as a new one: its schema, its ledger, doctor and the chains."""
    plan = status(uri)
    assert [row.version for row in plan.applied] == list(range(1, NEWEST + 1))
    assert not (plan.pending or plan.changed or plan.missing or plan.repeatable_files)
    assert plan.broken_at is None
    assert dump_schema(uri) == newest[0]
    assert index_order(uri).keys() == newest[1].keys()
    assert {table: order[-1] for table, order in index_order(uri).items()} == {
        table: order[-1] for table, order in newest[1].items()
    }
    assert examine(uri).findings == []
    chains = verify_chains(uri)
    assert chains.problems == []


@pytest.mark.parametrize("version", VERSIONS)
def test_a_database_at_each_migration_comes_to_the_newest_with_all_rows(
    empty_database: str, newest: tuple[str, dict[str, list[str]]], version: int
) -> None:
    load(empty_database, version)
    before = content(empty_database)
    assert len(before["ops.migrations"]) == version
    tables = {name for name in before if name.startswith("app.")}
    assert bool(tables) == (version > 1)
    assert not [name for name in tables if not before[name]], "a table has no row to lose"
    report = migrate(empty_database)
    assert [one.version for one in report.migrations] == list(range(version + 1, NEWEST + 1))
    assert_rows_intact(before, content(empty_database))
    assert_upgraded(empty_database, newest)
    assert verify_chains(empty_database).decisions == len(before.get("app.hookify_decisions", []))
    assert migrate(empty_database).nothing_to_do


def test_the_shipped_migrations_are_those_that_old_databases_have(empty_database: str) -> None:
    load(empty_database, VERSIONS[-1])
    plan = status(empty_database)
    assert len(plan.applied) == VERSIONS[-1]
    assert plan.changed == [], "a migration that was applied somewhere must not be edited"


# 20 runners at once.


def migrate_at_once(uris: list[str]) -> list[tuple[int | None, str]]:
    """Run `sessionbase migrate` in a process for each URI; return exit codes and outputs."""
    return run_at_once([["migrate", "--db-uri", uri] for uri in uris])


@pytest.mark.parametrize(
    "version",
    [
        pytest.param(
            0,
            marks=pytest.mark.skipif(
                not LONG,
                reason="20 processes; tests/cli/test_migrate.py has 20 runners of a new database: "
                "SESSIONBASE_LONG_TESTS=1 runs it",
            ),
        ),
        5,
    ],
)
def test_one_of_20_runners_migrates_and_the_others_have_nothing_to_do(
    empty_database: str, newest: tuple[str, dict[str, list[str]]], version: int
) -> None:
    if version:
        load(empty_database, version)
    before = content(empty_database)
    results = migrate_at_once([empty_database] * RUNNERS)
    assert [code for code, _ in results] == [0] * RUNNERS, results
    done = [text for _, text in results if f"done: {NEWEST - version} migration" in text]
    idle = [text for _, text in results if "nothing to do: the database is up to date" in text]
    assert (len(done), len(idle)) == (1, RUNNERS - 1)
    assert_rows_intact(before, content(empty_database))
    assert_upgraded(empty_database, newest)


def test_runners_in_two_databases_of_a_cluster_without_the_roles_all_succeed(
    newest: tuple[str, dict[str, list[str]]],
) -> None:
    # Roles belong to the cluster, and a runner locks only its database.
    with scratch_cluster() as uri:
        with psycopg.connect(uri, autocommit=True) as conn:
            conn.execute("create database other")
        uris = [uri, make_conninfo(uri, dbname="other")]
        results = migrate_at_once(uris * 3)
        assert [code for code, _ in results] == [0] * 6, results
        done = [text for _, text in results if f"done: {NEWEST} migration" in text]
        assert len(done) == 2
        for one in uris:
            assert_upgraded(one, newest)
