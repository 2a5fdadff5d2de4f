"""What a statement locks, rewrites and scans: rules from PostgreSQL's documentation.

Sources: https://www.postgresql.org/docs/current/explicit-locking.html, sql-altertable.html (each
form names its lock) and the pages of the other commands. `tests/cli/test_plan.py` runs a statement
for each rule and compares the rule with the locks that PostgreSQL really took.

What no rule covers is reported as unknown.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from pglast import ast, parse_sql
from pglast.enums import (
    AlterTableType,
    BoolExprType,
    ConstrType,
    DropBehavior,
    NullTestType,
    ObjectType,
    ReindexObjectType,
)
from pglast.stream import RawStream
from pglast.visitors import Visitor

from sessionbase.planning.catalog import Catalog, Column, Constraint
from sessionbase.planning.locks import Lock

A = AlterTableType


@dataclass(frozen=True)
class Effect:
    """What a statement does to one relation. `rewrite` and `scan` are None if unknown."""

    relation: str
    lock: Lock
    rewrite: bool | None = False
    scan: bool | None = False
    why: str = ""
    """Why it rewrites or scans, or why not although it often does."""
    new: bool = False
    """The relation is created by a pending migration: nobody uses it yet."""


@dataclass
class Effects:
    """What a statement does to all relations, and what no rule covers."""

    items: list[Effect] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    def add(self, relation: str, lock: Lock, **rest: Any) -> None:
        """Add an effect; of two on one relation the stronger lock counts."""
        for place, item in enumerate(self.items):
            if item.relation == relation:
                other = Effect(relation, lock, **rest)
                self.items[place] = replace(
                    item,
                    lock=max(item.lock, lock),
                    rewrite=_or(item.rewrite, other.rewrite),
                    scan=_or(item.scan, other.scan),
                    why="; ".join(dict.fromkeys(filter(None, (item.why, other.why)))),
                )
                return
        self.items.append(Effect(relation, lock, **rest))


def _or(one: bool | None, other: bool | None) -> bool | None:
    if one or other:
        return True
    return None if one is None or other is None else False


@dataclass(frozen=True)
class _Part:
    """What one form of ALTER TABLE does to the table."""

    lock: Lock
    rewrite: bool | None = False
    scan: bool | None = False
    why: str = ""


_AEL = Lock.ACCESS_EXCLUSIVE
_SUE = Lock.SHARE_UPDATE_EXCLUSIVE
_SRE = Lock.SHARE_ROW_EXCLUSIVE

# Forms whose lock is always the same, and that neither rewrite nor scan.
_SIMPLE_FORMS: dict[AlterTableType, Lock] = {
    A.AT_ColumnDefault: _AEL,
    A.AT_DropNotNull: _AEL,
    A.AT_DropExpression: _AEL,
    A.AT_SetStatistics: _SUE,
    A.AT_SetOptions: _SUE,
    A.AT_ResetOptions: _SUE,
    A.AT_SetStorage: _AEL,
    A.AT_SetCompression: _AEL,
    A.AT_ChangeOwner: _AEL,
    A.AT_ClusterOn: _SUE,
    A.AT_DropCluster: _SUE,
    A.AT_EnableTrig: _SRE,
    A.AT_EnableAlwaysTrig: _SRE,
    A.AT_EnableReplicaTrig: _SRE,
    A.AT_DisableTrig: _SRE,
    A.AT_EnableTrigAll: _SRE,
    A.AT_DisableTrigAll: _SRE,
    A.AT_EnableTrigUser: _SRE,
    A.AT_DisableTrigUser: _SRE,
    A.AT_EnableRule: _AEL,
    A.AT_EnableAlwaysRule: _AEL,
    A.AT_EnableReplicaRule: _AEL,
    A.AT_DisableRule: _AEL,
    A.AT_ReplicaIdentity: _AEL,
    A.AT_EnableRowSecurity: _AEL,
    A.AT_DisableRowSecurity: _AEL,
    A.AT_ForceRowSecurity: _AEL,
    A.AT_NoForceRowSecurity: _AEL,
    A.AT_AddIdentity: _AEL,
    A.AT_SetIdentity: _AEL,
    A.AT_DropIdentity: _AEL,
    A.AT_AddOf: _AEL,
    A.AT_DropOf: _AEL,
    A.AT_DropInherit: _AEL,
    A.AT_AlterConstraint: _AEL,
    A.AT_GenericOptions: _AEL,
    A.AT_AlterColumnGenericOptions: _AEL,
    A.AT_DetachPartitionFinalize: _SUE,
}

# Forms that change only the named table, not its partitions and the tables that inherit.
_ONLY_THE_TABLE = {
    A.AT_ChangeOwner,
    A.AT_SetTableSpace,
    A.AT_SetAccessMethod,
    A.AT_SetRelOptions,
    A.AT_ResetRelOptions,
    A.AT_ReplicaIdentity,
    A.AT_ClusterOn,
    A.AT_DropCluster,
    A.AT_EnableRowSecurity,
    A.AT_DisableRowSecurity,
    A.AT_ForceRowSecurity,
    A.AT_NoForceRowSecurity,
    A.AT_AttachPartition,
    A.AT_DetachPartition,
    A.AT_DetachPartitionFinalize,
    A.AT_AddInherit,
    A.AT_DropInherit,
    A.AT_SetOptions,
    A.AT_ResetOptions,
}

# Storage parameters of tables that do not take SHARE UPDATE EXCLUSIVE.
_STRONG_OPTIONS = {"user_catalog_table", "security_barrier", "security_invoker", "check_option"}

_REFERENCED = "a foreign key is checked with one query, which reads the table or its index"

_SERIAL = {"serial", "serial4", "bigserial", "serial8", "smallserial", "serial2"}

# Types with a length or precision where a larger one needs no rewrite.
_GROWING = {"varchar", "varbit", "time", "timetz", "timestamp", "timestamptz", "interval"}

# Statements that lock no table.
_NO_TABLE_LOCK = (
    ast.AlterDatabaseSetStmt,
    ast.AlterDatabaseStmt,
    ast.AlterDefaultPrivilegesStmt,
    ast.AlterEnumStmt,
    ast.AlterFunctionStmt,
    ast.AlterRoleSetStmt,
    ast.AlterRoleStmt,
    ast.CompositeTypeStmt,
    ast.CreateCastStmt,
    ast.CreateConversionStmt,
    ast.CreateDomainStmt,
    ast.CreateEnumStmt,
    ast.CreateFunctionStmt,
    ast.CreateRangeStmt,
    ast.CreateRoleStmt,
    ast.CreateSeqStmt,
    ast.DefineStmt,
    ast.DropRoleStmt,
    ast.GrantRoleStmt,
    ast.VariableSetStmt,
    ast.NotifyStmt,
)

_TABLE_KINDS = {
    ObjectType.OBJECT_TABLE,
    ObjectType.OBJECT_FOREIGN_TABLE,
    ObjectType.OBJECT_MATVIEW,
    ObjectType.OBJECT_VIEW,
}
_RELATION_COMMENTS = {
    ObjectType.OBJECT_TABLE,
    ObjectType.OBJECT_VIEW,
    ObjectType.OBJECT_MATVIEW,
    ObjectType.OBJECT_FOREIGN_TABLE,
    ObjectType.OBJECT_INDEX,
    ObjectType.OBJECT_SEQUENCE,
}
_PART_OF_TABLE = {
    ObjectType.OBJECT_TABCONSTRAINT,
    ObjectType.OBJECT_TRIGGER,
    ObjectType.OBJECT_POLICY,
    ObjectType.OBJECT_RULE,
}
_NO_TABLE_OBJECTS = {
    ObjectType.OBJECT_AGGREGATE,
    ObjectType.OBJECT_COLLATION,
    ObjectType.OBJECT_DATABASE,
    ObjectType.OBJECT_EVENT_TRIGGER,
    ObjectType.OBJECT_FUNCTION,
    ObjectType.OBJECT_LANGUAGE,
    ObjectType.OBJECT_OPERATOR,
    ObjectType.OBJECT_PROCEDURE,
    ObjectType.OBJECT_PUBLICATION,
    ObjectType.OBJECT_ROLE,
    ObjectType.OBJECT_ROUTINE,
    ObjectType.OBJECT_SCHEMA,
    ObjectType.OBJECT_STATISTIC_EXT,
    ObjectType.OBJECT_TYPE,
    ObjectType.OBJECT_DOMAIN,
    ObjectType.OBJECT_DOMCONSTRAINT,
}


class _Names(Visitor):
    """Collects the tables and the calls of a query or an expression."""

    def __init__(self) -> None:
        self.tables: list[ast.RangeVar] = []
        self.calls: list[tuple[str | None, str]] = []
        self.common: set[str] = set()
        self.locking = False
        self.writes: list[ast.RangeVar] = []

    def visit_RangeVar(self, _: Any, node: Any) -> None:
        self.tables.append(node)

    def visit_FuncCall(self, _: Any, node: Any) -> None:
        parts = [str(part.sval) for part in node.funcname or ()]
        schema = parts[0] if len(parts) == 2 and parts[0] != "pg_catalog" else None
        self.calls.append((schema, parts[-1]))

    def visit_CommonTableExpr(self, _: Any, node: Any) -> None:
        self.common.add(str(node.ctename))

    def visit_LockingClause(self, _: Any, __: Any) -> None:
        self.locking = True

    def visit_InsertStmt(self, _: Any, node: Any) -> None:
        self.writes.append(node.relation)

    visit_UpdateStmt = visit_DeleteStmt = visit_MergeStmt = visit_InsertStmt


def names_in(tree: Any) -> _Names:
    """Return the tables and calls in a tree."""
    found = _Names()
    if tree is not None:
        found(tree)
    return found


def relation_name(item: ast.RangeVar | None) -> str | None:
    """Return `schema.name`; None if the schema is missing."""
    if item is None or item.schemaname is None:
        return None
    return f"{item.schemaname}.{item.relname}"


def _strings(names: Any) -> list[str]:
    return [str(part.sval) for part in names or () if isinstance(part, ast.String)]


def _dotted(names: Any, parts: int = 2) -> str | None:
    """Return `schema.name` of a list of names that has at least `parts` parts."""
    found = _strings(names)
    return ".".join(found[:2]) if len(found) >= parts else None


def _sql(tree: Any) -> str:
    return str(RawStream()(tree))


def _option(options: Any, name: str) -> bool:
    """Return whether a list of options has `name`, and not with the value false."""
    for option in options or ():
        if option.defname == name:
            value = option.arg
            text = str(getattr(value, "sval", getattr(value, "boolval", True))).lower()
            return text not in {"false", "off", "0", "no"}
    return False


def not_null_columns(tree: Any) -> set[str]:
    """Return the columns that an expression requires to be not null: `a is not null and …`."""
    if isinstance(tree, ast.NullTest) and tree.nulltesttype == NullTestType.IS_NOT_NULL:
        return {_strings(tree.arg.fields)[-1]} if isinstance(tree.arg, ast.ColumnRef) else set()
    if isinstance(tree, ast.BoolExpr) and tree.boolop == BoolExprType.AND_EXPR:
        return set().union(*(not_null_columns(arg) for arg in tree.args or ()))
    return set()


class Rules:
    """The rules, for the statements of the pending files in order.

    It remembers what earlier statements did: a table that a pending migration creates is new, and
    a constraint that an earlier statement validated counts as valid.
    """

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.new: set[str] = set()
        """Relations that earlier statements create."""
        self._renamed: dict[str, str] = {}
        self._new_columns: set[tuple[str, str]] = set()
        self._constraints: dict[tuple[str, str], ast.Constraint] = {}
        self._proofs: set[tuple[str, str]] = set()
        self._not_null: set[tuple[str, str]] = set()
        self._volatility: dict[tuple[str | None, str], str] = {}

    def learn_function(self, tree: Any) -> None:
        """Note the volatility of a function that a file defines."""
        if not isinstance(tree, ast.CreateFunctionStmt):
            return
        parts = _strings(tree.funcname)
        value = "volatile"
        for option in tree.options or ():
            if option.defname == "volatility":
                value = str(option.arg.sval)
        if len(parts) == 2:
            self._volatility[parts[0], parts[1]] = value[0]

    def effects(self, tree: Any) -> Effects:
        """Return what a statement does. Call it for each statement, in the order they run."""
        found = Effects()
        rule = self._rule(tree)
        if rule:
            rule(tree, found)
        elif not isinstance(tree, _NO_TABLE_LOCK):
            found.unknown.append(f"no rule for {type(tree).__name__.removesuffix('Stmt')}")
        found.items = [replace(one, new=one.relation in self.new) for one in found.items]
        self.learn_function(tree)
        return found

    def original(self, relation: str) -> str:
        """Return the name that a relation has in the target now."""
        return self._renamed.get(relation, relation)

    def _rule(self, tree: Any) -> Callable[[Any, Effects], None] | None:
        return getattr(self, f"_{type(tree).__name__}", None)

    def _named(self, item: ast.RangeVar | None, found: Effects) -> str | None:
        name = relation_name(item)
        if name is None:
            text = item.relname if item else "?"
            found.unknown.append(f"the name {text} has no schema")
        return name

    def _with_children(self, name: str, only: bool) -> list[str]:
        return [name, *([] if only else self.catalog.children(self.original(name)))]

    # ALTER TABLE, ALTER INDEX, ALTER VIEW …

    def _AlterTableStmt(self, tree: Any, found: Effects) -> None:
        name = self._named(tree.relation, found)
        if name is None:
            return
        if tree.objtype == ObjectType.OBJECT_TYPE:
            found.unknown.append("ALTER TYPE … ATTRIBUTE changes the tables of this type")
            return
        if tree.objtype == ObjectType.OBJECT_SEQUENCE:
            found.add(name, _AEL)
            return
        children = self._with_children(name, not tree.relation.inh)[1:]
        for command in tree.cmds or ():
            part = self._alter(name, command, found)
            if part is None:
                form = command.subtype.name.removeprefix("AT_")
                found.unknown.append(f"no rule for the form {form} of ALTER TABLE")
                continue
            rest = {"rewrite": part.rewrite, "scan": part.scan, "why": part.why}
            found.add(name, part.lock, **rest)
            if command.subtype not in _ONLY_THE_TABLE:
                for child in children:
                    found.add(child, part.lock, **rest)

    def _alter(  # noqa: PLR0911, PLR0912 - one branch per form
        self, name: str, command: Any, found: Effects
    ) -> _Part | None:
        form = command.subtype
        if form in _SIMPLE_FORMS:
            if form == A.AT_DropNotNull:
                self._not_null.discard((name, str(command.name)))
            return _Part(_SIMPLE_FORMS[form])
        match form:
            case A.AT_AddColumn:
                return self._add_column(name, command.def_, found)
            case A.AT_AlterColumnType:
                return self._alter_type(name, str(command.name), command.def_)
            case A.AT_SetNotNull:
                return self._set_not_null(name, str(command.name))
            case A.AT_DropColumn:
                for key in self.catalog.foreign_keys(self.original(name)):
                    if key.source == self.original(name) and command.name in key.columns:
                        found.add(key.target, _AEL)
                    elif command.behavior == DropBehavior.DROP_CASCADE:
                        found.add(key.source, _AEL)
                return _Part(_AEL)
            case A.AT_AddConstraint:
                return self._add_constraint(name, command.def_, found)
            case A.AT_AddIndexConstraint:
                return self._use_index(name, command.def_)
            case A.AT_ValidateConstraint:
                return self._validate(name, str(command.name), found)
            case A.AT_DropConstraint:
                for key in self.catalog.foreign_keys(self.original(name)):
                    if key.name == command.name and key.source == self.original(name):
                        found.add(key.target, _AEL)
                    elif command.behavior == DropBehavior.DROP_CASCADE:
                        found.add(key.source, _AEL)
                return _Part(_AEL)
            case A.AT_SetRelOptions | A.AT_ResetRelOptions:
                strong = {option.defname for option in command.def_ or ()} & _STRONG_OPTIONS
                relation = self.catalog.relation(self.original(name))
                is_index = relation is not None and relation.kind in {"i", "I"}
                if is_index:
                    fillfactor = {option.defname for option in command.def_} <= {"fillfactor"}
                    return _Part(_SUE if fillfactor else _AEL)
                return _Part(_AEL if strong else _SUE)
            case A.AT_SetLogged | A.AT_SetUnLogged:
                return _Part(_AEL, True, True, "the table is copied")
            case A.AT_SetAccessMethod:
                return _Part(_AEL, True, True, "the table is copied")
            case A.AT_SetTableSpace:
                return _Part(_AEL, True, None, "the files are copied to the tablespace")
            case A.AT_SetExpression:
                return _Part(_AEL, True, True, "the column is computed again")
            case A.AT_AttachPartition:
                return self._attach(name, command.def_, found)
            case A.AT_DetachPartition:
                child = relation_name(command.def_.name)
                lock = _SUE if command.def_.concurrent else _AEL
                if child:
                    found.add(child, _AEL)
                    self._lock_default(name, found, scan=False)
                    self._lock_referenced(child, found)
                return _Part(lock)
            case A.AT_AddInherit:
                parent = relation_name(command.def_)
                if parent:
                    found.add(parent, _SUE)
                return _Part(_AEL)
            case _:
                return None

    def _add_column(  # noqa: PLR0912 - one branch per kind of constraint
        self, name: str, column: Any, found: Effects
    ) -> _Part:
        rewrite: bool | None = False
        scan: bool | None = False
        why: list[str] = []
        has_default = False
        type_name = _strings(column.typeName.names)[-1]
        data_type = self.catalog.type(_sql(column.typeName)) if type_name not in _SERIAL else None
        if type_name in _SERIAL:
            rewrite, has_default = True, True
            why.append("each row gets its own value of the sequence")
        elif data_type and data_type.is_constrained:
            rewrite = True
            why.append(f"the domain {data_type.name} has constraints")
        elif data_type is None:
            rewrite = None
            why.append(f"the target has no type {_sql(column.typeName)}, or has it not yet")
        not_null = False
        for one in column.constraints or ():
            if one.contype == ConstrType.CONSTR_DEFAULT:
                has_default = True
                volatile = self._volatile(one.raw_expr)
                rewrite = _or(rewrite, volatile)
                if volatile:
                    why.append("the default is volatile: each row gets its own value")
                elif volatile is None:
                    why.append("the default calls a function whose volatility is unknown")
            elif one.contype == ConstrType.CONSTR_IDENTITY:
                rewrite, has_default = True, True
                why.append("each row gets its own value of the identity column")
            elif one.contype == ConstrType.CONSTR_GENERATED:
                # generated_kind (18 and newer): s stored, v virtual.
                if str(one.generated_kind or "s").strip("\0") != "v":
                    rewrite = True
                    why.append("the stored generated column is computed for each row")
            elif one.contype == ConstrType.CONSTR_NOTNULL:
                not_null = True
            elif one.contype in {
                ConstrType.CONSTR_PRIMARY,
                ConstrType.CONSTR_UNIQUE,
                ConstrType.CONSTR_CHECK,
            }:
                scan = True
                why.append("the new constraint is checked for each row")
            elif one.contype == ConstrType.CONSTR_FOREIGN:
                target = relation_name(one.pktable)
                if target:
                    found.add(target, _SRE, scan=None if has_default else False)
                if has_default:
                    scan = True
                    why.append("the foreign key is checked for each row")
        if not_null and not has_default:
            scan = True
            why.append("NOT NULL without a default is checked for each row, and fails if any")
        if rewrite:
            scan = True
        self._new_columns.add((name, str(column.colname)))
        return _Part(_AEL, rewrite, scan, "; ".join(why))

    def _volatile(self, expression: ast.Node) -> bool | None:
        """Return whether an expression is volatile; None: it calls an unknown function."""
        answer: bool | None = False
        for schema, function in names_in(expression).calls:
            known = self._volatility.get((schema, function))
            kinds = {known} if known else self.catalog.volatilities(schema, function)
            answer = _or(answer, "v" in kinds if kinds else None)
        return answer

    def _alter_type(self, name: str, column_name: str, new: Any) -> _Part:
        old = self.catalog.column(self.original(name), column_name)
        if old is None or (name, column_name) in self._new_columns:
            return _Part(_AEL, None, None, f"the target has no column {column_name} yet")
        rewrite, why = self._type_rewrite(old, new, column_name)
        if rewrite:
            return _Part(_AEL, True, True, why)
        checks = [
            one
            for one in self.catalog.constraints(self.original(name)).values()
            if one.kind in {"c", "f"} and column_name in one.columns
        ]
        if rewrite is None or not checks:
            return _Part(_AEL, rewrite, None if rewrite is None else False, why)
        if any(one.kind == "c" for one in checks):
            return _Part(_AEL, False, True, f"{why}, but its CHECK constraints are checked again")
        return _Part(_AEL, False, None, why)

    def _type_rewrite(  # noqa: PLR0911 - one answer per case
        self, old: Column, new: Any, column_name: str
    ) -> tuple[bool | None, str]:
        """Return whether ALTER COLUMN TYPE rewrites the table, and why."""
        text = _sql(new.typeName)
        data_type = self.catalog.type(text)
        if data_type is None:
            return None, f"the target has no type {text} yet"
        if new.raw_default is not None and not self._is_plain_cast(new, column_name):
            return True, "the expression after USING is computed for each row"
        if data_type.is_domain:
            if data_type.is_constrained:
                return True, f"the domain {data_type.name} has constraints"
            return (
                (False, "an unconstrained domain")
                if data_type.base == old.type_oid
                else (
                    None,
                    "a domain over another type",
                )
            )
        method = self.catalog.cast(old.type_oid, data_type.oid)
        typmod = self.catalog.typmod(text)
        if method not in {"same", "b"}:
            return True, f"{old.type} and {text} are stored differently"
        if typmod == -1 or (method == "same" and typmod == old.typmod):
            return False, f"{old.type} and {text} are stored in the same way"
        if (
            method == "same"
            and old.typmod != -1
            and self._grows(data_type.name, old.typmod, typmod)
        ):
            return False, f"every {old.type} is a valid {text}"
        return True, f"each value is checked against or converted to {text}"

    @staticmethod
    def _is_plain_cast(new: Any, column_name: str) -> bool:
        """Return whether USING is `column` or `column::type` of the new type."""
        value = new.raw_default
        if isinstance(value, ast.TypeCast) and _sql(value.typeName) == _sql(new.typeName):
            value = value.arg
        return isinstance(value, ast.ColumnRef) and _strings(value.fields) == [column_name]

    @staticmethod
    def _grows(type_name: str, old: int, new: int) -> bool:
        if type_name == "numeric":
            # typmod - 4: the precision in the high 16 bits, the scale in the low 11.
            same_scale = (old - 4) & 0x7FF == (new - 4) & 0x7FF
            return same_scale and (new - 4) >> 16 >= (old - 4) >> 16
        return type_name in _GROWING and new >= old

    def _set_not_null(self, name: str, column_name: str) -> _Part:
        table = self.original(name)
        column = self.catalog.column(table, column_name)
        here = (name, column_name)
        already = (column is not None and column.not_null) or here in self._not_null
        if already and not self._unproven_not_null(table, column_name):
            return _Part(_AEL, False, False, "the column is NOT NULL already")
        self._not_null.add(here)
        if here in self._proofs or self._proves(table, column_name):
            why = f"a valid CHECK constraint proves that {column_name} has no null"
            return _Part(_AEL, False, False, why)
        return _Part(_AEL, False, True, f"every row is checked for a null in {column_name}")

    def _unproven_not_null(self, table: str, column: str) -> bool:
        """Return whether the column has a NOT NULL constraint that is not valid (18 and newer)."""
        return any(
            one.kind == "n" and not one.valid and column in one.columns
            for one in self.catalog.constraints(table).values()
        )

    def _proves(self, table: str, column: str) -> bool:
        for one in self.catalog.constraints(table).values():
            if one.kind == "c" and one.valid and column in one.columns:
                tree = _check_expression(one)
                if column in not_null_columns(tree):
                    return True
        return False

    def _add_constraint(  # noqa: PLR0911 - one answer per kind
        self, name: str, new: Any, found: Effects
    ) -> _Part | None:
        valid = not new.skip_validation
        match new.contype:
            case ConstrType.CONSTR_CHECK:
                if new.conname:
                    self._constraints[name, str(new.conname)] = new
                if valid:
                    self._prove(name, new)
                return self._checked(_AEL, valid, "the constraint is checked for each row")
            case ConstrType.CONSTR_FOREIGN:
                if new.conname:
                    self._constraints[name, str(new.conname)] = new
                target = self._named(new.pktable, found)
                if target:
                    found.add(target, _SRE, scan=None if valid else False, why=_REFERENCED)
                return self._checked(_SRE, valid, "the foreign key is checked for each row")
            case ConstrType.CONSTR_NOTNULL:
                if new.conname:
                    self._constraints[name, str(new.conname)] = new
                columns = _strings(new.keys)
                if valid and columns:
                    return self._set_not_null(name, columns[0])
                return _Part(_AEL)
            case ConstrType.CONSTR_PRIMARY | ConstrType.CONSTR_UNIQUE | ConstrType.CONSTR_EXCLUSION:
                if new.indexname:
                    return self._use_index_of(name, new)
                return _Part(_AEL, False, True, "its index is built")
            case _:
                return None

    @staticmethod
    def _checked(lock: Lock, valid: bool, why: str) -> _Part:
        return _Part(lock, False, True, why) if valid else _Part(lock)

    def _prove(self, name: str, constraint: ast.Constraint) -> None:
        if constraint.contype == ConstrType.CONSTR_CHECK:
            self._proofs |= {(name, column) for column in not_null_columns(constraint.raw_expr)}
        elif constraint.contype == ConstrType.CONSTR_NOTNULL:
            self._not_null |= {(name, column) for column in _strings(constraint.keys)}

    def _use_index(self, name: str, new: Any) -> _Part | None:
        return self._use_index_of(name, new) if isinstance(new, ast.Constraint) else None

    def _use_index_of(self, name: str, new: Any) -> _Part:
        if new.contype != ConstrType.CONSTR_PRIMARY:
            return _Part(_AEL, False, False, "the index exists already")
        index = f"{name.split('.', 1)[0]}.{new.indexname}"
        relation = self.catalog.relation(self.original(index))
        if relation is None:
            return _Part(_AEL, False, None, "scanned if a column of the key is not NOT NULL yet")
        columns = self._index_columns(relation.oid)
        nullable = []
        for column in columns:
            part = self._set_not_null(name, column)
            if part.scan:
                nullable.append(column)
        if nullable:
            return _Part(_AEL, False, True, f"{', '.join(nullable)} becomes NOT NULL")
        return _Part(_AEL, False, False, "the index exists already")

    def _index_columns(self, oid: int) -> list[str]:
        rows = self.catalog.conn.execute(
            "select attname from pg_catalog.pg_attribute where attrelid = %s order by attnum",
            (oid,),
        ).fetchall()
        return [str(row[0]) for row in rows]

    def _validate(self, name: str, constraint_name: str, found: Effects) -> _Part:
        new = self._constraints.get((name, constraint_name))
        old = self.catalog.constraints(self.original(name)).get(constraint_name)
        if new is not None:
            self._prove(name, new)
            if new.contype == ConstrType.CONSTR_FOREIGN and (target := relation_name(new.pktable)):
                found.add(target, Lock.ROW_SHARE, scan=None, why=_REFERENCED)
        elif old is not None:
            if old.kind == "c":
                tree = _check_expression(old)
                self._proofs |= {(name, column) for column in not_null_columns(tree)}
            if old.kind == "f":
                for key in self.catalog.foreign_keys(self.original(name)):
                    if key.name == constraint_name and key.source == self.original(name):
                        found.add(key.target, Lock.ROW_SHARE, scan=None, why=_REFERENCED)
            if old.valid:
                return _Part(_SUE, False, False, "the constraint is valid already")
        else:
            return _Part(_SUE, False, None, f"the target has no constraint {constraint_name} yet")
        return _Part(_SUE, False, True, "every row is checked")

    def _lock_default(self, parent: str, found: Effects, *, scan: bool) -> None:
        default = self.catalog.default_partition(self.original(parent))
        if default:
            why = "no row of the default partition may belong to the new one" if scan else ""
            found.add(default, _AEL, scan=scan, why=why)

    def _lock_referenced(self, table: str, found: Effects) -> None:
        for key in self.catalog.foreign_keys(self.original(table)):
            if key.source == self.original(table):
                found.add(key.target, _SRE)

    def _attach(self, name: str, command: Any, found: Effects) -> _Part:
        child = relation_name(command.name)
        if child:
            checks = [
                one
                for one in self.catalog.constraints(self.original(child)).values()
                if one.kind == "c" and one.valid
            ]
            # Whether a CHECK implies the bounds is decided by PostgreSQL's planner.
            scan = None if checks or child in self.new else True
            why = "scanned, unless a valid CHECK constraint proves the bounds"
            for one in self._with_children(child, only=False):
                found.add(one, _AEL, scan=scan, why=why)
            self._lock_referenced(name, found)
        self._lock_default(name, found, scan=True)
        return _Part(_SUE)

    # CREATE

    def _CreateStmt(self, tree: Any, found: Effects) -> None:
        name = self._named(tree.relation, found)
        for parent in tree.inhRelations or ():
            other = relation_name(parent)
            if other and tree.partbound is not None:
                found.add(other, _AEL)
                self._lock_default(other, found, scan=True)
                self._lock_referenced(other, found)
            elif other:
                found.add(other, _SUE)
        for one in self._constraints_of(tree):
            if one.contype == ConstrType.CONSTR_FOREIGN:
                target = relation_name(one.pktable)
                if target and target != name:
                    found.add(target, _SRE)
        for element in tree.tableElts or ():
            if isinstance(element, ast.TableLikeClause) and (
                other := relation_name(element.relation)
            ):
                found.add(other, Lock.ACCESS_SHARE)
        if name:
            if tree.if_not_exists and self.catalog.relation(self.original(name)):
                return
            self.new.add(name)
            found.add(name, _AEL)

    @staticmethod
    def _constraints_of(tree: Any) -> Iterator[ast.Constraint]:
        for element in tree.tableElts or ():
            if isinstance(element, ast.Constraint):
                yield element
            elif isinstance(element, ast.ColumnDef):
                yield from element.constraints or ()

    def _CreateTableAsStmt(self, tree: Any, found: Effects) -> None:
        name = self._named(tree.into.rel, found)
        self._query(tree.query, found)
        if name:
            self.new.add(name)
            found.add(name, _AEL)

    def _IndexStmt(self, tree: Any, found: Effects) -> None:
        name = self._named(tree.relation, found)
        if name is None:
            return
        if tree.idxname:
            self.new.add(f"{name.split('.', 1)[0]}.{tree.idxname}")
        lock = _SUE if tree.concurrent else Lock.SHARE
        why = "the index is built" + (", with two scans" if tree.concurrent else "")
        for one in self._with_children(name, not tree.relation.inh):
            found.add(one, lock, scan=True, why=why)

    def _ViewStmt(self, tree: Any, found: Effects) -> None:
        name = self._named(tree.view, found)
        self._query(tree.query, found)
        if name and tree.replace and self.catalog.relation(self.original(name)):
            found.add(name, _AEL)
        elif name:
            self.new.add(name)

    def _CreateTrigStmt(self, tree: Any, found: Effects) -> None:
        name = self._named(tree.relation, found)
        if name:
            for one in self._with_children(name, only=not tree.row):
                found.add(one, _SRE)
        other = relation_name(tree.constrrel)
        if other:
            found.add(other, _SRE)

    def _CreatePolicyStmt(self, tree: Any, found: Effects) -> None:
        name = self._named(tree.table, found)
        if name:
            found.add(name, _AEL)
        self._tables_read([tree.qual, tree.with_check], found)

    _AlterPolicyStmt = _CreatePolicyStmt

    def _RuleStmt(self, tree: Any, found: Effects) -> None:
        name = self._named(tree.relation, found)
        if name:
            found.add(name, _AEL)

    def _CreateStatsStmt(self, tree: Any, found: Effects) -> None:
        for item in tree.relations or ():
            name = relation_name(item)
            if name:
                found.add(name, _SUE)

    def _CreatePublicationStmt(self, tree: Any, found: Effects) -> None:
        for item in tree.pubobjects or ():
            table = item.pubtable
            if table is None:
                if int(item.pubobjtype) != 0:
                    continue
            elif name := relation_name(table.relation):
                for one in self._with_children(name, not table.relation.inh):
                    found.add(one, _SUE)

    def _AlterPublicationStmt(self, tree: Any, found: Effects) -> None:
        if tree.action is not None and int(tree.action) == 2:  # SET also drops tables
            found.unknown.append("ALTER PUBLICATION … SET also locks the tables that it removes")
        self._CreatePublicationStmt(tree, found)

    def _CreateSchemaStmt(self, tree: Any, found: Effects) -> None:
        for element in tree.schemaElts or ():
            part = self.effects(element)
            found.unknown += part.unknown
            for one in part.items:
                found.add(one.relation, one.lock, rewrite=one.rewrite, scan=one.scan, why=one.why)

    # DROP, TRUNCATE, RENAME, SET SCHEMA, OWNER

    def _DropStmt(self, tree: Any, found: Effects) -> None:
        kind = tree.removeType
        cascade = tree.behavior == DropBehavior.DROP_CASCADE
        if cascade:
            found.unknown.append("CASCADE also drops and locks what depends on it")
        for item in tree.objects or ():
            if kind in _TABLE_KINDS or kind == ObjectType.OBJECT_SEQUENCE:
                self._drop_relation(_dotted(item), found)
            elif kind == ObjectType.OBJECT_INDEX:
                self._drop_index(_dotted(item), tree.concurrent, found)
            elif kind in _PART_OF_TABLE:
                name = _dotted(item, 3)
                for one in self._with_children(name, only=False) if name else ():
                    found.add(one, _AEL)
                    if kind != ObjectType.OBJECT_TRIGGER:
                        break
            elif kind == ObjectType.OBJECT_STATISTIC_EXT:
                name = _dotted(item)
                table = name and self.catalog.statistics_table(*name.split("."))
                if table:
                    found.add(table, _SUE)
            elif kind not in _NO_TABLE_OBJECTS or kind == ObjectType.OBJECT_PUBLICATION:
                found.unknown.append(f"no rule for DROP {kind.name.removeprefix('OBJECT_')}")

    def _drop_relation(self, name: str | None, found: Effects) -> None:
        if name is None:
            found.unknown.append("a name has no schema")
            return
        for one in self._with_children(name, only=False):
            found.add(one, _AEL)
            for key in self.catalog.foreign_keys(self.original(one)):
                if key.source == self.original(one):
                    found.add(key.target, _AEL)
        parent = self.catalog.parent(self.original(name))
        if parent:
            relation = self.catalog.relation(parent)
            if relation and relation.kind == "p":
                found.add(parent, _AEL)
                self._lock_default(parent, found, scan=False)

    def _drop_index(self, name: str | None, concurrent: bool, found: Effects) -> None:
        if name is None:
            found.unknown.append("a name has no schema")
            return
        relation = self.catalog.relation(self.original(name))
        if relation is None:
            if name not in self.new:
                found.unknown.append(f"the target has no index {name}")
            return
        lock = _SUE if concurrent else _AEL
        for one in self._with_children(relation.table, only=relation.kind != "I"):
            found.add(one, lock)

    def _TruncateStmt(self, tree: Any, found: Effects) -> None:
        names = [self._named(item, found) for item in tree.relations or ()]
        for name in filter(None, names):
            for one in self._with_children(name, only=False):
                found.add(one, _AEL, rewrite=True, why="the table is emptied")
        if tree.behavior == DropBehavior.DROP_CASCADE:
            found.unknown.append("CASCADE also empties and locks the tables that refer to it")

    def _RenameStmt(self, tree: Any, found: Effects) -> None:
        kind = tree.renameType
        if tree.relation is None:
            if kind not in _NO_TABLE_OBJECTS:
                found.unknown.append(f"no rule for renaming {kind.name.removeprefix('OBJECT_')}")
            return
        name = self._named(tree.relation, found)
        if name is None:
            return
        schema = name.split(".", 1)[0]
        relation = self.catalog.relation(self.original(name))
        if kind == ObjectType.OBJECT_INDEX or (relation and relation.kind in {"i", "I"}):
            found.add(name, _SUE)
        elif kind in {ObjectType.OBJECT_COLUMN, ObjectType.OBJECT_TABCONSTRAINT}:
            for one in self._with_children(name, not tree.relation.inh):
                found.add(one, _AEL)
        elif kind == ObjectType.OBJECT_TRIGGER:
            for one in self._with_children(name, only=False):
                found.add(one, _AEL)
        elif kind in _TABLE_KINDS | _PART_OF_TABLE | {ObjectType.OBJECT_SEQUENCE}:
            found.add(name, _AEL)
        else:
            found.unknown.append(f"no rule for renaming {kind.name.removeprefix('OBJECT_')}")
        if kind in _TABLE_KINDS | {ObjectType.OBJECT_INDEX, ObjectType.OBJECT_SEQUENCE}:
            self._moved(name, f"{schema}.{tree.newname}")

    def _moved(self, name: str, new_name: str) -> None:
        if name in self.new:
            self.new.add(new_name)
        else:
            self._renamed[new_name] = self.original(name)

    def _AlterObjectSchemaStmt(self, tree: Any, found: Effects) -> None:
        if tree.relation is None:
            if tree.objectType not in _NO_TABLE_OBJECTS:
                found.unknown.append("no rule for SET SCHEMA of this object")
            return
        name = self._named(tree.relation, found)
        if name:
            found.add(name, _AEL)
            self._moved(name, f"{tree.newschema}.{name.split('.')[1]}")

    def _AlterOwnerStmt(self, tree: Any, found: Effects) -> None:
        if tree.objectType not in _NO_TABLE_OBJECTS:
            found.unknown.append("no rule for OWNER TO of this object")

    # Comments, grants, domains, sequences, maintenance

    def _CommentStmt(self, tree: Any, found: Effects) -> None:
        kind = tree.objtype
        if kind in _RELATION_COMMENTS:
            name = _dotted(tree.object)
            if name:
                found.add(name, _SUE)
        elif kind == ObjectType.OBJECT_COLUMN:
            name = _dotted(tree.object, 3)
            if name:
                found.add(name, _SUE)
        elif kind in _PART_OF_TABLE:
            name = _dotted(tree.object, 3)
            if name:
                found.add(name, Lock.ACCESS_SHARE)
        elif kind not in _NO_TABLE_OBJECTS:
            found.unknown.append(f"no rule for COMMENT ON {kind.name.removeprefix('OBJECT_')}")

    _SecLabelStmt = _CommentStmt

    def _GrantStmt(self, tree: Any, found: Effects) -> None:
        # It changes a row of pg_class. Before 18 it locks no table, from then on ACCESS SHARE.
        for item in tree.objects or ():
            if isinstance(item, ast.RangeVar) and (name := self._named(item, found)):
                found.add(name, Lock.ACCESS_SHARE)

    def _AlterDomainStmt(self, tree: Any, found: Effects) -> None:
        name = _dotted(tree.typeName)
        validates = tree.subtype in {"O", "V"} or (
            tree.subtype == "C" and not tree.def_.skip_validation
        )
        if not validates or name is None:
            return
        lock = Lock.SHARE
        if tree.subtype == "V" and self.catalog.major >= 18:
            lock = _SUE
        for table in self.catalog.domain_tables(name):
            found.add(table, lock, scan=True, why=f"has a column of the domain {name}")

    def _AlterSeqStmt(self, tree: Any, found: Effects) -> None:
        name = self._named(tree.sequence, found)
        if name:
            found.add(name, _SRE)

    def _AlterStatsStmt(self, tree: Any, found: Effects) -> None:
        name = _dotted(tree.defnames)
        table = name and self.catalog.statistics_table(*name.split("."))
        if not table:
            found.unknown.append("the target has no such statistics object")

    def _LockStmt(self, tree: Any, found: Effects) -> None:
        for item in tree.relations or ():
            name = self._named(item, found)
            for one in self._with_children(name, not item.inh) if name else ():
                found.add(one, Lock(int(tree.mode)))

    def _ReindexStmt(self, tree: Any, found: Effects) -> None:
        concurrent = _option(tree.params, "concurrently")
        name = relation_name(tree.relation)
        if name is None:
            found.unknown.append("REINDEX of a whole schema or database")
            return
        lock = _SUE if concurrent else Lock.SHARE
        if tree.kind == ReindexObjectType.REINDEX_OBJECT_INDEX:
            relation = self.catalog.relation(self.original(name))
            if relation is None:
                found.unknown.append(f"the target has no index {name}")
                return
            found.add(relation.table, lock, scan=True, why="the index is built again")
            if not concurrent:
                found.add(name, _AEL, rewrite=True)
        else:
            for one in self._with_children(name, only=False):
                found.add(one, lock, scan=True, why="its indexes are built again")
                for index in [] if concurrent else self.catalog.indexes(self.original(one)):
                    found.add(index, _AEL, rewrite=True)

    def _ClusterStmt(self, tree: Any, found: Effects) -> None:
        name = relation_name(tree.relation)
        if name is None:
            found.unknown.append("CLUSTER of all tables")
        else:
            found.add(name, _AEL, rewrite=True, scan=None, why="the table is copied")

    def _VacuumStmt(self, tree: Any, found: Effects) -> None:
        for item in tree.rels or ():
            name = self._named(item.relation, found)
            for one in self._with_children(name, only=False) if name else ():
                found.add(one, _SUE, scan=None, why="reads a part of the table, in small steps")
        if not tree.rels:
            found.unknown.append("all tables of the database")

    def _RefreshMatViewStmt(self, tree: Any, found: Effects) -> None:
        name = self._named(tree.relation, found)
        if name and tree.concurrent:
            found.add(name, Lock.EXCLUSIVE, scan=None)
        elif name:
            found.add(name, _AEL, rewrite=True, why="its rows are computed again")

    # Queries

    def _query(self, tree: Any, found: Effects) -> None:
        names = names_in(tree)
        written = {relation_name(item) for item in names.writes}
        for item in names.tables:
            if item.schemaname is None:
                if item.relname not in names.common:
                    found.unknown.append(f"the name {item.relname} has no schema")
                continue
            name = relation_name(item)
            if name is None or name.startswith(("pg_catalog.", "information_schema.")):
                continue
            if name in written:
                lock = Lock.ROW_EXCLUSIVE
            else:
                lock = Lock.ROW_SHARE if names.locking else Lock.ACCESS_SHARE
            found.add(name, lock, scan=None, why="depends on the query plan")
        for call in names.calls:
            if call[0] is not None:
                found.unknown.append(f"what {'.'.join(filter(None, call))}() locks")
        for name in filter(None, written):
            self._written(name, found, inserts=isinstance(tree, ast.InsertStmt))

    def _written(self, name: str, found: Effects, *, inserts: bool) -> None:
        keys = self.catalog.foreign_keys(self.original(name))
        others = sorted({key.source for key in keys if key.target == self.original(name)})
        if others and not inserts:
            found.unknown.append(
                f"what ON UPDATE and ON DELETE of the foreign keys of {', '.join(others)} lock"
            )
        rows = self.catalog.conn.execute(
            "select tgname from pg_catalog.pg_trigger"
            " where tgrelid = pg_catalog.to_regclass(%s) and not tgisinternal",
            (self.original(name),),
        ).fetchall()
        if rows:
            triggers = ", ".join(str(row[0]) for row in rows)
            found.unknown.append(f"what the triggers of {name} lock ({triggers})")

    _SelectStmt = _InsertStmt = _UpdateStmt = _DeleteStmt = _MergeStmt = _query

    def _CopyStmt(self, tree: Any, found: Effects) -> None:
        name = relation_name(tree.relation)
        if name:
            found.add(name, Lock.ROW_EXCLUSIVE if tree.is_from else Lock.ACCESS_SHARE, scan=None)
        else:
            self._query(tree.query, found)

    def _DoStmt(self, _: Any, found: Effects) -> None:
        found.unknown.append("a DO block can run any statement: --rehearse shows what it does")

    def _CallStmt(self, _: Any, found: Effects) -> None:
        found.unknown.append("a procedure can run any statement: --rehearse shows what it does")

    def _tables_read(self, trees: Iterable[Any], found: Effects) -> None:
        for tree in trees:
            for item in names_in(tree).tables:
                name = relation_name(item)
                if name and not name.startswith("pg_catalog."):
                    found.add(name, Lock.ACCESS_SHARE)


def _check_expression(constraint: Constraint) -> Any:
    """Return the expression of a CHECK constraint as PostgreSQL prints it: `CHECK ((…))`."""
    definition = constraint.definition.removesuffix(" NOT VALID").removesuffix(" NO INHERIT")
    parsed = parse_sql(f"select {definition.removeprefix('CHECK ')}")
    statement: Any = parsed[0].stmt
    return statement.targetList[0].val
