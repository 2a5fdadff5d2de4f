"""PostgreSQL's lock modes of tables, from weak to strong, and what each blocks.

Source: https://www.postgresql.org/docs/current/explicit-locking.html, section 13.3.1.
"""

from enum import IntEnum


class Lock(IntEnum):
    """A lock mode. The order is the one of the documentation; the number is LOCK TABLE's."""

    ACCESS_SHARE = 1
    ROW_SHARE = 2
    ROW_EXCLUSIVE = 3
    SHARE_UPDATE_EXCLUSIVE = 4
    SHARE = 5
    SHARE_ROW_EXCLUSIVE = 6
    EXCLUSIVE = 7
    ACCESS_EXCLUSIVE = 8

    @property
    def label(self) -> str:
        """The name in PostgreSQL's documentation: `ACCESS EXCLUSIVE`."""
        return self.name.replace("_", " ")

    @property
    def blocks_writes(self) -> bool:
        """Whether INSERT, UPDATE and DELETE of other sessions wait."""
        return self >= Lock.SHARE

    @property
    def blocks_reads(self) -> bool:
        """Whether SELECT of other sessions waits."""
        return self is Lock.ACCESS_EXCLUSIVE

    @property
    def blocks(self) -> str:
        """What other sessions can't do until the transaction ends, in plain words."""
        if self.blocks_reads:
            return "reads and writes"
        if self.blocks_writes:
            return "writes, not reads"
        if self is Lock.SHARE_UPDATE_EXCLUSIVE:
            return "neither reads nor writes; only VACUUM and other schema changes"
        return "neither reads nor writes; only some schema changes"


def from_pg_locks(mode: str) -> Lock:
    """Return the mode that pg_locks names: `AccessExclusiveLock`."""
    words = mode.removesuffix("Lock")
    name = "".join(f"_{char}" if char.isupper() else char.upper() for char in words)
    return Lock[name.removeprefix("_")]


LOCKS = {lock.label: lock for lock in Lock}
"""The modes by their names in the documentation."""
