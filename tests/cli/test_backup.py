"""`sessionbase backup` and `sessionbase restore`, on servers that only this module uses.

Roles belong to the whole cluster, so the tests don't use the stack of the run.
"""

import hashlib
import json
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from conftest import Stack, bring_up, free_port, new_data_dir
from sessionbase import state
from sessionbase.backup.programs import choose_programs
from sessionbase.backup.roles import read_state
from sessionbase.backup.toc import select_and_order
from sessionbase.doctor.lints import examine
from sessionbase.errors import SessionbaseError
from sessionbase.migrate.dump import dump_schema
from sessionbase.migrate.locks import LOCK_KEY
from sessionbase.migrate.runner import migrate
from sessionbase.paths import PROJECT_DIR
from sessionbase.stack import manage
from sessionbase.stack.token import make_claims, sign
from support.command import run_main, sessionbase
from support.databases import content, fill, index_order
from support.load import Load
from support.pages import commands
from support.sql_folder import new_database
from support.waiting import wait_for

PUBLISHED = ("todos", "tool_events")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Yield the DBA's URI of a running PostgreSQL that only this module uses."""
    with new_data_dir() as data_dir, manage.new_stack(data_dir) as uri:
        yield uri


@pytest.fixture(scope="module")
def source(server: str) -> str:
    """Return the URI of a database with rows in every table and settings of a DBA."""
    migrate(server)
    fill(server, "p1", "p2")
    execute(
        server,
        "alter role anon set statement_timeout = '3s'",
        'alter role authenticated set search_path = app, "Odd name"',
        "alter role auditor in database sessionbase set work_mem = '8MB'",
        "alter role authenticator connection limit 20 password 'old'",
        "alter role sessionbase_replicator password 'replicator''s password'",
        "create role reports",
        "grant select on app.todos to reports",
        "grant usage on schema app to reports",
        "alter database sessionbase set timezone = 'Europe/Berlin'",
        "grant connect on database sessionbase to auditor",
        "create schema other",
        "create table other.secret (id int)",
        "create publication other for table app.ui_settings",
    )
    done = run_main("replication", "enable", *PUBLISHED, "--db-uri", server)
    assert done.returncode == 0, done.stderr
    return server


@pytest.fixture(scope="module")
def backup(source: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a backup of `source`, with passwords."""
    folder = tmp_path_factory.mktemp("backups") / "backup"
    done = run_main("backup", folder, "--passwords", "--db-uri", source)
    assert done.returncode == 0, done.stderr
    assert "not in the backup: publication other, schema other" in done.stderr
    return folder


@pytest.fixture
def copy(backup: Path, tmp_path: Path) -> Path:
    """Return a copy of the backup, to damage."""
    return shutil.copytree(backup, tmp_path / "copy")


@pytest.fixture
def target(server: str) -> Iterator[str]:
    """Yield the URI of a new, empty database in the cluster of `source`."""
    with new_database(server) as uri:
        yield uri


def execute(uri: str, *statements: str) -> None:
    with psycopg.connect(uri, autocommit=True) as conn:
        for statement in statements:
            conn.execute(statement.encode())


def fetch(uri: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(uri) as conn:
        return conn.execute(query.encode()).fetchall()


def is_untouched(uri: str) -> bool:
    """Return whether a database has no object of sessionbase."""
    found = fetch(
        uri,
        "select from pg_namespace where nspname in ('app', 'api', 'ops')"
        " union all select from pg_publication union all select from pg_default_acl",
    )
    return not found


def write_sums(folder: Path) -> None:
    """Write the checksums again, as somebody who alters a backup can."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    (folder / "SHA256SUMS").write_text(
        "".join(
            f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder)}\n"
            for path in files
            if path.name != "SHA256SUMS"
        )
    )


def change_manifest(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    change(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    write_sums(folder)


@pytest.fixture(scope="module")
def restored(backup: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield the data directory of a new stack with the backup, which runs, and the report."""
    with new_data_dir() as data_dir:
        done = run_main("restore", backup, "--data-dir", data_dir, "--json")
        assert done.returncode == 0, done.stderr + done.stdout
        assert manage.status(data_dir)["pids"]["postgresql"] is None
        bring_up(data_dir)
        yield data_dir, json.loads(done.stdout)


def test_a_new_stack_has_the_rows_of_the_backup(
    source: str, restored: tuple[Path, dict[str, Any]]
) -> None:
    data_dir, report = restored
    before, after = content(source), content(state.read_db_uri(data_dir))
    assert after == before
    assert report["tables"].items() >= {name: len(rows) for name, rows in before.items()}.items()
    assert report["verified"]
    assert (report["audit"]["chains"], report["audit"]["decisions"]) == (2, 6)
    assert (report["doctor"]["errors"], report["doctor"]["new"], report["pending"]) == (0, [], [])


def test_a_new_stack_has_the_definitions_and_rights_of_the_backup(
    source: str, restored: tuple[Path, dict[str, Any]]
) -> None:
    uri = state.read_db_uri(restored[0])
    assert dump_schema(uri) == dump_schema(source)
    defaults = "select defaclrole::regrole, defaclnamespace, defaclacl::text from pg_default_acl"
    assert fetch(uri, defaults) == fetch(source, defaults)
    published = "select pubname, schemaname, tablename from pg_publication_tables order by 1, 2, 3"
    assert fetch(uri, published) == [("sessionbase", "app", name) for name in PUBLISHED]


def test_a_new_stack_has_the_roles_and_settings_of_the_backup(
    source: str, restored: tuple[Path, dict[str, Any]]
) -> None:
    data_dir, report = restored
    with (
        psycopg.connect(source) as before,
        psycopg.connect(state.read_db_uri(data_dir)) as after,
    ):
        assert read_state(after) == read_state(before)
    assert report["created_roles"][-1] == "reports"
    assert (report["differences"], report["missing_members"]) == ([], [])


def test_the_hash_of_a_password_is_restored_and_the_stack_has_its_own_for_postgrest(
    source: str, restored: tuple[Path, dict[str, Any]]
) -> None:
    query = "select rolpassword from pg_authid where rolname = '{}'"
    uri = state.read_db_uri(restored[0])
    for role, is_equal in (("sessionbase_replicator", True), ("authenticator", False)):
        before, after = (fetch(one, query.format(role))[0][0] for one in (source, uri))
        assert before.startswith("SCRAM-SHA-256$")
        assert (before == after) is is_equal


def test_the_primary_key_is_the_newest_index_of_each_restored_table(
    source: str, restored: tuple[Path, dict[str, Any]]
) -> None:
    # docs/decisions/0007: of indexes with the same cost the planner takes the newest.
    uri = state.read_db_uri(restored[0])
    assert index_order(uri) == index_order(source)
    assert all(names[-1].endswith("_pkey") for names in index_order(uri).values())


def test_a_row_of_a_new_profile_is_found_by_the_primary_key_after_a_restore(
    source: str, restored: tuple[Path, dict[str, Any]]
) -> None:
    with psycopg.connect(state.read_db_uri(restored[0])) as conn:
        conn.execute("set enable_seqscan = off")
        for table in ("tool_events", "misalignments", "hookify_decisions"):
            plan = conn.execute(
                f"explain select from app.{table} where profile_id = 'new' and id = 'x'".encode()
            ).fetchall()
            assert f"{table}_pkey" in str(plan), plan


def test_a_new_stack_serves_the_rows_to_its_own_tokens_only(
    restored: tuple[Path, dict[str, Any]], stack: Stack
) -> None:
    new = Stack.of(restored[0])
    claims = make_claims("p1")

    def get(secret: str) -> httpx.Response:
        headers = {"Authorization": f"Bearer {sign(claims, secret)}"}
        return httpx.get(f"{new.rest_url}/tool_events?select=id", headers=headers, trust_env=False)

    assert {row["id"] for row in get(new.jwt_secret).json()} == {"e1", "e2", "E2", "null", "old"}
    assert get(stack.jwt_secret).status_code == 401


def test_a_database_of_the_same_cluster_is_restored_and_its_roles_are_not_changed(
    source: str, backup: Path, target: str
) -> None:
    execute(source, "alter role anon set statement_timeout = '1s'")
    try:
        done = run_main("restore", backup, "--db-uri", target, "--json")
        assert done.returncode == 0, done.stderr + done.stdout
        report = json.loads(done.stdout)
        assert (report["verified"], report["created_roles"]) == (True, [])
        name = conninfo_to_dict(target)["dbname"]
        assert 'alter role "anon" set "statement_timeout" = \'3s\'' in report["differences"]
        assert (
            f'alter role "auditor" in database "{name}" set "work_mem" = \'8MB\''
            in report["differences"]
        )
        assert fetch(target, "select rolconfig from pg_roles where rolname = 'anon'") == [
            (["statement_timeout=1s"],)
        ]
        assert content(target) == content(source)
        assert fetch(target, "show timezone") == [("Europe/Berlin",)]
        assert index_order(target) == index_order(source)
        for statement in report["differences"]:
            execute(target, statement)
        assert run_main("doctor", "--db-uri", target).returncode == 0
    finally:
        execute(source, "alter role anon set statement_timeout = '3s'")


@pytest.mark.parametrize("object_name", ["schema app", "schema ops", "publication sessionbase"])
def test_a_database_that_is_not_empty_is_refused(
    backup: Path, target: str, object_name: str
) -> None:
    execute(target, f"create {object_name}")
    done = run_main("restore", backup, "--db-uri", target)
    assert done.returncode == 1
    assert f"is not empty: it has the {object_name}" in done.stderr
    assert fetch(target, "select count(*) from pg_class where relname = 'todos'") == [(0,)]


def test_a_data_directory_with_a_stack_is_refused(backup: Path, stack: Stack) -> None:
    before = (stack.data_dir / "secrets.json").read_bytes()
    done = run_main("restore", backup, "--data-dir", stack.data_dir)
    # The run's own stack holds no lock: only its files say that it is there.
    assert done.returncode == 1
    assert "has a stack already, and nothing was changed" in done.stderr
    assert (stack.data_dir / "secrets.json").read_bytes() == before
    assert manage.status(stack.data_dir)["running"]


def test_a_folder_with_other_files_is_refused_as_data_directory(
    backup: Path, tmp_path: Path
) -> None:
    own = tmp_path / "own.txt"
    own.write_text("not of a stack")
    done = run_main("restore", backup, "--data-dir", tmp_path)
    assert done.returncode == 1
    assert "has other files already, and nothing was changed" in done.stderr
    assert own.read_text() == "not of a stack"


def _flip(folder: Path) -> None:
    file = max((folder / "dump").iterdir(), key=lambda path: path.stat().st_size)
    changed = bytearray(file.read_bytes())
    changed[len(changed) // 2] ^= 1
    file.write_bytes(changed)


def _change(name: str, old: bytes, new: bytes) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        text = (folder / name).read_bytes()
        assert old in text
        (folder / name).write_bytes(text.replace(old, new, 1))

    return change


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "a changed byte": (_flip, "was changed"),
    "a changed manifest": (
        _change("manifest.json", b'"app.todos": ', b'"app.todos": 1'),
        "changed",
    ),
    "changed roles": (_change("cluster.json", b'"superuser": false', b'"superuser": true'), "ed"),
    "a missing file": (lambda folder: (folder / "dump/toc.dat").unlink(), "missing: ['dump/toc"),
    "an added file": (lambda folder: (folder / "dump/x").touch(), "added: ['dump/x']"),
    "no checksums": (lambda folder: (folder / "SHA256SUMS").unlink(), "not a complete backup"),
    "cut off checksums": (
        lambda folder: (folder / "SHA256SUMS").write_bytes(
            (folder / "SHA256SUMS").read_bytes()[:-20]
        ),
        "is damaged",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_backup_is_refused_before_anything_is_written(
    copy: Path, tmp_path: Path, damage: str
) -> None:
    change, message = DAMAGE[damage]
    change(copy)
    done = run_main("restore", copy, "--data-dir", tmp_path / "new")
    assert done.returncode == 1
    assert message in done.stderr
    assert not (tmp_path / "new").exists()


def test_a_folder_that_exists_is_not_replaced(source: str, backup: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    for folder in (backup, tmp_path / "file", tmp_path / "empty"):
        done = run_main("backup", folder, "--db-uri", source)
        assert done.returncode == 1
        assert f"{folder} exists and was not changed" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "file"]


def test_the_checksums_can_be_verified_with_sha256sum(backup: Path) -> None:
    done = subprocess.run(
        ["sha256sum", "--check", "--strict", "SHA256SUMS"],
        cwd=backup,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def start(*arguments: object) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "sessionbase", *map(str, arguments)]
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    )


def wait_for_lock(uri: str, program: str) -> None:
    """Wait until a session of `program` waits for a lock."""
    query = (
        "select from pg_stat_activity where wait_event_type = 'Lock'"
        f" and application_name = '{program}'"
    )
    wait_for(lambda: fetch(uri, query), f"{program} has not waited for a lock")


@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGINT])
def test_a_backup_that_is_interrupted_is_not_a_backup(
    source: str, tmp_path: Path, stop: signal.Signals
) -> None:
    with psycopg.connect(source) as locker:
        locker.execute("lock table app.todos in access exclusive mode")
        process = start("backup", tmp_path / "backup", "--db-uri", source)
        wait_for_lock(source, "pg_dump")
        # A migration must not change functions while pg_dump reads them.
        assert locker.execute("select pg_try_advisory_lock(%s)", (LOCK_KEY,)).fetchone() == (False,)
        process.send_signal(stop)
        process.communicate(timeout=60)
    assert process.returncode == {signal.SIGKILL: -9, signal.SIGINT: 130}[stop]
    assert not (tmp_path / "backup").exists()
    left = list(tmp_path.iterdir())
    assert len(left) == (1 if stop == signal.SIGKILL else 0)
    for draft in left:
        done = run_main("restore", draft, "--data-dir", tmp_path / "new")
        assert (done.returncode, "not a complete backup" in done.stderr) == (1, True)


def test_a_restore_that_is_killed_changes_nothing(source: str, backup: Path, target: str) -> None:
    with psycopg.connect(target) as locker:
        # `create publication` is one of the last statements of a restore.
        locker.execute("lock table pg_catalog.pg_publication in share mode")
        process = start("restore", backup, "--db-uri", target)
        wait_for_lock(target, "psql")
        process.kill()
        process.communicate(timeout=60)
    query = "select from pg_stat_activity where application_name = 'psql'"
    wait_for(lambda: not fetch(target, query), "psql still runs")
    assert is_untouched(target)
    assert run_main("restore", backup, "--db-uri", target).returncode == 0


def test_a_restore_that_fails_changes_nothing(copy: Path, target: str, tmp_path: Path) -> None:
    def add_a_row(manifest: dict[str, Any]) -> None:
        manifest["tables"]["app.todos"] += 1

    change_manifest(copy, add_a_row)
    done = run_main("restore", copy, "--db-uri", target)
    assert done.returncode == 1
    assert "app.todos has 4 rows, and the backup has 5 of it" in done.stderr
    assert is_untouched(target)
    done = run_main("restore", copy, "--data-dir", tmp_path / "new")
    assert done.returncode == 1
    assert not (tmp_path / "new").exists()


def test_a_new_stack_whose_restore_was_interrupted_is_not_started_and_can_be_deleted(
    backup: Path, data_dir: Path
) -> None:
    data_dir.mkdir()
    (data_dir / manage.RESTORING).touch()
    for command in (["up"], ["restore", backup]):
        done = run_main(*command, "--data-dir", data_dir)
        assert done.returncode == 1
        assert f"a restore into {data_dir} was interrupted" in done.stderr
    assert run_main("down", "--delete-data", "--yes", "--data-dir", data_dir).returncode == 0
    assert not data_dir.exists()


def test_a_backup_of_a_newer_server_or_a_newer_sessionbase_is_refused(
    copy: Path, target: str
) -> None:
    change_manifest(copy, lambda manifest: manifest.update(server_major=99))
    done = run_main("restore", copy, "--db-uri", target)
    assert done.returncode == 1
    assert "older than the one of the backup" in done.stderr
    change_manifest(copy, lambda manifest: manifest["migrations"].append("0099_later"))
    done = run_main("restore", copy, "--db-uri", target)
    assert done.returncode == 1
    assert "it has the migrations 0099_later" in done.stderr
    assert is_untouched(target)


def test_programs_that_are_older_than_the_server_are_refused() -> None:
    with pytest.raises(SessionbaseError, match="must be at least as new as the server") as refused:
        choose_programs(99, "the server")
    assert "SESSIONBASE_POSTGRES_BIN names the bin folder" in str(refused.value)


def test_a_missing_role_of_others_must_exist_in_the_cluster_of_another_database(
    copy: Path, target: str
) -> None:
    change_manifest(copy, lambda manifest: manifest["other_roles"].append("No such role"))
    done = run_main("restore", copy, "--db-uri", target)
    assert done.returncode == 1
    assert 'a DBA runs: create role "No such role"' in done.stderr
    assert is_untouched(target)


@pytest.fixture
def member(source: str) -> Iterator[str]:
    """Yield the URI of a login that is a member of sessionbase_owner, and no superuser."""
    execute(
        source,
        "create role dba login createrole password 'dba'",
        "grant sessionbase_owner to dba",
    )
    yield make_conninfo(source, user="dba", password="dba")
    execute(source, "drop owned by dba", "drop role dba")


def test_a_login_that_is_no_superuser_backs_up_and_restores_all_rows(
    source: str, member: str, tmp_path: Path
) -> None:
    done = run_main("backup", tmp_path / "backup", "--jobs", 2, "--db-uri", member)
    assert done.returncode == 0, done.stderr
    with new_database(source) as uri:
        name = str(conninfo_to_dict(uri)["dbname"])
        execute(uri, f"alter database {name} owner to dba")
        done = run_main(
            "restore", tmp_path / "backup", "--db-uri", make_conninfo(member, dbname=name)
        )
        assert done.returncode == 0, done.stderr + done.stdout
        assert content(uri) == content(source)
        assert dump_schema(uri) == dump_schema(source)
        execute(uri, f"alter database {name} owner to postgres")


def test_a_login_that_must_not_read_everything_gets_no_backup(
    source: str, member: str, tmp_path: Path
) -> None:
    refused = [
        run_main("backup", tmp_path / "backup", "--passwords", "--db-uri", member),
    ]
    execute(source, "revoke sessionbase_owner from dba")
    refused.append(run_main("backup", tmp_path / "backup", "--db-uri", member))
    assert [done.returncode for done in refused] == [1, 1]
    assert "only a superuser may read the hashes" in refused[0].stderr
    assert "this login may not become sessionbase_owner" in refused[1].stderr
    assert list(tmp_path.iterdir()) == []


def test_a_table_whose_rows_are_hidden_by_a_policy_is_not_backed_up_without_them(
    source: str, member: str, tmp_path: Path
) -> None:
    # The owner is subject to the policies of such a table: it would see no rows at all.
    execute(source, "alter table app.todos force row level security")
    try:
        done = run_main("backup", tmp_path / "backup", "--db-uri", member)
        assert done.returncode == 1
        assert 'affected by row-level security policy for table "todos"' in done.stderr
        assert "a superuser makes the backup" in done.stderr
        assert list(tmp_path.iterdir()) == []
        done = run_main("backup", tmp_path / "backup", "--db-uri", source, "--json")
        assert json.loads(done.stdout)["manifest"]["tables"]["app.todos"] == 4
    finally:
        execute(source, "alter table app.todos no force row level security")


def test_a_backup_of_a_database_that_is_not_up_to_date_is_restored_as_it_was(
    source: str, target: str, tmp_path: Path
) -> None:
    with new_database(source, "sessionbase") as uri:
        execute(uri, "update ops.repeatable_files set sha256 = repeat('0', 64)")
        assert run_main("backup", tmp_path / "backup", "--db-uri", uri).returncode == 0
    done = run_main("restore", tmp_path / "backup", "--db-uri", target)
    assert done.returncode == 0, done.stderr
    assert "doctor was not run" in done.stdout
    migrate(target)
    assert examine(target).count("error") == 0


def test_errors_that_doctor_or_the_chains_show_after_a_restore_are_reported(
    source: str, target: str, tmp_path: Path
) -> None:
    with new_database(source, "sessionbase") as uri:
        execute(
            uri,
            "set session_replication_role = replica;"
            " update app.hookify_decisions set blocked = not blocked where position = 2;"
            " alter table app.todos disable row level security",
        )
        assert run_main("backup", tmp_path / "backup", "--db-uri", uri).returncode == 0
    done = run_main("restore", tmp_path / "backup", "--db-uri", target, "--json")
    report = json.loads(done.stdout)
    assert (done.returncode, report["verified"]) == (1, False)
    # The backed up database had the error too.
    assert (report["doctor"]["errors"] > 0, report["doctor"]["new"]) == (True, [])
    assert [problem["position"] for problem in report["audit"]["problems"]] == [2, 2]


def test_a_backup_under_load_has_the_rows_of_one_moment(
    stack: Stack, token_for: Callable[..., str], profile: str, tmp_path: Path, target: str
) -> None:
    with Load(stack.rest_url, token_for(profile)) as load:
        load.wait_for(20)
        started = load.now()
        done = run_main("backup", tmp_path / "backup", "--jobs", 2, "--db-uri", stack.db_uri)
        since = load.now()
        load.wait_for(20, since)
    assert done.returncode == 0, done.stderr
    assert load.counts().keys() == {201}
    # The counts of the manifest are compared with the rows before the restore commits. The exit
    # code can be 1: other tests break chains of this database on purpose.
    done = run_main("restore", tmp_path / "backup", "--db-uri", target)
    assert "\nrestored: tables: " in f"\n{done.stdout}", done.stderr
    rows = fetch(target, f"select id::text from app.todos where profile_id = '{profile}'")
    restored = {row[0] for row in rows}
    before = {answer.id for answer in load.answers if answer.started + answer.seconds < started}
    assert before <= restored <= load.acknowledged()


def test_the_commands_of_the_page_work(source: str, data_dir: Path, tmp_path: Path) -> None:
    (back_up,) = commands("backup.md", "Back up")
    into_a_stack, into_a_database = commands("backup.md", "Restore")
    name = f"try_{uuid.uuid4().hex}"
    environment = {
        "PATH": f"{choose_programs(15, 'any').folder}:/usr/bin:/bin",
        "LC_ALL": "C.UTF-8",
        # `restore --data-dir` must not write to this database.
        "SESSIONBASE_DB_URI": source,
        "BACKUP": str(tmp_path / "backup"),
        "NEW": str(data_dir),
        "PORT": str(free_port()),
        "ADMIN_PORT": str(free_port()),
        "ADMIN_URI": source,
        "DATABASE": name,
        "TARGET_URI": make_conninfo(source, dbname=name),
    }
    try:
        done = subprocess.run(
            ["bash", "-eu", "-c", back_up + into_a_stack + into_a_database],
            env=environment,
            cwd=PROJECT_DIR,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"correct docs/backup.md: {done.stderr}"
        assert manage.status(data_dir)["running"]
        assert content(environment["TARGET_URI"]) == content(source)
    finally:
        execute(source, f"drop database if exists {name} with (force)")


def test_only_one_target_is_accepted(backup: Path, tmp_path: Path) -> None:
    done = run_main("restore", backup, "--db-uri", "postgresql://x", "--data-dir", tmp_path / "new")
    assert done.returncode == 2
    assert "can't be given together" in done.stderr


def test_only_entries_of_sessionbase_are_restored_and_indexes_in_the_order_of_their_oids() -> None:
    listing = """\
; Archive created at 2026-11-24
7; 2615 10 SCHEMA - app sessionbase_owner
8; 2615 11 SCHEMA - apple sessionbase_owner
9; 0 0 ACL - SCHEMA app sessionbase_owner
10; 1259 20 TABLE app todos sessionbase_owner
11; 1259 21 TABLE other todos sessionbase_owner
12; 0 20 TABLE DATA app todos sessionbase_owner
13; 2606 32 CONSTRAINT app todos todos_pkey sessionbase_owner
14; 1259 31 INDEX app todos_by_time sessionbase_owner
15; 2606 33 FK CONSTRAINT app todos x sessionbase_owner
16; 6104 40 PUBLICATION - sessionbase sessionbase_owner
17; 6104 41 PUBLICATION - other postgres
18; 6106 42 PUBLICATION TABLE app sessionbase todos sessionbase_owner
19; 6106 43 PUBLICATION TABLE app other todos postgres
20; 826 50 DEFAULT ACL - DEFAULT PRIVILEGES FOR FUNCTIONS sessionbase_owner
21; 826 51 DEFAULT ACL - DEFAULT PRIVILEGES FOR TABLES postgres
22; 3079 60 EXTENSION - citext
"""
    numbers = [int(line.split(";")[0]) for line in select_and_order(listing).splitlines()]
    assert numbers == [7, 9, 10, 12, 14, 13, 15, 16, 18, 20]


def test_help_has_an_example_and_a_missing_folder_is_a_usage_error() -> None:
    for name in ("backup", "restore"):
        done = sessionbase(name, "--help")
        assert f"Example: sessionbase {name} " in done.stdout.replace(".venv/bin/", "")
        assert run_main(name).returncode == 2
