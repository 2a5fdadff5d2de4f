"""Compare a database with the files that were applied to it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sessionbase.console import Log
from sessionbase.database import connect
from sessionbase.drift.applied import AppliedFiles, read_applied
from sessionbase.drift.catalogue import Catalogue, Connection, read_catalogue, read_kinds
from sessionbase.drift.compare import Difference, compare
from sessionbase.drift.normalise import print_alike
from sessionbase.drift.scratch import scratch_database
from sessionbase.errors import SessionbaseError
from sessionbase.migrate.database import check_server_version, refuse_old_database
from sessionbase.migrate.files import read_folder
from sessionbase.migrate.ledger import ledger_exists
from sessionbase.paths import command, resource_path


@dataclass(frozen=True)
class DriftReport:
    """The differences, and what was compared with what."""

    differences: list[Difference]
    statements: list[str]
    """All statements that undo the drift, in the order to run them, without semicolons."""
    pending: list[str]
    """Files that the next run of `migrate` applies: what they change is not in the comparison."""
    remarks: list[str]
    server: int
    """The major version of the database's server."""
    scratch_server: int
    """The major version of the server on which the expected objects were made."""
    objects: int
    """How many objects were compared."""

    def count(self, level: str) -> int:
        """Return how many differences have this level."""
        return sum(one.level == level for one in self.differences)


def _read_target(db_uri: str, sql_dir: Path | None) -> tuple[AppliedFiles, Catalogue]:
    folder = read_folder(sql_dir or resource_path("sql"))
    with connect(db_uri) as conn:
        conn.execute("set default_transaction_read_only = on")
        conn.commit()
        conn.execute("set transaction isolation level repeatable read")
        check_server_version(conn.info.server_version)
        refuse_old_database(conn)
        if not ledger_exists(conn):
            raise SessionbaseError(
                f"the database {conn.info.dbname} has no migration ledger",
                f"run {command()} migrate, or name another database with --db-uri",
            )
        applied = read_applied(conn, folder)
        return applied, read_catalogue(conn)


def find_drift(
    db_uri: str,
    sql_dir: Path | None = None,
    *,
    scratch_uri: str | None = None,
    accept: Sequence[str] = (),
    log: Log = lambda _: None,
) -> DriftReport:
    """Compare the database with the files that were applied to it.

    The expected objects are made from the files in a throwaway cluster, or on the server of
    `scratch_uri`. The database itself is only read, in one snapshot. `accept` has patterns of
    objects whose differences are only notes. Raises SessionbaseError or psycopg.Error if the two
    can't be compared.
    """
    applied, actual = _read_target(db_uri, sql_dir)
    log("making the expected database in a throwaway cluster")
    with (
        scratch_database(applied, scratch_uri) as uri,
        connect(uri) as scratch,
        connect(db_uri) as conn,
    ):
        expected = read_catalogue(scratch)
        if _major(expected) != _major(actual):
            applied.remarks.append(
                f"the database is on PostgreSQL {_major(actual)}, and the expected objects were "
                f"made on PostgreSQL {_major(expected)}: what only one of them has is not compared"
            )
            print_alike(scratch, expected, actual)
        if not applied.ledger_is_current:
            expected, actual = _without_ledger(expected), _without_ledger(actual)
        return compare_catalogues(conn, applied, expected, actual, accept)


def compare_catalogues(
    conn: Connection,
    applied: AppliedFiles,
    expected: Catalogue,
    actual: Catalogue,
    accept: Sequence[str] = (),
) -> DriftReport:
    """Compare what was read. `conn` is the connection to the database, to quote values."""
    kinds = [kind.name for kind in read_kinds()]
    differences, statements = compare(conn, expected, actual, kinds, accept)
    return DriftReport(
        differences=[*applied.differences, *differences],
        statements=statements,
        pending=applied.pending,
        remarks=applied.remarks,
        server=_major(actual),
        scratch_server=_major(expected),
        objects=len(expected.items),
    )


def _major(catalogue: Catalogue) -> int:
    return catalogue.version // 10000


def _without_ledger(catalogue: Catalogue) -> Catalogue:
    return Catalogue(
        catalogue.version,
        {
            name: item
            for name, item in catalogue.items.items()
            if " ops." not in name and "schema ops" not in name
        },
    )
