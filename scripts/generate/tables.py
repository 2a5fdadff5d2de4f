"""A diagram of the tables of schema app, with columns, types and keys, from the catalogue."""

from dataclasses import dataclass
from html import escape

from generate import graphviz
from generate.live import Live

# In points. Wide enough for fonts that are wider than Helvetica, which Graphviz assumes.
ROW, HEADER = 19, 26
KEYS_WIDTH, NAME_WIDTH, TYPE_WIDTH = 38, 112, 82
WIDTH = KEYS_WIDTH + NAME_WIDTH + TYPE_WIDTH
GAP_X, GAP_Y = 14, 44
TYPES = {"timestamp with time zone": "timestamptz"}
LEGEND = "PK  part of the primary key      FK  part of a foreign key      ?  may be null"


@dataclass(frozen=True)
class Column:
    """A column of a table."""

    name: str
    type: str
    nullable: bool
    primary: bool
    foreign: bool


@dataclass(frozen=True)
class Table:
    """A table, and the tables that its foreign keys reference."""

    name: str
    columns: list[Column]
    references: list[str]

    @property
    def height(self) -> int:
        """The height of its box, in points."""
        return HEADER + ROW * len(self.columns)


def read_tables(live: Live) -> list[Table]:
    """Return the tables of schema app by name."""
    with live.catalogue() as catalogue:
        catalogue.execute(_TABLES)
        return [
            Table(name, [Column(*column) for column in columns], references)
            for name, columns, references in catalogue.fetchall()
        ]


_TABLES = """
select
  tables.relname,
  (
    select jsonb_agg(
      jsonb_build_array(
        col.attname,
        format_type(col.atttypid, col.atttypmod),
        not col.attnotnull,
        exists (
          select from pg_constraint as con
          where con.conrelid = tables.oid and con.contype = 'p' and col.attnum = any (con.conkey)
        ),
        exists (
          select from pg_constraint as con
          where con.conrelid = tables.oid and con.contype = 'f' and col.attnum = any (con.conkey)
        )
      )
      order by col.attnum
    )
    from pg_attribute as col
    where col.attrelid = tables.oid and col.attnum > 0 and not col.attisdropped
  ),
  array(
    select parent.relname::text
    from pg_constraint as con
    inner join pg_class as parent on parent.oid = con.confrelid
    where con.conrelid = tables.oid and con.contype = 'f'
    order by parent.relname
  )
from pg_class as tables
where tables.relnamespace = 'app'::regnamespace and tables.relkind in ('r', 'p')
order by tables.relname
"""


def stacks(tables: list[Table]) -> list[list[Table]]:
    """Return the tables as the columns of the diagram.

    A table is below the one that it references, or whose first word it has. The tables without
    such a relation share one column. The edges of foreign keys are then vertical and do not cross.
    """
    by_name = {table.name: table for table in tables}
    groups: dict[str, list[Table]] = {}
    for table in tables:
        parent = next((by_name[name] for name in table.references if name in by_name), table)
        groups.setdefault(parent.name.split("_", maxsplit=1)[0], []).append(table)
    together = [sorted(g, key=lambda table: -table.height) for g in groups.values() if len(g) > 1]
    alone = [group[0] for group in groups.values() if len(group) == 1]
    return [*together, alone] if alone else together


def generate(live: Live) -> dict[str, str]:
    """Return the diagram of the tables."""
    tables = read_tables(live)
    lines = [
        "digraph {",
        # Positions are in points.
        f'graph [inputscale=72, bgcolor="{graphviz.BACKGROUND}", pad=0.15, splines=line,'
        f' fontname="{graphviz.FONT}"]',
        f'node [shape=plain, fontname="{graphviz.FONT}", fontcolor="{graphviz.INK}"]',
        f'edge [color="{graphviz.MUTED}", penwidth=1.4, dir=both, arrowhead=none, arrowtail=crow]',
    ]
    bottom = 0
    for index, stack in enumerate(stacks(tables)):
        top = 0
        for table in stack:
            x, y = index * (WIDTH + GAP_X), -(top + table.height / 2)
            lines.append(f'"{table.name}" [pos="{x},{y}!", label=<{_box(table)}>]')
            top += table.height + GAP_Y
        bottom = max(bottom, top)
    width = len(stacks(tables)) * (WIDTH + GAP_X) - GAP_X
    lines.append(
        f'legend [pos="{(width - WIDTH) / 2},{-bottom + GAP_Y / 2}!", fontsize=12,'
        f' fontcolor="{graphviz.MUTED}", label="{LEGEND}"]'
    )
    for table in tables:
        lines += [f'"{table.name}":n -> "{name}":s' for name in table.references]
    svg = graphviz.to_svg("\n".join([*lines, "}"]), "neato")
    return {"docs/img/tables.svg": svg}


def _box(table: Table) -> str:
    """Return the table as Graphviz's HTML: a heading, then name and type of each column."""
    rows = [
        f'<tr><td colspan="3" bgcolor="{graphviz.HEADER}" height="{HEADER}">'
        f'<b><font point-size="13">{escape(table.name)}</font></b></td></tr>'
    ]
    for column in table.columns:
        keys = [*(["PK"] if column.primary else []), *(["FK"] if column.foreign else [])]
        mark = " ".join(keys)
        kind = TYPES.get(column.type, column.type) + ("?" if column.nullable else "")
        rows.append(
            f'<tr><td align="left" width="{KEYS_WIDTH}" height="{ROW}">{_small(mark, 10)}</td>'
            f'<td align="left" width="{NAME_WIDTH}"><font point-size="12">'
            f"{escape(column.name)}</font></td>"
            f'<td align="left" width="{TYPE_WIDTH}">{_small(kind, 11)}</td></tr>'
        )
    return (
        f'<table border="1" cellborder="0" cellspacing="0" cellpadding="2" color="{graphviz.LINE}"'
        f' bgcolor="{graphviz.FILL}">{"".join(rows)}</table>'
    )


def _small(text: str, size: int) -> str:
    """Return `text` in the muted colour. Graphviz rejects an empty font element."""
    if not text:
        return ""
    return f'<font point-size="{size}" color="{graphviz.MUTED}">{escape(text)}</font>'
