"""Give PostgREST its password and its JWT secret, without a restart."""

from pathlib import Path
from typing import Any

import psycopg

from sessionbase.database import connect, refuse_standby
from sessionbase.errors import SessionbaseError
from sessionbase.paths import command
from sessionbase.secret_files.files import AUTHENTICATOR_FILE, JWT_FILE, checked_jwt_secret
from sessionbase.stack.postgrest import LOGIN, set_login_password
from sessionbase.state import read_secret, write_private

PASSFILE = "passfile"


def install(source: Path, target: Path, db_uri: str, owner: int | None) -> None:
    """Set the password of PostgREST's login, and write PostgREST's secrets to the folder `target`.

    `target` gets the files `passfile` (for libpq) and `jwt_secret`, which only the user id `owner`
    can read. A running PostgREST uses the new password for its next connection, and reloads its
    configuration with the JWT secret. Raises SessionbaseError.
    """
    password = read_secret(source / AUTHENTICATOR_FILE)
    secret = checked_jwt_secret(source / JWT_FILE)
    with connect(db_uri) as connection:
        refuse_standby(connection)
        if connection.execute("select from pg_roles where rolname = %s", (LOGIN,)).rowcount == 0:
            raise SessionbaseError(f"there is no role {LOGIN}", f"run {command()} migrate first")
        _require_right(connection)
    passfile, draft = target / PASSFILE, target / f".{PASSFILE}.draft"
    try:
        write_private(target / JWT_FILE, secret + "\n", owner)
        write_private(draft, f"*:*:*:{LOGIN}:{_escaped(password)}\n", owner)
    except OSError as error:
        raise SessionbaseError(f"{error.filename} can't be written: {error.strerror}") from error
    # A PostgREST whose password is refused ends, so there must be no time between these two.
    set_login_password(db_uri, password)
    draft.replace(passfile)
    with connect(db_uri) as connection:
        connection.execute("notify pgrst, 'reload config'")


def _require_right(connection: psycopg.Connection[Any]) -> None:
    """Raise SessionbaseError if the login may not change the password; before a file is written."""
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(f"alter role {LOGIN} login".encode())
    except psycopg.errors.InsufficientPrivilege as error:
        raise SessionbaseError(
            f"this login, {connection.info.user}, may not set the password of {LOGIN}",
            "it needs CREATEROLE, and from PostgreSQL 16 on also: "
            f'grant {LOGIN} to "{connection.info.user}" with admin option',
        ) from error


def _escaped(password: str) -> str:
    """Return the password as libpq's password file needs it."""
    return password.replace("\\", "\\\\").replace(":", "\\:")
