"""Output, errors and exit codes of the command `sessionbase`."""

import itertools
import json
import os
import re
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import httpx
import jwt
import pytest
from psycopg.conninfo import make_conninfo

from conftest import Stack, free_port
from sessionbase import __version__
from sessionbase.paths import PROJECT_DIR
from sessionbase.state import Secrets
from support.command import run_main, sessionbase

COMMANDS = ["up", "down", "status", "token", "migrate", "migrate status", "migrate plan"]
COMMANDS += ["migrate drift", "migrate baseline", "migrate repair", "migrate new", "migrate dump"]
COMMANDS += ["import", "import tool-events", "export", "export tool-events", "doctor"]
COMMANDS += ["promote", "rotate-jwt-secret", "backup", "restore", "stats", "replication"]
COMMANDS += ["audit", "audit verify", "profile", "profile list", "secrets", "secrets generate"]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_each_command_has_an_example(command: str) -> None:
    done = run_main(*command.split(), "--help")
    assert done.returncode == 0
    assert "Example: " in done.stdout


def test_the_paragraphs_of_a_help_fill_the_lines_of_a_narrow_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = sessionbase("migrate", "--help").stdout.split("Options")[0]
    for paragraph in re.split(r"\n\s*\n", text):
        lines = [line.strip() for line in paragraph.strip().splitlines()]
        short = [
            line
            for line, following in itertools.pairwise(lines)
            if len(line) + 1 + len(following.split()[0]) <= 78
        ]
        assert not short, f"_write_help in sessionbase/cli.py must join these lines: {short}"


def test_the_subcommands_of_migrate_are_listed_in_the_order_of_their_use() -> None:
    listed = sessionbase("migrate", "--help").stdout.split("Commands")[1]
    names = re.findall(r"^│ (\w+) ", listed, re.MULTILINE)
    assert names == ["new", "plan", "status", "drift", "repair", "baseline", "dump"]


def test_version_prints_the_version_of_the_package() -> None:
    assert sessionbase("--version").stdout == f"sessionbase {__version__}\n"


@pytest.mark.parametrize("arguments", [["up", "--port", "x"], ["token"], ["nonsense"]])
def test_wrong_usage_exits_with_2(arguments: list[str]) -> None:
    assert sessionbase(*arguments).returncode == 2


def test_an_error_is_one_line_on_stderr_with_exit_code_1(tmp_path: Path) -> None:
    done = sessionbase("status", "--data-dir", tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"Error: there is no stack in {tmp_path}")
    assert len(done.stderr.splitlines()) == 1


def test_the_option_debug_prints_the_traceback(tmp_path: Path) -> None:
    done = sessionbase("--debug", "status", "--data-dir", tmp_path)
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_an_unexpected_error_is_one_line_on_stderr() -> None:
    program = """
from sessionbase import cli
@cli.app.command()
def broken() -> None:
    raise RuntimeError("first line\\nsecond line")
cli.main()
"""
    command = [sys.executable, "-c", program, "broken"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "RuntimeError: first line" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "--debug" in done.stderr


@pytest.mark.parametrize("command", ["up", "down", "status"])
@pytest.mark.parametrize(
    ("content", "why"),
    [
        ('{"port": 1}', "it has no home"),
        ('{"home": 1, "socket_dir": "x"}', "its home has the wrong type"),
        ('{"home": "x", "socket_dir": "x", "new": 1}', "new is unknown"),
        ("[]", "it is not a JSON object"),
        ('{"home": ', "Expecting value"),
    ],
)
def test_a_damaged_stack_json_is_refused_with_its_path(
    tmp_path: Path, command: str, content: str, why: str
) -> None:
    file = tmp_path / "stack.json"
    file.write_text(content)
    (tmp_path / "secrets.json").write_text(json.dumps(asdict(Secrets.generate(None))))
    done = run_main(command, "--data-dir", tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith(f"Error: {file} is damaged: {why}")
    assert len(done.stderr.splitlines()) == 1
    assert file.read_text() == content


def test_a_path_that_cannot_be_a_data_directory_is_refused_in_one_line(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for folder in (file, file / "inside", "/proc/nothing"):
        done = run_main("up", "--data-dir", folder)
        assert done.returncode == 1
        assert done.stderr.startswith(f"Error: {folder} can't be the data directory: ")
        assert len(done.stderr.splitlines()) == 1


def test_status_json_has_addresses_versions_and_pids_but_no_jwt_secret(stack: Stack) -> None:
    done = run_main("status", "--json", "--data-dir", stack.data_dir)
    assert done.returncode == 0
    stack_config = json.loads(done.stdout)
    assert stack_config["running"] is True
    assert stack_config["rest_url"] == stack.rest_url
    assert stack_config["admin_url"] == stack.admin_url
    assert stack_config["db_uri"] == stack.db_uri
    assert stack_config["pending_migrations"] == []
    assert stack_config["versions"]["sessionbase"] == __version__
    assert int(stack_config["versions"]["postgresql"].split(".")[0]) >= 15
    assert stack_config["versions"]["postgrest"]
    assert stack_config["pids"]["postgresql"]
    assert stack_config["pids"]["postgrest"]
    assert stack_config["docs_url"] is stack_config["pids"]["docs"] is None
    assert stack.jwt_secret not in done.stdout


def test_status_prints_the_url_but_no_jwt_secret(stack: Stack) -> None:
    done = run_main("status", "--data-dir", stack.data_dir)
    assert done.returncode == 0
    assert stack.rest_url in done.stdout
    assert stack.jwt_secret not in done.stdout


def test_token_prints_only_a_token_that_is_accepted_for_the_profile(
    stack: Stack, profile: str
) -> None:
    done = sessionbase("token", "--profile", profile, "--data-dir", stack.data_dir)
    assert (done.returncode, done.stderr) == (0, "")
    claims = jwt.decode(done.stdout.strip(), stack.jwt_secret, algorithms=["HS256"])
    assert claims["sub"] == profile
    assert claims["role"] == "authenticated"
    assert claims["exp"] - claims["iat"] == 3600
    headers = {"Authorization": f"Bearer {done.stdout.strip()}"}
    answer = httpx.get(f"{stack.rest_url}/tool_events", headers=headers, trust_env=False)
    assert (answer.status_code, answer.json()) == (200, [])


@pytest.mark.parametrize(("ttl", "seconds"), [("30s", 30), ("15m", 900), ("7d", 604800)])
def test_a_token_has_the_requested_lifetime_and_role(
    stack: Stack, profile: str, ttl: str, seconds: int
) -> None:
    options = ["--role", "auditor", "--ttl", ttl, "--data-dir", stack.data_dir]
    done = run_main("token", "--profile", profile, *options)
    claims = jwt.decode(done.stdout.strip(), stack.jwt_secret, algorithms=["HS256"])
    assert claims["role"] == "auditor"
    assert claims["exp"] - claims["iat"] == seconds
    assert claims["iat"] <= time.time()


@pytest.mark.parametrize(
    "options",
    [
        ["--profile", " "],
        ["--profile", "p", "--ttl", "0s"],
        ["--profile", "p", "--ttl", "1 week"],
        ["--profile", "p", "--role", "postgres"],
    ],
)
def test_invalid_options_of_token_are_refused(stack: Stack, options: list[str]) -> None:
    done = run_main("token", *options, "--data-dir", stack.data_dir)
    assert (done.returncode, done.stdout) == (2, "")


def test_an_invalid_option_value_is_wrong_usage() -> None:
    for options in (
        ["--db-uri", "postgresql://host/name?no_such_setting=1"],
        ["--lock-timeout", "5", "--db-uri", "postgresql://host/name"],
    ):
        done = run_main("migrate", *options)
        assert (done.returncode, done.stdout) == (2, "")
        assert options[0] in done.stderr


def test_an_empty_profile_is_wrong_usage(stack: Stack, tmp_path: Path) -> None:
    (tmp_path / "events.json").write_text("[]")
    for command in (["import", "tool-events", tmp_path / "events.json"], ["export", "tool-events"]):
        done = run_main(*command, "--profile", "", "--data-dir", stack.data_dir)
        assert (done.returncode, done.stdout) == (2, "")
        assert "1 to 200 bytes" in done.stderr


def test_a_failed_connection_is_reported_with_a_hint_for_its_cause(
    stack: Stack, tmp_path: Path
) -> None:
    for uri, hint in (
        (f"postgresql://u@/d?host={tmp_path}", "is it running?"),
        ("postgresql://u@127.0.0.1:1/d", "is it running?"),
        (make_conninfo(stack.db_uri, password="wrong"), "the login and the password"),
        (make_conninfo(stack.db_uri, dbname="nowhere"), "the database's name"),
    ):
        done = run_main("migrate", "--db-uri", uri)
        assert done.returncode == 1
        assert hint in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_a_dry_run_on_a_current_database_reports_nothing_to_do(stack: Stack) -> None:
    done = run_main("migrate", "--dry-run", "--data-dir", stack.data_dir)
    assert done.returncode == 0
    assert "nothing to do: the database is up to date" in done.stdout
    assert "to apply" not in done.stdout


@pytest.mark.parametrize("script", ["scripts/test", "scripts/generate-docs", "bench/run"])
def test_the_help_of_a_script_needs_no_installation(script: str) -> None:
    command = [str(PROJECT_DIR / script), "--help"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={"PATH": "/bin"}
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"Usage: {script}")


def test_help_and_errors_spell_the_command_as_it_works_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = PROJECT_DIR / ".venv/bin/sessionbase"
    for folder, spelled in ((PROJECT_DIR, ".venv/bin/sessionbase"), (tmp_path, str(program))):
        missing: list[str | Path] = [program, "status", "--data-dir", tmp_path / "none"]
        done = subprocess.run(missing, capture_output=True, text=True, check=False, cwd=folder)
        assert f"({spelled} up creates one" in done.stderr
        subprocess.run([spelled, "--version"], capture_output=True, check=True, cwd=folder)
        monkeypatch.chdir(folder)
        monkeypatch.setenv("COLUMNS", "300")
        for command in ([], *(command.split() for command in COMMANDS)):
            done = run_main(*command, "--help")
            assert f"Usage: {spelled} " in done.stdout
            assert f"{spelled} " in done.stdout.split("Example: ")[1].splitlines()[0]
            # Other occurrences are part of a name (sessionbase_owner) or of a path.
            assert not re.search(r"(?<![/\w.])sessionbase (?!API)[a-z]", done.stdout)


RUN = re.compile(r"(?:^|\$\()((?:\.venv/bin/sessionbase|scripts/\w[\w-]*)[^\n)]*)", re.MULTILINE)
FENCED = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)


def test_each_command_of_the_readme_works_in_the_project_folder(data_dir: Path) -> None:
    blocks = FENCED.findall((PROJECT_DIR / "README.md").read_text(encoding="utf-8"))
    commands = [command for block in blocks for command in RUN.findall(block)]
    assert commands[0] == "scripts/up"
    assert sum(command.startswith(".venv/bin/sessionbase ") for command in commands) >= 4
    ports = f"--port {free_port()} --admin-port {free_port()}"
    changed = {
        "scripts/up": f"scripts/up {ports}",  # the usual ports may be in use
        "scripts/test": "scripts/test --help",  # this test is part of what it runs
    }
    for command in commands:
        done = subprocess.run(
            ["sh", "-c", changed.get(command, command)],
            capture_output=True,
            text=True,
            check=False,
            cwd=PROJECT_DIR,
            env={**os.environ, "SESSIONBASE_DATA_DIR": str(data_dir)},
        )
        assert done.returncode == 0, (
            f"correct this command of README.md: {command}\n{done.stdout}{done.stderr}"
        )
