"""The command line: run in its own process, or in this one, which is faster."""

import io
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from unittest.mock import patch

from sessionbase.cli import main


def sessionbase(*arguments: object, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run the command as a user does: in its own process."""
    command = [sys.executable, "-m", "sessionbase", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, input=stdin, check=False)


def run_main(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the entry point of the command in this process.

    It returns the same as `sessionbase`, and saves the time to start Python. It captures stdout and
    stderr of the whole process, so it must not be called from several threads.
    """
    command = ["sessionbase", *map(str, arguments)]
    out = io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True)
    err = io.TextIOWrapper(io.BytesIO(), "utf-8", "backslashreplace", write_through=True)
    code: object = 0
    with patch.object(sys, "argv", command), redirect_stdout(out), redirect_stderr(err):
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
    assert isinstance(code, int), f"{command} exited with {code!r}, which is not an exit code"
    texts = [stream.buffer.getvalue().decode() for stream in (out, err)]
    return subprocess.CompletedProcess(command, code, *texts)
