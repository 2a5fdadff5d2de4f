"""A copy of the target in a throwaway cluster: roles, definitions, ledger, and a sample of rows."""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from sessionbase.backup.dump import (
    LOCK_WAIT_SECONDS,
    is_superuser,
    let_runners_in,
    lock_out_runners,
    not_included,
    only_ours,
    open_snapshot,
    other_roles,
    run_pg_dump,
)
from sessionbase.backup.programs import (
    Programs,
    choose_programs,
    connection_arguments,
    failure,
)
from sessionbase.backup.roles import (
    ClusterState,
    create_role,
    existing_roles,
    preparation,
    read_state,
)
from sessionbase.backup.toc import select_and_order
from sessionbase.console import CountProgress, Log
from sessionbase.database import connect
from sessionbase.errors import SessionbaseError
from sessionbase.migrate.database import check_server_version
from sessionbase.migrate.ledger import ledger_exists
from sessionbase.stack.scratch import scratch_cluster

Connection = psycopg.Connection[Any]

# The tables to sample, each with the columns of its primary key. Rows in the order of the key are
# those of the same profiles in all tables.
_TABLES = """
select n.nspname, c.relname,
       array(
         select a.attname::text
           from pg_catalog.pg_index i
           cross join pg_catalog.unnest(i.indkey) with ordinality k (attnum, place)
           join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum = k.attnum
          where i.indrelid = c.oid and i.indisprimary
          order by k.place
       ),
       array(
         select a.attname::text from pg_catalog.pg_attribute a
          where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
            and a.attgenerated = ''
          order by a.attnum
       )
  from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
 where n.nspname = 'app' and c.relkind = 'r'
 order by 1, 2
"""

_ORPHANS = """
select pg_catalog.format(
         'delete from %s c where not exists (select from %s p where %s) and %s',
         k.conrelid::regclass, k.confrelid::regclass,
         (select pg_catalog.string_agg(pg_catalog.format('p.%I = c.%I', pa.attname, ca.attname),
                                       ' and ')
            from unnest(k.conkey, k.confkey) as pair (child, parent)
            join pg_catalog.pg_attribute ca on ca.attrelid = k.conrelid and ca.attnum = pair.child
            join pg_catalog.pg_attribute pa
              on pa.attrelid = k.confrelid and pa.attnum = pair.parent),
         (select pg_catalog.string_agg(pg_catalog.format('c.%I is not null', ca.attname), ' and ')
            from pg_catalog.unnest(k.conkey) as one (child)
            join pg_catalog.pg_attribute ca on ca.attrelid = k.conrelid and ca.attnum = one.child)
       )
  from pg_catalog.pg_constraint k
 where k.contype = 'f' and k.connamespace = 'app'::regnamespace
"""

_SEQUENCES = """
select pg_catalog.format(
         'select pg_catalog.setval(%L, coalesce((select max(%I) from %s), 0) + 1, false)',
         s.oid::regclass, a.attname, d.refobjid::regclass
       )
  from pg_catalog.pg_class s
  join pg_catalog.pg_depend d on d.objid = s.oid and d.classid = 'pg_catalog.pg_class'::regclass
   and d.refclassid = 'pg_catalog.pg_class'::regclass and d.deptype in ('a', 'i')
  join pg_catalog.pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
 where s.relkind = 'S' and s.relnamespace = 'app'::regnamespace
"""


@dataclass(frozen=True)
class Clone:
    """The copy: the superuser's URI, and what it has and lacks."""

    uri: str
    source_version: str
    version: str
    """The version of the server of the copy."""
    sampled: dict[str, int]
    """The rows of each table that were copied."""
    not_included: list[str]
    """What the target has beside sessionbase's schemas: `extension citext`."""


@contextmanager
def clone(
    db_uri: str,
    *,
    sample: int = 0,
    progress: CountProgress | None = None,
    log: Log = lambda _: None,
) -> Iterator[Clone]:
    """Copy the definitions of the target into a throwaway cluster, and up to `sample` rows a table.

    The target is only read, in one read-only snapshot. The copy is on this machine, in folders of
    mode 0700, and is deleted at the end. Raises SessionbaseError if something can't be copied.
    """
    with (
        scratch_cluster() as uri,
        tempfile.TemporaryDirectory(prefix="sessionbase-plan-") as folder,
        closing(connect(db_uri)) as source,
        closing(connect(uri)) as target,
    ):
        check_server_version(source.info.server_version)
        target.autocommit = True
        _refuse_older(source, target)
        majors = (one.info.server_version // 10_000 for one in (source, target))
        programs = choose_programs(max(majors), "the server and the rehearsing server")
        as_owner = not is_superuser(source)
        source.rollback()
        if not _has_ledger(source):
            yield _made(uri, source, target, {}, [])
            return
        lock_out_runners(source, log)
        snapshot = open_snapshot(source, as_owner)
        dump = Path(folder) / "dump"
        arguments = [
            f"--file={dump}",
            f"--snapshot={snapshot}",
            "--exclude-table-data=app.*",
            *only_ours(source, as_owner),
        ]
        log("copying the definitions of the target ...")
        run_pg_dump(programs, db_uri, arguments, lambda _: None)
        state, others, missing = read_state(source), other_roles(source), not_included(source)
        if not sample:
            _release(source)
        try:
            _restore(target, uri, programs, dump, state, others)
        except SessionbaseError as error:
            if missing:
                error.hint = (
                    f"the copy does not have {', '.join(missing)}: a definition in app, api or ops "
                    "that uses one of them can't be rehearsed"
                )
            raise
        sampled = {}
        if sample:
            sampled = _copy_rows(source, target, sample, progress)
            _release(source)
        yield _made(uri, source, target, sampled, missing)


def _release(source: Connection) -> None:
    """End the snapshot. The rest of a rehearsal holds no lock in the target."""
    let_runners_in(source)
    source.rollback()


def _made(
    uri: str, source: Connection, target: Connection, sampled: dict[str, int], missing: list[str]
) -> Clone:
    versions = [one.info.parameter_status("server_version") or "" for one in (source, target)]
    return Clone(uri, versions[0], versions[1], sampled, missing)


def _refuse_older(source: Connection, target: Connection) -> None:
    wanted, found = (one.info.server_version // 10_000 for one in (source, target))
    if found < wanted:
        raise SessionbaseError(
            f"the target is PostgreSQL {wanted}, and the programs here are PostgreSQL {found}",
            f"SESSIONBASE_POSTGRES_BIN names the bin folder of a PostgreSQL {wanted} or newer",
        )


def _has_ledger(source: Connection) -> bool:
    with source.transaction():
        source.execute("set transaction read only")
        return ledger_exists(source)


def _restore(  # noqa: PLR0917
    target: Connection,
    uri: str,
    programs: Programs,
    dump: Path,
    state: ClusterState,
    others: list[str],
) -> None:
    with target.transaction():
        there = existing_roles(target, others)
        for name in others:
            if name not in there:
                target.execute(create_role(target, name).encode())
        for statement in preparation(target, state):
            target.execute(statement.encode())
    listing = _run([programs.path("pg_restore"), "--list", str(dump)], "pg_restore")
    entries = dump.with_name("entries")
    entries.write_text(select_and_order(listing), encoding="utf-8")
    script = _run(
        [
            programs.path("pg_restore"),
            f"--use-list={entries}",
            "--no-tablespaces",
            "--file=-",
            str(dump),
        ],
        "pg_restore",
    )
    if target.info.server_version < 170000:
        # pg_restore 17 and newer write this setting, and older servers do not have it.
        script = script.replace("SET transaction_timeout = 0;\n", "", 1)
    database, environment = connection_arguments(uri)
    options = ["--no-psqlrc", "--quiet", "--no-password", "--set=ON_ERROR_STOP=1"]
    _run(
        [programs.path("psql"), *options, "--single-transaction", "--output=/dev/null", database],
        "psql",
        script,
        environment,
    )


def _run(
    command: list[str], name: str, text: str = "", environment: dict[str, str] | None = None
) -> str:
    done = subprocess.run(
        command, input=text, capture_output=True, text=True, check=False, env=environment
    )
    if done.returncode:
        raise failure(name, done.stderr.splitlines())
    return done.stdout


def _copy_rows(
    source: Connection, target: Connection, limit: int, progress: CountProgress | None
) -> dict[str, int]:
    """Copy up to `limit` rows of each table of app, then delete rows whose parent is missing."""
    try:
        return _copy(source, target, limit, progress)
    except psycopg.errors.LockNotAvailable as error:
        raise SessionbaseError(
            f"another session has locked a table of app for more than {LOCK_WAIT_SECONDS} s: "
            f"{error.diag.message_primary}",
            "run plan again when that session has ended: pg_stat_activity shows it",
        ) from error


def _copy(
    source: Connection, target: Connection, limit: int, progress: CountProgress | None
) -> dict[str, int]:
    source.execute(f"set local lock_timeout = '{LOCK_WAIT_SECONDS}s'".encode())
    tables = source.execute(_TABLES.encode()).fetchall()
    with target.transaction():
        # Neither triggers nor foreign keys run. Only a superuser may set it.
        target.execute("set local session_replication_role = replica")
        target.execute("set local search_path = ''")
        for done, (schema, name, key, columns) in enumerate(tables):
            if progress:
                progress(done, len(tables))
            table = sql.Identifier(schema, name)
            names = sql.SQL(", ").join(map(sql.Identifier, columns))
            keys = sql.SQL(", ").join(map(sql.Identifier, key))
            order = sql.SQL("order by {}").format(keys) if key else sql.SQL("")
            read = sql.SQL("copy (select {} from {} {} limit {}) to stdout").format(
                names, table, order, limit
            )
            write = sql.SQL("copy {} ({}) from stdin").format(table, names)
            with source.cursor().copy(read) as rows, target.cursor().copy(write) as rows_out:
                for block in rows:
                    rows_out.write(block)
        _delete_orphans(target)
        for (statement,) in target.execute(_SEQUENCES.encode()).fetchall():
            target.execute(statement.encode())
        counts = {}
        for schema, name, _, _ in tables:
            count = sql.SQL("select count(*) from {}").format(sql.Identifier(schema, name))
            row = target.execute(count).fetchone()
            counts[f"{schema}.{name}"] = int(row[0]) if row else 0
    target.execute("analyze")
    return counts


def _delete_orphans(target: Connection) -> None:
    statements = [row[0] for row in target.execute(_ORPHANS.encode()).fetchall()]
    deleted = 1
    while deleted:
        deleted = sum(target.execute(one.encode()).rowcount for one in statements)
