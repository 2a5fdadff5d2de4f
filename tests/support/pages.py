"""The shell commands of the pages in docs, for tests that run them."""

import re

from sessionbase.paths import PROJECT_DIR

_BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)


def commands(page: str, heading: str, without: tuple[str, ...] = ()) -> list[str]:
    """Return the shell blocks below a heading of docs/PAGE, up to the next heading.

    Lines that assign one of the variables `without` are left out: the test sets its own values.
    """
    text = (PROJECT_DIR / "docs" / page).read_text(encoding="utf-8")
    sections = re.split(r"^#+ (.+)\n", text, flags=re.MULTILINE)
    found = [
        body for name, body in zip(sections[1::2], sections[2::2], strict=True) if name == heading
    ]
    assert len(found) == 1, f"docs/{page} must have one heading {heading!r}"
    assignment = re.compile(rf"^({'|'.join(without)})=.*\n", re.MULTILINE)
    blocks = _BLOCK.findall(found[0])
    return [assignment.sub("", block) for block in blocks] if without else blocks
