"""What a generator needs of a live stack."""

from dataclasses import dataclass
from pathlib import Path

from sessionkeep.stack.state import dba_uri, require


@dataclass(frozen=True)
class Live:
    """A running stack: where PostgREST and PostgreSQL are, and what tokens are signed with."""

    rest_url: str
    db_uri: str
    """The DBA's: generators look at the catalogue and at rows as a superuser."""
    jwt_secret: str


def of_data_dir(data_dir: Path) -> Live:
    """Return the stack of `data_dir`; SessionkeepError where there is none."""
    facts, secrets = require(data_dir.resolve())
    return Live(facts.rest_url, dba_uri(facts, secrets), secrets.jwt_secret)
