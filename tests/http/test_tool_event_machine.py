"""Random sequences of calls on tool events, compared with a model (Hypothesis)."""

import json
from dataclasses import dataclass, replace
from typing import Any

import psycopg
from hypothesis import HealthCheck, Phase, event, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

UNFINISHED = ("pending", "executing")
FINAL = ("succeeded", "failed")
LEGAL = {("pending", "executing"), *((old, new) for old in UNFINISHED for new in FINAL)}
COLUMNS = "id, session_id, tool_call_id, status, arguments, result, error, context_events"
CONTEXT_EVENTS = [{"eventIndex": 1, "displayIndex": 2, "eventType": "message", "summary": "x"}]

PROFILES = st.sampled_from(["one", "one", "two"])
IDS = st.sampled_from([f"tool_{number}" for number in range(1, 5)])
SESSIONS = st.sampled_from(["s1", "s2"])
CALLS = st.sampled_from(["call_1", "call_2"])
# Weighted, so that most calls are valid.
STARTS = st.sampled_from([*UNFINISHED * 4, "failed", "done"])
STATUSES = st.sampled_from([*UNFINISHED, *FINAL * 4, "done"])
SMALL_JSON = st.sampled_from([None, 1, {"a": [1]}])
CONTEXT = st.sampled_from([None, [], CONTEXT_EVENTS])


@dataclass(frozen=True)
class Event:
    """A tool event of the model."""

    id: str
    session_id: str
    tool_call_id: str | None
    status: str
    arguments: Any
    result: Any = None
    error: str | None = None
    context_events: Any = None
    log: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """The arguments of a transition."""

    result: Any
    error: str | None
    context_events: Any
    expected_status: str | None


OUTCOMES = st.builds(
    Outcome,
    result=SMALL_JSON,
    error=st.sampled_from([None] * 5 + ["it broke"]),
    context_events=CONTEXT,
    expected_status=st.sampled_from([None] * 4 + [*UNFINISHED]),
)


class Refused(Exception):
    """An error with its code, of the model or of the database."""


def moved(old: Event, to: str, outcome: Outcome) -> Event:
    """Return the event after a transition, or raise Refused."""
    if old.status in FINAL and to == old.status:
        return old
    if old.status in UNFINISHED and outcome.expected_status not in {None, old.status}:
        raise Refused("illegal_transition")
    if old.status in FINAL:
        raise Refused("already_finished")
    if to != old.status and (old.status, to) not in LEGAL:
        raise Refused("illegal_transition")
    if (outcome.result is not None and to not in FINAL) or (outcome.error and to != "failed"):
        raise Refused("invalid_argument")
    context = old.context_events if outcome.context_events is None else outcome.context_events
    return replace(
        old,
        status=to,
        result=outcome.result,
        error=outcome.error,
        context_events=context,
        log=old.log if to == old.status else (*old.log, to),
    )


class ToolEventMachine(RuleBasedStateMachine):
    """Each run uses two new profiles. The model has their events in the order of recording."""

    def __init__(self, db: psycopg.Connection[Any], prefix: str) -> None:
        super().__init__()
        self.db = db
        self.prefix = prefix
        self.model: dict[str, dict[str, Event]] = {"one": {}, "two": {}}

    def call(self, profile: str, query: str, *values: Any) -> list[dict[str, Any]]:
        """Run a query with the role and claims of the profile, like PostgREST; return its rows."""
        claims = {"sub": self.prefix + profile, "role": "authenticated"}
        try:
            with self.db.transaction():
                self.db.execute(
                    "select set_config('request.jwt.claims', %s, true),"
                    " set_config('role', 'authenticated', true)",
                    [json.dumps(claims)],
                )
                rows = self.db.execute(f"select to_jsonb(r) from {query} as r", values).fetchall()
        except psycopg.Error as error:
            assert error.sqlstate == "PGRST", error
            assert error.diag.message_primary
            raise Refused(json.loads(error.diag.message_primary)["code"]) from error
        return [row for (row,) in rows]

    def check(self, profile: str, want: Event | str, query: str, *values: Any) -> None:
        """Assert that the database returns the row, or the error code, of the model."""
        try:
            rows = self.call(profile, query, *values)
        except Refused as refusal:
            assert str(refusal) == want
        else:
            assert isinstance(want, Event), f"not refused: {want}"
            assert [shown(row) for row in rows] == [shown(vars(want))]
            self.model[profile][want.id] = want
        event(want if isinstance(want, str) else want.status)

    @rule(
        profile=PROFILES,
        name=IDS,
        session=SESSIONS,
        call=CALLS | st.none(),
        status=STARTS,
        arguments=SMALL_JSON,
        context=CONTEXT,
    )
    def record(
        self,
        profile: str,
        name: str,
        session: str,
        call: str | None,
        status: str,
        arguments: Any,
        context: Any,
    ) -> None:
        """Record an event with a new or a used id."""
        old = self.model[profile].get(name)
        new = Event(name, session, call, status, arguments, None, None, context, (status,))
        want: Event | str = new
        if status not in UNFINISHED:
            want = "invalid_argument"
        elif old:
            same = same_record(old, new)
            want = old if same else "id_taken"
        self.check(
            profile,
            want,
            "api.record_tool_event(%s, 't', %s, id => %s, tool_call_id => %s, status => %s,"
            " context_events => %s)",
            session,
            as_json(arguments) or "null",
            name,
            call,
            status,
            as_json(context),
        )

    @precondition(lambda self: any(self.model.values()))
    @rule(profile=PROFILES, name=IDS)
    def record_again(self, profile: str, name: str) -> None:
        """Record an event again, as a client does after a lost response."""
        old = self.model[profile].get(name)
        if old and old.log == (old.status,):
            self.record(
                profile,
                name,
                old.session_id,
                old.tool_call_id,
                old.status,
                old.arguments,
                old.context_events,
            )

    @precondition(lambda self: any(self.model.values()))
    @rule(profile=PROFILES, name=IDS, to=STATUSES, outcome=OUTCOMES)
    def transition(self, profile: str, name: str, to: str, outcome: Outcome) -> None:
        """Move an event by its id, or by an unknown id."""
        old = self.model[profile].get(name)
        self.check(
            profile,
            outcome_of(old, to, outcome),
            "api.transition_tool_event(%s, %s, %s, %s, %s, %s)",
            name,
            to,
            *arguments_of(outcome),
        )

    @rule(profile=PROFILES, call=CALLS, session=st.none() | SESSIONS, to=STATUSES, outcome=OUTCOMES)
    def transition_by_call(
        self, profile: str, call: str, session: str | None, to: str, outcome: Outcome
    ) -> None:
        """Move an event by its call id: the newest unfinished one, else the newest."""
        matching = [
            known
            for known in self.model[profile].values()
            if known.tool_call_id == call and session in {None, known.session_id}
        ]
        query = "api.transition_tool_event_by_call(%s, %s, %s, %s, %s, %s, %s)"
        values = (call, to, session, *arguments_of(outcome))
        if not matching and to in {*UNFINISHED, *FINAL}:
            assert self.call(profile, query, *values) == []
            event("no such call")
            return
        unfinished = [known for known in matching if known.status in UNFINISHED]
        picked = (unfinished or matching)[-1] if matching else None
        self.check(profile, outcome_of(picked, to, outcome), query, *values)

    @invariant()
    def both_profiles_have_the_rows_of_the_model(self) -> None:
        """Compare the rows, their order, log and times of each profile with the model."""
        for profile, events in self.model.items():
            rows = self.call(profile, "(select * from api.tool_events order by started_at, id)")
            assert [shown(row) for row in rows] == [shown(vars(known)) for known in events.values()]
            for row in rows:
                assert (row["completed_at"] is None) is (row["status"] in UNFINISHED)
                assert (row["latency_ms"] is None) is (row["status"] in UNFINISHED)
            log = self.call(
                profile, "(select * from api.tool_event_transitions order by changed_at)"
            )
            for name, known in events.items():
                entries = [entry for entry in log if entry["tool_event_id"] == name]
                assert tuple(entry["to_status"] for entry in entries) == known.log
                assert [entry["from_status"] for entry in entries] == [None, *known.log[:-1]]
            assert len(log) == sum(len(known.log) for known in events.values())
            assert {entry["changed_by"] for entry in log} <= {self.prefix + profile}


def shown(row: dict[str, Any]) -> dict[str, Any]:
    """Return the columns that model and database have in common."""
    return {name: row[name] for name in COLUMNS.split(", ")}


def same_record(old: Event, new: Event) -> bool:
    """Whether the second record is accepted as a repetition of the first."""
    was_moved = old.log != (old.status,)
    return (old.session_id, old.tool_call_id, old.arguments, old.log[0]) == (
        new.session_id,
        new.tool_call_id,
        new.arguments,
        new.status,
    ) and (was_moved or old.context_events == new.context_events)


def outcome_of(old: Event | None, to: str, outcome: Outcome) -> Event | str:
    """Return the event after a transition, or the code of the error."""
    if to not in {*UNFINISHED, *FINAL}:
        return "invalid_argument"
    if old is None:
        return "not_found"
    try:
        return moved(old, to, outcome)
    except Refused as refusal:
        return str(refusal)


def as_json(value: Any) -> str | None:
    """Return JSON text, or None for null: PostgREST passes JSON null as SQL null."""
    return None if value is None else json.dumps(value)


def arguments_of(outcome: Outcome) -> tuple[str | None, ...]:
    """Return the last arguments of both functions."""
    return (
        as_json(outcome.result),
        outcome.error,
        as_json(outcome.context_events),
        outcome.expected_status,
    )


def test_any_sequence_of_calls_has_the_results_of_the_model(
    db: psycopg.Connection[Any], profile: str
) -> None:
    runs = iter(range(1_000_000))
    run_state_machine_as_test(
        # Hypothesis documents that a function works too; the annotation allows only a class.
        lambda: ToolEventMachine(db, f"{profile}-{next(runs)}-"),  # type: ignore[arg-type]
        settings=settings(
            max_examples=100,
            stateful_step_count=40,
            derandomize=True,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
