"""The code blocks of the pages in docs/, so that tests execute what the pages say."""

import re

from sessionbase.paths import PROJECT_DIR


def code_block(page: str, heading: str, language: str, number: int = 0) -> str:
    """Return a code block of the section with this heading, without the lines with backquotes.

    `number` counts the blocks of this language in the section, from 0. A block of a list item is
    returned without its indentation. Fails with the name of the page and of the heading.
    """
    text = (PROJECT_DIR / "docs" / page).read_text(encoding="utf-8")
    found = re.search(
        rf"^(#+) {re.escape(heading)}\n(.*?)(?=^#+ |\Z)", text, re.MULTILINE | re.DOTALL
    )
    assert found, f"docs/{page} must have the heading {heading!r}: correct it, or the test"
    blocks = re.findall(rf"^( *)```{language}\n(.*?)^\1```$", found[2], re.MULTILINE | re.DOTALL)
    assert len(blocks) > number, (
        f"docs/{page}, {heading!r}: block {number} of {language} is missing"
    )
    indent, block = blocks[number]
    return "".join(line.removeprefix(indent) for line in block.splitlines(keepends=True))
