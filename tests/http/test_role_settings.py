"""PostgREST applies the settings of the role `authenticated`, which roles.sql creates."""

import time
from pathlib import Path

import httpx
import psycopg

from conftest import Stack, bring_up
from sessionbase.stack.token import make_claims, sign

WANTED = {
    "enable_seqscan": "off",
    "max_parallel_workers_per_gather": "0",
    "statement_timeout": "15s",
}


def test_queries_of_a_client_run_with_the_settings_of_its_role(
    data_dir: Path, profile: str
) -> None:
    bring_up(data_dir)
    stack = Stack.of(data_dir)
    with psycopg.connect(stack.db_uri) as connection:
        connection.execute(
            "create function api.settings() returns json stable language sql as"
            " $$ select json_object_agg(name, current_setting(name)) from unnest(array["
            + ", ".join(f"'{name}'" for name in WANTED)
            + "]) as name $$; grant execute on function api.settings() to authenticated;"
            " notify pgrst, 'reload schema'"
        )
    token = sign(make_claims(profile, "authenticated"), stack.jwt_secret)
    headers = {"Authorization": f"Bearer {token}"}
    deadline = time.monotonic() + 30
    while True:
        answer = httpx.get(f"{stack.rest_url}/rpc/settings", headers=headers, trust_env=False)
        if answer.is_success or time.monotonic() > deadline:
            break
        time.sleep(0.1)
    assert answer.json() == WANTED, (
        "correct the settings of authenticated in sql/roles.sql, or WANTED here"
    )
