"""Connections to the database, and what a command may do with one."""

import os
import re
from typing import Any

import psycopg

from sessionbase.errors import SessionbaseError, UsageError


def check_profile(profile: str) -> None:
    """Raise UsageError where `profile` can be nobody's; the limit is app.profile_id's, in bytes."""
    if not 1 <= len(profile.encode()) <= 200 or "\0" in profile:
        raise UsageError("the profile id must have 1 to 200 bytes")


def connect(uri: str) -> psycopg.Connection[tuple[object, ...]]:
    """Open a connection, or raise a SessionbaseError that says why there is none."""
    try:
        return psycopg.connect(uri, application_name=f"sessionbase/{os.getpid()}")
    except psycopg.ProgrammingError as error:
        raise UsageError(
            f"--db-uri is no connection URI: {str(error).strip()}",
            "for example postgresql://user@host:5432/database",
        ) from error
    except psycopg.OperationalError as error:
        first_line = str(error).strip().splitlines()[0]
        raise SessionbaseError(
            f"no connection to the database: {first_line}", _connection_hint(str(error))
        ) from error


def _connection_hint(problem: str) -> str | None:
    """Return what may help; libpq has no code for why there is no connection, only words."""
    if "Connection refused" in problem or "No such file or directory" in problem:
        return "is it running? scripts/up starts the embedded one"
    if "password" in problem or "authentication failed" in problem:
        return "look at the login and the password of --db-uri"
    if re.search('database ".*" does not exist', problem):
        return "look at the database's name in --db-uri"
    return None


def become_owner(conn: psycopg.Connection[Any]) -> None:
    """Act as sessionbase_owner, whom row-level security does not bind, for the rest of `conn`.

    Raises SessionbaseError where the database has no sessionbase, or the login may not.
    """
    try:
        found = conn.execute("select to_regclass('app.tool_events') is null").fetchone()
        if found is None or found[0]:
            raise SessionbaseError(
                "the database has no table app.tool_events", "run sessionbase migrate first"
            )
        conn.execute("set role sessionbase_owner")
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.InvalidParameterValue) as error:
        raise SessionbaseError(
            "this login may not become sessionbase_owner",
            "connect as the login that migrated the database, or as a superuser",
        ) from error
