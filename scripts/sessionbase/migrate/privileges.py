"""The rights that a login needs to migrate, and the statements that grant what it lacks.

docs/privileges.md describes them. All functions only read.
"""

from typing import Any

from sessionbase.errors import SessionbaseError
from sessionbase.migrate.ledger import OWNER, Connection

ROLES = (
    OWNER,
    "sessionbase_replicator",
    "authenticator",
    "anon",
    "authenticated",
    "auditor",
)
"""The roles that roles.sql creates."""

CLIENT_ROLES = ("anon", "authenticated", "auditor")
"""The roles that authenticator becomes for a request. The role probes need them too."""

# Before 16 every member may become the role, and pg_has_role has no 'set'.
_SET = "case when current_setting('server_version_num')::int < 160000 then 'member' else 'set' end"


def _value(conn: Connection, query: str, *values: object) -> Any:
    row = conn.execute(query.encode(), values).fetchone()
    return row[0] if row else None


def missing_roles(conn: Connection) -> list[str]:
    """Return those of ROLES that the cluster does not have."""
    rows = conn.execute("select rolname from pg_roles where rolname = any(%s)", (list(ROLES),))
    existing = {row[0] for row in rows.fetchall()}
    return [role for role in ROLES if role not in existing]


def may_create_roles(conn: Connection) -> bool:
    """Return whether the login may create roles."""
    return bool(
        _value(conn, "select rolsuper or rolcreaterole from pg_roles where rolname = current_user")
    )


def may_become_owner(conn: Connection) -> bool:
    """Return whether the login may run `set role sessionbase_owner`."""
    query = f"select pg_has_role(session_user, oid, {_SET}) from pg_roles where rolname = %s"
    return bool(_value(conn, query, OWNER))


def missing_memberships(conn: Connection) -> list[str]:
    """Return those of CLIENT_ROLES that exist and that this login can't become."""
    rows = conn.execute(
        f"select rolname::text from pg_roles where rolname = any(%s)"
        f" and not pg_has_role(session_user, oid, {_SET}) order by rolname".encode(),
        (list(CLIENT_ROLES),),
    ).fetchall()
    return [str(row[0]) for row in rows]


def _may_grant_owner(conn: Connection) -> bool:
    """Return whether the login may run `grant sessionbase_owner to …`."""
    return bool(
        _value(
            conn,
            # Before 16 CREATEROLE is enough; from 16 on ADMIN OPTION is needed, which the login
            # that created the role has.
            "select login.rolsuper"
            " or (login.rolcreaterole and current_setting('server_version_num')::int < 160000)"
            " or pg_has_role(login.oid, owner.oid, 'member with admin option')"
            " from pg_roles as login, pg_roles as owner"
            " where login.rolname = current_user and owner.rolname = %s",
            OWNER,
        )
    )


def _owner_may_create(conn: Connection) -> bool:
    return bool(
        _value(
            conn,
            "select has_database_privilege(oid, current_database(), 'create')"
            " from pg_roles where rolname = %s",
            OWNER,
        )
    )


def _may_grant_create(conn: Connection) -> bool:
    return bool(
        _value(
            conn,
            "select has_database_privilege(current_user, current_database(),"
            " 'create with grant option')",
        )
    )


def _statement(conn: Connection, text: str, *names: str) -> str:
    """Return a statement with the names quoted where PostgreSQL requires it."""
    quoted = [_value(conn, "select quote_ident(%s)", name) for name in names]
    return text.format(*quoted)


def _grant_owner(conn: Connection, login: str) -> str:
    """Return the statement that makes the login a member which may become the owner."""
    statement = _statement(conn, f"grant {OWNER} to {{}}", login)
    # A GRANT that does not name the option leaves it as it is in an existing membership.
    return f"{statement} with set true" if conn.info.server_version >= 160000 else statement


def _who_grants(conn: Connection) -> str:
    if conn.info.server_version < 160000:
        return "a superuser or a login with CREATEROLE"
    return "a superuser or a login with ADMIN OPTION on the role"


def require_rights(conn: Connection, *, with_roles_file: bool) -> None:
    """Raise a SessionbaseError if the login can't migrate; its hint has the statements to run.

    `with_roles_file`: roles.sql will run now, so what the login can grant to itself is not missing.
    """
    login = _value(conn, "select session_user")
    database = conn.info.dbname
    missing = missing_roles(conn)
    if missing and not (with_roles_file and may_create_roles(conn)):
        raise SessionbaseError(
            f"the roles {', '.join(missing)} are missing, and this login may not create them",
            "a DBA runs once in this database: psql -f sql/roles.sql; then: "
            + _grant_owner(conn, login),
        )
    problems, hints = [], []
    if OWNER in missing:
        # Its creator may become it, and needs a right that it can pass on.
        if not _may_grant_create(conn):
            problems.append(f"may not grant CREATE on the database {database}")
            grant = "grant create on database {} to {} with grant option"
            hints.append(
                f"the owner of the database runs: {_statement(conn, grant, database, login)}"
            )
    else:
        if not (may_become_owner(conn) or (with_roles_file and _may_grant_owner(conn))):
            problems.append(f"is not a member of {OWNER}, which owns every object")
            hints.append(f"{_who_grants(conn)} runs: {_grant_owner(conn, login)}")
        if not (_owner_may_create(conn) or (with_roles_file and _may_grant_create(conn))):
            problems.append(f"can't give {OWNER} the right CREATE on the database {database}")
            grant = _statement(conn, f"grant create on database {{}} to {OWNER}", database)
            hints.append(f"the owner of the database runs: {grant}")
    if problems:
        raise SessionbaseError(f"this login, {login}, {', and '.join(problems)}", "; ".join(hints))


def missing_client_grants(conn: Connection) -> str | None:
    """Return the grant with which PostgREST can become the client roles; None if it has it.

    The migrations do not need it, but each request does.
    """
    rows = conn.execute(
        f"select quote_ident(client.rolname) from pg_roles as client, pg_roles as login"
        f" where client.rolname = any(%s) and login.rolname = 'authenticator'"
        f" and not pg_has_role(login.oid, client.oid, {_SET}) order by 1".encode(),
        (list(CLIENT_ROLES),),
    ).fetchall()
    if not rows:
        return None
    option = " with set true" if conn.info.server_version >= 160000 else ""
    return f"grant {', '.join(str(row[0]) for row in rows)} to authenticator{option}"
