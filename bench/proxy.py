"""Compare HAProxy (deploy/haproxy.cfg) with nginx (its defaults) while a PostgREST is stopped.

Usage: bench/proxy [--seconds N] [--rounds N]. Both proxies are in front of the same two PostgREST
of a throwaway stack. In each round a load of writes and one of reads run while one PostgREST is
stopped, with SIGTERM or with SIGKILL, and started again after N seconds; or while first one and
then the other is restarted. Prints the statuses of all requests, and the longest time without any
success.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from rich.console import Console
from rich.table import Table

from conftest import Stack, bring_up, free_port, new_data_dir
from sessionbase.stack.token import make_claims, sign
from support.load import Load, Reads
from support.proxy import Proxy, haproxy, variables
from support.servers import RestServer, rest_server

THREADS = 4

# What nginx needs to start without root's files; for the rest it has its defaults.
NGINX = """
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  upstream postgrest {{ server {first}; server {second}; }}
  server {{
    listen 127.0.0.1:{port};
    location /api/ {{ proxy_pass http://postgrest/; }}
  }}
}}
"""


@dataclass
class Outcome:
    """The results of one proxy in one case."""

    statuses: Counter[int | None] = field(default_factory=Counter)
    longest_gap: float = 0
    lost: int = 0

    def add(self, load: Load, stored: set[str]) -> None:
        """Add the answers of one round."""
        self.statuses.update(load.counts())
        self.longest_gap = max(self.longest_gap, load.longest_gap())
        self.lost += len(load.missing(stored)) if not isinstance(load, Reads) else 0


def main() -> int:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3, help="how long one PostgREST is away")
    parser.add_argument("--rounds", type=int, default=3, help="how often each case is measured")
    options = parser.parse_args()
    with new_data_dir() as data_dir:
        bring_up(data_dir)
        stack = Stack.of(data_dir)
        with rest_server(stack.data_dir) as first, rest_server(stack.data_dir) as second:
            limits = {"PROXY_TOKEN_RATE": "1000000", "PROXY_SOURCE_RATE": "1000000"}
            with (
                haproxy(variables(first, second), limits) as proxy,
                _nginx(data_dir.parent, first, second) as nginx_url,
            ):
                _measure(stack, first, second, proxy, nginx_url, options)
    return 0


@contextmanager
def _nginx(folder: Path, first: RestServer, second: RestServer) -> Iterator[str]:
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if not program:
        raise SystemExit("there is no nginx on PATH: install Debian's package nginx-light")
    port, config = free_port(), folder / "nginx.conf"
    addresses = [f"127.0.0.1:{server.config.port}" for server in (first, second)]
    config.write_text(
        NGINX.format(folder=folder, first=addresses[0], second=addresses[1], port=port)
    )
    process = subprocess.Popen([program, "-c", str(config), "-g", "daemon off;"])
    try:
        time.sleep(1)
        yield f"http://127.0.0.1:{port}/api"
    finally:
        process.terminate()
        process.wait(30)


def _measure(
    stack: Stack,
    first: RestServer,
    second: RestServer,
    proxy: Proxy,
    nginx_url: str,
    options: argparse.Namespace,
) -> None:
    token = sign(make_claims("bench-proxy", ttl=24 * 3600), stack.jwt_secret)
    urls = {"nginx": nginx_url, "HAProxy": proxy.rest_url}

    def away(stop: Callable[[], None]) -> None:
        stop()
        time.sleep(options.seconds)
        second.start()

    def restart_both() -> None:
        for server in (first, second):
            server.stop()
            server.start()
            time.sleep(1)

    cases: dict[str, Callable[[], None]] = {
        "nothing": lambda: time.sleep(options.seconds),
        "one gets SIGTERM": lambda: away(second.stop),
        "one gets SIGKILL": lambda: away(second.kill),
        "both restart, one after the other": restart_both,
    }
    outcomes: dict[tuple[str, str, str], Outcome] = {}
    for number in range(options.rounds):
        for case, run in cases.items():
            for name in sorted(urls, reverse=bool(number % 2)):
                proxy.wait_for_states("api", "UP", "UP")
                time.sleep(11)  # nginx's fail_timeout is 10 s
                with (
                    Load(urls[name], token, THREADS) as writes,
                    Reads(urls[name], token, THREADS) as reads,
                ):
                    time.sleep(2)
                    run()
                    time.sleep(2)
                stored = _stored(stack, token)
                for kind, load in (("POST", writes), ("GET", reads)):
                    outcomes.setdefault((case, kind, name), Outcome()).add(load, stored)
    table = Table(
        "what happens", "method", "proxy", "requests", "failed", "statuses of the failed",
        "longest gap", "lost writes",
        title=f"{options.rounds} rounds, one of two PostgREST away for {options.seconds:.0f} s, "
        f"{THREADS} clients for each method",
    )  # fmt: skip
    for (case, kind, name), outcome in outcomes.items():
        failed = {status: n for status, n in outcome.statuses.items() if status not in (200, 201)}
        table.add_row(
            case, kind, name,
            f"{outcome.statuses.total():,}",
            f"{sum(failed.values()):,}",
            ", ".join(f"{n:,} x {status or 'no response'}" for status, n in failed.items()),
            f"{outcome.longest_gap:.2f} s",
            str(outcome.lost) if kind == "POST" else "",
        )  # fmt: skip
    Console(width=140).print(table)


def _stored(stack: Stack, token: str) -> set[str]:
    headers = {"Authorization": f"Bearer {token}"}
    answer = httpx.get(
        f"{stack.rest_url}/todos?select=id", headers=headers, timeout=60, trust_env=False
    )
    return {row["id"] for row in answer.raise_for_status().json()}


if __name__ == "__main__":
    sys.exit(main())
