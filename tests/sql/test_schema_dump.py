"""sql/schema.sql is what the migrations and the api files make, for people who review."""

import pytest

from sessionbase.migrate.dump import dump_schema
from sessionbase.migrate.runner import migrate
from sessionbase.paths import resource_path

pytest_plugins = ["support.sql_folder"]


@pytest.mark.postgres_version(18, "the committed file is a dump of PostgreSQL 18")
def test_the_committed_schema_is_what_the_sql_files_make(empty_database: str) -> None:
    migrate(empty_database)
    committed = (resource_path("sql") / "schema.sql").read_text()
    assert dump_schema(empty_database) == committed, (
        "sql/schema.sql is out of date: run scripts/generate-docs schema"
    )


def test_the_dump_is_the_same_whenever_it_is_made(empty_database: str) -> None:
    migrate(empty_database)
    first = dump_schema(empty_database)
    assert "create view api.tool_events" in first.lower()
    assert "create table ops.migrations" in first.lower()
    assert "restrict " not in first
    assert dump_schema(empty_database) == first
