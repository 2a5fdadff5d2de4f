"""PostgREST can count with the planner's estimates, which know nothing of row-level security."""

import httpx
import pytest


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
