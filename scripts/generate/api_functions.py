"""Read from the catalogue what OpenAPI lacks about functions: parameters, defaults, results."""

import re
from dataclasses import dataclass, field

from generate.live import Live
from sessionbase.errors import SessionbaseError


@dataclass(frozen=True)
class Parameter:
    """A parameter or a result column of a function."""

    name: str
    type: str
    default: str | None
    """The SQL of the default; None if there is no default."""
    required: bool
    description: str
    """Its description; empty if there is none."""


@dataclass(frozen=True)
class Function:
    """A function of schema api that a role may call."""

    name: str
    summary: str
    text: str
    reads_only: bool
    returns: str
    """What a call returns: the name of a view, `several <view>`, `record` or a type."""
    roles: list[str]
    inputs: list[Parameter] = field(default_factory=list)
    outputs: list[Parameter] = field(default_factory=list)

    @property
    def view(self) -> str | None:
        """The view whose rows it returns, or None."""
        return None if self.returns in {"record", "jsonb"} else self.returns.split()[-1]


_FUNCTIONS = """
select
  proc.proname,
  coalesce(obj_description(proc.oid, 'pg_proc'), ''),
  proc.provolatile <> 'v',
  case when proc.proretset then 'several ' else '' end
    || coalesce(result.relname, format_type(proc.prorettype, null)),
  array(
    select role from unnest(array['authenticated', 'auditor']) as role
    where has_function_privilege(role, proc.oid, 'execute')
  ),
  (
    select jsonb_agg(
      jsonb_build_array(
        argument.name,
        coalesce(argument.mode, 'i'),
        format_type(coalesce(argument.type, argument.in_type), null),
        pg_get_function_arg_default(proc.oid, argument.position::integer),
        col_description(result.oid, (
          select attnum from pg_attribute as col
          where col.attrelid = result.oid and col.attname = argument.name
        ))
      )
      order by argument.position
    )
    from unnest(
      proc.proargnames, proc.proargmodes, proc.proallargtypes, proc.proargtypes::oid[]
    ) with ordinality as argument (name, mode, type, in_type, position)
  )
from pg_proc as proc
left join pg_type as type on type.oid = proc.prorettype
left join pg_class as result on result.oid = type.typrelid
where proc.pronamespace = 'api'::regnamespace
  and proc.proargnames is not null
order by proc.proname
"""
_DOCUMENTED = re.compile(r"^- (\w+): (.*(?:\n  .*)*)\n?", re.MULTILINE)


def read_functions(live: Live) -> list[Function]:
    """Return the functions of schema api that take named parameters, by name.

    The description of a parameter is the line `- name: …` in the comment on the function. Without
    such a line it is the comment on the column of that name in the view whose rows are returned.
    """
    with live.catalogue() as catalogue:
        catalogue.execute(_FUNCTIONS)
        rows = catalogue.fetchall()
    functions = []
    for name, comment, reads_only, returns, roles, arguments in rows:
        summary, _, rest = comment.partition("\n")
        documented = {
            match[1]: match[2].replace("\n  ", " ") for match in _DOCUMENTED.finditer(rest)
        }
        function = Function(
            name, summary, _DOCUMENTED.sub("", rest).strip(), reads_only, returns, roles
        )
        for argument, mode, kind, default, column_comment in arguments:
            described = documented.pop(argument, column_comment or "")
            parameter = Parameter(
                argument, kind, default, mode in "ib" and default is None, described
            )
            (function.inputs if mode in "ib" else function.outputs).append(parameter)
        if documented:
            raise SessionbaseError(
                f"the comment on api.{name} describes unknown parameters: {', '.join(documented)}"
            )
        functions.append(function)
    return functions
