"""Deployments under load: functions and views are replaced while clients call PostgREST."""

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
    """A stack that no other test uses: its schema changes while clients use it."""

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
                outcome = "ok" if answer.is_success else f"{answer.status_code} {answer.text}"
                answers[outcome] += 1


def add_trigger(folder: Path) -> None:
    """Add a migration with a trigger whose function only app/ defines."""
    number = len(list((folder / "migrations").glob("*.sql"))) + 1
    (folder / "migrations" / f"{number:04}_mark.sql").write_text(
        "create trigger mark before insert on app.tool_events\n"
        "for each row execute function app.mark_tool_event();\n"
    )


def deploy(folder: Path, number: int) -> None:
    """Change the trigger's function, and touch every other repeatable file."""
    (folder / "app").mkdir(exist_ok=True)
    (folder / "app" / "99_mark.sql").write_text(
        "create or replace function app.mark_tool_event() returns trigger\n"
        "language plpgsql set search_path = '' as $$\n"
        f"begin new.thread_id := 'deployment {number}'; return new; end $$;\n"
    )
    for name in ("app", "api"):
        for path in (folder / name).glob("*.sql"):
            with path.open("a") as file:
                file.write(f"-- deployment {number}\n")


def thread_of_new_event(stack: OwnStack) -> str:
    """Record an event and return its thread, which the trigger sets."""
    bearer = sign(make_claims("last"), stack.jwt_secret)
    answer = httpx.post(
        f"{stack.rest_url}/rpc/record_tool_event",
        json={"id": "tool_last", "session_id": "s", "tool_name": "t", "arguments": {}},
        headers={"Authorization": f"Bearer {bearer}"},
        trust_env=False,
    )
    return str(answer.json()["thread_id"])


def test_no_request_fails_while_functions_and_views_are_replaced_under_load(
    own_stack: OwnStack, tmp_path: Path
) -> None:
    folder = tmp_path / "sql"
    shutil.copytree(resource_path("sql"), folder)
    add_trigger(folder)
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
            deploy(folder, number)
            report = migrate(own_stack.db_uri, folder, lock_timeout_ms=60_000).repeatable
            assert report is not None
            assert report.created == (["app.mark_tool_event()"] if number == 0 else [])
            assert (report.recreated, report.dropped) == ([], [])
    finally:
        done.set()
        for client in clients:
            client.join()
    total = sum(answers, Counter())
    assert set(total) == {"ok"}, total
    assert all(answer["ok"] > 0 for answer in answers)
    assert thread_of_new_event(own_stack) == f"deployment {DEPLOYMENTS - 1}"
