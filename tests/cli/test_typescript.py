"""The TypeScript client: its own tests (vitest, clients/typescript/tests), on this run's stack."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import Stack
from sessionbase.paths import PROJECT_DIR

CLIENT = PROJECT_DIR / "clients/typescript"
CHROMIUM = next(
    filter(None, map(shutil.which, ["chromium", "chromium-browser", "google-chrome"])), None
)
IN_A_BROWSER = "guestSettings in headless Chromium"


@pytest.fixture(scope="module")
def npm_environment(stack: Stack) -> dict[str, str]:
    """What the tests of the client are told, with the client built from its present sources."""
    environment = {
        **os.environ,
        "NO_COLOR": "1",
        "SESSIONBASE_REST_URL": stack.rest_url,
        "SESSIONBASE_JWT_SECRET": stack.jwt_secret,
        "SESSIONBASE_COMMAND": str(Path(sys.executable).with_name("sessionbase")),
    }
    # Of two workers, one builds and the other waits, and then finds it done.
    with (CLIENT / "node_modules/.build.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        built = CLIENT / "dist/.built"
        newest = max(path.stat().st_mtime for path in (CLIENT / "src").rglob("*"))
        if not built.exists() or built.stat().st_mtime <= newest:
            shutil.rmtree(CLIENT / "dist", ignore_errors=True)
            run("npm", "run", "--silent", "build", env=environment)
            built.touch()
    return environment


def run(*command: str, env: dict[str, str]) -> str:
    """Run a command in the client's folder; where it fails, the test fails with what it said."""
    done = subprocess.run(
        command,
        cwd=CLIENT,
        env=env,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        pytest.fail(f"{' '.join(command)}:\n{done.stdout}", pytrace=False)
    print(done.stdout)
    return done.stdout


def run_vitest(*arguments: str, env: dict[str, str], folder: Path) -> str:
    """Run tests of the client. None at all is a failure too: a name that matches nothing passes."""
    report = folder / "vitest.json"
    reporters = ("--reporter=default", "--reporter=json", f"--outputFile.json={report}")
    said = run("npx", "vitest", "run", *arguments, *reporters, env=env)
    assert json.loads(report.read_text())["numPassedTests"] > 0, "no test ran"
    return said


def test_the_modules_do_what_the_app_does_today_but_for_the_mends(
    npm_environment: dict[str, str], tmp_path: Path
) -> None:
    run("npm", "run", "--silent", "check", env=npm_environment)
    said = run_vitest(env=npm_environment, folder=tmp_path)
    assert "on what is kept: 0 differences" in said


@pytest.mark.skipif(CHROMIUM is None, reason="NO CHROMIUM HERE: guestSettings was not tried")
def test_guest_settings_are_never_called_saved_when_they_are_not(
    npm_environment: dict[str, str], tmp_path: Path
) -> None:
    environment = {**npm_environment, "SESSIONBASE_CHROMIUM": str(CHROMIUM)}
    run_vitest("tests/pack.test.ts", "-t", IN_A_BROWSER, env=environment, folder=tmp_path)
