"""Point-in-time recovery to just before a mistake, by the commands of docs/backup.md."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from conftest import Stack, bring_up
from sessionbase import state
from sessionbase.audit.chains import verify_chains
from sessionbase.doctor.lints import examine
from sessionbase.paths import PROJECT_DIR
from sessionbase.stack import manage
from sessionbase.stack.account import Account, postgres_bin, service_account
from sessionbase.stack.token import make_claims, sign
from support.databases import fill
from support.load import Load
from support.pages import commands, run_script

PROGRAMS = ("pg_basebackup", "pg_verifybackup", "pg_waldump", "pg_ctl", "psql")
VARIABLES = (
    "DB",
    "ARCHIVE",
    "ARCHIVE_WAL",
    "BASE",
    "RESTORED",
    "RESTORED_DB",
    "OPTIONS",
    "TARGET",
)


@dataclass(frozen=True)
class Mistake:
    """A server with archived WAL and a base backup, on which a DBA has deleted all todos."""

    folder: Path
    """The folder of the archive and of the base backup. The user of the server can write there."""
    account: Account
    environment: dict[str, str]
    acknowledged: set[str]
    """The todos that were acknowledged before the mistake."""
    later: set[str]
    """Todos that were written after it."""
    just_before: str
    """A time between the last acknowledged todo and the mistake."""

    def run(self, script: str, **variables: str) -> str:
        """Run a script as the user of the server; return its output."""
        environment = {**self.environment, **variables}
        return run_script("backup.md", script, self.folder, environment, self.account)


@pytest.fixture(scope="module")
def mistake() -> Iterator[Mistake]:
    """Follow the page up to the mistake."""
    account = service_account()
    programs = postgres_bin(account)
    missing = [name for name in PROGRAMS if not os.access(programs / name, os.X_OK)]
    if missing:
        pytest.skip(f"{programs} has no {', '.join(missing)}")
    parent = Path(tempfile.mkdtemp(prefix="sessionbase-test-"))
    parent.chmod(0o711)
    folder = account.make_private_dir(parent / "pitr")
    data_dir = parent / "data"
    try:
        bring_up(data_dir)
        yield make_mistake(data_dir, folder, account, programs)
    finally:
        if (data_dir / "stack.json").exists():
            manage.delete_data(data_dir)
        shutil.rmtree(parent)


def make_mistake(data_dir: Path, folder: Path, account: Account, programs: Path) -> Mistake:
    stack = Stack.of(data_dir)
    # The user of the server may not be able to read the checkout.
    archive_wal = shutil.copy(PROJECT_DIR / "scripts/archive-wal", folder / "archive-wal")
    environment = {
        "PATH": f"{programs}:/usr/bin:/bin",
        "LC_ALL": "C.UTF-8",
        "DB": stack.db_uri,
        "ARCHIVE": str(folder / "archive"),
        "ARCHIVE_WAL": str(archive_wal),
        "BASE": str(folder / "base"),
    }
    now = Mistake(folder, account, environment, set(), set(), "")
    archive, check = commands("backup.md", "Archive the WAL", VARIABLES)
    now.run(archive)
    manage.down(data_dir)
    manage.up(data_dir)
    now.run(check)
    fill(stack.db_uri, "p1")
    (base,) = commands("backup.md", "Make a base backup", VARIABLES)
    now.run(base)
    with Load(stack.rest_url, sign(make_claims("load"), stack.jwt_secret)) as load:
        load.wait_for(50)
        acknowledged = load.acknowledged()
        with psycopg.connect(stack.db_uri, autocommit=True) as dba:
            row = dba.execute("select clock_timestamp()::text").fetchone()
            assert row
            time.sleep(0.2)
            dba.execute("delete from app.todos")
        since = load.now()
        load.wait_for(20, since)
    later = {answer.id for answer in load.answers if answer.started > since}
    return Mistake(folder, account, environment, acknowledged, later, row[0])


@pytest.mark.parametrize("kind", ["transaction", "time"])
def test_a_server_is_recovered_to_just_before_a_mistake(mistake: Mistake, kind: str) -> None:
    restored = mistake.folder / kind
    sockets = mistake.account.make_private_dir(mistake.folder / f"s-{kind}")
    parameters = {
        **conninfo_to_dict(mistake.environment["DB"]),
        "host": str(sockets),
    }
    uri = state.build_uri({name: str(value) for name, value in parameters.items()})
    variables = {
        "RESTORED": str(restored),
        "RESTORED_DB": uri,
        "OPTIONS": f"-c listen_addresses= -c unix_socket_directories={sockets}",
    }
    (find,) = commands("backup.md", "Find the mistake")
    choose, recover, finish = commands(
        "backup.md", "Recover to the moment before it", VARIABLES[:-1]
    )
    if kind == "transaction":
        script = find + choose + recover
    else:
        script = f"TARGET=\"recovery_target_time = '{mistake.just_before}'\"\n" + recover
    try:
        output = mistake.run(script, **variables)
        assert int(output.splitlines()[-1]) >= len(mistake.acknowledged)
        mistake.run(finish, **variables)
        with psycopg.connect(uri) as conn:
            # A table that can be written: the server is a primary.
            conn.execute("create temporary table written ()")
            todos = conn.execute("select id::text from app.todos").fetchall()
        ids = {row[0] for row in todos}
        assert mistake.acknowledged <= ids, "acknowledged writes from before the mistake are lost"
        assert not mistake.later & ids
        assert examine(uri).count("error") == 0
        report = verify_chains(uri)
        assert (report.decisions, report.problems) == (3, [])
    finally:
        mistake.run(f"pg_ctl stop --pgdata={restored} --mode=immediate >/dev/null || true")


def test_a_file_of_the_archive_is_not_replaced_by_another_content(tmp_path: Path) -> None:
    def archive(name: str) -> subprocess.CompletedProcess[str]:
        command = [PROJECT_DIR / "scripts/archive-wal", tmp_path / name, tmp_path / "archived"]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    (tmp_path / "first").write_text("first")
    (tmp_path / "other").write_text("other")
    assert [archive("first").returncode for _ in range(2)] == [0, 0]
    refused = archive("other")
    assert (refused.returncode, "has another content" in refused.stderr) == (1, True)
    assert (tmp_path / "archived").read_text() == "first"
    assert archive("missing").returncode == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["archived", "first", "other"]
