"""Rotate the JWT secret of a stack: first both secrets are valid, then only the new one."""

import secrets as random
import signal
import time
from dataclasses import replace
from pathlib import Path

import httpx

from sessionbase.errors import SessionbaseError
from sessionbase.paths import command
from sessionbase.stack import jwt_keys, postgrest, replica
from sessionbase.stack.account import service_account
from sessionbase.stack.token import make_claims, sign
from sessionbase.state import Secrets, StackConfig, locked, require, save_secrets

RELOAD_SECONDS = 30.0


def rotate(data_dir: Path) -> None:
    """Make a new JWT secret. Tokens of the old one stay valid until `finish`.

    Raises SessionbaseError if the last rotation is not finished, or PostgREST does not use the new
    keys.
    """
    with locked(data_dir):
        stack_config, stored = require(data_dir)
        if stored.previous_jwt_secret is not None:
            raise SessionbaseError(
                "the last rotation is not finished",
                "finish it when all tokens of the old secret have expired:"
                f" {command()} rotate-jwt-secret --finish",
            )
        changed = replace(
            stored,
            jwt_secret=random.token_urlsafe(48),
            previous_jwt_secret=stored.jwt_secret,
        )
        # PostgREST first: no token of the new secret exists before it is accepted.
        _apply(stack_config, changed, changed.jwt_secret, accepted=True)
        save_secrets(data_dir, changed)


def finish(data_dir: Path) -> None:
    """Refuse the tokens of the old secret from now on.

    Raises SessionbaseError if there is no rotation to finish, or PostgREST still uses the old key.
    """
    with locked(data_dir):
        stack_config, stored = require(data_dir)
        old = stored.previous_jwt_secret
        if old is None:
            raise SessionbaseError(
                "there is no rotation to finish", f"{command()} rotate-jwt-secret starts one"
            )
        changed = replace(stored, previous_jwt_secret=None)
        _apply(stack_config, changed, old, accepted=False)
        save_secrets(data_dir, changed)


def _apply(stack_config: StackConfig, changed: Secrets, secret: str, accepted: bool) -> None:
    """Let every running PostgREST of the stack read the keys, and wait until it uses them.

    `accepted` says whether a token of `secret` must be accepted then. Servers that do not run read
    the keys when they start.
    """
    account, reads = service_account(), replica.rest_config(stack_config)
    for config in (stack_config, reads):
        process = postgrest.find(config)
        if process is None:
            continue
        jwt_keys.write(config.home, changed.jwt_secrets, account)
        process.send_signal(signal.SIGUSR2)
        if config == stack_config or postgrest.is_ready(config):  # the replica may be off
            _wait(config, secret, accepted)


def _wait(stack_config: StackConfig, secret: str, accepted: bool) -> None:
    token = sign(make_claims("rotation"), secret)
    deadline = time.monotonic() + RELOAD_SECONDS
    while _accepts(stack_config, token) is not accepted:
        if time.monotonic() > deadline:
            raise SessionbaseError(
                "PostgREST does not use the new keys",
                f"restart it: {command()} down, then {command()} up; then try again",
            )
        time.sleep(0.05)


def _accepts(stack_config: StackConfig, token: str) -> bool | None:
    """Return whether PostgREST accepts a token; None if it can't be asked now."""
    headers = {"Authorization": f"Bearer {token}"}
    try:
        answer = httpx.get(
            f"{stack_config.rest_url}/todos?limit=0", headers=headers, timeout=5, trust_env=False
        )
    except httpx.HTTPError:
        return None
    return {200: True, 401: False}.get(answer.status_code)
