"""What the planner reads in the catalogue of the target database. It only reads."""

from dataclasses import dataclass, field
from typing import Any

import psycopg

Connection = psycopg.Connection[Any]

_RELATION = """
select c.oid, pg_catalog.format('%%s.%%s', n.nspname, c.relname), c.relkind::text,
       case when c.reltuples < 0 then null else c.reltuples::bigint end,
       case when c.relkind in ('r', 'm', 'i', 't') then pg_catalog.pg_table_size(c.oid) else 0 end,
       case when c.relkind in ('r', 'm') then pg_catalog.pg_indexes_size(c.oid) else 0 end,
       coalesce((
         select pg_catalog.format('%%s.%%s', pn.nspname, p.relname)
           from pg_catalog.pg_index i
           join pg_catalog.pg_class p on p.oid = i.indrelid
           join pg_catalog.pg_namespace pn on pn.oid = p.relnamespace
          where i.indexrelid = c.oid
       ), '')
  from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
 where n.nspname = %s and c.relname = %s
"""

_CHILDREN = """
with recursive tree (oid) as (
  select inhrelid from pg_catalog.pg_inherits where inhparent = %s
  union
  select i.inhrelid from pg_catalog.pg_inherits i join tree t on i.inhparent = t.oid
)
select pg_catalog.format('%%s.%%s', n.nspname, c.relname)
  from tree t
  join pg_catalog.pg_class c on c.oid = t.oid
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
 order by 1
"""

_FOREIGN_KEYS = """
select c.conname, pg_catalog.format('%%s.%%s', sn.nspname, s.relname),
       pg_catalog.format('%%s.%%s', tn.nspname, t.relname),
       array(select a.attname::text from pg_catalog.pg_attribute a
              where a.attrelid = c.conrelid and a.attnum = any(c.conkey))
  from pg_catalog.pg_constraint c
  join pg_catalog.pg_class s on s.oid = c.conrelid
  join pg_catalog.pg_namespace sn on sn.oid = s.relnamespace
  join pg_catalog.pg_class t on t.oid = c.confrelid
  join pg_catalog.pg_namespace tn on tn.oid = t.relnamespace
 where c.contype = 'f' and %s in (c.conrelid, c.confrelid)
 order by 1
"""

_COLUMNS = """
select a.attname, a.attnotnull, a.atttypid, a.atttypmod,
       pg_catalog.format_type(a.atttypid, a.atttypmod), a.attcollation
  from pg_catalog.pg_attribute a
 where a.attrelid = %s and a.attnum > 0 and not a.attisdropped
"""

_CONSTRAINTS = """
select c.conname, c.contype::text, c.convalidated, pg_catalog.pg_get_constraintdef(c.oid),
       array(select a.attname::text from pg_catalog.pg_attribute a
              where a.attrelid = c.conrelid and a.attnum = any(c.conkey))
  from pg_catalog.pg_constraint c where c.conrelid = %s
"""

_INDEXES = """
select pg_catalog.format('%%s.%%s', n.nspname, c.relname)
  from pg_catalog.pg_index i
  join pg_catalog.pg_class c on c.oid = i.indexrelid
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
 where i.indrelid = %s
 order by 1
"""

_VOLATILITY = """
select p.provolatile::text from pg_catalog.pg_proc p
  join pg_catalog.pg_namespace n on n.oid = p.pronamespace
 where p.proname = %s and n.nspname = coalesce(%s::text, 'pg_catalog')
"""

_CAST = """
with old as (select %(old)s::oid as oid), new as (select %(new)s::oid as oid)
select case when (select oid from old) = (select oid from new) then 'same' else (
         select c.castmethod::text from pg_catalog.pg_cast c
          where c.castsource = (select oid from old) and c.casttarget = (select oid from new)
       ) end
"""

_TYPE = """
select t.oid, t.typname::text, t.typtype::text,
       t.typtype = 'd' and (
         t.typnotnull or exists (
           select from pg_catalog.pg_constraint c where c.contypid = t.oid
         )
       ),
       t.typbasetype
  from pg_catalog.pg_type t where t.oid = pg_catalog.to_regtype(%s)
"""

_DOMAIN_TABLES = """
select distinct pg_catalog.format('%%s.%%s', n.nspname, c.relname)
  from pg_catalog.pg_attribute a
  join pg_catalog.pg_class c on c.oid = a.attrelid
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
 where a.atttypid = pg_catalog.to_regtype(%s) and not a.attisdropped and c.relkind in ('r', 'm')
 order by 1
"""

_DEFAULT_PARTITION = """
select pg_catalog.format('%%s.%%s', n.nspname, c.relname)
  from pg_catalog.pg_partitioned_table p
  join pg_catalog.pg_class c on c.oid = p.partdefid
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
 where p.partrelid = %s
"""

_PARENT = """
select pg_catalog.format('%%s.%%s', n.nspname, p.relname)
  from pg_catalog.pg_inherits i
  join pg_catalog.pg_class p on p.oid = i.inhparent
  join pg_catalog.pg_namespace n on n.oid = p.relnamespace
 where i.inhrelid = %s
"""

_STATISTICS_TABLE = """
select pg_catalog.format('%%s.%%s', n.nspname, c.relname)
  from pg_catalog.pg_statistic_ext s
  join pg_catalog.pg_namespace sn on sn.oid = s.stxnamespace
  join pg_catalog.pg_class c on c.oid = s.stxrelid
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
 where sn.nspname = %s and s.stxname = %s
"""

_EVENT_TRIGGERS = "select evtname from pg_catalog.pg_event_trigger where evtenabled <> 'D'"


@dataclass(frozen=True)
class Column:
    """A column of a table of the target."""

    not_null: bool
    type_oid: int
    typmod: int
    type: str
    collation: int


@dataclass(frozen=True)
class Constraint:
    """A constraint of a table of the target."""

    kind: str
    """As in pg_constraint.contype: c, f, p, u, x, n."""
    valid: bool
    definition: str
    columns: list[str]


@dataclass(frozen=True)
class ForeignKey:
    """A foreign key of or to a table."""

    name: str
    source: str
    target: str
    columns: list[str]


@dataclass(frozen=True)
class Relation:
    """A table, index, view or sequence of the target. Its name is `schema.name`, not quoted."""

    oid: int
    name: str
    kind: str
    """As in pg_class.relkind."""
    rows: int | None
    """As PostgreSQL estimates it; None: never analyzed."""
    bytes: int
    """The table with its TOAST data, without its indexes."""
    index_bytes: int
    table: str
    """The table of an index; empty for other relations."""


@dataclass(frozen=True)
class DataType:
    """A type of the target."""

    oid: int
    name: str
    is_domain: bool
    is_constrained: bool
    """A domain with constraints."""
    base: int


@dataclass
class Catalog:
    """Facts of the target, read when they are asked for. Raises psycopg.Error."""

    conn: Connection
    _relations: dict[str, Relation | None] = field(default_factory=dict)

    @property
    def major(self) -> int:
        """The major version of the server."""
        return self.conn.info.server_version // 10_000

    def _rows(self, query: str, values: Any = None) -> list[tuple[Any, ...]]:
        return self.conn.execute(query.encode(), values).fetchall()

    def _names(self, query: str, values: Any = None) -> list[str]:
        return [str(row[0]) for row in self._rows(query, values)]

    def relation(self, name: str) -> Relation | None:
        """Return a relation by `schema.name`; None if the target does not have it."""
        if name not in self._relations:
            schema, _, rest = name.partition(".")
            rows = self._rows(_RELATION, (schema, rest))
            self._relations[name] = Relation(*rows[0]) if rows else None
        return self._relations[name]

    def _oid(self, name: str) -> int:
        found = self.relation(name)
        return found.oid if found else 0

    def children(self, name: str) -> list[str]:
        """Return the partitions and the tables that inherit, of all levels."""
        return self._names(_CHILDREN, (self._oid(name),))

    def parent(self, name: str) -> str | None:
        """Return the table whose partition or child this is."""
        return next(iter(self._names(_PARENT, (self._oid(name),))), None)

    def default_partition(self, name: str) -> str | None:
        """Return the default partition of a partitioned table."""
        return next(iter(self._names(_DEFAULT_PARTITION, (self._oid(name),))), None)

    def foreign_keys(self, name: str) -> list[ForeignKey]:
        """Return the foreign keys of a table and those that refer to it."""
        return [ForeignKey(*row) for row in self._rows(_FOREIGN_KEYS, (self._oid(name),))]

    def column(self, name: str, column: str) -> Column | None:
        """Return a column of a table; None if the target does not have it."""
        rows = self._rows(_COLUMNS, (self._oid(name),))
        return next((Column(*row[1:]) for row in rows if row[0] == column), None)

    def constraints(self, name: str) -> dict[str, Constraint]:
        """Return the constraints of a table by name."""
        rows = self._rows(_CONSTRAINTS, (self._oid(name),))
        return {row[0]: Constraint(*row[1:]) for row in rows}

    def indexes(self, name: str) -> list[str]:
        """Return the indexes of a table."""
        return self._names(_INDEXES, (self._oid(name),))

    def volatilities(self, schema: str | None, name: str) -> set[str]:
        """Return `i`, `s` or `v` of the functions of this name; without a schema: built-in ones."""
        return set(self._names(_VOLATILITY, (name, schema)))

    def cast(self, old: int, new: int) -> str | None:
        """Return `same`, or castmethod (b: the stored values are the same), or None: no cast."""
        rows = self._rows(_CAST, {"old": old, "new": new})
        return rows[0][0] if rows else None

    def type(self, name: str) -> DataType | None:
        """Return a type by its SQL name; None if the target does not have it."""
        rows = self._rows(_TYPE, (name,))
        if not rows:
            return None
        oid, short, kind, constrained, base = rows[0]
        return DataType(oid, short, kind == "d", constrained, base)

    def typmod(self, name: str) -> int:
        """Return the type modifier of a type as SQL, such as `varchar(20)`; -1 without one."""
        # No built-in function parses a type modifier before 17. A null of that type shows it.
        cursor = self.conn.execute(f"select null::{name} limit 0".encode())
        description = cursor.description or []
        oid_and_mod = cursor.pgresult
        return oid_and_mod.fmod(0) if oid_and_mod and description else -1

    def domain_tables(self, name: str) -> list[str]:
        """Return the tables that have a column of this domain."""
        return self._names(_DOMAIN_TABLES, (name,))

    def statistics_table(self, schema: str, name: str) -> str | None:
        """Return the table of an extended statistics object."""
        return next(iter(self._names(_STATISTICS_TABLE, (schema, name))), None)

    def event_triggers(self) -> list[str]:
        """Return the names of the enabled event triggers."""
        return self._names(_EVENT_TRIGGERS)
