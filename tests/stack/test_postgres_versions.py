"""The server programs of the embedded stack: choice and required versions."""

import os
import shutil
import subprocess
from pathlib import Path

import psycopg
import pytest

from conftest import Stack, bring_up
from sessionbase import state
from sessionbase.paths import PROJECT_DIR
from sessionbase.stack import account, manage
from support.command import sessionbase


def test_texts_are_ordered_by_code_point_on_every_version(stack: Stack) -> None:
    with psycopg.connect(stack.db_uri) as connection:
        row = connection.execute(
            "select string_agg(letter, '' order by letter), 'Ä' ~ '[[:upper:]]'"
            " from unnest(array['a', 'B', 'ä', '_', '😀', 'ﬀ', 'Z']) as letter"
        ).fetchone()
    assert row == ("BZ_aäﬀ😀", True)


def test_a_cluster_of_another_major_version_is_refused_before_anything_starts(
    data_dir: Path,
) -> None:
    stack_config = bring_up(data_dir).stack_config
    manage.down(data_dir)
    version_file = stack_config.cluster / "PG_VERSION"
    made_by = version_file.read_text()
    version_file.write_text("14\n")
    log = (data_dir / "postgresql.log").read_text()
    refused = sessionbase("up", "--data-dir", data_dir)
    assert refused.returncode == 1
    assert "was made by PostgreSQL 14, and the programs in" in refused.stderr
    assert account.POSTGRES_BIN_VARIABLE in refused.stderr
    assert (data_dir / "postgresql.log").read_text() == log
    version_file.write_text(made_by)
    assert manage.up(data_dir).started == ["PostgreSQL", "PostgREST"]


def test_a_folder_without_server_programs_is_refused(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(account.POSTGRES_BIN_VARIABLE, str(tmp_path))
    refused = sessionbase("up", "--data-dir", data_dir)
    assert refused.returncode == 1
    assert f"Error: {tmp_path} has no program postgres" in refused.stderr
    assert account.POSTGRES_BIN_VARIABLE in refused.stderr


def test_a_server_that_is_too_old_is_refused(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = data_dir.parent
    programs.chmod(0o755)  # so that they are not copied
    for name in ("postgres", "initdb"):
        (programs / name).write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 14.20'\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv(account.POSTGRES_BIN_VARIABLE, str(programs))
    refused = sessionbase("up", "--data-dir", data_dir)
    assert refused.returncode == 1
    assert "is PostgreSQL 14 (PostgreSQL 15 or newer is needed)" in refused.stderr
    stack_config, _ = state.require(data_dir)
    assert not stack_config.cluster.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's stack runs as another user")
def test_server_programs_in_a_folder_that_only_root_can_enter_are_copied(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = account.postgres_bin(account.Account(os.geteuid(), os.getegid()))
    package = programs.parent.parent
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    for part in (programs.parent, package.parent / f"{package.name}.libs"):
        if part.exists():
            shutil.copytree(part, closed / part.relative_to(package.parent), symlinks=True)
    monkeypatch.setenv(
        account.POSTGRES_BIN_VARIABLE, str(closed / programs.relative_to(package.parent))
    )
    copied = account.postgres_bin(account.service_account())
    try:
        assert copied.is_relative_to(account.SYSTEM_DIR)
        bring_up(data_dir)
        assert manage.status(data_dir)["running"]
        manage.delete_data(data_dir)
    finally:
        shutil.rmtree(account.SYSTEM_DIR / copied.relative_to(account.SYSTEM_DIR).parts[0])


@pytest.mark.parametrize(
    ("server", "why"),
    [
        ("14", "PostgreSQL 14 is not supported"),
        ("/usr", "/usr has no programs postgres and initdb"),
        ("no/such/folder", "there is no folder no/such/folder"),
        ("", "--postgres needs a version"),
    ],
)
def test_scripts_test_refuses_a_server_that_is_not_available(server: str, why: str) -> None:
    command = [str(PROJECT_DIR / "scripts/test"), "--postgres", server]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert why in done.stderr


@pytest.mark.parametrize(
    ("program", "why"),
    [
        ("/bin/true", "/bin/true does not print a PostgREST version"),
        ("no/such/file", "no/such/file is not an executable file"),
        ("", "--postgrest needs the path"),
    ],
)
def test_scripts_test_refuses_a_program_that_is_not_postgrest(program: str, why: str) -> None:
    command = [str(PROJECT_DIR / "scripts/test"), f"--postgrest={program}", "--postgres", "18"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert why in done.stderr
