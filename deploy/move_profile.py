#!/usr/bin/env python3
"""Move a profile from one cell to another, while both serve requests. docs/cells.md explains it.

Usage: python move_profile.py PROFILE FROM TO --cells DIR --socket PATH [--socket PATH]...

FROM and TO are names of backends of HAProxy. The environment variables FROM_DB_URI and TO_DB_URI
are the URIs of their databases, for a login that may become sessionbase_owner. --cells is the
folder that the variable CELLS of HAProxy names, --socket its runtime API (PROXY_ADMIN_SOCKET), once
for each HAProxy. It runs with the Python in which sessionbase is installed.

Meanwhile the proxy answers writes to the profile with 503 profile_locked; reads are answered by
FROM. If a step fails before the switch, writes go to FROM again and nothing has changed. Progress
is printed on stderr, the result as one line of JSON on stdout. Exit codes: 0 moved, 1 not moved,
3 moved but not erased in FROM, 4 the switch was not completed, 130 interrupted and not moved.

Example: python move_profile.py ada api cell2 --cells /etc/haproxy/cells --socket /run/haproxy.sock
"""

import argparse
import fcntl
import json
import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import psycopg

from sessionbase.errors import SessionbaseError
from sessionbase.legacy.exporter import new_file
from sessionbase.profile.eraser import erase_profile, plan_erasure
from sessionbase.profile.export_file import read_export
from sessionbase.profile.exporter import export_profile
from sessionbase.profile.importer import import_profile

IDLE_SECONDS = 60.0
"""How long to wait for the writes that run. The proxy ends each request after 50 s."""


class Proxy:
    """One HAProxy: its maps and its counter of writes, by the runtime API."""

    def __init__(self, path: str, cells: Path, key: str) -> None:
        self._path, self._key = path, key
        self._cells, self._moving = cells / "cells.map", cells / "moving.map"

    def cell(self) -> str:
        """Return the cell that requests of the profile are sent to."""
        own = self._get(self._cells, self._key)
        return own or self._get(self._cells, "*") or "api"

    def has_cell(self, cell: str) -> bool:
        """Return whether there is a backend with this name."""
        return cell in self._ask("show backend").splitlines()

    def set_cell(self, cell: str) -> None:
        """Send the requests of the profile to another cell."""
        known = self._get(self._cells, self._key) is not None
        self._run(f"{'set' if known else 'add'} map {self._cells} {self._key} {cell}")

    def refuse_writes(self) -> None:
        """Answer writes of the profile with 503."""
        if self._get(self._moving, self._key) is None:
            self._run(f"add map {self._moving} {self._key} 1")

    def accept_writes(self) -> None:
        """Undo refuse_writes."""
        if self._get(self._moving, self._key) is not None:
            self._run(f"del map {self._moving} {self._key}")

    def running_writes(self) -> int:
        """Return how many writes of the profile have no answer yet."""
        line = self._ask(f"show table writes key {self._key}").partition("conn_cur=")[2]
        return int(line.split()[0]) if line else 0

    def _get(self, path: Path, key: str) -> str | None:
        # Example: type=str, case=sensitive, found=yes, idx=tree, key="ada", value="cell2", ...
        answer = self._ask(f"get map {path} {key}")
        if "found=" not in answer:
            raise SessionbaseError(f"HAProxy at {self._path} has no map {path}: {answer}")
        value = answer.partition('value="')[2].partition('"')[0]
        return value if "found=yes" in answer else None

    def _run(self, command: str) -> None:
        answer = self._ask(command)
        if answer:
            raise SessionbaseError(f"HAProxy at {self._path} refused `{command}`: {answer}")

    def _ask(self, command: str) -> str:
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(10)
                connection.connect(self._path)
                connection.sendall(f"{command}\n".encode())
                return b"".join(iter(lambda: connection.recv(65536), b"")).decode().strip()
        except OSError as error:
            raise SessionbaseError(
                f"HAProxy's socket {self._path} can't be used: {error}"
            ) from error


def main() -> int:
    """Move the profile and return the exit code."""
    options = parse()
    key = quote(options.profile, safe="-_.~")
    proxies = [Proxy(path, options.cells, key) for path in options.socket]
    try:
        return move(options, key, proxies)
    except (SessionbaseError, psycopg.Error, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def parse() -> argparse.Namespace:
    """Return the options. Exits with 2 if they are not complete."""
    about = __doc__ or ""
    parser = argparse.ArgumentParser(
        description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("profile")
    parser.add_argument("source", metavar="FROM")
    parser.add_argument("target", metavar="TO")
    parser.add_argument("--cells", type=Path, required=True)
    parser.add_argument("--socket", action="append", required=True)
    options = parser.parse_args()
    for name in ("FROM_DB_URI", "TO_DB_URI"):
        if not os.environ.get(name):
            parser.error(f"the environment variable {name} is not set")
    return options


def move(options: argparse.Namespace, key: str, proxies: list[Proxy]) -> int:
    """Do all steps. Raises SessionbaseError, psycopg.Error or OSError if it was not moved."""
    profile, source, target = options.profile, options.source, options.target
    old_uri, new_uri = os.environ["FROM_DB_URI"], os.environ["TO_DB_URI"]
    check(proxies, source, target)
    reason = f"moved from {source} to {target}"
    with tempfile.TemporaryDirectory(prefix="sessionbase-move-") as folder:
        file = Path(folder) / "profile.jsonl"
        began = time.monotonic()
        imported = False
        try:
            say("refusing writes")
            edit(options.cells / "moving.map", key, "1")
            each(proxies, Proxy.refuse_writes)
            wait_until_idle(proxies)
            say("copying")
            with file.open("xb") as stream:
                export_profile(old_uri, profile, stream)
            import_profile(new_uri, file, reason)
            imported = True
            say("checking that nothing was written meanwhile")
            plan_erasure(old_uri, profile, read_export(file))
        except BaseException:
            if imported:
                say(f"{target} has a copy of the profile: erase it there before the next try")
            say("not moved: accepting writes again")
            edit(options.cells / "moving.map", key, None)
            each(proxies, Proxy.accept_writes)
            raise
        say(f"switching to {target}")
        try:
            edit(options.cells / "cells.map", key, target)
            each(proxies, lambda proxy: proxy.set_cell(target))
            edit(options.cells / "moving.map", key, None)
            each(proxies, Proxy.accept_writes)
        except (SessionbaseError, OSError, KeyboardInterrupt) as error:
            print(
                f"Error: {str(error) or 'interrupted'}\n"
                f"The profile was copied to {target}. Its writes are refused until every proxy has "
                f"`{key} {target}` in cells.map and no {key} in moving.map. Then erase the profile "
                f"in {source}.",
                file=sys.stderr,
            )
            return 4
        refused = time.monotonic() - began
        say(f"erasing in {source}")
        try:
            erased = erase_profile(old_uri, profile, reason, read_export(file))
        except (SessionbaseError, psycopg.Error, KeyboardInterrupt) as error:
            kept = options.cells / f"{key}.jsonl"
            with new_file(kept, overwrite=True, private=True) as stream, file.open("rb") as copy:
                shutil.copyfileobj(copy, stream)
            print(
                f"Error: the profile is now in {target}, but its old rows in {source} were not "
                f"erased: {str(error) or 'interrupted'}\nCompare them with the export {kept}.",
                file=sys.stderr,
            )
            return 3
    rows = sum(erased.rows.values())
    print(json.dumps({"profile": profile, "rows": rows, "refused_seconds": round(refused, 2)}))
    return 0


def check(proxies: list[Proxy], source: str, target: str) -> None:
    """Raise SessionbaseError if a proxy does not know the cells or the profile is not in FROM."""
    found = {proxy.cell() for proxy in proxies}
    if found != {source}:
        raise SessionbaseError(f"the profile is in {', '.join(sorted(found))}, not in {source}")
    if not all(proxy.has_cell(target) for proxy in proxies):
        raise SessionbaseError(f"HAProxy has no backend {target}", "TO must be the name of one")


def wait_until_idle(proxies: list[Proxy]) -> None:
    """Wait until no write of the profile runs. Raises SessionbaseError after IDLE_SECONDS."""
    end = time.monotonic() + IDLE_SECONDS
    for proxy in proxies:
        # New writes are refused within milliseconds, but they are counted too: one 0 is enough.
        while running := proxy.running_writes():
            if time.monotonic() > end:
                raise SessionbaseError(f"{running} writes of the profile still run")
            time.sleep(0.01)


def edit(path: Path, key: str, value: str | None) -> None:
    """Set or remove a key in the file of a map, for the next start or reload of HAProxy."""
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)  # another profile can be moved at the same time
        lines = path.read_text(encoding="utf-8").splitlines()
        others = [line for line in lines if line.split()[:1] != [key]]
        added = [] if value is None else [f"{key} {value}"]
        draft = path.with_suffix(".new")
        draft.write_text("".join(f"{line}\n" for line in others + added), encoding="utf-8")
        draft.chmod(path.stat().st_mode)
        draft.replace(path)
    finally:
        os.close(folder)


def each(proxies: list[Proxy], change: Callable[[Proxy], None]) -> None:
    """Do the same in every proxy. Raises the first error after all have been tried."""
    errors = []
    for proxy in proxies:
        try:
            change(proxy)
        except SessionbaseError as error:
            errors.append(error)
    if errors:
        raise errors[0]


def say(text: str) -> None:
    """Print a line of progress."""
    print(text, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
