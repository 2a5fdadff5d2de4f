"""Check what the files of the SQL folder contain, before anything runs."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from pglast import ast
from pglast.enums import FunctionParameterMode, GrantTargetType, ObjectType, ReindexObjectType
from pglast.stream import RawStream

from sessionbase.errors import SessionbaseError
from sessionbase.migrate.files import NO_TRANSACTION, SqlFile, SqlFolder, Statement

ParsedFile = tuple[SqlFile, list[Statement]]

ROUTINE_TYPES = {
    ObjectType.OBJECT_FUNCTION,
    ObjectType.OBJECT_PROCEDURE,
    ObjectType.OBJECT_ROUTINE,
}
OUTPUT_MODES = {FunctionParameterMode.FUNC_PARAM_OUT, FunctionParameterMode.FUNC_PARAM_TABLE}


@dataclass(frozen=True)
class Routine:
    """A function or procedure as a statement names it."""

    schema: str
    name: str
    inputs: tuple[str, ...] | None
    """The types of its input parameters, as SQL; None if the statement has only the name."""


@dataclass(frozen=True)
class RepeatableFiles:
    """The files of app/ and api/, checked and split into statements."""

    app: list[ParsedFile]
    api: list[ParsedFile]
    in_migrations: list[str]
    """The names of the functions of schema app that migrations create."""


def _type(tree: ast.TypeName) -> str:
    return RawStream()(tree).removeprefix("SETOF ")


def _split_name(names: Iterable[ast.String] | None) -> tuple[str, str] | None:
    """Return schema and name; None if the schema is missing."""
    parts = [str(part.sval) for part in names or ()]
    return (parts[0], parts[1]) if len(parts) == 2 else None


def created_routine(tree: ast.Node) -> Routine | None:
    """Return the function or procedure that a statement creates; None for other statements."""
    if not isinstance(tree, ast.CreateFunctionStmt):
        return None
    name = _split_name(tree.funcname)
    inputs = [p.argType for p in tree.parameters or () if p.mode not in OUTPUT_MODES]
    return name and Routine(*name, tuple(_type(item) for item in inputs))


def created_view(tree: ast.Node) -> tuple[str, str] | None:
    """Return schema and name of the view that a statement creates; None for other statements."""
    if not isinstance(tree, ast.ViewStmt) or tree.view is None or tree.view.schemaname is None:
        return None
    return str(tree.view.schemaname), str(tree.view.relname)


def created_trigger(tree: ast.Node) -> tuple[str, str, str] | None:
    """Return schema and name of the view or table, and the trigger that a statement creates.

    None for other statements.
    """
    if not isinstance(tree, ast.CreateTrigStmt) or tree.relation is None:
        return None
    return str(tree.relation.schemaname), str(tree.relation.relname), str(tree.trigname)


def types_of(tree: ast.CreateFunctionStmt) -> list[str]:
    """Return the types, as SQL, of all parameters and of the result of a function."""
    types = [parameter.argType for parameter in tree.parameters or ()]
    return [_type(item) for item in [*types, *([tree.returnType] if tree.returnType else [])]]


def _named(item: ast.Node | None) -> Routine | None:
    if not isinstance(item, ast.ObjectWithArgs):
        return None
    name = _split_name(item.objname)
    inputs = None if item.args_unspecified else tuple(_type(arg) for arg in item.objargs or ())
    return name and Routine(*name, inputs)


def annotated_routines(tree: ast.Node) -> list[Routine] | None:
    """Return the functions that COMMENT ON, GRANT or REVOKE names.

    None for another statement, or if it names anything but functions with their schema.
    """
    if isinstance(tree, ast.CommentStmt) and tree.objtype in ROUTINE_TYPES:
        objects: tuple[ast.Node | None, ...] = (tree.object,)
    elif (
        isinstance(tree, ast.GrantStmt)
        and tree.objtype in ROUTINE_TYPES
        and tree.targtype == GrantTargetType.ACL_TARGET_OBJECT
    ):
        objects = tree.objects or ()
    else:
        return None
    found = [_named(item) for item in objects]
    return [item for item in found if item] if all(found) else None


def _refuse(file: SqlFile, statement: Statement, why: str, hint: str) -> SessionbaseError:
    return SessionbaseError(
        f"{file.label}, line {statement.line}: {why}: {statement.summary}", hint
    )


def _has_option(options: Iterable[ast.DefElem] | None, name: str) -> bool:
    """Return whether an option in parentheses is given, and not as off."""
    for option in options or ():
        if option.defname == name:
            value = getattr(option.arg, "sval", getattr(option.arg, "ival", "on"))
            return str(value).lower() not in {"0", "off", "false"}
    return False


def _never_in_a_migration(tree: ast.Node) -> str | None:
    """Return why a statement is refused in every migration; None if it is not."""
    if isinstance(
        tree,
        ast.CreatedbStmt
        | ast.DropdbStmt
        | ast.CreateTableSpaceStmt
        | ast.DropTableSpaceStmt
        | ast.AlterSystemStmt,
    ):
        return "it changes the whole cluster, which other databases share"
    if isinstance(tree, ast.ReindexStmt | ast.ClusterStmt) and tree.relation is None:
        return "it concerns objects of others: name an index or a table"
    if (
        isinstance(tree, ast.ReindexStmt)
        and tree.kind == ReindexObjectType.REINDEX_OBJECT_TABLE
        and _has_option(tree.params, "concurrently")
    ):
        return (
            "after a crash, the owner can't drop the unfinished copy of the index of its TOAST "
            "table: write one file with reindex index concurrently for each index"
        )
    if isinstance(tree, ast.VacuumStmt) and tree.is_vacuumcmd:
        if not tree.rels:
            return "it concerns tables of others: name a table"
        if _has_option(tree.options, "full"):
            return "it locks the table against reads while it writes a copy of all rows"
    return None


def needs_no_transaction(tree: ast.Node) -> bool:
    """Return whether PostgreSQL refuses a statement in a transaction.

    These are the statements that a migration without a transaction can have. Each can be
    continued after a crash, and clients can read and write the table while it runs.
    """
    if isinstance(tree, ast.IndexStmt | ast.DropStmt):
        return bool(tree.concurrent)
    if isinstance(tree, ast.ReindexStmt):
        return tree.relation is not None and _has_option(tree.params, "concurrently")
    if isinstance(tree, ast.VacuumStmt):
        return bool(tree.is_vacuumcmd)
    return isinstance(tree, ast.AlterTableStmt) and any(
        isinstance(item.def_, ast.PartitionCmd) and item.def_.concurrent for item in tree.cmds or ()
    )


def _names_of(tree: ast.Node) -> list[tuple[object, object]]:
    """Return schema and name of the relations that a statement without a transaction names."""
    if isinstance(tree, ast.DropStmt):
        return [_split_name(item) or (None, None) for item in tree.objects or ()]
    if isinstance(tree, ast.VacuumStmt):
        relations = [item.relation for item in tree.rels or ()]
    else:
        relations = [tree.relation]  # type: ignore[attr-defined]
    if isinstance(tree, ast.AlterTableStmt):
        relations += [item.def_.name for item in tree.cmds or ()]
    return [(item.schemaname, item.relname) for item in relations]


def _check_without_transaction(file: SqlFile, statements: list[Statement]) -> None:
    """Raise a SessionbaseError if a file with the directive can't be continued after a crash."""
    if len(statements) != 1:
        raise SessionbaseError(
            f"{file.label}: a migration without a transaction has one statement, and this one has "
            f"{len(statements)}",
            "after a crash it is not known which of several ran: put each into a file of its own",
        )
    (statement,) = statements
    tree = statement.tree
    if not needs_no_transaction(tree):
        raise _refuse(
            file,
            statement,
            "this statement is not one that runs without a transaction",
            f"remove the line {NO_TRANSACTION}: in a transaction it is rolled back if it fails. "
            "docs/migrations-without-transaction.md lists the statements",
        )
    if isinstance(tree, ast.IndexStmt):
        if tree.idxname is None:
            raise _refuse(
                file,
                statement,
                "the index has no name",
                "name it, so that the next run finds it after a crash",
            )
        if tree.if_not_exists:
            raise _refuse(
                file,
                statement,
                "if not exists is not allowed here",
                "it would accept an INVALID index; the runner looks whether the index exists",
            )
    if any(schema is None for schema, _ in _names_of(tree)):
        raise _refuse(
            file, statement, "a name without its schema", "write SCHEMA.NAME, for example app.todos"
        )


def check_migration(file: SqlFile) -> list[Statement]:
    """Return the statements of a migration or of roles.sql.

    Raises SessionbaseError for a statement that ends the transaction of the runner or changes its
    role, and for one that PostgreSQL refuses in a transaction, unless the file has the directive
    for it.
    """
    statements = file.statements()
    for statement in statements:
        tree = statement.tree
        if isinstance(tree, ast.TransactionStmt):
            raise _refuse(
                file,
                statement,
                "transaction control in a file",
                "the runner runs each file in one transaction",
            )
        if isinstance(tree, ast.VariableSetStmt) and tree.name in {"role", "session_authorization"}:
            raise _refuse(
                file,
                statement,
                "a change of role in a file",
                "the runner sets the role, so that sessionbase_owner owns every object",
            )
        why = _never_in_a_migration(tree)
        if why:
            raise _refuse(file, statement, "not allowed in a migration", why)
        if needs_no_transaction(tree) and not file.no_transaction:
            raise _refuse(
                file,
                statement,
                "PostgreSQL does not run this statement in a transaction",
                f"put it alone into a migration whose first line is the comment {NO_TRANSACTION}",
            )
    if file.no_transaction:
        _check_without_transaction(file, statements)
    return statements


def _created_in(tree: ast.Node, schema: str) -> bool:
    """Return whether a statement is `create or replace` of an object that `schema` may contain.

    That is a function or procedure; in api also a view, or a trigger of a view.
    """
    if not isinstance(tree, ast.CreateFunctionStmt | ast.ViewStmt | ast.CreateTrigStmt):
        return False
    routine = created_routine(tree)
    if routine:
        return bool(tree.replace) and routine.schema == schema
    other = created_view(tree) or created_trigger(tree)
    return bool(tree.replace) and other is not None and schema == other[0] == "api"


def _check_types(file: SqlFile, statement: Statement) -> None:
    tree = statement.tree
    if isinstance(tree, ast.CreateFunctionStmt) and any("%" in item for item in types_of(tree)):
        raise _refuse(
            file,
            statement,
            "%TYPE is not allowed in the header of a function",
            "name the type itself: PostgreSQL stores that type and not the reference",
        )


def _check_api(file: SqlFile) -> list[Statement]:
    statements = file.statements()
    for statement in statements:
        annotates = isinstance(statement.tree, ast.CommentStmt | ast.GrantStmt)
        if not annotates and not _created_in(statement.tree, "api"):
            raise _refuse(
                file,
                statement,
                "not allowed in api/",
                "only create or replace view, function or procedure api.NAME, create or replace "
                "trigger on api.VIEW, comment on, grant and revoke; anything else belongs in a "
                "migration",
            )
        _check_types(file, statement)
    return statements


def _check_app(file: SqlFile) -> list[Statement]:
    statements = file.statements()
    for statement in statements:
        routines = annotated_routines(statement.tree)
        annotates = routines is not None and all(item.schema == "app" for item in routines)
        if not annotates and not _created_in(statement.tree, "app"):
            raise _refuse(
                file,
                statement,
                "not allowed in app/",
                "only create or replace function or procedure app.NAME, and comment on, grant and "
                "revoke for such functions; anything else belongs in a migration",
            )
        _check_types(file, statement)
    return statements


def _functions_of_migrations(folder: SqlFolder) -> dict[str, str]:
    """Return the functions of schema app that migrations create: name → label of the file.

    A function that a later migration drops again does not count. Functions that a DO block creates
    are not found.
    """
    counts: Counter[str] = Counter()
    labels: dict[str, str] = {}
    for migration in folder.migrations:
        for statement in migration.file.statements():
            tree = statement.tree
            routine = created_routine(tree)
            if isinstance(tree, ast.RenameStmt) and tree.renameType in ROUTINE_TYPES:
                old = _named(tree.object)
                routine = old and Routine(old.schema, str(tree.newname), old.inputs)
            if routine and routine.schema == "app":
                counts[routine.name] += 1
                labels[routine.name] = migration.file.label
            elif isinstance(tree, ast.DropStmt) and tree.removeType in ROUTINE_TYPES:
                gone = [item for item in map(_named, tree.objects or ()) if item]
                counts.subtract(item.name for item in gone if item.schema == "app")
    return {name: labels[name] for name, count in counts.items() if count > 0}


def _refuse_twice(files: list[ParsedFile]) -> None:
    seen: dict[object, str] = {}
    for file, statements in files:
        for statement in statements:
            tree = statement.tree
            item = created_routine(tree) or created_view(tree) or created_trigger(tree)
            if item is None:
                continue
            if item in seen:
                raise _refuse(
                    file, statement, f"{seen[item]} defines it too", "remove one of the two"
                )
            seen[item] = f"{file.label}, line {statement.line}"


def check_repeatable(folder: SqlFolder) -> RepeatableFiles:
    """Return the files of app/ and api/, split into statements.

    Raises SessionbaseError with file and line for a statement that is not allowed there. Allowed
    are statements that can be repeated and whose results the runner finds in the catalogue, so
    that it can drop what no file defines any more.
    """
    app = [(file, _check_app(file)) for file in folder.app]
    api = [(file, _check_api(file)) for file in folder.api]
    _refuse_twice(app + api)
    history = _functions_of_migrations(folder)
    defined = {
        routine.name
        for _, statements in app
        for statement in statements
        if (routine := created_routine(statement.tree))
    }
    for file, statements in app:
        for statement in statements:
            routine = created_routine(statement.tree)
            named = [routine] if routine else annotated_routines(statement.tree) or []
            for item in named:
                if item.name in history:
                    raise _refuse(
                        file,
                        statement,
                        f"{history[item.name]} creates app.{item.name}",
                        "a function belongs to a migration or to app/, not to both: give the one "
                        "in app/ another name",
                    )
                if item.name not in defined:
                    raise _refuse(
                        file,
                        statement,
                        f"no file in app/ defines app.{item.name}",
                        "define it there, or put the statement into a migration",
                    )
    return RepeatableFiles(app, api, sorted(history))
