"""The JWK set that PostgREST verifies tokens with. It reads the file again on SIGUSR2."""

import base64
import json
import os
from pathlib import Path

from sessionbase.stack.account import Account


def jwk_set(secrets: list[str]) -> str:
    """Return a JWK set (RFC 7517) of HS256 keys. A token signed with any of them is valid.

    The value of a key is the base64url form of its bytes: here, of the text of a secret, because
    the signer uses the text as it is (`jwt-secret-is-base64 = false`).
    """
    keys = [
        {
            "kty": "oct",
            "alg": "HS256",
            "use": "sig",
            "k": base64.urlsafe_b64encode(secret.encode()).rstrip(b"=").decode(),
        }
        for secret in secrets
    ]
    return json.dumps({"keys": keys})


def write(folder: Path, secrets: list[str], account: Account) -> Path:
    """Write the keys to `folder` for a server that runs as `account`; return the file.

    The file is replaced atomically: a server that reads it gets the old or the new keys.
    """
    path = folder / "jwt-keys.json"
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as handle:
        handle.write(jwk_set(secrets))
    account.own(draft)
    draft.replace(path)
    return path
