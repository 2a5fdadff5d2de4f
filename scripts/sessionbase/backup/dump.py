"""Make a backup: pg_dump and the counts of the rows, in one snapshot of the database."""

import subprocess
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import IO, Any, cast

import psycopg

from sessionbase import __version__
from sessionbase.backup.manifest import DUMP, Manifest, finish, new_folder
from sessionbase.backup.programs import (
    Programs,
    choose_programs,
    connection_arguments,
    failure,
)
from sessionbase.backup.roles import read_state
from sessionbase.backup.toc import OUR_SCHEMAS, PUBLICATION
from sessionbase.console import CountProgress, Log
from sessionbase.database import become_owner, connect
from sessionbase.doctor.lints import examine
from sessionbase.errors import SessionbaseError
from sessionbase.migrate.database import check_server_version
from sessionbase.migrate.ledger import OWNER
from sessionbase.migrate.locks import release_runner_lock, take_runner_lock
from sessionbase.migrate.privileges import ROLES

LOCK_WAIT_SECONDS = 60
"""How long pg_dump waits for a table that another session has locked."""

Connection = psycopg.Connection[Any]

# A timeout of the login or of the database must not end the session that holds the snapshot.
_TIMEOUTS = (
    "statement_timeout",
    "lock_timeout",
    "idle_in_transaction_session_timeout",
    "transaction_timeout",  # from 17 on
)

_TABLES = """
select class.oid::regclass::text as name
from pg_catalog.pg_class as class
where class.relnamespace::regnamespace::text = any(%s)
  and class.relkind in ('r', 'p')
  and not class.relispartition
order by name
"""

_DATABASE = """
select
  pg_catalog.pg_encoding_to_char(database.encoding) as encoding,
  pg_catalog.jsonb_build_object(
    'provider', database.datlocprovider,
    'collate', database.datcollate,
    'ctype', database.datctype,
    -- daticulocale before 17
    'locale', coalesce(
      pg_catalog.to_jsonb(database) ->> 'datlocale',
      pg_catalog.to_jsonb(database) ->> 'daticulocale'
    )
  ) as locale
from pg_catalog.pg_database as database
where database.datname = pg_catalog.current_database()
"""

_MIGRATIONS = """
select pg_catalog.format('%s_%s', pg_catalog.lpad(version::text, 4, '0'), name)
from ops.migrations
order by version
"""

# Roles that own one of our objects or have rights on it, or that a policy names.
_OTHER_ROLES = """
select distinct role.rolname
from pg_catalog.pg_shdepend as shared
inner join pg_catalog.pg_roles as role on role.oid = shared.refobjid
where shared.refclassid = 'pg_catalog.pg_authid'::regclass
  and shared.dbid = (
    select oid from pg_catalog.pg_database where datname = pg_catalog.current_database()
  )
  and not role.rolname = any(%(ours)s)
  and case shared.classid
    when 'pg_catalog.pg_class'::regclass then (
      select relnamespace::regnamespace::text from pg_catalog.pg_class where oid = shared.objid
    )
    when 'pg_catalog.pg_proc'::regclass then (
      select pronamespace::regnamespace::text from pg_catalog.pg_proc where oid = shared.objid
    )
    when 'pg_catalog.pg_type'::regclass then (
      select typnamespace::regnamespace::text from pg_catalog.pg_type where oid = shared.objid
    )
    when 'pg_catalog.pg_policy'::regclass then (
      select class.relnamespace::regnamespace::text
      from pg_catalog.pg_policy as policy
      inner join pg_catalog.pg_class as class on class.oid = policy.polrelid
      where policy.oid = shared.objid
    )
    when 'pg_catalog.pg_namespace'::regclass then (
      select nspname::text from pg_catalog.pg_namespace where oid = shared.objid
    )
    when 'pg_catalog.pg_default_acl'::regclass then (
      -- The default privileges of sessionbase_owner are in the backup.
      select case when defaclrole::regrole::text = %(owner)s then 'app' end
      from pg_catalog.pg_default_acl where oid = shared.objid
    )
  end = any(%(schemas)s)
order by role.rolname
"""

_NOT_INCLUDED = """
select 'schema ' || namespace.nspname
from pg_catalog.pg_namespace as namespace
where namespace.nspname !~ '^pg_' and namespace.nspname <> 'information_schema'
  and not namespace.nspname = any(%(schemas)s)
  and (
    namespace.nspname <> 'public'
    or exists (select from pg_catalog.pg_class where relnamespace = namespace.oid)
    or exists (select from pg_catalog.pg_proc where pronamespace = namespace.oid)
  )
union all
select 'extension ' || extension.extname
from pg_catalog.pg_extension as extension
where extension.extname <> 'plpgsql'
union all
select 'publication ' || publication.pubname
from pg_catalog.pg_publication as publication
where publication.pubname <> %(publication)s
union all
select 'event trigger ' || trigger.evtname
from pg_catalog.pg_event_trigger as trigger
order by 1
"""

_OTHER_SCHEMAS = """
select nspname from pg_catalog.pg_namespace
where nspname !~ '^pg_' and nspname <> 'information_schema' and not nspname = any(%s)
order by nspname
"""

_OURS = {
    "ours": list(ROLES),
    "owner": OWNER,
    "schemas": list(OUR_SCHEMAS),
    "publication": PUBLICATION,
}


@dataclass(frozen=True)
class BackupReport:
    """A backup that was made. `bytes` is the size of all its files."""

    manifest: Manifest
    bytes: int


def make_backup(
    db_uri: str,
    folder: Path,
    *,
    jobs: int = 1,
    passwords: bool = False,
    progress: CountProgress | None = None,
    log: Log = lambda _: None,
) -> BackupReport:
    """Back up the database to the new folder, which appears only when the backup is complete.

    All data are of one snapshot. `jobs` is the number of tables that pg_dump reads at the same
    time. With `passwords` the hashes of the passwords of sessionbase's roles are included. `log`
    gets one line of text about what takes time or is worth knowing. Raises SessionbaseError if the
    folder exists, the login may not read everything, or pg_dump fails; nothing is left then.
    """
    with new_folder(folder) as draft:
        with closing(connect(db_uri)) as conn:
            check_server_version(conn.info.server_version)
            major = conn.info.server_version // 10_000
            programs = choose_programs(major, "the server")
            as_owner = not is_superuser(conn)
            if passwords and as_owner:
                raise SessionbaseError(
                    "only a superuser may read the hashes of passwords",
                    "leave --passwords out, and set the passwords after a restore",
                )
            conn.rollback()
            lock_out_runners(conn, log)
            snapshot = open_snapshot(conn, as_owner)
            arguments = [
                f"--file={draft / DUMP}",
                f"--jobs={jobs}",
                f"--snapshot={snapshot}",
                *only_ours(conn, as_owner),
            ]
            tables = _fetch_column(conn, _TABLES, (list(OUR_SCHEMAS),))
            run_pg_dump(
                programs,
                db_uri,
                arguments,
                _progress_of(progress, len(tables), lambda: let_runners_in(conn)),
            )
            doctor = [
                {"level": one.level, "object": one.object, "what": one.what}
                for one in examine(db_uri).findings
            ]
            manifest = _manifest(conn, programs, tables, doctor, passwords=passwords)
            state = read_state(conn, passwords=passwords)
        return BackupReport(manifest, finish(draft, manifest, state))


def is_superuser(conn: Connection) -> bool:
    """Return whether the current role is a superuser."""
    query = "select rolsuper from pg_catalog.pg_roles where rolname = current_user"
    return bool(_fetch_row(conn, query)[0])


def lock_out_runners(conn: Connection, log: Log) -> None:
    """Wait until no migration runs, and keep new ones waiting.

    pg_dump reads a part of the definitions outside its snapshot, so they must not change until it
    has read them.
    """
    take_runner_lock(conn, log, shared=True)


def let_runners_in(conn: Connection) -> None:
    """Let migrations run again: the opposite of lock_out_runners."""
    release_runner_lock(conn, shared=True)


def open_snapshot(conn: Connection, as_owner: bool) -> str:
    """Begin the transaction whose snapshot the dump and the counts use; return the snapshot's id.

    Row-level security is off in it: PostgreSQL refuses a query whose result a policy would reduce.
    """
    conn.execute("set transaction isolation level repeatable read, read only")
    conn.execute("set local search_path = ''")
    conn.execute("set local row_security = off")
    for name in _TIMEOUTS:
        conn.execute(
            "select pg_catalog.set_config(name, '0', true) from pg_catalog.pg_settings"
            " where name = %s",
            (name,),
        )
    if as_owner:
        become_owner(conn)
    return str(_fetch_row(conn, "select pg_catalog.pg_export_snapshot()")[0])


def _fetch_row(conn: Connection, query: str) -> Any:
    return conn.execute(query.encode()).fetchone()


def _fetch_column(conn: Connection, query: str, values: Any = None) -> list[str]:
    return [row[0] for row in conn.execute(query.encode(), values).fetchall()]


def only_ours(conn: Connection, as_owner: bool) -> list[str]:
    """Return the arguments by which pg_dump leaves the schemas of others out."""
    others = _fetch_column(conn, _OTHER_SCHEMAS, (list(OUR_SCHEMAS),))
    role = [f"--role={OWNER}"] if as_owner else []
    return [*(f"--exclude-schema={_pattern(name)}" for name in others), *role]


def other_roles(conn: Connection) -> list[str]:
    """Return the roles of others that own one of our objects, have rights on it or a policy."""
    return _fetch_column(conn, _OTHER_ROLES, _OURS)


def not_included(conn: Connection) -> list[str]:
    """Return what the database has beside sessionbase's schemas: `extension citext`."""
    return _fetch_column(conn, _NOT_INCLUDED, _OURS)


def _pattern(name: str) -> str:
    """Return a pattern of pg_dump that matches exactly this name."""
    return '"' + name.replace('"', '""') + '"'


def _progress_of(
    progress: CountProgress | None, tables: int, data_begin: Callable[[], None]
) -> Callable[[str], None]:
    """Return a function that takes the lines that pg_dump --verbose writes."""
    done = 0

    def read(line: str) -> None:
        nonlocal done
        if "dumping contents of table" not in line:
            return
        if done == 0:
            data_begin()
        if progress:
            progress(done, tables)
        done += 1

    return read


def run_pg_dump(
    programs: Programs, db_uri: str, arguments: list[str], read: Callable[[str], None]
) -> None:
    """Run pg_dump; `read` gets each line of its messages. Raises SessionbaseError if it fails."""
    database, environment = connection_arguments(db_uri)
    command = [
        programs.path("pg_dump"),
        "--format=directory",
        "--no-blobs",
        "--no-password",
        "--verbose",
        f"--lock-wait-timeout={LOCK_WAIT_SECONDS}s",
        *arguments,
        database,
    ]
    lines: list[str] = []
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, errors="replace", env=environment
    ) as process:
        try:
            for line in cast(IO[str], process.stderr):
                lines.append(line.rstrip("\n"))
                read(line)
        except BaseException:
            process.terminate()
            raise
    if process.returncode:
        raise failure("pg_dump", lines)


def _manifest(
    conn: Connection,
    programs: Programs,
    tables: list[str],
    doctor: list[dict[str, str]],
    *,
    passwords: bool,
) -> Manifest:
    counts = {name: int(_fetch_row(conn, f"select count(*) from {name}")[0]) for name in tables}
    encoding, locale = _fetch_row(conn, _DATABASE)
    (now,) = _fetch_row(conn, "select pg_catalog.now()")
    return Manifest(
        sessionbase=__version__,
        created_at=now.astimezone(UTC).isoformat(timespec="seconds"),
        database=conn.info.dbname,
        server_version=conn.info.parameter_status("server_version") or "",
        server_major=conn.info.server_version // 10_000,
        pg_dump_version=programs.version,
        encoding=encoding,
        locale=locale,
        migrations=_fetch_column(conn, _MIGRATIONS),
        tables=counts,
        other_roles=other_roles(conn),
        not_included=not_included(conn),
        password_hashes=passwords,
        doctor=doctor,
    )
