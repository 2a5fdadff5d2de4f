"""sql/schema.sql, which reviewers read, is a dump of the schema that the SQL files create."""

import pytest

from sessionbase.migrate.dump import dump_schema
from sessionbase.paths import resource_path

pytest_plugins = ["support.sql_folder"]


@pytest.mark.postgres_version(18, "the committed file is a dump of PostgreSQL 18")
def test_the_committed_schema_is_up_to_date(migrated_database: str) -> None:
    committed = (resource_path("sql") / "schema.sql").read_text()
    assert dump_schema(migrated_database) == committed, (
        "sql/schema.sql is out of date: run scripts/generate-docs schema"
    )


def test_the_dump_is_reproducible(migrated_database: str) -> None:
    first = dump_schema(migrated_database)
    assert "create view api.tool_events" in first.lower()
    assert "create table ops.migrations" in first.lower()
    assert "restrict " not in first
    assert dump_schema(migrated_database) == first
