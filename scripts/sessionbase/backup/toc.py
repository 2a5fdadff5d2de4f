"""The list of the objects in a dump (`pg_restore --list`): choose and order them."""

import re

from sessionbase.migrate.ledger import OWNER

OUR_SCHEMAS = ("app", "api", "ops")
PUBLICATION = "sessionbase"

# 233; 1259 16675 TABLE app todos sessionbase_owner
_ENTRY = re.compile(
    r"\d+; \d+ (?P<oid>\d+) (?P<kind>[A-Z]+(?: [A-Z]+)*?) (?P<schema>-|app|api|ops) "
    r"(?P<name>.*) (?P<owner>\S*)"
)
_INDEXES = ("INDEX", "CONSTRAINT")


def select_and_order(listing: str) -> str:
    """Return the entries of the list that belong to sessionbase, for `pg_restore --use-list`.

    These are the schemas app, api and ops with all that is in them, the default privileges of
    sessionbase_owner, and the publication sessionbase. A dump of a database that other applications
    use contains more.

    Indexes and the constraints that have one are sorted by their OID, that is, in the order in
    which they were created. pg_dump writes all constraints first. But of indexes with the same cost
    the planner takes the newest, which must be the primary key (docs/decisions/0007).
    """
    kept = [(line, match) for line in listing.splitlines() if (match := _ours(line))]
    indexes = sorted(
        (entry for entry in kept if entry[1]["kind"] in _INDEXES),
        key=lambda entry: int(entry[1]["oid"]),
    )
    lines: list[str] = []
    placed = False
    for line, match in kept:
        if match["kind"] not in _INDEXES:
            lines.append(line)
        elif not placed:
            lines += [line for line, _ in indexes]
            placed = True
    return "\n".join(lines) + "\n"


def _ours(line: str) -> re.Match[str] | None:
    match = _ENTRY.fullmatch(line)
    if match is None:
        return None
    kind, schema, name = match["kind"], match["schema"], match["name"]
    if schema != "-":
        is_ours = not kind.startswith("PUBLICATION") or name.startswith(f"{PUBLICATION} ")
    elif kind == "SCHEMA":
        is_ours = name in OUR_SCHEMAS
    elif kind == "DEFAULT ACL":
        is_ours = match["owner"] == OWNER
    elif kind == "PUBLICATION":
        is_ours = name == PUBLICATION
    elif kind == "PUBLICATION TABLES IN SCHEMA":
        is_ours = name.startswith(f"{PUBLICATION} ")
    else:  # ACL, COMMENT, SECURITY LABEL
        is_ours = name in {f"SCHEMA {ours}" for ours in OUR_SCHEMAS} | {
            f"PUBLICATION {PUBLICATION}"
        }
    return match if is_ours else None
