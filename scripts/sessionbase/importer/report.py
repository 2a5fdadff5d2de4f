"""What an import did, or would do."""

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class StatusParity:
    """The events of one status: in the file, in the database, and how many left it since."""

    status: str
    file: int
    database: int
    moved_away: int
    moved_here: int

    @property
    def agrees(self) -> bool:
        """Whether the database holds what the file says, apart from what has moved on."""
        return self.database == self.file - self.moved_away + self.moved_here


@dataclass(frozen=True)
class Parity:
    """The accepted records of the file against the rows of the database, event by event."""

    by_status: list[StatusParity]
    sessions: int
    missing: int
    """Events that the file has and the database has not."""
    out_of_order: int
    """Events that stand in another place of their session, or in another session."""

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
    """Neither in the database nor refused: `loaded` if the import went through."""
    already_there: int = 0
    moved_on: int = 0
    """Of `already_there`: their status has moved on in the database since the file was written."""
    conflicts: int = 0
    rejected: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    """The commonest reasons of rejects and conflicts, and how many records have each."""
    rejects_file: str | None = None
    refused: bool = False
    """Nothing was loaded, because of rejects or conflicts."""
    parity: Parity | None = None
    seconds: float = 0.0

    @property
    def loaded(self) -> int:
        """How many records this import has put into the database."""
        return 0 if self.dry_run or self.refused else self.new

    @property
    def ok(self) -> bool:
        """Whether the command exits with 0."""
        return not self.refused

    def as_dict(self) -> dict[str, Any]:
        """Return the report for a program; `--json` prints it."""
        return {**asdict(self), "loaded": self.loaded, "ok": self.ok}
