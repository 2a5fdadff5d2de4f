"""Swagger UI on the stack's API: `up --docs` starts it, `down` stops it."""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import httpx
import psutil

from sessionkeep.errors import SessionkeepError
from sessionkeep.paths import PROJECT_DIR
from sessionkeep.stack import processes
from sessionkeep.stack.account import Account
from sessionkeep.stack.state import Facts

DEFAULT_PORT = 3002
PACKAGE = PROJECT_DIR / "node_modules" / "swagger-ui-dist"
SERVER = Path(__file__).parent / "browse" / "server.py"


def config_file(facts: Facts) -> Path:
    """Return what the running server was started with."""
    return facts.home / "docs.json"


def url(facts: Facts) -> str | None:
    """Return where a browser finds it, or None while it does not run."""
    if find(facts) is None:
        return None
    port = json.loads(config_file(facts).read_text(encoding="utf-8"))["port"]
    return f"http://127.0.0.1:{port}"


def find(facts: Facts) -> psutil.Process | None:
    """Return its process, or None."""
    return processes.find(config_file(facts), ("python",))


def check(facts: Facts, port: int) -> None:
    """Raise SessionkeepError, before anything starts, where it can't be served on `port`."""
    if not (PACKAGE / "swagger-ui-bundle.js").exists():
        raise SessionkeepError("swagger-ui-dist is not in node_modules", "scripts/up installs it")
    if port in {facts.port, facts.admin_port}:
        raise SessionkeepError(f"port {port} is PostgREST's", "name another one with --docs-port")
    if find(facts) is None:
        processes.check_port_free(port, "--docs-port")


def start(facts: Facts, account: Account, port: int, log: Path, amendment: dict[str, Any]) -> bool:
    """Serve it on `port` of 127.0.0.1 as `account`; True if it did not run so yet.

    `amendment` is what the page adds to PostgREST's description of the API.
    """
    config = {
        "port": port,
        "rest_url": facts.rest_url,
        "package": str(PACKAGE),
        "amendment": amendment,
        "uid": account.uid,
        "gid": account.gid,
    }
    if find(facts) and json.loads(config_file(facts).read_text(encoding="utf-8")) == config:
        return False
    stop(facts)
    processes.check_port_free(port, "--docs-port")
    config_file(facts).write_text(json.dumps(config), encoding="utf-8")
    command = [sys.executable, "-I", str(SERVER), str(config_file(facts))]
    # As the caller: it gives up root's rights itself, once it has read its files.
    caller = Account(os.geteuid(), os.getegid())
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
    process = processes.spawn(Path(sys.executable), command, environment, log, caller)
    processes.wait_until(lambda: _answers(f"http://127.0.0.1:{port}"), process, "Swagger UI", log)
    return True


def stop(facts: Facts) -> bool:
    """Stop it; True if it ran."""
    process = find(facts)
    if process:
        processes.stop(process, signal.SIGTERM)
    return process is not None


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5, trust_env=False).is_success
    except httpx.HTTPError:
        return False
