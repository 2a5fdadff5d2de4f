"""Clients that call every endpoint of a table and check each response: for tests of migrations."""

import random
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

import httpx

from sessionbase.stack.token import make_claims, sign


class Client:
    """One client in one thread, for one profile that no other client uses."""

    def __init__(self, http: httpx.Client, profile: str) -> None:
        self.profile = profile
        self.rows: dict[str, Any] = {}
        """What must be stored, by id. The client's steps write it after each acknowledged write."""
        self.random = random.Random(profile)
        self.requests = 0
        self.rounds = 0
        """How often it has done all its steps."""
        self.failures: list[str] = []
        self.slowest = 0.0
        """The longest time of a request, in seconds."""
        self._http = http

    def send(self, method: str, path: str, body: Any = None) -> Any:
        """Send a request and return the JSON of its response.

        Raises AssertionError with the response if it is not a success.
        """
        answer = self._request(method, path, body)
        assert answer.is_success, f"{path}: {answer.status_code}: {answer.text}"
        return answer.json()

    def send_refused(self, path: str, body: Any, code: str) -> None:
        """Send a POST; raises AssertionError unless it is refused with this code."""
        answer = self._request("POST", path, body)
        assert not answer.is_success, f"{path} was not refused: {answer.text}"
        assert answer.json()["code"] == code, f"{path}: {answer.status_code}: {answer.text}"

    def _request(self, method: str, path: str, body: Any) -> httpx.Response:
        started = time.monotonic()
        headers = {"Prefer": "return=representation"}
        answer = self._http.request(method, path, json=body, headers=headers)
        self.slowest = max(self.slowest, time.monotonic() - started)
        self.requests += 1
        return answer

    def pick(self, count: int) -> list[str]:
        """Return the ids of some of its rows."""
        return self.random.sample(list(self.rows), count)


Step = Callable[[Client], None]
"""Sends requests as one client and checks the responses; an AssertionError is a failed request."""


class Group:
    """Clients that repeat the same steps until `stop`, each with a pause of 30 ms after them.

    The pause leaves processor time to the test, which runs in the same process.
    """

    def __init__(self, rest_url: str, secret: str, steps: Step, profiles: list[str]) -> None:
        self.clients: list[Client] = []
        self.stopped = False
        self._stop = threading.Event()
        self._threads = []
        for profile in profiles:
            token = sign(make_claims(profile), secret)
            http = httpx.Client(
                base_url=rest_url,
                headers={"Authorization": f"Bearer {token}"},
                timeout=30,
                trust_env=False,
                verify=False,
            )
            client = Client(http, profile)
            self.clients.append(client)
            self._threads.append(
                threading.Thread(target=self._run, args=(http, client, steps), name=profile)
            )
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End the clients, each after its running steps."""
        self.stopped = True
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self, http: httpx.Client, client: Client, steps: Step) -> None:
        with http:
            while not self._stop.is_set():
                try:
                    steps(client)
                except (AssertionError, httpx.HTTPError) as error:
                    client.failures.append(f"{client.profile}: {type(error).__name__}: {error}")
                client.rounds += 1
                time.sleep(0.03)


class Traffic:
    """Groups of clients, which end with the `with` block."""

    def __init__(self, rest_url: str, jwt_secret: str) -> None:
        self._rest_url, self._secret = rest_url, jwt_secret
        self.groups: list[Group] = []

    def __enter__(self) -> "Traffic":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self, steps: Step, profiles: list[str]) -> Group:
        """Start one client for each profile."""
        group = Group(self._rest_url, self._secret, steps, profiles)
        self.groups.append(group)
        return group

    def wait_for_rounds(self, count: int) -> None:
        """Wait until each client that is not stopped has done all its steps so many times.

        Steps that had begun before do not count.
        """
        running = [client for group in self.groups if not group.stopped for client in group.clients]
        wanted = [(client, client.rounds + count + 1) for client in running]
        end = time.monotonic() + 120
        while any(client.rounds < rounds for client, rounds in wanted):
            assert time.monotonic() < end, f"the clients are too slow: {self.failures}"
            time.sleep(0.01)

    def stop(self) -> None:
        """End all clients."""
        for group in self.groups:
            group.stop()

    @property
    def clients(self) -> list[Client]:
        """The clients of all groups."""
        return [client for group in self.groups for client in group.clients]

    @property
    def failures(self) -> list[str]:
        """The failed requests and the wrong responses of all clients."""
        return [failure for client in self.clients for failure in client.failures]

    @property
    def requests(self) -> int:
        """The number of requests that were answered."""
        return sum(client.requests for client in self.clients)

    @property
    def slowest(self) -> float:
        """The longest time of a request, in seconds."""
        return max(client.slowest for client in self.clients)
