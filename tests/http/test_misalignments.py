"""Misalignments over HTTP: ingesting updates the content and never the status."""

import itertools
import json
from functools import partial
from typing import Any

import httpx
import psycopg
import pytest

from conftest import ClientFor
from support.concurrency import at_once
from support.refusals import refused

STATUSES = ["open", "acknowledged", "dismissed"]
LEGAL = {
    ("open", "acknowledged"),
    ("open", "dismissed"),
    ("acknowledged", "dismissed"),
    ("acknowledged", "open"),
    ("dismissed", "acknowledged"),
    ("dismissed", "open"),
}
RANGE = {"startIndex": 1, "endIndex": 4, "startAt": "", "endAt": "2026-01-01T00:00:00Z"}
EVIDENCE = [{"message": "It ran rm", "eventIndex": 2, "eventId": "e2", "highlight": "rm -rf"}]


def candidate(rule: str = "r1", **fields: Any) -> dict[str, Any]:
    return {"rule_id": rule, "title": f"Broke {rule}", "summary": "It did", **fields}


def ingest(client: httpx.Client, *candidates: object, session: str = "s1") -> httpx.Response:
    return client.post(
        "/rpc/ingest_misalignments", json={"session_id": session, "candidates": candidates}
    )


def transition(
    client: httpx.Client, to: object, rule: str = "r1", session: str = "s1", **fields: str
) -> httpx.Response:
    arguments = {"session_id": session, "id": f"mis-{session}-{rule}", "to_status": to, **fields}
    return client.post("/rpc/transition_misalignment", json=arguments)


def listed(client: httpx.Client, session: str = "s1") -> list[dict[str, Any]]:
    answer = client.get(f"/misalignments?session_id=eq.{session}&order=created_at,id")
    assert answer.status_code == 200, answer.text
    rows: list[dict[str, Any]] = answer.json()
    return rows


def log_of(client: httpx.Client, rule: str = "r1", session: str = "s1") -> list[tuple[Any, ...]]:
    rows = client.get(
        "/misalignment_transitions",
        params={
            "session_id": f"eq.{session}",
            "misalignment_id": f"eq.mis-{session}-{rule}",
            "order": "number",
        },
    ).json()
    return [(row["number"], row["from_status"], row["to_status"]) for row in rows]


def bring_to(client: httpx.Client, status: str) -> None:
    assert ingest(client, candidate(status=status)).status_code == 200


def test_a_new_candidate_is_stored_with_the_defaults(client: httpx.Client) -> None:
    answer = ingest(client, candidate())
    assert answer.status_code == 200, answer.text
    (made,) = answer.json()
    assert made["updated_at"] == made["created_at"]
    del made["updated_at"], made["created_at"]
    assert made == {
        "id": "mis-s1-r1",
        "session_id": "s1",
        "rule_id": "r1",
        "title": "Broke r1",
        "summary": "It did",
        "severity": "medium",
        "status": "open",
        "previous_status": None,
        "event_range": None,
        "evidence": [],
    }


def test_a_new_candidate_is_stored_with_all_its_fields(client: httpx.Client) -> None:
    given = candidate(
        id="mis-chosen",
        severity="critical",
        status="acknowledged",
        event_range=RANGE,
        evidence=EVIDENCE,
    )
    (made,) = ingest(client, given).json()
    assert {name: made[name] for name in given} == given
    assert listed(client) == [made]


def test_an_empty_list_of_candidates_returns_an_empty_list(client: httpx.Client) -> None:
    assert ingest(client).json() == []


def test_ingesting_again_updates_the_content_and_keeps_the_status(client: httpx.Client) -> None:
    bring_to(client, "open")
    (before,) = listed(client)
    assert transition(client, "dismissed").status_code == 200
    news: dict[str, Any] = {"title": "t", "summary": "s", "severity": "high", "event_range": RANGE}
    (after,) = ingest(client, candidate(**news, evidence=EVIDENCE, status="open")).json()
    assert {name: after[name] for name in news} == news
    assert after["evidence"] == EVIDENCE
    assert (after["status"], after["previous_status"]) == ("dismissed", "open")
    assert after["created_at"] == before["created_at"]
    assert log_of(client) == [(1, None, "open"), (2, "open", "dismissed")]


@pytest.mark.parametrize("stored", STATUSES)
@pytest.mark.parametrize("sent", STATUSES)
def test_an_ingested_status_never_changes_a_stored_one(
    client: httpx.Client, stored: str, sent: str
) -> None:
    bring_to(client, stored)
    (row,) = ingest(client, candidate(title="new", status=sent)).json()
    assert (row["status"], row["title"]) == (stored, "new")
    assert log_of(client) == [(1, None, stored)]


def test_ingesting_the_same_again_changes_nothing(client: httpx.Client) -> None:
    found = candidate(event_range=RANGE, evidence=EVIDENCE)
    ingest(client, found)
    before = listed(client)
    assert ingest(client, found).json() == before
    assert listed(client) == before


def test_updated_at_changes_only_with_the_content(client: httpx.Client) -> None:
    ingest(client, candidate("r1"), candidate("r2"))
    before = listed(client)
    ingest(client, candidate("r1"), candidate("r2", title="new"))
    after = listed(client)
    assert after[0] == before[0]
    assert after[1]["updated_at"] > before[1]["updated_at"]
    assert after[1]["created_at"] == before[1]["created_at"]


def test_a_transition_increases_updated_at(client: httpx.Client) -> None:
    bring_to(client, "open")
    before = listed(client)[0]["updated_at"]
    assert transition(client, "dismissed").json()["updated_at"] > before


def test_misalignments_are_listed_in_the_order_of_the_candidates(client: httpx.Client) -> None:
    rules = [f"r{number * 37 % 100:02}" for number in range(100)]
    answer = ingest(client, *[candidate(rule) for rule in rules])
    assert [row["rule_id"] for row in answer.json()] == rules
    rows = listed(client)
    assert [row["rule_id"] for row in rows] == rules
    assert len({row["created_at"] for row in rows}) == 100


def test_a_candidate_of_another_session_is_stored_in_the_session_of_the_call(
    client: httpx.Client,
) -> None:
    ingest(client, candidate("r1"), session="s2")
    theirs = listed(client, "s2")
    moved = candidate("r1", id="mis-s2-r1", session_id="s2", title="taken in")
    (row,) = ingest(client, moved).json()
    assert (row["session_id"], row["id"], row["title"]) == ("s1", "mis-s2-r1", "taken in")
    assert listed(client) == [row]
    assert listed(client, "s2") == theirs


def test_the_last_of_two_candidates_with_one_id_is_stored(client: httpx.Client) -> None:
    answer = ingest(client, candidate(title="first"), candidate(title="last"))
    assert [row["title"] for row in answer.json()] == ["last"]
    assert log_of(client) == [(1, None, "open")]


def test_500_candidates_are_accepted_and_501_are_refused(client: httpx.Client) -> None:
    found = [candidate(f"r{number}") for number in range(501)]
    refused = ingest(client, *found)
    assert refused.status_code == 413
    assert refused.json()["code"] == "payload_too_large"
    assert listed(client) == []
    assert len(ingest(client, *found[:500]).json()) == 500


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        (candidate(rule_id=None), "rule_id"),
        ({"title": "t", "summary": "s"}, "rule_id"),
        ({"rule_id": "r", "summary": "s"}, "title"),
        ({"rule_id": "r", "title": "t"}, "summary"),
        (candidate(""), "rule_id"),
        (candidate(id=""), "id"),
        (candidate(severity="none"), "severity"),
        (candidate(severity=3), "severity"),
        (candidate(status="closed"), "status"),
        (candidate(title=1), "title"),
        (candidate(summary={"x": 1}), "summary"),
        (candidate(event_range=[]), "event_range"),
        (candidate(event_range={**RANGE, "startIndex": "1"}), "event_range"),
        (candidate(event_range={"startIndex": 1, "endIndex": 2}), "event_range"),
        (candidate(evidence={}), "evidence"),
        (candidate(evidence=["it ran rm"]), "evidence"),
        (candidate(evidence=[{"eventIndex": 1}]), "evidence"),
        (candidate(evidence=[EVIDENCE]), "evidence"),
        (candidate(evidence=[[]]), "evidence"),
        (candidate(event_range=[RANGE]), "event_range"),
        (candidate(evidence=[{"message": "m", "eventIndex": "1"}]), "evidence"),
        ("no object", None),
        (None, None),
        ([candidate()], None),
    ],
)
def test_an_invalid_candidate_is_named_and_the_whole_batch_is_refused(
    client: httpx.Client, bad: object, field: str | None
) -> None:
    ingest(client, candidate("r0"))
    before = listed(client)
    answer = ingest(client, candidate("r0", title="new"), candidate("r8"), bad, candidate("r9"))
    assert answer.status_code == 400, answer.text
    assert answer.json()["code"] == "invalid_argument"
    assert json.loads(answer.json()["details"]) == {"index": 2, "field": field}
    assert listed(client) == before


def test_a_candidate_that_is_too_large_is_named(client: httpx.Client) -> None:
    answer = ingest(client, candidate("r0"), candidate(title="x" * 65537))
    assert answer.status_code == 413
    assert json.loads(answer.json()["details"]) == {"index": 1, "field": "title"}
    assert listed(client) == []


@pytest.mark.parametrize("candidates", [None, {}, "r1", 1])
def test_candidates_that_are_not_an_array_are_refused(
    client: httpx.Client, candidates: object
) -> None:
    answer = client.post(
        "/rpc/ingest_misalignments", json={"session_id": "s1", "candidates": candidates}
    )
    assert answer.status_code == 400
    assert answer.json()["message"] == "candidates must be an array"


@pytest.mark.parametrize("session", ["", None])
def test_a_batch_without_a_session_is_refused(client: httpx.Client, session: str | None) -> None:
    answer = client.post(
        "/rpc/ingest_misalignments", json={"session_id": session, "candidates": [candidate(id="m")]}
    )
    assert answer.status_code == 400
    assert json.loads(answer.json()["details"])["field"] == "session_id"


@pytest.mark.parametrize("to", STATUSES)
@pytest.mark.parametrize("start", STATUSES)
def test_every_pair_of_statuses_is_legal_or_refused(
    client: httpx.Client, start: str, to: str
) -> None:
    bring_to(client, start)
    answer = transition(client, to)
    if (start, to) in LEGAL:
        assert answer.status_code == 200, answer.text
        assert (answer.json()["status"], answer.json()["previous_status"]) == (to, start)
        assert listed(client) == [answer.json()]
        assert log_of(client) == [(1, None, start), (2, start, to)]
    else:
        assert answer.status_code == 409
        refusal = answer.json()
        assert refusal["code"] == "illegal_transition"
        assert refusal["message"] == f"Cannot transition misalignment from {start} to {to}"
        assert json.loads(refusal["details"]) == {"from": start, "to": to}
        assert log_of(client) == [(1, None, start)]


@pytest.mark.parametrize("status", ["closed", "", "Open", "open ", "a\r\nSet-Cookie: x"])
def test_an_unknown_status_is_invalid(client: httpx.Client, status: str) -> None:
    bring_to(client, "open")
    answer = transition(client, status)
    assert answer.status_code == 400
    assert answer.json()["code"] == "invalid_argument"
    assert answer.json()["message"] == f"Invalid misalignment status: {status}"
    assert "set-cookie" not in answer.headers


def test_a_missing_status_is_invalid(client: httpx.Client) -> None:
    bring_to(client, "open")
    answer = transition(client, None)
    assert answer.status_code == 400
    assert answer.json()["code"] == "invalid_argument"
    assert answer.json()["message"] == "Invalid misalignment status: null"


def test_an_unknown_misalignment_is_not_found(
    client: httpx.Client, client_for: ClientFor, profile: str
) -> None:
    bring_to(client, "open")
    in_another_session = client.post(
        "/rpc/transition_misalignment",
        json={"session_id": "s2", "id": "mis-s1-r1", "to_status": "dismissed"},
    )
    answers = [
        transition(client, "dismissed", rule="unknown"),
        in_another_session,
        transition(client_for(f"{profile}-other"), "dismissed"),
    ]
    for answer in answers:
        details = refused(answer, 404, "not_found", "Misalignment not found")
        assert set(details) == {"session_id", "id"}
    assert listed(client)[0]["status"] == "open"


def test_an_expected_status_that_is_not_the_stored_one_is_refused(client: httpx.Client) -> None:
    bring_to(client, "acknowledged")
    answer = transition(client, "dismissed", expected_status="open")
    assert answer.status_code == 409
    assert answer.json()["code"] == "illegal_transition"
    assert json.loads(answer.json()["details"]) == {
        "from": "acknowledged",
        "to": "dismissed",
        "expected": "open",
    }
    assert transition(client, "dismissed", expected_status="acknowledged").status_code == 200


def test_one_of_many_concurrent_dismissals_succeeds(client: httpx.Client) -> None:
    bring_to(client, "open")
    answers = at_once([lambda: transition(client, "dismissed")] * 16)
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 15
    assert {answer.json()["message"] for answer in answers if answer.status_code == 409} == {
        "Cannot transition misalignment from dismissed to dismissed"
    }
    assert log_of(client) == [(1, None, "open"), (2, "open", "dismissed")]


def test_the_log_numbers_every_transition_without_a_gap(client: httpx.Client) -> None:
    bring_to(client, "open")

    def change_status(thread: int) -> int:
        accepted = 0
        for number in range(6):
            answer = transition(client, STATUSES[(thread + number) % 3])
            assert answer.status_code in {200, 409}
            accepted += answer.status_code == 200
        return accepted

    accepted = sum(at_once([partial(change_status, thread) for thread in range(8)]))
    entries = log_of(client)
    assert [number for number, _, _ in entries] == list(range(1, accepted + 2))
    for (_, _, before), (_, start, to) in itertools.pairwise(entries):
        assert start == before
        assert (start, to) in LEGAL
    assert listed(client)[0]["status"] == entries[-1][2]


def test_concurrent_batches_and_transitions_do_not_deadlock(
    client: httpx.Client,
) -> None:
    rules = [f"r{number}" for number in range(40)]
    ingest(client, *[candidate(rule) for rule in rules])

    def detect(thread: int) -> list[int]:
        order = rules if thread % 2 else rules[::-1]
        return [
            ingest(
                client, *[candidate(rule, title=f"{thread}-{run}") for rule in order]
            ).status_code
            for run in range(4)
        ]

    def change_status(thread: int) -> list[int]:
        return [transition(client, "dismissed", rule=rule).status_code for rule in rules[thread::4]]

    codes = at_once(
        [partial(detect, thread) for thread in range(4)]
        + [partial(change_status, thread) for thread in range(4)]
    )
    assert {code for of_thread in codes for code in of_thread} == {200}
    rows = listed(client)
    assert {row["status"] for row in rows} == {"dismissed"}
    assert [row["rule_id"] for row in rows] == rules


def test_concurrent_first_batches_store_each_misalignment_once(client: httpx.Client) -> None:
    rules = [f"r{number}" for number in range(20)]
    orders = [rules, rules[::-1]] * 4
    answers = at_once(
        [partial(ingest, client, *[candidate(rule) for rule in order]) for order in orders]
    )
    assert {answer.status_code for answer in answers} == {200}
    assert [row["rule_id"] for row in listed(client)] in (rules, rules[::-1])
    for rule in rules:
        assert log_of(client, rule) == [(1, None, "open")]


def test_the_list_for_the_prompt_has_no_dismissed_misalignments(client: httpx.Client) -> None:
    ingest(client, candidate("r1"), candidate("r2"), candidate("r3"))
    transition(client, "dismissed", rule="r2")
    transition(client, "acknowledged", rule="r1")
    rows = client.get(
        "/misalignments?session_id=eq.s1&status=neq.dismissed&order=created_at,id"
    ).json()
    assert [row["rule_id"] for row in rows] == ["r1", "r3"]


def test_two_profiles_can_use_the_same_id(
    client: httpx.Client, client_for: ClientFor, profile: str
) -> None:
    ingest(client, candidate(title="mine"))
    other = client_for(f"{profile}-other")
    assert listed(other) == []
    assert log_of(other) == []
    (theirs,) = ingest(other, candidate(title="theirs", status="dismissed")).json()
    assert theirs["title"] == "theirs"
    assert [(row["title"], row["status"]) for row in listed(client)] == [("mine", "open")]


@pytest.mark.parametrize("view", ["misalignments", "misalignment_transitions"])
@pytest.mark.parametrize("verb", ["POST", "PATCH", "DELETE"])
def test_the_views_cannot_be_written(client: httpx.Client, view: str, verb: str) -> None:
    bring_to(client, "open")
    body = {"to_status" if "transitions" in view else "status": "dismissed"}
    assert client.request(verb, f"/{view}?session_id=eq.s1", json=body).status_code == 403
    assert listed(client)[0]["status"] == "open"
    assert log_of(client) == [(1, None, "open")]


def test_an_auditor_can_read_the_log_of_every_profile_but_no_misalignment(
    client: httpx.Client, client_for: ClientFor, profile: str
) -> None:
    bring_to(client, "open")
    auditor = client_for(f"{profile}-auditor", role="auditor")
    rows = auditor.get("/misalignment_transitions", params={"profile_id": f"eq.{profile}"}).json()
    assert [(row["to_status"], row["changed_by"]) for row in rows] == [("open", profile)]
    assert auditor.get("/misalignments").status_code == 403
    assert ingest(auditor, candidate()).status_code == 403
    assert transition(auditor, "dismissed").status_code == 403


def test_a_guest_is_refused(guest: httpx.Client) -> None:
    assert ingest(guest, candidate()).status_code == 401
    assert transition(guest, "dismissed").status_code == 401
    assert guest.get("/misalignments").status_code == 401
    assert guest.get("/misalignment_transitions").status_code == 401


def test_a_transition_by_a_dba_is_logged_with_the_login(
    client: httpx.Client, db: psycopg.Connection[Any], profile: str
) -> None:
    bring_to(client, "open")
    db.execute("update app.misalignments set status = 'dismissed' where profile_id = %s", [profile])
    rows = client.get("/misalignment_transitions?number=eq.2").json()
    assert [row["changed_by"] for row in rows] == [db.info.user]
