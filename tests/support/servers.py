"""More PostgREST servers on the database of a stack, to be stopped and started by a test."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psutil

from conftest import free_port
from sessionbase import state
from sessionbase.stack import postgrest, processes
from sessionbase.stack.account import service_account


class RestServer:
    """A PostgREST on the database of a stack. Its ports stay the same when it is started again."""

    def __init__(self, data_dir: Path, home: Path) -> None:
        stack_config, self._secrets = state.require(data_dir)
        self.config = replace(stack_config, home=home, port=free_port(), admin_port=free_port())

    @property
    def rest_url(self) -> str:
        """The URL of the API."""
        return self.config.rest_url

    def start(self) -> None:
        """Start it and wait until it is ready."""
        executable, account = postgrest.choose_executable(None), service_account()
        postgrest.start(self.config, self._secrets, account, executable, self.config.home)

    def stop(self) -> None:
        """Stop it with SIGTERM, if it runs, and wait until it ends."""
        postgrest.stop(self.config)

    def kill(self) -> None:
        """Stop it with SIGKILL and wait until it ends."""
        process = processes.find(postgrest.config_file(self.config))
        assert process, "this PostgREST does not run"
        process.kill()
        psutil.wait_procs([process], timeout=60)


@contextmanager
def rest_server(data_dir: Path) -> Iterator[RestServer]:
    """Start another PostgREST on the database of the stack; stop it at the end."""
    # Its own folder for the configuration file, which the account of the server can read.
    home = Path(tempfile.mkdtemp(prefix="sessionbase-test-"))
    home.chmod(0o755)
    server = RestServer(data_dir, home)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(home)
