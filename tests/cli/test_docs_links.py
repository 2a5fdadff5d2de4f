"""Every relative link of the pages has a target, and every anchor a heading."""

import re
from pathlib import Path
from urllib.parse import unquote

import pytest

from sessionbase.paths import PROJECT_DIR

PAGES = [
    PROJECT_DIR / "README.md",
    PROJECT_DIR / "CONTRIBUTING.md",
    PROJECT_DIR / "clients/typescript/README.md",
    *sorted((PROJECT_DIR / "docs").rglob("*.md")),
]
CODE_BLOCK = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
CODE_SPAN = re.compile(r"(`+).+?\1", re.DOTALL)
LINK = re.compile(r"\]\(([^()\s]+(?:\([^()\s]*\)[^()\s]*)*)\)")
HEADING = re.compile(r"^#+ +(.+?) *#*$", re.MULTILINE)
NAMED = re.compile(r"""<[^>]+ (?:id|name)=["']([^"']+)""")


def links(page: Path) -> list[str]:
    """Return the links of the page to files and headings of the repository."""
    text = CODE_SPAN.sub("code", CODE_BLOCK.sub("", page.read_text(encoding="utf-8")))
    return [link for link in LINK.findall(text) if not re.match(r"[a-z]+:", link)]


def anchors(page: Path) -> set[str]:
    """Return the anchors of the headings as GitHub generates them, and those in HTML."""
    text = CODE_BLOCK.sub("", page.read_text(encoding="utf-8"))
    found: set[str] = set(NAMED.findall(text))
    for heading in HEADING.findall(text):
        shown = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")
        number = 0
        while (anchor := f"{slug}-{number}" if number else slug) in found:
            number += 1
        found.add(anchor)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT_DIR)))
def test_every_relative_link_of_the_page_has_a_target(page: Path) -> None:
    broken = []
    for link in links(page):
        path, _, anchor = unquote(link).partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert not broken, (
        f"correct these links of {page.relative_to(PROJECT_DIR)}, or restore the file or heading: "
        + ", ".join(broken)
    )


def test_links_and_anchors_are_found() -> None:
    assert "docs/adopting.md" in links(PROJECT_DIR / "README.md")
    assert len(anchors(PROJECT_DIR / "docs/adopting.md")) > 3
