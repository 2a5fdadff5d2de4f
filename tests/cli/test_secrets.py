"""The files with the secrets of a deployment: generated, checked, rotated and installed."""

import base64
import json
import secrets
import stat
from collections.abc import Callable
from pathlib import Path

import httpx
import jwt
import psycopg
import pytest

from conftest import Stack, bring_up
from sessionbase import state
from sessionbase.secret_files import files
from sessionbase.stack.token import make_claims, make_key_set, sign, symmetric_keys
from support.command import run_main


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with three valid secrets."""
    files.generate(tmp_path / "secrets")
    return tmp_path / "secrets"


def jwt_secret(folder: Path) -> str:
    return state.read_secret(folder / "jwt_secret")


def oct_key(text: str) -> dict[str, str]:
    return {"kty": "oct", "k": text}


def test_generated_secrets_are_private_differ_and_pass_the_check(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "secrets"
    assert run_main("secrets", "generate", folder).returncode == 0
    assert {path.name for path in folder.iterdir()} == set(files.NAMES)
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert len({path.read_text() for path in folder.iterdir()}) == 3
    done = run_main("secrets", "check", folder)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_existing_secret_is_not_replaced(folder: Path) -> None:
    (folder / "jwt_secret").unlink()
    before = (folder / "postgres_password").read_text()
    done = run_main("secrets", "generate", folder)
    assert done.stdout.splitlines() == [f"created {folder / 'jwt_secret'}"]
    assert (folder / "postgres_password").read_text() == before
    assert "nothing to do" in run_main("secrets", "generate", folder).stdout


@pytest.mark.parametrize("name", files.NAMES)
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "can't be read"),
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"short\n", "5"),
        (b"two lines\nof a good length for any secret\n", "line break"),
        (b"\xff" * 40, "is not UTF-8"),
    ],
)
def test_a_wrong_file_is_refused_with_its_path(
    folder: Path, name: str, content: bytes | None, message: str
) -> None:
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    done = run_main("secrets", "check", folder)
    assert done.returncode == 1
    assert done.stderr.startswith(f"Error: {folder / name}")
    assert message in done.stderr


def test_one_password_for_both_logins_is_refused(folder: Path) -> None:
    (folder / "authenticator_password").write_text((folder / "postgres_password").read_text())
    assert "contain the same password" in run_main("secrets", "check", folder).stderr


def test_a_file_that_others_can_read_gives_a_warning(folder: Path) -> None:
    (folder / "jwt_secret").chmod(0o644)
    done = run_main("secrets", "check", folder)
    assert done.returncode == 0
    assert "chmod 600" in done.stderr


@pytest.mark.parametrize(
    "value",
    [
        "{not json",
        {},
        {"keys": []},
        {"keys": "x"},
        {"keys": [oct_key("not base64url!")]},
        {"keys": [oct_key("a")]},
        {"keys": [{"kty": "unknown"}]},
        {"keys": [oct_key("c2hvcnQ")]},
        {"kty": "oct"},
        oct_key("c2hvcnQ"),
    ],
)
def test_a_wrong_key_set_is_refused_and_not_printed(folder: Path, value: object) -> None:
    text = value if isinstance(value, str) else json.dumps(value)
    (folder / "jwt_secret").write_text(text)
    done = run_main("secrets", "check", folder)
    assert done.returncode == 1
    assert "the JWT secret" in done.stderr
    assert text not in done.stderr


def test_keys_of_other_types_are_accepted_but_not_rotated(folder: Path) -> None:
    rsa = {"kty": "RSA", "n": "x", "e": "AQAB"}
    good = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip("=")
    (folder / "jwt_secret").write_text(json.dumps({"keys": [rsa, oct_key(good)]}))
    assert run_main("secrets", "check", folder).returncode == 0
    assert "is not symmetric" in run_main("secrets", "rotate-jwt", folder).stderr
    (folder / "jwt_secret").write_text(json.dumps(rsa))
    file = folder / "jwt_secret"
    done = run_main("token", "--profile", "a", "--jwt-secret-file", file)
    assert "has no symmetric key" in done.stderr


def test_a_rotation_keeps_the_old_key_until_it_is_finished(folder: Path) -> None:
    old = jwt_secret(folder)
    assert run_main("secrets", "rotate-jwt", folder).returncode == 0
    first, second = symmetric_keys(jwt_secret(folder))
    assert second == old.encode()
    token = run_main("token", "--profile", "a", "--jwt-secret-file", folder / "jwt_secret").stdout
    assert jwt.decode(token.strip(), first, ["HS256"])["sub"] == "a"
    assert run_main("secrets", "rotate-jwt", folder, "--finish").returncode == 0
    assert symmetric_keys(jwt_secret(folder)) == [first]
    assert stat.S_IMODE((folder / "jwt_secret").stat().st_mode) == 0o600


def test_the_password_of_the_database_can_be_in_a_file(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The URI has no password. A wrong one in the file gives a message with the file."""
    parameters = psycopg.conninfo.conninfo_to_dict(stack.db_uri)
    password = tmp_path / "password"
    password.write_text(f"{parameters.pop('password')}\n")
    uri = psycopg.conninfo.make_conninfo("", **parameters)
    monkeypatch.setenv("PGPASSWORD", "")  # restored after the test: the command sets it
    monkeypatch.setenv("SESSIONBASE_DB_PASSWORD_FILE", str(password))
    assert run_main("migrate", "status", "--db-uri", uri).returncode == 0
    password.write_text("wrong")
    done = run_main("migrate", "status", "--db-uri", uri)
    assert done.returncode == 3
    assert f"the role has another password than {password}" in done.stderr
    password.unlink()
    assert "can't be read" in run_main("migrate", "status", "--db-uri", uri).stderr


def test_install_needs_the_role_of_postgrest(
    folder: Path, tmp_path: Path, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sessionbase.secret_files.install.LOGIN", "no_such_role")
    done = run_main("secrets", "install", folder, tmp_path, "--db-uri", stack.db_uri)
    assert "migrate first" in done.stderr


def test_install_writes_what_postgrest_needs_and_sets_its_password(
    folder: Path, tmp_path: Path, data_dir: Path
) -> None:
    bring_up(data_dir)
    stack = Stack.of(data_dir)
    target = tmp_path / "postgrest"
    target.mkdir()
    (folder / "authenticator_password").write_text("colon: backslash\\ quote' äé\n")
    done = run_main("secrets", "install", folder, target, "--db-uri", stack.db_uri)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in target.iterdir()} == {"passfile", "jwt_secret"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in target.iterdir()} == {0o600}
    parameters = psycopg.conninfo.conninfo_to_dict(stack.db_uri)
    del parameters["password"]
    parameters |= {"user": "authenticator", "passfile": str(target / "passfile")}
    with psycopg.connect(psycopg.conninfo.make_conninfo("", **parameters)) as connection:
        assert connection.execute("select session_user").fetchone() == ("authenticator",)


@pytest.mark.parametrize("make", [lambda key: key, lambda key: make_key_set([key.encode()])])
def test_postgrest_accepts_a_token_of_each_form_of_the_secret(
    stack: Stack, profile: str, make: Callable[[str], str]
) -> None:
    token = sign(make_claims(profile), make(stack.jwt_secret))
    headers = {"Authorization": f"Bearer {token}"}
    answer = httpx.get(f"{stack.rest_url}/todos", headers=headers, trust_env=False)
    assert answer.status_code == 200
