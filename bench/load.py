"""Send prepared HTTP requests over persistent connections and measure them.

The client runs on the same machine as the servers, so it does little work: the requests are
prepared bytes, and of a response only the status and the length are read.
"""

import itertools
import multiprocessing
import socket
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier, Event


@dataclass(frozen=True)
class Measured:
    """One run of requests: requests per second, and the latency of each in seconds."""

    per_second: float
    latencies: list[float]


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value below which `share` (0 to 1) of the values lie."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def request(
    method: str, path: str, token: str, body: bytes | None = None, prefer: str | None = None
) -> bytes:
    """Return the bytes of an HTTP/1.1 request on a persistent connection."""
    head = [
        f"{method} {path} HTTP/1.1",
        "Host: 127.0.0.1",
        f"Authorization: Bearer {token}",
    ]
    if prefer:
        head.append(f"Prefer: {prefer}")
    if body is not None:
        head += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*head, "", ""]).encode() + (body or b"")


def run(port: int, requests: Sequence[bytes], clients: int) -> Measured:
    """Send the requests from `clients` processes, each on one connection, one after the other.

    Raises RuntimeError at the first response that is not 2xx.
    """
    context = multiprocessing.get_context("fork")
    start = context.Barrier(clients + 1)
    results: SimpleQueue[str | list[float]] = context.SimpleQueue()
    workers = [
        context.Process(target=_client, args=(port, requests[number::clients], start, results))
        for number in range(clients)
    ]
    for worker in workers:
        worker.start()
    start.wait()
    began = time.perf_counter()
    answers = [results.get() for _ in workers]
    took = time.perf_counter() - began
    for worker in workers:
        worker.join()
    latencies: list[float] = []
    for answer in answers:
        if isinstance(answer, str):
            raise RuntimeError(answer)
        latencies += answer
    return Measured(len(latencies) / took, latencies)


@contextmanager
def run_until(
    port: int, requests: Sequence[bytes], clients: int, stop: Event, results: list[list[float]]
) -> Iterator[None]:
    """Send the requests again and again during the `with` block, from `clients` processes.

    At its end sets `stop`, and adds the latencies of each process in seconds to `results`. Raises
    RuntimeError if a response was not 2xx.
    """
    context = multiprocessing.get_context("fork")
    start = context.Barrier(clients + 1)
    queue: SimpleQueue[str | list[float]] = context.SimpleQueue()
    workers = []
    for number in range(clients):
        own = _while_not(stop, itertools.cycle(requests[number::clients]))
        workers.append(context.Process(target=_client, args=(port, own, start, queue)))
    for worker in workers:
        worker.start()
    start.wait()
    try:
        yield
    finally:
        stop.set()
        answers = [queue.get() for _ in workers]
        for worker in workers:
            worker.join()
    for answer in answers:
        if isinstance(answer, str):
            raise RuntimeError(answer)
        results.append(answer)


def _while_not(stop: Event, requests: Iterator[bytes]) -> Iterator[bytes]:
    return itertools.takewhile(lambda _: not stop.is_set(), requests)


def _client(
    port: int,
    requests: Iterable[bytes],
    start: Barrier,
    results: SimpleQueue[str | list[float]],
) -> None:
    latencies: list[float] = []
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        start.wait()
        for data in requests:
            began = time.perf_counter()
            connection.sendall(data)
            answer = _read(connection)
            latencies.append(time.perf_counter() - began)
            if not answer.startswith(b"HTTP/1.1 2"):
                results.put(f"{data[:200]!r} got the response {answer[:600]!r}")
                return
    results.put(latencies)


def _read(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    lowered = head.lower()
    if b"transfer-encoding: chunked" in lowered:
        while not data.endswith(b"\r\n0\r\n\r\n"):
            data += connection.recv(65536)
    elif b"content-length: " in lowered:
        length = int(lowered.split(b"content-length: ")[1].split(b"\r\n")[0])
        while len(body) < length:
            body += connection.recv(65536)
    return data
