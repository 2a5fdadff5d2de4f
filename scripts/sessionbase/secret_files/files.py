"""The three files of a deployment: the DBA's password, PostgREST's password and the JWT secret."""

import secrets
import stat
from pathlib import Path

from sessionbase.errors import SessionbaseError
from sessionbase.stack.token import make_key_set, parse_key_set, symmetric_keys
from sessionbase.state import read_secret, write_private

AUTHENTICATOR_FILE = "authenticator_password"
JWT_FILE = "jwt_secret"
NAMES = ("postgres_password", AUTHENTICATOR_FILE, JWT_FILE)
MIN_PASSWORD_CHARACTERS = 16


def generate(folder: Path) -> list[Path]:
    """Create the missing files with random secrets and mode 0600; return their paths.

    A file that exists is not changed. Raises SessionbaseError if one can't be created.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        missing = [folder / name for name in NAMES if not (folder / name).exists()]
        for path in missing:
            write_private(path, secrets.token_hex(32) + "\n")
    except OSError as error:
        raise SessionbaseError(f"{error.filename} can't be written: {error.strerror}") from error
    return missing


def check(folder: Path) -> list[str]:
    """Check the three files; return warnings. Raises SessionbaseError for the first wrong file."""
    passwords = [_checked_password(folder / name) for name in NAMES[:2]]
    if passwords[0] == passwords[1]:
        raise SessionbaseError(
            f"{folder / NAMES[0]} and {NAMES[1]} contain the same password",
            "PostgREST's login must not have the password of the superuser: generate another one",
        )
    checked_jwt_secret(folder / JWT_FILE)
    return [
        f"{folder / name} can be read by other users: run chmod 600 on it"
        for name in NAMES
        if stat.S_IMODE((folder / name).stat().st_mode) & 0o077
    ]


def checked_jwt_secret(path: Path) -> str:
    """Return the JWT secret in a file. Raises SessionbaseError if PostgREST can't use it."""
    secret = read_secret(path)
    try:
        symmetric_keys(secret)
    except SessionbaseError as error:
        raise SessionbaseError(f"{path}: {error.message}", error.hint) from error
    return secret


def add_jwt_key(path: Path) -> int:
    """Make a new key the first of the JWT secret, and keep the old ones; return their number."""
    keys = [secrets.token_bytes(32), *_own_keys(path)]
    write_private(path, make_key_set(keys) + "\n")
    return len(keys)


def keep_newest_jwt_key(path: Path) -> int:
    """Remove all keys of the JWT secret but the first; return how many were removed."""
    keys = _own_keys(path)
    write_private(path, make_key_set(keys[:1]) + "\n")
    return len(keys) - 1


def _checked_password(path: Path) -> str:
    password = read_secret(path)
    if len(password) < MIN_PASSWORD_CHARACTERS:
        raise SessionbaseError(
            f"{path} has {len(password)} characters, and needs at least {MIN_PASSWORD_CHARACTERS}",
            "`openssl rand -hex 32` prints a good secret",
        )
    return password


def _own_keys(path: Path) -> list[bytes]:
    """Return the keys of the JWT secret. Raises SessionbaseError if one is not symmetric."""
    secret = checked_jwt_secret(path)
    keys = symmetric_keys(secret)
    if secret.startswith("{") and len(parse_key_set(secret)) > len(keys):
        raise SessionbaseError(
            f"{path} has a key that is not symmetric", "edit the key set with your own tools"
        )
    return keys
