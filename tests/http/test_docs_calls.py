"""The shell examples of README.md and docs/*.md have the results that their pages describe."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from conftest import Stack, TokenFor
from sessionbase.paths import PROJECT_DIR
from support.domains import DOMAINS

SHELL_BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
# The server and the token of the reader; the test uses its own.
ASSUMED = re.compile(r"^(REST|TOKEN)=.*\n", re.MULTILINE)
# Each call writes its body and its status to numbered files.
RECORDING_CURL = """
curl() {
  count=$((count + 1))
  command curl "$@" -o "$RUN/$count.body" -w '%{http_code}' > "$RUN/$count.status"
}
count=0
"""


def calls_of(page: Path) -> str:
    """Return the shell blocks of the page that call the server, as one script."""
    blocks = SHELL_BLOCK.findall(page.read_text(encoding="utf-8"))
    return ASSUMED.sub("", "\n".join(block for block in blocks if re.search(r"\$REST\b", block)))


def expected_refusals(script: str) -> list[tuple[int, str] | None]:
    """Return for each call the status and code that the comment above it names, or None."""
    expected: list[tuple[int, str] | None] = []
    named = None
    for line in script.splitlines():
        if line.startswith("#"):
            named = re.search(r"\b(4\d\d) (\w+)", line)
        elif re.match(r"(curl|call) ", line):
            expected.append((int(named[1]), named[2]) if named else None)
            named = None
    return expected


PAGES = [
    page
    for page in sorted([PROJECT_DIR / "README.md", *(PROJECT_DIR / "docs").glob("*.md")])
    if calls_of(page)
]


def test_the_pages_with_calls_are_found() -> None:
    names = {page.stem for page in PAGES}
    assert "README" in names
    for domain in DOMAINS:
        assert domain.page.stem in names, f"show the calls in docs/{domain.page.name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_shell_call_of_the_page_works(
    page: Path, stack: Stack, token_for: TokenFor, profile: str, tmp_path: Path
) -> None:
    script = calls_of(page)
    environment = {
        "PATH": os.environ["PATH"],
        "LC_ALL": "C.UTF-8",
        "no_proxy": "*",
        "REST": stack.rest_url,
        "TOKEN": token_for(profile),
        "RUN": str(tmp_path),
    }
    done = subprocess.run(
        ["bash", "-eu", "-c", RECORDING_CURL + script],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    name = page.relative_to(PROJECT_DIR)
    assert (done.returncode, done.stderr) == (0, ""), (
        f"correct the shell examples of {name}:\n{done.stderr}"
    )
    expected = expected_refusals(script)
    assert len(expected) == len(list(tmp_path.glob("*.status"))), (
        f"{name}: start each call with `curl` or `call` on its own line"
    )
    for number, refusal in enumerate(expected, 1):
        status = int((tmp_path / f"{number}.status").read_text())
        body = (tmp_path / f"{number}.body").read_text() if status != 204 else ""
        if refusal:
            assert (status, json.loads(body)["code"]) == refusal, (
                f"correct the comment above call {number} of {name}, or the call: {body}"
            )
        else:
            assert status in {200, 201, 204}, (
                f"correct call {number} of {name}, or name the error in the comment above: {body}"
            )
