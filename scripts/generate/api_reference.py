"""docs/api.md and the amendment of Swagger UI, from the live OpenAPI and the catalogue."""

import json
from typing import Any

from generate.api_functions import Function, Parameter, read_functions
from generate.live import Live
from sessionbase.paths import PROJECT_DIR
from sessionbase.stack.docs import AMENDMENT
from sessionbase.stack.token import Role

_INTRODUCTION = """\
# The HTTP API

This page is made from PostgREST's description of the running API (`GET /`, OpenAPI 2.0):
`scripts/generate-docs`. To browse it and try calls: `scripts/up --docs`.

{description}

Refusals are in [errors.md](errors.md). In the tables below, `?` after a type means that the value
may be left out. Give the parameters of a function by name: in a JSON object with POST; with GET,
which only functions that change nothing allow, in the query string.
"""
# PostgREST's own words for these are one or two each, and it lets nobody change them.
SHARED = {
    "rowFilter": "Keep the rows whose column fits: `column=eq.value`; other operators are `neq`,"
    " `gt`, `gte`, `lt`, `lte`, `like`, `in.(a,b)`, `is.null`. With PATCH and DELETE it says which"
    " rows they are about.",
    "select": "Which columns to give: `id,status`, or `*,txid` for all and the transaction.",
    "order": "In which order to give the rows: `started_at,id`, or `created_at.desc`.",
    "limit": "How many rows to give at most.",
    "offset": "How many rows to leave out at the start.",
    "range": "Which rows to give, by number: `0-9` are the first ten.",
    "rangeUnit": "The unit of `Range`; there is only `items`.",
    "on_conflict": "With `Prefer: resolution=…`: the columns that tell if a row is there already.",
    "preferCount": "With GET: `count=exact` puts the number of all rows into `Content-Range`.",
    "preferReturn": "With PATCH and DELETE: `return=representation` gives the rows back,"
    " `return=minimal` (as without it) nothing.",
    "preferPost": "With POST of rows: as for PATCH; `resolution=ignore-duplicates` leaves a row as"
    " it is that is there already.",
    "preferParams": "With POST of a function: `params=single-object` hands over the whole body as"
    " one value, which no function here wants.",
}
_VERBS = {"get": "SELECT", "post": "INSERT", "patch": "UPDATE", "delete": "DELETE"}
_VERB_TEXT = {
    "get": "List or find rows.",
    "post": "Add a row.",
    "patch": "Change the rows that the filters name.",
    "delete": "Delete the rows that the filters name.",
}


def generate(live: Live) -> dict[str, str]:
    """Return the page by its path in the project."""
    openapi, functions = live.openapi(), read_functions(live)
    # What only an auditor may use is not in the description that others get.
    auditors = live.openapi(Role.auditor)
    paths = auditors["paths"] | openapi["paths"]
    definitions = auditors["definitions"] | openapi["definitions"]
    views = sorted(path.strip("/") for path in paths if path != "/" and "/rpc/" not in path)
    callable_now = [function for function in functions if f"/rpc/{function.name}" in paths]
    privileges = _privileges(live)

    overview, sections = ["| Endpoint | Verbs | |", "| --- | --- | --- |"], []
    for view in [*views, None]:
        about = [function for function in callable_now if _section(function, views) == view]
        if view:
            verbs = _verbs(paths[f"/{view}"], privileges[view])
            summary = paths[f"/{view}"]["get"]["summary"]
            overview.append(_row(f"[`/{view}`](#{view})", _verb_names(verbs), summary))
            sections.append(
                _view(view, paths[f"/{view}"], definitions[view], verbs, privileges[view])
            )
        elif about:
            sections.append("## Of several domains\n")
        for function in about:
            anchor = (
                f"post-rpc{function.name}"
                if not function.reads_only
                else (f"get-or-post-rpc{function.name}")
            )
            overview.append(
                _row(
                    f"[`/rpc/{function.name}`](#{anchor})",
                    _function_verbs(function),
                    function.summary,
                )
            )
            sections.append(_function(function))
    return {
        "docs/api.md": "\n".join(
            [
                _INTRODUCTION.format(description=openapi["info"]["description"]),
                *overview,
                "",
                "## Parameters of lists\n",
                *_shared(openapi["parameters"]),
                "",
                *sections,
            ]
        ).rstrip()
        + "\n"
    }


def amendment(live: Live) -> dict[str, str]:
    """Return the JSON file that Swagger UI adds to PostgREST's description of the API.

    It holds what the description lacks: the `verbs` of each path that some role may use, the
    `arguments` of each function with their meanings, and the meanings of the `shared` parameters.
    """
    functions = read_functions(live)
    verbs = {
        f"/{view}": [verb for verb, privilege in _VERBS.items() if privileges["roles"][privilege]]
        for view, privileges in _privileges(live).items()
    }
    verbs |= {
        f"/rpc/{function.name}": ["get", "post"] if function.reads_only else ["post"]
        for function in functions
    }
    arguments = {
        f"/rpc/{function.name}": {p.name: p.description for p in function.inputs}
        for function in functions
    }
    value = {"verbs": verbs, "arguments": arguments, "shared": SHARED}
    path = AMENDMENT.relative_to(PROJECT_DIR).as_posix()
    return {path: json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True) + "\n"}


def _section(function: Function, views: list[str]) -> str | None:
    """Return the view that a function stands under: the one it gives, or is named for."""
    return next((view for view in views if view in {function.view} or view in function.name), None)


def _privileges(live: Live) -> dict[str, dict[str, Any]]:
    """Return of each view who may do what, and which columns a client may write."""
    with live.catalogue() as catalogue:
        catalogue.execute(_PRIVILEGES)
        return {
            view: {"roles": roles, "columns": columns}
            for view, roles, columns in catalogue.fetchall()
        }


# DELETE is of whole rows, the others can be of columns.
_PRIVILEGES = """
select
  view.relname,
  (
    select jsonb_object_agg(verb, array(
      select role from unnest(array['authenticated', 'auditor']) as role
      where case verb
        when 'DELETE' then has_table_privilege(role, view.oid, verb)
        else has_any_column_privilege(role, view.oid, verb)
      end
    ))
    from unnest(array['SELECT', 'INSERT', 'UPDATE', 'DELETE']) as verb
  ),
  (
    select jsonb_object_agg(verb, array(
      select col.attname from pg_attribute as col
      where col.attrelid = view.oid and col.attnum > 0
        and has_column_privilege('authenticated', view.oid, col.attnum, verb)
      order by col.attnum
    ))
    from unnest(array['INSERT', 'UPDATE']) as verb
  )
from pg_class as view
where view.relnamespace = 'api'::regnamespace and view.relkind = 'v'
"""


def _verbs(path: dict[str, Any], privileges: dict[str, Any]) -> list[str]:
    """Return the verbs that someone may use; PostgREST lists also those that none may."""
    return [verb for verb in _VERBS if verb in path and privileges["roles"][_VERBS[verb]]]


def _verb_names(verbs: list[str]) -> str:
    return ", ".join(verb.upper() for verb in verbs)


def _function_verbs(function: Function) -> str:
    return "GET, POST" if function.reads_only else "POST"


def _view(
    name: str,
    path: dict[str, Any],
    definition: dict[str, Any],
    verbs: list[str],
    privileges: dict[str, Any],
) -> str:
    lines = [f"## {name}\n", f"{path['get']['summary']}.", _text(path["get"]), ""]
    lines += ["| Verb | | Who |", "| --- | --- | --- |"]
    for verb in verbs:
        what = _VERB_TEXT[verb]
        columns = privileges["columns"].get(_VERBS[verb])
        if columns:
            what += f" Columns: {', '.join(f'`{column}`' for column in columns)}."
        lines.append(
            _row(f"`{verb.upper()} /{name}`", what, ", ".join(privileges["roles"][_VERBS[verb]]))
        )
    lines += ["", "| Column | Type | |", "| --- | --- | --- |"]
    for column, described in definition["properties"].items():
        lines.append(_row(f"`{column}`", described["format"], _plain(described.get("description"))))
    return "\n".join([*lines, ""])


def _function(function: Function) -> str:
    verb = "GET or POST" if function.reads_only else "POST"
    lines = [f"### {verb} /rpc/{function.name}\n", f"{function.summary}.", function.text, ""]
    lines += ["| Parameter | Type | Default | |", "| --- | --- | --- | --- |"]
    lines += [_parameter_row(parameter) for parameter in function.inputs]
    if function.outputs:
        lines += ["", "It gives an object:", "", "| Key | Type | |", "| --- | --- | --- |"]
        lines += [
            _row(f"`{output.name}`", output.type, output.description) for output in function.outputs
        ]
    elif function.view:
        many = function.answer.startswith("several")
        kind = "an array of rows" if many else "a row"
        lines += ["", f"It gives {kind} of [`{function.view}`](#{function.view})."]
    lines += [f"\nWho: {', '.join(function.roles)}.", ""]
    return "\n".join(lines)


def _parameter_row(parameter: Parameter) -> str:
    default = (parameter.default or "").split("::")[0].replace("NULL", "null")
    return _row(
        f"`{parameter.name}`",
        parameter.type + ("" if parameter.required else "?"),
        f"`{default}`" if default else "",
        parameter.description,
    )


def _shared(parameters: dict[str, Any]) -> list[str]:
    """Return the table of PostgREST's parameters, which all lists and writes have in common."""
    lines = ["| Parameter | Where | |", "| --- | --- | --- |"]
    lines.append(_row("a column's name", "query", SHARED["rowFilter"]))
    for key, parameter in sorted(parameters.items()):
        if "." not in key:
            lines.append(_row(f"`{parameter['name']}`", parameter["in"], SHARED[key]))
    return lines


def _text(operation: dict[str, Any]) -> str:
    return str(operation.get("description", ""))


def _plain(description: str | None) -> str:
    """Return the comment alone: PostgREST adds notes for programs on keys."""
    return (description or "").split("Note:\n")[0]


def _row(*cells: str) -> str:
    """Return a row of a table; what is not code is text, not HTML."""
    texts = (" ".join(cell.replace("|", "\\|").split()) for cell in cells)
    return f"| {' | '.join(text.replace('<', '&lt;') for text in texts)} |"
