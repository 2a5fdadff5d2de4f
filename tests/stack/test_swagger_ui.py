"""Swagger UI of `up --docs`, in a browser."""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from conftest import free_port
from generate.graphviz import find_node
from sessionbase import state
from sessionbase.errors import SessionbaseError
from sessionbase.paths import PROJECT_DIR
from sessionbase.stack import docs, manage
from sessionbase.stack.token import make_claims, sign

CHROMIUM = next(
    filter(None, map(shutil.which, ["chromium", "chromium-browser", "google-chrome"])), None
)


@pytest.fixture(scope="module")
def data_dir() -> Iterator[Path]:
    """Yield the data directory of a stack that was brought up with --docs."""
    folder = Path(tempfile.mkdtemp(prefix="sessionbase-test-"))
    manage.up(folder / "data", options(free_port()))
    yield folder / "data"
    manage.delete_data(folder / "data")
    shutil.rmtree(folder)


def options(docs_port: int) -> manage.UpOptions:
    """Return options with free ports, and this one for Swagger UI."""
    return manage.UpOptions(free_port(), free_port(), docs_port=docs_port)


def token(data_dir: Path, profile: str) -> str:
    return sign(make_claims(profile), state.require(data_dir)[1].jwt_secret)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: Swagger UI was not tested")
def test_swagger_ui_authorizes_lists_the_endpoints_and_executes_calls(
    data_dir: Path, tmp_path: Path, profile: str
) -> None:
    seen = use_swagger_ui(data_dir, token(data_dir, profile), tmp_path / "page.png")
    assert seen["browserErrors"] == []
    assert seen["asGuest"] == 1, "for a guest, only GET / must be listed"
    assert {"get_todos", "patch_todos", "post_rpc_toggle_todo"} <= set(seen["operations"])
    not_granted = {"post_misalignments", "delete_todos", "get_rpc_toggle_todo"}
    assert not_granted & set(seen["operations"]) == set()
    assert seen["added"]["status"] == "201"
    assert seen["listed"]["status"] == "200"
    assert '"text": "typed in Swagger UI"' in seen["listed"]["answer"]
    assert "The maximum number of rows to return." in seen["listed"]["description"]
    assert seen["called"]["status"] == "200"
    assert '"unfinished_tool_events": []' in seen["called"]["answer"]

    rows = httpx.get(
        f"{manage.status(data_dir)['rest_url']}/todos?select=text",
        headers={"Authorization": f"Bearer {token(data_dir, profile)}"},
        trust_env=False,
    ).json()
    assert rows == [{"text": "typed in Swagger UI"}]


def use_swagger_ui(data_dir: Path, bearer: str, screenshot: Path) -> dict[str, Any]:
    """Run tests/support/swagger_ui.cjs, and return its results."""
    script = PROJECT_DIR / "tests/support/swagger_ui.cjs"
    url = manage.status(data_dir)["docs_url"]
    done = subprocess.run(
        [find_node(), str(script), str(CHROMIUM), url, bearer, str(screenshot)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen


def test_the_server_of_swagger_ui_serves_only_its_own_files(data_dir: Path) -> None:
    url = manage.status(data_dir)["docs_url"]
    with httpx.Client(base_url=url, trust_env=False) as client:
        assert "swagger-ui-bundle.js" in client.get("/").text
        assert client.get("/swagger-ui-bundle.js").headers["content-type"].startswith("text/java")
        config = client.get("/config.json").json()
        assert config["restUrl"] == manage.status(data_dir)["rest_url"]
        for path in ("/server.py", "/../secrets.json", "/docs.json", "/%2e%2e/stack.json"):
            assert client.get(path).status_code == 404


def test_the_server_of_swagger_ui_does_not_run_as_root(data_dir: Path) -> None:
    stack_config, _ = state.require(data_dir)
    process, pids = docs.find(stack_config), manage.status(data_dir)["pids"]
    assert process
    assert process.pid == pids["docs"]
    assert process.uids().effective != 0


def test_a_second_up_keeps_swagger_ui_running_and_another_port_restarts_it(data_dir: Path) -> None:
    before = manage.status(data_dir)
    port = int(before["docs_url"].rsplit(":", 1)[1])
    assert manage.up(data_dir, manage.UpOptions(docs_port=port)).started == []
    assert manage.status(data_dir)["pids"] == before["pids"]

    other = free_port()
    assert manage.up(data_dir, manage.UpOptions(docs_port=other)).started == ["Swagger UI"]
    assert manage.status(data_dir)["docs_url"] == f"http://127.0.0.1:{other}"
    assert manage.up(data_dir).started == [], "up without --docs must keep Swagger UI running"
    assert manage.status(data_dir)["docs_url"] == f"http://127.0.0.1:{other}"


def test_the_port_of_postgrest_is_refused_for_swagger_ui(data_dir: Path) -> None:
    taken = int(manage.status(data_dir)["rest_url"].rsplit(":", 1)[1])
    with pytest.raises(SessionbaseError, match="is used by PostgREST"):
        manage.up(data_dir, manage.UpOptions(docs_port=taken))


def test_down_stops_swagger_ui() -> None:
    folder = Path(tempfile.mkdtemp(prefix="sessionbase-test-"))
    try:
        manage.up(folder / "data", options(free_port()))
        url = manage.status(folder / "data")["docs_url"]
        assert httpx.get(url, trust_env=False).is_success
        assert "Swagger UI" in manage.down(folder / "data")
        assert manage.status(folder / "data")["docs_url"] is None
        with pytest.raises(httpx.ConnectError):
            httpx.get(url, trust_env=False)
    finally:
        manage.delete_data(folder / "data")
        shutil.rmtree(folder)
