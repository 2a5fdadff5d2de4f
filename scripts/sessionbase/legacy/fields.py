"""The description of a legacy record: its fields, their types in the file, and their columns.

A record is described once (see tool_events.py). The check of a decoded record, the importer's SQL
and the exporter's SQL are all made from that description.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sessionbase.legacy.json_array import InexactNumber

PRETTY_LIMIT = 65536
"""Bytes of a JSON value up to which the exporter indents it. A longer value is written on one line,
because indentation could make a deeply nested value a thousand times as long."""


@dataclass(frozen=True)
class Kind:
    """The type of a field."""

    description: str
    """The type in the file, for messages."""
    accepts: Callable[[Any], bool]
    """Whether a decoded value, not null, has the type."""
    type: str
    """The PostgreSQL type."""
    read: str
    """SQL that reads the value from a record: {0} is the record (jsonb), {1} the key, quoted."""
    write: str
    """SQL that gives the JSON text of the value in the column {0}."""
    staged: bool = False
    """Whether Python copies the value into a column of the staging table. If not, SQL reads it from
    the record."""
    parse: Callable[[str], str] = str
    """Converts a staged value to PostgreSQL's input form. Raises ValueError."""
    null_is_a_value: bool = False
    """Whether a JSON null is stored as such. If not, null means that the field is absent."""


@dataclass(frozen=True)
class Field:
    """One field of a record."""

    key: str
    """The key in the file."""
    column: str
    """The column of the table."""
    kind: Kind
    required: bool = False
    changes: bool = False
    """Whether a status transition may change it. The other fields never change once stored."""
    computed: str | None = None
    """SQL over the other columns, for a field that is not stored."""
    formula: str = ""
    """What `computed` means, in the keys of the file, for messages."""

    def read(self, record: str) -> str:
        """Return SQL that reads the value from `record`, an SQL expression of type jsonb."""
        return self.kind.read.format(record, f"'{self.key}'")

    def write(self) -> str:
        """Return SQL that gives the value as JSON text, from a row of the table."""
        return self.kind.write.format(f"({self.computed})" if self.computed else self.column)


@dataclass(frozen=True)
class Record:
    """A kind of record, and the table that stores it."""

    noun: str
    """The name of one record, for messages."""
    table: str
    fields: tuple[Field, ...]
    """In the order in which the app writes the keys."""
    key: str
    """The column that identifies a row within its profile."""
    status: str
    """The column that transitions change."""
    session: str
    """The column with the session, in which records have an order."""
    started: str
    """The column that gives the order, together with the key."""
    may_change: str
    """The SQL function (from_status, to_status) that returns whether a transition is legal."""

    @property
    def stored(self) -> tuple[Field, ...]:
        """The fields that are columns of the table."""
        return tuple(field for field in self.fields if not field.computed)

    @property
    def staged(self) -> tuple[Field, ...]:
        """The fields that Python copies into columns of the staging table."""
        return tuple(field for field in self.stored if field.kind.staged)

    def field(self, column: str) -> Field:
        """Return the field of a column."""
        return next(field for field in self.fields if field.column == column)


class InvalidRecordError(ValueError):
    """A decoded value is not a record of the expected form; `reasons` lists all errors."""

    def __init__(self, reasons: list[str]) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = reasons


def read_record(record: Record, value: Any) -> list[str | None]:
    """Return the values of the staged fields of a decoded record, in PostgreSQL's input form.

    Checks what a typed column can't: that the fields are known, and their types. The rules about
    values (statuses, sizes, combinations) are the constraints of the table. Raises
    InvalidRecordError.
    """
    if not isinstance(value, dict):
        raise InvalidRecordError([f"it is {_type_of(value)}, not an object"])
    keys = {field.key for field in record.fields}
    reasons = [f"unknown field {key!r}" for key in value if key not in keys]
    values: list[str | None] = []
    for field in record.fields:
        try:
            checked = _checked(field, value)
        except ValueError as error:
            reasons.append(str(error))
        else:
            if field.kind.staged:
                values.append(checked)
    if reasons:
        raise InvalidRecordError(reasons)
    return values


def _checked(field: Field, record: dict[str, Any]) -> Any:
    """Return the field's value, parsed; None if it is absent. Raises ValueError."""
    kind, key = field.kind, field.key
    if key not in record:
        if field.required:
            raise ValueError(f"no {key}")
        return None
    value = record[key]
    if value is None:
        if field.required and not kind.null_is_a_value:
            raise ValueError(f"{key} is null, not {kind.description}")
        return None
    if not kind.accepts(value):
        raise ValueError(f"{key} is {_type_of(value)}, not {kind.description}")
    if not kind.staged:
        return value
    try:
        return kind.parse(value)
    except ValueError as error:
        raise ValueError(f"{key} is not a valid time: {error}") from None


_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(\.[0-9]+)?)?"
    r"(Z|[+-][0-9]{2}:?[0-9]{2})?"
)
_MAX_UTC_OFFSET = timedelta(hours=15, minutes=59)  # PostgreSQL's limit


def read_time(text: str) -> str:
    """Return a time of the file in a form that PostgreSQL reads without loss.

    Accepts what JavaScript's Date.toISOString gives, and ISO 8601 with another UTC offset. Raises
    ValueError for a time without an offset, with more than 6 decimals, or out of range.
    """
    match = _TIME.fullmatch(text)
    if not match:
        raise ValueError("it is not written as 2025-12-18T23:50:36.922Z")
    fraction, zone = match.groups()
    if not zone:
        raise ValueError("it has no time zone")
    if fraction and len(fraction) > 7:
        raise ValueError("it is more precise than a microsecond")
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(str(error)) from None
    if zone == "Z":
        return text
    if abs(moment.utcoffset() or timedelta()) > _MAX_UTC_OFFSET:
        raise ValueError("there is no such time zone")
    try:
        return moment.astimezone(UTC).isoformat()
    except OverflowError:
        raise ValueError("it is out of range") from None


_TYPES: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (bool, "a boolean"),
    ((int, InexactNumber), "a number"),
    (list, "an array"),
    (dict, "an object"),
)


def _type_of(value: Any) -> str:
    if value is None:
        return "null"
    return next((name for kinds, name in _TYPES if isinstance(value, kinds)), "a text")


def _is_text(value: Any) -> bool:
    return type(value) is str


_WRITE_JSON = (
    f"case when octet_length({{0}}::text) > {PRETTY_LIMIT}"
    " then {0}::text else replace(jsonb_pretty({0}), E'\\n', E'\\n    ') end"
)

TEXT = Kind("a text", _is_text, "text", "{0} ->> {1}", "to_json({0})::text", staged=True)
TIME = Kind(
    "a text",
    _is_text,
    "timestamptz",
    "({0} ->> {1})::timestamptz",
    # Milliseconds, as the app writes them, unless the value has microseconds.
    "to_json(to_char({0}, case when date_trunc('milliseconds', {0}) = {0} "
    """then 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"' else 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"' end))::text""",
    staged=True,
    parse=read_time,
)
JSON = Kind("JSON", lambda _: True, "jsonb", "{0} -> {1}", _WRITE_JSON, null_is_a_value=True)
ARRAY = Kind(
    "an array",
    lambda value: type(value) is list,
    "jsonb",
    "nullif({0} -> {1}, 'null')",
    _WRITE_JSON,
)
INTEGER = Kind(
    "a whole number",
    lambda value: type(value) is int,
    "numeric",
    "({0} ->> {1})::numeric",
    "{0}::text",
)
