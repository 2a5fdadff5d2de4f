"""The file of an export: JSON Lines, described in docs/profiles.md."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from sessionbase.errors import SessionbaseError
from sessionbase.json_lines import HashingWriter, encode_line, parse_line
from sessionbase.profile.tables import NAMES, line_prefix

FORMAT = "sessionbase-profile"
VERSION = 1

_BY_PREFIX = {line_prefix(name): name for name in NAMES}
_PREFIX_END = b'",'


@dataclass(frozen=True)
class Export:
    """A complete export file: its first and last line."""

    path: Path
    header: dict[str, Any]
    rows: dict[str, int]
    content_sha256: str
    chain_length: int
    chain_head_hash: str
    """row_hash of the newest decision; 64 zeros without one."""

    @property
    def profile(self) -> str:
        """The profile that was exported."""
        return str(self.header["profile"])

    @property
    def total(self) -> int:
        """The number of rows of all tables."""
        return sum(self.rows.values())


@dataclass(frozen=True)
class ProfileReport:
    """What was exported or imported: the number of rows of each table."""

    profile: str
    rows: dict[str, int]
    content_sha256: str
    """SHA-256 (hex) of the lines with rows."""


class ExportWriter:
    """Writes an export: `start`, then `write` for the rows of each table, then `finish`."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._whole = hashlib.sha256()
        self._rows = hashlib.sha256()

    def start(self, header: dict[str, Any]) -> None:
        """Write the first line."""
        line = {"format": FORMAT, "version": VERSION, **header}
        HashingWriter(self._stream, self._whole).write(encode_line(line))

    def content(self) -> HashingWriter:
        """Return the writer of the lines with rows."""
        return HashingWriter(self._stream, self._whole, self._rows)

    def finish(self, rows: dict[str, int]) -> str:
        """Write the last line; return the SHA-256 of the lines with rows."""
        content_sha256 = self._rows.hexdigest()
        last = {"rows": rows, "content_sha256": content_sha256, "sha256": self._whole.hexdigest()}
        self._stream.write(encode_line(last))
        return content_sha256


def read_export(path: Path) -> Export:
    """Return the header and the counts of an export file, after its hashes were verified.

    Raises SessionbaseError if it can't be read, is no export, is cut off or was changed.
    """
    with _open(path) as stream:
        first = stream.readline()
        header = parse_line(first)
        if not isinstance(header, dict) or header.get("format") != FORMAT:
            raise SessionbaseError(f"{path} is not an export of a profile")
        if header.get("version") != VERSION:
            raise SessionbaseError(
                f"{path} has version {header.get('version')} of the export format, "
                f"this sessionbase reads version {VERSION}",
                "use the sessionbase that wrote it",
            )
        whole, content = hashlib.sha256(first), hashlib.sha256()
        rows = dict.fromkeys(NAMES, 0)
        last = b""
        head: Any = {"length": 0, "head_hash": "0" * 64}
        for line in stream:
            name = _table_of(line)
            if name is None:
                last = line
                break
            rows[name] += 1
            if name == "hookify_chains":
                head = parse_line(line) or head  # a line that is cut off is not JSON
            whole.update(line)
            content.update(line)
        if stream.readline():
            raise SessionbaseError(
                f"{path} was changed: line {sum(rows.values()) + 2} is not a row of a table",
                "export again",
            )
    expected = encode_line(
        {
            "rows": rows,
            "content_sha256": content.hexdigest(),
            "sha256": whole.hexdigest(),
        }
    )
    if not last.endswith(b"\n") or not isinstance(parse_line(last), dict):
        raise SessionbaseError(f"{path} is cut off: its last line is missing", "export again")
    if last != expected:
        raise SessionbaseError(f"{path} was changed: its SHA-256 does not fit", "export again")
    return Export(path, header, rows, content.hexdigest(), head["length"], head["head_hash"])


def read_rows(export: Export) -> Iterator[tuple[str, bytes]]:
    """Yield the table and the line of each row.

    Raises SessionbaseError if the file is not the one that was verified.
    """
    content = hashlib.sha256()
    with _open(export.path) as stream:
        stream.readline()
        for line in stream:
            name = _table_of(line)
            if name is None:
                break
            content.update(line)
            yield name, line
    if content.hexdigest() != export.content_sha256:
        raise SessionbaseError(f"{export.path} was changed while it was read", "run it again")


def _table_of(line: bytes) -> str | None:
    return _BY_PREFIX.get(line[: line.find(_PREFIX_END) + 1])


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise SessionbaseError(f"{path} can't be read: {error.strerror}") from error
