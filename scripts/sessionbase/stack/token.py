"""JSON Web Tokens for PostgREST, signed with its JWT secret (HS256)."""

import base64
import binascii
import json
import re
import time
from enum import StrEnum
from typing import Any

import jwt

from sessionbase.errors import SessionbaseError, UsageError

UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
MIN_KEY_BYTES = 32
"""The length of an HS256 key (RFC 7518, section 3.2). PostgREST refuses a shorter secret."""


class Role(StrEnum):
    """The database roles that a token can have."""

    authenticated = "authenticated"
    auditor = "auditor"


def parse_ttl(text: str) -> int:
    """Return the seconds of a duration such as `30s`, `15m`, `1h` or `7d`. Raises UsageError."""
    match = re.fullmatch(r"([1-9]\d{0,5})([smhd])", text, re.ASCII)
    if not match:
        raise UsageError(f"{text!r} is not a valid lifetime", "write 30s, 15m, 1h or 7d")
    return int(match[1]) * UNIT_SECONDS[match[2]]


def make_claims(profile: str, role: str = Role.authenticated, ttl: int = 3600) -> dict[str, Any]:
    """Return the claims of a token for `profile`, valid for `ttl` seconds.

    Raises UsageError if the profile is empty.
    """
    if not profile.strip():
        raise UsageError("the profile is empty", "PostgREST refuses a token without a profile")
    now = int(time.time())
    return {"role": str(role), "sub": profile, "iat": now, "exp": now + ttl}


def sign(claims: dict[str, Any], secret: str) -> str:
    """Return the token that carries `claims`.

    `secret` is a JWT secret as PostgREST reads it. The first key of a key set signs.
    Raises SessionbaseError if it has no key that can sign with HS256.
    """
    keys = symmetric_keys(secret)
    if not keys:
        raise SessionbaseError(
            "the JWT secret has no symmetric key", "sign the token with your own private key"
        )
    return jwt.encode(claims, keys[0], algorithm="HS256")


def symmetric_keys(secret: str) -> list[bytes]:
    """Return the symmetric keys of a JWT secret: a text, a JSON Web Key or a key set (RFC 7517).

    Raises SessionbaseError if a key is shorter than 32 bytes, or the JSON is not a key or key set.
    Keys of another type (RSA, EC) are not checked and not returned.
    """
    if not secret.startswith("{"):
        return [_check_length(secret.encode())]
    return [
        _check_length(_decoded(key)) for key in parse_key_set(secret) if key.get("kty") == "oct"
    ]


def make_key_set(keys: list[bytes]) -> str:
    """Return a JSON Web Key set of symmetric keys. PostgREST accepts the tokens of each of them."""
    entries = [
        {
            "kty": "oct",
            "alg": "HS256",
            "use": "sig",
            "k": base64.urlsafe_b64encode(key).decode().rstrip("="),
        }
        for key in keys
    ]
    return json.dumps({"keys": entries})


def parse_key_set(secret: str) -> list[dict[str, Any]]:
    """Return the keys of a JSON Web Key (set). Raises SessionbaseError if it is not one."""
    try:
        value = json.loads(secret)
    except ValueError as error:
        raise _bad_key_set("it is not valid JSON") from error
    keys = value.get("keys", [value])
    if not isinstance(keys, list) or not keys:
        raise _bad_key_set("`keys` must be a list with at least one key")
    for key in keys:
        if not isinstance(key, dict) or key.get("kty") not in {"oct", "RSA", "EC", "OKP"}:
            raise _bad_key_set("each key needs `kty`: oct, RSA, EC or OKP")
    return keys


def _decoded(key: dict[str, Any]) -> bytes:
    text = key.get("k")
    if not isinstance(text, str) or not re.fullmatch(r"[\w-]+", text, re.ASCII):
        raise _bad_key_set("a key of type oct needs `k`, written in base64url")
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error as error:
        raise _bad_key_set("a key of type oct needs `k`, written in base64url") from error


def _check_length(key: bytes) -> bytes:
    if len(key) < MIN_KEY_BYTES:
        raise SessionbaseError(
            f"the JWT secret has a key of {len(key)} bytes",
            f"PostgREST needs at least {MIN_KEY_BYTES}; `openssl rand -hex 32` prints a good one",
        )
    return key


def _bad_key_set(why: str) -> SessionbaseError:
    # The text itself is a secret, so it is not printed.
    return SessionbaseError(
        f"the JWT secret begins with {{ and is not a JSON Web Key or key set: {why}",
        "write a text of at least 32 bytes, or a key set as RFC 7517 describes it",
    )
