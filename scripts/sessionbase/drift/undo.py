"""The statements that change an object back to what the files define.

A statement is given only where it is safe: it deletes no row and no value of a column, and it fails
rather than change a value.
"""

from collections.abc import Callable
from typing import Any

from psycopg import sql

from sessionbase.backup.roles import Connection, setting_statements
from sessionbase.drift.catalogue import Item

Statements = list[str] | None

Undo = Callable[["Change"], Statements]


class Change:
    """One attribute of an object that differs: from `actual` back to `expected`."""

    def __init__(self, expected: Item, actual: Item, attribute: str, parts: "Parts") -> None:
        self.expected = expected
        self.actual = actual
        self.attribute = attribute
        self.value = expected.attributes[attribute]
        self.old = actual.attributes[attribute]
        self.parts = parts

    def fill(self, template: str, **values: object) -> list[str]:
        """Return the template with the names of the object, as a list of one statement."""
        return [template.format(**self.actual.parts, value=self.value, **values)]


Parts = Callable[[Item], list[Item]]
"""Returns the parts of an expected object (comments, grants, triggers) that exist in both."""

_INTEGERS = ["smallint", "integer", "bigint"]


def _fixed(template: str) -> Undo:
    return lambda change: change.fill(template)


def _choice(yes: str, no: str) -> Undo:
    return lambda change: change.fill(yes if change.value else no)


def _literal(template: str) -> Undo:
    return lambda change: change.fill(template, literal=_quoted(change.value))


def _quoted(value: object) -> str:
    return sql.Literal(value).as_string(None)


def recreate(change: Change) -> Statements:
    """Return the statements that remove the object and create it as expected, with its parts."""
    if change.actual.removal is None or change.expected.creation is None:
        return None
    return [*change.actual.removal, *change.expected.creation, *_creation_of_parts(change)]


def _creation_of_parts(change: Change) -> list[str]:
    return [
        statement for part in change.parts(change.expected) for statement in part.creation or ()
    ]


def _create_again(change: Change) -> Statements:
    """`create or replace` of a function; for another result or other names, drop it first."""
    if change.expected.creation is None:
        return None
    expected, actual = change.expected.attributes, change.actual.attributes
    if any(expected[name] != actual[name] for name in ("result", "arguments", "kind")):
        return recreate(change)
    return change.expected.creation[:1]


def _constraint(change: Change) -> Statements:
    creation, removal = change.expected.creation, change.actual.removal
    if creation is None or removal is None:
        return None
    start = f"{change.actual.parts['alter']} "
    # One statement, so that the rule always applies.
    both = f"{removal[0]}, {creation[0].removeprefix(start)}"
    if " domain " in f" {start}":
        return [*removal, *creation, *_creation_of_parts(change)]
    return [both, *_creation_of_parts(change)]


def _validated(change: Change) -> Statements:
    if change.value:
        return change.fill("{alter} validate constraint {constraint}")
    return _constraint(change)


def _deferrable(change: Change) -> Statements:
    if change.actual.parts["type"] == "f":
        return change.fill("alter table {table} alter constraint {constraint} {value}")
    return _constraint(change)


def _enforced(change: Change) -> Statements:
    if change.actual.parts["type"] == "f" and change.value:
        return change.fill("alter table {table} alter constraint {constraint} enforced")
    return _constraint(change)


def _internal_triggers(change: Change) -> Statements:
    return list(change.actual.parts["internal trigger statements"])


def _trigger(change: Change) -> Statements:
    creation = change.expected.creation
    if creation is None:
        return None
    if creation[0].startswith("CREATE TRIGGER "):
        return [creation[0].replace("CREATE TRIGGER ", "CREATE OR REPLACE TRIGGER ", 1)]
    return recreate(change)


_STATES = {
    "enabled": "enable",
    "disabled": "disable",
    "enabled always": "enable always",
    "enabled on replicas only": "enable replica",
}


def _trigger_state(change: Change) -> Statements:
    return change.fill("alter table {table} {state} trigger {trigger}", state=_STATES[change.value])


def _policy(change: Change) -> Statements:
    """ALTER POLICY can't remove a condition."""
    if change.value is None:
        return recreate(change)
    return change.fill(
        "alter policy {policy} on {table} "
        + {"using": "using ({value})", "with check": "with check ({value})"}.get(
            change.attribute, "to {value}"
        )
    )


def _index(change: Change) -> Statements:
    if (change.actual.parent or "").startswith("constraint "):
        return None  # the difference of the constraint has the statement
    return recreate(change)


def _options(start: str) -> Undo:
    """Return the statements that set and reset storage parameters or options of a view."""

    def undo(change: Change) -> Statements:
        wanted, now = change.value or {}, change.old or {}
        target = change.fill(start)[0]
        gone = [name for name in now if name not in wanted]
        new = [f"{name} = {_quoted(value)}" for name, value in wanted.items()]
        found = [f"{target} reset ({', '.join(gone)})"] if gone else []
        return found + ([f"{target} set ({', '.join(new)})"] if new and wanted != now else [])

    return undo


def _newest_index(change: Change) -> Statements:
    """REINDEX CONCURRENTLY makes a new index, which then is the newest of the table."""
    return [f"reindex index concurrently {change.value[-1]}"]


def _type(change: Change) -> Statements:
    """Only to a type that has every value of the other."""
    before, after = change.old, change.value
    same_base = change.expected.parts["base type"] == change.actual.parts["base type"]
    wider = before in _INTEGERS and after in _INTEGERS[_INTEGERS.index(before) :]
    if change.actual.parts["relkind"] == "c" or not (
        after == "text" or wider or (same_base and "(" not in after)
    ):
        return None
    return change.fill("alter table {table} alter column {column} type {value}")


def _collation(change: Change) -> Statements:
    return change.fill(
        "alter table {table} alter column {column} type {type} collate {collation}",
        type=change.expected.attributes["type"],
        collation=change.value or 'pg_catalog."default"',
    )


def _generated(change: Change) -> Statements:
    if change.value is None and change.old.startswith("stored"):
        return change.fill("alter table {table} alter column {column} drop expression")
    return None


def _identity(change: Change) -> Statements:
    if change.value is None:
        return change.fill("alter table {table} alter column {column} drop identity")
    verb = "set generated {value}" if change.old else "add generated {value} as identity"
    return change.fill("alter table {table} alter column {column} " + verb)


def _statistics_target(change: Change) -> Statements:
    value = -1 if change.value is None else change.value
    return change.fill(
        "alter table {table} alter column {column} set statistics {number}", number=value
    )


def _column_options(change: Change) -> Statements:
    wanted = dict(option.split("=", 1) for option in change.value or ())
    now = dict(option.split("=", 1) for option in change.old or ())
    gone = ", ".join(name for name in now if name not in wanted)
    new = ", ".join(f"{name} = {value}" for name, value in wanted.items())
    start = change.fill("alter table {table} alter column {column}")[0]
    return [
        *([f"{start} reset ({gone})"] if gone else []),
        *([f"{start} set ({new})"] if new else []),
    ]


def _view(change: Change) -> Statements:
    """`create or replace view` can add columns at the end, and nothing else."""
    creation = change.expected.creation
    if creation is None:
        return None
    if change.expected.kind == "view" and change.expected.object.startswith("materialized"):
        return recreate(change)
    before, after = change.actual.parts["columns"], change.expected.parts["columns"]
    return creation[:1] if after[: len(before)] == before else None


def _owned_by(change: Change) -> Statements:
    return change.fill("alter sequence {sequence} owned by {owner}", owner=change.value or "none")


def _publication_schemas(change: Change) -> Statements:
    if change.value is None:
        return change.fill(
            "alter publication {publication} drop tables in schema {schemas}",
            schemas=", ".join(change.old),
        )
    return None


def _generated_columns(change: Change) -> Statements:
    return change.fill(
        "alter publication {publication} set (publish_generated_columns = {word})",
        word="stored" if change.value == "s" else "none",
    )


def _role(change: Change) -> Statements:
    word = change.attribute if change.value else f"no{change.attribute}"
    return change.fill("alter role {role} {word}", word=word)


def _valid_until(change: Change) -> Statements:
    return change.fill(
        "alter role {role} valid until {literal}", literal=_quoted(change.value or "infinity")
    )


def _membership(change: Change) -> Statements:
    grantors = change.actual.parts["grantors"]
    if change.attribute == "admin option" and not change.value:
        return [
            change.fill("revoke admin option for {role} from {member}{by}", by=grantor)[0]
            for grantor in grantors
        ]
    option = change.attribute.removesuffix(" option")
    word = "true" if change.value else "false"
    if change.attribute == "admin option":
        return change.fill("grant {role} to {member} with admin option")
    return [
        change.fill(
            "grant {role} to {member} with {option} {word}{by}",
            option=option,
            word=word,
            by=grantor,
        )[0]
        for grantor in grantors
    ]


def _grant_option(change: Change) -> Statements:
    name = "add grant option" if change.value else "revoke grant option"
    return [str(change.actual.parts[name])]


def _comment(change: Change) -> Statements:
    return [f"{change.actual.parts['statement']}{_quoted(change.value)}"]


_COLUMN = "alter table {table} alter column {column} "

UNDO: dict[str, dict[str, Undo]] = {
    "schema": {},
    "table": {
        "persistence": _fixed("alter table {table} set {value}"),
        "access method": _fixed("alter table {table} set access method {value}"),
        "tablespace": lambda change: change.fill(
            "alter table {table} set tablespace {space}", space=change.value or "pg_default"
        ),
        "storage parameters": _options("alter table {table}"),
        "replica identity": _fixed("alter table {table} replica identity {value}"),
        "clustered on": _choice(
            "alter table {table} cluster on {value}", "alter table {table} set without cluster"
        ),
        "row-level security": _choice(
            "alter table {table} enable row level security",
            "alter table {table} disable row level security",
        ),
        "forced row-level security": _choice(
            "alter table {table} force row level security",
            "alter table {table} no force row level security",
        ),
        "newest index": _newest_index,
    },
    "column": {
        "type": _type,
        "collation": _collation,
        "default": _choice(_COLUMN + "set default {value}", _COLUMN + "drop default"),
        "generated": _generated,
        "identity": _identity,
        "not null": _choice(_COLUMN + "set not null", _COLUMN + "drop not null"),
        "statistics target": _statistics_target,
        "storage": _fixed(_COLUMN + "set storage {value}"),
        "compression": lambda change: change.fill(
            _COLUMN + "set compression {method}", method=change.value or "default"
        ),
        "options": _column_options,
    },
    "constraint": {
        "definition": _constraint,
        "validated": _validated,
        "deferrable": _deferrable,
        "enforced": _enforced,
        "internal triggers": _internal_triggers,
    },
    "index": {
        "definition": _index,
        "valid": _fixed("reindex index concurrently {index}"),
        "tablespace": lambda change: change.fill(
            "alter index {index} set tablespace {space}", space=change.value or "pg_default"
        ),
    },
    "trigger": {"definition": _trigger, "state": _trigger_state},
    "rule": {"definition": recreate, "state": recreate},
    "policy": {
        "command": recreate,
        "kind": recreate,
        "roles": _policy,
        "using": _policy,
        "with check": _policy,
    },
    "function": {
        **dict.fromkeys(
            ("kind", "body", "library", "language", "arguments", "result", "settings"),
            _create_again,
        ),
        "volatility": _fixed("alter {target} {value}"),
        "parallel": _fixed("alter {target} parallel {value}"),
        "security": _fixed("alter {target} security {value}"),
        "strict": _choice("alter {target} strict", "alter {target} called on null input"),
        "leakproof": _choice("alter {target} leakproof", "alter {target} not leakproof"),
        "cost": _fixed("alter {target} cost {value}"),
        "rows": _fixed("alter {target} rows {value}"),
        "support function": _create_again,
    },
    "view": {
        "definition": _view,
        "options": _options("alter {target}"),
        "populated": _fixed("refresh {target}"),
    },
    "view default": {"value": lambda change: change.expected.creation},
    "sequence": {
        "persistence": _fixed("alter sequence {sequence} set {value}"),
        "type": _fixed("alter sequence {sequence} as {value}"),
        "start": _fixed("alter sequence {sequence} start {value}"),
        "increment": _fixed("alter sequence {sequence} increment {value}"),
        "minimum": _fixed("alter sequence {sequence} minvalue {value}"),
        "maximum": _fixed("alter sequence {sequence} maxvalue {value}"),
        "cache": _fixed("alter sequence {sequence} cache {value}"),
        "cycle": _choice("alter sequence {sequence} cycle", "alter sequence {sequence} no cycle"),
        "owned by": _owned_by,
    },
    "statistics": {
        "definition": recreate,
        "statistics target": lambda change: change.fill(
            "alter {target} set statistics {number}",
            number=-1 if change.value is None else change.value,
        ),
    },
    "publication": {
        "all tables": recreate,
        "schemas": _publication_schemas,
        "publish": _literal("alter publication {publication} set (publish = {literal})"),
        "via partition root": _fixed(
            "alter publication {publication} set (publish_via_partition_root = {value})"
        ),
        "generated columns": _generated_columns,
    },
    "publication table": {"columns": recreate, "row filter": recreate},
    "role": {
        **dict.fromkeys(
            (
                "superuser",
                "inherit",
                "createrole",
                "createdb",
                "login",
                "replication",
                "bypassrls",
            ),
            _role,
        ),
        "connection limit": _fixed("alter role {role} connection limit {value}"),
        "valid until": _valid_until,
    },
    "membership": dict.fromkeys(("admin option", "inherit option", "set option"), _membership),
    "grant": {"grant option": _grant_option},
    "default privilege": {"grant option": _grant_option},
    "comment": {"text": _comment},
}
"""For each kind and attribute, what returns the statements. Without an entry there is none."""

_OWNER = _fixed("alter {target} owner to {value}")


def undo_change(conn: Connection, change: Change) -> Statements:
    """Return the statements that change the attribute back; None if there are no safe ones."""
    kind, attribute = change.expected.kind, change.attribute
    if kind == "setting":
        return setting(conn, change.expected)
    if attribute == "owner" and "target" in change.actual.parts:
        return _OWNER(change)
    undo = UNDO.get(kind, {}).get(attribute)
    return undo(change) if undo else None


def setting(conn: Connection, item: Item) -> list[str]:
    """Return the statement that stores a setting of a role or of the database of `conn`."""
    database = sql.Identifier(conn.info.dbname).as_string(conn)
    target: Any = sql.SQL(item.parts["target"].replace("<database>", database))
    wanted = f"{item.parts['setting']}={item.attributes['value']}"
    return setting_statements(conn, target, [wanted], [])
