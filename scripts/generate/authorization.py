"""Who may do what over HTTP: the rule, what it means for each call, and docs/authorization.md.

The rule is stated here, not recorded: tests/http/test_authorization.py makes every call of the
matrix on a live stack and compares.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from generate.live import Live


class Caller(StrEnum):
    """Who calls. Each addresses the rows of one profile, the owner."""

    guest = "guest"
    own = "own profile"
    other = "other profile"
    auditor = "auditor"
    no_sub = "token without sub"
    expired = "expired token"


@dataclass(frozen=True)
class View:
    """What `authenticated` may do with a view, on its own rows, and whether an auditor reads it."""

    verbs: frozenset[str]
    audited: bool = False


@dataclass(frozen=True)
class Function:
    """What a function does.

    `absent` is the status of a call that names what the caller has none of, an owner's row being
    none of another profile's.
    `by_get` is the status of a GET where it would write: PostgREST runs that read-only.
    """

    writes: bool = True
    absent: int = 200
    by_get: int = 405
    audited: bool = False


VIEW_VERBS = ("GET", "POST", "PATCH", "PUT", "DELETE")
FUNCTION_VERBS = ("GET", "POST")
_SUCCESS = {"GET": 200, "POST": 201, "PATCH": 204, "DELETE": 204}
_READ = frozenset({"GET"})

ENDPOINTS: dict[str, View | Function] = {
    "/tool_events": View(_READ),
    "/tool_event_transitions": View(_READ, audited=True),
    "/rpc/record_tool_event": Function(),
    "/rpc/transition_tool_event": Function(absent=404),
    "/rpc/transition_tool_event_by_call": Function(),
    "/hookify_decisions": View(_READ, audited=True),
    "/rpc/record_hookify_decision": Function(),
    "/rpc/verify_hookify_decisions": Function(writes=False, absent=400, audited=True),
    "/misalignments": View(_READ),
    "/misalignment_transitions": View(_READ, audited=True),
    # A query string carries no array, so the argument is refused before anything is written.
    "/rpc/ingest_misalignments": Function(by_get=400),
    "/rpc/transition_misalignment": Function(absent=404),
    "/todos": View(_READ | {"POST", "PATCH"}),
    "/rpc/toggle_todo": Function(absent=404),
    "/rpc/delete_todo": Function(absent=404),
    "/session_repo_bindings": View(_READ | {"DELETE"}),
    "/rpc/set_session_repo_binding": Function(),
    "/ui_settings": View(_READ),
    "/rpc/save_ui_settings": Function(),
    # Nor an object: a query string's argument is a JSON text at most.
    "/rpc/patch_ui_settings": Function(by_get=400),
    "/rpc/session_context": Function(writes=False),
}
# A guest who wants settings is told that nothing is kept for guests, instead of to log in.
_GUEST_SETTINGS = frozenset({"/ui_settings", "/rpc/save_ui_settings", "/rpc/patch_ui_settings"})


@dataclass(frozen=True)
class Cell:
    """One call of the matrix."""

    path: str
    verb: str
    caller: Caller

    @property
    def status(self) -> int:
        """The HTTP status that the rule gives it."""
        if self.verb == "PUT" and self.caller is not Caller.expired:
            return 405
        if self.caller is Caller.guest and self.path in _GUEST_SETTINGS:
            return 403
        if self.caller in {Caller.guest, Caller.no_sub, Caller.expired}:
            return 401
        if not self.allowed:
            return 403
        return self._status_where_allowed

    @property
    def _status_where_allowed(self) -> int:
        endpoint = ENDPOINTS[self.path]
        if isinstance(endpoint, View):
            return _SUCCESS[self.verb]
        if endpoint.writes and self.verb == "GET":
            return endpoint.by_get
        return endpoint.absent if self.caller is Caller.other else 200

    @property
    def allowed(self) -> bool:
        """Whether the caller's role may make the call at all."""
        endpoint = ENDPOINTS[self.path]
        if self.caller is Caller.auditor:
            return endpoint.audited and (self.verb == "GET" or isinstance(endpoint, Function))
        if self.caller not in {Caller.own, Caller.other}:
            return False
        return isinstance(endpoint, Function) or self.verb in endpoint.verbs

    @property
    def shows_rows(self) -> bool:
        """Whether the answer to a reading call holds what the owner stored."""
        return self.reads and self.allowed and self.caller is not Caller.other

    @property
    def reads(self) -> bool:
        """Whether the call is one that reads rows."""
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

The database decides: roles and grants say which calls a token may make, row-level security says
whose rows they concern. This page is the rule, call by call, for a caller that addresses the rows
of one profile, its **owner**, by their ids.

The page is made from the rule in `scripts/generate/authorization.py` by
`scripts/generate-docs authorization`. `tests/http/test_authorization.py` makes each of its
**{cells} calls** over HTTP, on a real PostgreSQL and PostgREST, and compares. For every call it
verifies:

- the status, as in the table;
- that the answer holds what the owner stored if the cell says **rows**, and nothing of it if it
  does not (the owner's own writes aside);
- for the other profile, that the answer (status, headers and body) is the same as for ids that
  nobody has, once the ids and the times are made equal: another's rows can't be detected (how long
  an answer takes is not compared);
- that an id which the owner uses is free for the other profile, wherever a caller may choose ids;
- that after the calls of everyone but the owner every row of the owner's is as it was, read as a
  superuser.

The endpoints are compared with the live OpenAPI description and the catalogue, so that a new one
that is missing here fails the test.

## The rule

- A **guest** (no token) may do nothing: 401, or 403 `guest_not_stored` where the call is about
  settings.
- A **profile** reads and changes its own rows, by the calls that are offered. Another's rows do not
  exist for it: lists are empty (**none**), and a call that names one is answered as for an unknown
  id.
- An **auditor** reads decisions and both transition logs of every profile, verifies every chain of
  decisions, and gets 403 for all else.
- A token **without `sub`**, and one that has **expired**, get 401.
- 405: PUT, which is not offered, and GET on a function that would write. PostgREST runs a GET in a
  read-only transaction; a function that refuses its arguments before it writes answers 400.

## The matrix

"""


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
    table = "\n".join(lines)
    return {"docs/authorization.md": _INTRODUCTION.format(cells=len(every)) + table + "\n"}
