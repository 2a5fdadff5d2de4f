"""The command line, run in a process of its own."""

import subprocess
import sys


def sessionbase(*arguments: object, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run the command as a user does."""
    command = [sys.executable, "-m", "sessionbase", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, input=stdin, check=False)
