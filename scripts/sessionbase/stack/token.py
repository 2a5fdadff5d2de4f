"""JSON Web Tokens for PostgREST, signed with the stack's own secret (HS256)."""

import re
import time
from enum import StrEnum
from typing import Any

import jwt

from sessionbase.errors import UsageError

UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


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
    """Return the token that carries `claims`."""
    return jwt.encode(claims, secret, algorithm="HS256")
