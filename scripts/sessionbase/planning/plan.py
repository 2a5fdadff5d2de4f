"""Plan the pending files: what each statement locks, rewrites and scans, and its hazards."""

import hashlib
from collections.abc import Iterable
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import psycopg
from pglast import ast

from sessionbase.database import connect
from sessionbase.errors import SessionbaseError, UsageError
from sessionbase.migrate.files import Migration, SqlFile, Statement, read_folder
from sessionbase.migrate.ledger import OWNER
from sessionbase.migrate.runner import Work, check_work, status
from sessionbase.paths import resource_path
from sessionbase.planning.advice import form_of_effect, safe_form
from sessionbase.planning.catalog import Catalog, Connection
from sessionbase.planning.locks import LOCKS, Lock
from sessionbase.planning.rules import Effect, Rules
from sessionbase.planning.squawk import Finding, run_squawk

LARGE_BYTES = 1_000_000
"""A scan or rewrite of a table of this size or less takes milliseconds, and is no hazard."""

# Rules of squawk on style: shown as notes.
_STYLE = ("prefer-", "identifier-too-long", "unused-ignore", "require-table-schema")

# Rules of squawk about objects that others use: they do not apply to a new table.
_ABOUT_USERS = (
    "adding-",
    "changing-",
    "constraint-",
    "disallowed-",
    "renaming-",
    "require-",
    "ban-",
)


@dataclass(frozen=True)
class TablePlan:
    """What a statement does to one relation. `rewrite` and `scan` are None if unknown."""

    relation: str
    lock: str
    blocks: str
    rewrite: bool | None
    scan: bool | None
    why: str
    new: bool
    """A pending migration creates it."""
    exists: bool
    """The target has it now."""
    rows: int | None
    """Estimated by the target's statistics; None: unknown."""
    bytes: int
    index_bytes: int


@dataclass(frozen=True)
class Hazard:
    """Why a statement can disturb others.

    `level` is `hazard`, or `note` for a matter of style and for a finding of squawk that the
    catalogue of the target refutes.
    """

    rule: str
    """A rule of squawk, or `rewrite-under-lock`, `scan-under-lock`, `lock-during-long-work`."""
    level: str
    line: int
    message: str
    safe_form: str | None


@dataclass(frozen=True)
class StatementPlan:
    """A statement of a pending file."""

    line: int
    summary: str
    tables: list[TablePlan]
    unknown: list[str]
    """What no rule covers. A statement without tables and without this locks no table."""
    hazards: list[Hazard]


@dataclass(frozen=True)
class FilePlan:
    """A pending migration."""

    file: str
    in_transaction: bool
    statements: list[StatementPlan]


@dataclass(frozen=True)
class RepeatablePlan:
    """The pending files of app/ and api/, which run in one transaction."""

    files: list[str]
    functions: int
    """Functions and procedures: they lock no table."""
    views: list[str]
    """Views that exist: ACCESS EXCLUSIVE until the end of the transaction."""
    new_views: list[str]
    triggers: list[str]
    """Triggers of views: SHARE ROW EXCLUSIVE on the view."""
    unknown: list[str]


@dataclass
class MigrationPlan:
    """The plan of all pending files."""

    server_version: str
    files: list[FilePlan]
    repeatable: RepeatablePlan | None
    event_triggers: list[str] = field(default_factory=list)
    """Enabled event triggers of the target: what they do is not in the plan."""

    @property
    def hazards(self) -> int:
        """The number of hazards, without notes."""
        return sum(
            one.level == "hazard"
            for file in self.files
            for statement in file.statements
            for one in statement.hazards
        )

    @property
    def unknown(self) -> int:
        """The number of statements that no rule covers completely."""
        found = sum(bool(one.unknown) for file in self.files for one in file.statements)
        return found + len(self.repeatable.unknown if self.repeatable else ())


def read_work(db_uri: str, sql_dir: Path | None, extra: Iterable[Path] = ()) -> Work:
    """Return the pending files of the folder and, after them, the files `extra`.

    Raises SessionbaseError if the runner would refuse the folder; UsageError for a file that was
    applied already.
    """
    folder = read_folder(sql_dir or resource_path("sql"))
    plan = status(db_uri, sql_dir)
    pending = list(plan.pending)
    known = {migration.file.path.resolve() for migration in pending}
    applied = {migration.file.path.resolve() for migration in folder.migrations} - known
    number = max((migration.version for migration in folder.migrations), default=0)
    for path in extra:
        if path.resolve() in applied:
            raise UsageError(f"{path} is applied already", "plan a file that is not applied yet")
        if path.resolve() not in known:
            number += 1
            pending.append(_read_extra(path, number))
    if len(pending) > len(plan.pending):
        labels = [file.label for file in folder.repeatable]
        files = list(dict.fromkeys([*plan.repeatable_files, *labels]))
        plan = replace(plan, pending=pending, repeatable_files=files)
    return check_work(plan, folder)


def _read_extra(path: Path, number: int) -> Migration:
    try:
        data = path.read_bytes()
        text = data.decode("utf-8")
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", "name an existing SQL file") from error
    except UnicodeDecodeError as error:
        raise SessionbaseError(f"{path} is not UTF-8 at byte {error.start}") from error
    file = SqlFile(path, str(path), hashlib.sha256(data).hexdigest(), text)
    return Migration(number, path.stem, file)


def make_plan(db_uri: str, work: Work) -> MigrationPlan:
    """Return the plan. Reads the target in one read-only transaction.

    Raises SessionbaseError if it can't connect, squawk is missing, or a table is locked.
    """
    with closing(connect(db_uri)) as conn:
        conn.execute("set transaction isolation level repeatable read, read only")
        conn.execute("set local search_path = ''")
        # A size can't be read while another session holds ACCESS EXCLUSIVE on the table.
        conn.execute("set local lock_timeout = '5s'")
        with suppress(psycopg.Error), conn.transaction():
            conn.execute(f"set local role {OWNER}".encode())
        try:
            return _make_plan(conn, work)
        except psycopg.errors.LockNotAvailable as error:
            raise SessionbaseError(
                "another session holds ACCESS EXCLUSIVE on a table of the plan for more than 5 s",
                "run plan again when that session has ended: pg_stat_activity shows it",
            ) from error


def _make_plan(conn: Connection, work: Work) -> MigrationPlan:
    catalog = Catalog(conn)
    rules = Rules(catalog)
    for _, statements in work.repeatable.app:
        for statement in statements:
            rules.learn_function(statement.tree)
    return MigrationPlan(
        server_version=conn.info.parameter_status("server_version") or "",
        files=[_plan_file(rules, one.file, statements) for one, statements in work.migrations],
        repeatable=_plan_repeatable(rules, work),
        event_triggers=catalog.event_triggers(),
    )


def _plan_file(rules: Rules, file: SqlFile, statements: list[Statement]) -> FilePlan:
    in_transaction = not file.no_transaction
    major = rules.catalog.major
    findings = run_squawk(file, server_major=major, in_transaction=in_transaction)
    planned = []
    for place, statement in enumerate(statements):
        end = statements[place + 1].offset if place + 1 < len(statements) else len(file.text) + 1
        start = statement.offset if place else 0
        effects = rules.effects(statement.tree)
        tables = [_table(rules, one) for one in effects.items if one.lock > Lock.ACCESS_SHARE]
        here = [one for one in findings if start <= one.offset < end]
        planned.append(
            StatementPlan(
                line=statement.line,
                summary=statement.summary,
                tables=tables,
                unknown=list(dict.fromkeys(effects.unknown)),
                hazards=_hazards(rules, statement, effects.items, tables, here),
            )
        )
    if in_transaction:
        _find_long_locks(planned)
    return FilePlan(file.label, in_transaction, planned)


def _find_long_locks(statements: list[StatementPlan]) -> None:
    """Add a hazard where a statement with long work runs while an earlier one's lock is held."""
    held: dict[str, tuple[TablePlan, int]] = {}
    for statement in statements:
        long = [one.relation for one in statement.tables if _is_long(one)]
        others = [
            f"{table.lock} on {name} (line {line}, blocks {table.blocks})"
            for name, (table, line) in held.items()
            if name not in long
        ]
        if long and others:
            message = (
                f"it reads or writes much of {', '.join(long)} while earlier statements of the "
                f"file hold {', '.join(others)}"
            )
            advice = "put it into a migration of its own, before or after this one"
            statement.hazards.append(
                Hazard("lock-during-long-work", "hazard", statement.line, message, advice)
            )
        for one in statement.tables:
            if one.exists and not one.new and LOCKS[one.lock].blocks_writes:
                held.setdefault(one.relation, (one, statement.line))


def _is_long(table: TablePlan) -> bool:
    work = table.rewrite is not False or table.scan is not False
    return work and table.bytes > LARGE_BYTES


def _table(rules: Rules, effect: Effect) -> TablePlan:
    found = None if effect.new else rules.catalog.relation(rules.original(effect.relation))
    return TablePlan(
        relation=effect.relation,
        lock=effect.lock.label,
        blocks=effect.lock.blocks,
        rewrite=effect.rewrite,
        scan=effect.scan,
        why=effect.why,
        new=effect.new,
        exists=found is not None,
        rows=found.rows if found else None,
        bytes=found.bytes if found else 0,
        index_bytes=found.index_bytes if found else 0,
    )


def _hazards(
    rules: Rules,
    statement: Statement,
    effects: list[Effect],
    tables: list[TablePlan],
    findings: list[Finding],
) -> list[Hazard]:
    tree, major = statement.tree, rules.catalog.major
    strong = [one for one in effects if one.lock > Lock.ACCESS_SHARE]
    only_new = bool(strong) and all(one.new for one in strong)
    hazards = []
    for finding in findings:
        if (
            only_new
            and not isinstance(tree, ast.CreateStmt)
            and finding.rule.startswith(_ABOUT_USERS)
        ):
            continue
        message = " ".join(filter(None, (finding.message, finding.help)))
        level = "note" if finding.rule.startswith(_STYLE) else "hazard"
        advice = safe_form(finding.rule, tree, major)
        if finding.rule == "adding-not-nullable-field" and all(one.scan is False for one in strong):
            level, advice = "note", None
            message += f" Not here: {'; '.join(one.why for one in strong)}."
        hazards.append(Hazard(finding.rule, level, finding.line, message, advice))
    for effect, table in zip(strong, tables, strict=True):
        blocks = not effect.new and effect.lock.blocks_writes
        if not (blocks and _is_long(table) and isinstance(tree, _SCHEMA_CHANGES)):
            continue
        what = "rewrite" if effect.rewrite is not False else "scan"
        certain = "is" if effect.rewrite or effect.scan else "is perhaps"
        action = "rewritten" if what == "rewrite" else "scanned"
        message = (
            f"{effect.relation} {certain} {action} while the lock blocks {effect.lock.blocks}: "
            f"{effect.why}"
        )
        advice = form_of_effect(tree, major)
        hazards.append(Hazard(f"{what}-under-lock", "hazard", statement.line, message, advice))
    return hazards


_SCHEMA_CHANGES = (
    ast.AlterTableStmt,
    ast.AlterDomainStmt,
    ast.ClusterStmt,
    ast.CreateStmt,
    ast.IndexStmt,
    ast.RefreshMatViewStmt,
    ast.ReindexStmt,
    ast.VacuumStmt,
)


def _plan_repeatable(rules: Rules, work: Work) -> RepeatablePlan | None:
    if not work.plan.repeatable_files:
        return None
    functions = 0
    views: list[str] = []
    new_views: list[str] = []
    triggers: list[str] = []
    unknown: list[str] = []
    for _, statements in work.repeatable.app + work.repeatable.api:
        for statement in statements:
            tree = statement.tree
            if isinstance(tree, ast.CreateFunctionStmt):
                functions += 1
            elif isinstance(tree, ast.ViewStmt) and tree.view is not None:
                name = f"{tree.view.schemaname}.{tree.view.relname}"
                exists = rules.catalog.relation(name) is not None
                (views if exists else new_views).append(name)
            elif isinstance(tree, ast.CreateTrigStmt) and tree.relation is not None:
                relation = tree.relation
                triggers.append(f"{tree.trigname} on {relation.schemaname}.{relation.relname}")
            else:
                unknown += rules.effects(tree).unknown
    files = work.plan.repeatable_files
    return RepeatablePlan(files, functions, views, new_views, triggers, unknown)
