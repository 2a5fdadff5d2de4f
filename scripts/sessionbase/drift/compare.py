"""Compare two catalogues: the differences in words, each with what undoes it."""

import difflib
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from psycopg import sql

from sessionbase.drift.catalogue import Catalogue, Connection, Item
from sessionbase.drift.notes import explain
from sessionbase.drift.undo import Change, setting, undo_change

# Created after everything that they refer to.
_LAST = ("membership", "setting", "grant", "default privilege", "comment")

# Values of more than one line, or longer, are shown as a diff.
_LONG = 120


@dataclass
class Difference:
    """One difference between the database and the files."""

    level: str
    """`drift`, or `note` for what an installation may choose itself."""
    kind: str
    object: str
    problem: str
    """`missing`, `unexpected`, `differs` or `renamed`."""
    what: str
    """The difference in words; a long value as a diff on the lines after the first."""
    attribute: str | None = None
    expected: Any = None
    actual: Any = None
    statements: list[str] = field(default_factory=list)
    """What undoes it, in this order; empty if nothing does so safely."""
    remark: str | None = None
    """Why it is a note, or what to do if there is no statement."""


@dataclass
class _Found:
    """A difference, and where its statements are in the order of all."""

    difference: Difference
    order: tuple[int, int]
    item: Item
    hidden: bool = False
    """It is part of an object that is missing or unexpected itself."""


def compare(
    conn: Connection,
    expected: Catalogue,
    actual: Catalogue,
    kinds: list[str],
    accept: Sequence[str] = (),
) -> tuple[list[Difference], list[str]]:
    """Return the differences, and all statements that undo the drift, in the order to run them.

    `conn` is the connection to the database, for the quoting of values. `kinds` are the names of
    the kinds in their order. What matches a pattern of `accept` is only a note.
    """
    found = _Comparison(conn, expected, actual, kinds).run()
    for one in found:
        if any(fnmatchcase(one.difference.object, pattern) for pattern in accept):
            one.difference.level, one.difference.remark = "note", "accepted"
    found.sort(key=lambda one: (kinds.index(one.difference.kind), one.difference.object))
    shown = [one.difference for one in found if not one.hidden]
    in_order = sorted(
        (one for one in found if one.difference.level == "drift"), key=lambda one: one.order
    )
    # Several attributes of one object can have the same statements.
    blocks = dict.fromkeys(tuple(one.difference.statements) for one in in_order)
    last = _reindexes(expected, in_order)
    statements = [statement for block in blocks for statement in block if statement not in last]
    return shown, statements + last


class _Comparison:
    def __init__(
        self, conn: Connection, expected: Catalogue, actual: Catalogue, kinds: list[str]
    ) -> None:
        self._conn = conn
        self._versions = {expected.version // 10000, actual.version // 10000}
        self._expected = {name: item for name, item in expected.items.items() if self._counts(item)}
        self._actual = {name: item for name, item in actual.items.items() if self._counts(item)}
        self._kinds = kinds
        self._lost: set[str] = set()
        self._children: dict[str, list[Item]] = defaultdict(list)
        for item in self._expected.values():
            if item.parent:
                self._children[item.parent].append(item)

    def _counts(self, item: Item) -> bool:
        """The privilege MAINTAIN is new in 17: it is left out if one of the servers is older."""
        return min(self._versions) >= 17 or item.parts.get("privilege") != "maintain"

    def run(self) -> list[_Found]:
        missing = [item for name, item in self._expected.items() if name not in self._actual]
        unexpected = [item for name, item in self._actual.items() if name not in self._expected]
        self._lost = {item.object for item in missing if self._is_lost(item)}
        renamed = dict(self._renamed(missing, unexpected))
        gone = {item.object for item in missing}
        new = {item.object for item in unexpected}
        found = [self._rename(old, self._actual[name]) for name, old in renamed.items()]
        hidden_by_rename = {old.object for old in renamed.values()} | set(renamed)
        for item in missing:
            if item.object not in hidden_by_rename:
                hidden = self._is_part(item, self._expected, gone)
                renamed_with = self._is_part(item, self._expected, hidden_by_rename)
                found += [] if renamed_with else [self._missing(item, hidden)]
        for item in unexpected:
            is_part = self._is_part(item, self._actual, new | hidden_by_rename)
            if item.object not in hidden_by_rename and not is_part:
                found.append(self._unexpected(item))
        for name, item in self._expected.items():
            if name in self._actual:
                found += self._changes(item, self._actual[name])
        return found

    def _is_part(self, item: Item, items: dict[str, Item], names: set[str]) -> bool:
        """Return whether an object that it is a part of, or a column of it, is among `names`."""
        columns = item.parts.get("columns") or []
        if item.kind in {"constraint", "index"} and not names.isdisjoint(columns):
            return True
        parent = item.parent
        while parent is not None:
            if parent in names:
                return True
            holder = items.get(parent)
            parent = holder.parent if holder else None
        return False

    def _renamed(self, missing: list[Item], unexpected: list[Item]) -> Iterator[tuple[str, Item]]:
        """Yield the new name and the old object of what has only another name."""
        for old in missing:
            same = [item for item in unexpected if self._same(old, item)]
            twins = [item for item in missing if len(same) == 1 and self._same(item, same[0])]
            if len(same) == 1 and twins == [old]:
                yield same[0].object, old

    def _same(self, old: Item, new: Item) -> bool:
        return (
            "rename" in old.parts
            and (old.kind, old.parent) == (new.kind, new.parent)
            and _without_names(old) == _without_names(new)
        )

    def _rename(self, old: Item, new: Item) -> _Found:
        name = sql.Identifier(old.parts["name"]).as_string(self._conn)
        difference = Difference(
            "drift",
            old.kind,
            new.object,
            "renamed",
            f"{new.object} has another name, expected: {old.object}",
            statements=[f"{new.parts['rename']}{name}"],
        )
        return _Found(difference, (0, new.place), new)

    def _missing(self, item: Item, hidden: bool) -> _Found:
        statements = item.creation or []
        remark = None
        if item.kind == "setting":
            statements = setting(self._conn, item)
        elif item.object in self._lost or self._is_part(item, self._expected, self._lost):
            statements = []
        elif hidden and item.parts.get("grantee") == "its owner":
            statements = []  # a new object has them
        if item.kind == "table":
            remark = "its rows are lost: restore them from a backup"
        elif item.kind == "column" and not statements:
            remark = "its values are lost: restore the table from a backup"
        elif not statements:
            remark = "no statement: look at it first"
        what = f"{item.object} is missing"
        difference = Difference(
            "drift", item.kind, item.object, "missing", what, statements=statements, remark=remark
        )
        self._explain(difference, item)
        phase = 1 if item.kind == "role" else 5 if item.kind in _LAST else 3
        place = self._kinds.index(item.kind) if phase == 5 else item.place
        return _Found(difference, (phase, place), item, hidden)

    def _is_lost(self, item: Item) -> bool:
        """Return whether no statement creates it again."""
        if item.kind == "column":
            return bool(item.parts["needs a value"]) and item.parent in self._actual
        return not item.creation and item.kind not in {"setting", "index", "sequence"}

    def _unexpected(self, item: Item) -> _Found:
        values = ", ".join(
            f"{name} {_word(value)}"
            for name, value in item.attributes.items()
            if value not in (None, False, [], {}) and name != "owner" and len(_word(value)) < 60
        )
        shown = f" ({values})" if values and item.kind in {"setting", "column", "policy"} else ""
        remark = None
        if not item.removal:
            remark = {
                "table": "if its rows are not needed, drop it",
                "column": "if its values are not needed, drop it",
                "sequence": "if it is not needed, drop it",
            }.get(item.kind, "no statement: look at it first")
        difference = Difference(
            "drift",
            item.kind,
            item.object,
            "unexpected",
            f"{item.object} is in the database, and no file creates it{shown}",
            actual=item.attributes,
            statements=self._removal(item),
            remark=remark,
        )
        self._explain(difference, item)
        # The newest first: an older object does not depend on it.
        return _Found(difference, (2, -item.place), item)

    def _removal(self, item: Item) -> list[str]:
        """Return the statements that remove an object.

        What was granted to the owner of an object belongs to the right owner as soon as the object
        does.
        """
        statements = item.removal or []
        if item.parts.get("grantee") != "its owner":
            return statements
        holder = self._expected.get(item.parent or "")
        while holder and "owner" not in holder.attributes:
            holder = self._expected.get(holder.parent or "")
        if holder is None:
            return statements
        old, new = item.parts["owner"], holder.attributes["owner"]
        return [one.replace(f" from {old} cascade", f" from {new} cascade") for one in statements]

    def _changes(self, expected: Item, actual: Item) -> Iterator[_Found]:
        for attribute, wanted in expected.attributes.items():
            now = actual.attributes.get(attribute)
            if self._equal(expected.kind, attribute, wanted, now):
                continue
            change = Change(expected, actual, attribute, self._parts)
            statements = undo_change(self._conn, change)
            remark = None if statements else _advice(expected, attribute)
            difference = Difference(
                "drift",
                expected.kind,
                expected.object,
                "differs",
                _describe(expected.object, attribute, now, wanted),
                attribute=attribute,
                expected=wanted,
                actual=now,
                statements=statements or [],
                remark=remark,
            )
            self._explain(difference, actual)
            phase = 1 if attribute == "owner" else 4
            yield _Found(difference, (phase, self._kinds.index(expected.kind)), actual)

    def _equal(self, kind: str, attribute: str, wanted: Any, now: Any) -> bool:
        if kind == "membership" and None in (wanted, now):
            return True  # one of the servers is older than 16
        if attribute in {"order of columns", "newest index"}:
            both = set(wanted or ()) & set(now or ())
            left = [name for name in wanted or () if name in both]
            right = [name for name in now or () if name in both]
            return left[-1:] == right[-1:] if attribute == "newest index" else left == right
        return bool(wanted == now)

    def _parts(self, item: Item) -> list[Item]:
        """Return the parts of an expected object, and theirs, that are in both catalogues."""
        found = []
        for child in sorted(self._children[item.object], key=lambda child: child.place):
            if child.object in self._actual:
                found += [child, *self._parts(child)]
        return found

    def _explain(self, difference: Difference, item: Item) -> None:
        """Make a note of what an installation may choose itself."""
        reason = explain(difference.problem, difference.attribute, item, self._actual)
        if reason:
            difference.level, difference.remark = "note", reason


def _without_names(item: Item) -> Any:
    return {name: value for name, value in item.attributes.items() if name != "newest index"}


def _reindexes(expected: Catalogue, found: Iterable[_Found]) -> list[str]:
    """Return the statements after which the newest index of each table is the right one again.

    They are the last ones: a new index is the newest of its table.
    """
    newest = set()
    for one in found:
        item, difference = one.item, one.difference
        if difference.attribute == "newest index":
            newest.add(difference.expected[-1])
        is_index = item.kind == "index" or item.parts.get("index")
        if not is_index or difference.problem in {"unexpected", "renamed"}:
            continue
        table = f"table {item.parts.get('belongs to') or item.parts.get('table')}"
        order = expected.items[table].attributes["newest index"] if table in expected.items else []
        if difference.statements and order and order[-1] != item.parts["index"]:
            newest.add(order[-1])
    return [f"reindex index concurrently {index}" for index in sorted(newest)]


def _advice(item: Item, attribute: str) -> str:
    if item.kind == "index" and (item.parent or "").startswith("constraint "):
        return "its constraint differs too"
    if item.kind == "view":
        return "`migrate --repair-api` drops it and creates it again"
    if attribute == "order of columns":
        return "only a new table has another order"
    if item.kind == "column":
        return "no statement: some values can be lost"
    return "no statement: look at it first"


def _word(value: Any) -> str:
    """Return a value as text, as it is shown to the user."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, dict):
        return ", ".join(f"{name}={_word(one)}" for name, one in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return str(value)


def _describe(name: str, attribute: str, now: Any, wanted: Any) -> str:
    if attribute == "newest index":
        now, wanted = now[-1], wanted[-1]
    left, right = _word(wanted), _word(now)
    if "\n" not in left + right and len(left) + len(right) <= _LONG:
        return f"{name}: {attribute} is {right}, expected: {left}"
    lines = list(difflib.unified_diff(_lines(left), _lines(right), "files", "database", "", "", 1))
    return "\n".join([f"{name}: {attribute} differs", *lines])


def _lines(text: str) -> list[str]:
    return re.sub(r"\s+$", "", text).split("\n")
