"""scripts/check, and the pre-commit hooks that call it."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from pre_commit.clientlib import load_config  # type: ignore[import-untyped]

from sessionbase.paths import PROJECT_DIR

CHECK = "scripts/check"
CONFIG = ".pre-commit-config.yaml"
BROKEN = "#!/bin/sh\nls $1\n"


def run(*command: object, cwd: Path = PROJECT_DIR) -> subprocess.CompletedProcess[str]:
    """Run a command without the variables by which git passes its repository to a hook."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment = {**clean, "PRE_COMMIT_HOME": str(cwd / ".pre-commit-home")}
    arguments = list(map(str, command))
    return subprocess.run(
        arguments, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


def names_of_checks() -> list[str]:
    return [line.split()[0] for line in run(CHECK, "--list").stdout.splitlines()]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A git repository with the checks and one shell script that has a fault."""
    for name in (CHECK, CONFIG):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(PROJECT_DIR / name, tmp_path / name)
    for folder in (".ci", "bench"):
        (tmp_path / folder).mkdir()
    (tmp_path / ".venv").symlink_to(PROJECT_DIR / ".venv")
    (tmp_path / ".gitignore").write_text(".venv\n.pre-commit-home/\n")
    (tmp_path / "scripts/broken").write_text(BROKEN)
    for command in ("init", "config user.name Tester", "config user.email tester@example.com"):
        assert run("git", *command.split(), cwd=tmp_path).returncode == 0
    return tmp_path


def test_every_check_has_a_pre_commit_hook_and_every_hook_a_check() -> None:
    hooks = load_config(PROJECT_DIR / CONFIG)["repos"][0]["hooks"]
    assert {hook["id"]: hook["entry"] for hook in hooks} == {
        name: f"{CHECK} {name}" for name in names_of_checks()
    }, f"give {CONFIG} one hook for each check that `{CHECK} --list` prints, with that id"


def test_a_failing_check_is_named_and_the_checks_after_it_still_run(project: Path) -> None:
    done = run(CHECK, "shellcheck", "pre-commit-config", cwd=project)
    assert (done.returncode, done.stderr) == (1, "Failed: shellcheck\n")
    assert "SC2086" in done.stdout
    assert "== pre-commit-config" in done.stdout
    (project / "scripts/broken").unlink()
    assert run(CHECK, "shellcheck", "pre-commit-config", cwd=project).returncode == 0


def test_a_commit_with_a_broken_script_is_refused(project: Path) -> None:
    installed = run(".venv/bin/pre-commit", "install", cwd=project)
    assert installed.returncode == 0, installed.stderr
    run("git", "add", "--all", cwd=project)
    refused = run("git", "commit", "-m", "Broken", cwd=project)
    assert refused.returncode == 1, refused.stderr
    assert "SC2086" in refused.stderr
    (project / "scripts/broken").write_text(BROKEN.replace("$1", '"$1"'))
    run("git", "add", "--all", cwd=project)
    accepted = run("git", "commit", "-m", "Repaired", cwd=project)
    assert accepted.returncode == 0, accepted.stderr


def test_an_unknown_check_is_wrong_usage() -> None:
    done = run(CHECK, "no-such-check")
    assert (done.returncode, done.stdout) == (2, "")
    assert "no-such-check" in done.stderr


def test_check_without_the_tools_prints_how_to_install_them(project: Path) -> None:
    (project / ".venv").unlink()
    done = run(CHECK, cwd=project)
    assert (done.returncode, done.stdout) == (1, "")
    assert "run scripts/test once" in done.stderr
