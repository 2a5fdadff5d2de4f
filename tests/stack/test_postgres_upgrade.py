"""The upgrade to a newer major version of PostgreSQL, as docs/postgres-upgrade.md describes it."""

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from conftest import Stack, bring_up
from sessionbase import state
from sessionbase.backup.roles import read_state
from sessionbase.doctor.lints import Finding, examine
from sessionbase.migrate.dump import dump_schema
from sessionbase.migrate.runner import migrate, pending
from sessionbase.paths import PROJECT_DIR
from sessionbase.stack import manage
from sessionbase.stack.account import POSTGRES_BIN_VARIABLE, postgres_bin, service_account
from support.command import run_main
from support.databases import content, fill, index_order
from support.pages import commands, run_script
from support.sql_folder import new_database

PAGE = "postgres-upgrade.md"
# Of Debian and of scripts/servers.sh.
FOLDERS = (*Path("/usr/lib/postgresql").glob("*/bin"), *PROJECT_DIR.glob(".venv/servers/*/*/*/bin"))
NEEDED = ("initdb", "pg_controldata", "pg_ctl", "pg_resetwal", "postgres")


def version_of(programs: Path) -> int:
    done = subprocess.run(
        [str(programs / "postgres"), "--version"], capture_output=True, text=True, check=True
    )
    match = re.search(r"\(PostgreSQL\) (\d+)", done.stdout)
    assert match, done.stdout
    return int(match[1])


@dataclass(frozen=True)
class Old:
    """A running stack of an older PostgreSQL, with rows in every table."""

    data_dir: Path
    old_bin: Path
    new_bin: Path
    work: Path
    """A folder where the user of the server can write."""


@pytest.fixture
def old(monkeypatch: pytest.MonkeyPatch) -> Iterator[Old]:
    account = service_account()
    new_bin = postgres_bin(account)
    new = version_of(new_bin)
    complete = [
        folder for folder in FOLDERS if all(os.access(folder / name, os.X_OK) for name in NEEDED)
    ]
    older = {version: folder for folder in complete if (version := version_of(folder)) < new}
    if not older:
        pytest.skip(
            f"no PostgreSQL older than {new}: `scripts/test --postgres 15` installs one on Debian"
        )
    parent = Path(tempfile.mkdtemp(prefix="sessionbase-test-"))
    parent.chmod(0o711)
    data_dir = parent / "data"
    chosen = os.environ.get(POSTGRES_BIN_VARIABLE)
    monkeypatch.setenv(POSTGRES_BIN_VARIABLE, str(older[min(older)]))
    old_bin = postgres_bin(account)
    try:
        bring_up(data_dir)
        fill(state.read_db_uri(data_dir), "p1", "p2")
        if chosen is None:
            monkeypatch.delenv(POSTGRES_BIN_VARIABLE)
        else:
            monkeypatch.setenv(POSTGRES_BIN_VARIABLE, chosen)
        yield Old(data_dir, old_bin, new_bin, account.make_private_dir(parent / "work"))
    finally:
        for folder in parent.iterdir():
            if (folder / "stack.json").exists():
                manage.delete_data(folder)
        shutil.rmtree(parent)


def run(script: str, folder: Path, environment: dict[str, str], *, as_server: bool) -> str:
    complete = {"LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin", **environment}
    return run_script(PAGE, script, folder, complete, service_account() if as_server else None)


def assert_definitions_are_those_of_a_new_database(uri: str) -> None:
    # Not compared with the old server's: it writes the same view in another way.
    with new_database(uri) as fresh:
        migrate(fresh)
        assert dump_schema(uri) == dump_schema(fresh)


def warnings(findings: list[Finding]) -> list[tuple[str, str, str]]:
    return [(one.level, one.object, one.what) for one in findings]


def test_pg_upgrade_moves_the_cluster_of_an_embedded_stack_to_a_newer_version(old: Old) -> None:
    stack = Stack.of(old.data_dir)
    before = content(stack.db_uri), index_order(stack.db_uri)
    findings = warnings(examine(stack.db_uri).findings)
    with psycopg.connect(stack.db_uri) as conn:
        roles = read_state(conn).roles
    stack_config, secrets = state.require(old.data_dir)
    manage.down(old.data_dir)
    environment = {
        "OLD": str(old.old_bin),
        "NEW": str(old.new_bin),
        "CLUSTER": str(stack_config.cluster),
        "PGPASSWORD": secrets.superuser_password,
        "DB": stack.db_uri,
    }
    (create,) = commands(PAGE, "Create the new cluster")
    (upgrade,) = commands(PAGE, "Check, then upgrade")
    (replace,) = commands(PAGE, "Replace the old cluster")
    output = run(create + upgrade, old.work, environment, as_server=True)
    run(replace, old.work, environment, as_server=False)
    assert "Clusters are compatible" in output
    assert "Upgrade Complete" in output
    manage.up(old.data_dir)
    with psycopg.connect(stack.db_uri) as conn:
        assert conn.info.server_version // 10_000 == version_of(old.new_bin)
        assert read_state(conn).roles == roles
    (verify,) = commands(PAGE, "Verify")
    run(verify, PROJECT_DIR, environment, as_server=False)
    assert (content(stack.db_uri), index_order(stack.db_uri)) == before
    assert_definitions_are_those_of_a_new_database(stack.db_uri)
    assert warnings(examine(stack.db_uri).findings) == findings == []
    assert pending(stack.db_uri) == []
    fill(stack.db_uri, "p3")


def test_a_backup_of_an_older_version_is_restored_into_a_newer_one(old: Old) -> None:
    uri, new = state.read_db_uri(old.data_dir), old.data_dir.parent / "new"
    environment = {
        "OLD_STACK": str(old.data_dir),
        "NEW_STACK": str(new),
        "BACKUP": str(old.data_dir.parent / "backup"),
    }
    (script,) = commands(PAGE, "Backup and restore")
    chosen = os.environ.get(POSTGRES_BIN_VARIABLE, "")
    script = script.replace(f"{POSTGRES_BIN_VARIABLE}=''", f"{POSTGRES_BIN_VARIABLE}='{chosen}'")
    run(script, PROJECT_DIR, environment, as_server=False)
    manifest = json.loads((old.data_dir.parent / "backup/manifest.json").read_text())
    assert manifest["server_major"] == version_of(old.old_bin)
    bring_up(new)
    restored = Stack.of(new)
    assert content(restored.db_uri) == content(uri)
    assert index_order(restored.db_uri) == index_order(uri)
    assert_definitions_are_those_of_a_new_database(restored.db_uri)
    assert examine(restored.db_uri).findings == []
    with psycopg.connect(restored.db_uri) as conn:
        assert conn.info.server_version // 10_000 == version_of(old.new_bin)
    fill(restored.db_uri, "p3")


def test_programs_that_are_newer_than_the_server_can_be_used(
    old: Old, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    uri = state.read_db_uri(old.data_dir)
    monkeypatch.setenv("PATH", str(tmp_path))  # without the programs of the old version
    folder = tmp_path / "backup"
    done = run_main("backup", folder, "--db-uri", uri)
    assert done.returncode == 0, done.stderr
    manifest = json.loads((folder / "manifest.json").read_text())
    made_by = int(manifest["pg_dump_version"].split(".")[0])
    assert made_by > manifest["server_major"]
    with new_database(uri) as target:
        done = run_main("restore", folder, "--db-uri", target)
        assert done.returncode == 0, done.stderr + done.stdout
        assert content(target) == content(uri)
