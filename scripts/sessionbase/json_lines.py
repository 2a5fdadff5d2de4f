"""Files of JSON Lines whose last line contains a hash of all bytes before it."""

import json
from typing import Any, BinaryIO, Protocol


class Digest(Protocol):
    """A hash that is computed step by step: of hashlib or of hmac."""

    def update(self, data: bytes, /) -> None:
        """Add bytes."""

    def hexdigest(self) -> str:
        """Return the hash of the bytes so far, in lowercase hexadecimal."""


def encode_line(value: Any) -> bytes:
    """Return `value` as one line of JSON in ASCII, with its line break."""
    return json.dumps(value).encode() + b"\n"


def parse_line(line: bytes) -> Any:
    """Return the JSON value of a line, or None if it is not JSON."""
    try:
        return json.loads(line)
    except ValueError:
        return None


class HashingWriter:
    """Writes bytes to a stream and adds them to hashes."""

    def __init__(self, stream: BinaryIO | None, *digests: Digest) -> None:
        """Without a stream the bytes are only hashed."""
        self._stream = stream
        self.digests = list(digests)

    def write(self, data: bytes) -> None:
        """Write the bytes and add them to the hashes."""
        for digest in self.digests:
            digest.update(data)
        if self._stream is not None:
            self._stream.write(data)
