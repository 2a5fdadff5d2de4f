"""The folder of a backup: manifest.json, cluster.json, the dump, and their checksums.

SHA256SUMS has the format of the program sha256sum. It is written last, and the folder gets its name
after that, so that an incomplete backup never has the name of a complete one.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from sessionbase.backup.roles import ClusterState
from sessionbase.errors import SessionbaseError

FORMAT = "sessionbase-backup"
VERSION = 1
DUMP = "dump"
_MANIFEST = "manifest.json"
_CLUSTER = "cluster.json"
_SUMS = "SHA256SUMS"


@dataclass(frozen=True)
class Manifest:
    """What a backup contains, and what made it (manifest.json)."""

    sessionbase: str
    """The version of sessionbase that made it."""
    created_at: str
    """The time of the snapshot, in UTC (ISO 8601)."""
    database: str
    server_version: str
    server_major: int
    pg_dump_version: str
    encoding: str
    locale: dict[str, str | None]
    """The locale of the database: `provider`, `collate`, `ctype`, `locale`."""
    migrations: list[str]
    """The applied migrations of the ledger, in order."""
    tables: dict[str, int]
    """The number of rows of each table, counted in the snapshot of the dump."""
    other_roles: list[str]
    """Roles that are not sessionbase's and have rights on its objects, or own one."""
    not_included: list[str]
    """What the database contains besides, for example `schema reports`."""
    password_hashes: bool
    doctor: list[dict[str, str]]
    """The findings of doctor when the backup was made."""
    format: str = FORMAT
    version: int = VERSION


@dataclass(frozen=True)
class Backup:
    """A backup whose files are as they were written."""

    folder: Path
    manifest: Manifest
    cluster: ClusterState
    bytes: int
    """The size of all files."""

    @property
    def dump(self) -> Path:
        """The folder that pg_dump wrote."""
        return self.folder / DUMP


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Yield a draft folder; give it the name `folder` when the block ends without an error.

    The draft is deleted after an error. Raises SessionbaseError if the folder exists or can't be
    made.
    """
    if os.path.lexists(folder):
        raise SessionbaseError(f"{folder} exists and was not changed", "name a new folder")
    parent = folder.resolve().parent
    try:
        # mkdtemp makes a folder that only this user can enter.
        draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}.draft-", dir=parent))
    except OSError as error:
        raise SessionbaseError(f"{folder} can't be made: {error.strerror}") from error
    try:
        yield draft
        if os.path.lexists(folder):
            raise SessionbaseError(f"{folder} was made meanwhile, and was not changed")
        draft.rename(folder)
        _sync(parent)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise


def finish(draft: Path, manifest: Manifest, cluster: ClusterState) -> int:
    """Write manifest.json, cluster.json and SHA256SUMS to the draft; return the bytes of all files.

    Everything is on disk afterwards.
    """
    for name, value in ((_MANIFEST, asdict(manifest)), (_CLUSTER, asdict(cluster))):
        text = json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True)
        (draft / name).write_text(text + "\n", encoding="utf-8")
    files = _files(draft)
    sums = "".join(f"{_sha256(draft / name)}  {name}\n" for name in files)
    (draft / _SUMS).write_text(sums, encoding="utf-8")
    for path in [*(draft / name for name in files), draft / _SUMS, draft / DUMP, draft]:
        _sync(path)
    return _size(draft)


def open_backup(folder: Path) -> Backup:
    """Read a backup and verify the checksums of all its files.

    Raises SessionbaseError if it is not a backup, is incomplete or damaged, or has a format that
    this version can't read.
    """
    try:
        sums = (folder / _SUMS).read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise SessionbaseError(
            f"{folder} is not a complete backup of sessionbase: it has no {_SUMS}",
            "name the folder that sessionbase backup printed",
        ) from error
    except (OSError, ValueError) as error:
        raise _damaged(folder, f"{_SUMS} can't be read: {error}") from error
    expected = _parse_sums(folder, sums)
    missing = sorted(expected.keys() - set(_files(folder)))
    added = sorted(set(_files(folder)) - expected.keys())
    if missing or added:
        raise _damaged(folder, f"missing: {missing or 'none'}, added: {added or 'none'}")
    for name, digest in expected.items():
        if _sha256(folder / name) != digest:
            raise _damaged(folder, f"{name} was changed")
    manifest = _read_manifest(folder)
    cluster = ClusterState.from_json(_read_json(folder / _CLUSTER))
    return Backup(folder, manifest, cluster, _size(folder))


def _read_manifest(folder: Path) -> Manifest:
    stored = _read_json(folder / _MANIFEST)
    if stored.get("format") != FORMAT:
        raise SessionbaseError(f"{folder / _MANIFEST} is not the manifest of a sessionbase backup")
    if stored.get("version") != VERSION:
        raise SessionbaseError(
            f"{folder} has version {stored.get('version')} of the backup format, "
            f"this sessionbase reads version {VERSION}",
            "use the sessionbase that made it",
        )
    if stored.keys() != {field.name for field in fields(Manifest)}:
        raise _damaged(folder, f"{_MANIFEST} has not the fields of version {VERSION}")
    return Manifest(**stored)


def _parse_sums(folder: Path, text: str) -> dict[str, str]:
    found = {}
    for line in text.splitlines():
        digest, separator, name = line.partition("  ")
        if len(digest) != 64 or not separator:
            raise _damaged(folder, f"{_SUMS} has a line that is not a checksum")
        found[name] = digest
    for name in (_MANIFEST, _CLUSTER, f"{DUMP}/toc.dat"):
        if name not in found:
            raise _damaged(folder, f"{_SUMS} does not list {name}")
    return found


def _files(folder: Path) -> list[str]:
    """Return the files of a backup without SHA256SUMS, relative to its folder."""
    found = (path for path in folder.rglob("*") if not path.is_dir())
    return sorted(name for path in found if (name := str(path.relative_to(folder))) != _SUMS)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SessionbaseError(f"{path} can't be read: {error}") from error
    if not isinstance(value, dict):
        raise SessionbaseError(f"{path} is not a JSON object")
    return value


def _damaged(folder: Path, why: str) -> SessionbaseError:
    return SessionbaseError(f"{folder} is damaged: {why}", "restore another backup")
