"""The commands of docs/scaling.md for a replica on another machine, on two servers with TCP ports.

Both servers are on this machine. They are made with initdb, not by the embedded stack.
"""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from conftest import bring_up, free_port
from sessionbase import state
from sessionbase.stack import manage
from sessionbase.stack.account import Account, postgres_bin, service_account
from sessionbase.stack.token import make_claims, sign
from support.load import Load
from support.pages import commands

PAGE = "scaling.md"
SUPERUSER_PASSWORD = "only-in-this-test"


@dataclass(frozen=True)
class Machines:
    """Two folders and ports, and the account that runs the commands."""

    folder: Path
    account: Account
    environment: dict[str, str]

    def run(self, script: str, port: str) -> str:
        """Run a block of the page as a user of the machine whose server has this port."""
        done = subprocess.run(
            ["sh", "-eu", "-c", script],
            env={**self.environment, "PGPORT": port},
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            **self.account.popen_options,
        )
        assert done.returncode == 0, f"correct this block of docs/{PAGE}:\n{script}\n{done.stderr}"
        return str(done.stdout)

    def __getitem__(self, name: str) -> str:
        return self.environment[name]


@pytest.fixture
def machines() -> Iterator[Machines]:
    """Yield two folders, and a primary that runs in the first one."""
    account = service_account()
    folder = Path(tempfile.mkdtemp(prefix="sessionbase-test-"))
    folder.chmod(0o755)
    account.own(folder)
    ports = [str(free_port()), str(free_port())]
    uris = [
        f"postgresql://postgres:{SUPERUSER_PASSWORD}@127.0.0.1:{port}/postgres" for port in ports
    ]
    environment = {
        "PATH": f"{postgres_bin(account)}:/usr/bin:/bin",
        "LC_ALL": "C",
        "PRIMARY_URI": uris[0],
        "REPLICA_URI": uris[1],
        "PRIMARY_HOST": "127.0.0.1",
        "PRIMARY_PORT": ports[0],
        "REPLICA_PORT": ports[1],
        "REPLICA_ADDRESS": "127.0.0.1",
        "PRIMARY_DATA": str(folder / "primary"),
        "REPLICA_DATA": str(folder / "replica"),
        "PASSFILE": str(folder / "passfile"),
        "STANDBY_PASSWORD": "standby-only-in-this-test",
    }
    made = Machines(folder, account, environment)
    made.run(
        f"echo {SUPERUSER_PASSWORD} > superuser; "
        'initdb -D "$PRIMARY_DATA" -U postgres -A scram-sha-256 --pwfile superuser -E UTF8; '
        'printf "%s\\n" "listen_addresses = \'127.0.0.1\'" "unix_socket_directories = \'\'" '
        '>> "$PRIMARY_DATA/postgresql.conf"; '
        'pg_ctl -D "$PRIMARY_DATA" -l primary.log -w start',
        ports[0],
    )
    yield made
    for data in sorted({*folder.glob("*/PG_VERSION")}):
        made.run(f"pg_ctl -D {data.parent} -m immediate -w stop || true", ports[0])
    shutil.rmtree(folder)


def test_the_commands_for_a_replica_on_another_machine_and_the_failover_by_hand_work(
    machines: Machines, data_dir: Path, profile: str
) -> None:
    allow, copy, look, synchronous = commands(PAGE, "A replica on another machine")
    fence, promote = commands(PAGE, "Failover by hand")
    on_primary, on_replica = machines["PRIMARY_PORT"], machines["REPLICA_PORT"]
    machines.run(allow, on_primary)
    machines.run(copy, on_replica)
    found = machines.run(look, on_primary)
    assert "replica_1" in found
    assert "streaming" in found
    machines.run(synchronous, on_primary)

    # The login can stream and nothing else.
    with pytest.raises(psycopg.OperationalError, match=r"pg_hba\.conf rejects"):
        psycopg.connect(
            host="127.0.0.1",
            port=on_primary,
            user="standby",
            password=machines["STANDBY_PASSWORD"],
            dbname="postgres",
        )

    with psycopg.connect(machines["PRIMARY_URI"], autocommit=True) as connection:
        connection.execute("create database sessionbase")
    both = (
        f"postgresql://postgres:{SUPERUSER_PASSWORD}@/sessionbase?host=127.0.0.1,127.0.0.1"
        f"&port={on_primary},{on_replica}&target_session_attrs=read-write"
    )
    bring_up(data_dir, postgres_uri=both)
    stack_config, secrets = state.require(data_dir)
    token = sign(make_claims(profile), secrets.jwt_secret)
    try:
        with Load(stack_config.rest_url, token) as load:
            load.wait_for(30)
            machines.run(fence, on_primary)
            machines.run(promote, on_replica)
            load.wait_for(30, since=load.now())
        with psycopg.connect(both) as connection:
            rows = connection.execute(
                "select id from app.todos where profile_id = %s", [profile]
            ).fetchall()
        missing = load.missing(str(row[0]) for row in rows)
        assert not missing, f"{len(missing)} of {len(load.acknowledged())} are missing"
        print(load.counts(), f"refused: {load.longest_gap():.2f} s")
        # The fenced folder is the only copy of the old primary.
        assert not Path(machines["PRIMARY_DATA"]).exists()
    finally:
        manage.delete_data(data_dir)
