"""Checks the format of errors over HTTP."""

import json
from typing import Any

import httpx


def refused(answer: httpx.Response, status: int, code: str, message: str) -> Any:
    """Assert that the response is this error of sessionbase; return its `details`, parsed."""
    body = answer.json()
    assert (answer.status_code, body.get("code")) == (status, code), answer.text
    assert set(body) == {"code", "message", "details", "hint"}
    assert body["message"] == message
    assert body["hint"] is None or body["hint"].strip()
    return None if body["details"] is None else json.loads(body["details"])
