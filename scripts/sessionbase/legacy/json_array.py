"""Read a JSON array of any length, one element at a time, from a stream of bytes.

The elements are decoded by the standard library's `json`, over a sliding buffer. ijson does not
fit: its yajl backend turns a lone surrogate into `?` without an error, crashes on an integer of
5,000 digits, and reports neither duplicate keys nor byte offsets.
"""

import codecs
import json
import re
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, NamedTuple

from sessionbase.errors import SessionbaseError

CHUNK = 256 * 1024
"""Bytes to read at a time. It doubles while an element is longer."""
MAX_ELEMENT = 64 * 1024 * 1024
"""Characters that one element may have: several times what the database accepts."""
MAX_DEPTH = 500
"""Levels of nested arrays and objects. PostgreSQL's limit is at some thousands."""

_WHITESPACE = re.compile(r"[ \t\n\r]*")
_NUMBER = re.compile(r"-?(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?")
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}"]', re.DOTALL)
_STRING_OR_CONSTANT = re.compile(r'"(?:[^"\\]|\\.)*"|NaN|-?Infinity', re.DOTALL)
_HALF_A_TOKEN = re.compile(r"[\w.+\-\\\s]*")
_LONGEST_HALF_TOKEN = 16


class Element(NamedTuple):
    """One element of the array."""

    position: int
    """Its position in the array, from 0."""
    offset: int
    """The byte of the file at which it starts, from 0."""
    text: str
    """Its JSON text in the file."""
    value: Any
    """The decoded value. A number with a point or an exponent is an `InexactNumber`."""
    problem: str | None
    """Why PostgreSQL can't store it, or None."""


class InexactNumber(str):
    """A JSON number with a point or an exponent, as text."""

    __slots__ = ()


class BadJsonError(SessionbaseError):
    """The file is not one complete JSON array; `offset` is the byte of the error."""

    def __init__(self, what: str, offset: int) -> None:
        super().__init__(f"{what} at byte {offset}")
        self.offset = offset


class JsonArrayReader:
    """Iterates over the elements of the JSON array in `stream`; memory is that of one element.

    `on_read(total)` is called with the number of bytes read so far. Iterating raises BadJsonError
    if the file is empty, starts with a byte order mark, is truncated, or is not UTF-8, not JSON or
    not an array.
    """

    def __init__(self, stream: BinaryIO, on_read: Callable[[int], None] | None = None) -> None:
        self._stream = stream
        self._on_read = on_read
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._buffer = ""
        self._at = 0  # the current position in the buffer
        self._counted = 0  # the position in the buffer up to which bytes are counted
        self._offset = 0  # the byte offset of that position
        self._read = 0
        self._eof = False
        self._problem: str | None = None
        self._json = json.JSONDecoder(
            object_pairs_hook=self._object,
            parse_int=self._integer,
            parse_float=self._inexact,
            parse_constant=self._constant,
        )

    def __iter__(self) -> Iterator[Element]:
        """Yield the elements in the file's order."""
        self._open_array()
        position = 0
        if self._peek() == "]":
            self._at += 1
        else:
            while True:
                yield self._element(position)
                position += 1
                found = self._peek()
                if not found:
                    raise self._cut_off()
                self._at += 1
                if found == "]":
                    break
                if found != ",":
                    self._at -= 1
                    raise self._bad("the file is not JSON", "expected , or ]")
                self._peek()
        if self._peek():
            raise self._bad("there is text after the end of the array")

    def _open_array(self) -> None:
        first = self._peek()
        if not first:
            raise self._bad("the file is empty")
        if first == "\ufeff":
            raise self._bad("the file starts with a byte order mark, which JSON does not allow,")
        if first != "[":
            raise self._bad("the file is not a JSON array")
        self._at += 1

    def _element(self, position: int) -> Element:
        while True:
            start = self._at
            self._problem = None
            try:
                value, end = self._json.raw_decode(self._buffer, start)
            except RecursionError:
                value = None
                after = self._end_of_nested(start)
                self._problem = f"nested more than {MAX_DEPTH} levels deep"
                if after is None:
                    self._more_of(position, start)
                    continue
                end = after
            except json.JSONDecodeError as error:
                self._refuse_or_read_on(error, position, start)
                continue
            if end >= len(self._buffer) - 3 and not self._eof:  # 12 may be the start of 12.5e+6
                self._more_of(position, start)
                continue
            text = self._buffer[start:end]
            offset = self._byte_of(start)
            self._at = end
            return Element(position, offset, text, value, self._problem or _unstorable(text, value))

    def _refuse_or_read_on(self, error: json.JSONDecodeError, position: int, start: int) -> None:
        """Read more if the element may continue after the buffer; otherwise raise BadJsonError."""
        at, why = error.pos, error.msg
        unterminated = why.startswith("Unterminated string")
        if not self._eof:
            if unterminated or at >= len(self._buffer) - _LONGEST_HALF_TOKEN:
                self._more_of(position, start)
                return
        elif unterminated or _HALF_A_TOKEN.fullmatch(self._buffer, at):
            self._at = len(self._buffer)
            raise self._cut_off()
        self._at = at
        raise self._bad("the file is not JSON", why.removesuffix(" at")) from None

    def _more_of(self, position: int, start: int) -> None:
        if self._eof:
            self._at = len(self._buffer)
            raise self._cut_off()
        if len(self._buffer) - start > MAX_ELEMENT:
            raise self._bad(f"record {position} is longer than {MAX_ELEMENT >> 20} MiB: it starts")
        self._fill()

    def _end_of_nested(self, start: int) -> int | None:
        """Return the end of the array or object at `start`, or None if it is after the buffer."""
        depth = 0
        for token in _TOKEN.finditer(self._buffer, start):
            first = token.group()[0]
            if first in "[{":
                depth += 1
            elif first in "]}":
                depth -= 1
                if depth == 0:
                    return token.end()
            elif token.group() == '"':
                return None
        return None

    def _peek(self) -> str:
        """Go to the next character that is not white space and return it; '' at the end."""
        while True:
            match = _WHITESPACE.match(self._buffer, self._at)
            self._at = match.end() if match else self._at
            if self._at < len(self._buffer):
                return self._buffer[self._at]
            if self._eof:
                return ""
            self._fill()

    def _fill(self) -> None:
        """Drop the consumed part, and read as many bytes as remain (at least CHUNK)."""
        self._byte_of(self._at)
        self._buffer = self._buffer[self._at :]
        self._at = self._counted = 0
        chunk = self._stream.read(max(CHUNK, len(self._buffer)))
        pending = len(self._decoder.getstate()[0])
        try:
            text = self._decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            raise BadJsonError(
                "the file is not UTF-8", self._read - pending + error.start
            ) from None
        self._eof = not chunk
        self._read += len(chunk)
        self._buffer += text
        if self._on_read:
            self._on_read(self._read)

    def _byte_of(self, at: int) -> int:
        """Return the byte offset of the position `at` in the buffer; `at` never decreases."""
        passed = self._buffer[self._counted : at]
        self._offset += len(passed) if passed.isascii() else len(passed.encode())
        self._counted = at
        return self._offset

    def _bad(self, what: str, why: str = "") -> BadJsonError:
        return BadJsonError(f"{what} ({why})" if why else what, self._byte_of(self._at))

    def _cut_off(self) -> BadJsonError:
        return BadJsonError("the file is cut off: it ends", self._byte_of(self._at))

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) != len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            self._problem = f"the key {json.dumps(twice)} occurs twice in one object"
        return result

    def _integer(self, text: str) -> int:
        if len(text) < 4000:
            return int(text)
        self._inexact(text)
        return 0

    def _inexact(self, text: str) -> InexactNumber:
        if len(text) > 300 or "e" in text or "E" in text:
            match = _NUMBER.fullmatch(text)
            whole, fraction, exponent = match.groups(default="") if match else ("", "", "")
            power = int(exponent or 0) if len(exponent) < 10 else 10**9
            if len(whole) + power > 131072 or len(fraction) - power > 16383:
                self._problem = f"the number {text[:40]} has more digits than the database stores"
        return InexactNumber(text)

    def _constant(self, text: str) -> None:
        """Refuse NaN and Infinity, which Python's decoder accepts."""
        place = next(
            token.start()
            for token in _STRING_OR_CONSTANT.finditer(self._buffer, self._at)
            if token.group()[0] != '"'
        )
        raise json.JSONDecodeError(f"{text} is not a JSON value", self._buffer, place)


def _unstorable(text: str, value: Any) -> str | None:
    """Return why jsonb can't store `value`, or None. Its text shows whether it must be examined."""
    escapes = "\\u" in text
    nested = text.count("[") + text.count("{") > MAX_DEPTH
    if not (escapes or nested):
        return None
    level = [value]
    depth = 0
    while level:
        if depth > MAX_DEPTH:
            return f"nested more than {MAX_DEPTH} levels deep"
        below: list[Any] = []
        for item in level:
            if isinstance(item, str):
                problem = _unstorable_string(item)
                if problem:
                    return problem
            elif isinstance(item, dict):
                below += item.keys()
                below += item.values()
            elif isinstance(item, list):
                below += item
        level = below
        depth += 1
    return None


def _unstorable_string(text: str) -> str | None:
    if "\0" in text:
        return "\\u0000 in a string, which PostgreSQL can't store"
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        return "half a surrogate pair in a string, which is not valid Unicode"
    return None
