"""sql/authority.json: who may do what, stated once besides the SQL that grants it.

`sessionbase doctor`, the pgTAP tests, the HTTP tests and docs/authorization.md all read that file.
The keys are explained in docs/authorization.md.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from sessionbase.errors import SessionbaseError
from sessionbase.paths import resource_path

FILE_NAME = "sql/authority.json"
WRITER = "authenticated"
"""The one role that may write; `writable` lists its columns."""

PRIVILEGE_OF_VERB = {"GET": "select", "POST": "insert", "PATCH": "update", "DELETE": "delete"}
COLUMN_VERBS = {"POST", "PATCH"}
_ATTRIBUTES = {"login", "replication"}
_T = TypeVar("_T")


@dataclass(frozen=True)
class Role:
    """A role of the cluster."""

    attributes: list[str]
    """What it may have of LOGIN and REPLICATION; no role may have any other attribute."""
    member_of: list[str]
    """The roles that it may be a member of."""
    policies: str = ""
    """What the names of its policies end in: `own` gives select_own, `all` select_all."""
    optional: bool = False
    """Whether it may also lack its rights: `sessionbase replication enable` grants them."""


@dataclass(frozen=True)
class RestrictivePolicy:
    """A restrictive policy that each table has on which a role has a right."""

    command: str
    roles: list[str]


@dataclass(frozen=True)
class Table:
    """A table of schema app."""

    rights: dict[str, list[str]] = field(default_factory=dict)
    """The privileges on the whole table, by role: `select` and `delete`."""
    writable: dict[str, list[str]] = field(default_factory=dict)
    """The columns that `authenticated` may write, each with `insert`, `update` or both."""
    triggers: list[str] = field(default_factory=list)

    def columns(self, privilege: str) -> list[str]:
        """Return the columns that `authenticated` may `insert` or `update`."""
        return [name for name, privileges in self.writable.items() if privilege in privileges]

    def grants(self) -> Iterator[tuple[str, str, str]]:
        """Yield role, privilege and column ('': the whole table)."""
        for role, rights in self.rights.items():
            for right in rights:
                yield role, right, ""
        for column, privileges in self.writable.items():
            for privilege in privileges:
                yield WRITER, privilege, column

    @property
    def commands(self) -> set[tuple[str, str]]:
        """The pairs of a role and a command for which the table has a policy."""
        return {(role, privilege) for role, privilege, _ in self.grants()}


@dataclass(frozen=True)
class View:
    """A view of schema api."""

    verbs: dict[str, list[str]]
    """The HTTP verbs that each role may use. POST and PATCH: on the table's writable columns."""
    filter: dict[str, str]
    """The columns that name the row of the example, and their values."""
    row: dict[str, Any]
    """What the example writes into a row, besides the columns of `filter`."""
    shows: str = "{text}"
    """A text that a response contains if and only if it has the row of the example."""
    triggers: list[str] = field(default_factory=list)

    def grants(self, table: Table) -> Iterator[tuple[str, str, str]]:
        """Yield role, privilege and column ('': the whole view); `table` has the view's name."""
        for role, verbs in self.verbs.items():
            for verb in verbs:
                privilege = PRIVILEGE_OF_VERB[verb]
                for column in table.columns(privilege) if verb in COLUMN_VERBS else [""]:
                    yield role, privilege, column


@dataclass(frozen=True)
class Function:
    """A function of schema api."""

    execute: list[str]
    example: dict[str, Any] = field(default_factory=dict)
    """The arguments of the example call."""
    writes: bool = True
    absent: int = 200
    """The HTTP status of a call that names a row which the caller does not have."""
    get: int = 405
    """The HTTP status of a GET if the function writes: PostgREST runs a GET read-only."""
    computed_column: bool = False
    """Whether it takes a row, so that PostgREST offers it as a column and not as a call."""
    shows: str = "{text}"
    """A text that a response contains if and only if it has the row of the example."""


@dataclass(frozen=True)
class Request:
    """A POST that stores rows of the example."""

    path: str
    body: Any = None
    """None: the arguments of the example of that function."""


@dataclass(frozen=True)
class Domain:
    """All that belongs to one domain."""

    tables: dict[str, Table] = field(default_factory=dict)
    app_functions: dict[str, list[str]] = field(default_factory=dict)
    """The functions of schema app that client roles may execute, each with those roles."""
    security_definer: dict[str, str] = field(default_factory=dict)
    """The functions of schema app that run with their owner's rights, each with the reason."""
    views: dict[str, View] = field(default_factory=dict)
    functions: dict[str, Function] = field(default_factory=dict)
    setup: list[Request] = field(default_factory=list)
    """The requests that store the rows which the examples name."""
    guest: int = 401
    """The HTTP status of a request without a token."""


@dataclass(frozen=True)
class Authority:
    """The whole file."""

    roles: dict[str, Role]
    schemas: dict[str, list[str]]
    """The roles that may use each schema."""
    restrictive_policies: dict[str, RestrictivePolicy]
    domains: dict[str, Domain]

    @property
    def tables(self) -> dict[str, Table]:
        """The tables of all domains, by name."""
        return {name: it for domain in self.domains.values() for name, it in domain.tables.items()}

    @property
    def views(self) -> dict[str, View]:
        """The views of all domains, by name."""
        return {name: it for domain in self.domains.values() for name, it in domain.views.items()}

    @property
    def triggers(self) -> dict[str, list[str]]:
        """The triggers that must exist, by table or view (`app.todos`)."""
        of_tables = {f"app.{name}": table.triggers for name, table in self.tables.items()}
        return of_tables | {f"api.{name}": view.triggers for name, view in self.views.items()}

    @property
    def security_definer(self) -> dict[str, str]:
        """The reason for each SECURITY DEFINER function of schema app, by name."""
        return {
            name: reason
            for domain in self.domains.values()
            for name, reason in domain.security_definer.items()
        }


def _refuse(where: str, problem: str) -> SessionbaseError:
    return SessionbaseError(f"{where}: {problem}", f"correct {FILE_NAME}")


def _build(kind: type[_T], given: Mapping[str, Any], where: str) -> _T:
    known = {item.name for item in fields(kind)}  # type: ignore[arg-type]
    for key in given:
        if key not in known:
            raise _refuse(where, f"unknown key {key!r}; there are {', '.join(sorted(known))}")
    try:
        return kind(**given)
    except TypeError as error:
        raise _refuse(where, f"a key is missing: {error}") from error


def _domain(given: dict[str, Any], where: str) -> Domain:
    parts = dict(given)
    for key, kind in {"tables": Table, "views": View, "functions": Function}.items():
        parts[key] = {
            name: _build(kind, value, f"{where}.{key}.{name}")
            for name, value in given.get(key, {}).items()
        }
    parts["setup"] = [_build(Request, item, f"{where}.setup") for item in given.get("setup", [])]
    return _build(Domain, parts, where)


def _roles_named(authority: Authority) -> Iterator[tuple[str, Iterable[str]]]:
    """Yield each place of the file that names roles, and the roles."""
    for schema, roles in authority.schemas.items():
        yield f"schemas.{schema}", roles
    for name, table in authority.tables.items():
        yield f"tables.{name}.rights", table.rights
    for name, view in authority.views.items():
        yield f"views.{name}.verbs", view.verbs
    for name, roles in _functions(authority):
        yield f"the function {name}", roles


def _check_words(where: str, words: Iterable[str], known: Iterable[str]) -> None:
    for word in words:
        if word not in known:
            raise _refuse(where, f"{word!r} is not one of {', '.join(sorted(known))}")


def _check(authority: Authority) -> None:
    """Raise SessionbaseError for a word that has no meaning at its place."""
    for name, role in authority.roles.items():
        _check_words(f"roles.{name}.attributes", role.attributes, _ATTRIBUTES)
    for policy, it in authority.restrictive_policies.items():
        _check_words(f"restrictive_policies.{policy}.roles", it.roles, authority.roles)
    for where, roles in _roles_named(authority):
        _check_words(where, roles, authority.roles)
    tables = authority.tables
    for name, table in tables.items():
        for rights in table.rights.values():
            _check_words(f"tables.{name}.rights", rights, {"select", "delete"})
        for privileges in table.writable.values():
            _check_words(f"tables.{name}.writable", privileges, {"insert", "update"})
    for name, view in authority.views.items():
        for verbs in view.verbs.values():
            _check_words(f"views.{name}.verbs", verbs, PRIVILEGE_OF_VERB)
            if COLUMN_VERBS & set(verbs) and name not in tables:
                raise _refuse(f"views.{name}.verbs", "POST and PATCH need a table of that name")


def read_authority(path: Path | None = None) -> Authority:
    """Read the shipped file, or another one.

    Raises SessionbaseError that names the place of a mistake.
    """
    try:
        given = json.loads((path or resource_path("sql") / "authority.json").read_text("utf-8"))
        authority = Authority(
            roles={n: _build(Role, it, f"roles.{n}") for n, it in given["roles"].items()},
            schemas=given["schemas"],
            restrictive_policies={
                name: _build(RestrictivePolicy, it, f"restrictive_policies.{name}")
                for name, it in given["restrictive_policies"].items()
            },
            domains={n: _domain(it, f"domains.{n}") for n, it in given["domains"].items()},
        )
    except json.JSONDecodeError as error:
        raise _refuse(f"line {error.lineno}", error.msg) from error
    except KeyError as error:
        raise _refuse("the top of the file", f"the key {error} is missing") from error
    _check(authority)
    return authority


def _functions(authority: Authority) -> Iterator[tuple[str, list[str]]]:
    """Yield each function that a client role may execute, and those roles."""
    for domain in authority.domains.values():
        for name, function in domain.functions.items():
            yield f"api.{name}", function.execute
        for name, roles in domain.app_functions.items():
            yield f"app.{name}", roles


def _grants(authority: Authority) -> Iterator[tuple[str, str, str, str]]:
    """Yield role, privilege, object and column ('': the whole object)."""
    for schema, roles in authority.schemas.items():
        for role in roles:
            yield role, "usage", f"schema {schema}", ""
    for name, table in authority.tables.items():
        for role, privilege, column in table.grants():
            yield role, privilege, f"app.{name}", column
    for name, view in authority.views.items():
        for role, privilege, column in view.grants(authority.tables.get(name, Table())):
            yield role, privilege, f"api.{name}", column
    for name, roles in _functions(authority):
        for role in roles:
            yield role, "execute", name, ""


def _policies(authority: Authority) -> Iterator[dict[str, Any]]:
    for name, table in authority.tables.items():
        for role, command in sorted(table.commands):
            yield {
                "table_name": f"app.{name}",
                "policy_name": f"{command}_{authority.roles[role].policies}",
                "command": command,
                "role": role,
                "restrictive": False,
                "optional": authority.roles[role].optional,
            }
        for policy, it in authority.restrictive_policies.items() if table.commands else ():
            yield {
                "table_name": f"app.{name}",
                "policy_name": policy,
                "command": it.command,
                "role": ", ".join(sorted(it.roles)),
                "restrictive": True,
                "optional": False,
            }


def expand(authority: Authority, signatures: Mapping[str, list[str]]) -> dict[str, Any]:
    """Return the file as lists of rows, for SQL to compare with the catalogue.

    `signatures` gives for each function's name (`app.profile_id`) what PostgreSQL calls it
    (`app.profile_id()`). Raises SessionbaseError for a function that is not there.
    """

    def called(name: str) -> list[str]:
        if name not in signatures:
            raise _refuse(name, "no file below sql/ creates a function of this name")
        return signatures[name]

    roles = authority.roles
    return {
        "roles": [
            {
                "name": name,
                "may_log_in": "login" in role.attributes,
                "may_replicate": "replication" in role.attributes,
                "member_of": role.member_of,
                "is_owner": name == "sessionbase_owner",
            }
            for name, role in roles.items()
        ],
        "grants": [
            {
                "grantee": role,
                "privilege": privilege,
                "object": item,
                "column_name": column,
                "optional": roles[role].optional,
            }
            for role, privilege, name, column in _grants(authority)
            for item in (called(name) if privilege == "execute" else [name])
        ],
        "policies": list(_policies(authority)),
        "tables": [
            {"table_name": f"app.{name}", "is_closed": not table.commands}
            for name, table in authority.tables.items()
        ],
        "triggers": [
            {"table_name": name, "trigger_name": trigger}
            for name, triggers in authority.triggers.items()
            for trigger in triggers
        ],
        "views": [{"view_name": name} for name in authority.views],
        "security_definer": [
            {"name": item, "reason": reason}
            for name, reason in authority.security_definer.items()
            for item in called(f"app.{name}")
        ],
    }
