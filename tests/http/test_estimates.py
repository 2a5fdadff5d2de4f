"""PostgREST can count with the planner's estimates, which know nothing of row-level security."""

from typing import Any

import httpx
import psycopg
import pytest

from conftest import ClientFor


@pytest.mark.parametrize("count", ["planned", "estimated"])
def test_a_count_that_would_tell_of_other_profiles_rows_is_refused(
    client: httpx.Client, count: str
) -> None:
    answer = client.get("/tool_events", headers={"Prefer": f"return=minimal, count={count}"})
    assert answer.status_code == 400
    assert answer.json()["code"] == "invalid_argument"
    assert answer.json()["hint"] == "Use Prefer: count=exact"


def test_an_exact_count_counts_the_profile_s_own_rows(client: httpx.Client) -> None:
    for number in range(3):
        client.post("/todos", json={"text": f"todo {number}"}).raise_for_status()
    answer = client.get("/todos", headers={"Prefer": "count=exact"})
    assert answer.headers["Content-Range"] == "0-2/3"


def test_an_estimate_that_slips_through_tells_nothing_of_other_profiles_values(
    client: httpx.Client, client_for: ClientFor, db: psycopg.Connection[Any], profile: str
) -> None:
    other = client_for(f"{profile}-other")
    for number in range(40):
        body = {"session_id": f"{profile}-theirs", "asset_path": "/a", "root_dir": "/r"}
        other.post("/rpc/set_session_repo_binding", json=body).raise_for_status()
        event = {"session_id": f"{profile}-theirs", "tool_name": "t", "arguments": number}
        other.post("/rpc/record_tool_event", json=event).raise_for_status()
    db.execute("analyze app.tool_events")

    def estimate(session: str) -> str:
        # PostgREST reads all Prefer headers, and shows the database the last one alone.
        answer = client.get(
            "/tool_events",
            params={"session_id": f"eq.{session}"},
            headers=[("Prefer", "count=planned"), ("Prefer", "return=minimal")],
        )
        assert answer.json() == []
        return answer.headers["Content-Range"]

    assert estimate(f"{profile}-theirs") == estimate(f"{profile}-nobodys")


def test_no_statistics_are_kept_of_any_column_but_the_profile(
    db: psycopg.Connection[Any],
) -> None:
    kept = db.execute(
        """
        select attrelid::regclass::text, attname
        from pg_attribute
        join pg_class on pg_class.oid = attrelid
        where relnamespace = 'app'::regnamespace and relkind = 'r' and attnum > 0
          and not attisdropped and attstattarget is distinct from 0 and attname <> 'profile_id'
        """
    ).fetchall()
    assert kept == []
