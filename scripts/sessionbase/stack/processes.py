"""Server processes: each runs in its own session and is found by its command line."""

import contextlib
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from sessionbase.errors import SessionbaseError
from sessionbase.stack.account import Account

MAX_LOG_BYTES = 10_000_000
START_SECONDS = 60.0
STOP_SECONDS = 60.0


def spawn(
    executable: Path,
    command: list[str],
    environment: dict[str, str],
    log_file: Path,
    account: Account,
) -> psutil.Popen:
    """Start a server in its own session; append its output to `log_file` (mode 0600).

    `command` starts with the process name, which `find` compares.
    """
    if log_file.exists() and log_file.stat().st_size > MAX_LOG_BYTES:
        log_file.replace(log_file.with_suffix(".log.1"))
    log_file.touch(mode=0o600)
    with log_file.open("ab") as output:
        return psutil.Popen(
            command,
            executable=str(executable),
            env=environment,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            umask=0o077,
            **account.popen_options,
        )


def find(
    argument: Path, names: tuple[str, ...] = ("postgres", "postgrest")
) -> psutil.Process | None:
    """Return the running process that was started with `argument`, or None.

    Its name must start with one of `names`, so that an editor of the same file is not found. The
    command line is more reliable than a pid file: another process may reuse the pid.
    """
    found = {
        process.pid: process
        for process in psutil.process_iter(["cmdline", "status", "ppid"])
        if str(argument) in (process.info["cmdline"] or [])[1:]
        and process.info["status"] != psutil.STATUS_ZOMBIE
        and Path(process.info["cmdline"][0]).name.startswith(names)
    }
    # A child of PostgreSQL has the same command line until it has set its title.
    parents = [process for process in found.values() if process.info["ppid"] not in found]
    return parents[0] if parents else None


def wait_until(
    ready: Callable[[], bool], process: psutil.Process, name: str, log_file: Path
) -> None:
    """Wait until `ready()` is true.

    Raises SessionbaseError with the last line of the log if the process ends or is not ready after
    START_SECONDS.
    """
    deadline = time.monotonic() + START_SECONDS
    while not ready():
        if not is_alive(process):
            raise SessionbaseError(
                f"{name} did not start: {last_line(log_file)}", f"its log: {log_file}"
            )
        if time.monotonic() > deadline:
            raise SessionbaseError(
                f"{name} was not ready after {START_SECONDS:.0f} s: {last_line(log_file)}",
                f"its log: {log_file}",
            )
        time.sleep(0.05)


def stop(process: psutil.Process, stop_signal: signal.Signals) -> None:
    """Send `stop_signal` and wait until the process ends.

    Raises SessionbaseError if it still runs after STOP_SECONDS.
    """
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(stop_signal)
        deadline = time.monotonic() + STOP_SECONDS
        while is_alive(process):
            if time.monotonic() > deadline:
                raise SessionbaseError(f"process {process.pid} does not stop", "see its log")
            time.sleep(0.02)


def is_alive(process: psutil.Process) -> bool:
    """Return whether `process` still runs. A zombie does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def last_line(log_file: Path) -> str:
    """Return the last line of a log that is not empty."""
    lines = log_file.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "it wrote nothing"


def check_port_free(port: int, option: str) -> None:
    """Raise SessionbaseError if `port` of 127.0.0.1 is in use."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise SessionbaseError(
                f"port {port} of 127.0.0.1 can't be used: {error.strerror}",
                f"choose another one with {option}",
            ) from error
