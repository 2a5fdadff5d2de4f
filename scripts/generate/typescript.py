"""The types of the database for the TypeScript client, from the OpenAPI document."""

import os
import subprocess

from generate.graphviz import find_node
from generate.live import Live
from sessionbase.errors import SessionbaseError
from sessionbase.paths import PROJECT_DIR
from sessionbase.stack.token import Role, make_claims, sign

CLIENT = "clients/typescript"


def generate(live: Live) -> dict[str, str]:
    """Return the file of the types. Raises SessionbaseError if the script fails."""
    token = sign(make_claims("generate", Role.authenticated), live.jwt_secret)
    done = subprocess.run(
        [find_node(), str(PROJECT_DIR / CLIENT / "scripts/generate.mjs")],
        env={**os.environ, "SESSIONBASE_REST_URL": live.rest_url, "SESSIONBASE_TOKEN": token},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SessionbaseError(f"{CLIENT}/scripts/generate.mjs failed: {done.stderr.strip()}")
    return {f"{CLIENT}/src/generated/database.ts": done.stdout}
