"""The running stack that the generators read from."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg

from sessionbase.database import connect
from sessionbase.errors import SessionbaseError
from sessionbase.paths import script
from sessionbase.stack.token import Role, make_claims, sign
from sessionbase.state import dba_uri, require


@dataclass(frozen=True)
class Live:
    """A running stack: the URLs of PostgREST and PostgreSQL, and the secret of the tokens."""

    rest_url: str
    db_uri: str
    """The URI of a superuser, who can read the catalogue and all rows."""
    jwt_secret: str

    @contextmanager
    def catalogue(self) -> Iterator[psycopg.Cursor[tuple[Any, ...]]]:
        """Open a read-only transaction, which reads one snapshot of the database."""
        with connect(self.db_uri) as connection:
            connection.read_only = True
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            with connection.cursor() as cursor:
                yield cursor

    def openapi(self, role: Role = Role.authenticated) -> dict[str, Any]:
        """Return PostgREST's OpenAPI 2.0 description of what `role` may use.

        Raises SessionbaseError if PostgREST does not respond.
        """
        token = sign(make_claims("generate", role), self.jwt_secret)
        try:
            response = httpx.get(
                f"{self.rest_url}/",
                headers={"Authorization": f"Bearer {token}"},
                timeout=30,
                trust_env=False,
            )
            response.raise_for_status()
        except httpx.HTTPError as error:
            raise SessionbaseError(
                f"no OpenAPI description from {self.rest_url}: {error}",
                f"{script('up')} starts the stack",
            ) from error
        description: dict[str, Any] = response.json()
        return description


def of_data_dir(data_dir: Path) -> Live:
    """Return the stack of `data_dir`. Raises SessionbaseError if there is none."""
    stack_config, secrets = require(data_dir.resolve())
    return Live(stack_config.rest_url, dba_uri(stack_config, secrets), secrets.jwt_secret)
