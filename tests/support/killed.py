"""Run the migration runner in child processes that kill themselves at a chosen point.

`python -m support.killed` imports the runner once, and forks a child for each line of its stdin: a
JSON object with `uri` and `sql_dir`, the number `at` and the text `how` of the point. It prints one
line of JSON with the exit code of the child and, if it ended by itself, the points that it passed.

A point is a message of the runner to the server: each statement, begin, commit and savepoint. The
kill is before it is sent (`how` is `before`), or after it was sent and before its result arrives
(`sent`).
"""

import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg

from sessionbase.migrate.runner import migrate

_wait = psycopg.Connection.wait
_exec_command = psycopg.Connection._exec_command  # it sends begin and commit


class _Points:
    def __init__(self, at: int, how: str) -> None:
        self.at, self.how = at, how
        self.count = 0
        self.commits: list[int] = []

    def wait(self, conn: Any, message: Any, *arguments: Any, **options: Any) -> Any:
        if threading.current_thread() is threading.main_thread():
            self.count += 1
            if self.count == self.at:
                if self.how == "sent":
                    with suppress(StopIteration):
                        next(message)
                os.kill(os.getpid(), signal.SIGKILL)
        return _wait(conn, message, *arguments, **options)

    def exec_command(self, conn: Any, command: Any, **options: Any) -> Generator[Any, Any, Any]:
        if command == b"COMMIT" and threading.current_thread() is threading.main_thread():
            self.commits.append(self.count)
        return (yield from _exec_command(conn, command, **options))


def _run(order: dict[str, Any], output: int) -> None:
    """Migrate, and write the points to `output`; does not return after the chosen point."""
    points = _Points(order["at"], order["how"])

    def wait(conn: Any, message: Any, *arguments: Any, **options: Any) -> Any:
        return points.wait(conn, message, *arguments, **options)

    def exec_command(conn: Any, command: Any, **options: Any) -> Any:
        return points.exec_command(conn, command, **options)

    psycopg.Connection.wait = wait  # type: ignore[assignment, method-assign]
    psycopg.Connection._exec_command = exec_command  # type: ignore[assignment, method-assign]
    migrate(order["uri"], order["sql_dir"] and Path(order["sql_dir"]))
    os.write(output, json.dumps({"count": points.count, "commits": points.commits}).encode())


def _fork(order: dict[str, Any]) -> dict[str, Any]:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            _run(order, writer)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader) as result:
        text = result.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return {"code": code, **(json.loads(text) if text else {})}


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(_fork(json.loads(line))), flush=True)
