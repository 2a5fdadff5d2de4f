"""Who may do what over HTTP: the expected status of each call, and docs/authorization.md.

Both come from sql/authority.json. tests/http/test_authorization.py makes every call of the matrix
on a running stack and compares.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from generate.live import Live
from sessionbase.doctor.authority import Function, View, read_authority


class Caller(StrEnum):
    """The caller. Each call names the rows of one profile, the owner."""

    guest = "guest"
    own = "own profile"
    other = "other profile"
    auditor = "auditor"
    no_sub = "token without sub"
    expired = "expired token"


VIEW_VERBS = ("GET", "POST", "PATCH", "PUT", "DELETE")
FUNCTION_VERBS = ("GET", "POST")
_SUCCESS = {"GET": 200, "POST": 201, "PATCH": 204, "DELETE": 204}

AUTHORITY = read_authority()
ENDPOINTS: dict[str, View | Function] = {}
_GUEST_STATUS: dict[str, int] = {}
for _domain in AUTHORITY.domains.values():
    _endpoints: dict[str, View | Function] = {
        **{f"/{name}": view for name, view in _domain.views.items()},
        **{
            f"/rpc/{name}": function
            for name, function in _domain.functions.items()
            if not function.computed_column
        },
    }
    ENDPOINTS |= _endpoints
    _GUEST_STATUS |= dict.fromkeys(_endpoints, _domain.guest)


@dataclass(frozen=True)
class Cell:
    """One call of the matrix."""

    path: str
    verb: str
    caller: Caller

    @property
    def status(self) -> int:
        """The expected HTTP status."""
        if self.verb == "PUT" and self.caller is not Caller.expired:
            return 405
        if self.caller is Caller.guest:
            return _GUEST_STATUS[self.path]
        if self.caller in {Caller.no_sub, Caller.expired}:
            return 401
        if not self.allowed:
            return 403
        return self._status_if_allowed

    @property
    def _status_if_allowed(self) -> int:
        endpoint = ENDPOINTS[self.path]
        if isinstance(endpoint, View):
            return _SUCCESS[self.verb]
        if endpoint.writes and self.verb == "GET":
            return endpoint.get
        return endpoint.absent if self.caller is Caller.other else 200

    @property
    def allowed(self) -> bool:
        """Whether the role of the caller may make the call."""
        roles = {
            Caller.own: "authenticated",
            Caller.other: "authenticated",
            Caller.auditor: "auditor",
        }
        role = roles.get(self.caller, "anon")
        endpoint = ENDPOINTS[self.path]
        if isinstance(endpoint, Function):
            return role in endpoint.execute
        return self.verb in endpoint.verbs.get(role, [])

    @property
    def shows_rows(self) -> bool:
        """Whether the response to a reading call contains what the owner stored."""
        return self.reads and self.allowed and self.caller is not Caller.other

    @property
    def reads(self) -> bool:
        """Whether the call reads rows."""
        endpoint = ENDPOINTS[self.path]
        return not endpoint.writes if isinstance(endpoint, Function) else self.verb == "GET"


def cells() -> Iterator[Cell]:
    """Yield every cell: endpoint by endpoint, verb by verb, caller by caller."""
    for path, endpoint in ENDPOINTS.items():
        verbs = VIEW_VERBS if isinstance(endpoint, View) else FUNCTION_VERBS
        for verb in verbs:
            for caller in Caller:
                yield Cell(path, verb, caller)


_INTRODUCTION = """\
# Who may do what

Roles and grants in the database determine which calls a token may make; row-level security
determines which rows the calls can read or change. This page lists the expected status of every
call, for a caller that names the rows of one profile, the **owner**, by their ids.

The page is generated from `sql/authority.json` (see [the file](#the-file-sqlauthorityjson)).
`tests/http/test_authorization.py` makes each of its **{cells} calls** over HTTP, on a real
PostgreSQL and PostgREST, and compares. For every call it verifies:

- the status, as in the table;
- that the response contains what the owner stored if the cell has **rows**, and nothing of it
  otherwise (except for the owner's own writes);
- for the other profile, that the response (status, headers and body) is the same as for ids that
  do not exist, after ids and times are replaced: so a profile can't detect rows of another one.
  (The duration is not compared.)
- that the other profile can use the same ids as the owner, wherever a caller may choose ids;
- that all rows of the owner are unchanged after the calls of all other callers, read as a
  superuser.

The test also compares the list of endpoints with the OpenAPI description and the catalogue: it
fails for an endpoint that is not in `sql/authority.json`.

## The rule

- A **guest** (no token) may do nothing: 401, or 403 `guest_not_stored` for the UI settings.
- A **profile** reads and changes its own rows, by the calls that exist for it. The rows of another
  profile are invisible: lists are empty (**none**), and the response to a call that names such a
  row is the same as for an unknown id.
- An **auditor** reads decisions and both transition logs of every profile, and verifies every chain
  of decisions. Everything else is 403.
- A token **without `sub`**, and one that has **expired**, get 401.
- 405: PUT, which does not exist, and GET on a function that writes. PostgREST runs a GET in a
  read-only transaction; a function that refuses its arguments before it writes returns 400. The
  GETs with 400 below are those with an argument that is an array or an object: PostgREST 12 does
  not read it from a query string. PostgREST 13 and later do, and return 405.

"""

_FILE = """
## The file sql/authority.json

`.venv/bin/sessionbase doctor`, the pgTAP tests, the HTTP tests and this page read the rights from
this file; the SQL is compared with it. It has one block per domain under `domains`:

| key | meaning |
| --- | --- |
| `tables` | the tables of schema `app` |
| `tables.T.rights` | for each role, its rights on the whole table: `select`, `delete`. Each has a policy: `select_own` (`authenticated`) or `select_all` (`auditor`, `sessionbase_replicator`) |
| `tables.T.writable` | the columns that `authenticated` may write, each with `insert`, `update` or both; these have the policies `insert_own` and `update_own` |
| `tables.T.triggers`, `views.V.triggers` | the triggers that must exist and be enabled |
| `app_functions` | the functions of schema `app` that roles may execute |
| `security_definer` | the functions of schema `app` that run with their owner's rights, and why |
| `views.V.verbs` | for each role, the HTTP verbs that it may use on a view of schema `api`; POST and PATCH are for the writable columns of the table with the same name |
| `views.V.filter`, `.row` | the example: which columns name its row, and what it writes |
| `functions.F.execute` | the roles that may call a function of schema `api` |
| `functions.F.example` | the arguments of the example call |
| `functions.F.writes` | `false` for a function that only reads |
| `functions.F.absent` | the status for a row that the caller does not have; default 200 |
| `functions.F.get` | the status of a GET on a function that writes; default 405. 400 if an argument is an array or an object, which PostgREST 12 does not read from a query string |
| `functions.F.computed_column` | `true` for a function that PostgREST offers as a column |
| `shows` | a text that a response contains if it shows the row of the example; default `{{text}}` |
| `setup` | the POSTs, in order, that store the rows of the examples; `body` defaults to the example of the function |
| `guest` | the status for a guest; default 401 |

In examples `{{profile}}` is the profile of the owner, `{{text}}` a text that is stored in each row, and
any other `{{name}}` a UUID, the same wherever the name occurs.

The rights of a role with `optional` may also be missing:
`.venv/bin/sessionbase replication enable` grants them.

Each policy under `restrictive_policies` must exist on every table on which a role has a right.

To add a writable column, add it to `writable` of its table. To add a domain, add a block.

### SECURITY DEFINER functions

| function | why it runs with its owner's rights |
| --- | --- |
"""  # noqa: E501


def _text(cell: Cell) -> str:
    if cell.reads and cell.status == 200:
        return f"200 {'rows' if cell.shows_rows else 'none'}"
    return str(cell.status)


def generate(_: Live) -> dict[str, str]:
    """Return the page by its path in the project."""
    lines = [
        f"| endpoint | verb | {' | '.join(Caller)} |",
        f"| --- | --- |{' --- |' * len(Caller)}",
    ]
    every = list(cells())
    width = len(Caller)
    for start in range(0, len(every), width):
        row = every[start : start + width]
        name = f"`{row[0].path}`" if row[0].verb == "GET" else ""
        lines.append(f"| {name} | {row[0].verb} | {' | '.join(map(_text, row))} |")
    definers = "".join(
        f"| `app.{name}` | {reason} |\n" for name, reason in AUTHORITY.security_definer.items()
    )
    parts = [
        _INTRODUCTION.format(cells=len(every)),
        "## The matrix\n\n",
        "\n".join(lines),
        "\n",
        _FILE.format(),
        definers,
    ]
    return {"docs/authorization.md": "".join(parts)}
