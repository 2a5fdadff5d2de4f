"""The checks of the TypeScript client, and its tests (vitest) on the stack of this run."""

import json
import shutil
import sys
from pathlib import Path

import pytest

from conftest import Stack
from support.typescript import CLIENT, HINT_FOR_TYPES, build, require_packages, run

CHROMIUM = next(
    filter(None, map(shutil.which, ["chromium", "chromium-browser", "google-chrome"])), None
)
SCRIPTS = json.loads((CLIENT / "package.json").read_text(encoding="utf-8"))["scripts"]
CHECK_STEPS = [step.removeprefix("npm run ") for step in SCRIPTS["check"].split(" && ")]
HINTS = {
    "typecheck": HINT_FOR_TYPES,
    "lint": "Fix the problems; `npx eslint --fix .` fixes some of them",
    "format:check": "Run `npm run format` there",
    "unused": "Delete what is unused, or add an entry file to `knip` in package.json",
}
BROWSER_TESTS = "guestSettings in headless Chromium"


@pytest.fixture(scope="module", autouse=True)
def _packages_are_installed() -> None:
    require_packages()


@pytest.fixture(scope="module")
def built_client(stack: Stack) -> dict[str, str]:
    """Build the client if needed, and return the environment variables that its tests need."""
    build()
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
