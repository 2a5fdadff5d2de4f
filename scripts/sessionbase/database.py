"""Connections to the database."""

import os
import re
from typing import Any

import psycopg

from sessionbase.errors import SessionbaseError, UsageError
from sessionbase.paths import command

PASSFILE_VARIABLE = "SESSIONBASE_DB_PASSWORD_FILE"
# A pooler prefers the backend that was used last; another client can have taken it in between.
_POOLING_TRIES = 10


def check_profile(profile: str) -> None:
    """Raise UsageError if `profile` is not a possible profile id."""
    if not 1 <= len(profile.encode()) <= 200 or "\0" in profile:
        raise UsageError("the profile id must have 1 to 200 bytes")


def connect(uri: str) -> psycopg.Connection[tuple[object, ...]]:
    """Open a connection with a session of its own, whose search_path is empty.

    With the search_path of the login, an operator or a function that another user created in
    schema public could match a call better than PostgreSQL's own, and would run with the rights of
    this login, which can be a superuser (CVE-2018-1058).
    Raises SessionbaseError, also if the connection goes through a pooler in transaction mode;
    UsageError if `uri` is not a connection URI.
    """
    try:
        conn = psycopg.connect(uri, application_name=f"sessionbase/{os.getpid()}")
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
    try:
        _refuse_transaction_pooling(conn, uri)
        conn.execute("set search_path = ''")
        conn.commit()
    except BaseException:
        conn.close()
        raise
    return conn


def _refuse_transaction_pooling(conn: psycopg.Connection[Any], uri: str) -> None:
    """Raise a SessionbaseError if a pooler can run each transaction in another session.

    The commands use what belongs to a session: `set role`, advisory locks, prepared statements.
    """
    # A pooler has keys of its own for cancel requests: their first part is not the backend's pid.
    if conn.info.backend_pid == _backend_pid(conn):
        return
    try:
        with psycopg.connect(uri) as other:
            # In session mode each connection has a backend of its own as long as it is open.
            for _ in range(_POOLING_TRIES):
                if _backend_pid(conn) == _backend_pid(other):
                    raise SessionbaseError(
                        "the connection goes through a pooler in transaction mode",
                        "this command needs a session of its own: connect to PostgreSQL itself "
                        "(docs/pooling.md)",
                    )
    except psycopg.OperationalError as error:
        raise SessionbaseError(
            "the connection goes through a pooler that allows no second one: "
            f"{str(error).strip().splitlines()[0]}",
            "connect to PostgreSQL itself (docs/pooling.md)",
        ) from error


def _backend_pid(conn: psycopg.Connection[Any]) -> int:
    """Return the pid of the backend that runs this transaction, and end the transaction."""
    row = conn.execute("select pg_backend_pid()", prepare=False).fetchone()
    conn.rollback()
    return int(row[0]) if row else 0


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
        # Not to_regclass: a login without INHERIT has no right on the schema before `set role`.
        found = conn.execute(
            "select from pg_catalog.pg_class where relname = 'tool_events'"
            " and relnamespace = pg_catalog.to_regnamespace('app')"
        ).fetchone()
        if found is None:
            raise SessionbaseError(
                "the database has no table app.tool_events", f"run {command()} migrate first"
            )
        conn.execute("set role sessionbase_owner")
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.InvalidParameterValue) as error:
        raise SessionbaseError(
            "this login may not become sessionbase_owner",
            "connect as the login that migrated the database, or as a superuser",
        ) from error
