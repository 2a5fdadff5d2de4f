"""Role probes: what a profile, a guest and an auditor see, asked as PostgREST asks the database.

They sample a few profiles and a few rows of each before the run, and look for these rows with the
role and the claims of a request. A query finds its rows by the primary key, so that its cost does
not grow with the table; a statement timeout ends one that does not.
"""

import json
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import sql

from sessionbase.doctor.lints import Finding
from sessionbase.migrate.ledger import Connection

PROBES = "role_probes"
"""The name of these checks, beside those of the lints."""

TIMEOUT_MS = 2000
"""How long one query may take, in milliseconds. Normal is a hundredth of it."""

_CLIENT, _GUEST, _AUDITOR = "authenticated", "anon", "auditor"
_PROFILES = 2
_ROWS = 20
_PRE_REQUEST = "app.check_request"

# The tables of app with rows of a profile, and the views of api, each with the one table that it
# reads. `key` is the primary key without profile_id; null for a view that lacks a column of it.
_RELATIONS = """
with base as (
  select c.oid, c.oid::regclass::text as name, (
      select jsonb_agg(
        jsonb_build_array(a.attname, format_type(a.atttypid, a.atttypmod)) order by k.place)
        filter (where a.attname <> 'profile_id')
        from pg_index i cross join unnest(i.indkey) with ordinality k (number, place)
        join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.number
       where i.indrelid = c.oid and i.indisprimary
    ) as key
    from pg_class c
   where c.relnamespace = to_regnamespace('app') and c.relkind in ('r', 'p')
     and exists (select from pg_attribute a
                  where a.attrelid = c.oid and a.attname = 'profile_id' and not a.attisdropped)
), shown as (
  select v.oid, v.oid::regclass::text as name, case when count(distinct c.oid) = 1
         then min(c.oid::bigint)::oid end as base
    from pg_class v
    join pg_rewrite r on r.ev_class = v.oid
    left join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid
      and d.refclassid = 'pg_class'::regclass and d.refobjid <> v.oid
    left join pg_class c on c.oid = d.refobjid
   where v.relnamespace = to_regnamespace('api') and v.relkind in ('v', 'm')
   group by v.oid
), relation as (
  select oid, name, name as base, key, false as is_view from base
  union all
  select shown.oid, shown.name, base.name, case when not exists (
           select from jsonb_array_elements(base.key) k
            where not exists (select from pg_attribute a
                               where a.attrelid = shown.oid and a.attname = k ->> 0)
         ) then base.key end, true
    from shown left join base on base.oid = shown.base
)
select name, base, coalesce(key, '[]'), is_view,
       array(select r.rolname::text from pg_roles r
              where r.rolname in ('authenticated', 'anon', 'auditor')
                and has_any_column_privilege(r.oid, relation.oid, 'select')
              order by 1)
  from relation order by is_view, name
"""


@dataclass(frozen=True)
class Relation:
    """A table of schema app with rows of profiles, or a view of schema api."""

    name: str
    """As PostgreSQL prints it: `api.todos`."""
    table: str | None
    """The table whose rows it shows: itself, or the only one that the view reads."""
    key: tuple[tuple[str, str], ...]
    """Name and type of the columns that find one row of a profile; empty if there are none."""
    is_view: bool
    readers: frozenset[str]
    """The client roles that have SELECT on it or on a column."""


Key = tuple[str, ...]
"""The values of a row's key, as text."""


@dataclass
class Sample:
    """Rows that the owner saw, and the key columns that they were read by."""

    columns: dict[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)
    """By table."""
    rows: dict[str, dict[str, list[Key]]] = field(default_factory=dict)
    """By table and profile. A table without key columns has the empty key for a profile with rows.
    """

    @property
    def profiles(self) -> list[str]:
        """The sampled profiles."""
        return sorted({profile for rows in self.rows.values() for profile in rows})


def _relations(conn: Connection) -> list[Relation]:
    return [
        Relation(name, table, tuple((c, t) for c, t in key), is_view, frozenset(readers))
        for name, table, key, is_view, readers in conn.execute(_RELATIONS).fetchall()
    ]


def is_stopped(error: psycopg.Error, start: float) -> bool:
    """Return whether another session or a signal cancelled a statement before its timeout.

    `start` is the time.monotonic() at which it began. Both have the same SQLSTATE, and the message
    is in the language of the server.
    """
    cancelled = isinstance(error, psycopg.errors.QueryCanceled)
    return cancelled and (time.monotonic() - start) * 1000 < TIMEOUT_MS


@contextmanager
def read_only(conn: Connection, timeout_ms: int = TIMEOUT_MS) -> Iterator[None]:
    """Run a block in a read-only savepoint that is rolled back, with a limit for each statement.

    All settings of the transaction are afterwards what they were before.
    """
    with conn.transaction(force_rollback=True):
        conn.execute(
            "select set_config('transaction_read_only', 'on', true),"
            " set_config('statement_timeout', %s, true),"
            # Each row is found by an index: a plan must not depend on missing statistics.
            " set_config('enable_seqscan', 'off', true),"
            " set_config('enable_hashjoin', 'off', true),"
            " set_config('enable_mergejoin', 'off', true),"
            " set_config('jit', 'off', true), set_config('search_path', '', true),"
            # A file from pg_dump turns it off, and each query of a client would be an error.
            " set_config('row_security', 'on', true)",
            (str(timeout_ms),),
        )
        yield


def _values(columns: tuple[tuple[str, str], ...], keys: Iterable[Key]) -> sql.Composable:
    """Return `(values (…), …) k (k1, …)` with the keys in the types of the columns."""
    rows = sql.SQL(", ").join(
        sql.SQL("({})").format(
            sql.SQL(", ").join(
                sql.SQL("{}::{}").format(sql.Literal(value), sql.SQL(kind))
                for value, (_, kind) in zip(key, columns, strict=True)
            )
        )
        for key in keys
    )
    names = sql.SQL(", ").join(sql.Identifier(f"k{n}") for n in range(len(columns)))
    return sql.SQL("(values {}) k ({})").format(rows, names)


def _same(columns: tuple[tuple[str, str], ...]) -> sql.Composable:
    return sql.SQL(" and ").join(
        sql.SQL("r.{} = k.{}").format(sql.Identifier(name), sql.Identifier(f"k{n}"))
        for n, (name, _) in enumerate(columns)
    )


def _as_text(columns: tuple[tuple[str, str], ...], prefix: str) -> sql.Composable:
    return sql.SQL(", ").join(
        sql.SQL("{}::text").format(sql.Identifier(prefix, name)) for name, _ in columns
    )


def _union(parts: list[sql.Composable]) -> sql.Composed:
    return sql.SQL("\nunion all\n").join(parts)


def _choose_profiles(conn: Connection, tables: list[Relation]) -> list[str]:
    """Return up to two profiles, those that have rows in the most tables.

    The candidates are the first and the last two profiles of each table, in the order of the index.
    """
    parts: list[sql.Composable] = [
        sql.SQL(
            "select profile_id from ((select profile_id from {table} order by profile_id limit 1)"
            " union (select profile_id from {table} where profile_id >"
            " (select min(profile_id) from {table}) order by profile_id limit 1)"
            " union (select max(profile_id) from {table})) p where profile_id is not null"
        ).format(table=sql.SQL(table.name))
        for table in tables
    ]
    if not parts:
        return []
    rows = conn.execute(
        sql.SQL(
            "select profile_id from ({}) c group by 1 order by count(*) desc, 1 limit {}"
        ).format(_union(parts), _PROFILES)
    ).fetchall()
    return [str(row[0]) for row in rows]


def _sample(conn: Connection, tables: list[Relation], profiles: list[str]) -> Sample:
    """Return up to 20 rows of each profile in each table."""
    found = Sample()
    parts: list[sql.Composable] = []
    for table in tables:
        found.columns[table.name] = table.key
        found.rows[table.name] = {}
        parts += [
            sql.SQL(
                "(select {name}, {profile}, jsonb_build_array({key}) from {table} r"
                " where r.profile_id = {profile} limit {limit})"
            ).format(
                name=sql.Literal(table.name),
                profile=sql.Literal(profile),
                key=_as_text(table.key, "r"),
                table=sql.SQL(table.name),
                limit=_ROWS if table.key else 1,
            )
            for profile in profiles
        ]
    if parts:
        for name, profile, key in conn.execute(_union(parts)).fetchall():
            found.rows[name].setdefault(profile, []).append(tuple(key))
    return found


def _still_there(conn: Connection, sample: Sample, tables: list[Relation]) -> Sample:
    """Return the sampled rows that the owner still sees."""
    found = Sample(columns=sample.columns)
    parts: list[sql.Composable] = []
    for table in tables:
        found.rows[table.name] = {}
        for profile, keys in sample.rows.get(table.name, {}).items():
            own = sql.SQL("r.profile_id = {}").format(profile)
            if table.key:
                names = sql.SQL(", ").join(
                    sql.SQL("k.{}::text").format(sql.Identifier(f"k{n}"))
                    for n in range(len(table.key))
                )
                source = _values(table.key, keys)
                condition = sql.SQL("{} and {}").format(own, _same(table.key))
            else:
                names, condition = sql.Composed([]), own
                source = sql.SQL("(values (1)) k (k0)")
            parts.append(
                sql.SQL(
                    "select {}, {}, jsonb_build_array({}) from {}"
                    " where exists (select from {} r where {})"
                ).format(
                    sql.Literal(table.name),
                    sql.Literal(profile),
                    names,
                    source,
                    sql.SQL(table.name),
                    condition,
                )
            )
    if parts:
        for name, profile, key in conn.execute(_union(parts)).fetchall():
            found.rows[name].setdefault(profile, []).append(tuple(key))
    return found


def _hidden_and_foreign(
    relation: Relation, sample: Sample, profile: str
) -> tuple[sql.Composable, sql.Composable]:
    """Return two expressions: how many of the profile's rows are hidden, and how many of others
    are visible.
    """
    rows = sample.rows.get(relation.table or "", {})
    own = rows.get(profile, [])
    if not relation.key:
        any_row = sql.SQL("exists (select from {})").format(sql.SQL(relation.name))
        return sql.SQL("(not {})::int").format(any_row) if own else sql.SQL("0"), sql.SQL("0")
    # A profile can have a row with the same key.
    others = {key for other, keys in rows.items() if other != profile for key in keys} - set(own)
    hidden, foreign = (
        sql.SQL("(select count(*) from {} where {} (select from {} r where {}))").format(
            _values(relation.key, sorted(keys)),
            sql.SQL(word),
            sql.SQL(relation.name),
            _same(relation.key),
        )
        if keys
        else sql.SQL("0")
        for word, keys in (("not exists", set(own)), ("exists", others))
    )
    return hidden, foreign


class RoleProbes:
    """The probes of a run: sampled once before it, and repeated in the transaction of each file."""

    def __init__(self, listed: dict[str, set[str]]) -> None:
        """`listed` has for each role the relations that it may read by sql/authority.json."""
        self._listed = listed
        self._sample = Sample()
        self._readable: dict[str, set[str]] = {}
        self._settings: dict[str, list[str]] = {}
        self._pre_request = False

    def start(self, conn: Connection) -> None:
        """Sample rows as the owner, in an open transaction."""
        with read_only(conn):
            relations = _relations(conn)
            tables = [it for it in relations if not it.is_view]
            self._sample = _sample(conn, tables, _choose_profiles(conn, tables))
        self._readable = {
            role: {it.name for it in relations if role in it.readers}
            for role in (_CLIENT, _GUEST, _AUDITOR)
        }
        rows = conn.execute(
            "select rolname::text, s from pg_roles, unnest(rolconfig) s"
            " where rolname = any(%s) and split_part(s, '=', 1) in"
            " (select name from pg_settings where context = 'user')"
            " and split_part(s, '=', 1) <> 'statement_timeout'",
            ([_CLIENT, _GUEST, _AUDITOR],),
        ).fetchall()
        for role, setting in rows:
            self._settings.setdefault(str(role), []).append(str(setting))

    def findings(self, conn: Connection, *, at_the_end: bool) -> list[Finding]:
        """Return what is wrong now, in the open transaction, as the owner.

        `at_the_end`: the repeatable files were applied too, so that every right of
        sql/authority.json must be there.
        """
        first = self._all(conn, at_the_end)
        # A client can delete a sampled row between two of the queries.
        second = self._all(conn, at_the_end) if first else []
        return list(dict.fromkeys(second))

    def _all(self, conn: Connection, at_the_end: bool) -> list[Finding]:
        with read_only(conn):
            relations = _relations(conn)
            row = conn.execute("select to_regprocedure(%s) is not null", (f"{_PRE_REQUEST}()",))
            self._pre_request = row.fetchone() == (True,)
            tables = [it for it in relations if not it.is_view]
            known = [it for it in tables if self._sample.columns.get(it.name) == it.key]
            others = [it for it in tables if it not in known]
            there = _still_there(conn, self._sample, known)
            profiles = self._sample.profiles or _choose_profiles(conn, tables)
            new = _sample(conn, others, profiles)
        now = Sample(there.columns | new.columns, there.rows | new.rows)
        found = [
            *self._gone(known, there),
            *self._rights(relations, at_the_end),
        ]
        for profile in now.profiles:
            found += self._as_profile(conn, relations, now, profile)
        found += self._as_nobody(conn, relations)
        found += self._as_guest(conn, relations)
        found += self._as_auditor(conn, relations, now)
        return found

    def _gone(self, tables: list[Relation], there: Sample) -> Iterator[Finding]:
        for table in tables:
            before = sum(map(len, self._sample.rows[table.name].values()))
            if before > 1 and not there.rows[table.name]:
                yield _finding(
                    table.name,
                    f"has none of the {before} rows any more that were sampled before the run",
                    "keep the rows of the profiles; if the file is to delete them, add "
                    f"--skip-lint {PROBES}",
                )

    def _rights(self, relations: list[Relation], at_the_end: bool) -> Iterator[Finding]:
        """Yield rights to read that were lost, and those that sql/authority.json does not list."""
        names = {relation.name for relation in relations}
        for role in (_CLIENT, _AUDITOR) if at_the_end else ():
            for name in sorted(self._listed.get(role, set()) - names):
                yield _finding(
                    name,
                    f"does not exist, and sql/authority.json lists {role} as a reader",
                    "create it in a file, or remove it from sql/authority.json",
                )
        for relation in relations:
            for role in (_CLIENT, _AUDITOR):
                listed = relation.name in self._listed.get(role, set())
                due = listed and (at_the_end or relation.name in self._readable.get(role, set()))
                if due and role not in relation.readers:
                    yield _finding(
                        relation.name,
                        f"permission denied for {role}, which sql/authority.json lists as a reader",
                        f"grant select on {relation.name} to {role}",
                    )
            for role in (_GUEST, _AUDITOR):
                listed = relation.name in self._listed.get(role, set())
                if role in relation.readers and not listed:
                    yield _finding(
                        relation.name,
                        f"{role} may read it, and sql/authority.json does not list that",
                        f"revoke select on {relation.name} from {role}",
                    )

    @contextmanager
    def _request(self, conn: Connection, role: str, profile: str | None) -> Iterator[None]:
        """Become what a GET of PostgREST is: the role, its settings, the claims, read-only."""
        claims = {"role": role} | ({"sub": profile} if profile is not None else {})
        settings = dict(item.split("=", 1) for item in self._settings.get(role, [])) | {
            "request.jwt.claims": json.dumps(claims),
            "request.method": "GET",
            "request.path": "/",
            "role": role,
        }
        with read_only(conn):
            conn.execute(
                sql.SQL("select {}").format(
                    sql.SQL(", ").join(
                        sql.SQL("set_config({}, {}, true)").format(name, value)
                        for name, value in settings.items()
                    )
                )
            )
            yield

    def _query(
        self, conn: Connection, role: str, profile: str | None, parts: dict[str, sql.Composable]
    ) -> tuple[dict[str, list[Any]], list[Finding]]:
        """Run a SELECT for each relation in one statement; if it fails, each one on its own.

        Returns the row of each relation, and the errors as findings.
        """
        named = {
            name: sql.SQL("select {}, jsonb_build_array({})").format(sql.Literal(name), part)
            for name, part in parts.items()
        }
        if not named:
            return {}, []
        where, start = _PRE_REQUEST, time.monotonic()
        try:
            with self._request(conn, role, profile):
                if self._pre_request:
                    conn.execute(f"select {_PRE_REQUEST}()".encode())
                where = next(iter(named))
                return dict(conn.execute(_union(list(named.values()))).fetchall()), []
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
            raise
        except psycopg.Error as error:
            if conn.closed or is_stopped(error, start):
                raise
            if len(named) == 1 or where == _PRE_REQUEST:
                return {}, [_failed(where, role, error)]
        rows: dict[str, list[Any]] = {}
        failures: list[Finding] = []
        for name, part in parts.items():
            found, failed = self._query(conn, role, profile, {name: part})
            rows |= found
            failures += failed
        return rows, failures

    def _as_profile(
        self, conn: Connection, relations: list[Relation], sample: Sample, profile: str
    ) -> list[Finding]:
        parts: dict[str, sql.Composable] = {
            it.name: sql.SQL("{}, {}").format(*_hidden_and_foreign(it, sample, profile))
            for it in relations
            if _CLIENT in it.readers and it.table in sample.rows
        }
        rows, found = self._query(conn, _CLIENT, profile, parts)
        for name, (hidden, foreign) in rows.items():
            if hidden:
                found.append(
                    _finding(
                        name,
                        "does not show a profile all of its own rows",
                        "compare the policies and the view with those of sql/",
                    )
                )
            if foreign:
                found.append(_leak(name))
        return found

    def _as_nobody(self, conn: Connection, relations: list[Relation]) -> list[Finding]:
        """Look with the claims of a profile that has no rows."""
        readable = [it.name for it in relations if _CLIENT in it.readers]
        rows, found = self._query(
            conn, _CLIENT, f"sessionbase-probe-{uuid.uuid4()}", _any_row(readable)
        )
        return found + [_leak(name) for name, (visible,) in rows.items() if visible]

    def _as_guest(self, conn: Connection, relations: list[Relation]) -> list[Finding]:
        readable = [it.name for it in relations if _GUEST in it.readers]
        rows, _ = self._query(conn, _GUEST, None, _any_row(readable))
        return [
            _finding(name, "shows rows to anon, a guest", f"revoke select on {name} from anon")
            for name, (visible,) in rows.items()
            if visible
        ]

    def _as_auditor(
        self, conn: Connection, relations: list[Relation], sample: Sample
    ) -> list[Finding]:
        readable = [
            it.name
            for it in relations
            if _AUDITOR in it.readers and it.name in self._listed.get(_AUDITOR, set())
        ]
        tables = {it.name: it.table for it in relations}
        rows, found = self._query(conn, _AUDITOR, "sessionbase-probe", _any_row(readable))
        return found + [
            _finding(
                name,
                "does not show the auditor a row, and it has rows",
                "compare the policies for auditor with those of sql/",
            )
            for name, (visible,) in rows.items()
            if not visible and sample.rows.get(tables[name] or "")
        ]


def _any_row(names: list[str]) -> dict[str, sql.Composable]:
    return {name: sql.SQL("exists (select from {})").format(sql.SQL(name)) for name in names}


def _finding(name: str, what: str, remediation: str) -> Finding:
    return Finding("error", name, what, remediation, PROBES)


def _leak(name: str) -> Finding:
    return _finding(
        name,
        "shows a profile the rows of another profile",
        "compare the policies and the view with those of sql/; nothing was committed",
    )


def _failed(name: str, role: str, error: psycopg.Error) -> Finding:
    message = error.diag.message_primary or str(error)
    return _finding(
        name,
        f"fails in a request of {role}: {message}",
        "correct the policies, the functions that they call and the grants",
    )
