"""List the profiles that have rows, in pages."""

from dataclasses import dataclass
from typing import Any

from psycopg import sql

from sessionbase.profile.session import snapshot
from sessionbase.profile.tables import NAMES, count_rows

# The logs of transitions are not read: each of their rows refers to a row of these tables.
_WITH_PROFILES = tuple(name for name in NAMES if not name.endswith("_transitions"))


@dataclass(frozen=True)
class ListedProfile:
    """A profile, and how many rows each table has of it."""

    profile: str
    rows: dict[str, int] | None
    """None if they were not counted."""


@dataclass(frozen=True)
class ProfilePage:
    """A page of the list."""

    profiles: list[ListedProfile]
    next_after: str | None
    """The `after` of the next page; None if this one is the last."""


def list_profiles(db_uri: str, after: str, limit: int, *, counts: bool) -> ProfilePage:
    """Return the first `limit` profiles whose id is greater than `after`.

    Each id costs one look into an index per table, for any number of rows. Only `counts` reads the
    rows, of the listed profiles.
    """
    with snapshot(db_uri) as conn:
        # Without statistics of a profile, the planner could read a whole table for the next id.
        conn.execute("set local enable_seqscan = off")
        found = conn.execute(_query(), {"after": after, "limit": limit + 1}).fetchall()
        page = [str(profile) for (profile,) in found[:limit]]
        profiles = [
            ListedProfile(profile, count_rows(conn, profile) if counts else None)
            for profile in page
        ]
    return ProfilePage(profiles, page[-1] if len(found) > limit else None)


def _query() -> sql.Composed:
    """Return the query, which goes from each id to the next higher one of any table."""
    return sql.SQL("""
with recursive listed (profile_id) as (
  select {first}
  union all
  select {next} from listed where listed.profile_id is not null
)
select profile_id from listed where profile_id is not null limit %(limit)s
""").format(first=_next(sql.SQL("%(after)s::text")), next=_next(sql.SQL("listed.profile_id")))


def _next(previous: Any) -> sql.Composed:
    return sql.SQL("(select min(found.profile_id) from ({}) as found)").format(
        sql.SQL(" union all ").join(
            sql.SQL(
                "(select stored.profile_id from {table} as stored"
                " where stored.profile_id > {previous} order by stored.profile_id limit 1)"
            ).format(table=sql.Identifier("app", name), previous=previous)
            for name in _WITH_PROFILES
        )
    )
