"""What must hold before a file is committed: the doctor's lints, verify/NNNN.sql and role probes.

docs/decisions/0012-checks-before-the-commit.md says what is checked when, and why.
"""

import json
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, replace

import psycopg
from pglast import ast
from pglast.visitors import Visitor
from psycopg.types.json import Jsonb

from sessionbase.doctor.lints import (
    Expectations,
    Finding,
    Lint,
    expectations,
    read_lints,
    run_lints,
)
from sessionbase.errors import SessionbaseError, UsageError
from sessionbase.migrate.execute import StatementFailed
from sessionbase.migrate.files import Migration, SqlFile, SqlFolder, Statement, read_folder
from sessionbase.migrate.ledger import OWNER, Connection, Plan
from sessionbase.migrate.probes import (
    PROBES,
    TIMEOUT_MS,
    RoleProbes,
    is_stopped,
    missing_memberships,
    read_only,
)
from sessionbase.paths import resource_path

VERIFY = "verify"
"""The name of the checks in verify/NNNN.sql, beside those of the lints."""

# These compare with the end state of the files, so a migration in the middle can't be judged by
# them. Only migrations make what the second set is about, so it is judged after the last of them.
_OF_REPEATABLE_FILES = {"functions"}
_OF_MIGRATIONS = {"grants", "policies", "security_definer"}

_SHOWN_ROWS = 5

_HAS_API = """
select exists (select from pg_catalog.pg_proc p
                where p.pronamespace = pg_catalog.to_regnamespace('api'))
"""

Log = Callable[[str], None]
FindingKey = tuple[str, str, str]
"""What makes two findings the same: the lint, the object and what is wrong."""


class CheckFailed(SessionbaseError):
    """The checks found something that a file made: the file was rolled back."""

    def __init__(
        self,
        label: str,
        findings: list[Finding],
        since: Mapping[FindingKey, str],
        *,
        rolled_back: bool = True,
    ) -> None:
        """Compose the message from the findings, which stay available to a program.

        `since` has the file that made a finding, if that was an earlier file of the run.
        """
        self.findings = findings
        lines = []
        for finding in findings:
            earlier = since.get(_key(finding), label)
            where = f" (there since {earlier}, which is committed)" if earlier != label else ""
            lines.append(f"\n  {_described(finding)}{where}")
        count = "1 finding" if len(findings) == 1 else f"{len(findings)} findings"
        names = sorted({finding.lint for finding in findings})
        end = (
            "the file was rolled back"
            if rolled_back
            else "its statement is committed, and it is not recorded as applied"
        )
        super().__init__(
            f"{label}: {count} in the checks before the commit; {end}:{''.join(lines)}",
            "correct the file, and run migrate again. If you know that a finding is harmless: "
            + " ".join(f"--skip-lint {name}" for name in names),
        )


def _key(finding: Finding) -> FindingKey:
    return finding.lint, finding.object, finding.what


def _described(finding: Finding) -> str:
    return f"{finding.lint}: {finding.object} {finding.what}. Remedy: {finding.remediation}"


def check_names() -> list[str]:
    """Return the names that --skip-lint accepts: the lints with errors, and two more."""
    lints = [lint.name for lint in read_lints() if "error" in lint.levels]
    return [*lints, VERIFY, PROBES]


def require_check_names(names: Collection[str]) -> None:
    """Raise UsageError for a name that no check has."""
    known = check_names()
    for name in names:
        if name not in known:
            raise UsageError(
                f"--skip-lint {name!r} is not the name of a check", f"there are {', '.join(known)}"
            )


class _Writes(Visitor):
    """Finds the parts of a SELECT that write or lock."""

    def __init__(self) -> None:
        super().__init__()
        self.found = False

    def visit(self, _: object, node: ast.Node) -> None:
        """Look at one node of the tree."""
        self.found |= isinstance(
            node,
            ast.InsertStmt
            | ast.UpdateStmt
            | ast.DeleteStmt
            | ast.MergeStmt
            | ast.IntoClause
            | ast.LockingClause,
        )


def check_verify_file(file: SqlFile) -> list[Statement]:
    """Return the statements of a file of verify/.

    Raises SessionbaseError unless each of them is a SELECT that neither writes nor locks.
    """
    statements = file.statements()
    for statement in statements:
        visitor = _Writes()
        visitor(statement.tree)
        if not isinstance(statement.tree, ast.SelectStmt) or visitor.found:
            raise SessionbaseError(
                f"{file.label}, line {statement.line}: not only a SELECT: {statement.summary}",
                "a file of verify/ has SELECTs that return a row for each finding; they may not "
                "write, lock or create",
            )
    return statements


def check_verify_files(folder: SqlFolder) -> None:
    """Raise SessionbaseError for a file of verify/ that must not run."""
    for file in folder.verify.values():
        check_verify_file(file)


def run_verify_file(conn: Connection, file: SqlFile) -> list[Finding]:
    """Run the SELECTs of a file in the open transaction, read-only; each row is a finding.

    The rest of a long result is not read. Raises StatementFailed for a statement that fails or
    takes longer than TIMEOUT_MS.
    """
    findings = []
    for statement in check_verify_file(file):
        start = time.monotonic()
        try:
            with read_only(conn), conn.cursor(name="sessionbase_verify") as cursor:
                cursor.execute(statement.text.encode())
                rows = cursor.fetchmany(_SHOWN_ROWS + 1)
                columns = [column.name for column in cursor.description or ()]
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected) as error:
            raise StatementFailed(file, statement, error) from error
        except psycopg.Error as error:
            if conn.closed:
                raise
            failure = StatementFailed(file, statement, error)
            if isinstance(error, psycopg.errors.QueryCanceled) and not is_stopped(error, start):
                failure.hint = (
                    f"it may take {TIMEOUT_MS} ms, because clients wait for the locks of the "
                    "migration: read fewer rows, by an index and with LIMIT"
                )
            raise failure from error
        shown = [
            Finding(
                "error",
                f"{file.label}, line {statement.line}",
                "found " + ", ".join(f"{n}: {v}" for n, v in zip(columns, row, strict=True)),
                f"see the comments of {file.label}",
                VERIFY,
            )
            for row in rows[:_SHOWN_ROWS]
        ]
        if len(rows) > _SHOWN_ROWS:
            shown.append(replace(shown[-1], what="found more rows, which are not shown"))
        findings += shown
    return findings


def _is_of_sessionbase(folder: SqlFolder) -> bool:
    """Return whether the folder continues the shipped history, by its first migration."""
    first = read_folder(resource_path("sql")).migrations[0]
    return bool(folder.migrations) and folder.migrations[0].file.sha256 == first.file.sha256


def _compares_with_the_end(finding: Finding) -> bool:
    """Return whether the finding can be right now and gone after the last file."""
    return finding.lint in _OF_REPEATABLE_FILES | _OF_MIGRATIONS or (
        finding.lint == "triggers" and finding.what == "is missing"
    )


def _runs_always(lint: Lint) -> bool:
    """Return whether a lint runs also after a migration that is not the last file."""
    return "error" in lint.levels and lint.name not in _OF_REPEATABLE_FILES


def _is_in_api(finding: Finding) -> bool:
    return any(word.startswith("api.") for word in finding.object.split()) or (
        finding.object == "schema api"
    )


class Verification:
    """The checks of a run. Make it before the first file, outside a transaction."""

    def __init__(
        self,
        conn: Connection,
        folder: SqlFolder,
        plan: Plan,
        skip: Collection[str] = (),
        log: Log = lambda _: None,
    ) -> None:
        """Read what the files define and what the lints find now, so that only new findings count.

        `skip` has the names of checks whose findings are printed and recorded, and stop nothing.
        Raises UsageError for an unknown name, SessionbaseError for a mistake in a file.
        """
        require_check_names(skip)
        self._folder, self._skip, self._log = folder, frozenset(skip), log
        self._last = plan.pending[-1].version if plan.pending else None
        self._ends_with_migration = not plan.repeatable_files
        self._probes: RoleProbes | None = None
        self._expectations: Expectations | None = None
        self._lints = read_lints()
        self._known: set[FindingKey] = set()
        self._old: set[FindingKey] = set()
        self._since: dict[FindingKey, str] = {}
        self._notice = ""
        if not plan.pending and not plan.repeatable_files:
            return
        if not _is_of_sessionbase(folder):
            self._notice = (
                "the first migration of this folder is not that of sessionbase: only its files of "
                "verify/ are checked before each commit"
            )
            return
        authority = folder.root / "authority.json"
        with conn.transaction():
            self._expectations = expectations(
                conn, folder, authority if authority.exists() else None
            )
            found = self._run_lints(conn, self._expectations, self._lints)
            row = conn.execute(_HAS_API).fetchone()
        # In a new database everything that the files create is missing before the first of them.
        is_new = row != (True,)
        self._known = {
            _key(finding)
            for finding in found
            if finding.level == "error" and not (is_new and _compares_with_the_end(finding))
        }
        self._old = {_key(finding) for finding in found} if not is_new else set(self._known)

    def start_probes(self, conn: Connection) -> None:
        """Sample rows for the role probes, as the owner, outside a transaction."""
        if self._expectations is None:
            return
        missing = missing_memberships(conn)
        if missing:
            self._log(
                f"the role probes are left out: this login can't become {', '.join(missing)}; "
                f"a DBA grants it: grant {', '.join(missing)} to the login"
            )
            return
        listed: dict[str, set[str]] = {}
        for grant in json.loads(self._expectations.authority)["grants"]:
            if grant["privilege"] == "select":
                listed.setdefault(grant["grantee"], set()).add(grant["object"])
        probes = RoleProbes(listed)
        with conn.transaction():
            probes.start(conn)
            found = probes.findings(conn, at_the_end=False)
        self._probes = probes
        self._known |= {_key(finding) for finding in found}
        self._old |= {_key(finding) for finding in found}

    def check(
        self, conn: Connection, migration: Migration | None, *, rolled_back: bool = True
    ) -> None:
        """Check the result of a file in the open transaction, as the last thing before the ledger.

        `migration` is None for the repeatable files. `rolled_back` is False for a migration without
        a transaction, whose statement is committed already. Raises CheckFailed for a finding that
        was not there before, and StatementFailed for a file of verify/ that fails; the caller must
        then roll back. A lock that can't be obtained is psycopg's LockNotAvailable, or
        StatementFailed with its code.
        """
        if self._notice:
            self._log(self._notice)
            self._notice = ""
        # Deferred triggers run now: they could change something after the checks.
        conn.execute(f"set constraints all immediate; set local role {OWNER}".encode())
        label = migration.file.label if migration else "the files of app/ and api/"
        at_the_end = migration is None or (
            self._ends_with_migration and migration.version == self._last
        )
        found = self._find(conn, at_the_end)
        errors = [finding for finding in found if finding.level == "error"]
        for finding in errors:
            self._since.setdefault(_key(finding), label)
        new = [
            finding
            for finding in errors
            if _key(finding) not in self._known and (at_the_end or self._counts(finding, migration))
        ]
        if migration and (file := self._folder.verify.get(migration.version)):
            new += run_verify_file(conn, file)
        failed = [finding for finding in new if finding.lint not in self._skip]
        if failed:
            raise CheckFailed(label, failed, self._since, rolled_back=rolled_back)
        if new:
            self._record_skipped(conn, label, new)
        # What a file removed is not known any more. A finding that did not count is not known yet.
        self._known &= {_key(finding) for finding in errors} | self._not_run(at_the_end)
        self._known |= {_key(finding) for finding in new}
        if at_the_end:
            self._print_others(found, new)

    def _find(self, conn: Connection, at_the_end: bool) -> list[Finding]:
        if self._expectations is None:
            return []
        lints = self._lints if at_the_end else [it for it in self._lints if _runs_always(it)]
        found = self._run_lints(conn, self._expectations, lints)
        if self._probes:
            found += self._probes.findings(conn, at_the_end=at_the_end)
        return found

    def _not_run(self, at_the_end: bool) -> set[FindingKey]:
        left_out = {it.name for it in self._lints if not (at_the_end or _runs_always(it))}
        return {key for key in self._known if key[0] in left_out}

    def _counts(self, finding: Finding, migration: Migration | None) -> bool:
        """Return whether a finding counts although files follow."""
        if not _compares_with_the_end(finding):
            return True
        return (
            migration is not None
            and migration.version == self._last
            and finding.lint not in _OF_REPEATABLE_FILES
            # The repeatable files, which follow, define it.
            and not _is_in_api(finding)
        )

    def _run_lints(
        self, conn: Connection, expected: Expectations, lints: list[Lint]
    ) -> list[Finding]:
        expected.use(conn)
        return run_lints(conn, lints)

    def _record_skipped(self, conn: Connection, label: str, findings: list[Finding]) -> None:
        for finding in findings:
            self._log(f"{label}: left out with --skip-lint: {_described(finding)}")
        names = " ".join(f"--skip-lint {name}" for name in sorted({it.lint for it in findings}))
        conn.execute(
            "insert into ops.ledger_changes (action, reason, before, after)"
            " values ('skip', %s, '[]', %s)",
            (f"{label}: {names}", Jsonb([asdict(finding) for finding in findings])),
        )

    def _print_others(self, found: list[Finding], new: list[Finding]) -> None:
        for finding in found:
            if finding in new:
                continue
            if _key(finding) in self._old:
                self._log(f"not caused by this run ({finding.level}): {_described(finding)}")
            elif finding.level == "warning":
                self._log(f"warning: {_described(finding)}")
