"""The database that the files make, on a server that is used for nothing else."""

import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from psycopg import sql
from psycopg.conninfo import make_conninfo

from sessionbase.backup.roles import existing_roles
from sessionbase.database import connect
from sessionbase.drift.applied import AppliedFiles
from sessionbase.errors import SessionbaseError
from sessionbase.migrate.privileges import ROLES
from sessionbase.migrate.runner import migrate
from sessionbase.stack.scratch import scratch_cluster


@contextmanager
def scratch_database(applied: AppliedFiles, scratch_uri: str | None) -> Iterator[str]:
    """Make a database from the files, and yield its URI; it is deleted at the end.

    It is in a throwaway cluster, or on the server of `scratch_uri` if given. Raises
    SessionbaseError if it can't be made, or that server has sessionbase's roles already.
    """
    with (
        scratch_cluster() if scratch_uri is None else _on_server(scratch_uri) as uri,
        tempfile.TemporaryDirectory(prefix="sessionbase-drift-") as name,
    ):
        applied.write(Path(name))
        migrate(uri, Path(name))
        yield uri


@contextmanager
def _on_server(uri: str) -> Iterator[str]:
    """Create a database on a server; at the end, drop it and the roles of sessionbase."""
    name = f"sessionbase_drift_{uuid.uuid4().hex}"
    database = sql.Identifier(name)
    with connect(uri) as conn:
        conn.autocommit = True
        found = existing_roles(conn, ROLES)
        if found:
            raise SessionbaseError(
                f"the server of --scratch-uri already has the roles {', '.join(sorted(found))}",
                "name a server that is used for nothing else: drift compares the roles too, and "
                "creates them there; it drops them at the end",
            )
        try:
            conn.execute(sql.SQL("create database {} template template0").format(database))
            yield make_conninfo(uri, dbname=name)
        finally:
            conn.execute(sql.SQL("drop database if exists {} with (force)").format(database))
            for role in ROLES:
                conn.execute(sql.SQL("drop role if exists {}").format(sql.Identifier(role)))
