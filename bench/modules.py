"""The calls of the TypeScript client next to the same calls by curl."""

import json
import os
import subprocess
from pathlib import Path
from typing import TypedDict

from generate.graphviz import find_node
from sessionbase.paths import PROJECT_DIR


class Latency(TypedDict):
    """The latencies of one call, in milliseconds."""

    name: str
    module_p50: float
    module_p99: float
    curl_p50: float
    curl_p99: float


def measure(rest_url: str, profile: str, token: str, rounds: int) -> list[Latency]:
    """Build the client and run modules.mjs, which alternates the two sides.

    Raises CalledProcessError if a call fails.
    """
    client = PROJECT_DIR / "clients/typescript"
    subprocess.run(
        [find_node(), "node_modules/typescript/bin/tsc", "-p", "tsconfig.build.json"],
        cwd=client,
        check=True,
    )
    done = subprocess.run(
        [find_node(), Path(__file__).with_name("modules.mjs"), str(rounds)],
        env={
            **os.environ,
            "SESSIONBASE_REST_URL": rest_url,
            "BENCH_PROFILE": profile,
            "BENCH_TOKEN": token,
        },
        check=True,
        stdout=subprocess.PIPE,
    )
    rows: list[Latency] = json.loads(done.stdout)
    return rows
