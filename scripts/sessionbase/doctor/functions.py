"""The functions of schemas app and api as the shipped SQL files create them.

Each is described as in pg_proc, so that sql/doctor can compare the two as text.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from pglast import ast
from pglast.enums import FunctionParameterMode
from pglast.stream import RawStream

from sessionbase.errors import SessionbaseError
from sessionbase.migrate.checks import OUTPUT_MODES, ROUTINE_TYPES
from sessionbase.migrate.files import SqlFile, SqlFolder, Statement, read_folder
from sessionbase.paths import command

_SCHEMAS = {"app", "api"}
_MODES = {
    FunctionParameterMode.FUNC_PARAM_DEFAULT: "in",
    FunctionParameterMode.FUNC_PARAM_IN: "in",
    FunctionParameterMode.FUNC_PARAM_OUT: "out",
    FunctionParameterMode.FUNC_PARAM_INOUT: "inout",
    FunctionParameterMode.FUNC_PARAM_VARIADIC: "variadic",
    FunctionParameterMode.FUNC_PARAM_TABLE: "table",
}


@dataclass(frozen=True)
class ShippedFunction:
    """One `create function` of the files; types are written as in the file."""

    name: str
    """With its schema: `app.profile_id`."""
    inputs: list[str]
    parameters: list[tuple[str, str, str]]
    """Mode, name and type of each parameter."""
    result: str
    attributes: dict[str, Any]
    file: SqlFile
    statement: Statement

    @property
    def types(self) -> Iterable[str]:
        """Every type that it names."""
        return [self.result, *(type_name for _, _, type_name in self.parameters)]

    @property
    def remediation(self) -> str:
        """How to replace the function in a database by the one in the file."""
        first = f"{command()} migrate; it skips a file that is unchanged since it was applied. "
        if self.file.label.startswith("migrations/"):
            again = re.sub(
                r"(?i)^create\s+(function|procedure)", r"create or replace \1", self._text
            )
            return f"{first}If the finding stays, run as sessionbase_owner: {again}"
        return (
            f"{first}If the finding stays: psql -v ON_ERROR_STOP=1 --single-transaction "
            f"-c 'set role sessionbase_owner' -f {self.file.path}"
        )

    @property
    def _text(self) -> str:
        """The statement without the comments before it."""
        return re.sub(r"\A(\s*--[^\n]*\n)*\s*", "", self.statement.text)


def _name(parts: Iterable[ast.String] | None) -> str:
    return ".".join(str(part.sval) for part in parts or ())


def _type(tree: ast.TypeName) -> str:
    return str(RawStream()(tree)).removeprefix("SETOF ").removeprefix("pg_catalog.")


def _default(tree: Any) -> str:
    """Return a default without casts, which PostgreSQL adds when it prints one."""
    while isinstance(tree, ast.TypeCast):
        tree = tree.arg
    text = str(RawStream()(tree))
    return text.lower() if text in {"TRUE", "FALSE"} else text


def _setting(tree: ast.VariableSetStmt) -> str:
    """Return a SET clause as pg_proc.proconfig has it."""
    values = [
        str(arg.val.sval if hasattr(arg.val, "sval") else arg.val.ival) for arg in tree.args or ()
    ]
    if tree.name == "search_path":
        values = [
            value if re.fullmatch("[a-z_][a-z0-9_]*", value) else f'"{value}"' for value in values
        ]
    return f"{tree.name}={', '.join(values)}"


def _result(tree: ast.CreateFunctionStmt, outputs: list[str]) -> str:
    if tree.returnType is not None:
        return _type(tree.returnType)
    if not outputs:
        return "void"
    return outputs[0] if len(outputs) == 1 and not tree.is_procedure else "record"


def _schema(tree: ast.CreateFunctionStmt) -> str:
    return _name(tree.funcname).split(".")[0]


def _read(file: SqlFile, statement: Statement, tree: ast.CreateFunctionStmt) -> ShippedFunction:
    options = {
        option.defname: option.arg for option in tree.options or () if option.defname != "set"
    }
    settings = [option.arg for option in tree.options or () if option.defname == "set"]
    if tree.sql_body is not None or "as" not in options:
        raise SessionbaseError(
            f"{file.label}, line {statement.line}: the body of this function is not a string: "
            f"{statement.summary}",
            "sessionbase doctor compares bodies as text: write it between $$ and $$",
        )
    parameters = [(_MODES[p.mode], p.name or "", _type(p.argType)) for p in tree.parameters or ()]
    outputs = [kind for mode, _, kind in parameters if mode in {"out", "inout", "table"}]

    def word(option: str, default: str) -> str:
        return str(options[option].sval) if option in options else default

    def flag(option: str) -> bool:
        return option in options and bool(options[option].boolval)

    return ShippedFunction(
        name=_name(tree.funcname),
        inputs=[_type(p.argType) for p in tree.parameters or () if p.mode not in OUTPUT_MODES],
        parameters=parameters,
        result=_result(tree, outputs),
        attributes={
            "kind": "procedure" if tree.is_procedure else "function",
            "body": str(options["as"][0].sval),
            "language": word("language", "sql"),
            "volatility": word("volatility", "volatile"),
            "security": "definer" if flag("security") else "invoker",
            "parallel": word("parallel", "unsafe"),
            "strict": flag("strict"),
            "leakproof": flag("leakproof"),
            "set": {_setting(setting): True for setting in settings},
            "defaults": ", ".join(_default(p.defexpr) for p in tree.parameters or () if p.defexpr),
            "returns a set": bool(tree.returnType and tree.returnType.setof),
        },
        file=file,
        statement=statement,
    )


def _drop(found: dict[tuple[str, tuple[str, ...]], ShippedFunction], tree: ast.DropStmt) -> None:
    for item in tree.objects or ():
        inputs = None if item.args_unspecified else tuple(_type(arg) for arg in item.objargs or ())
        for key in list(found):
            if key[0] == _name(item.objname) and inputs in {None, key[1]}:
                del found[key]


def _statements(folder: SqlFolder) -> Iterator[tuple[SqlFile, Statement]]:
    in_order = [migration.file for migration in folder.migrations]
    for file in [*in_order, *folder.repeatable]:
        for statement in file.statements():
            yield file, statement


def read_functions(folder: Path) -> list[ShippedFunction]:
    """Read the SQL folder; return the functions of schemas app and api that it creates.

    Raises SessionbaseError as read_folder and functions_of do.
    """
    return functions_of(read_folder(folder))


def functions_of(folder: SqlFolder) -> list[ShippedFunction]:
    """Return the functions of schemas app and api that the files create.

    If several files create one, the last one counts: migrations, then app/, then api/. Raises
    SessionbaseError for a file that can't be parsed, or a body that is not a string.
    """
    found: dict[tuple[str, tuple[str, ...]], ShippedFunction] = {}
    for file, statement in _statements(folder):
        tree = statement.tree
        if isinstance(tree, ast.DropStmt) and tree.removeType in ROUTINE_TYPES:
            _drop(found, tree)
        elif isinstance(tree, ast.CreateFunctionStmt) and _schema(tree) in _SCHEMAS:
            function = _read(file, statement, tree)
            found[function.name, tuple(function.inputs)] = function
    return list(found.values())


def expected_functions(
    conn: psycopg.Connection[Any], functions: list[ShippedFunction]
) -> list[dict[str, Any]]:
    """Return one row for each function, with the types as PostgreSQL prints them.

    The search_path of `conn` must be empty.
    """
    # Types of other schemas are printed as the files write them, and looking them up would need
    # USAGE on the schema.
    plain = sorted({kind for item in functions for kind in item.types if "." not in kind})
    rows = conn.execute(
        "select kind, pg_catalog.to_regtype(kind)::text from pg_catalog.unnest(%s::text[]) as kind",
        (plain,),
    ).fetchall()
    printed = {kind: name or kind for kind, name in rows}

    def print_type(kind: str) -> str:
        return str(printed.get(kind, kind))

    return [
        {
            "name": item.name,
            "signature": f"{item.name}({','.join(map(print_type, item.inputs))})",
            "attributes": item.attributes
            | {
                "arguments": [
                    [mode, name, print_type(kind)] for mode, name, kind in item.parameters
                ],
                "result": print_type(item.result),
            },
            "source": f"sql/{item.file.label}, line {item.statement.line}",
            "remediation": item.remediation,
        }
        for item in functions
    ]
