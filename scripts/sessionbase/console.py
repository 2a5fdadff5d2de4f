"""The two output streams: results go to stdout, everything else to stderr."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

stdout = Console(highlight=False, soft_wrap=True)
stderr = Console(stderr=True, highlight=False, soft_wrap=True)


def printable(text: str) -> str:
    """Return a text with `?` for what is not printable, except line breaks.

    Another user of the database wrote it: an escape sequence must not reach the terminal.
    """
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in text)


class CountProgress(Protocol):
    """A function that receives the progress of work on a known number of items."""

    def __call__(self, done: int, total: int) -> None:
        """Take the number of items done so far, and of all items."""


@contextmanager
def count_bar(description: str) -> Iterator[CountProgress]:
    """Show a progress bar on stderr if it is a terminal; yield the function that updates it."""
    columns = (TextColumn(description), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=stderr, transient=True, disable=not stderr.is_terminal) as bar:
        task = bar.add_task(description, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def print_json(value: Any) -> None:
    """Print `value` to stdout as indented JSON, for a program to read."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")
