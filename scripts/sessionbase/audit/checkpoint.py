"""The file of a checkpoint: the length and the newest hash of every chain, signed with a key.

The file is JSON Lines: a header, one line per chain, and a last line with an HMAC-SHA256 over all
bytes before it. A checkpoint that is stored outside the database shows what the chains in the
database can't show: that a whole chain was deleted, or rewritten from its first decision on.
"""

import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from sessionbase.errors import SessionbaseError
from sessionbase.json_lines import HashingWriter, encode_line, parse_line
from sessionbase.legacy.exporter import new_file
from sessionbase.paths import command

FORMAT = "sessionbase-audit-checkpoint"
VERSION = 1
MIN_KEY_BYTES = 32

_SIGNATURE = re.compile(rb'\{"hmac_sha256": "[0-9a-f]{64}"\}\n')


@dataclass(frozen=True)
class Chain:
    """A chain at the moment of a checkpoint."""

    profile_id: str
    length: int
    head_hash: str
    """row_hash of the decision at position `length`."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint whose signature is valid."""

    created_at: str
    database: str
    chains: tuple[Chain, ...]


def create_key(path: Path) -> None:
    """Write a new random key to a new file that only its owner can read.

    Raises SessionbaseError if the file exists or can't be written.
    """
    refuse_existing(path)
    with new_file(path, overwrite=False, private=True) as stream:
        stream.write(secrets.token_hex(MIN_KEY_BYTES).encode() + b"\n")


def read_key(path: Path) -> bytes:
    """Return the key in the file: its bytes without line breaks at the end.

    Raises SessionbaseError if the file can't be read, or has fewer than 32 bytes.
    """
    key = _read(path).rstrip(b"\r\n")
    if len(key) < MIN_KEY_BYTES:
        raise SessionbaseError(
            f"the key in {path} has {len(key)} bytes; at least {MIN_KEY_BYTES} are required",
            f"{command()} audit key FILE creates a key",
        )
    return key


def write_checkpoint(
    path: Path, key: bytes, created_at: str, database: str, chains: Iterable[Chain]
) -> None:
    """Write a signed checkpoint to a new file, which appears only when it is complete.

    Raises SessionbaseError if the file exists or can't be written.
    """
    refuse_existing(path)
    header = {
        "format": FORMAT,
        "version": VERSION,
        "created_at": created_at,
        "database": database,
        "key_id": _key_id(key),
    }
    signature = hmac.new(key, digestmod=hashlib.sha256)
    with new_file(path, overwrite=False) as stream:
        writer = HashingWriter(stream, signature)
        for line in (header, *map(asdict, chains)):
            writer.write(encode_line(line))
        stream.write(_signature_line(signature))


def read_checkpoint(path: Path, key: bytes) -> Checkpoint:
    """Return the checkpoint in the file, after its signature was verified.

    Raises SessionbaseError if the file can't be read, is no checkpoint or an incomplete one, was
    changed, or was signed with another key.
    """
    content = _read(path)
    header = parse_line(content.partition(b"\n")[0])
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise SessionbaseError(
            f"{path} is not a checkpoint of sessionbase, or its first line was changed"
        )
    if header.get("version") != VERSION:
        raise SessionbaseError(
            f"{path} has version {header.get('version')} of the checkpoint format, "
            f"this sessionbase reads version {VERSION}",
            "use the sessionbase that wrote it",
        )
    signed = content[: content.rfind(b"\n", 0, -1) + 1]
    last_line = content[len(signed) :]
    if not _SIGNATURE.fullmatch(last_line):
        raise SessionbaseError(
            f"{path} is cut off, or lines were added to it: its last line is not a signature"
        )
    expected = _signature_line(hmac.new(key, signed, hashlib.sha256))
    if not hmac.compare_digest(last_line, expected):
        if header.get("key_id") != _key_id(key):
            raise SessionbaseError(
                f"{path} was signed with another key, or its first line was changed",
                "--key-file must name the key that it was signed with",
            )
        raise SessionbaseError(f"{path} was changed after it was signed")
    chains = tuple(Chain(**json.loads(line)) for line in signed.splitlines()[1:])
    return Checkpoint(header["created_at"], header["database"], chains)


def refuse_existing(path: Path) -> None:
    """Raise SessionbaseError if the path exists: keys and checkpoints are not replaced."""
    if path.exists():
        raise SessionbaseError(f"{path} exists and was not changed", "name a new file")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SessionbaseError(f"{path} can't be read: {error.strerror}") from error


def _key_id(key: bytes) -> str:
    """Return an identifier of the key, from which the key can't be computed."""
    return hmac.new(key, FORMAT.encode(), hashlib.sha256).hexdigest()[:16]


def _signature_line(signature: "hmac.HMAC") -> bytes:
    return encode_line({"hmac_sha256": signature.hexdigest()})
