"""Writes from several threads, with a record of every answer: for tests that stop a server."""

import itertools
import threading
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType

import httpx


@dataclass(frozen=True)
class Answer:
    """One request to store a todo, or of a subclass of Load."""

    id: str
    """The id that the caller gave to the row; of a read it has no meaning."""
    started: float
    """Seconds since the load began."""
    seconds: float
    """How long the request took."""
    status: int | None
    """The HTTP status; None: the connection failed or the request timed out."""
    body: str
    """The text of the answer, or of the error."""

    @property
    def acknowledged(self) -> bool:
        """Return whether the caller knows that the todo is stored; of a read: that it succeeded."""
        return self.status in (200, 201)


class Load:
    """Stores todos with POST /todos from several threads while the `with` block runs.

    A thread sends its next request when it has the answer to the last one. An error ends nothing:
    it is recorded, and the thread pauses for 20 ms. `token` is sent with each request.
    """

    def __init__(self, rest_url: str, token: str, threads: int = 4, timeout: float = 10) -> None:
        self.answers: list[Answer] = []
        self._url, self._timeout = rest_url, timeout
        self._headers = {"Authorization": f"Bearer {token}", "Prefer": "return=minimal"}
        self._stop = threading.Event()
        self._begin = time.monotonic()
        self._threads = [threading.Thread(target=self._run) for _ in range(threads)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def now(self) -> float:
        """Return the seconds since the load began."""
        return time.monotonic() - self._begin

    def wait_for(self, acknowledged: int, since: float = 0, timeout: float = 60) -> None:
        """Wait until so many requests that were started after `since` are acknowledged.

        Raises TimeoutError with the last answer after `timeout` seconds.
        """
        end = time.monotonic() + timeout
        while sum(a.acknowledged and a.started >= since for a in list(self.answers)) < acknowledged:
            if time.monotonic() > end:
                last = self.answers[-1] if self.answers else "none"
                raise TimeoutError(f"there are not {acknowledged} answers yet; the last: {last}")
            time.sleep(0.02)

    def acknowledged(self) -> set[str]:
        """Return the ids of the todos that must be stored."""
        return {answer.id for answer in list(self.answers) if answer.acknowledged}

    def missing(self, stored: Iterable[str]) -> set[str]:
        """Return the acknowledged ids that are not in `stored`: the lost writes."""
        return self.acknowledged() - set(stored)

    def counts(self) -> dict[int | None, int]:
        """Return the number of answers for each status."""
        found: dict[int | None, int] = {}
        for answer in list(self.answers):
            found[answer.status] = found.get(answer.status, 0) + 1
        return found

    def longest_gap(self) -> float:
        """Return the longest time in seconds without any acknowledged write."""
        ends = sorted(a.started + a.seconds for a in list(self.answers) if a.acknowledged)
        times = [0.0, *ends, self.now()]
        return max(later - earlier for earlier, later in itertools.pairwise(times))

    def _run(self) -> None:
        # Each thread has its own client, so that one broken connection is one failed request.
        with httpx.Client(
            base_url=self._url, headers=self._headers, timeout=self._timeout, trust_env=False
        ) as client:
            while not self._stop.is_set():
                self._write(client)

    def _write(self, client: httpx.Client) -> None:
        id_, started = str(uuid.uuid4()), self.now()
        status, body = None, ""
        try:
            answer = self._send(client, id_)
            status, body = answer.status_code, answer.text
        except httpx.HTTPError as error:
            body = f"{type(error).__name__}: {error}"
        found = Answer(id_, started, self.now() - started, status, body)
        self.answers.append(found)
        if not found.acknowledged:
            time.sleep(0.02)

    def _send(self, client: httpx.Client, id_: str) -> httpx.Response:
        """Send one request. A subclass sends others."""
        return client.post("/todos", json={"id": id_, "text": "load"})


class Reads(Load):
    """Reads a list of todos from several threads. `acknowledged` is: answered with 200."""

    def _send(self, client: httpx.Client, id_: str) -> httpx.Response:
        return client.get("/todos?limit=1")


class Decisions(Load):
    """Records decisions, which are a hash chain, from several threads."""

    def _send(self, client: httpx.Client, id_: str) -> httpx.Response:
        decision = {"session_id": "load", "source": "session", "severity": "low", "content": "x"}
        rules = [{"id": "r", "severity": "low"}]
        call = {**decision, "blocked": True, "rules": rules, "id": id_}
        return client.post("/rpc/record_hookify_decision", json=call)
