"""A transition and an update of a baseline row by pgbench, without HTTP."""

import json
import os
import re
import subprocess
import tempfile
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict

from cases import ARGUMENTS, CONTEXT, RESULT
from sessionbase.stack.account import postgres_bin, service_account

CLAIMS = '{"role":"authenticated","sub":"bench"}'
SCRIPTS = {
    "transition_tool_event": """\\set i :i + 1
select * from api.transition_tool_event(
  'pg-' || :client_id || '-' || :i, 'succeeded', '{result}', null, '{context}');
""",
    "baseline update": """\\set i :i + 1
update api.baseline_tool_events set status = 'succeeded', result = '{result}',
  context_events = '{context}', completed_at = clock_timestamp(), latency_ms = 12
where id = 'pg-' || :client_id || '-' || :i returning *;
""",
}


def run_pgbench(db_uri: str, clients: int, per_client: int) -> dict[str, tuple[float, float]]:
    """Return for each script its transactions per second and its mean latency in milliseconds."""
    with psycopg.connect(db_uri, autocommit=True) as connection:
        for table, profile, value in (
            ("app.tool_events", "profile_id,", "'bench',"),
            ("api.baseline_tool_events", "", ""),
        ):
            connection.execute(
                f"""insert into {table} ({profile} id, session_id, tool_name, status, arguments)
                select {value} 'pg-' || client || '-' || n, 's', 't', 'executing', %s
                from generate_series(0, %s) as client, generate_series(1, %s) as n""",
                (json.dumps(ARGUMENTS), clients - 1, per_client),
            )
        connection.execute("vacuum analyze app.tool_events")
        connection.execute("vacuum analyze api.baseline_tool_events")
    return {name: _pgbench(db_uri, text, clients, per_client) for name, text in SCRIPTS.items()}


def _pgbench(db_uri: str, text: str, clients: int, per_client: int) -> tuple[float, float]:
    where = {name: str(value) for name, value in conninfo_to_dict(db_uri).items()}
    environment = {
        **os.environ,
        "PGHOST": where["host"],
        "PGUSER": where["user"],
        "PGPASSWORD": where["password"],
        # One statement per transaction: the role and the claims are set for the session.
        "PGOPTIONS": f"-c role=authenticated -c request.jwt.claims={CLAIMS}",
    }
    filled = text.replace("{result}", json.dumps(RESULT)).replace("{context}", json.dumps(CONTEXT))
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write(filled)
        script.flush()
        done = subprocess.run(
            [
                postgres_bin(service_account()) / "pgbench",
                "--no-vacuum",
                "-M",
                "prepared",
                "-D",
                "i=0",
                "-c",
                str(clients),
                "-j",
                "1",
                "-t",
                str(per_client),
                "-f",
                Path(script.name),
                where["dbname"],
            ],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
    rate = re.search(r"tps = ([\d.]+)", done.stdout)
    latency = re.search(r"latency average = ([\d.]+) ms", done.stdout)
    clean = done.returncode == 0 and "failed transactions: 0 " in done.stdout
    if not (clean and rate and latency):
        raise RuntimeError(f"pgbench failed: {done.stderr or done.stdout}")
    return float(rate[1]), float(latency[1])
