"""Run squawk, a linter for migrations, as a separate program: https://squawkhq.com."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from sessionbase.errors import SessionbaseError
from sessionbase.migrate.files import SqlFile

# The runner sets both timeouts itself.
_NOT_APPLICABLE = {
    "require-lock-timeout",
    "require-statement-timeout",
    "require-timeout-settings",
}

# It needs some milliseconds.
_TIMEOUT_S = 60


@dataclass(frozen=True)
class Finding:
    """A finding of squawk. `line` counts from 1, `offset` is the place in characters."""

    rule: str
    message: str
    help: str | None
    line: int
    offset: int


def find_squawk() -> Path:
    """Return the program: beside this Python, else on PATH. SessionbaseError if it is missing."""
    beside = Path(sys.executable).parent / "squawk"
    if os.access(beside, os.X_OK):
        return beside
    found = shutil.which("squawk")
    if found is None:
        raise SessionbaseError(
            "squawk, which finds the hazards of a migration, is not installed",
            "pip install 'sessionbase[plan]', or pip install squawk-cli",
        )
    return Path(found)


def run_squawk(file: SqlFile, *, server_major: int, in_transaction: bool) -> list[Finding]:
    """Return what squawk finds in a file. It observes `-- squawk-ignore` and .squawk.toml.

    A .squawk.toml counts if it is in the folder of the file or above it. Raises SessionbaseError if
    squawk is missing or fails.
    """
    program = find_squawk()
    mode = "--assume-in-transaction" if in_transaction else "--no-assume-in-transaction"
    try:
        done = subprocess.run(
            [
                str(program),
                "--reporter=json",
                f"--pg-version={server_major}.0",
                mode,
                f"--stdin-filepath={file.path.name}",
            ],
            input=file.text,
            capture_output=True,
            text=True,
            check=False,
            cwd=file.path.resolve().parent,
            timeout=_TIMEOUT_S,
        )
        found = json.loads(done.stdout)
    except subprocess.TimeoutExpired as error:
        raise SessionbaseError(
            f"{program} did not end in {_TIMEOUT_S} s for {file.label}",
            "divide the file into smaller migrations",
        ) from error
    except (OSError, ValueError) as error:
        message = str(error) if isinstance(error, OSError) else done.stderr.strip()
        raise SessionbaseError(f"{program} failed: {message or 'it wrote no JSON'}") from error
    starts = [0]
    for line in file.text.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    return [
        Finding(
            rule=item["rule_name"],
            message=item["message"],
            help=item["help"],
            line=item["line"] + 1,
            offset=starts[min(item["line"], len(starts) - 1)] + item["column"],
        )
        for item in found
        if item["rule_name"] not in _NOT_APPLICABLE
    ]
