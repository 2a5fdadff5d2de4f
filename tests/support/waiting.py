"""Waiting for something that happens in another process."""

import time
from collections.abc import Callable


def wait_for(ready: Callable[[], object], problem: str, seconds: float = 30) -> None:
    """Wait until `ready()` is true. After `seconds` the test fails with the text `problem`."""
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, f"after {seconds} s: {problem}"
        time.sleep(0.02)
