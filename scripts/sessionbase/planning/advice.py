"""The safe form of a statement, with the names of its table and columns."""

from collections.abc import Callable
from typing import Any

from pglast import ast
from pglast.enums import AlterTableType, ConstrType, ReindexObjectType
from pglast.stream import RawStream

_EXPAND = "expand and contract: docs/migrations.md has the steps"
_ALONE = "in a file of its own that begins with `-- sessionbase: no-transaction`"


def safe_form(rule: str, tree: ast.Node, server_major: int) -> str | None:
    """Return what to write instead, for a rule of squawk or of ours; None: only squawk's help."""
    advice = _ADVICE.get(rule)
    return advice(tree, server_major) if advice else None


def _sql(tree: ast.Node) -> str:
    return str(RawStream()(tree))


def _table(tree: Any) -> str:
    return _sql(tree.relation) if getattr(tree, "relation", None) is not None else "TABLE"


def _commands(tree: ast.Node, form: AlterTableType) -> list[Any]:
    commands = tree.cmds or () if isinstance(tree, ast.AlterTableStmt) else ()
    return [one for one in commands if one.subtype == form]


def _new_constraints(tree: ast.Node) -> list[ast.Constraint]:
    return [one.def_ for one in _commands(tree, AlterTableType.AT_AddConstraint)]


def _concurrently(tree: ast.Node, _: int) -> str | None:
    if isinstance(tree, ast.IndexStmt):
        text = _sql(tree).replace(" INDEX ", " INDEX CONCURRENTLY ", 1)
        return f"{_ALONE}: {text};"
    if isinstance(tree, ast.DropStmt):
        return f"{_ALONE}: {_sql(tree).replace(' INDEX ', ' INDEX CONCURRENTLY ', 1)};"
    return None


def _reindex(tree: ast.Node, _: int) -> str | None:
    if isinstance(tree, ast.ReindexStmt) and tree.relation is not None:
        kind = (tree.kind or ReindexObjectType.REINDEX_OBJECT_TABLE).name.split("_")[-1]
        return f"{_ALONE}: REINDEX {kind} CONCURRENTLY {_table(tree)};"
    return None


def _not_valid(tree: ast.Node, _: int) -> str | None:
    for one in _new_constraints(tree):
        if one.contype in {ConstrType.CONSTR_FOREIGN, ConstrType.CONSTR_CHECK}:
            name = one.conname or "NAME"
            return (
                f"{_sql(tree)} NOT VALID; then in the next migration: "
                f"ALTER TABLE {_table(tree)} VALIDATE CONSTRAINT {name};"
            )
    return None


def _not_null(tree: ast.Node, server_major: int) -> str | None:
    for one in _commands(tree, AlterTableType.AT_SetNotNull):
        table, column = _table(tree), str(one.name)
        name = f"{column}_is_not_null"
        if server_major >= 18:
            return (
                f"ALTER TABLE {table} ADD CONSTRAINT {name} NOT NULL {column} NOT VALID; then in "
                f"the next migration: ALTER TABLE {table} VALIDATE CONSTRAINT {name};"
            )
        return (
            f"ALTER TABLE {table} ADD CONSTRAINT {name} CHECK ({column} IS NOT NULL) NOT VALID; in "
            f"the next migration: ALTER TABLE {table} VALIDATE CONSTRAINT {name}; in the one after "
            f"it: ALTER TABLE {table} ALTER COLUMN {column} SET NOT NULL, which scans nothing then"
        )
    return None


def _unique(tree: ast.Node, _: int) -> str | None:
    for one in _new_constraints(tree):
        if one.contype in {ConstrType.CONSTR_UNIQUE, ConstrType.CONSTR_PRIMARY} and one.keys:
            kind = "PRIMARY KEY" if one.contype == ConstrType.CONSTR_PRIMARY else "UNIQUE"
            name = one.conname or "NAME"
            columns = ", ".join(str(key.sval) for key in one.keys)
            table = _table(tree)
            return (
                f"{_ALONE}: CREATE UNIQUE INDEX CONCURRENTLY {name} ON {table} ({columns}); then "
                f"in the next migration: ALTER TABLE {table} ADD CONSTRAINT {name} {kind} "
                f"USING INDEX {name};"
            )
    return None


def _column(tree: ast.Node, _: int) -> str | None:
    for one in _commands(tree, AlterTableType.AT_AddColumn):
        column = one.def_
        short = f"{column.colname} {_sql(column.typeName)}"
        return (
            f"ALTER TABLE {_table(tree)} ADD COLUMN {short}; without NOT NULL and with a constant "
            "default or none; fill it in batches, and add NOT NULL by a constraint that is NOT "
            f"VALID at first; {_EXPAND}"
        )
    return None


def _change(_: ast.Node, __: int) -> str:
    return (
        "add a second column or table, write both, copy in batches, change the readers, and drop "
        f"the old one later; {_EXPAND}"
    )


def _drop(_: ast.Node, __: int) -> str:
    return (
        "drop it one release after the last code that reads or writes it; views and functions of "
        "api/ and app/ that name it must be changed first"
    )


_ADVICE: dict[str, Callable[[ast.Node, int], str | None]] = {
    "require-concurrent-index-creation": _concurrently,
    "require-concurrent-index-deletion": _concurrently,
    "require-concurrent-reindex": _reindex,
    "adding-foreign-key-constraint": _not_valid,
    "constraint-missing-not-valid": _not_valid,
    "adding-not-nullable-field": _not_null,
    "disallowed-unique-constraint": _unique,
    "adding-primary-key-constraint": _unique,
    "adding-serial-primary-key-field": _unique,
    "adding-required-field": _column,
    "adding-field-with-default": _column,
    "changing-column-type": _change,
    "renaming-column": _change,
    "renaming-table": _change,
    "ban-drop-column": _drop,
    "ban-drop-table": _drop,
}


def form_of_effect(tree: ast.Node, server_major: int) -> str | None:
    """Return the safe form of a statement that rewrites or scans a table."""
    for one in (_concurrently, _reindex, _not_valid, _not_null, _unique, _column):
        found = one(tree, server_major)
        if found:
            return found
    return (
        _change(tree, server_major) if _commands(tree, AlterTableType.AT_AlterColumnType) else None
    )
