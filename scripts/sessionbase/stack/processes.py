"""Servers as processes: started apart from the shell, found again by their command line."""

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
    executable: Path, command: list[str], environment: dict[str, str], log: Path, account: Account
) -> psutil.Popen:
    """Start a server in a session of its own, its output appended to `log` (mode 0600).

    `command` starts with the name that the process shows, which `find` knows it by.
    """
    if log.exists() and log.stat().st_size > MAX_LOG_BYTES:
        log.replace(log.with_suffix(".log.1"))
    log.touch(mode=0o600)
    with log.open("ab") as output:
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
            user=account.uid if account.switches else None,
            group=account.gid if account.switches else None,
            extra_groups=[] if account.switches else None,
        )


def find(
    argument: Path, names: tuple[str, ...] = ("postgres", "postgrest")
) -> psutil.Process | None:
    """Return the running program that was started with `argument`, or None.

    Its own name starts with one of `names`; an editor or a pager of the same file does not count.
    There are no pid files to go stale: a reused pid has another command line.
    """
    found = {
        process.pid: process
        for process in psutil.process_iter(["cmdline", "status", "ppid"])
        if str(argument) in (process.info["cmdline"] or [])[1:]
        and process.info["status"] != psutil.STATUS_ZOMBIE
        and Path(process.info["cmdline"][0]).name.startswith(names)
    }
    # A child of PostgreSQL carries the same command line until it has set its title.
    parents = [process for process in found.values() if process.info["ppid"] not in found]
    return parents[0] if parents else None


def wait_until(ready: Callable[[], bool], process: psutil.Process, name: str, log: Path) -> None:
    """Wait until `ready()`; SessionbaseError with the log's last line if it dies or takes long."""
    deadline = time.monotonic() + START_SECONDS
    while not ready():
        if not is_alive(process):
            raise SessionbaseError(f"{name} did not start: {last_line(log)}", f"its log: {log}")
        if time.monotonic() > deadline:
            raise SessionbaseError(
                f"{name} was not ready after {START_SECONDS:.0f} s: {last_line(log)}",
                f"its log: {log}",
            )
        time.sleep(0.05)


def stop(process: psutil.Process, polite: signal.Signals) -> None:
    """Send `polite` and wait for the end; SessionbaseError if it takes more than a minute."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(polite)
        deadline = time.monotonic() + STOP_SECONDS
        while is_alive(process):
            if time.monotonic() > deadline:
                raise SessionbaseError(f"process {process.pid} does not stop", "see its log")
            time.sleep(0.02)


def is_alive(process: psutil.Process) -> bool:
    """Tell whether `process` still runs; a zombie does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def last_line(log: Path) -> str:
    """Return the last line of a log that says something."""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "it wrote nothing"


def check_port_free(port: int, option: str) -> None:
    """Raise SessionbaseError, naming the port, if it is taken on 127.0.0.1."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise SessionbaseError(
                f"port {port} of 127.0.0.1 can't be used: {error.strerror}",
                f"name another one with {option}",
            ) from error
