"""Fixtures of every test: one temporary stack for the whole run, and a new profile for each test.

The stack is started by the same code as `scripts/up`, in a temporary data directory, and is deleted
at the end. All workers of pytest-xdist use it, so a test touches only the rows of its own
`profile`. A test that needs more (another schema, a crash) makes its own database or stack.

`scripts/test --postgres` and `--postgrest` run the tests on other servers: they set
SESSIONBASE_POSTGRES_BIN and SESSIONBASE_POSTGREST. A test that does not apply to every server has
the marker `postgres_version`, `contrib` or `postgrest_version`. A test whose result depends on the
version of PostgREST uses the fixture `postgrest_major`.
"""

import os
import shutil
import signal
import socket
import tarfile
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import httpx
import psycopg
import pytest
from pytest_pgtap.pgtap import Runner  # type: ignore[import-untyped]

from sessionbase import state
from sessionbase.doctor.lints import set_expectations
from sessionbase.paths import PROJECT_DIR
from sessionbase.stack import manage
from sessionbase.stack.account import POSTGRES_BIN_VARIABLE
from sessionbase.stack.token import make_claims, sign

DATA_DIR_VARIABLE = "SESSIONBASE_TEST_DATA_DIR"
COMPOSE_VARIABLE = "SESSIONBASE_TEST_COMPOSE"
"""scripts/test-compose sets it and runs only tests/compose, for which no stack is started here."""
PGTAP = PROJECT_DIR / "node_modules/@electric-sql/pglite-pgtap/dist/pgtap.tar.gz"


@dataclass(frozen=True)
class Stack:
    """The running stack: its folder, addresses and secret."""

    data_dir: Path
    rest_url: str
    admin_url: str
    db_uri: str
    jwt_secret: str

    @classmethod
    def of(cls, data_dir: Path) -> "Stack":
        """Read it from a data directory."""
        stack_config, secrets = state.require(data_dir)
        uri = state.dba_uri(stack_config, secrets)
        return cls(data_dir, stack_config.rest_url, stack_config.admin_url, uri, secrets.jwt_secret)


class TokenFor(Protocol):
    """Makes a token. A keyword argument replaces a claim; None removes it."""

    def __call__(self, profile: str, role: str = "authenticated", **claims: Any) -> str: ...


class ClientFor(Protocol):
    """Opens an HTTP client with a token of the profile; None: a guest, without a token."""

    def __call__(self, profile: str | None, role: str = "authenticated") -> httpx.Client: ...


def free_port() -> int:
    """Return a port of 127.0.0.1 that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def bring_up(data_dir: Path, **options: object) -> manage.UpReport:
    """Start a stack on free ports."""
    ports = {"port": free_port(), "admin_port": free_port()}
    return manage.up(data_dir, manage.UpOptions(**{**ports, **options}))  # type: ignore[arg-type]


def _delete_stack(data_dir: Path) -> None:
    """Stop and delete the stack of a data directory, if there is one, also an incomplete one."""
    if (data_dir / "stack.json").exists():
        manage.delete_data(data_dir)


@contextmanager
def new_data_dir() -> Iterator[Path]:
    """Yield a data directory that does not exist yet. Its stack is deleted at the end."""
    folder = Path(tempfile.mkdtemp(prefix="sessionbase-test-"))
    try:
        yield folder / "data"
    finally:
        _delete_stack(folder / "data")
        shutil.rmtree(folder)


def pytest_configure(config: pytest.Config) -> None:
    """Start the stack once per run: in the controller of xdist, before its workers."""
    config.addinivalue_line(
        "markers",
        "postgres_version(oldest, reason): skip the test on an older major version of PostgreSQL",
    )
    config.addinivalue_line(
        "markers", "contrib: skip the test on a server without PostgreSQL's contrib modules"
    )
    config.addinivalue_line(
        "markers",
        "postgrest_version(reason, oldest=0, newest=None): skip the test on an older or newer "
        "major version of PostgREST",
    )
    if hasattr(config, "workerinput") or config.option.collectonly:
        return
    if COMPOSE_VARIABLE in os.environ:  # tests/compose has its own servers
        return
    # A shell starts a job in the background with SIGINT ignored, which its child processes inherit.
    # Tests send SIGINT to the commands that they start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    folder = Path(tempfile.mkdtemp(prefix="sessionbase-test-"))
    os.environ[DATA_DIR_VARIABLE] = str(folder / "data")
    config.add_cleanup(lambda: shutil.rmtree(folder))
    config.add_cleanup(lambda: _delete_stack(folder / "data"))
    bring_up(folder / "data")
    _load_pgtap(Stack.of(folder / "data"))


def pytest_report_header(config: pytest.Config) -> str | None:
    """Print the versions of the servers."""
    if hasattr(config, "workerinput") or config.option.collectonly:
        return None
    if COMPOSE_VARIABLE in os.environ:
        return None
    versions = manage.status(Path(os.environ[DATA_DIR_VARIABLE]))["versions"]
    chosen = os.environ.get(POSTGRES_BIN_VARIABLE)
    source = f"programs of {chosen}" if chosen else "embedded"
    return f"PostgreSQL {versions['postgresql']} ({source}), PostgREST {versions['postgrest']}"


@pytest.fixture(scope="session")
def postgrest_major(stack: Stack) -> int:
    """Return the major version of the PostgREST of the run: 12, 14, …"""
    version = manage.status(stack.data_dir)["versions"]["postgrest"]
    return int(version.split(".")[0])


@pytest.fixture(autouse=True)
def _skip_by_postgrest(request: pytest.FixtureRequest) -> None:
    """Skip a test whose marker `postgrest_version` excludes the PostgREST of the run."""
    marker = request.node.get_closest_marker("postgrest_version")
    if marker is None:
        return
    oldest, newest = marker.kwargs.get("oldest", 0), marker.kwargs.get("newest")
    major = request.getfixturevalue("postgrest_major")
    if major < oldest or (newest is not None and major > newest):
        wanted = f"up to {newest}" if newest else f"{oldest} or newer"
        pytest.skip(f"needs PostgREST {wanted}, not {major}: {marker.args[0]}")


@pytest.fixture(autouse=True)
def _skip_by_server(request: pytest.FixtureRequest) -> None:
    """Skip a test whose marker asks for what the server does not have."""
    version = request.node.get_closest_marker("postgres_version")
    contrib = request.node.get_closest_marker("contrib")
    if version is None and contrib is None:
        return
    with psycopg.connect(request.getfixturevalue("stack").db_uri) as connection:
        major = connection.info.server_version // 10_000
        row = connection.execute(
            "select from pg_available_extensions where name = 'citext'"
        ).fetchone()
    if version and major < version.args[0]:
        pytest.skip(f"needs PostgreSQL {version.args[0]}, not {major}: {version.args[1]}")
    if contrib and row is None:
        pytest.skip(f"this PostgreSQL {major} comes without the contrib modules")


def _load_pgtap(stack: Stack) -> None:
    """Load pgTAP and our helpers into schema `tap` of the test database, and nowhere else."""
    with tarfile.open(PGTAP) as archive:
        member = archive.extractfile("share/postgresql/extension/pgtap.sql")
        assert member
        functions = member.read()
    with psycopg.connect(stack.db_uri) as connection:
        connection.execute("create schema tap; grant usage on schema tap to public")
        connection.execute("set local search_path = tap")
        connection.execute(functions)
        connection.execute((Path(__file__).parent / "support/helpers.sql").read_bytes())
        set_expectations(connection)
        connection.execute((Path(__file__).parent / "support/authority.sql").read_bytes())


@pytest.fixture(scope="session")
def stack() -> Stack:
    """Return the temporary stack of the run."""
    return Stack.of(Path(os.environ[DATA_DIR_VARIABLE]))


@pytest.fixture
def db(stack: Stack) -> Iterator[psycopg.Connection[Any]]:
    """Yield a superuser's connection in autocommit mode, without row-level security."""
    with psycopg.connect(stack.db_uri, autocommit=True) as connection:
        yield connection


@pytest.fixture
def pgtap_connection(stack: Stack) -> Iterator[psycopg.Connection[Any]]:
    """Yield a new superuser's connection for each tests/sql/test_*.sql, with pgTAP on its path."""
    with psycopg.connect(stack.db_uri, options="-c search_path=tap") as connection:
        yield connection


@pytest.fixture
def _pgtap_runner(pgtap_connection: psycopg.Connection[Any]) -> Runner:
    """Run each file on its own connection; the fixture of the plugin uses one for all files."""
    return Runner(pgtap_connection)


@pytest.fixture
def profile() -> str:
    """Return a profile that no other test uses."""
    return f"p-{uuid.uuid4().hex}"


@pytest.fixture(scope="session")
def token_for(stack: Stack) -> TokenFor:
    """Return a function that makes tokens: `token_for(profile, role="auditor", sub=None)`."""

    def make(profile: str, role: str = "authenticated", **claims: Any) -> str:
        changed = {**make_claims(profile, role), **claims}
        present = {name: value for name, value in changed.items() if value is not None}
        return sign(present, stack.jwt_secret)

    return make


# With a lower limit, a client that several threads share closes idle connections, sometimes one
# that another thread has just started to use (httpcore: "Bad file descriptor").
LIMITS = httpx.Limits(max_connections=100, max_keepalive_connections=100, keepalive_expiry=None)


@pytest.fixture
def client_for(stack: Stack, token_for: TokenFor) -> Iterator[ClientFor]:
    """Yield a function that opens clients. They are closed after the test."""
    with ExitStack() as opened:

        def open_client(profile: str | None, role: str = "authenticated") -> httpx.Client:
            headers = {}
            if profile is not None:
                headers["Authorization"] = f"Bearer {token_for(profile, role)}"
            return opened.enter_context(
                # verify=False: plain HTTP, and loading the CA certificates costs more than a test.
                httpx.Client(
                    base_url=stack.rest_url,
                    headers=headers,
                    timeout=60,
                    trust_env=False,
                    verify=False,
                    limits=LIMITS,
                )
            )

        yield open_client


@pytest.fixture
def client(client_for: ClientFor, profile: str) -> httpx.Client:
    """Return an HTTP client with a token of the profile of the test."""
    return client_for(profile)


@pytest.fixture
def guest(client_for: Callable[[str | None], httpx.Client]) -> httpx.Client:
    """Return an HTTP client without a token."""
    return client_for(None)


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """Yield a data directory that does not exist yet. Its stack is deleted after the test."""
    with new_data_dir() as data_dir:
        yield data_dir
