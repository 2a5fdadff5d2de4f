"""The two output streams: results go to stdout, everything else to stderr."""

import json
import sys
from collections.abc import Callable, Iterator
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

Log = Callable[[str], None]
"""A function that is called with one line of text about each step."""


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


def print_line(line: str = "") -> None:
    """Print a line to stdout as it is: brackets have no meaning."""
    stdout.print(line, markup=False)


def log_line(line: str) -> None:
    """Print a line to stderr as it is: brackets have no meaning."""
    stderr.print(line, markup=False)


def counted(number: int, noun: str) -> str:
    """Return the number with the noun, in the plural unless it is 1: `1 file`, `2 files`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def print_json(value: Any) -> None:
    """Print `value` to stdout as indented JSON, for a program to read."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")
