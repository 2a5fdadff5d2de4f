"""HAProxy with the files of deploy/, in front of the servers of a test."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from conftest import free_port
from sessionbase.paths import PROJECT_DIR
from support.servers import RestServer

DEPLOY = PROJECT_DIR / "deploy"
CONFIG = DEPLOY / "haproxy.cfg"


def find_haproxy() -> str:
    """Return the program. Skips the test where there is none."""
    found = shutil.which("haproxy", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if not found:
        pytest.skip("there is no haproxy on PATH: install Debian's package haproxy")
    return found


def variables(*servers: RestServer) -> dict[str, str]:
    """Return the variables of deploy/haproxy.cfg for these servers."""
    found = {}
    for number, server in enumerate(servers, 1):
        found[f"POSTGREST_{number}"] = f"127.0.0.1:{server.config.port}"
        found[f"POSTGREST_{number}_ADMIN"] = str(server.config.admin_port)
    return found


def run_command(admin_socket: Path, command: str) -> str:
    """Run a command of HAProxy's runtime API and return its output."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(admin_socket))
        connection.sendall(f"{command}\n".encode())
        return b"".join(iter(lambda: connection.recv(65536), b"")).decode().strip()


class Proxy:
    """A running HAProxy: its addresses, its log and its runtime API."""

    def __init__(self, folder: Path, config: tuple[Path, ...], variables: dict[str, str]) -> None:
        self.port, self.monitor_port, self.tls_port = free_port(), free_port(), free_port()
        self.log_file = folder / "haproxy.log"
        self.admin_socket = folder / "admin.sock"
        environment = {
            "PROXY_BIND": f"127.0.0.1:{self.port}",
            "PROXY_MONITOR_BIND": f"127.0.0.1:{self.monitor_port}",
            "PROXY_TLS_BIND": f"127.0.0.1:{self.tls_port}",
            "PROXY_ADMIN_SOCKET": str(self.admin_socket),
            **variables,
        }
        files = [part for path in config for part in ("-f", str(path))]
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [find_haproxy(), "-W", *files],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    @property
    def url(self) -> str:
        """The URL of the proxy, without the prefix of the API."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def rest_url(self) -> str:
        """The URL of the API behind the proxy."""
        return f"{self.url}/api"

    @property
    def monitor_url(self) -> str:
        """The URL of /healthz, /metrics and /stats."""
        return f"http://127.0.0.1:{self.monitor_port}"

    def admin(self, command: str) -> str:
        """Run a command of the runtime API and return its output."""
        return run_command(self.admin_socket, command)

    def server_states(self, backend: str) -> dict[str, str]:
        """Return the status (UP, DOWN, ...) of each server of a backend."""
        rows = [line.split(",") for line in self.admin("show stat").splitlines()]
        return {
            row[1]: row[17]
            for row in rows
            if row[0] == backend and row[1] not in ("BACKEND", "FRONTEND")
        }

    def wait_for_states(self, backend: str, *states: str) -> None:
        """Wait until the servers of a backend have these states, in their order."""
        for _ in range(500):
            found = tuple(self.server_states(backend).values())
            if len(found) == len(states) and all(map(str.startswith, found, states)):
                return
            time.sleep(0.02)
        raise AssertionError(f"the servers of {backend} are {found}, not {states}, after 10 s")

    def wait_until_ready(self, seconds: float = 20) -> None:
        """Wait until a server behind it is ready. Raises AssertionError with the log."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.process.poll() is None:
            try:
                if httpx.get(f"{self.monitor_url}/healthz", trust_env=False).is_success:
                    return
            except httpx.HTTPError:
                pass
            time.sleep(0.05)
        raise AssertionError(f"HAProxy is not ready:\n{self.log_file.read_text()[-3000:]}")

    def wait_until_idle(self, backend: str, server: str) -> None:
        """Wait until no connection to a server is in use."""
        for _ in range(500):
            # A line with the names of the columns, then one for each server.
            head, *rows = self.admin(f"show servers conn {backend}").splitlines()
            column = head.removeprefix("# ").split().index("used_cur")
            found = [row.split() for row in rows]
            if [row[column] for row in found if row[0] == f"{backend}/{server}"] == ["0"]:
                return
            time.sleep(0.02)
        raise AssertionError(f"{server} of {backend} still has requests after 10 s")

    def reload(self) -> None:
        """Replace the worker by a new one, and wait until the old one has ended."""
        old = psutil.Process(self.process.pid).children()
        self.process.send_signal(signal.SIGUSR2)
        _, running = psutil.wait_procs(old, timeout=60)
        assert not running, "the old worker still runs 60 s after the reload"
        self.wait_until_ready()

    def stop(self) -> None:
        """End the master and its worker at once."""
        if self.process.poll() is None:
            workers = psutil.Process(self.process.pid).children(recursive=True)
            self.process.terminate()
            self.process.wait(60)
            psutil.wait_procs(workers, timeout=60)


@contextmanager
def haproxy(
    *settings: Mapping[str, str], config: tuple[Path, ...] = (CONFIG,), **more: str
) -> Iterator[Proxy]:
    """Start HAProxy with the variables of its configuration file; stop it at the end."""
    find_haproxy()
    folder = Path(tempfile.mkdtemp(prefix="sessionbase-proxy-"))
    for some in settings:
        more.update(some)
    proxy = Proxy(folder, config, more)
    try:
        proxy.wait_until_ready()
        yield proxy
    finally:
        proxy.stop()
        shutil.rmtree(folder)
