"""compose.yaml on a real container engine. The tests run in this order, on one project."""

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from conftest import COMPOSE_VARIABLE
from support.compose import Project, new_project
from support.load import Load

if COMPOSE_VARIABLE not in os.environ:
    pytest.skip("scripts/test-compose runs it: it makes the images", allow_module_level=True)

full = pytest.mark.skipif(
    "SESSIONBASE_COMPOSE_QUICK" in os.environ, reason="not with scripts/test-compose --quick"
)
SERVERS = ("postgres", "postgrest", "proxy")
Measured = Callable[[str], None]


@pytest.fixture(scope="module")
def project() -> Iterator[Project]:
    with new_project() as made:
        yield made


@pytest.fixture
def measured(capsys: pytest.CaptureFixture[str]) -> Measured:
    """Return a function that prints a line in the output of the run."""

    def show(text: str) -> None:
        with capsys.disabled():
            print(f"\n    {text}", end=" ", flush=True)

    return show


@pytest.fixture(autouse=True)
def _time(measured: Measured) -> Iterator[None]:
    """Print the time of each test."""
    began = time.monotonic()
    yield
    measured(f"{time.monotonic() - began:.1f} s")


@contextmanager
def no_failed_request(project: Project, profile: str, measured: Measured) -> Iterator[Load]:
    """Write while the block runs; every answer must be 201, and every row stored."""
    with project.load(profile) as load:
        load.wait_for(20)
        yield load
        load.wait_for(20, since=load.now())
    failed = [answer for answer in load.answers if not answer.acknowledged]
    assert not failed, (
        f"{len(failed)} of {len(load.answers)} failed: {failed[:3]}\n{project.logs()}"
    )
    assert not load.missing(project.stored(profile))
    measured(
        f"0 of {len(load.answers)} writes failed, "
        f"longest time without an acknowledged write {load.longest_gap():.2f} s"
    )


def answers_of(load: Load) -> str:
    """Return how many answers had which status; 0: there was no answer."""
    answers = ", ".join(f"{count} x {status or 0}" for status, count in load.counts().items())
    return f"{answers}; longest time without an acknowledged write {load.longest_gap():.1f} s"


def test_the_configuration_is_valid(project: Project) -> None:
    # PostgREST ends in a container without a locale if a byte is not ASCII.
    assert (project.folder / "postgrest.conf").read_bytes().isascii()
    project.compose("config", "--quiet")
    project.compose("--env-file", ".env.example", "config", "--quiet")


def test_the_image_is_built_and_runs_alone(project: Project) -> None:
    project.compose("build")
    assert "sessionbase 0.1.0" in project.page("The image")
    image = project.image
    who = ["docker", "run", "--rm", "--network=none", "--entrypoint=id", image, "--user"]
    assert project.run(*who).strip() == "10001"
    files = ["docker", "run", "--rm", "--network=none", "--entrypoint=sh", image, "-c"]
    listing = project.run(*files, "cd /opt/sessionbase/lib/*/site-packages/sessionbase && ls")
    assert {"sql", "postgrest.conf"} <= set(listing.split())


WRONG: dict[str, list[tuple[str | None, str]]] = {
    "postgres_password": [("short\n", "has 5 characters"), ("two\nlines of a password\n", "line")],
    "authenticator_password": [("", "is empty"), (None, "contain the same password")],
    "jwt_secret": [
        ("only 13 bytes\n", "has a key of 13 bytes"),
        ('{"keys": []}\n', "is not a JSON Web Key or key set"),
    ],
}


@pytest.fixture
def wrong_secrets(project: Project, tmp_path: Path) -> Path:
    """Return a folder with three valid secrets, which the next `up` uses."""
    folder = tmp_path / "secrets"
    folder.mkdir(mode=0o700)
    project.compose(
        *("run", "--rm", "sessionbase", "secrets", "generate", "/secrets"),
        env={"SECRETS_DIR": str(folder)},
    )
    return folder


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_secret_is_refused_before_anything_starts(
    project: Project, wrong_secrets: Path, name: str
) -> None:
    folder = {"SECRETS_DIR": str(wrong_secrets)}
    for content, message in WRONG[name]:
        if content is None:
            shutil.copy(wrong_secrets / "postgres_password", wrong_secrets / name)
        else:
            (wrong_secrets / name).write_text(content)
        project.compose("up", "--detach", check=False, env=folder)
        logs = project.compose("logs", "--no-log-prefix", "check-secrets", env=folder)
        assert message in logs.splitlines()[-1]
        assert [project.state(service) for service in SERVERS] == ["created"] * 3
        project.compose("down", env=folder)
    (wrong_secrets / name).unlink()
    output = project.compose("up", "--detach", check=False, env=folder)
    assert "bind source path does not exist" in output
    assert name in output
    assert {project.state(service) for service in SERVERS} <= {"none", "created"}
    project.compose("down", "--volumes", env=folder)


def test_up_from_nothing_serves_requests_with_a_token(project: Project) -> None:
    project.page("Start", 0)
    assert "Read docs/containers.md" in project.page("Start", 1)
    assert project.get("/todos", None).status_code == 401
    assert project.get("/todos", "not.a.token").status_code == 401
    answer = project.get("/todos?select=text", project.token("alice"))
    assert (answer.status_code, answer.json()) == (200, [{"text": "Read docs/containers.md"}])
    assert project.get("/todos", project.token("bob")).json() == []
    project.wait_until_up()


def test_the_secrets_have_mode_600_and_belong_to_the_owner_of_the_folder(project: Project) -> None:
    folder = project.folder / "secrets"
    for path in folder.iterdir():
        assert (path.stat().st_mode & 0o777, path.stat().st_uid) == (0o600, folder.stat().st_uid)


def test_the_cluster_has_checksums_utf8_and_asks_every_login_for_a_password(
    project: Project,
) -> None:
    query = (
        "select current_setting('data_checksums'), current_setting('server_encoding'),"
        " (select string_agg(distinct auth_method, ' ') from pg_hba_file_rules)"
    )
    exec_psql = ["exec", "-T", "--env", "PGPASSWORD", "postgres", "psql", "--username=postgres"]
    password = {"PGPASSWORD": project.secret("postgres_password")}
    answer = project.compose(*exec_psql, "--dbname=sessionbase", "-Atc", query, env=password)
    assert answer.strip() == "on|UTF8|scram-sha-256"


def test_doctor_finds_nothing_wrong(project: Project) -> None:
    project.compose("run", "--rm", "sessionbase", "doctor")


def test_a_migration_can_be_planned_and_rehearsed_in_a_container(project: Project) -> None:
    assert "nothing to do: the database is up to date" in project.page("Plan a migration", 0)
    assert "Rehearsal on PostgreSQL " in project.page("Plan a migration", 1)
    file = project.folder / "due.sql"
    file.write_text("alter table app.todos add column due date;\nselect 1 / 0;\n")
    output = project.compose(
        *("run", "--rm", "--user=10001", "--env=PGPASSWORD", "--env=SESSIONBASE_DB_PASSWORD_FILE="),
        *(f"--volume={file}:/due.sql:ro", "sessionbase"),
        *("migrate", "plan", "--rehearse", "--sample=10", "/due.sql"),
        env={"PGPASSWORD": project.secret("postgres_password")},
        check=False,
    )
    assert "rows copied: " in output
    assert "FAILED: /due.sql, line 2: division by zero" in output


def test_no_container_has_a_secret_in_its_configuration_or_privileges_it_does_not_need(
    project: Project,
) -> None:
    services = project.compose("config", "--services").split()
    assert len(services) == 6
    secrets = [project.secret(path.name) for path in (project.folder / "secrets").iterdir()]
    for service in services:
        for container in project.containers(service, every=True):
            text = project.run("docker", "inspect", container)
            assert not [secret for secret in secrets if secret in text], service
            found = json.loads(text)[0]["HostConfig"]
            assert found["Memory"] > 0, f"{service} has no memory limit"
            assert found["LogConfig"]["Config"]["max-size"], f"the log of {service} has no limit"
            assert found["CapDrop"] == ["ALL"]
            assert any(option.startswith("no-new-privileges") for option in found["SecurityOpt"])
    ports = [
        binding
        for service in SERVERS
        for container in project.containers(service)
        for binding in json.loads(project.inspect(container, "{{json .HostConfig.PortBindings}}"))
    ]
    assert ports == ["8080/tcp"], "only the proxy is published"


def test_a_second_up_changes_no_server(project: Project) -> None:
    def servers() -> list[str]:
        ids = [container for service in SERVERS for container in project.containers(service)]
        return [project.inspect(one, "{{.Id}} {{.State.StartedAt}}") for one in ids]

    before = servers()
    project.compose("up", "--detach", "--wait")
    assert servers() == before
    assert "nothing to do" in project.compose("logs", "--no-log-prefix", "--tail=1", "migrate")


def test_a_row_survives_down_and_up(project: Project) -> None:
    before = project.stored("alice")
    assert before
    project.compose("down")
    project.compose("up", "--detach", "--wait")
    project.wait_until_up()
    assert project.stored("alice") == before


@full
def test_an_upgrade_applies_the_new_migration_and_no_request_fails(
    project: Project, measured: Measured
) -> None:
    folder = project.folder / "sql" / "migrations"
    number = 1 + max(int(path.name[:4]) for path in folder.glob("[0-9]*.sql"))
    new = folder / f"{number:04}_upgrade_of_test_compose.sql"
    new.write_text("alter table app.todos add column upgraded boolean not null default true;\n")
    servers = [project.containers(service) for service in SERVERS]
    project.env["SESSIONBASE_IMAGE"] = f"{project.image}-next"
    with no_failed_request(project, "upgrade", measured):
        project.page("Upgrade")
    assert [project.containers(service) for service in SERVERS] == servers
    status = project.compose("run", "--rm", "sessionbase", "migrate", "status")
    assert new.name in status
    assert "pending" not in status
    old = {"SESSIONBASE_IMAGE": project.image}
    assert "newer" in project.compose(
        *("run", "--rm", "--no-deps", "migrate"), check=False, env=old
    )


@full
@pytest.mark.parametrize("service", ["postgres", "postgrest", "proxy"])
def test_no_acknowledged_write_is_lost_when_a_process_is_killed(
    project: Project, service: str, measured: Measured
) -> None:
    profile = f"kill-{service}"
    for container in project.containers(service):
        with project.load(profile) as load:
            load.wait_for(50)
            project.kill(container)
            load.wait_for(50, since=load.now(), timeout=120)
        assert not load.missing(project.stored(profile)), "an acknowledged write was lost"
        assert int(project.inspect(container, "{{.RestartCount}}")) >= 1
        measured(answers_of(load))
        project.wait_until_up()


@full
def test_replicas_can_be_added_without_a_failed_request_and_removed_without_a_lost_write(
    project: Project, measured: Measured
) -> None:
    with no_failed_request(project, "scale", measured):
        project.page("More or fewer PostgREST")
        project.wait_until_up()
        assert project.ready_replicas() == 3
    # PostgREST 12 ends at SIGTERM without an answer to the requests that it has at that moment.
    with project.load("scale-2") as load:
        load.wait_for(20)
        project.compose("up", "--detach", "--scale", "postgrest=2", "--no-recreate")
        load.wait_for(20, since=load.now())
    measured(answers_of(load))
    assert set(load.counts()) <= {201, 502}
    assert not load.missing(project.stored("scale-2"))
    project.wait_until_up()
    assert project.ready_replicas() == 2


def login(project: Project, user: str, password: str, *, works: bool) -> None:
    """Log in to the database with a password."""
    exec_psql = ["exec", "-T", "--env", "PGPASSWORD", "postgres", "psql", f"--username={user}"]
    command = [*exec_psql, "--dbname=sessionbase", "--command=select 1"]
    output = project.compose(*command, check=works, env={"PGPASSWORD": password})
    assert works or "password authentication failed" in output


@full
def test_the_password_of_postgrest_is_rotated_without_a_failed_request(
    project: Project, measured: Measured
) -> None:
    old = project.secret("authenticator_password")
    with no_failed_request(project, "rotate-authenticator", measured):
        project.page("The password of PostgREST's login")
    login(project, "authenticator", old, works=False)
    login(project, "authenticator", project.secret("authenticator_password"), works=True)
    for container in project.containers("postgrest"):  # with new connections
        project.run("docker", "restart", container)
    project.wait_until_up()


@full
def test_a_password_may_contain_any_character(project: Project, measured: Measured) -> None:
    path = project.folder / "secrets" / "authenticator_password"
    path.write_text(f"\\:@/?#%'\"$ {{}}äé \\\\ {project.secret('jwt_secret')[:8]}\n")
    with no_failed_request(project, "strange", measured):
        project.compose("up", "--detach")
    for container in project.containers("postgrest"):  # with new connections
        project.run("docker", "restart", container)
    project.wait_until_up()
    login(project, "authenticator", project.secret("authenticator_password"), works=True)


@full
def test_the_jwt_secret_is_rotated_with_two_valid_keys(
    project: Project, measured: Measured
) -> None:
    def statuses(token: str) -> set[int]:
        return {project.get("/todos", token).status_code for _ in range(10)}  # of both replicas

    old = project.token("rotate-jwt")
    with no_failed_request(project, "rotate-jwt", measured):
        project.page("The JWT secret", 0)
        new = project.token("rotate-jwt")
        assert (statuses(old), statuses(new)) == ({200}, {200})
    with no_failed_request(project, "rotate-jwt-new", measured):
        project.page("The JWT secret", 1)
        assert (statuses(old), statuses(new)) == ({401}, {200})


@full
def test_a_changed_file_alone_stops_no_server_and_the_message_says_what_to_do(
    project: Project, measured: Measured
) -> None:
    path = project.folder / "secrets" / "postgres_password"
    old = path.read_text()
    path.write_text("another password for postgres\n")
    with no_failed_request(project, "changed-file", measured):
        project.compose("up", "--detach", check=False)
        log = project.compose("logs", "--no-log-prefix", "--tail=1", "migrate")
        assert "the role has another password than /run/secrets/postgres_password" in log
        assert "docs/containers.md" in log
    path.write_text(old)
    project.compose("up", "--detach", "--wait")


@full
def test_the_password_of_the_superuser_is_rotated_without_a_failed_request(
    project: Project, measured: Measured
) -> None:
    old = project.secret("postgres_password")
    with no_failed_request(project, "rotate-postgres", measured):
        project.page("The password of the superuser")
    login(project, "postgres", old, works=False)
    login(project, "postgres", project.secret("postgres_password"), works=True)


def test_down_with_volumes_deletes_everything(project: Project) -> None:
    project.compose("down", "--volumes")
    label = f"label=com.docker.compose.project={project.name}"
    for kind in ("container", "volume", "network"):
        every = ["--all"] if kind == "container" else []
        assert project.run("docker", kind, "ls", *every, "--quiet", "--filter", label) == ""
