"""The difference between the text of a file in the ledger and the file in the folder."""

import difflib
from dataclasses import dataclass, field

from sessionbase.migrate.files import SqlFile

_SHOWN = 60
"""The most characters of a line that a message has."""


@dataclass(frozen=True)
class Edit:
    """A file that was edited or renamed after it was applied. Names are below the SQL folder."""

    file: str
    """The name in the ledger."""
    now: str
    """The name in the folder."""
    line: int | None
    """The first line that differs, counted from 1; None if no text was kept or it is the same."""
    text: str | None
    """That line as it is in the file, shortened; as it was, if the file ends before it."""
    diff: str | None = field(repr=False)
    """The unified diff from the ledger's text to the file; None if the ledger has no text."""

    @property
    def repeatable(self) -> bool:
        """Return whether it is a file of app/ or api/: `migrate` applies it again."""
        return not self.file.startswith("migrations/")

    @property
    def summary(self) -> str:
        """The name and the change in a few words."""
        name = self.file.removeprefix("migrations/")
        what = [] if self.now == self.file else [f"renamed to {self.now.rsplit('/')[-1]}"]
        if self.diff is None:
            what.append("no text kept")
        elif self.line is not None:
            what.append(f"first at line {self.line}: {self.text}")
        return f"{name} ({', '.join(what)})"


def _lines(text: str) -> list[str]:
    """Split at line feeds only; a carriage return is shown as \\r, a missing last line feed too."""
    lines = [f"{line}\n" for line in text.replace("\r", "\\r").split("\n")]
    last = lines.pop()
    return lines if last == "\n" else [*lines, f"{last}\\ No newline at end of file\n"]


def make_edit(names: tuple[str, str], kept: str | None, file: SqlFile) -> Edit:
    """Compare the `kept` text of the ledger with a file; `names`: in the ledger, in the folder."""
    if kept is None:
        return Edit(*names, line=None, text=None, diff=None)
    if kept == file.text:
        return Edit(*names, line=None, text=None, diff="")
    old, new = _lines(kept), _lines(file.text)
    same = 0
    while same < min(len(old), len(new)) and old[same] == new[same]:
        same += 1
    text = (new[same:] or old[same:])[0].split("\n")[0].strip()
    text = text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
    labels = f"{names[0]} (applied)", f"{names[1]} (in the folder)"
    diff = "".join(difflib.unified_diff(old, new, *labels))
    return Edit(*names, line=same + 1, text=text, diff=diff)
