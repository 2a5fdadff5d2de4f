"""Diagrams of the state machines. The database is queried for every pair of statuses."""

import re
from itertools import pairwise, product

from psycopg import sql

from generate import graphviz
from generate.live import Live
from sessionbase.errors import SessionbaseError

Transition = tuple[str | None, str]
"""The status before (None for a new row) and the status after."""


def statuses(live: Live, table: str) -> list[str]:
    """Return the statuses in the table's constraint status_known, in its order."""
    with live.catalogue() as catalogue:
        catalogue.execute(
            "select pg_get_constraintdef(oid) from pg_constraint"
            " where conrelid = %s::regclass and conname = 'status_known'",
            [f"app.{table}"],
        )
        found = catalogue.fetchone()
    if found is None:
        raise SessionbaseError(f"app.{table} has no constraint status_known")
    return re.findall(r"'([^']+)'::text", found[0])


def transitions(live: Live, table: str, predicate: str) -> list[Transition]:
    """Return the transitions for which the function `predicate` of schema app returns true."""
    known = statuses(live, table)
    pairs: list[Transition] = list(product([None, *known], known))
    function = sql.Identifier("app", predicate)
    legal = []
    with live.catalogue() as catalogue:
        for pair in pairs:
            catalogue.execute(sql.SQL("select {}(%s, %s)").format(function), pair)
            row = catalogue.fetchone()
            if row and row[0]:
                legal.append(pair)
    return legal


def diagram(live: Live, table: str, predicate: str) -> str:
    """Return the state machine of `table` as SVG."""
    known, legal = statuses(live, table), transitions(live, table, predicate)
    final = [status for status in known if not any(source == status for source, _ in legal)]
    lines = [
        "digraph {",
        f'graph [rankdir=LR, bgcolor="{graphviz.BACKGROUND}", pad=0.25, nodesep=0.6, ranksep=1.1,'
        f' fontname="{graphviz.FONT}"]',
        f'node [shape=box, style="rounded,filled", fillcolor="{graphviz.HEADER}", height=0.5,'
        f' margin="0.22,0.1", color="{graphviz.LINE}", fontcolor="{graphviz.INK}",'
        f' fontname="{graphviz.FONT}", fontsize=16]',
        f'edge [color="{graphviz.MUTED}", arrowsize=0.9, penwidth=1.3]',
        f'start [shape=circle, label="", width=0.2, height=0.2, fillcolor="{graphviz.INK}",'
        " style=filled]",
    ]
    lines += [
        f"{graphviz.quoted(status)} [peripheries={2 if status in final else 1}]" for status in known
    ]
    for source, target in legal:
        if source is None:
            lines.append(f"start -> {graphviz.quoted(target)}")
        elif (target, source) not in legal:
            lines.append(f"{graphviz.quoted(source)} -> {graphviz.quoted(target)}")
        elif known.index(source) < known.index(target):
            lines.append(f"{graphviz.quoted(source)} -> {graphviz.quoted(target)} [dir=both]")
    # Invisible edges put the final statuses below each other, so that no edges cross.
    lines += [
        f"{graphviz.quoted(one)} -> {graphviz.quoted(next_one)} [style=invis]"
        for one, next_one in pairwise(final)
    ]
    return graphviz.to_svg("\n".join([*lines, "}"]), "dot")


def generate(live: Live) -> dict[str, str]:
    """Return the diagrams of both state machines."""
    return {
        "docs/img/tool-event-states.svg": diagram(
            live, "tool_events", "is_legal_tool_event_transition"
        ),
        "docs/img/misalignment-states.svg": diagram(
            live, "misalignments", "is_legal_misalignment_transition"
        ),
    }
