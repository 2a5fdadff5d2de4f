"""Read and verify the chains of hookify decisions in a database.

Each function reads one snapshot of the database (REPEATABLE READ, read only). Decisions that are
recorded meanwhile are not part of it, so that a chain that grows is neither reported as broken nor
verified without end.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import namedtuple_row

from sessionbase.audit.checkpoint import Chain, Checkpoint, refuse_existing, write_checkpoint
from sessionbase.console import CountProgress
from sessionbase.database import become_owner, check_profile, connect
from sessionbase.errors import SessionbaseError

RANGE = 10_000
"""How many decisions one statement verifies: about 0.2 s (50,000 a second, measured)."""

# Lists the profiles: their chains are verified one by one afterwards.
_LIST = """
select profile_id, length, head_hash, valid, problem, next_position, erased_at
from api.verify_hookify_decisions(profile_id => %(profile)s, max_decisions => 1)
"""
_IS_KNOWN = """
select exists (select from app.hookify_chains where profile_id = %(profile)s)
  or exists (select from app.hookify_decisions where profile_id = %(profile)s)
  or exists (
    select from app.profile_log
    where profile_id = %(profile)s and (action = 'erase' or chain_length > 0)
  )
"""
_VERIFY = """
select valid, checked, next_position, first_bad_position, first_bad_id, problem
from api.verify_hookify_decisions(%(profile)s, %(position)s, %(range)s)
"""
_DECISION = """
select row_hash from app.hookify_decisions
where profile_id = %(profile)s and position = %(position)s
"""
_NEWEST = """
select position, row_hash from app.hookify_decisions
where profile_id = %(profile)s
order by position desc limit 1
"""
# done_at is when the transaction of the erasure began: it can have committed much later, because it
# waits up to a minute for requests of the profile (LOCK_TIMEOUT in sessionbase/profile/session.py).
# An erasure that an import followed before the checkpoint was in any case before the checkpoint.
_ERASURES = """
select done_at, done_by, chain_length, chain_head_hash, reason,
  done_at >= %(since)s::timestamptz - interval '1 minute' as is_later,
  exists (
    select from app.profile_log as later
    where later.profile_id = entry.profile_id and later.number > entry.number
      and later.action = 'import' and later.done_at < %(since)s::timestamptz
  ) as is_earlier
from app.profile_log as entry
where profile_id = %(profile)s and action = 'erase'
order by number
"""


@dataclass(frozen=True)
class Erasure:
    """The last erasure of a profile by `sessionbase profile erase`."""

    profile_id: str
    erased_at: str
    erased_by: str
    decisions: int
    """How many decisions were erased."""
    head_hash: str
    """row_hash of the newest of them; 64 zeros if there was none."""
    reason: str | None
    decisions_since: int
    """The length of the chain that the profile has now."""


@dataclass(frozen=True)
class Problem:
    """A chain that is not as it was recorded."""

    profile_id: str
    position: int | None
    id: str | None
    problem: str


@dataclass
class VerifyReport:
    """What was verified, and what is wrong."""

    chains: int = 0
    decisions: int = 0
    problems: list[Problem] = field(default_factory=list)
    erased: list[Erasure] = field(default_factory=list)

    @property
    def valid(self) -> bool | None:
        """Whether there is no problem; None if there is no chain because all were erased."""
        if self.problems:
            return False
        return None if self.erased and not self.chains else True


@dataclass(frozen=True)
class CheckpointReport:
    """What was written to a checkpoint, and which of these chains have no valid head."""

    chains: int
    decisions: int
    problems: list[Problem]


def verify_chains(
    db_uri: str,
    profile: str | None = None,
    checkpoint: Checkpoint | None = None,
    progress: CountProgress | None = None,
) -> VerifyReport:
    """Verify the chain of one profile, or of all, and compare them with a checkpoint if given.

    Raises SessionbaseError if the database can't be read, or the profile is unknown to it and to
    the checkpoint.
    """
    if profile is not None:
        check_profile(profile)
    expected = [
        chain
        for chain in (checkpoint.chains if checkpoint else ())
        if profile in {None, chain.profile_id}
    ]
    report = VerifyReport()
    with _snapshot(db_uri) as conn:
        found = _list_chains(conn, profile)
        if profile is not None and not found and not expected:
            raise SessionbaseError(
                f"no decisions are recorded for profile {profile}", "check the spelling"
            )
        total = sum(chain.length for chain in found)
        for chain in found:
            if chain.erased_at is not None:
                report.erased.append(_last_erasure(conn, chain))
            if not _is_erased(chain):
                _verify_chain(conn, chain.profile_id, report, total, progress)
        since = checkpoint.created_at if checkpoint else None
        known = {chain.profile_id for chain in found}
        for chain in expected:
            problem = _compare(conn, chain, is_known=chain.profile_id in known, since=since)
            if problem:
                report.problems.append(Problem(chain.profile_id, *problem))
    return report


def export_checkpoint(db_uri: str, path: Path, key: bytes) -> CheckpointReport:
    """Write a signed checkpoint of all chains to a new file.

    The chains are not verified. Raises SessionbaseError if the database can't be read, or if the
    file exists or can't be written.
    """
    refuse_existing(path)
    chains: list[Chain] = []
    problems: list[Problem] = []
    with _snapshot(db_uri) as conn:
        database, now = _fetch_one(conn, "select current_database(), now()")
        for found in _list_chains(conn, None):
            if _is_erased(found):
                continue
            length, head_hash = found.length, found.head_hash
            if found.valid is False:
                problems.append(Problem(found.profile_id, None, None, found.problem))
            if not length:
                # The head is missing: with its newest row, the checkpoint can still show that the
                # rows are deleted later.
                newest = _fetch_one(conn, _NEWEST, profile=found.profile_id)
                if newest is None:
                    continue
                length, head_hash = newest
            chains.append(Chain(found.profile_id, length, head_hash))
    created_at = now.astimezone(UTC).isoformat(timespec="seconds")
    write_checkpoint(path, key, created_at, database, chains)
    return CheckpointReport(len(chains), sum(chain.length for chain in chains), problems)


@contextmanager
def _snapshot(db_uri: str) -> Iterator[psycopg.Connection[Any]]:
    with connect(db_uri) as conn:
        conn.execute("set transaction isolation level repeatable read, read only")
        conn.execute("set local search_path = ''")
        conn.execute("set local statement_timeout = 0")
        become_owner(conn)
        yield conn


def _fetch_one(conn: psycopg.Connection[Any], query: str, **values: object) -> Any:
    return conn.execute(query.encode(), values).fetchone()


def _list_chains(conn: psycopg.Connection[Any], profile: str | None) -> list[Any]:
    if profile is not None and not _fetch_one(conn, _IS_KNOWN, profile=profile)[0]:
        return []
    with conn.cursor(row_factory=namedtuple_row) as cursor:
        return cursor.execute(_LIST, {"profile": profile}).fetchall()


def _verify_chain(
    conn: psycopg.Connection[Any],
    profile: str,
    report: VerifyReport,
    total: int,
    progress: CountProgress | None,
) -> None:
    """Verify a chain range by range, up to its end or its first problem."""
    report.chains += 1
    position: int | None = 1
    while position is not None:
        valid, checked, position, bad_position, bad_id, problem = _fetch_one(
            conn, _VERIFY, profile=profile, position=position, range=RANGE
        )
        report.decisions += checked
        if valid is False:
            report.problems.append(Problem(profile, bad_position, bad_id, problem))
        if progress:
            progress(report.decisions, total)


def _is_erased(found: Any) -> bool:
    """Return whether a listed profile has no chain because it was erased."""
    return found.erased_at is not None and found.valid is None and found.next_position is None


def _last_erasure(conn: psycopg.Connection[Any], found: Any) -> Erasure:
    *_, last = _erasures(conn, found.profile_id, None)
    return Erasure(
        found.profile_id,
        last.done_at.astimezone(UTC).isoformat(timespec="seconds"),
        last.done_by,
        last.chain_length,
        last.chain_head_hash,
        last.reason,
        found.length,
    )


def _erasures(conn: psycopg.Connection[Any], profile: str, since: str | None) -> list[Any]:
    with conn.cursor(row_factory=namedtuple_row) as cursor:
        values = {"profile": profile, "since": since}
        return cursor.execute(_ERASURES.encode(), values).fetchall()


def _compare(
    conn: psycopg.Connection[Any], chain: Chain, *, is_known: bool, since: str | None
) -> tuple[int | None, None, str] | None:
    """Return position, id and description of what is wrong with a chain of the checkpoint.

    None: nothing is wrong, or the chain was erased later and was not shorter then.
    """
    decision = _fetch_one(conn, _DECISION, profile=chain.profile_id, position=chain.length)
    if decision is not None and decision[0] == chain.head_hash:
        return None
    for erasure in _erasures(conn, chain.profile_id, since) if is_known else []:
        if erasure.is_earlier:
            continue
        if (erasure.chain_length, erasure.chain_head_hash) == (chain.length, chain.head_hash):
            return None
        if erasure.is_later:
            if erasure.chain_length > chain.length:
                return None
            return (
                chain.length,
                None,
                f"the chain that was erased on {erasure.done_at:%Y-%m-%d} had "
                f"{erasure.chain_length} decisions and was not the one of the checkpoint",
            )
    if not is_known:
        problem = f"the chain is missing; the checkpoint has {chain.length} decisions of it"
        return None, None, problem
    if decision is None:
        newest = _fetch_one(conn, _NEWEST, profile=chain.profile_id)
        problem = (
            f"the chain is shorter than in the checkpoint: it ends after "
            f"{newest[0] if newest else 0} decisions, the checkpoint has {chain.length}"
        )
    else:
        problem = (
            "the chain was rewritten: its decision at this position is not the one of the "
            "checkpoint"
        )
    return chain.length, None, problem
