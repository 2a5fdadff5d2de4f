"""What a record of a chat-tool-events.json file must look like to be read at all.

Only what a typed column cannot say is checked here: fields, types, times. Whatever is a rule about
the event itself (statuses, sizes, what goes with what) is left to the constraints of the database.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from sessionbase.importer.json_array import InexactNumber

_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(\.[0-9]+)?)?"
    r"(Z|[+-][0-9]{2}:?[0-9]{2})?"
)
_FURTHEST_ZONE = timedelta(hours=15, minutes=59)


class Event(NamedTuple):
    """The fields of a record that become columns of their own; its other fields stay JSON."""

    id: str
    session_id: str
    thread_id: str | None
    tool_call_id: str | None
    tool_name: str
    status: str
    error: str | None
    started_at: str
    completed_at: str | None


def read_record(value: Any) -> Event | list[str]:
    """Return the event that a decoded record tells of, or all that keeps it from being one."""
    if not isinstance(value, dict):
        return [f"it is {_kind(value)}, not an object"]
    reasons = [f"unknown field {name!r}" for name in value if name not in _FIELDS]
    for name, (required, right_type, wanted) in _FIELDS.items():
        if name not in value:
            if required:
                reasons.append(f"no {name}")
        elif value[name] is None:
            if required and name != "arguments":
                reasons.append(f"{name} is null, not {wanted}")
        elif right_type and not right_type(value[name]):
            reasons.append(f"{name} is {_kind(value[name])}, not {wanted}")
    times: list[str | None] = []
    for name in ("startedAt", "completedAt"):
        told = value.get(name)
        times.append(None)
        if isinstance(told, str):
            try:
                times[-1] = read_time(told)
            except ValueError as error:
                reasons.append(f"{name} is no time that can be kept: {error}")
    if reasons:
        return reasons
    return Event(
        value["id"],
        value["sessionId"],
        value.get("threadId"),
        value.get("toolCallId"),
        value["toolName"],
        value["status"],
        value.get("error"),
        times[0] or "",
        times[1],
    )


def read_time(text: str) -> str:
    """Return a time of the file as PostgreSQL reads it without loss.

    Takes what JavaScript's Date.toISOString gives, and ISO 8601 with another zone. Raises
    ValueError, in words, for a time without a zone, finer than a microsecond, or out of range.
    """
    match = _TIME.fullmatch(text)
    if not match:
        raise ValueError("it is not written as 2025-12-18T23:50:36.922Z")
    fraction, zone = match.groups()
    if not zone:
        raise ValueError("it names no time zone")
    if fraction and len(fraction) > 7:
        raise ValueError("it is finer than a microsecond")
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(str(error)) from None
    if zone == "Z":
        return text
    if abs(moment.utcoffset() or timedelta()) > _FURTHEST_ZONE:
        raise ValueError("there is no such time zone")
    try:
        return moment.astimezone(UTC).isoformat()
    except OverflowError:
        raise ValueError("it is out of range") from None


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    for kinds, name in _KINDS:
        if isinstance(value, kinds):
            return name
    return "a text"


_KINDS: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (bool, "a boolean"),
    ((int, InexactNumber), "a number"),
    (list, "an array"),
    (dict, "an object"),
)


def _is_text(value: Any) -> bool:
    return type(value) is str


def _is_integer(value: Any) -> bool:
    return type(value) is int


def _is_array(value: Any) -> bool:
    return type(value) is list


# name: (required, its type, that type in words); null is the same as leaving out, but for the JSON
# fields arguments and result, where it is a value.
_FIELDS: dict[str, tuple[bool, Callable[[Any], bool] | None, str]] = {
    "id": (True, _is_text, "a text"),
    "sessionId": (True, _is_text, "a text"),
    "threadId": (False, _is_text, "a text"),
    "toolCallId": (False, _is_text, "a text"),
    "toolName": (True, _is_text, "a text"),
    "status": (True, _is_text, "a text"),
    "arguments": (True, None, "JSON"),
    "result": (False, None, "JSON"),
    "error": (False, _is_text, "a text"),
    "contextEvents": (False, _is_array, "an array"),
    "startedAt": (True, _is_text, "a text"),
    "completedAt": (False, _is_text, "a text"),
    "latencyMs": (False, _is_integer, "a whole number"),
}
