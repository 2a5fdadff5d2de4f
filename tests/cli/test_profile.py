"""`sessionbase profile`: list, export, import and erase, by a login that is not a superuser."""

import hashlib
import json
import re
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from conftest import ClientFor, Stack, TokenFor
from sessionbase.profile.eraser import _ORDER
from sessionbase.profile.tables import NAMES
from support.command import run_main, sessionbase
from support.concurrency import transaction_of, wait_until_blocked_by
from support.load import Load
from support.profiles import fill_profile, log_entries, stored_rows, tables_of_profiles

pytest_plugins = ["support.sql_folder"]

Database = psycopg.Connection[Any]
EMPTY: dict[str, list[str]] = {name: [] for name in sorted(NAMES)}


class Dba:
    """A login that is a member of sessionbase_owner and not a superuser."""

    def __init__(self, name: str) -> None:
        self.name = name

    def uri(self, superuser_uri: str) -> str:
        """Return the connection string of this login for the same database."""
        return make_conninfo(superuser_uri, user=self.name, password=self.name)

    def run(self, uri: str, *arguments: object) -> Any:
        """Run `sessionbase profile` as this login; it must succeed. Returns its report."""
        done = run_main("profile", *arguments, "--db-uri", self.uri(uri), "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def refused(self, uri: str, *arguments: object) -> str:
        """Run `sessionbase profile` as this login; it must fail. Returns its message."""
        done = run_main("profile", *arguments, "--db-uri", self.uri(uri))
        assert done.returncode == 1, done.stdout
        return done.stderr


@pytest.fixture(scope="module")
def dba(stack: Stack) -> Iterator[Dba]:
    """Yield a login that is not a superuser."""
    name = f"dba_{uuid.uuid4().hex}"
    with psycopg.connect(stack.db_uri, autocommit=True) as db:
        db.execute(
            sql.SQL("create role {} login password {} in role sessionbase_owner").format(
                sql.Identifier(name), sql.Literal(name)
            )
        )
        yield Dba(name)
        db.execute(sql.SQL("drop role {}").format(sql.Identifier(name)))


@pytest.fixture
def exported(stack: Stack, dba: Dba, profile: str, tmp_path: Path) -> Path:
    """Return the export of a profile that has rows in every table."""
    fill_profile(stack.db_uri, profile)
    file = tmp_path / "exported.jsonl"
    dba.run(stack.db_uri, "export", profile, file)
    return file


def rewrite(
    file: Path, header: dict[str, Any] | None = None, change: tuple[bytes, bytes] = (b"", b"")
) -> None:
    """Change the first line of an export, or a text in its rows, and compute the hashes again."""
    first, *rows, last = file.read_bytes().split(b"\n")[:-1]
    first = json.dumps({**json.loads(first), **(header or {})}).encode() + b"\n"
    content = b"".join(row + b"\n" for row in rows).replace(*change)
    hashes = {
        "content_sha256": hashlib.sha256(content).hexdigest(),
        "sha256": hashlib.sha256(first + content).hexdigest(),
    }
    end = json.dumps({**json.loads(last), **hashes}).encode() + b"\n"
    file.write_bytes(first + content + end)


def rows_of(file: Path) -> list[bytes]:
    """Return the lines of an export between the first and the last one."""
    return file.read_bytes().splitlines(keepends=True)[1:-1]


# Export and import.


def test_an_imported_profile_has_every_row_unchanged(
    stack: Stack, dba: Dba, profile: str, exported: Path, migrated_database: str, tmp_path: Path
) -> None:
    before = stored_rows(stack.db_uri, profile)
    assert [table for table, rows in before.items() if not rows] == [], (
        "tests/support/profiles.py: store a row in these tables too"
    )
    report = dba.run(migrated_database, "import", exported, "--reason", "moved")
    assert report["rows"] == {table: len(before[table]) for table in NAMES}
    assert stored_rows(migrated_database, profile) == before
    assert log_entries(migrated_database, profile) == [(1, "import", dba.name, 3, "moved")]

    again = tmp_path / "again.jsonl"
    assert (
        dba.run(migrated_database, "export", profile, again)["content_sha256"]
        == (report["content_sha256"])
    )
    assert rows_of(again) == rows_of(exported)
    done = run_main("audit", "verify", "--profile", profile, "--db-uri", migrated_database)
    assert done.stdout.startswith("chains verified: 1, decisions verified: 3, problems: 0")


def test_an_imported_profile_can_be_used_like_the_original(
    dba: Dba, profile: str, exported: Path, migrated_database: str
) -> None:
    dba.run(migrated_database, "import", exported)
    with transaction_of(migrated_database, profile) as client:
        client.execute("select api.transition_tool_event('e2', 'failed', error => 'e')")
        client.execute("select api.transition_misalignment('s', 'm1', 'acknowledged')")
        client.execute(
            "select api.record_hookify_decision('s', 'manual', 'low', false, '[]', 'content')"
        )
        settings = client.execute("select (api.patch_ui_settings('{}')).revision").fetchone()
        found = client.execute(
            "select valid, length, imported_at is null from api.verify_hookify_decisions()"
        ).fetchone()
    assert settings == (3,)
    assert found == (True, 4, False)


def test_an_export_to_stdout_is_the_same_file(
    stack: Stack, dba: Dba, profile: str, exported: Path
) -> None:
    done = run_main("profile", "export", profile, "-", "--db-uri", dba.uri(stack.db_uri))
    assert done.stdout.encode().splitlines(keepends=True)[1:-1] == rows_of(exported)
    assert exported.stat().st_mode & 0o777 == 0o600


def test_the_order_of_an_export_does_not_depend_on_the_collation(
    stack: Stack, dba: Dba, profile: str, exported: Path
) -> None:
    bindings = [json.loads(line) for line in rows_of(exported)]
    sessions = [row["session_id"] for row in bindings if row["table"] == "session_repo_bindings"]
    assert sessions == sorted(sessions)


def test_every_table_with_rows_of_a_profile_is_exported_counted_and_erased(
    db: Database,
) -> None:
    tables = set(tables_of_profiles(db)) - {"profile_log"}
    counted = db.execute("select app.profile_row_counts('')").fetchone()
    assert counted
    assert set(NAMES) == tables, "add the table to sessionbase/profile/tables.py"
    assert set(_ORDER) == tables, "add the table to sessionbase/profile/eraser.py"
    assert set(counted[0]) == tables, "add the table to app.profile_row_counts"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda content: content[: content.rstrip(b"\n").rfind(b"\n") + 1], "is cut off"),
        (lambda content: content[: len(content) // 2], "is cut off"),
        (lambda content: content[:-1], "is cut off"),
        (lambda content: content.replace(b'"text":"one"', b'"text":"won"'), "does not fit"),
        (lambda content: content.replace(b'{"table":"todos"', b'{"table":"notes"'), "line"),
        (lambda content: content + content, "was changed"),
        (lambda content: b"", "is not an export"),
        (lambda content: b"[]\n", "is not an export"),
        (lambda content: content.replace(b'"version": 1', b'"version": 2'), "version 2"),
    ],
)
def test_a_file_that_is_cut_off_or_was_changed_is_refused(
    dba: Dba,
    profile: str,
    exported: Path,
    migrated_database: str,
    change: Callable[[bytes], bytes],
    problem: str,
) -> None:
    exported.write_bytes(change(exported.read_bytes()))
    assert problem in dba.refused(migrated_database, "import", exported)
    assert stored_rows(migrated_database, profile) == EMPTY


def test_a_forged_decision_is_refused_also_with_a_new_sha256(
    dba: Dba, profile: str, exported: Path, migrated_database: str
) -> None:
    rewrite(exported, change=(b'"blocked":true', b'"blocked":false'))
    message = dba.refused(migrated_database, "import", exported)
    assert "the row was changed after it was recorded; nothing was imported" in message
    assert stored_rows(migrated_database, profile) == EMPTY
    assert log_entries(migrated_database, profile) == []


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        ({"migration": 9999}, "which this database does not have"),
        ({"migration_chain": "0" * 64}, "is another one than that of the file"),
        ({"columns": {"todos": ["id", "color"]}}, "no column todos.color"),
    ],
)
def test_a_file_of_another_schema_is_refused(
    dba: Dba, exported: Path, migrated_database: str, header: dict[str, Any], problem: str
) -> None:
    rewrite(exported, header)
    assert problem in dba.refused(migrated_database, "import", exported)


def test_a_profile_that_has_rows_is_not_imported(
    dba: Dba, profile: str, exported: Path, migrated_database: str
) -> None:
    with transaction_of(migrated_database, profile) as client:
        client.execute("select api.add_todo('here already')")
    before = stored_rows(migrated_database, profile)
    message = dba.refused(migrated_database, "import", exported)
    assert "the profile has rows here: todos: 1" in message
    assert stored_rows(migrated_database, profile) == before


def test_a_profile_without_rows_is_neither_exported_nor_erased(
    stack: Stack, dba: Dba, profile: str, tmp_path: Path
) -> None:
    file = tmp_path / "new.jsonl"
    assert "has no rows" in dba.refused(stack.db_uri, "export", profile, file)
    assert "has no rows" in dba.refused(stack.db_uri, "erase", profile, "--yes")
    assert not file.exists()
    assert log_entries(stack.db_uri, profile) == []


def test_the_log_of_a_profile_moves_with_it_and_does_not_grow_by_copies(
    stack: Stack, dba: Dba, profile: str, exported: Path, migrated_database: str, tmp_path: Path
) -> None:
    places = [stack.db_uri, migrated_database]
    file = exported
    for move in range(1, 5):
        source, target = places[(move + 1) % 2], places[move % 2]
        dba.run(target, "import", file)
        dba.run(source, "erase", profile, "--yes", "--if-unchanged", file)
        file = tmp_path / f"{move}.jsonl"
        dba.run(target, "export", profile, file)
    history = json.loads(file.read_text().splitlines()[0])["history"]
    # The erasure of the last move is in the log of its source only.
    assert [entry["action"] for entry in history] == ["import", "erase"] * 3 + ["import"]
    assert rows_of(file) == rows_of(exported)


# Erase.


def test_an_erased_profile_leaves_only_an_entry_of_the_log(
    stack: Stack, dba: Dba, profile: str, exported: Path
) -> None:
    other = f"{profile}-other"
    fill_profile(stack.db_uri, other)
    kept = stored_rows(stack.db_uri, other)
    before = stored_rows(stack.db_uri, profile)
    report = dba.run(stack.db_uri, "erase", profile, "--yes", "--reason", "on request")
    assert report["rows"] == {table: len(before[table]) for table in NAMES}
    assert (report["erased_by"], report["chain_length"]) == (dba.name, 3)
    assert stored_rows(stack.db_uri, profile) == EMPTY
    assert stored_rows(stack.db_uri, other) == kept
    assert log_entries(stack.db_uri, profile) == [(1, "erase", dba.name, 3, "on request")]


def test_a_dry_run_erases_nothing_and_names_the_same_rows(
    stack: Stack, dba: Dba, profile: str, exported: Path
) -> None:
    before = stored_rows(stack.db_uri, profile)
    planned = dba.run(stack.db_uri, "erase", profile, "--dry-run", "--if-unchanged", exported)
    assert stored_rows(stack.db_uri, profile) == before
    assert log_entries(stack.db_uri, profile) == []
    done = dba.run(stack.db_uri, "erase", profile, "--yes")
    same = ("rows", "chain_length", "chain_head_hash")
    assert [planned[key] for key in same] == [done[key] for key in same]


@pytest.mark.parametrize("typed", ["{}\n", "another\n", ""])
def test_the_profile_id_must_be_typed_to_erase_it(
    stack: Stack, dba: Dba, profile: str, typed: str
) -> None:
    fill_profile(stack.db_uri, profile)
    before = stored_rows(stack.db_uri, profile)
    command = ("profile", "erase", profile, "--db-uri", dba.uri(stack.db_uri))
    done = sessionbase(*command, stdin=typed.format(profile))
    assert f"Type the profile id to erase {profile}" in done.stderr
    is_right = typed.startswith("{}")
    assert done.returncode == (0 if is_right else 1)
    assert stored_rows(stack.db_uri, profile) == (EMPTY if is_right else before)


@pytest.mark.parametrize(
    ("call", "difference"),
    [
        ("select api.add_todo('late')", "todos has 3 rows, the export 2"),
        ("select api.toggle_todo(id) from api.todos limit 1", "a row was changed"),
        ("select api.patch_ui_settings('{\"late\": 1}')", "a row was changed"),
    ],
)
def test_a_profile_that_changed_after_its_export_is_not_erased(
    stack: Stack, dba: Dba, profile: str, exported: Path, call: str, difference: str
) -> None:
    with transaction_of(stack.db_uri, profile) as client:
        client.execute(call.encode())
    before = stored_rows(stack.db_uri, profile)
    message = dba.refused(stack.db_uri, "erase", profile, "--yes", "--if-unchanged", exported)
    assert f"{difference}; nothing was erased" in message
    assert stored_rows(stack.db_uri, profile) == before


def test_an_export_of_another_profile_does_not_allow_to_erase(
    stack: Stack, dba: Dba, profile: str, exported: Path
) -> None:
    other = f"{profile}-other"
    fill_profile(stack.db_uri, other)
    message = dba.refused(stack.db_uri, "erase", other, "--yes", "--if-unchanged", exported)
    assert f"is an export of profile {profile}, not of {other}" in message


# Concurrent requests.


def test_the_api_refuses_writes_to_a_profile_that_is_being_erased(
    stack: Stack, profile: str, client: httpx.Client, client_for: ClientFor
) -> None:
    assert client.post("/rpc/add_todo", json={"text": "before"}).status_code == 200
    with psycopg.connect(stack.db_uri) as eraser:
        eraser.execute(
            "insert into app.profile_log (profile_id, action) values (%s, 'erase')", (profile,)
        )
        refused = client.post("/rpc/add_todo", json={"text": "during"})
        assert (refused.status_code, refused.json()["code"]) == (503, "profile_locked")
        assert len(client.get("/todos").json()) == 1
        other = client_for(f"{profile}-other").post("/rpc/add_todo", json={"text": "other"})
        assert other.status_code == 200
        eraser.rollback()
    assert client.post("/rpc/add_todo", json={"text": "after"}).status_code == 200


def test_no_lock_whose_key_contains_a_text_of_a_client_refuses_writes_to_a_profile(
    stack: Stack, profile: str, client: httpx.Client
) -> None:
    # A client could choose a tool_call_id so that its lock has the same 64 bits.
    with psycopg.connect(stack.db_uri) as other:
        other.execute("select pg_advisory_xact_lock(app.lock_key('profile', %s))", (profile,))
        assert client.post("/rpc/add_todo", json={"text": "x"}).status_code == 200


@pytest.mark.parametrize("compared", [False, True])
def test_an_erasure_waits_for_a_write_that_has_begun(
    stack: Stack, dba: Dba, db: Database, profile: str, exported: Path, compared: bool
) -> None:
    arguments = ["erase", profile, "--yes"]
    if compared:
        arguments += ["--if-unchanged", str(exported)]
    command = [*arguments, "--db-uri", dba.uri(stack.db_uri), "--json"]
    with ThreadPoolExecutor(1) as pool, transaction_of(stack.db_uri, profile) as writer:
        writer.execute("select app.check_request()")
        writer.execute("select api.add_todo('late')")
        running = pool.submit(run_main, "profile", *command)
        wait_until_blocked_by(db, writer)
        writer.commit()
        done = running.result(timeout=60)
    if compared:
        assert "todos has 3 rows, the export 2; nothing was erased" in done.stderr
    else:
        assert json.loads(done.stdout)["rows"]["todos"] == 3
        assert stored_rows(stack.db_uri, profile) == EMPTY


def test_each_acknowledged_write_was_erased_or_is_stored(
    stack: Stack, dba: Dba, profile: str, token_for: TokenFor
) -> None:
    with Load(stack.rest_url, token_for(profile), threads=3) as load:
        load.wait_for(20)
        erased = dba.run(stack.db_uri, "erase", profile, "--yes")["rows"]["todos"]
        load.wait_for(20, since=load.now())
    statuses = {answer.status for answer in load.answers}
    assert statuses <= {201, 503}, statuses
    acknowledged = sum(answer.acknowledged for answer in load.answers)
    assert erased >= 20
    assert erased + len(stored_rows(stack.db_uri, profile)["todos"]) == acknowledged


# The triggers, for the owner of the tables.


def as_owner(uri: str, *statements: str) -> None:
    """Run statements as the owner in one transaction, and commit."""
    with psycopg.connect(uri) as owner:
        owner.execute("set role sessionbase_owner")
        for statement in statements:
            owner.execute(statement.encode())


def entry(profile: str, action: str = "erase") -> str:
    return f"insert into app.profile_log (profile_id, action) values ('{profile}', '{action}')"


AUDIT = (
    "tool_event_transitions",
    "misalignment_transitions",
    "hookify_decisions",
    "hookify_chains",
)


@pytest.mark.parametrize("table", AUDIT)
def test_the_owner_can_delete_an_audit_row_only_with_an_entry_of_the_same_transaction(
    stack: Stack, dba: Dba, profile: str, exported: Path, table: str
) -> None:
    before = stored_rows(stack.db_uri, profile)
    delete = f"delete from app.{table} where profile_id = '{profile}'"
    refusal = f"DELETE of app.{table} is refused: it is append-only"
    # An earlier transaction has an entry: of an erasure after which the profile was imported.
    dba.run(stack.db_uri, "erase", profile, "--yes")
    dba.run(stack.db_uri, "import", exported)
    for statements in (
        [delete],
        [entry(f"{profile}-other"), delete],
        [f"set sessionbase.imported_profile = '{profile}'", delete],
    ):
        with pytest.raises(psycopg.errors.RestrictViolation, match=refusal):
            as_owner(stack.db_uri, *statements)
    with pytest.raises(psycopg.errors.RestrictViolation, match="the erasure is not complete"):
        as_owner(stack.db_uri, entry(profile), delete)
    assert stored_rows(stack.db_uri, profile) == before


@pytest.mark.parametrize("table", AUDIT)
def test_an_erasure_of_one_profile_deletes_no_audit_row_of_another(
    stack: Stack, profile: str, table: str
) -> None:
    fill_profile(stack.db_uri, f"{profile}-other")
    with pytest.raises(psycopg.errors.RestrictViolation, match="append-only"):
        as_owner(
            stack.db_uri,
            entry(profile),
            f"delete from app.{table} where profile_id in ('{profile}', '{profile}-other')",
        )


@pytest.mark.parametrize(
    "statement",
    [
        "update app.profile_log set reason = 'x' where profile_id = '{}'",
        "delete from app.profile_log where profile_id = '{}'",
    ],
)
def test_an_entry_of_the_log_is_never_changed(stack: Stack, profile: str, statement: str) -> None:
    as_owner(stack.db_uri, entry(profile))
    for statements in ([statement], [entry(profile), statement]):
        with pytest.raises(psycopg.errors.RestrictViolation, match="append-only"):
            as_owner(stack.db_uri, *(each.format(profile) for each in statements))
    with pytest.raises(psycopg.errors.RestrictViolation, match="append-only"):
        as_owner(stack.db_uri, "truncate app.profile_log")
    assert len(log_entries(stack.db_uri, profile)) == 1


def test_the_owner_cannot_choose_who_when_and_what_of_an_erasure(
    stack: Stack, dba: Dba, profile: str
) -> None:
    as_owner(
        dba.uri(stack.db_uri),
        "insert into app.profile_log (profile_id, action, number, done_at, done_by, transaction_id,"
        " row_counts, chain_length, chain_head_hash, history) values"
        f" ('{profile}', 'erase', 7, '2001-01-01', 'nobody', '1', '{{}}', 9, repeat('1', 64),"
        " '[1]')",
    )
    with psycopg.connect(stack.db_uri) as db:
        found = db.execute(
            "select number, done_at > now() - interval '1 minute', done_by, chain_length, history,"
            " row_counts = app.profile_row_counts(profile_id) from app.profile_log"
            " where profile_id = %s",
            (profile,),
        ).fetchone()
    assert found == (1, True, dba.name, 0, [], True)


def test_an_import_that_lacks_rows_of_its_entry_cannot_commit(stack: Stack, profile: str) -> None:
    with pytest.raises(psycopg.errors.RestrictViolation, match="the import is not complete"):
        as_owner(
            stack.db_uri,
            "insert into app.profile_log"
            " (profile_id, action, row_counts, chain_length, chain_head_hash)"
            f" values ('{profile}', 'import', app.profile_row_counts('{profile}')"
            " || '{\"todos\": 1}', 0, repeat('0', 64))",
        )


def test_a_position_or_time_of_a_decision_cannot_be_chosen_outside_an_import(
    stack: Stack, profile: str
) -> None:
    as_owner(
        stack.db_uri,
        f"set sessionbase.imported_profile = '{profile}'",
        "insert into app.hookify_decisions (profile_id, position, session_id, source, content_hash,"
        " severity, blocked, rules, created_at, previous_hash, row_hash)"
        f" values ('{profile}', 7, 's', 'manual', repeat('a', 64), 'low', false, '[]',"
        " '2001-01-01', '', '')",
    )
    with psycopg.connect(stack.db_uri) as db:
        found = db.execute(
            "select position, created_at > now() - interval '1 minute', valid"
            " from app.hookify_decisions as d, api.verify_hookify_decisions(d.profile_id)"
            " where d.profile_id = %s",
            (profile,),
        ).fetchone()
    assert found == (1, True, True)


# List.


def test_the_list_has_each_profile_once_and_goes_on_page_by_page(
    dba: Dba, migrated_database: str
) -> None:
    for name in ("b", "a", "Z"):
        fill_profile(migrated_database, name)
    with psycopg.connect(migrated_database) as db:
        for number, table in enumerate(("todos", "ui_settings")):
            column = {"todos": "text", "ui_settings": "settings"}[table]
            db.execute(
                f"insert into app.{table} (profile_id, {column}) values (%s, '{{}}')".encode(),
                (f"only-{number}",),
            )
        wanted = db.execute(
            "select profile_id from (select profile_id from app.tool_events union select profile_id"
            " from app.todos union select profile_id from app.ui_settings) p order by profile_id"
        ).fetchall()
    found: list[str] = []
    after: str | None = ""
    while after is not None:
        page = dba.run(migrated_database, "list", "--limit", 2, "--after", after)
        found += [each["profile"] for each in page["profiles"]]
        after = page["next_after"]
    assert found == [profile for (profile,) in wanted]
    assert len(found) == 5


def test_the_list_counts_the_rows_only_on_request(dba: Dba, migrated_database: str) -> None:
    fill_profile(migrated_database, "p")
    (without,) = dba.run(migrated_database, "list")["profiles"]
    (counted,) = dba.run(migrated_database, "list", "--counts")["profiles"]
    rows = stored_rows(migrated_database, "p")
    assert without["rows"] is None
    assert counted["rows"] == {table: len(rows[table]) for table in NAMES}
    done = run_main("profile", "list", "--db-uri", migrated_database, "--counts")
    assert re.match(r'"p"  tool_events: 5, ', done.stdout)


def test_a_database_before_migration_9_is_refused(dba: Dba, migrated_database: str) -> None:
    with psycopg.connect(migrated_database) as db:
        db.execute("drop table app.profile_log")
    assert "has no table app.profile_log" in dba.refused(migrated_database, "list")
