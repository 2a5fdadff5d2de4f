"""Hookify decisions over HTTP: recording, listing, and verification of the hash chain."""

import hashlib
import itertools
import json
from functools import partial
from typing import Any

import httpx
import psycopg
import pytest

from conftest import ClientFor, Stack
from support.command import run_main
from support.concurrency import at_once
from support.refusals import refused

DECISION = {
    "session_id": "s1",
    "source": "timeline",
    "severity": "high",
    "blocked": True,
    "rules": [{"id": "no-rm-rf", "severity": "high"}],
}


def record(client: httpx.Client, **fields: Any) -> httpx.Response:
    if "content_hash" not in fields:
        fields.setdefault("content", "rm -rf /")
    return client.post("/rpc/record_hookify_decision", json={**DECISION, **fields})


def verify(client: httpx.Client, **arguments: str) -> dict[str, Any]:
    answer = client.get("/rpc/verify_hookify_decisions", params=arguments)
    assert answer.status_code == 200, answer.text
    rows: list[dict[str, Any]] = answer.json()
    assert len(rows) == 1, "expected one row, for the profile of the token or of the argument"
    return rows[0]


def tamper(db: psycopg.Connection[Any], *statements: str, **values: Any) -> None:
    """Write as a superuser in a session that runs no triggers."""
    with db.transaction():
        db.execute("set local session_replication_role = replica")
        for statement in statements:
            db.execute(statement, values)


@pytest.fixture
def chain_of_five(client: httpx.Client) -> list[dict[str, Any]]:
    return [record(client, id=f"hook_{number}").json() for number in range(1, 6)]


def test_a_recorded_decision_is_returned_and_listed(client: httpx.Client, profile: str) -> None:
    answer = record(client, message="That deletes everything", annotations="**Never**")
    assert answer.status_code == 200, answer.text
    made = answer.json()
    assert made["id"].startswith("hook_")
    assert made["profile_id"] == profile
    assert made["position"] == 1
    assert made["previous_hash"] == "0" * 64
    assert {name: made[name] for name in DECISION} == DECISION
    assert made["message"] == "That deletes everything"
    assert made["annotations"] == "**Never**"
    assert client.get("/hookify_decisions").json() == [made]


@pytest.mark.parametrize("content", ["rm -rf /", "", "naïve 日本 🙂\r\n\t"])
def test_the_content_hash_is_the_sha256_of_the_content_in_utf8(
    client: httpx.Client, content: str
) -> None:
    made = record(client, content=content).json()
    assert made["content_hash"] == hashlib.sha256(content.encode()).hexdigest()


def test_the_content_is_not_stored(
    client: httpx.Client, db: psycopg.Connection[Any], profile: str
) -> None:
    record(client, content=f"secret of {profile}")
    tables = db.execute(
        "select format('%I.%I', schemaname, tablename) from pg_tables"
        " where schemaname in ('app', 'api', 'ops')"
    ).fetchall()
    assert len(tables) >= 9
    for (table,) in tables:
        found = db.execute(
            f"select count(*) from {table} as stored where stored::text like %s",
            [f"%secret of {profile}%"],
        ).fetchone()
        assert found == (0,), table


def test_a_hash_can_be_sent_instead_of_the_content(client: httpx.Client) -> None:
    digest = hashlib.sha256(b"something long").hexdigest()
    assert record(client, content_hash=digest).json()["content_hash"] == digest


@pytest.mark.parametrize(
    "digest", ["A" * 64, "a" * 63, "a" * 65, "g" * 64, "", "a" * 64 + "\n", " " + "a" * 63]
)
def test_an_invalid_hash_is_refused(client: httpx.Client, digest: str) -> None:
    answer = record(client, content_hash=digest)
    assert answer.status_code == 400
    assert answer.json()["code"] == "invalid_argument"
    assert json.loads(answer.json()["details"])["field"] == "content_hash"


@pytest.mark.parametrize("given", [{}, {"content": "x", "content_hash": "a" * 64}])
def test_exactly_one_of_content_and_content_hash_must_be_sent(
    client: httpx.Client, given: dict[str, str]
) -> None:
    answer = client.post("/rpc/record_hookify_decision", json={**DECISION, **given})
    assert answer.status_code == 400
    assert answer.json()["message"] == "Give either content or content_hash"


def test_only_id_and_severity_of_a_rule_are_stored(client: httpx.Client) -> None:
    rules = [
        {"severity": "low", "id": "b", "pattern": "secret", "message": {"x": 1}},
        {"id": "a", "severity": "none"},
    ]
    stored = [{"id": "b", "severity": "low"}, {"id": "a", "severity": "none"}]
    assert record(client, rules=rules).json()["rules"] == stored


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("source", "chat"),
        ("source", ""),
        ("source", "Timeline"),
        ("source", None),
        ("severity", "fatal"),
        ("severity", None),
        ("blocked", None),
        ("session_id", ""),
        ("session_id", None),
        ("rules", None),
        ("rules", {}),
        ("rules", ["a"]),
        ("rules", [{"id": "a"}]),
        ("rules", [[{"id": "a", "severity": "low"}]]),
        ("rules", [[]]),
        ("rules", [None]),
        ("rules", [{"id": 1, "severity": "low"}]),
        ("rules", [{"id": "a", "severity": "fatal"}]),
        ("id", ""),
    ],
)
def test_an_invalid_value_is_refused_with_its_field(
    client: httpx.Client, field: str, value: object
) -> None:
    answer = record(client, **{field: value})
    assert answer.status_code == 400, answer.text
    assert set(answer.json()) == {"code", "message", "details", "hint"}
    assert answer.json()["code"] == "invalid_argument"
    assert json.loads(answer.json()["details"])["field"] == field
    assert client.get("/hookify_decisions").json() == []


def test_a_text_with_a_null_character_is_refused(client: httpx.Client) -> None:
    answer = record(client, content="a\0b")
    assert (answer.status_code, answer.json()["code"]) == (400, "22P05")


def test_a_message_over_64_kib_is_refused(client: httpx.Client) -> None:
    answer = record(client, message="x" * 65537)
    assert answer.status_code == 413
    assert answer.json()["code"] == "payload_too_large"
    assert record(client, message="x" * 65536).status_code == 200


def test_a_repeated_decision_returns_the_stored_one(client: httpx.Client) -> None:
    first = record(client, id="hook_1").json()
    assert record(client, id="hook_1").json() == first
    assert client.get("/hookify_decisions").json() == [first]
    assert verify(client)["valid"]


def test_a_stored_id_with_other_content_is_refused(client: httpx.Client) -> None:
    first = record(client, id="hook_1").json()
    answer = record(client, id="hook_1", content="other", severity="low")
    assert answer.status_code == 409
    assert answer.json()["code"] == "id_taken"
    assert json.loads(answer.json()["details"])["differs"] == ["content_hash", "severity"]
    assert client.get("/hookify_decisions").json() == [first]
    assert verify(client)["valid"]


def test_concurrent_calls_with_one_decision_store_it_once(client: httpx.Client) -> None:
    answers = at_once([lambda: record(client, id="hook_1")] * 16)
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1
    assert verify(client)["checked"] == 1


def test_concurrent_decisions_form_one_valid_chain(client: httpx.Client) -> None:
    def record_five(thread: int) -> list[int]:
        return [
            record(client, session_id=f"s{thread}", content=f"{thread}-{number}").json()["position"]
            for number in range(5)
        ]

    positions = at_once([partial(record_five, thread) for thread in range(16)])
    assert sorted(place for of_thread in positions for place in of_thread) == list(range(1, 81))
    for of_thread in positions:
        assert of_thread == sorted(of_thread)
    found = verify(client)
    assert (found["valid"], found["checked"], found["problem"]) == (True, 80, None)


def test_decisions_recorded_during_a_verification_keep_the_chain_valid(
    client: httpx.Client,
) -> None:
    record(client)

    def verify_often() -> list[dict[str, Any]]:
        return [verify(client) for _ in range(20)]

    def record_often() -> list[dict[str, Any]]:
        return [record(client).json() for _ in range(20)]

    found = at_once([record_often, verify_often, record_often, verify_often])
    assert {answer["problem"] for answer in found[1] + found[3]} == {None}
    assert verify(client)["checked"] == 41


def test_decisions_are_numbered_in_the_order_of_recording(client: httpx.Client) -> None:
    made = [record(client, content=str(number)).json() for number in range(20)]
    assert [row["position"] for row in made] == list(range(1, 21))
    times = [row["created_at"] for row in made]
    assert times == sorted(times)
    listed = client.get("/hookify_decisions?session_id=eq.s1&order=position").json()
    assert listed == made
    for before, after in itertools.pairwise(made):
        assert after["previous_hash"] == before["row_hash"]


def test_the_row_hash_can_be_computed_from_the_columns(client: httpx.Client, profile: str) -> None:
    made = record(client, id="hook_1", content="x", message="m").json()
    date, clock = made["created_at"].removesuffix("+00:00").split("T")
    seconds, _, fraction = clock.partition(".")
    columns = [
        "0" * 64,
        profile,
        1,
        "hook_1",
        "s1",
        "timeline",
        hashlib.sha256(b"x").hexdigest(),
        "high",
        True,
        [{"id": "no-rm-rf", "severity": "high"}],
        "m",
        None,
        f"{date}T{seconds}.{fraction.ljust(6, '0')}Z",
    ]
    text = json.dumps(columns, ensure_ascii=False)
    assert made["row_hash"] == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize("verb", ["POST", "PATCH", "DELETE"])
def test_the_view_cannot_be_written(
    client: httpx.Client, chain_of_five: list[dict[str, Any]], verb: str
) -> None:
    answer = client.request(
        verb, "/hookify_decisions?id=eq.hook_1", json={"id": "forged", "blocked": False}
    )
    assert answer.status_code == 403
    assert client.get("/hookify_decisions?order=position").json() == chain_of_five


@pytest.mark.parametrize(
    "statement",
    [
        "update app.hookify_decisions set blocked = false where profile_id = %(me)s",
        "update app.hookify_decisions set blocked = blocked where false",
        "delete from app.hookify_decisions where profile_id = %(me)s",
        "truncate app.hookify_decisions",
        "truncate app.hookify_decisions cascade",
    ],
)
@pytest.mark.parametrize("role", ["superuser", "sessionbase_owner"])
def test_superuser_and_owner_cannot_change_a_decision(
    client: httpx.Client, db: psycopg.Connection[Any], profile: str, role: str, statement: str
) -> None:
    made = record(client).json()
    with pytest.raises(psycopg.errors.RestrictViolation, match="append-only"), db.transaction():
        if role != "superuser":
            db.execute(f"set local role {role}")
        db.execute(statement, {"me": profile})
    assert client.get("/hookify_decisions").json() == [made]


def test_the_chain_of_a_profile_without_decisions_is_not_found(
    client: httpx.Client, client_for: ClientFor, profile: str
) -> None:
    auditor = client_for("the auditor", role="auditor")
    for caller, arguments in ((client, {}), (auditor, {"profile_id": profile})):
        answer = caller.get("/rpc/verify_hookify_decisions", params=arguments)
        details = refused(
            answer, 404, "not_found", f"No decisions are recorded for profile {profile}"
        )
        assert details == {"profile_id": profile}


def test_an_unchanged_chain_is_valid(
    client: httpx.Client, profile: str, chain_of_five: list[dict[str, Any]]
) -> None:
    assert verify(client) == {
        "profile_id": profile,
        "valid": True,
        "checked": 5,
        "length": 5,
        "head_hash": chain_of_five[-1]["row_hash"],
        "next_position": None,
        "first_bad_position": None,
        "first_bad_id": None,
        "problem": None,
        "erased_at": None,
        "erased_decisions": None,
        "imported_at": None,
    }


@pytest.mark.parametrize(
    "change",
    [
        "blocked = false",
        "severity = 'low'",
        "session_id = 's2'",
        "source = 'manual'",
        "content_hash = repeat('a', 64)",
        "rules = '[]'",
        "message = ''",
        "annotations = 'x'",
        "created_at = created_at + interval '1 microsecond'",
        "row_hash = repeat('a', 64)",
        "previous_hash = repeat('a', 64)",
        "id = 'hook_x'",
    ],
)
@pytest.mark.usefixtures("chain_of_five")
def test_a_row_changed_without_triggers_is_reported(
    client: httpx.Client, db: psycopg.Connection[Any], profile: str, change: str
) -> None:
    tamper(
        db,
        f"update app.hookify_decisions set {change} where profile_id = %(me)s and position = 3",
        me=profile,
    )
    found = verify(client)
    assert not found["valid"]
    assert found["first_bad_position"] == 3
    assert found["first_bad_id"] == ("hook_x" if change.startswith("id") else "hook_3")
    assert found["problem"] == "the row was changed after it was recorded"


@pytest.mark.usefixtures("chain_of_five")
def test_a_changed_row_with_a_new_hash_is_reported_at_the_next_row(
    client: httpx.Client, db: psycopg.Connection[Any], profile: str
) -> None:
    tamper(
        db,
        "update app.hookify_decisions set blocked = false"
        " where profile_id = %(me)s and position = 3",
        "update app.hookify_decisions as d set row_hash = app.hookify_decision_hash(d)"
        " where profile_id = %(me)s and position = 3",
        me=profile,
    )
    found = verify(client)
    assert (found["valid"], found["first_bad_position"]) == (False, 4)
    assert found["problem"] == "the row does not follow from the one before it"


@pytest.mark.usefixtures("chain_of_five")
def test_a_changed_newest_row_with_a_new_hash_is_reported(
    client: httpx.Client, db: psycopg.Connection[Any], profile: str
) -> None:
    tamper(
        db,
        "update app.hookify_decisions set blocked = false"
        " where profile_id = %(me)s and position = 5",
        "update app.hookify_decisions as d set row_hash = app.hookify_decision_hash(d)"
        " where profile_id = %(me)s and position = 5",
        me=profile,
    )
    found = verify(client)
    assert (found["valid"], found["first_bad_position"]) == (False, 5)
    assert found["problem"] == "the newest row is not the one that was recorded last"


@pytest.mark.usefixtures("chain_of_five")
def test_a_row_deleted_from_the_middle_is_reported(
    client: httpx.Client, db: psycopg.Connection[Any], profile: str
) -> None:
    tamper(
        db,
        "delete from app.hookify_decisions where profile_id = %(me)s and position = 3",
        me=profile,
    )
    found = verify(client)
    assert (found["valid"], found["first_bad_position"]) == (False, 4)
    assert found["problem"] == "decision 3 of the chain is missing"


@pytest.mark.usefixtures("chain_of_five")
def test_a_deleted_row_with_renumbered_later_rows_is_reported(
    client: httpx.Client, db: psycopg.Connection[Any], profile: str
) -> None:
    tamper(
        db,
        "delete from app.hookify_decisions where profile_id = %(me)s and position = 3",
        "update app.hookify_decisions set position = 3 where profile_id = %(me)s and position = 4",
        "update app.hookify_decisions set position = 4 where profile_id = %(me)s and position = 5",
        me=profile,
    )
    found = verify(client)
    assert (found["valid"], found["first_bad_position"]) == (False, 3)


@pytest.mark.usefixtures("chain_of_five")
def test_two_swapped_rows_are_reported(
    client: httpx.Client, db: psycopg.Connection[Any], profile: str
) -> None:
    move = "update app.hookify_decisions set position = {} where profile_id = %(me)s and id = {}"
    tamper(
        db,
        move.format(99, "'hook_2'"),
        move.format(2, "'hook_4'"),
        move.format(4, "'hook_2'"),
        me=profile,
    )
    found = verify(client)
    assert (found["valid"], found["first_bad_position"]) == (False, 2)
    assert found["first_bad_id"] == "hook_4"


@pytest.mark.usefixtures("chain_of_five")
@pytest.mark.parametrize("left", [4, 1, 0])
def test_deleted_newest_rows_are_reported(
    client: httpx.Client, db: psycopg.Connection[Any], profile: str, left: int
) -> None:
    tamper(
        db,
        "delete from app.hookify_decisions where profile_id = %(me)s and position > %(left)s",
        me=profile,
        left=left,
    )
    found = verify(client)
    assert (found["valid"], found["first_bad_position"]) == (False, left + 1)
    assert found["problem"] == f"the chain ends after {left} decisions, but 5 were recorded"


@pytest.mark.usefixtures("chain_of_five")
def test_a_row_inserted_without_triggers_is_reported(
    client: httpx.Client, db: psycopg.Connection[Any], profile: str
) -> None:
    tamper(
        db,
        "insert into app.hookify_decisions select (jsonb_populate_record(d,"
        ' \'{"id": "hook_forged", "position": 6}\')).* from app.hookify_decisions as d'
        " where profile_id = %(me)s and position = 5",
        me=profile,
    )
    assert verify(client)["first_bad_id"] == "hook_forged"


@pytest.mark.usefixtures("chain_of_five")
@pytest.mark.parametrize("position", [0, -7])
def test_a_row_added_before_the_first_position_is_reported(
    client: httpx.Client, db: psycopg.Connection[Any], profile: str, position: int
) -> None:
    tamper(
        db,
        "insert into app.hookify_decisions select (jsonb_populate_record(d,"
        " jsonb_build_object('id', 'hook_forged', 'position', %(position)s))).*"
        " from app.hookify_decisions as d where profile_id = %(me)s and position = 1",
        me=profile,
        position=position,
    )
    found = verify(client)
    assert (found["valid"], found["first_bad_position"]) == (False, position)
    assert found["first_bad_id"] == "hook_forged"


@pytest.mark.usefixtures("chain_of_five")
def test_a_deleted_head_of_a_chain_is_reported(
    client: httpx.Client, db: psycopg.Connection[Any], profile: str
) -> None:
    tamper(db, "delete from app.hookify_chains where profile_id = %(me)s", me=profile)
    found = verify(client)
    assert (found["valid"], found["problem"]) == (False, "the head of the chain is missing")


@pytest.mark.usefixtures("chain_of_five")
@pytest.mark.parametrize(
    "statement",
    [
        "delete from app.hookify_chains where profile_id = %s",
        "update app.hookify_chains set length = length - 1 where profile_id = %s",
        "update app.hookify_chains set head_hash = repeat('0', 64) where profile_id = %s",
    ],
)
def test_the_head_of_a_chain_can_only_move_forward(
    client: httpx.Client, db: psycopg.Connection[Any], profile: str, statement: str
) -> None:
    with pytest.raises(psycopg.errors.RestrictViolation, match="append-only"):
        db.execute(statement.encode(), [profile])
    assert verify(client)["valid"]


@pytest.mark.usefixtures("chain_of_five")
def test_a_chain_can_be_verified_in_ranges(
    client: httpx.Client, db: psycopg.Connection[Any], profile: str
) -> None:
    first = verify(client, max_decisions="2")
    assert (first["valid"], first["checked"], first["next_position"]) == (None, 2, 3)
    second = verify(client, max_decisions="2", from_position="3")
    assert (second["valid"], second["checked"], second["next_position"]) == (None, 2, 5)
    last = verify(client, max_decisions="2", from_position="5")
    assert (last["valid"], last["checked"], last["next_position"]) == (True, 1, None)

    tamper(
        db,
        "update app.hookify_decisions set blocked = false"
        " where profile_id = %(me)s and position = 4",
        me=profile,
    )
    assert verify(client, max_decisions="2")["valid"] is None
    found = verify(client, max_decisions="2", from_position="3")
    assert (found["valid"], found["first_bad_position"]) == (False, 4)
    # The hash before the range is verified too.
    tamper(
        db,
        "delete from app.hookify_decisions where profile_id = %(me)s and position = 4",
        me=profile,
    )
    found = verify(client, from_position="5")
    assert (found["valid"], found["problem"]) == (False, "decision 4 of the chain is missing")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("from_position", "0"),
        # After the last decision nothing is verified, so that the answer must not be "valid".
        ("from_position", "6"),
        ("from_position", "9223372036854775807"),
        ("max_decisions", "0"),
        ("max_decisions", "1000001"),
    ],
)
@pytest.mark.usefixtures("chain_of_five")
def test_an_invalid_range_is_refused(client: httpx.Client, field: str, value: str) -> None:
    answer = client.get("/rpc/verify_hookify_decisions", params={field: value})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_argument"), answer.text
    assert json.loads(answer.json()["details"]) == {"field": field}


def test_verifying_one_profile_does_not_read_the_rows_of_others(
    client_for: ClientFor, db: psycopg.Connection[Any], profile: str
) -> None:
    others = 40
    db.execute(
        "insert into app.hookify_decisions"
        " (profile_id, session_id, source, content_hash, severity, blocked, rules)"
        " select %s || n, 's', 'manual', repeat('a', 64), 'low', false, '[]'"
        " from generate_series(1, %s) as n",
        [f"{profile}-", others],
    )
    record(client_for(profile))
    # The rows that this transaction reads from the two tables, by scans of them and of indexes.
    rows_read = (
        "select sum(pg_stat_get_xact_tuples_returned(oid)) from pg_class"
        " where oid in ('app.hookify_chains'::regclass, 'app.hookify_decisions'::regclass)"
        " or oid in (select indexrelid from pg_index where indrelid in"
        " ('app.hookify_chains'::regclass, 'app.hookify_decisions'::regclass))"
    )
    with db.transaction():
        # A connection of PostgREST's pool comes to the generic plan after five calls.
        db.execute("set local plan_cache_mode = force_generic_plan")
        db.execute("set local enable_seqscan = off")
        db.execute("set local enable_bitmapscan = off")
        before = db.execute(rows_read).fetchone()
        db.execute("select api.verify_hookify_decisions(%s)", [profile])
        after = db.execute(rows_read).fetchone()
    assert before
    assert after
    assert after[0] - before[0] < others, "a query in verify_hookify_decisions uses no index"


def test_an_auditor_without_an_argument_verifies_every_profile(
    client_for: ClientFor, db: psycopg.Connection[Any], profile: str
) -> None:
    names = [f"{profile}-{letter}" for letter in "abc"]
    for name in names:
        record(client_for(name))
    tamper(db, "delete from app.hookify_chains where profile_id = %(name)s", name=names[1])
    tamper(db, "delete from app.hookify_decisions where profile_id = %(name)s", name=names[2])
    auditor = client_for(profile, role="auditor")
    answer = auditor.post("/rpc/verify_hookify_decisions", json={"max_decisions": 1_000_000})
    found = {row["profile_id"]: row for row in answer.json() if row["profile_id"] in names}
    assert [found[name]["valid"] for name in names] == [True, False, False]
    assert found[names[1]]["problem"] == "the head of the chain is missing"

    few = auditor.post("/rpc/verify_hookify_decisions", json={"max_decisions": 1}).json()
    assert {row["profile_id"] for row in few} >= set(names)
    assert sum(row["checked"] for row in few) == 1
    unknown = [
        row
        for row in few
        if row["checked"] == 0 and row["valid"] is None and row["erased_at"] is None
    ]
    assert all(row["next_position"] == 1 for row in unknown)


def test_an_erased_chain_is_neither_valid_nor_unknown(
    client: httpx.Client, chain_of_five: list[dict[str, Any]], profile: str, stack: Stack
) -> None:
    erased = run_main("profile", "erase", profile, "--yes", "--db-uri", stack.db_uri)
    assert erased.returncode == 0, erased.stderr
    report = verify(client)
    assert (report["valid"], report["length"], report["problem"]) == (None, 0, None)
    assert (report["erased_decisions"], report["next_position"]) == (5, None)
    after = client.post("/rpc/verify_hookify_decisions", json={"from_position": 2})
    assert after.status_code == 400

    record(client)
    report = verify(client)
    assert (report["valid"], report["length"], report["erased_decisions"]) == (True, 1, 5)


def test_two_profiles_can_use_the_same_id(
    client: httpx.Client, client_for: ClientFor, profile: str
) -> None:
    mine = record(client, id="hook_1").json()
    other = client_for(f"{profile}-other")
    assert other.get("/hookify_decisions?id=eq.hook_1").json() == []
    theirs = record(other, id="hook_1", content="theirs")
    assert theirs.status_code == 200
    assert theirs.json()["position"] == 1
    assert client.get("/hookify_decisions").json() == [mine]
    assert verify(other)["checked"] == 1


def test_a_profile_can_verify_its_own_chain_only(
    client: httpx.Client, client_for: ClientFor, profile: str
) -> None:
    record(client)
    assert verify(client, profile_id=profile)["checked"] == 1
    other = client_for(f"{profile}-other")
    for name in (profile, "unknown"):
        answer = other.get("/rpc/verify_hookify_decisions", params={"profile_id": name})
        assert answer.status_code == 400
        assert answer.json()["message"] == "A profile can verify its own decisions only"


def test_an_auditor_can_read_and_verify_every_profile_but_not_write(
    client: httpx.Client, client_for: ClientFor, profile: str
) -> None:
    made = record(client).json()
    auditor = client_for(f"{profile}-auditor", role="auditor")
    assert auditor.get("/hookify_decisions", params={"profile_id": f"eq.{profile}"}).json() == [
        made
    ]
    assert verify(auditor, profile_id=profile)["checked"] == 1
    assert record(auditor).status_code == 403
    assert client.get("/hookify_decisions").json() == [made]


def test_a_guest_is_refused(guest: httpx.Client) -> None:
    assert record(guest).status_code == 401
    assert guest.get("/hookify_decisions").status_code == 401
    assert guest.get("/rpc/verify_hookify_decisions").status_code == 401


def test_the_txid_of_a_decision_can_be_selected(client: httpx.Client) -> None:
    answer = client.post(
        "/rpc/record_hookify_decision?select=id,txid", json={**DECISION, "content": "x"}
    )
    assert int(answer.json()["txid"]) > 0


def test_a_chain_with_a_changed_head_refuses_new_decisions(
    client: httpx.Client,
    db: psycopg.Connection[Any],
    profile: str,
    chain_of_five: list[dict[str, Any]],
) -> None:
    tamper(
        db,
        "update app.hookify_chains set length = 0, head_hash = repeat('0', 64)"
        " where profile_id = %(profile)s",
        profile=profile,
    )
    refused(
        record(client),
        500,
        "chain_broken",
        "The profile's chain of decisions was changed outside the API; nothing was recorded",
    )
    assert record(client, id=chain_of_five[0]["id"]).json() == chain_of_five[0]  # a repeated call
    assert verify(client)["valid"] is False
