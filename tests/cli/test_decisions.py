"""The decision records of docs/decisions have the format that their README.md describes."""

import re
from pathlib import Path

import pytest

from sessionbase.paths import PROJECT_DIR

FOLDER = PROJECT_DIR / "docs/decisions"
RECORDS = sorted(FOLDER.glob("[0-9]*.md"))
HEAD = re.compile(
    r"# (?P<number>\d{4})\. (?P<title>.+)\n\n"
    r"- Date: \d{4}-\d{2}-\d{2}\n"
    r"- Status: (?P<status>proposed|accepted|superseded by \d{4})\n\n## Context\n"
)


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.stem)
def test_a_decision_has_a_date_and_a_status_and_is_in_the_table(record: Path) -> None:
    head = HEAD.match(record.read_text(encoding="utf-8"))
    assert head, f"begin {record.name} as docs/decisions/README.md shows"
    number, title, status = head.groups()
    assert record.name.startswith(f"{number}-"), f"give {record.name} the number of its heading"
    row = f"| [{number}]({record.name}) | {title} | {status} |"
    index = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert row in index.splitlines(), f"add this row to docs/decisions/README.md: {row}"


def test_decisions_are_numbered_without_gaps() -> None:
    numbers = [int(record.name[:4]) for record in RECORDS]
    assert numbers == list(range(1, len(RECORDS) + 1)), "rename the records of docs/decisions"
