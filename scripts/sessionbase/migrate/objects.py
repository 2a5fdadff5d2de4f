"""Which named objects the migrations create, and which of them a database has."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from pglast import ast
from pglast.enums import AlterTableType, ConstrType, ObjectType

from sessionbase.migrate.checks import ROUTINE_TYPES, created_routine, created_trigger
from sessionbase.migrate.files import Migration
from sessionbase.migrate.ledger import OWNER, Connection


@dataclass(frozen=True, order=True)
class NamedObject:
    """An object that a migration creates. A function counts by its name, without parameters."""

    kind: str
    """schema, table, view, index, sequence, type, routine, publication, column, constraint,
    trigger or policy."""
    schema: str
    table: str
    """The table of a column, constraint, trigger or policy; else ''."""
    name: str

    def __str__(self) -> str:
        """Return it as a person writes it: `column app.todos.text`, `trigger log on app.todos`."""
        if self.kind == "column":
            return f"column {self.schema}.{self.table}.{self.name}"
        if self.table:
            return f"{self.kind} {self.name} on {self.schema}.{self.table}"
        return (
            f"{self.kind} {self.schema}.{self.name}" if self.schema else f"{self.kind} {self.name}"
        )


Objects = dict[NamedObject, int]
"""Objects, each with the number of the migration that creates it."""

_RELATIONS = {
    ObjectType.OBJECT_TABLE: "table",
    ObjectType.OBJECT_VIEW: "view",
    ObjectType.OBJECT_MATVIEW: "view",
    ObjectType.OBJECT_INDEX: "index",
    ObjectType.OBJECT_SEQUENCE: "sequence",
}
_TYPES = {ObjectType.OBJECT_TYPE, ObjectType.OBJECT_DOMAIN}
_PARTS = {
    ObjectType.OBJECT_COLUMN: "column",
    ObjectType.OBJECT_TABCONSTRAINT: "constraint",
    ObjectType.OBJECT_TRIGGER: "trigger",
    ObjectType.OBJECT_POLICY: "policy",
}


def _range(kind: str, item: ast.RangeVar | None) -> NamedObject | None:
    """Return the object that a name with its schema denotes."""
    if item is None or item.schemaname is None:
        return None
    return NamedObject(kind, str(item.schemaname), "", str(item.relname))


def _path(kind: str, names: Iterable[ast.Node] | None) -> NamedObject | None:
    parts = [str(part.sval) for part in names or () if isinstance(part, ast.String)]
    return NamedObject(kind, parts[0], "", parts[1]) if len(parts) == 2 else None


def _part(kind: str, table: ast.RangeVar | None, name: object) -> NamedObject | None:
    if table is None or table.schemaname is None or not name:
        return None
    return NamedObject(kind, str(table.schemaname), str(table.relname), str(name))


def _elements(table: ast.RangeVar, nodes: Iterable[ast.Node]) -> Iterator[NamedObject | None]:
    """Yield the columns and named constraints that a table definition has."""
    for node in nodes:
        if isinstance(node, ast.ColumnDef):
            yield _part("column", table, node.colname)
            yield from _elements(table, node.constraints or ())
        elif isinstance(node, ast.Constraint) and node.contype != ConstrType.CONSTR_NOTNULL:
            yield _part("constraint", table, node.conname)


def _created_type(tree: ast.Node) -> NamedObject | None:
    if isinstance(tree, ast.CompositeTypeStmt):
        return _range("type", tree.typevar)
    if isinstance(tree, ast.CreateEnumStmt | ast.CreateRangeStmt):
        return _path("type", tree.typeName)
    return _path("type", tree.domainname) if isinstance(tree, ast.CreateDomainStmt) else None


def _created(tree: ast.Node) -> Iterator[NamedObject | None]:
    """Yield the objects that a statement creates; None for one that can't be named."""
    if isinstance(tree, ast.CreateSchemaStmt) and tree.schemaname:
        yield NamedObject("schema", "", "", str(tree.schemaname))
    elif isinstance(tree, ast.CreateStmt) and tree.relation:
        yield _range("table", tree.relation)
        yield from _elements(tree.relation, tree.tableElts or ())
    elif isinstance(tree, ast.ViewStmt):
        yield _range("view", tree.view)
    elif isinstance(tree, ast.CreateTableAsStmt) and tree.into:
        is_view = tree.objtype == ObjectType.OBJECT_MATVIEW
        yield _range("view" if is_view else "table", tree.into.rel)
    elif isinstance(tree, ast.IndexStmt) and tree.relation and tree.idxname:
        schema = tree.relation.schemaname
        yield NamedObject("index", str(schema), "", str(tree.idxname)) if schema else None
    elif isinstance(tree, ast.CreateSeqStmt):
        yield _range("sequence", tree.sequence)
    elif isinstance(tree, ast.CreatePolicyStmt):
        yield _part("policy", tree.table, tree.policy_name)
    elif isinstance(tree, ast.CreatePublicationStmt):
        yield NamedObject("publication", "", "", str(tree.pubname))
    elif routine := created_routine(tree):
        yield NamedObject("routine", routine.schema, "", routine.name)
    elif trigger := created_trigger(tree):
        yield NamedObject("trigger", *trigger)
    else:
        yield _created_type(tree)


def _dropped(tree: ast.DropStmt) -> Iterator[NamedObject | None]:
    for item in tree.objects or ():
        if tree.removeType == ObjectType.OBJECT_SCHEMA and isinstance(item, ast.String):
            yield NamedObject("schema", "", "", str(item.sval))
        elif tree.removeType == ObjectType.OBJECT_PUBLICATION and isinstance(item, ast.String):
            yield NamedObject("publication", "", "", str(item.sval))
        elif tree.removeType in ROUTINE_TYPES and isinstance(item, ast.ObjectWithArgs):
            yield _path("routine", item.objname)
        elif tree.removeType in _TYPES and isinstance(item, ast.TypeName):
            yield _path("type", item.names)
        elif isinstance(item, tuple) and tree.removeType in _RELATIONS:
            yield _path(_RELATIONS[tree.removeType], item)
        elif isinstance(item, tuple) and tree.removeType in _PARTS and len(item) == 3:
            yield NamedObject(_PARTS[tree.removeType], *(str(part.sval) for part in item))


def _keep(found: Objects, condition: Callable[[NamedObject], bool]) -> None:
    for item in [item for item in found if not condition(item)]:
        del found[item]


def _drop(found: Objects, gone: NamedObject) -> None:
    """Remove an object and what is in it."""
    if gone.kind == "schema":
        _keep(found, lambda item: item != gone and item.schema != gone.name)
    elif gone.kind in {"table", "view"}:
        _keep(
            found,
            lambda item: item != gone and (item.schema, item.table) != (gone.schema, gone.name),
        )
    else:
        found.pop(gone, None)


_ADD = {AlterTableType.AT_AddColumn, AlterTableType.AT_AddConstraint}


def _change_table(found: Objects, tree: ast.AlterTableStmt, version: int) -> None:
    for change in tree.cmds or ():
        if not isinstance(change, ast.AlterTableCmd) or tree.relation is None:
            continue
        if change.subtype in _ADD and isinstance(change.def_, ast.Node):
            added = _elements(tree.relation, [change.def_])
            found.update((item, version) for item in added if item)
        elif change.subtype in {AlterTableType.AT_DropColumn, AlterTableType.AT_DropConstraint}:
            kind = "column" if change.subtype == AlterTableType.AT_DropColumn else "constraint"
            gone = _part(kind, tree.relation, change.name)
            if gone:
                found.pop(gone, None)
            if gone and kind == "column":
                # It takes its constraints and indexes along, and the statement does not name them.
                _keep(found, lambda item: not _may_contain(item, tree.relation))


def _may_contain(item: NamedObject, table: ast.RangeVar | None) -> bool:
    """Return whether an object can be a constraint or index of a column of the table."""
    if table is None or item.schema != table.schemaname:
        return False
    return item.kind == "index" or (item.kind == "constraint" and item.table == table.relname)


def _rename(found: Objects, tree: ast.RenameStmt, version: int) -> None:
    new = str(tree.newname)
    if tree.renameType in _PARTS:
        name = tree.subname
        old = _part(_PARTS[tree.renameType], tree.relation, name)
    elif tree.renameType in _RELATIONS:
        old = _range(_RELATIONS[tree.renameType], tree.relation)
    elif tree.renameType in ROUTINE_TYPES and isinstance(tree.object, ast.ObjectWithArgs):
        old = _path("routine", tree.object.objname)
    else:
        return
    if old is None:
        return
    if old in found:
        found[replace(old, name=new)] = version
        del found[old]
    if old.kind == "table":
        for item in [i for i in found if (i.schema, i.table) == (old.schema, old.name)]:
            found[replace(item, table=new)] = found.pop(item)


def objects_of(migrations: Iterable[Migration]) -> Objects:
    """Return the objects that exist after these migrations, as far as their statements name them.

    What a DO block creates is not found. What can be gone without being named in a statement (the
    constraints and indexes of a dropped column) is left out.
    """
    found: Objects = {}
    for migration in migrations:
        for statement in migration.file.statements():
            tree = statement.tree
            found.update((item, migration.version) for item in _created(tree) if item)
            if isinstance(tree, ast.DropStmt):
                for gone in _dropped(tree):
                    if gone:
                        _drop(found, gone)
            elif isinstance(tree, ast.AlterTableStmt):
                _change_table(found, tree, migration.version)
            elif isinstance(tree, ast.RenameStmt):
                _rename(found, tree, migration.version)
            elif isinstance(tree, ast.AlterObjectSchemaStmt):
                # It has another schema now: not followed.
                moved = _range("table", tree.relation) if tree.relation else None
                if moved:
                    _drop(found, moved)
    return found


_EXISTING = """
select wanted.place, owner.rolname
  from unnest(%(kinds)s::text[], %(schemas)s::text[], %(tables)s::text[], %(names)s::text[])
       with ordinality as wanted (kind, schema, "table", name, place)
 cross join lateral (
   select n.nspowner from pg_namespace n
    where wanted.kind = 'schema' and n.nspname = wanted.name
   union all
   select c.relowner from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = wanted.schema and c.relname = wanted.name and c.relkind = any (
      case wanted.kind when 'table' then array['r', 'p', 'f'] when 'view' then array['v', 'm']
        when 'index' then array['i', 'I'] when 'sequence' then array['S'] else '{}' end::"char"[])
   union all
   select t.typowner from pg_type t join pg_namespace n on n.oid = t.typnamespace
    where wanted.kind = 'type' and n.nspname = wanted.schema and t.typname = wanted.name
   union all
   (select p.proowner from pg_proc p join pg_namespace n on n.oid = p.pronamespace
     where wanted.kind = 'routine' and n.nspname = wanted.schema and p.proname = wanted.name
     limit 1)
   union all
   select p.pubowner from pg_publication p
    where wanted.kind = 'publication' and p.pubname = wanted.name
   union all
   select c.relowner from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = wanted.schema and c.relname = wanted."table" and case wanted.kind
      when 'column' then exists (select from pg_attribute a
        where a.attrelid = c.oid and a.attname = wanted.name and not a.attisdropped)
      when 'constraint' then exists (select from pg_constraint k
        where k.conrelid = c.oid and k.conname = wanted.name)
      when 'trigger' then exists (select from pg_trigger t
        where t.tgrelid = c.oid and t.tgname = wanted.name)
      when 'policy' then exists (select from pg_policy p
        where p.polrelid = c.oid and p.polname = wanted.name)
      else false end
 ) as found (owner)
  join pg_roles owner on owner.oid = found.owner
"""


@dataclass(frozen=True)
class Comparison:
    """Which of some objects a database has."""

    present: list[NamedObject]
    missing: list[NamedObject]
    of_others: list[tuple[NamedObject, str]]
    """Present with another owner than sessionbase_owner: the object and its owner."""


def compare(conn: Connection, objects: Iterable[NamedObject]) -> Comparison:
    """Look the objects up in the catalogue. Reads only."""
    wanted = sorted(objects)
    rows = conn.execute(
        _EXISTING,
        {
            "kinds": [item.kind for item in wanted],
            "schemas": [item.schema for item in wanted],
            "tables": [item.table for item in wanted],
            "names": [item.name for item in wanted],
        },
    ).fetchall()
    owners = {wanted[int(place) - 1]: str(owner) for place, owner in rows}
    return Comparison(
        present=[item for item in wanted if item in owners],
        missing=[item for item in wanted if item not in owners],
        of_others=[(item, owner) for item, owner in owners.items() if owner != OWNER],
    )
