"""What a generator needs of a live stack."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg

from sessionbase.database import connect
from sessionbase.errors import SessionbaseError
from sessionbase.stack.token import Role, make_claims, sign
from sessionbase.state import dba_uri, require


@dataclass(frozen=True)
class Live:
    """A running stack: where PostgREST and PostgreSQL are, and what tokens are signed with."""

    rest_url: str
    db_uri: str
    """The DBA's: generators look at the catalogue and at rows as a superuser."""
    jwt_secret: str

    @contextmanager
    def catalogue(self) -> Iterator[psycopg.Cursor[tuple[Any, ...]]]:
        """Open a read-only transaction on the database, all its reads of one snapshot."""
        with connect(self.db_uri) as connection:
            connection.read_only = True
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            with connection.cursor() as cursor:
                yield cursor

    def openapi(self, role: Role = Role.authenticated) -> dict[str, Any]:
        """Return PostgREST's description (OpenAPI 2.0) of what `role` may use.

        Raises SessionbaseError where PostgREST does not answer.
        """
        token = sign(make_claims("generate", role), self.jwt_secret)
        try:
            answer = httpx.get(
                f"{self.rest_url}/",
                headers={"Authorization": f"Bearer {token}"},
                timeout=30,
                trust_env=False,
            )
            answer.raise_for_status()
        except httpx.HTTPError as error:
            raise SessionbaseError(
                f"no description of the API from {self.rest_url}: {error}", "is the stack up?"
            ) from error
        description: dict[str, Any] = answer.json()
        return description


def of_data_dir(data_dir: Path) -> Live:
    """Return the stack of `data_dir`; SessionbaseError where there is none."""
    stack_config, secrets = require(data_dir.resolve())
    return Live(stack_config.rest_url, dba_uri(stack_config, secrets), secrets.jwt_secret)
