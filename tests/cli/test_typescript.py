"""The checks of the TypeScript client, and its tests (vitest) on the stack of this run."""

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
SCRIPTS = json.loads((CLIENT / "package.json").read_text(encoding="utf-8"))["scripts"]
CHECK_STEPS = [step.removeprefix("npm run ") for step in SCRIPTS["check"].split(" && ")]
HINTS = {
    "typecheck": "Run scripts/generate-docs types if the SQL has changed, list a new domain in "
    "src/index.ts, and fix the type errors",
    "lint": "Fix the problems; `npx eslint --fix .` fixes some of them",
    "format:check": "Run `npm run format` there",
    "unused": "Delete what is unused, or add an entry file to `knip` in package.json",
}
BROWSER_TESTS = "guestSettings in headless Chromium"


def run(*command: str, env: dict[str, str] | None = None, hint: str = "") -> str:
    """Run a command in the client's folder and return its output; fail the test if it fails."""
    done = subprocess.run(
        command,
        cwd=CLIENT,
        env={**os.environ, "NO_COLOR": "1", **(env or {})},
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        failed = f"`{' '.join(command)}` failed in clients/typescript. {hint}".rstrip()
        pytest.fail(f"{failed}\n{done.stdout}", pytrace=False)
    print(done.stdout)
    return done.stdout


@pytest.fixture(scope="module", autouse=True)
def _packages_are_installed() -> None:
    if not (CLIENT / "node_modules/.bin/eslint").exists():
        pytest.fail("run `npm ci` in clients/typescript (scripts/test does it)", pytrace=False)


def is_built() -> bool:
    """Tell whether each source file has been compiled since the last change."""
    inputs = [*(CLIENT / "src").rglob("*.ts"), *CLIENT.glob("*.json")]
    changed = max(path.stat().st_mtime for path in inputs)
    outputs = (
        CLIENT / "dist" / path.relative_to(CLIENT / "src").with_suffix(".js")
        for path in inputs
        if path.suffix == ".ts"
    )
    return all(path.exists() and path.stat().st_mtime >= changed for path in outputs)


@pytest.fixture(scope="module")
def built_client(stack: Stack) -> dict[str, str]:
    """Build the client if needed, and return the environment variables that its tests need."""
    # Only one worker of pytest-xdist builds; the others wait for it.
    with (CLIENT / "node_modules/.build.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not is_built():
            run("npm", "run", "--silent", "build", hint=HINTS["typecheck"])
    return {
        "SESSIONBASE_REST_URL": stack.rest_url,
        "SESSIONBASE_JWT_SECRET": stack.jwt_secret,
        "SESSIONBASE_COMMAND": str(Path(sys.executable).with_name("sessionbase")),
    }


def run_vitest(*arguments: str, env: dict[str, str], folder: Path) -> str:
    """Run tests of the client and return the output; fail if no test ran."""
    report = folder / "vitest.json"
    reporters = ("--reporter=default", "--reporter=json", f"--outputFile.json={report}")
    output = run("npx", "vitest", "run", *arguments, *reporters, env=env)
    passed = json.loads(report.read_text())["numPassedTests"]
    assert passed > 0, f"vitest ran no test: {arguments} in {Path(__file__).name} match none"
    return output


@pytest.mark.parametrize("step", CHECK_STEPS)
def test_the_sources_pass_each_step_of_npm_run_check(step: str) -> None:
    run("npm", "run", "--silent", step, hint=HINTS.get(step, ""))


def test_the_tests_of_the_client_pass(built_client: dict[str, str], tmp_path: Path) -> None:
    output = run_vitest(env=built_client, folder=tmp_path)
    assert "must return the same: 0 differences" in output, (
        "tests/comparison.test.ts did not print its result; see the output of vitest above"
    )


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: guestSettings was not tested in it")
def test_guest_settings_are_reported_as_saved_only_if_they_are(
    built_client: dict[str, str], tmp_path: Path
) -> None:
    environment = {**built_client, "SESSIONBASE_CHROMIUM": str(CHROMIUM)}
    run_vitest("tests/pack.test.ts", "-t", BROWSER_TESTS, env=environment, folder=tmp_path)
