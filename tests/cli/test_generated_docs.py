"""The generated documents are up to date and complete."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree

import psycopg
import pytest

from conftest import Stack
from generate import api_functions, api_reference, graphviz, states, tables
from generate.documents import GENERATORS
from generate.live import Live, of_data_dir
from sessionbase.errors import SessionbaseError
from sessionbase.paths import PROJECT_DIR
from sessionbase.stack.token import Role

pytest_plugins = ["support.sql_folder"]


@pytest.fixture(scope="module")
def live(stack: Stack) -> Live:
    return of_data_dir(stack.data_dir)


# tests/sql/test_schema_dump.py compares the schema.
@pytest.mark.parametrize("name", sorted(set(GENERATORS) - {"schema"}))
def test_a_generated_document_is_current(name: str, live: Live) -> None:
    for path, text in GENERATORS[name](live).items():
        file = PROJECT_DIR / path
        assert file.exists(), f"{path} is missing: run scripts/generate-docs {name}"
        assert file.read_text(encoding="utf-8") == text, (
            f"{path} is out of date: run scripts/generate-docs {name}"
        )


def test_the_documents_are_generated_reproducibly(live: Live) -> None:
    assert tables.generate(live) == tables.generate(live)
    assert states.generate(live) == states.generate(live)
    assert api_reference.generate(live) == api_reference.generate(live)


def described(openapi: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the name and the description of everything that OpenAPI lists."""
    for path, operations in openapi["paths"].items():
        for verb, operation in operations.items():
            yield f"{verb} {path}", operation.get("summary", "")
    for view, definition in openapi["definitions"].items():
        yield view, definition.get("description", "")
        for column, schema in definition["properties"].items():
            yield f"{view}.{column}", schema.get("description", "").split("Note:\n")[0].strip()
    for key in openapi["parameters"]:
        if "." not in key:
            yield f"parameter {key}", api_reference.SHARED.get(key, "")


@pytest.mark.parametrize("role", Role)
def test_everything_that_openapi_lists_has_a_description(role: Role, live: Live) -> None:
    descriptions = dict(described(live.openapi(role)))
    assert len(descriptions) > 20
    assert [name for name, text in descriptions.items() if not text] == [], (
        "add a `comment on` these views, columns or functions to their file in sql/api, or the "
        "parameter to SHARED in scripts/generate/api_reference.py"
    )


def test_every_parameter_of_every_function_has_a_description(live: Live) -> None:
    parameters = [
        (function.name, parameter)
        for function in api_functions.read_functions(live)
        for parameter in [*function.inputs, *function.outputs]
    ]
    assert len(parameters) > 40
    assert [(name, p.name) for name, p in parameters if not p.description] == [], (
        "add a line '- PARAMETER: description' to the comment on these functions in sql/api"
    )


def test_a_comment_on_an_unknown_parameter_is_refused(live: Live, empty_database: str) -> None:
    with psycopg.connect(empty_database) as connection:
        connection.execute("create schema api")
        connection.execute("create function api.f(a text) returns text return a")
        connection.execute("comment on function api.f is E'Echo\\n\\n- b: What to say'")
    with pytest.raises(SessionbaseError, match=r"api\.f describes unknown parameters: b"):
        api_functions.read_functions(replace(live, db_uri=empty_database))


def test_the_reference_names_every_endpoint_of_every_role(live: Live) -> None:
    page = api_reference.generate(live)["docs/api.md"]
    paths = {path for role in Role for path in live.openapi(role)["paths"]} - {"/"}
    assert len(paths) > 15
    assert {path for path in paths if f"`{path}`" not in page} == set(), (
        "correct scripts/generate/api_reference.py: docs/api.md must have every endpoint"
    )
    assert "`PATCH /todos`" in page
    assert "`DELETE /todos`" not in page, "no role has this right, so docs/api.md must not list it"


def test_the_diagram_of_the_tables_shows_every_column_and_foreign_key(live: Live) -> None:
    picture = tables.generate(live)["docs/img/tables.svg"]
    texts = {element.text for element in ElementTree.fromstring(picture).iter() if element.text}
    found = tables.read_tables(live)
    assert {table.name for table in found} >= {"tool_events", "todos", "ui_settings"}
    names = {table.name for table in found} | {c.name for table in found for c in table.columns}
    assert names <= texts, (
        "correct scripts/generate/tables.py: the diagram must show every table and column"
    )
    assert picture.count('class="edge"') == sum(len(table.references) for table in found) > 0


def test_the_lines_of_foreign_keys_in_the_diagram_do_not_cross(live: Live) -> None:
    found = tables.stacks(tables.read_tables(live))
    neighbours = {(below.name, above.name) for stack in found for above, below in pairwise(stack)}
    keys = {(t.name, parent) for stack in found for t in stack for parent in t.references}
    assert keys <= neighbours, (
        "place a table next to the one that it references: `stacks` in scripts/generate/tables.py"
    )


def test_the_state_machines_are_those_that_the_guards_enforce(live: Live) -> None:
    assert set(states.transitions(live, "tool_events", "is_legal_tool_event_transition")) == {
        (None, "pending"),
        (None, "executing"),
        ("pending", "executing"),
        ("pending", "succeeded"),
        ("pending", "failed"),
        ("executing", "succeeded"),
        ("executing", "failed"),
    }
    three = ["open", "acknowledged", "dismissed"]
    assert set(states.transitions(live, "misalignments", "is_legal_misalignment_transition")) == {
        *((None, status) for status in three),
        *((one, other) for one in three for other in three if one != other),
    }


def test_an_error_of_graphviz_is_raised_with_its_message() -> None:
    with pytest.raises(SessionbaseError, match="syntax error"):
        graphviz.to_svg("digraph {", "dot")
