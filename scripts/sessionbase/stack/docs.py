"""Swagger UI for the stack's API. `up --docs` starts it, `down` stops it."""

import json
import os
import signal
import sys
from functools import partial
from pathlib import Path

import httpx
import psutil

from sessionbase.errors import SessionbaseError
from sessionbase.paths import PROJECT_DIR, command, script
from sessionbase.stack import processes
from sessionbase.stack.account import Account
from sessionbase.state import StackConfig

DEFAULT_PORT = 3002
PACKAGE = PROJECT_DIR / "node_modules" / "swagger-ui-dist"
SERVER = Path(__file__).parent / "browse" / "server.py"
AMENDMENT = SERVER.with_name("amendment.json")
"""What the page adds to PostgREST's description of the API. scripts/generate-docs writes it."""


def config_file(stack_config: StackConfig) -> Path:
    """Return the path of the configuration that the running server was started with."""
    return stack_config.home / "docs.json"


def url(stack_config: StackConfig) -> str | None:
    """Return the URL for a browser, or None if it does not run."""
    if find(stack_config) is None:
        return None
    port = json.loads(config_file(stack_config).read_text(encoding="utf-8"))["port"]
    return f"http://127.0.0.1:{port}"


def find(stack_config: StackConfig) -> psutil.Process | None:
    """Return its process, or None."""
    return processes.find(config_file(stack_config), ("python",))


def check(stack_config: StackConfig, port: int) -> None:
    """Raise SessionbaseError if it can't be served on `port`; call it before anything starts."""
    if not (PACKAGE / "swagger-ui-bundle.js").exists():
        raise SessionbaseError(
            "swagger-ui-dist is not in node_modules", f"{script('up')} installs it"
        )
    if port in {stack_config.port, stack_config.admin_port}:
        raise SessionbaseError(
            f"port {port} is used by PostgREST", "choose another one with --docs-port"
        )
    if find(stack_config) is None:
        processes.check_port_free(port, "--docs-port")


def start(stack_config: StackConfig, account: Account, port: int, log_file: Path) -> bool:
    """Serve it on `port` of 127.0.0.1 as `account`; return False if it runs like this already."""
    config = {
        "port": port,
        "rest_url": stack_config.rest_url,
        "package": str(PACKAGE),
        "amendment": json.loads(AMENDMENT.read_text(encoding="utf-8")),
        "command": command(from_any_folder=True),
        "uid": account.uid,
        "gid": account.gid,
    }
    if (
        find(stack_config)
        and json.loads(config_file(stack_config).read_text(encoding="utf-8")) == config
    ):
        return False
    stop(stack_config)
    processes.check_port_free(port, "--docs-port")
    config_file(stack_config).write_text(json.dumps(config), encoding="utf-8")
    arguments = [sys.executable, "-I", str(SERVER), str(config_file(stack_config))]
    # As the caller: after it has read its files, it changes to `account` itself.
    caller = Account(os.geteuid(), os.getegid())
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
    process = processes.spawn(Path(sys.executable), arguments, environment, log_file, caller)
    ready = partial(_answers, f"http://127.0.0.1:{port}")
    processes.wait_until(ready, process, "Swagger UI", log_file)
    return True


def stop(stack_config: StackConfig) -> bool:
    """Stop it; return whether it ran."""
    process = find(stack_config)
    if process:
        processes.stop(process, signal.SIGTERM)
    return process is not None


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5, trust_env=False).is_success
    except httpx.HTTPError:
        return False
