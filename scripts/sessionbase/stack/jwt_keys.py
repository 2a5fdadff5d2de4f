"""The JWK set that PostgREST verifies tokens with. It reads the file again on SIGUSR2."""

from pathlib import Path

from sessionbase.stack.account import Account
from sessionbase.stack.token import make_key_set
from sessionbase.state import write_private


def write(folder: Path, secrets: list[str], account: Account) -> Path:
    """Write the keys to `folder` for a server that runs as `account`; return the file.

    The file is replaced atomically: a server that reads it gets the old or the new keys.
    """
    path = folder / "jwt-keys.json"
    # The keys are the bytes of the texts: `jwt-secret-is-base64` is false.
    keys = make_key_set([secret.encode() for secret in secrets])
    write_private(path, keys, account.uid)
    return path
