"""What a backup contains besides the dump: roles, memberships and settings of the database.

Roles belong to the cluster, and pg_dump writes neither them nor the rights on the database itself.
A dump without them can't be restored into an empty cluster: every OWNER, GRANT and POLICY that
names a missing role fails.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import psycopg
from psycopg import sql

from sessionbase.migrate.ledger import OWNER
from sessionbase.migrate.privileges import ROLES

Connection = psycopg.Connection[Any]

# PostgreSQL stores the value of these as a list of quoted names; they are not quoted again.
_LISTS = {
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
    "unix_socket_directories",
}

_READ_ROLES = """
select
  role.rolname as name,
  role.rolsuper as superuser,
  role.rolinherit as inherit,
  role.rolcreaterole as createrole,
  role.rolcreatedb as createdb,
  role.rolcanlogin as login,
  role.rolreplication as replication,
  role.rolbypassrls as bypassrls,
  role.rolconnlimit as connection_limit,
  role.rolvaliduntil::text as valid_until,
  pg_catalog.shobj_description(role.oid, 'pg_authid') as comment,
  coalesce(role.rolconfig, '{{}}') as settings,
  coalesce(in_database.setconfig, '{{}}') as database_settings,
  {password} as password
from pg_catalog.{catalog} as stored
inner join pg_catalog.pg_roles as role on role.oid = stored.oid
left join pg_catalog.pg_db_role_setting as in_database
  on in_database.setrole = role.oid
  and in_database.setdatabase = (
    select oid from pg_catalog.pg_database where datname = pg_catalog.current_database()
  )
where role.rolname = any(%s)
order by pg_catalog.array_position(%s, role.rolname::text)
"""

# One row per pair: from 16 on, a membership can be granted by several roles.
_READ_MEMBERSHIPS = """
select
  parent.rolname as role,
  member.rolname as member,
  pg_catalog.bool_or(one.admin_option) as admin,
  pg_catalog.bool_or((pg_catalog.to_jsonb(one) ->> 'inherit_option')::boolean) as inherit,
  pg_catalog.bool_or((pg_catalog.to_jsonb(one) ->> 'set_option')::boolean) as set
from pg_catalog.pg_auth_members as one
inner join pg_catalog.pg_roles as parent on parent.oid = one.roleid
inner join pg_catalog.pg_roles as member on member.oid = one.member
where parent.rolname = any(%s) or member.rolname = any(%s)
group by parent.rolname, member.rolname
order by parent.rolname, member.rolname
"""

_READ_DATABASE_SETTINGS = """
select setting
from pg_catalog.pg_db_role_setting as stored
cross join pg_catalog.unnest(stored.setconfig) as setting
where stored.setrole = 0
  and stored.setdatabase = (
    select oid from pg_catalog.pg_database where datname = pg_catalog.current_database()
  )
order by setting
"""

# An empty grantee is PUBLIC.
_READ_DATABASE_RIGHTS = """
select coalesce(grantee.rolname, '') as grantee, entry.privilege_type as privilege
from pg_catalog.pg_database as database
cross join lateral pg_catalog.aclexplode(
  coalesce(database.datacl, pg_catalog.acldefault('d', database.datdba))
) as entry
left join pg_catalog.pg_roles as grantee on grantee.oid = entry.grantee
where database.datname = pg_catalog.current_database()
  and (entry.grantee = 0 or grantee.rolname = any(%s))
order by grantee, privilege
"""


@dataclass(frozen=True)
class RoleState:
    """One of sessionbase's roles."""

    name: str
    superuser: bool = False
    inherit: bool = True
    createrole: bool = False
    createdb: bool = False
    login: bool = False
    replication: bool = False
    bypassrls: bool = False
    connection_limit: int = -1
    valid_until: str | None = None
    comment: str | None = None
    settings: list[str] = field(default_factory=list)
    """`name=value`, in every database."""
    database_settings: list[str] = field(default_factory=list)
    """`name=value`, in this database only."""
    password: str | None = None
    """The hash of the password; None: there is none, or it was not read."""


@dataclass(frozen=True)
class Membership:
    """`member` is a member of `role`. `inherit` and `set` are None before PostgreSQL 16.

    From 16 on, an option that is None is left out of a GRANT: it stays as it is.
    """

    role: str
    member: str
    admin: bool | None
    inherit: bool | None
    set: bool | None


@dataclass(frozen=True)
class DatabaseRight:
    """A privilege on the database. An empty `grantee` is PUBLIC."""

    grantee: str
    privilege: str


@dataclass(frozen=True)
class ClusterState:
    """The roles, their memberships, and the settings and rights of the database."""

    roles: list[RoleState]
    memberships: list[Membership]
    database_settings: list[str]
    """`name=value`, for all roles in this database."""
    database_rights: list[DatabaseRight]

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "ClusterState":
        """Read what `asdict` made of it."""
        return cls(
            [RoleState(**role) for role in value["roles"]],
            [Membership(**membership) for membership in value["memberships"]],
            value["database_settings"],
            [DatabaseRight(**right) for right in value["database_rights"]],
        )


def read_state(
    conn: Connection, names: Iterable[str] = ROLES, *, passwords: bool = False
) -> ClusterState:
    """Read the roles `names` as far as they exist. Only a superuser may read the passwords."""
    wanted = list(names)
    query = sql.SQL(_READ_ROLES).format(
        password=sql.SQL("stored.rolpassword" if passwords else "null"),
        catalog=sql.Identifier("pg_authid" if passwords else "pg_roles"),
    )
    roles = conn.execute(query, (wanted, wanted)).fetchall()
    memberships = conn.execute(_READ_MEMBERSHIPS.encode(), (wanted, wanted)).fetchall()
    settings = conn.execute(_READ_DATABASE_SETTINGS.encode()).fetchall()
    rights = conn.execute(_READ_DATABASE_RIGHTS.encode(), (wanted,)).fetchall()
    return ClusterState(
        [RoleState(*row) for row in roles],
        [Membership(*row) for row in memberships],
        [row[0] for row in settings],
        [DatabaseRight(*row) for row in rights],
    )


def existing_roles(conn: Connection, names: Iterable[str]) -> set[str]:
    """Return which of the roles exist in the cluster."""
    rows = conn.execute("select rolname from pg_roles where rolname = any(%s)", (list(names),))
    return {row[0] for row in rows.fetchall()}


def preparation(conn: Connection, wanted: ClusterState) -> list[str]:
    """Return the statements to run before the objects are created, in the same transaction.

    Missing roles are created as in the backup. Roles that exist are not changed, because other
    databases of the cluster use them too. The login becomes a member of sessionbase_owner, and the
    settings and rights of the database are added. A statement that the login may not run changes
    nothing: `differences` returns it afterwards.
    """
    now = read_state(conn, [role.name for role in wanted.roles])
    there = {role.name for role in now.roles}
    created = [role for role in wanted.roles if role.name not in there]
    names = {role.name for role in created}
    statements = [create_role(conn, role.name) for role in created]
    for role in created:
        statements += [
            _optional(conn, statement)
            for statement in _role_statements(conn, role, RoleState(role.name))
        ]
    known = existing_roles(conn, _members(wanted)) | names
    version = conn.info.server_version
    is_superuser = conn.info.parameter_status("is_superuser") == "on"
    for membership in wanted.memberships:
        if {membership.role, membership.member} & names and _both(membership) <= known:
            one = membership
            if one.member == conn.info.user and not is_superuser and version >= 160000:
                # It creates the role and so has ADMIN OPTION, which it can't grant to itself.
                one = replace(one, admin=None)
            statements.append(_optional(conn, _grant(conn, one)))
    owner, database = sql.Identifier(OWNER), sql.Identifier(conn.info.dbname)
    # Before 16 every member may become the role, and pg_has_role has no 'set'.
    become = "set" if version >= 160000 else "member"
    # A GRANT that does not name the option leaves it as it is in an existing membership.
    option = sql.SQL(" with set true" if version >= 160000 else "")
    statements += [
        _if_not(
            conn,
            f"pg_catalog.pg_has_role(session_user, '{OWNER}', '{become}')",
            _text(conn, "grant {} to session_user{}", owner, option),
        ),
        _if_not(
            conn,
            f"pg_catalog.has_database_privilege('{OWNER}',"
            " pg_catalog.current_database(), 'create')",
            _text(conn, "grant create on database {} to {}", database, owner),
        ),
    ]
    return statements + [
        _optional(conn, statement)
        for statement in _database_statements(conn, wanted, now, public=False)
    ]


def create_role(conn: Connection, name: str) -> str:
    """Return the statement that creates a role without login and attributes."""
    return _text(conn, "create role {}", sql.Identifier(name))


def differences(conn: Connection, wanted: ClusterState) -> list[str]:
    """Return the statements that would make roles and database as in the backup."""
    now = read_state(conn, [role.name for role in wanted.roles])
    found = {role.name: role for role in now.roles}
    statements: list[str] = []
    for role in wanted.roles:
        statements += _role_statements(conn, role, found[role.name], password=False)
    known = existing_roles(conn, _members(wanted))
    there = {(membership.role, membership.member): membership for membership in now.memberships}
    for membership in wanted.memberships:
        actual = there.get((membership.role, membership.member))
        if _both(membership) <= known and (actual is None or not _covers(actual, membership)):
            statements.append(_grant(conn, membership))
    return statements + _database_statements(conn, wanted, now, public=True)


def missing_members(conn: Connection, wanted: ClusterState) -> list[str]:
    """Return the memberships whose roles do not exist here, as `MEMBER in ROLE`."""
    known = existing_roles(conn, _members(wanted))
    return [f"{one.member} in {one.role}" for one in wanted.memberships if not _both(one) <= known]


def _members(wanted: ClusterState) -> set[str]:
    return {name for membership in wanted.memberships for name in _both(membership)}


def _both(membership: Membership) -> set[str]:
    return {membership.role, membership.member}


def _covers(actual: Membership, wanted: Membership) -> bool:
    """Return whether a membership has at least the options of the backup's."""
    return all(
        getattr(actual, option) in {True, None} or not getattr(wanted, option)
        for option in ("admin", "inherit", "set")
    )


def _role_statements(
    conn: Connection, wanted: RoleState, now: RoleState, *, password: bool = True
) -> list[str]:
    """Return the statements that change the role `now` into `wanted`."""
    name = sql.Identifier(wanted.name)
    options: list[sql.Composable] = [
        sql.SQL(attribute if getattr(wanted, attribute) else f"no{attribute}")
        for attribute in (
            "superuser",
            "inherit",
            "createrole",
            "createdb",
            "login",
            "replication",
            "bypassrls",
        )
        if getattr(wanted, attribute) != getattr(now, attribute)
    ]
    if wanted.connection_limit != now.connection_limit:
        options.append(sql.SQL("connection limit {}").format(wanted.connection_limit))
    if wanted.valid_until != now.valid_until:
        options.append(sql.SQL("valid until {}").format(wanted.valid_until or "infinity"))
    # One statement per attribute: a login that may not set one can set the others.
    statements = [_text(conn, "alter role {} {}", name, option) for option in options]
    if password and wanted.password is not None:
        statements.append(_text(conn, "alter role {} password {}", name, wanted.password))
    if wanted.comment != now.comment:
        statements.append(_text(conn, "comment on role {} is {}", name, wanted.comment))
    target = sql.SQL("alter role {}").format(name)
    statements += setting_statements(conn, target, wanted.settings, now.settings)
    target = sql.SQL("alter role {} in database {}").format(name, sql.Identifier(conn.info.dbname))
    statements += setting_statements(conn, target, wanted.database_settings, now.database_settings)
    return statements


def setting_statements(
    conn: Connection, target: sql.Composable, wanted: list[str], now: list[str], reset: bool = True
) -> list[str]:
    """Return the statements that change the settings `now` (`name=value`) into `wanted`.

    `target` is the start of each: `alter role NAME` or `alter database NAME`. With `reset`, also
    those that remove the settings that are not wanted.
    """
    before = dict(setting.split("=", 1) for setting in now)
    after = dict(setting.split("=", 1) for setting in wanted)
    statements = [
        _text(
            conn,
            "{} set {} = {}",
            target,
            sql.SQL(".").join(map(sql.Identifier, name.split("."))),
            sql.SQL(value) if name in _LISTS and value else sql.Literal(value),
        )
        for name, value in after.items()
        if before.get(name) != value
    ]
    if reset:
        statements += [
            _text(conn, "{} reset {}", target, sql.Identifier(*name.split(".")))
            for name in before.keys() - after.keys()
        ]
    return statements


def _database_statements(
    conn: Connection, wanted: ClusterState, now: ClusterState, *, public: bool
) -> list[str]:
    """Return the statements for settings and rights that the database lacks.

    With `public`, also those that take from PUBLIC the rights that it did not have.
    """
    database = sql.Identifier(conn.info.dbname)
    target = sql.SQL("alter database {}").format(database)
    statements = setting_statements(
        conn, target, wanted.database_settings, now.database_settings, reset=False
    )
    for right in wanted.database_rights:
        if right not in now.database_rights:
            statements.append(
                _text(
                    conn,
                    "grant {} on database {} to {}",
                    sql.SQL(right.privilege.lower()),
                    database,
                    sql.Identifier(right.grantee) if right.grantee else sql.SQL("public"),
                )
            )
    if public:
        statements += [
            _text(
                conn,
                "revoke {} on database {} from public",
                sql.SQL(right.privilege.lower()),
                database,
            )
            for right in now.database_rights
            if not right.grantee and right not in wanted.database_rights
        ]
    return statements


def _grant(conn: Connection, membership: Membership) -> str:
    options = [sql.SQL("admin option")] if membership.admin else []
    if conn.info.server_version >= 160000:
        values = {"admin": membership.admin, "inherit": membership.inherit, "set": membership.set}
        options = [
            sql.SQL(f"{name} {'true' if value else 'false'}")
            for name, value in values.items()
            if value is not None
        ]
    role, member = sql.Identifier(membership.role), sql.Identifier(membership.member)
    if not options:
        return _text(conn, "grant {} to {}", role, member)
    return _text(conn, "grant {} to {} with {}", role, member, sql.SQL(", ").join(options))


def _optional(conn: Connection, statement: str) -> str:
    """Return a statement that changes nothing if the login may not run it."""
    body = _text(
        conn,
        "begin execute {}; exception when insufficient_privilege then null; end",
        statement,
    )
    return _text(conn, "do {}", body)


def _if_not(conn: Connection, condition: str, statement: str) -> str:
    body = _text(
        conn, "begin if not {} then execute {}; end if; end", sql.SQL(condition), statement
    )
    return _text(conn, "do {}", body)


def _text(conn: Connection, statement: str, *parts: sql.Composable | str | None) -> str:
    composed = [part if isinstance(part, sql.Composable) else sql.Literal(part) for part in parts]
    return sql.SQL(statement).format(*composed).as_string(conn)
