"""Estimates of the planner, which come from the rows of all profiles, are not returned."""

from typing import Any

import httpx
import psycopg
import pytest

from conftest import ClientFor
from generate.authorization import AUTHORITY


def readable(role: str) -> list[str]:
    """Return the views that a role can read."""
    return [name for name, view in AUTHORITY.views.items() if "GET" in view.verbs.get(role, [])]


# PostgREST reads all Prefer headers. The setting request.headers has only the last one.
PREFER = [
    ["return=minimal, count={}"],
    ["count={}", "return=minimal"],
    ["return=minimal", "count={}"],
    ["count={}", "count=exact"],
    ["count={}", ""],
]


@pytest.mark.parametrize("count", ["planned", "estimated"])
@pytest.mark.parametrize("view", readable("authenticated"))
@pytest.mark.parametrize("prefer", PREFER, ids=" | ".join)
def test_a_planned_or_estimated_count_is_refused(
    client: httpx.Client, view: str, prefer: list[str], count: str
) -> None:
    headers = [("Prefer", value.format(count)) for value in prefer]
    for query in ("", "?limit=0", "?offset=99999999"):
        answer = client.get(f"/{view}{query}", headers=headers)
        assert answer.status_code == 400, (
            f"{view}{query}: {answer.text}\ncreate the policy no_estimates on app.{view} in its "
            "migration"
        )
        assert answer.json()["code"] == "invalid_argument"
        assert answer.json()["hint"] == "Use Prefer: count=exact"


def test_a_planned_count_is_refused_for_an_auditor(client_for: ClientFor, profile: str) -> None:
    auditor = client_for(profile, role="auditor")
    assert len(readable("auditor")) >= 3
    for view in readable("auditor"):
        answer = auditor.get(
            f"/{view}", headers=[("Prefer", "count=planned"), ("Prefer", "return=minimal")]
        )
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_argument"), view


def test_an_exact_count_includes_only_rows_of_the_profile(client: httpx.Client) -> None:
    for number in range(3):
        client.post("/todos", json={"text": f"todo {number}"}).raise_for_status()
    answer = client.get("/todos", headers={"Prefer": "count=exact"})
    assert answer.headers["Content-Range"] == "0-2/3"


def test_every_column_has_planner_statistics(db: psycopg.Connection[Any]) -> None:
    without = db.execute(
        """
        select attrelid::regclass::text, attname
        from pg_attribute
        join pg_class on pg_class.oid = attrelid
        where relnamespace = 'app'::regnamespace and relkind = 'r' and attnum > 0
          and not attisdropped and attstattarget = 0
        """
    ).fetchall()
    assert without == [], "remove `set statistics 0` from these columns by a migration"


def test_a_client_role_cannot_read_statistics_of_other_profiles(
    client: httpx.Client, db: psycopg.Connection[Any], profile: str
) -> None:
    client.post("/todos", json={"text": f"secret of {profile}"}).raise_for_status()
    db.execute("analyze app.todos")
    for role in ("anon", "authenticated", "auditor"):
        with db.transaction():
            db.execute(f"set local role {role}".encode())
            seen = db.execute(
                "select count(*) from pg_stats where schemaname in ('app', 'ops')"
            ).fetchone()
        assert seen == (0,), f"{role} can read pg_stats: enable row-level security on all tables"
