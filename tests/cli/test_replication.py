"""`sessionbase replication`, with replication connections to a stack that only this module uses.

The role sessionbase_replicator and pg_hba.conf belong to the whole cluster, so the tests don't use
the stack of the run.
"""

import json
import os
import re
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from conftest import bring_up
from sessionbase import state
from sessionbase.doctor.authority import read_authority
from sessionbase.doctor.lints import Row
from sessionbase.replication.tables import pg_hba_lines, read_status
from sessionbase.stack import manage
from sessionbase.stack.account import Account, postgres_bin
from support.command import run_main
from support.sql_folder import new_database, new_template

REPLICATOR = "sessionbase_replicator"
TABLES = sorted(
    name for name, table in read_authority().tables.items() if REPLICATOR in table.rights
)


@dataclass(frozen=True)
class Server:
    """The module's own PostgreSQL."""

    uri: str
    data_dir: Path
    cluster: Path


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Yield a running server that only this module uses."""
    folder = Path(tempfile.mkdtemp(prefix="sessionbase-test-"))
    try:
        stack_config = bring_up(folder / "data").stack_config
        yield Server(state.read_db_uri(folder / "data"), folder / "data", stack_config.cluster)
    finally:
        manage.delete_data(folder / "data")
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def template(server: Server) -> Iterator[str]:
    """Yield the name of a migrated database without replication, to copy."""
    with new_template(server.uri) as name:
        yield name


@pytest.fixture
def uri(server: Server, template: str) -> Iterator[str]:
    """Yield the superuser's connection string of a new migrated database without replication."""
    with new_database(server.uri, template) as uri:
        yield uri
        with psycopg.connect(uri, autocommit=True) as conn:
            conn.execute(f"alter role {REPLICATOR} noreplication nologin".encode())
            conn.execute(
                "select pg_drop_replication_slot(slot_name) from pg_replication_slots"
                " where database = current_database()"
            )


@pytest.fixture(scope="module")
def unchanged_uri(server: Server, template: str) -> Iterator[str]:
    """Yield the superuser's connection string of a database that no test changes."""
    with new_database(server.uri, template) as uri:
        yield uri


@pytest.fixture
def conn(uri: str) -> Iterator[psycopg.Connection[Any]]:
    """Yield a superuser's connection to the new database, in autocommit mode."""
    with psycopg.connect(uri, autocommit=True) as connection:
        yield connection


def replication(*arguments: object, uri: str) -> subprocess.CompletedProcess[str]:
    """Run `sessionbase replication` on the database."""
    return run_main("replication", *arguments, "--db-uri", uri)


def status(uri: str) -> dict[str, Any]:
    """Return what `status --json` prints."""
    done = replication("status", "--json", uri=uri)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def enabled(uri: str) -> list[str]:
    """Return the tables that are published with all that belongs to it."""
    parts = ("published", "full_identity", "readable")
    return [table["name"] for table in status(uri)["tables"] if all(table[p] for p in parts)]


def log_in_as_replicator(conn: psycopg.Connection[Any]) -> str:
    """Give the role a password and LOGIN; return its connection string."""
    password = uuid.uuid4().hex
    conn.execute(
        sql.SQL("alter role {} login password {}").format(
            sql.Identifier(REPLICATOR), sql.Literal(password)
        )
    )
    return make_conninfo(conn.info.dsn, user=REPLICATOR, password=password)


def program(name: str, *arguments: object, uri: str) -> subprocess.CompletedProcess[str]:
    """Run a program of PostgreSQL as the login of `uri`."""
    parameters = conninfo_to_dict(uri)
    environment = {
        "PGHOST": str(parameters["host"]),
        "PGUSER": str(parameters["user"]),
        "PGPASSWORD": str(parameters["password"]),
        "PATH": "/usr/bin:/bin",
    }
    command = [
        str(postgres_bin(Account(os.geteuid(), os.getegid())) / name),
        *map(str, arguments),
    ]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment, timeout=120
    )


def base_backup(uri: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Copy the whole cluster with pg_basebackup."""
    return program("pg_basebackup", "-D", folder, "--checkpoint=fast", uri=uri)


def lint(conn: psycopg.Connection[Any]) -> list[Row]:
    """Return what doctor's lint `replication` finds."""
    return read_status(conn).findings


def test_replication_is_off_by_default(unchanged_uri: str) -> None:
    found = status(unchanged_uri)
    assert [table["name"] for table in found["tables"]] == TABLES, (
        f"each table with a policy for {REPLICATOR} must have the right in sql/authority.json"
    )
    assert not any(
        table[part]
        for table in found["tables"]
        for part in ("published", "full_identity", "readable")
    )
    assert found["role_has_replication"] is found["role_can_log_in"] is False
    assert found["wal_level"] == "logical"
    assert (found["slots"], found["findings"]) == ([], [])


def test_enable_prints_its_changes_and_a_second_call_changes_nothing(uri: str) -> None:
    first = replication("enable", "app.todos", "tool_events", uri=uri)
    assert first.returncode == 0, first.stderr
    assert "app.todos: on\napp.tool_events: on\n" in first.stdout
    assert f"{REPLICATOR} has REPLICATION." in first.stdout
    assert "95 kB each, instead of 0.65 kB" in first.stdout
    assert "reject" in first.stdout
    assert enabled(uri) == ["todos", "tool_events"]
    again = replication("enable", "todos", "--json", uri=uri)
    assert again.returncode == 0
    assert json.loads(again.stdout)["changed"] == []
    assert json.loads(again.stdout)["statement_for_dba"] is None
    assert enabled(uri) == ["todos", "tool_events"]


def test_disable_reverts_enable_and_the_last_table_revokes_replication(
    uri: str, conn: psycopg.Connection[Any]
) -> None:
    replication("enable", "todos", "tool_events", uri=uri)
    conn.execute(f"grant select on app.ui_settings to {REPLICATOR}".encode())
    first = replication("disable", "todos", uri=uri)
    assert first.returncode == 0, first.stderr
    assert "app.todos: off" in first.stdout
    assert f"{REPLICATOR} has REPLICATION." in first.stdout
    assert enabled(uri) == ["tool_events"]
    last = json.loads(replication("disable", "app.tool_events", "--json", uri=uri).stdout)
    assert last["changed"] == ["tool_events", "ui_settings"]
    assert last["status"]["role_has_replication"] is False
    assert not any(
        table[part]
        for table in last["status"]["tables"]
        for part in ("published", "full_identity", "readable")
    )


@pytest.mark.parametrize("command", ["enable", "disable"])
@pytest.mark.parametrize("table", ["hookify_decisions", "nothing", "ops.migrations"])
def test_a_table_that_cannot_be_published_is_refused_with_a_list_of_those_that_can(
    unchanged_uri: str, command: str, table: str
) -> None:
    done = replication(command, "todos", table, uri=unchanged_uri)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"not a table that may be published: {table}" in done.stderr
    assert ", ".join(TABLES) in done.stderr
    assert enabled(unchanged_uri) == []


def test_a_database_without_sessionbase_is_refused(server: Server) -> None:
    for command in (["enable", "todos"], ["status"]):
        done = replication(*command, uri=make_conninfo(server.uri, dbname="postgres"))
        assert done.returncode == 1
        assert "sessionbase migrate first" in done.stderr


@pytest.fixture
def wal_level_replica(server: Server) -> Iterator[None]:
    """Run the server with wal_level = replica during the test."""
    settings = server.cluster / "postgresql.conf"
    before = settings.read_text()
    for text in (before + "wal_level = replica\n", before):
        manage.down(server.data_dir)
        settings.write_text(text)
        manage.up(server.data_dir)
        if text != before:
            yield


@pytest.mark.usefixtures("wal_level_replica")
def test_another_wal_level_is_refused_before_anything_changes(unchanged_uri: str) -> None:
    before = status(unchanged_uri)
    done = replication("enable", "todos", uri=unchanged_uri)
    assert done.returncode == 1
    assert "wal_level is replica" in done.stderr
    assert "alter system set wal_level = logical" in done.stderr
    assert status(unchanged_uri) == before


def test_a_login_that_cannot_grant_replication_gets_the_statement_for_a_dba(
    uri: str, conn: psycopg.Connection[Any]
) -> None:
    name, password = f"login_{uuid.uuid4().hex}", uuid.uuid4().hex
    conn.execute(f"create role {name} login password '{password}' in role sessionbase_owner")
    login = make_conninfo(uri, user=name, password=password)
    statement = f"alter role {REPLICATOR} replication"
    try:
        done = replication("enable", "todos", uri=login)
        assert done.returncode == 1
        assert f"A DBA must run: {statement};" in done.stdout
        assert enabled(login) == ["todos"]
        conn.execute(statement.encode())
        again = replication("enable", "todos", uri=login)
        assert again.returncode == 0, again.stdout
        (finding,) = status(login)["findings"]
        assert finding["level"] == "warning"
        assert "this login may not read pg_hba_file_rules" in finding["what"]
        last = replication("disable", "todos", "--json", uri=login)
        assert last.returncode == 1
        assert (
            json.loads(last.stdout)["statement_for_dba"] == f"alter role {REPLICATOR} noreplication"
        )
    finally:
        conn.execute(f"drop role {name}")


def test_a_consumer_receives_the_whole_old_row(
    uri: str, conn: psycopg.Connection[Any], profile: str, tmp_path: Path
) -> None:
    conn.execute("insert into app.todos (profile_id, text) values (%s, 'the old text')", [profile])
    replicator = log_in_as_replicator(conn)
    with psycopg.connect(replicator, autocommit=True) as reader:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            reader.execute("select text from app.todos")
        assert replication("enable", "todos", uri=uri).returncode == 0
        assert reader.execute("select text from app.todos").fetchall() == [("the old text",)]
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            reader.execute("select id from app.tool_events")
    consumer = ["-d", conn.info.dbname, "-S", "consumer"]
    made = program("pg_recvlogical", *consumer, "-P", "pgoutput", "--create-slot", uri=replicator)
    assert made.returncode == 0, made.stderr
    conn.execute("update app.todos set text = 'the new text' where profile_id = %s", [profile])
    row = conn.execute("select pg_current_wal_lsn()").fetchone()
    assert row
    received = tmp_path / "received"
    options = ["-o", "proto_version=1", "-o", "publication_names=sessionbase"]
    read = program(
        "pg_recvlogical",
        *consumer,
        *options,
        "--start",
        "--no-loop",
        f"--endpos={row[0]}",
        "-f",
        received,
        uri=replicator,
    )
    assert read.returncode == 0, read.stderr
    # An Update message: U, the id of the table, O for the whole old row (K would be only its key).
    change = re.search(rb"U.{4}O.*the old text.*N.*the new text", received.read_bytes(), re.DOTALL)
    assert change, received.read_bytes()
    (slot,) = status(uri)["slots"]
    assert (slot["name"], slot["plugin"], slot["active"]) == ("consumer", "pgoutput", False)
    done = replication("disable", "todos", uri=uri)
    assert "select pg_drop_replication_slot('consumer')" in done.stdout


@pytest.fixture
def pg_hba(server: Server) -> Iterator[Path]:
    """Yield the server's pg_hba.conf. After the test, it and the role are as before."""
    file = server.cluster / "pg_hba.conf"
    before = file.read_text()
    yield file
    file.write_text(before)
    with psycopg.connect(server.uri) as conn:
        conn.execute("select pg_reload_conf()")
        conn.execute(f"alter role {REPLICATOR} noreplication".encode())


def test_the_printed_lines_refuse_a_base_backup_and_allow_logical_replication(
    uri: str, conn: psycopg.Connection[Any], pg_hba: Path, tmp_path: Path
) -> None:
    replicator = log_in_as_replicator(conn)
    done = replication("enable", "todos", uri=uri)
    (finding,) = lint(conn)
    assert (finding.level, finding.object) == ("warning", f"role {REPLICATOR}")
    assert "can copy the whole cluster" in finding.what
    copied = base_backup(replicator, tmp_path / "copied")
    assert copied.returncode == 0, copied.stderr
    assert (tmp_path / "copied" / "PG_VERSION").exists()

    lines = done.stdout.splitlines()[-4:]
    assert lines == pg_hba_lines(conn.info.dbname) == status(uri)["pg_hba_lines"]
    pg_hba.write_text("\n".join([*lines, pg_hba.read_text()]))
    conn.execute("select pg_reload_conf()")
    refused = _until_refused(replicator, tmp_path)
    assert "pg_hba.conf rejects replication connection" in refused.stderr
    with pytest.raises(psycopg.OperationalError, match=r"pg_hba\.conf rejects connection"):
        psycopg.connect(make_conninfo(replicator, dbname="postgres"))
    slot = ["-d", conn.info.dbname, "-S", "consumer", "-P", "pgoutput", "--create-slot"]
    made = program("pg_recvlogical", *slot, uri=replicator)
    assert made.returncode == 0, made.stderr
    assert lint(conn) == []
    assert status(uri)["findings"] == []


def _until_refused(uri: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Repeat the base backup until it fails, as the server reads pg_hba.conf with a delay."""
    for attempt in range(20):
        done = base_backup(uri, folder / f"attempt_{attempt}")
        if done.returncode:
            return done
    pytest.fail("pg_basebackup still works: the lines are not in force, or don't reject it")


@pytest.mark.parametrize(
    ("lines", "is_safe"),
    [
        (pg_hba_lines("DATABASE"), True),
        (["local DATABASE all scram-sha-256", "host DATABASE all all scram-sha-256"], True),
        (["local all,replication all reject", "host all,replication all all reject"], True),
        (["host replication all 10.0.0.0/8 reject", "local replication all reject"], True),
        # A line allows a connection to another database.
        (["local other all scram-sha-256"], False),
        (["local sameuser all scram-sha-256"], False),
        (["local other all reject", "local all all scram-sha-256"], False),
        (["local replication all scram-sha-256"], False),
        (["host replication +sessionbase_owner all scram-sha-256"], False),
        # A line that rejects is after one that allows, or is for some addresses only.
        (["host all all all scram-sha-256", *pg_hba_lines("DATABASE")], False),
        (["host replication all 10.0.0.0/8 reject", "host replication all all md5"], False),
        (["local replication all reject", "host replication all all scram-sha-256"], False),
        (["local replication postgres reject", "local replication all scram-sha-256"], False),
        (["no such line"], False),
    ],
)
def test_doctor_warns_if_pg_hba_allows_the_role_more_than_logical_replication(
    unchanged_uri: str, pg_hba: Path, lines: list[str], is_safe: bool
) -> None:
    with psycopg.connect(unchanged_uri, autocommit=True) as conn:
        conn.execute(f"alter role {REPLICATOR} replication".encode())
        # The server does not load the file, so that the tests can still connect. The lint reads it.
        text = "\n".join(lines).replace("DATABASE", conn.info.dbname)
        pg_hba.write_text(text + "\n")
        assert (lint(conn) == []) is is_safe, text


@pytest.mark.parametrize(
    ("breakage", "level", "what"),
    [
        (
            "alter publication sessionbase add table app.todos",
            "error",
            "has app.todos, whose replica identity is not full",
        ),
        (
            "alter table app.todos replica identity full",
            "warning",
            "has a full replica identity, and no publication has the table",
        ),
        pytest.param(
            "alter table app.todos add column size int generated always as (length(text)) stored;"
            " alter table app.todos replica identity full;"
            " create publication everything for all tables",
            "error",
            "leaves out column size of app.todos",
            marks=pytest.mark.postgres_version(18, "before 18 such an update is not refused"),
        ),
    ],
)
def test_doctor_finds_a_partly_enabled_table_and_the_remediation_repairs_it(
    conn: psycopg.Connection[Any], breakage: str, level: str, what: str
) -> None:
    assert lint(conn) == []
    conn.execute(breakage.encode())
    (finding,) = lint(conn)
    assert finding.level == level
    assert what in finding.what
    conn.execute(finding.remediation.encode())
    assert lint(conn) == []


def test_a_database_name_with_a_special_meaning_in_pg_hba_is_quoted() -> None:
    assert pg_hba_lines("replication")[0].split()[1] == '"replication"'
    assert pg_hba_lines('a "b"')[0].startswith('local  "a ""b"""')
    assert pg_hba_lines("plain")[0].split()[1] == "plain"
