"""The OpenAPI description is complete, and generated requests cause no server errors."""

import contextlib
import json
from collections.abc import Iterator
from typing import Any
from unittest import SkipTest

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error

from conftest import Stack, TokenFor
from generate.api_functions import Function, read_functions
from generate.authorization import ENDPOINTS
from generate.live import of_data_dir
from sessionbase.doctor.authority import read_authority

PATHS = {"/", *ENDPOINTS}
TABLES = {path.removeprefix("/") for path in ENDPOINTS if not path.startswith("/rpc/")}
# Generated requests for each endpoint, method and kind of data.
EXAMPLES = 30


@pytest.fixture
def description(client: httpx.Client) -> dict[str, Any]:
    """Return the OpenAPI document for a profile."""
    document: dict[str, Any] = client.get("/").json()
    return document


def test_the_description_lists_the_endpoints_of_the_authority_list(
    description: dict[str, Any],
) -> None:
    assert set(description["paths"]) == PATHS, "list exactly these endpoints in sql/authority.json"
    assert set(description["definitions"]) == TABLES, (
        "list exactly these views in sql/authority.json"
    )


def test_every_endpoint_and_column_is_described(description: dict[str, Any]) -> None:
    for path, methods in description["paths"].items():
        for name, operation in methods.items():
            assert operation.get("summary"), f"add `comment on` for {name} {path} in sql/api"
    for table, definition in description["definitions"].items():
        for column, schema in definition["properties"].items():
            assert schema.get("description"), f"add `comment on column api.{table}.{column}`"


def test_the_description_for_a_guest_lists_no_endpoint(guest: httpx.Client) -> None:
    assert set(guest.get("/").json()["paths"]) == {"/"}


@pytest.fixture(scope="module")
def functions(stack: Stack) -> dict[str, Function]:
    """Return the functions that a profile can call, by name."""
    found = read_functions(of_data_dir(stack.data_dir))
    return {function.name: function for function in found if "authenticated" in function.roles}


@pytest.mark.parametrize(
    "name",
    [
        name
        for domain in read_authority().domains.values()
        for name, function in domain.functions.items()
        if not function.computed_column
    ],
)
def test_a_call_without_arguments_is_refused_if_one_is_required(
    name: str, client: httpx.Client, functions: dict[str, Function]
) -> None:
    parameters = functions[name].inputs
    answer = client.post(f"/rpc/{name}", json={})
    if name == "verify_hookify_decisions":
        assert not any(parameter.required for parameter in parameters)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
        return
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_argument"), answer.text
    assert json.loads(answer.json()["details"])["field"] in {p.name for p in parameters}


def call(path: str, mode: GenerationMode, described: dict[str, Any], **sending: Any) -> int:
    """Send generated requests with every method of the path; return how many were answered."""
    schema = schemathesis.openapi.from_dict(described)
    answered = 0
    for method in described["paths"][path]:

        @settings(
            max_examples=EXAMPLES,
            derandomize=True,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=schema[path][method].as_strategy(generation_mode=mode))
        def try_it(case: schemathesis.Case[Any]) -> None:
            nonlocal answered
            # PostgREST 12.0.2 answers 500 to a header that is not UTF-8.
            for name in [name for name, value in case.headers.items() if not value.isascii()]:
                del case.headers[name]
            case.call_and_validate(checks=[not_a_server_error], **sending)
            answered += 1

        # A method without parameters has no invalid requests.
        with contextlib.suppress(Unsatisfiable, SkipTest):
            try_it()
    return answered


@pytest.fixture
def sending(stack: Stack, token_for: TokenFor, profile: str) -> Iterator[dict[str, Any]]:
    """Yield the server, the session and the token for the generated requests."""
    with requests.Session() as session:
        session.trust_env = False
        yield {
            "base_url": stack.rest_url,
            "session": session,
            "headers": {"Authorization": f"Bearer {token_for(profile)}"},
        }


@pytest.mark.parametrize("path", sorted(PATHS))
def test_a_request_that_matches_the_description_causes_no_server_error(
    path: str, description: dict[str, Any], sending: dict[str, Any]
) -> None:
    assert call(path, GenerationMode.POSITIVE, description, **sending)


@pytest.mark.parametrize("path", sorted(path for path in PATHS if path.startswith("/rpc/")))
def test_a_call_that_violates_the_description_causes_no_server_error(
    path: str, description: dict[str, Any], sending: dict[str, Any]
) -> None:
    assert call(path, GenerationMode.NEGATIVE, description, **sending)
