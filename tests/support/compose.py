"""The containers of compose.yaml, started from a copy of the checkout by scripts/test-compose."""

import os
import re
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from conftest import free_port
from sessionbase.paths import PROJECT_DIR
from sessionbase.stack.token import make_claims, sign
from sessionbase.state import read_secret
from support.load import Load
from support.pages import code_block


class Project:
    """A copy of the checkout, with its own name, port and images, as a user has it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = f"sessionbase-test-{uuid.uuid4().hex[:8]}"
        self.port = free_port()
        self.image = f"sessionbase-test/sessionbase:{self.name}"
        self.url = f"http://127.0.0.1:{self.port}/api"
        self.env = {
            **os.environ,  # has the images of scripts/test-compose
            "COMPOSE_PROJECT_NAME": self.name,
            "COMPOSE_ANSI": "never",
            "COMPOSE_PROGRESS": "plain",
            "PUBLISH": f"127.0.0.1:{self.port}",
            "SESSIONBASE_IMAGE": self.image,
            # The load comes from one address with one token.
            "PROXY_SOURCE_RATE": "1000000",
            "PROXY_TOKEN_RATE": "1000000",
        }

    def run(self, *command: str, check: bool = True, env: dict[str, str] | None = None) -> str:
        """Run a command in the folder; return its output. The test fails with it."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env={**self.env, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
            check=False,
        )
        if check:
            assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{self.logs()}"
        else:
            assert done.returncode != 0, f"{' '.join(command)} must fail:\n{done.stdout}"
        return done.stdout

    def compose(
        self, *arguments: str, check: bool = True, env: dict[str, str] | None = None
    ) -> str:
        """Run `docker compose`. With check=False it must fail."""
        return self.run("docker", "compose", *arguments, check=check, env=env)

    def logs(self) -> str:
        """Return the last lines of all containers."""
        command = ["docker", "compose", "logs", "--no-color", "--tail", "15"]
        done = subprocess.run(
            command, cwd=self.folder, env=self.env, capture_output=True, text=True, check=False
        )
        return done.stdout

    def page(self, heading: str, number: int = 0) -> str:
        """Run a shell block of a section of docs/containers.md; `number` counts from 0."""
        script = code_block("containers.md", heading, "sh", number)
        script = re.sub(r"^API=.*$", f"API={self.url}", script, flags=re.MULTILINE)
        script = script.replace("sessionbase:0.1.0", self.env["SESSIONBASE_IMAGE"])
        return self.run("bash", "-euo", "pipefail", "-c", script)

    def containers(self, service: str, *, every: bool = False) -> list[str]:
        """Return the ids of the containers of a service; with `every` also of those not running."""
        options = ["--all"] if every else []
        return self.compose("ps", "--quiet", *options, service).split()

    def inspect(self, container: str, form: str) -> str:
        """Return a value of a container, written as a Go template."""
        return self.run("docker", "inspect", "--format", form, container).strip()

    def state(self, service: str) -> str:
        """Return `running`, `exited`, `created` ..., or `none` if there is no container."""
        found = self.containers(service, every=True)
        return self.inspect(found[0], "{{.State.Status}}") if found else "none"

    def secret(self, name: str) -> str:
        """Return the secret of a file."""
        return read_secret(self.folder / "secrets" / name)

    def token(self, profile: str) -> str:
        """Return a token that is signed with the current JWT secret."""
        return sign(make_claims(profile), self.secret("jwt_secret"))

    def get(self, path: str, token: str | None) -> httpx.Response:
        """Send one GET request through the proxy."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx.get(f"{self.url}{path}", headers=headers, timeout=30, trust_env=False)

    def stored(self, profile: str) -> set[str]:
        """Return the ids of the todos of a profile."""
        answer = self.get("/todos?select=id", self.token(profile))
        assert answer.status_code == 200, answer.text
        return {row["id"] for row in answer.json()}

    def load(self, profile: str) -> Load:
        """Return a load of writes for a profile: use it with `with`."""
        return Load(self.url, self.token(profile))

    def kill(self, container: str) -> None:
        """End the main process of a container by SIGKILL, as the kernel does without memory.

        `docker kill` can't be used: the engine does not restart a container that it stopped.
        """
        pid = self.inspect(container, "{{.State.Pid}}")
        options = ["--rm", "--user=root", "--pid=host", "--network=none"]
        image = "sessionbase-test/debian:bookworm"
        self.run("docker", "run", *options, image, "sh", "-c", f"kill -9 {pid}")

    def wait_until_up(self, seconds: float = 60) -> None:
        """Wait until the proxy is healthy and all PostgREST are ready."""
        self.compose("up", "--detach", "--wait", "--no-deps", "--no-recreate", "proxy")
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.ready_replicas() == len(self.containers("postgrest")):
                return
            time.sleep(0.2)
        raise AssertionError(f"not all PostgREST are ready after {seconds} s\n{self.logs()}")

    def ready_replicas(self) -> int:
        """Return how many PostgREST the proxy uses."""
        request = "printf 'GET /metrics HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3"
        metrics = self.compose(
            "exec", "-T", "proxy", "bash", "-c", f"exec 3<>/dev/tcp/127.0.0.1/8404; {request}"
        )
        found = re.search(r'^haproxy_backend_active_servers{proxy="api"} (\d+)', metrics, re.M)
        assert found, f"the metrics of the proxy do not contain the active servers:\n{metrics}"
        return int(found[1])


def copy_checkout(target: Path) -> None:
    """Copy the files of the checkout that git knows or does not ignore."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=PROJECT_DIR, capture_output=True, check=True, text=True)
    for name in filter(None, names.stdout.split("\0")):
        if (PROJECT_DIR / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(PROJECT_DIR / name, target / name)


@contextmanager
def new_project() -> Iterator[Project]:
    """Yield a new project. All that it made in the engine is deleted at the end."""
    folder = Path(tempfile.mkdtemp(prefix="sessionbase-compose-"))
    copy_checkout(folder)
    project = Project(folder)
    try:
        yield project
    finally:
        project.compose("--profile=tools", "down", "--volumes", "--remove-orphans", "--timeout=1")
        for image in project.run("docker", "images", "--quiet", f"{project.image}*").split():
            project.run("docker", "rmi", "--force", image)
        shutil.rmtree(folder)
