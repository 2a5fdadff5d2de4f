"""Connections to the database."""

import os
import re
from typing import Any

import psycopg

from sessionbase.errors import SessionbaseError, UsageError
from sessionbase.paths import command

PASSFILE_VARIABLE = "SESSIONBASE_DB_PASSWORD_FILE"


def check_profile(profile: str) -> None:
    """Raise UsageError if `profile` is not a possible profile id."""
    if not 1 <= len(profile.encode()) <= 200 or "\0" in profile:
        raise UsageError("the profile id must have 1 to 200 bytes")


def connect(uri: str) -> psycopg.Connection[tuple[object, ...]]:
    """Open a connection. Raises SessionbaseError; UsageError if `uri` is not a connection URI."""
    try:
        return psycopg.connect(uri, application_name=f"sessionbase/{os.getpid()}")
    except psycopg.ProgrammingError as error:
        raise UsageError(
            f"--db-uri is not a connection URI: {str(error).strip()}",
            "for example postgresql://user@host:5432/database",
        ) from error
    except psycopg.OperationalError as error:
        first_line = str(error).strip().splitlines()[0]
        raise SessionbaseError(
            f"no connection to the database: {first_line}", _connection_hint(str(error))
        ) from error


def _connection_hint(problem: str) -> str | None:
    """Return a hint. libpq has only texts, not codes, for failed connections."""
    if "Connection refused" in problem or "No such file or directory" in problem:
        return f"is it running? {command()} up starts the embedded one"
    if "password" in problem or "authentication failed" in problem:
        password_file = os.environ.get(PASSFILE_VARIABLE)
        if password_file:
            return (
                f"the role has another password than {password_file}. The image of PostgreSQL "
                "reads that file only when it creates a cluster: write the old password back, or "
                "set the new one with `alter role … password`; docs/containers.md has the steps"
            )
        return "check the login and the password in --db-uri"
    if re.search('database ".*" does not exist', problem):
        return "check the database's name in --db-uri"
    return None


def refuse_standby(conn: psycopg.Connection[Any]) -> None:
    """Raise SessionbaseError if the server is a standby. For commands that write."""
    row = conn.execute("select pg_catalog.pg_is_in_recovery()").fetchone()
    if row != (False,):
        raise SessionbaseError(
            "this server is a standby, which can only be read",
            "connect to the primary: in a URI with several hosts, target_session_attrs=primary",
        )


def become_owner(conn: psycopg.Connection[Any]) -> None:
    """Set the role sessionbase_owner, which bypasses row-level security, for the rest of `conn`.

    Raises SessionbaseError if the database is not migrated, or the login is not a member.
    """
    try:
        found = conn.execute("select to_regclass('app.tool_events') is null").fetchone()
        if found is None or found[0]:
            raise SessionbaseError(
                "the database has no table app.tool_events", f"run {command()} migrate first"
            )
        conn.execute("set role sessionbase_owner")
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.InvalidParameterValue) as error:
        raise SessionbaseError(
            "this login may not become sessionbase_owner",
            "connect as the login that migrated the database, or as a superuser",
        ) from error
