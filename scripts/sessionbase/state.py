"""The files of a data directory: secrets.json and stack.json, both with mode 0600."""

import contextlib
import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from sessionbase.errors import SessionbaseError
from sessionbase.paths import command

DATABASE = "sessionbase"
SUPERUSER = "postgres"
DEFAULT_PORT = 3000
DEFAULT_ADMIN_PORT = 3001
_HOW_TO = "write one line of text; `openssl rand -hex 32` prints a good secret"
DEFAULT_REPLICA_PORT = 3003
DEFAULT_REPLICA_ADMIN_PORT = 3004


@dataclass(frozen=True)
class Secrets:
    """The passwords and the JWT secret, made at random on the first run."""

    superuser_password: str
    authenticator_password: str
    jwt_secret: str
    postgres_uri: str | None = None
    """The DBA's URI of another server (`up --postgres`); None: the embedded one."""
    standby_password: str | None = None
    """The password of the login that the replica streams with; None: there was no replica yet."""
    previous_jwt_secret: str | None = None
    """The secret before the rotation that is not finished yet; its tokens are still accepted."""

    @property
    def jwt_secrets(self) -> list[str]:
        """The secrets whose tokens are accepted. New tokens are signed with the first."""
        return [self.jwt_secret, *filter(None, [self.previous_jwt_secret])]

    @classmethod
    def generate(cls, postgres_uri: str | None) -> "Secrets":
        """Return new secrets of 256 random bits each."""
        return cls(
            superuser_password=secrets.token_urlsafe(32),
            authenticator_password=secrets.token_urlsafe(32),
            jwt_secret=secrets.token_urlsafe(48),
            postgres_uri=postgres_uri,
        )


@dataclass(frozen=True)
class StackConfig:
    """The configuration of a stack: its folders and ports (stack.json)."""

    home: Path
    """The folder of the cluster: the data directory, or one that the service user can reach."""
    socket_dir: Path
    """The folder of PostgreSQL's Unix socket."""
    port: int = DEFAULT_PORT
    admin_port: int = DEFAULT_ADMIN_PORT
    first_run_done: bool = False
    node: int = 1
    """The node that is the primary: 1 or 2. Each node has a cluster and a port of its own."""
    replica: bool = False
    """Whether the other node is a streaming replica."""
    replica_sync: bool = False
    """Whether a commit waits until the replica has it on disk."""
    replica_port: int = DEFAULT_REPLICA_PORT
    replica_admin_port: int = DEFAULT_REPLICA_ADMIN_PORT

    @property
    def cluster(self) -> Path:
        """PostgreSQL's own data directory: that of the primary."""
        return self.cluster_of(self.node)

    @property
    def standby_node(self) -> int:
        """The node that is, or can become, the replica."""
        return 3 - self.node

    @property
    def standby_cluster(self) -> Path:
        """The data directory of the replica."""
        return self.cluster_of(self.standby_node)

    def cluster_of(self, node: int) -> Path:
        """Return the data directory of a node."""
        return self.home / ("cluster" if node == 1 else f"cluster-{node}")

    def port_of(self, node: int) -> int:
        """Return the port of a node. It is part of the name of the socket; no TCP port is used."""
        return 5431 + node

    @property
    def rest_url(self) -> str:
        """The URL of PostgREST."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def admin_url(self) -> str:
        """The URL of PostgREST's admin server, which has `/live` and `/ready`."""
        return f"http://127.0.0.1:{self.admin_port}"


def load_secrets(data_dir: Path) -> Secrets | None:
    """Return the secrets of `data_dir`, or None if it has none yet."""
    path = data_dir / "secrets.json"
    stored = _load(path)
    if stored is None:
        return None
    optional = {
        "postgres_uri": str | None,
        "standby_password": str | None,
        "previous_jwt_secret": str | None,
    }
    _check_types(path, stored, Secrets, optional, usual=str)
    return Secrets(**stored)


def save_secrets(data_dir: Path, value: Secrets) -> None:
    """Write `secrets.json` atomically."""
    _save(data_dir / "secrets.json", asdict(value))


def load_stack_config(data_dir: Path) -> StackConfig | None:
    """Return the configuration of the stack of `data_dir`, or None if there is no stack yet."""
    path = data_dir / "stack.json"
    stored = _load(path)
    if stored is None:
        return None
    _check_types(path, stored, StackConfig, {"home": str, "socket_dir": str}, usual=int)
    stored["home"], stored["socket_dir"] = Path(stored["home"]), Path(stored["socket_dir"])
    return StackConfig(**stored)


def save_stack_config(data_dir: Path, value: StackConfig) -> None:
    """Write `stack.json` atomically."""
    _save(data_dir / "stack.json", asdict(value))


def require(data_dir: Path) -> tuple[StackConfig, Secrets]:
    """Return configuration and secrets. Raises SessionbaseError if there is no stack."""
    stack_config = require_stack_config(data_dir)
    stored = load_secrets(data_dir)
    if stored is None:
        raise lost_secrets(data_dir)
    return stack_config, stored


def require_stack_config(data_dir: Path) -> StackConfig:
    """Return the configuration alone. Raises SessionbaseError if there is no stack."""
    stack_config = load_stack_config(data_dir)
    if stack_config is None:
        raise SessionbaseError(
            f"there is no stack in {data_dir}",
            f"{command()} up creates one; --data-dir names another, --db-uri any other database",
        )
    return stack_config


def lost_secrets(data_dir: Path) -> SessionbaseError:
    """Return the error for a stack without secrets.json. New secrets would not fit its cluster."""
    return SessionbaseError(
        f"{data_dir / 'secrets.json'} is missing, but there is a stack",
        f"restore it from a backup, or delete all data with {command()} down --delete-data",
    )


def read_secret(path: Path) -> str:
    """Return the secret in a file, without line breaks at the end.

    Raises SessionbaseError if the file can't be read, is empty or has more than one line.
    """
    try:
        secret = path.read_text(encoding="utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise SessionbaseError(f"{path} is not UTF-8", _HOW_TO) from error
    except OSError as error:
        raise SessionbaseError(
            f"{path} can't be read: {error.strerror}", "create the file, with mode 600"
        ) from error
    if not secret:
        raise SessionbaseError(f"{path} is empty", _HOW_TO)
    if any(ord(character) < 32 or ord(character) == 127 for character in secret):
        raise SessionbaseError(
            f"{path} contains a line break or another control character", _HOW_TO
        )
    return secret


def read_db_uri(data_dir: Path) -> str:
    """Return the DBA's URI of the database. Raises SessionbaseError if there is no stack."""
    stack_config, stored = require(data_dir)
    return dba_uri(stack_config, stored)


def dba_uri(stack_config: StackConfig, stored: Secrets, database: str = DATABASE) -> str:
    """Return the URI that a DBA connects with. `database` applies to the embedded server only."""
    return stored.postgres_uri or node_uri(stack_config, stored, stack_config.node, database)


def node_uri(
    stack_config: StackConfig, stored: Secrets, node: int, database: str = DATABASE
) -> str:
    """Return the DBA's URI of a node of the embedded server."""
    return build_uri(
        {
            "user": SUPERUSER,
            "password": stored.superuser_password,
            "dbname": database,
            "host": str(stack_config.socket_dir),
            "port": str(stack_config.port_of(node)),
        }
    )


def build_uri(parameters: dict[str, str]) -> str:
    """Write libpq connection parameters as a URI, every value quoted."""
    rest = dict(parameters)
    login = f"{quote(rest.pop('user'), safe='')}:{quote(rest.pop('password'), safe='')}"
    database = quote(rest.pop("dbname"), safe="")
    return f"postgresql://{login}@/{database}?{urlencode(rest, quote_via=quote, safe='')}"


def write_private(path: Path, content: str, owner: int | None = None) -> None:
    """Write a file atomically, with mode 0600.

    `owner` is the user id that it belongs to. None: the caller, or for root the folder's owner.
    """
    if owner is None and os.geteuid() == 0:
        owner = path.parent.stat().st_uid
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as handle:
        handle.write(content)
        handle.flush()
        os.fsync(handle.fileno())
        if owner is not None:
            os.fchown(handle.fileno(), owner, -1)
    draft.replace(path)


@contextlib.contextmanager
def locked(data_dir: Path) -> Iterator[None]:
    """Hold the data directory's lock, so that only one command at a time changes the stack."""
    try:
        handle = (data_dir / "lock").open("w")
    except OSError as error:
        raise SessionbaseError(
            f"{data_dir} can't be used as data directory: {error.strerror}"
        ) from error
    with handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _load(path: Path) -> dict[str, Any] | None:
    try:
        content = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError as error:
        raise SessionbaseError(f"{path} belongs to another user") from error
    except OSError as error:
        raise SessionbaseError(f"{path} can't be read: {error.strerror}") from error
    except ValueError as error:
        raise _damaged(path, str(error)) from error
    try:
        value = json.loads(content)
    except ValueError as error:
        raise _damaged(path, str(error)) from error
    if not isinstance(value, dict):
        raise _damaged(path, "it is not a JSON object")
    return value


def _check_types(
    path: Path, stored: dict[str, Any], kind: type, types: dict[str, Any], usual: type
) -> None:
    """Raise SessionbaseError unless `stored` has the fields of the dataclass `kind`.

    `types` has the types of fields; the type of the others is `usual`.
    """
    known = {field.name: field for field in fields(kind)}
    for name, field in known.items():
        if name not in stored:
            if field.default is MISSING:
                raise _damaged(path, f"it has no {name}")
        elif not isinstance(stored[name], types.get(name, usual)):
            raise _damaged(path, f"its {name} has the wrong type")  # the value may be a secret
    for name in stored.keys() - known.keys():
        raise _damaged(path, f"{name} is unknown")


def _damaged(path: Path, why: str) -> SessionbaseError:
    return SessionbaseError(f"{path} is damaged: {why}", "restore it from a backup")


def _save(path: Path, value: dict[str, Any]) -> None:
    write_private(path, json.dumps(value, indent=2, default=str))
