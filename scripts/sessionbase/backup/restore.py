"""Restore a backup into an empty database: all of it in one transaction, then verified."""

import subprocess
import tempfile
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import IO, Any, cast

import psycopg
from psycopg import sql

from sessionbase.audit.chains import Problem, verify_chains
from sessionbase.backup.manifest import Backup, Manifest, open_backup
from sessionbase.backup.programs import (
    Programs,
    choose_programs,
    connection_arguments,
    failure,
)
from sessionbase.backup.roles import (
    create_role,
    differences,
    existing_roles,
    missing_members,
    preparation,
)
from sessionbase.backup.toc import OUR_SCHEMAS, PUBLICATION, select_and_order
from sessionbase.console import CountProgress, Log
from sessionbase.database import connect, refuse_standby
from sessionbase.doctor.lints import Finding, examine
from sessionbase.errors import SessionbaseError
from sessionbase.migrate.database import check_server_version
from sessionbase.migrate.files import read_folder
from sessionbase.migrate.ledger import OWNER
from sessionbase.migrate.runner import pending
from sessionbase.paths import resource_path

Connection = psycopg.Connection[Any]

_OCCUPIED = """
select 'the schema ' || nspname from pg_catalog.pg_namespace where nspname = any(%s)
union all
select 'the publication ' || pubname from pg_catalog.pg_publication where pubname = %s
union all
select 'default privileges of ' || defaclrole::regrole::text
from pg_catalog.pg_default_acl where defaclrole = pg_catalog.to_regrole(%s)
order by 1
"""

_DATABASE = """
select pg_catalog.pg_encoding_to_char(encoding) as encoding, datcollate, datctype
from pg_catalog.pg_database where datname = pg_catalog.current_database()
"""


@dataclass
class RestoreReport:
    """A restore that is complete, and what the verification found."""

    manifest: Manifest
    server_version: str
    created_roles: list[str]
    differences: list[str]
    """Statements that would make roles and database as in the backup: they were not run, because
    the role existed before, or the login may not run them."""
    missing_members: list[str]
    """Memberships of roles that this cluster does not have, as `MEMBER in ROLE`."""
    notes: list[str] = field(default_factory=list)
    pending: list[str] = field(default_factory=list)
    """The SQL files that `migrate` would apply: the backup is of an older version."""
    findings: list[Finding] | None = None
    """The findings of doctor; None if there are pending files, with which it can't compare."""
    chains: int = 0
    decisions: int = 0
    problems: list[Problem] = field(default_factory=list)
    """The chains of decisions that are not as they were recorded."""

    @property
    def errors(self) -> list[Finding]:
        """The findings of doctor with the level error."""
        return [one for one in self.findings or [] if one.level == "error"]

    @property
    def verified(self) -> bool:
        """Whether neither doctor nor the chains show an error."""
        return not self.errors and not self.problems

    @property
    def new_findings(self) -> list[Finding]:
        """The findings that the backed up database did not have."""
        before = {(one["level"], one["object"], one["what"]) for one in self.manifest.doctor}
        return [
            one for one in self.findings or [] if (one.level, one.object, one.what) not in before
        ]


def read_backup(folder: Path) -> Backup:
    """Return the backup in the folder, after its files and its versions were checked.

    Raises SessionbaseError if it is damaged, or was made by a newer sessionbase.
    """
    backup = open_backup(folder)
    known = {
        migration.file.label.removeprefix("migrations/").removesuffix(".sql")
        for migration in read_folder(resource_path("sql")).migrations
    }
    newer = [name for name in backup.manifest.migrations if name not in known]
    if newer:
        raise SessionbaseError(
            f"{folder} was made by another version of sessionbase"
            f" ({backup.manifest.sessionbase}): it has the migrations {', '.join(newer)}",
            "use the version that made it, or a later one",
        )
    return backup


def restore(
    backup: Backup,
    db_uri: str,
    *,
    other_roles: bool = False,
    progress: CountProgress | None = None,
    log: Log = lambda _: None,
) -> RestoreReport:
    """Restore the backup into the empty database of `db_uri`, and verify it.

    With `other_roles`, missing roles of others that have rights in the backup are created without
    login and without attributes; otherwise they must exist.

    Roles, objects, data and row counts are one transaction: after an error, or if this process is
    killed, nothing was changed. Doctor and the chains are verified afterwards. Raises
    SessionbaseError if the database is not empty, lacks a role, has an older server or another
    encoding, or is on a standby, or if a statement fails.
    """
    with closing(connect(db_uri)) as conn:
        conn.autocommit = True
        refuse_standby(conn)
        missing = _missing_other_roles(conn, backup.manifest)
        check_target(conn, backup.manifest)
        if missing and not other_roles:
            raise _refuse_missing_roles(conn, missing)
        programs = _programs(conn, backup.manifest)
        notes = _notes(conn, backup.manifest)
        names = [role.name for role in backup.cluster.roles]
        before = existing_roles(conn, names)
        script = _Script(conn, backup, missing)
        log("restoring roles, objects and data ...")
        _run(programs, db_uri, backup, script, progress)
        report = RestoreReport(
            manifest=backup.manifest,
            server_version=conn.info.parameter_status("server_version") or "",
            created_roles=[*(name for name in names if name not in before), *missing],
            differences=differences(conn, backup.cluster),
            missing_members=missing_members(conn, backup.cluster),
            notes=notes,
        )
    log("verifying ...")
    report.pending = pending(db_uri)
    if not report.pending:
        report.findings = examine(db_uri).findings
    verified = verify_chains(db_uri)
    report.chains, report.decisions = verified.chains, verified.decisions
    report.problems = verified.problems
    return report


def check_target(conn: Connection, manifest: Manifest) -> None:
    """Raise SessionbaseError if the backup must not be restored into this database. Reads only."""
    check_server_version(conn.info.server_version)
    major = conn.info.server_version // 10_000
    if major < manifest.server_major:
        raise SessionbaseError(
            f"the server is PostgreSQL {major}, older than the one of the backup,"
            f" {manifest.server_version}",
            f"restore it into PostgreSQL {manifest.server_major} or newer",
        )
    rows = conn.execute(_OCCUPIED.encode(), (list(OUR_SCHEMAS), PUBLICATION, OWNER)).fetchall()
    if rows:
        raise SessionbaseError(
            f"the database {conn.info.dbname} is not empty: it has"
            f" {', '.join(row[0] for row in rows)}",
            "create a new database and name it with --db-uri",
        )
    if _database(conn)[0] != manifest.encoding:
        raise SessionbaseError(
            f"the database {conn.info.dbname} has another encoding than the backup"
            f" ({manifest.encoding})",
            f"create database … encoding '{manifest.encoding}' template template0",
        )


def _missing_other_roles(conn: Connection, manifest: Manifest) -> list[str]:
    there = existing_roles(conn, manifest.other_roles)
    return [name for name in manifest.other_roles if name not in there]


def _refuse_missing_roles(conn: Connection, missing: list[str]) -> SessionbaseError:
    statements = "; ".join(create_role(conn, name) for name in missing)
    return SessionbaseError(
        "the backup has objects or rights of roles that this cluster does not have: "
        + ", ".join(missing),
        f"a DBA runs: {statements}",
    )


def _database(conn: Connection) -> Any:
    return conn.execute(_DATABASE.encode()).fetchone()


def _programs(conn: Connection, manifest: Manifest) -> Programs:
    """Return programs that can read the dump; an archive can't be read by an older pg_restore."""
    dumped_by = int(manifest.pg_dump_version.split(".")[0])
    major = conn.info.server_version // 10_000
    return choose_programs(max(dumped_by, major), "the server and the pg_dump of the backup")


def _notes(conn: Connection, manifest: Manifest) -> list[str]:
    notes = []
    wanted = (manifest.locale["collate"], manifest.locale["ctype"])
    actual = _database(conn)[1:]
    if actual != wanted:
        notes.append(
            f"the locale is {', '.join(actual)}; in the backup it is {', '.join(map(str, wanted))}:"
            " texts can have another order"
        )
    if manifest.not_included:
        notes.append(f"not in the backup: {', '.join(manifest.not_included)}")
    return notes


class _Script:
    """The statements before and after the output of pg_restore."""

    def __init__(self, conn: Connection, backup: Backup, other_roles: list[str]) -> None:
        # Without a superuser everything is created by the owner, who need not be a superuser.
        row = conn.execute("select rolsuper from pg_roles where rolname = current_user").fetchone()
        self.as_owner = row != (True,)
        # pg_dump 17 and newer write this setting, and servers before 17 do not know it.
        self.without_transaction_timeout = conn.info.server_version < 170000
        timeouts = [f"set {name} = 0" for name in ("statement_timeout", "lock_timeout")]
        others = [create_role(conn, name) for name in other_roles]
        self.before = _joined(["begin", *timeouts, *others, *preparation(conn, backup.cluster)])
        tables = sorted(backup.manifest.tables.items())
        self.after = _joined(
            [
                "set search_path = ''",
                "set row_security = off",
                *(f"analyze {name}" for name, _ in tables),
                *(_count_check(conn, name, rows) for name, rows in tables),
            ]
        )


def _joined(statements: list[str]) -> bytes:
    return "".join(f"{statement};\n" for statement in statements).encode()


def _count_check(conn: Connection, table: str, rows: int) -> str:
    body = sql.SQL(
        "declare found bigint; begin select count(*) into found from {};"
        " if found <> {} then raise exception using message = pg_catalog.format("
        "'%s has %s rows, and the backup has %s of it', {}, found, {}); end if; end"
    ).format(sql.SQL(table), rows, sql.Literal(table), rows)
    return sql.SQL("do {}").format(sql.Literal(body.as_string(conn))).as_string(conn)


def _run(
    programs: Programs,
    db_uri: str,
    backup: Backup,
    script: _Script,
    progress: CountProgress | None,
) -> None:
    """Send the script of pg_restore to psql, between our statements, in one transaction.

    `commit` is sent only after pg_restore has ended and psql has run everything without an error:
    psql's own option --single-transaction would also commit a script that is cut off.
    """
    database, environment = connection_arguments(db_uri)
    with tempfile.NamedTemporaryFile("w", suffix=".list", encoding="utf-8") as entries:
        entries.write(select_and_order(_list(programs, backup)))
        entries.flush()
        with (
            subprocess.Popen(
                [
                    programs.path("pg_restore"),
                    f"--use-list={entries.name}",
                    "--no-tablespaces",
                    *([f"--role={OWNER}"] if script.as_owner else []),
                    "--file=-",
                    str(backup.dump),
                ],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            ) as reader,
            subprocess.Popen(
                [
                    programs.path("psql"),
                    "--no-psqlrc",
                    "--quiet",
                    "--no-password",
                    "--set=ON_ERROR_STOP=1",
                    "--output=/dev/null",
                    database,
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment,
            ) as writer,
        ):
            reader_messages, writer_messages = _Messages(reader.stderr), _Messages(writer.stderr)
            dump, script_of_psql = cast(IO[bytes], reader.stdout), cast(IO[bytes], writer.stdin)
            try:
                _copy(dump, script_of_psql, script, len(backup.manifest.tables), progress)
                if reader.wait() == 0:
                    script_of_psql.write(script.after + b"\\echo ready\n")
                    script_of_psql.flush()
                    if cast(IO[bytes], writer.stdout).readline() == b"ready\n":
                        script_of_psql.write(b"commit;\n")
                script_of_psql.close()
            except BrokenPipeError:  # psql has ended; its messages say why
                reader.kill()
                with suppress(BrokenPipeError):
                    script_of_psql.close()
            except BaseException:
                reader.kill()
                writer.kill()
                raise
            code = writer.wait()
            if code:
                raise failure("psql", writer_messages.lines())
            if reader.wait():
                raise failure("pg_restore", reader_messages.lines())


class _Messages:
    """The lines that a program writes to stderr, read while it runs so that it never waits."""

    def __init__(self, stream: IO[bytes] | None) -> None:
        self._lines: list[str] = []
        self._thread = Thread(target=self._read, args=[cast(IO[bytes], stream)])
        self._thread.start()

    def _read(self, stream: IO[bytes]) -> None:
        self._lines += [line.decode(errors="replace").rstrip("\n") for line in stream]

    def lines(self) -> list[str]:
        """Return all lines, after the program has ended."""
        self._thread.join()
        return self._lines


def _list(programs: Programs, backup: Backup) -> str:
    done = subprocess.run(
        [programs.path("pg_restore"), "--list", str(backup.dump)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise failure("pg_restore", done.stderr.splitlines())
    return done.stdout


def _copy(
    source: IO[bytes],
    target: IO[bytes],
    script: _Script,
    tables: int,
    progress: CountProgress | None,
) -> None:
    target.write(script.before)
    in_data, in_settings, done = False, True, 0
    for line in source:
        if in_data:
            in_data = line != b"\\.\n"
        elif line.startswith(b"COPY "):
            in_data = True
            if progress:
                progress(done, tables)
            done += 1
        elif in_settings:
            in_settings = not line.startswith(b"-- Name:")
            if script.without_transaction_timeout and line == b"SET transaction_timeout = 0;\n":
                continue
        target.write(line)
