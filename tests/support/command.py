"""The command line: run in its own process, or in this one, which is faster."""

import io
import multiprocessing
import subprocess
import sys
import tempfile
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
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


def run_at_once(commands: list[list[str]]) -> list[tuple[int | None, str]]:
    """Run the command with each list of arguments, at the same time, each in its own process.

    Returns the exit code and the output (stdout and stderr) of each; the code of a process that
    runs longer than 120 s is None. The processes are forks of one that has imported the command,
    which saves the time to start Python.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["sessionbase.cli"])
    with tempfile.TemporaryDirectory() as folder:
        outputs = [Path(folder) / str(number) for number in range(len(commands))]
        runs = [
            context.Process(target=_run_to_file, args=pair)
            for pair in zip(commands, outputs, strict=True)
        ]
        for run in runs:
            run.start()
        for run in runs:
            run.join(timeout=120)
        codes = [run.exitcode for run in runs]
        for run in runs:
            run.kill()
        return [(code, path.read_text()) for code, path in zip(codes, outputs, strict=True)]


def _run_to_file(arguments: list[str], output: Path) -> None:
    with (
        output.open("w", encoding="utf-8") as stream,
        patch.object(sys, "argv", ["sessionbase", *arguments]),
        redirect_stdout(stream),
        redirect_stderr(stream),
    ):
        main()
