"""Conventions of the SQL files that cannot be checked in the catalogue."""

import re
from pathlib import Path

import pytest
from pglast import ast, parse_sql

from sessionbase.paths import resource_path

FILES = sorted(
    path
    for folder in ("migrations", "app", "api")
    for path in resource_path("sql").glob(f"{folder}/*.sql")
)


def functions(text: str) -> dict[str, set[str]]:
    """Return the functions that the SQL creates, each with the options of its statement."""
    return {
        ".".join(part.sval for part in raw.stmt.funcname or ()): {
            option.defname for option in raw.stmt.options or ()
        }
        for raw in parse_sql(text)
        if isinstance(raw.stmt, ast.CreateFunctionStmt)
    }


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_function_states_volatility_security_and_search_path(path: Path) -> None:
    for name, stated in functions(path.read_text()).items():
        missing = {"volatility", "security", "set"} - stated
        assert not missing, f"{path}: state {', '.join(sorted(missing))} for {name}"
        assert name.startswith(("app.", "api.")), f"{path}: create {name} in schema app or api"


def test_the_files_have_functions_to_check() -> None:
    assert sum(len(functions(path.read_text())) for path in FILES) > 20


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_file_raises_an_error_that_postgrest_retries_or_copies_into_the_status_line(
    path: Path,
) -> None:
    code = re.sub(r"--.*", "", path.read_text())
    code = re.sub(r"comment on .*?;\n", "", code, flags=re.DOTALL)
    found = re.search(r"40001|serialization_failure|'PT\d", code)
    assert not found, f"{path}: raise {found and found[0]} with app.raise_error instead"
