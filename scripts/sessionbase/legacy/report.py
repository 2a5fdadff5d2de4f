"""The result of an import, or of a dry run."""

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class StatusParity:
    """The number of records with one status, in the file and in the database.

    `moved_away` and `moved_here` count the records whose status changed after the file was written.
    """

    status: str
    file: int
    database: int
    moved_away: int
    moved_here: int

    @property
    def agrees(self) -> bool:
        """Whether the counts agree, apart from the status changes since."""
        return self.database == self.file - self.moved_away + self.moved_here


@dataclass(frozen=True)
class Parity:
    """The comparison of the accepted records with the rows of the database, one by one."""

    by_status: list[StatusParity]
    sessions: int
    missing: int
    """Records that the database does not have."""
    out_of_order: int
    """Records with another position in their session, or in another session."""

    @property
    def agrees(self) -> bool:
        """Whether nothing is missing, miscounted or out of order."""
        return not self.missing and not self.out_of_order and all(s.agrees for s in self.by_status)


@dataclass
class ImportReport:
    """Counts of records; each record of the file is in exactly one of the four outcomes."""

    file: str
    profile: str
    dry_run: bool = False
    missing_file: bool = False
    records: int = 0
    new: int = 0
    """Neither stored nor rejected: these are loaded, unless the import is refused."""
    already_there: int = 0
    moved_on: int = 0
    """The part of `already_there` whose status has changed since the file was written."""
    conflicts: int = 0
    rejected: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    """The most common reasons of rejects and conflicts, and the number of records with each."""
    rejects_file: str | None = None
    refused: bool = False
    """Nothing was loaded, because of rejects or conflicts."""
    parity: Parity | None = None
    seconds: float = 0.0

    @property
    def loaded(self) -> int:
        """The number of records that this import has stored."""
        return 0 if self.dry_run or self.refused else self.new

    @property
    def ok(self) -> bool:
        """Whether the command exits with 0."""
        return not self.refused

    def as_dict(self) -> dict[str, Any]:
        """Return the report for a program; `--json` prints it."""
        return {**asdict(self), "loaded": self.loaded, "ok": self.ok}
