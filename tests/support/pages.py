"""The code blocks of the pages in docs/, so that tests execute what the pages say."""

import re
import subprocess
from pathlib import Path

from sessionbase.paths import PROJECT_DIR
from sessionbase.stack.account import Account


def commands(page: str, heading: str, without: tuple[str, ...] = ()) -> list[str]:
    """Return the shell blocks of the section with this heading.

    Lines that assign one of the variables `without` are left out: the test sets its own values.
    """
    blocks = code_blocks(page, heading, "sh")
    if not without:
        return blocks
    assignment = re.compile(rf"^({'|'.join(without)})=.*\n", re.MULTILINE)
    return [assignment.sub("", block) for block in blocks]


def code_block(page: str, heading: str, language: str, number: int = 0) -> str:
    """Return a code block of the section with this heading.

    `number` counts the blocks of this language in the section, from 0. Fails with the name of the
    page and of the heading.
    """
    found = code_blocks(page, heading, language)
    assert len(found) > number, (
        f"docs/{page} must have block {number} of language {language!r} in the section"
        f" {heading!r}: correct the page or the test"
    )
    return found[number]


def run_script(
    page: str, script: str, folder: Path, environment: dict[str, str], account: Account | None
) -> str:
    """Run shell commands of docs/PAGE in `folder`; return what they print.

    `account` is the user that runs them; None: the caller. An error fails the test with the page's
    name and the commands. The limit is 300 s.
    """
    done = subprocess.run(
        ["bash", "-eu", "-c", script],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        **(account.popen_options if account else {}),
    )
    assert done.returncode == 0, f"correct docs/{page}:\n{script}\n{done.stdout}\n{done.stderr}"
    return str(done.stdout)


def code_blocks(page: str, heading: str, language: str) -> list[str]:
    """Return the code blocks of this language in a section, without the lines with backquotes.

    A block of a list item is returned without its indentation.
    """
    section, fence = "", None
    headings: list[str] = []
    found: list[str] = []
    block: list[str] = []
    for line in (PROJECT_DIR / "docs" / page).read_text(encoding="utf-8").splitlines():
        mark = re.fullmatch(r"( *)```(\w*)", line)
        if fence is None and (title := re.fullmatch(r"#+ (.+)", line)):
            section = title[1]
            headings.append(section)
        elif mark and fence is None:
            fence, block = mark, []
        elif mark and fence:
            if (section, fence[2]) == (heading, language):
                found.append("".join(f"{text.removeprefix(fence[1])}\n" for text in block))
            fence = None
        elif fence:
            block.append(line)
    assert headings.count(heading) == 1, f"docs/{page} must have one heading {heading!r}"
    return found
