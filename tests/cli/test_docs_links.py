"""Every relative link of the pages has a target, and every anchor a heading; named tests exist."""

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


# CONTRIBUTING.md has the files of an invented domain as an example.
@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.name != "CONTRIBUTING.md"], ids=lambda page: page.name
)
def test_every_test_that_the_page_names_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    missing = []
    for line in text.splitlines():
        files = [
            PROJECT_DIR / path for path in re.findall(r"`(tests/[\w/.-]+\.(?:py|sql|ts))`", line)
        ]
        missing += [str(file) for file in files if not file.exists()]
        tests = "".join(file.read_text(encoding="utf-8") for file in files if file.exists())
        named = re.findall(r"`(test_\w+)`", line) if files else []
        missing += [name for name in named if f"def {name}(" not in tests]
    assert not missing, f"correct these names in {page.relative_to(PROJECT_DIR)}: {missing}"
