"""The TypeScript client: its programs, and its build."""

import fcntl
import os
import subprocess

import pytest

from sessionbase.paths import PROJECT_DIR

CLIENT = PROJECT_DIR / "clients/typescript"
HINT_FOR_TYPES = (
    "Run scripts/generate-docs types if the SQL has changed, list a new domain in "
    "src/index.ts, and fix the type errors"
)


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


def require_packages() -> None:
    """Fail the test if the packages of the client are not installed."""
    if not (CLIENT / "node_modules/.bin/eslint").exists():
        pytest.fail("run `npm ci` in clients/typescript (scripts/test does it)", pytrace=False)


def is_built() -> bool:
    """Return whether each source file has been compiled since the last change."""
    inputs = [*(CLIENT / "src").rglob("*.ts"), *CLIENT.glob("*.json")]
    changed = max(path.stat().st_mtime for path in inputs)
    outputs = (
        CLIENT / "dist" / path.relative_to(CLIENT / "src").with_suffix(".js")
        for path in inputs
        if path.suffix == ".ts"
    )
    return all(path.exists() and path.stat().st_mtime >= changed for path in outputs)


def build() -> None:
    """Build the client if a source file has changed since the last build."""
    # Only one worker of pytest-xdist builds; the others wait for it.
    with (CLIENT / "node_modules/.build.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not is_built():
            run("npm", "run", "--silent", "build", hint=HINT_FOR_TYPES)
