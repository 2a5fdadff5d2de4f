"""What an installation may choose itself: it is a note and not drift."""

from sessionbase.drift.catalogue import Item
from sessionbase.migrate.privileges import ROLES

_REPLICATION = "`sessionbase replication enable` does this"
_OWN_LOGIN = "a DBA decides how this role logs in"
_LOGIN_ATTRIBUTES = {"login", "connection limit", "valid until"}
_PUBLICATION = "sessionbase"
_REPLICATOR = "sessionbase_replicator"


def explain(problem: str, attribute: str | None, item: Item, actual: dict[str, Item]) -> str | None:
    """Return why a difference is only a note; None if it is drift.

    `item` is the object in the database (for a missing object, in the files), and `actual` has all
    objects of the database.
    """
    explanations = {
        "role": _role,
        "membership": _membership,
        "setting": _setting,
        "grant": _grant,
        "extension": _extension,
        "database": _database,
        "table": _table,
        "publication table": _publication_table,
    }
    explanation = explanations.get(item.kind)
    return explanation(problem, attribute, item, actual) if explanation else None


def _role(problem: str, attribute: str | None, item: Item, _: dict[str, Item]) -> str | None:
    name = item.parts["name"]
    if name not in {"authenticator", _REPLICATOR} or problem != "differs":
        return None
    if attribute in _LOGIN_ATTRIBUTES:
        return _OWN_LOGIN
    return _REPLICATION if name == _REPLICATOR and attribute == "replication" else None


def _membership(problem: str, _: str | None, item: Item, __: dict[str, Item]) -> str | None:
    if problem == "unexpected" and item.parts["member name"] not in ROLES:
        return "the member is a role of this installation"
    return None


def _setting(problem: str, _: str | None, __: Item, ___: dict[str, Item]) -> str | None:
    if problem == "differs":
        return "roles.sql sets it only when it creates the role: a DBA may choose another value"
    return None


def _grant(problem: str, _: str | None, item: Item, actual: dict[str, Item]) -> str | None:
    privilege, grantee = item.parts["privilege"], item.parts["grantee"]
    if item.parts["object"] == "this database" and (
        privilege == "connect" or (grantee == "public" and problem == "missing")
    ):
        return "a DBA decides who may connect"
    if (problem, privilege, grantee) == ("unexpected", "select", _REPLICATOR):
        table = item.parts["object"].removeprefix("table ")
        return _REPLICATION if _is_published(table, actual) else None
    return None


def _extension(problem: str, attribute: str | None, item: Item, _: dict[str, Item]) -> str | None:
    if problem == "unexpected" and item.attributes["schema"] not in {"app", "api", "ops"}:
        return "it is not in a schema of sessionbase"
    return "the server's own version" if attribute == "version" else None


def _database(_: str, attribute: str | None, __: Item, ___: dict[str, Item]) -> str | None:
    if attribute in {"collation", "connection limit"}:
        return "each installation chooses it"
    return None


def _table(_: str, attribute: str | None, item: Item, actual: dict[str, Item]) -> str | None:
    if attribute == "replica identity" and item.attributes[attribute] == "full":
        return _REPLICATION if _is_published(item.parts["table"], actual) else None
    return None


def _publication_table(
    problem: str, _: str | None, item: Item, actual: dict[str, Item]
) -> str | None:
    if problem == "unexpected" and _is_published(item.parts["table"], actual):
        return _REPLICATION
    return None


def _is_published(table: str, actual: dict[str, Item]) -> bool:
    """Return whether a replication client may read the whole table from our publication."""
    policy = actual.get(f"policy select_all on {table}")
    published = actual.get(f"table {table} in publication {_PUBLICATION}")
    return (
        published is not None
        and not any(published.attributes.values())
        and policy is not None
        and policy.attributes["roles"] == _REPLICATOR
    )
