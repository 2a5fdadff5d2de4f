"""The code blocks of the pages in docs/, so that tests execute what the pages say."""

import re

from sessionbase.paths import PROJECT_DIR


def code_block(page: str, heading: str, language: str, number: int = 0) -> str:
    """Return a code block of the section with this heading, without the lines with backquotes.

    `number` counts the blocks of this language in the section, from 0. A block of a list item is
    returned without its indentation. Fails with the name of the page and of the heading.
    """
    section, fence, found = "", None, []
    for line in (PROJECT_DIR / "docs" / page).read_text(encoding="utf-8").splitlines():
        mark = re.fullmatch(r"( *)```(\w*)", line)
        if fence is None and (title := re.fullmatch(r"#+ (.+)", line)):
            section = title[1]
        elif mark and fence is None:
            fence, block = mark, list[str]()
        elif mark and fence:
            if (section, fence[2]) == (heading, language):
                found.append("".join(f"{text.removeprefix(fence[1])}\n" for text in block))
            fence = None
        elif fence:
            block.append(line)
    assert len(found) > number, (
        f"docs/{page} must have block {number} of language {language!r} in the section"
        f" {heading!r}: correct the page or the test"
    )
    return found[number]
