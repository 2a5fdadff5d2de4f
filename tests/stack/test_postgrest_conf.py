"""The settings in postgrest.conf are those that the PostgREST of the run uses."""

import re
import subprocess

import pytest

from conftest import Stack, free_port
from sessionbase.paths import PROJECT_DIR
from sessionbase.stack import postgrest

CONFIG = PROJECT_DIR / "postgrest.conf"


def settings(text: str) -> dict[str, str]:
    """Return the settings of a configuration file, without blanks and quotes in the values."""
    found = re.findall(r"^([a-z-]+) *= *(.*)$", text, re.MULTILINE)
    return {name: re.sub(r'[\s"\\]', "", value) for name, value in found}


def test_every_setting_of_the_file_is_used_by_this_version(stack: Stack) -> None:
    # PostgREST ignores an unknown name without a message, but does not print it.
    done = subprocess.run(
        [postgrest.choose_executable(None), "--dump-config", CONFIG],
        env={"PGRST_DB_URI": stack.db_uri, "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    used = settings(done.stdout)
    written = settings(CONFIG.read_text(encoding="utf-8"))
    assert len(written) > 15
    assert {name: used.get(name) for name in written} == written


def test_the_file_is_ascii_so_that_it_can_be_read_without_a_utf_8_locale() -> None:
    # PostgREST 14 did not start in a container without LANG: "cannot decode byte sequence".
    assert CONFIG.read_bytes().isascii(), "write only ASCII characters in postgrest.conf"


@pytest.mark.postgrest_version("--ready is new in PostgREST 14", oldest=14)
def test_postgrest_reports_by_its_exit_code_whether_it_is_ready(stack: Stack) -> None:
    used_port = stack.admin_url.rsplit(":", 1)[1]
    for port, code in ((used_port, 0), (str(free_port()), 1)):
        done = subprocess.run(
            [postgrest.choose_executable(None), "--ready", CONFIG],
            env={
                "PGRST_DB_URI": stack.db_uri,
                "PGRST_ADMIN_SERVER_PORT": port,
                "LC_ALL": "C.UTF-8",
            },
            capture_output=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == code, done.stderr
