"""Deployments under load: schema api is replaced while clients call it through PostgREST."""

import shutil
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from sessionbase.migrate.runner import migrate
from sessionbase.paths import resource_path
from sessionbase.stack import manage
from sessionbase.stack.token import make_claims, sign
from sessionbase.state import dba_uri, require

CLIENTS = 8
DEPLOYMENTS = 5


@dataclass(frozen=True)
class OwnStack:
    """A stack that no other test uses: its schema may change under a client's feet."""

    rest_url: str
    db_uri: str
    jwt_secret: str


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@pytest.fixture
def own_stack(tmp_path: Path) -> Iterator[OwnStack]:
    data_dir = tmp_path / "stack"
    try:
        stack_config = manage.up(data_dir, manage.UpOptions(free_port(), free_port())).stack_config
        _, secrets = require(data_dir)
        yield OwnStack(stack_config.rest_url, dba_uri(stack_config, secrets), secrets.jwt_secret)
    finally:
        manage.delete_data(data_dir)


def use(stack: OwnStack, number: int, done: threading.Event, answers: Counter[str]) -> None:
    """Record, finish and read events until `done`; count the answers by status."""
    bearer = sign(make_claims(f"profile-{number}"), stack.jwt_secret)
    with httpx.Client(
        base_url=stack.rest_url,
        headers={"Authorization": f"Bearer {bearer}"},
        timeout=30,
        trust_env=False,
    ) as client:
        step = 0
        while not done.is_set():
            step += 1
            event = {"id": f"tool_{step}", "session_id": "s", "tool_name": "t", "arguments": {}}
            finish = {"id": f"tool_{step}", "to_status": "succeeded", "result": {"n": step}}
            for answer in (
                client.post("/rpc/record_tool_event", json=event),
                client.post("/rpc/transition_tool_event?select=*,txid", json=finish),
                client.get("/tool_events?session_id=eq.s&limit=5&order=started_at,id"),
                client.get("/rpc/session_context?session_id=s"),
            ):
                told = "ok" if answer.is_success else f"{answer.status_code} {answer.text}"
                answers[told] += 1


def test_no_request_fails_while_schema_api_is_replaced_under_load(
    own_stack: OwnStack, tmp_path: Path
) -> None:
    folder = tmp_path / "sql"
    shutil.copytree(resource_path("sql"), folder)
    done = threading.Event()
    answers = [Counter[str]() for _ in range(CLIENTS)]
    clients = [
        threading.Thread(target=use, args=(own_stack, number, done, answers[number]))
        for number in range(CLIENTS)
    ]
    for client in clients:
        client.start()
    try:
        for number in range(DEPLOYMENTS):
            with (folder / "api" / "10_tool_events.sql").open("a") as file:
                file.write(f"-- deployment {number}\n")
            report = migrate(own_stack.db_uri, folder, lock_timeout_ms=60_000)
            assert report.api is not None
            assert (report.api.created, report.api.recreated, report.api.dropped) == ([], [], [])
    finally:
        done.set()
        for client in clients:
            client.join()
    total = sum(answers, Counter())
    assert set(total) == {"ok"}, total
    assert all(answer["ok"] > 0 for answer in answers)
