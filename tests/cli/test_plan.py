"""`sessionbase migrate plan`: what it prints, its exit codes, and the rehearsal on a copy.

tests/cli/test_plan_rules.py compares its rules with what PostgreSQL does.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from sessionbase.migrate.files import read_folder
from sessionbase.migrate.runner import migrate
from sessionbase.migrate.verify import CheckFailed
from sessionbase.paths import PROJECT_DIR, resource_path
from support.command import run_main
from support.databases import content, fill
from support.pages import code_block

pytest_plugins = ["support.sql_folder"]

PAGE = "migration-plan.md"


class Planner:
    """Writes SQL files and plans them against a migrated database."""

    def __init__(self, folder: Path, uri: str) -> None:
        self.folder = folder
        self.uri = uri

    def write(self, text: str, name: str = "change.sql") -> Path:
        path = self.folder / name
        path.write_text(text)
        return path

    def run(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        return run_main("migrate", "plan", "--db-uri", self.uri, *arguments)

    def plan(self, text: str, *arguments: object) -> dict[str, Any]:
        """Plan one file; return the report for programs."""
        done = self.run("--json", "--fail-on", "never", *arguments, self.write(text))
        assert done.stdout, done.stderr
        return dict(json.loads(done.stdout))

    def statements(self, text: str, *arguments: object) -> list[dict[str, Any]]:
        return list(self.plan(text, *arguments)["files"][0]["statements"])

    def execute(self, *statements: str) -> None:
        with psycopg.connect(self.uri, autocommit=True) as conn:
            for statement in statements:
                conn.execute(statement.encode())


@pytest.fixture
def planner(tmp_path: Path, migrated_database: str) -> Planner:
    return Planner(tmp_path, migrated_database)


def rules(statement: dict[str, Any], level: str = "hazard") -> list[str]:
    return [one["rule"] for one in statement["hazards"] if one["level"] == level]


def test_a_database_without_pending_files_has_nothing_to_plan(planner: Planner) -> None:
    done = planner.run()
    assert (done.returncode, done.stdout) == (0, "nothing to do: the database is up to date\n")


def test_a_statement_is_printed_with_its_lock_its_table_and_the_safe_form(
    planner: Planner,
) -> None:
    planner.execute("analyze app.todos")
    done = planner.run(planner.write("create index todos_by_text on app.todos (text);\n"))
    assert done.returncode == 1, "a hazard must set the exit code"
    assert "line 1: create index todos_by_text on app.todos (text)" in done.stdout
    assert "SHARE on app.todos (about 0 rows, " in done.stdout
    assert "blocks writes, not reads" in done.stdout
    assert "rewritten: no, scanned: yes (the index is built)" in done.stdout
    assert "hazard require-concurrent-index-creation" in done.stdout
    assert (
        "safe form: in a file of its own that begins with `-- sessionbase: no-transaction`: "
        "CREATE INDEX CONCURRENTLY todos_by_text ON app.todos (text);"
    ) in done.stdout


def test_fail_on_never_prints_hazards_and_exits_with_0(planner: Planner) -> None:
    file = planner.write("create index on app.todos (text);\n")
    done = planner.run("--fail-on", "never", file)
    assert done.returncode == 0, done.stderr
    assert "hazards: 1" in done.stdout


def test_what_no_rule_covers_is_unknown_and_not_safe(planner: Planner) -> None:
    text = "do $$ begin execute 'lock table app.todos'; end $$;\n"
    (statement,) = planner.statements(text)
    assert statement["tables"] == []
    assert statement["unknown"] == [
        "a DO block can run any statement: --rehearse shows what it does"
    ]
    file = planner.write(text)
    assert planner.run(file).returncode == 0
    assert planner.run("--fail-on", "unknown", file).returncode == 1


def test_a_function_call_in_a_query_is_unknown(planner: Planner) -> None:
    (statement,) = planner.statements("select app.refuse_explain();\n")
    assert statement["unknown"] == ["what app.refuse_explain() locks"]


def test_a_table_of_the_same_file_has_no_hazard(planner: Planner) -> None:
    statements = planner.statements(
        "create table app.notes (id uuid primary key, body text);\n"
        "alter table app.notes alter column body set not null;\n"
        "create index on app.notes (body);\n"
        "alter table app.notes add constraint body_size check (octet_length(body) < 100);\n"
    )
    assert [rules(statement) for statement in statements] == [[], [], [], []]
    assert all(table["new"] for one in statements for table in one["tables"])


def test_comments_of_squawk_are_observed(planner: Planner) -> None:
    (statement,) = planner.statements(
        "-- squawk-ignore require-concurrent-index-creation\ncreate index on app.todos (text);\n"
    )
    assert rules(statement) == []
    assert statement["tables"][0]["lock"] == "SHARE"


def test_without_squawk_the_error_says_how_to_install_it(
    planner: Planner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = planner.write("select 1;\n")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    done = planner.run(file)
    assert done.returncode == 3
    assert "squawk" in done.stderr and "pip install 'sessionbase[plan]'" in done.stderr


def test_a_file_that_is_applied_already_is_refused(planner: Planner) -> None:
    done = planner.run(PROJECT_DIR / "sql/migrations/0005_todos.sql")
    assert done.returncode == 3
    assert "is applied already" in done.stderr


def test_a_plan_that_cannot_be_made_exits_with_3_and_not_like_a_hazard(planner: Planner) -> None:
    nobody = ["migrate", "plan", "--db-uri", "postgresql://127.0.0.1:1/none"]
    for arguments in (nobody, ["migrate", "plan", "--nonsense"], ["migrate", "--json", "plan"]):
        done = run_main(*arguments)
        assert (done.returncode, done.stdout) == (3, ""), arguments
        assert done.stderr.startswith("Error: "), done.stderr


def test_a_syntax_error_names_file_and_line(planner: Planner) -> None:
    done = planner.run(planner.write("select 1;\nalter tabel app.todos;\n"))
    assert done.returncode == 3
    assert "change.sql, line 2" in done.stderr


def test_an_earlier_validated_check_makes_set_not_null_cheap(planner: Planner) -> None:
    planner.execute("alter table app.todos add column due text")
    *_, last = planner.statements(
        "alter table app.todos add constraint due_set check (due is not null) not valid;\n"
        "alter table app.todos validate constraint due_set;\n"
        "alter table app.todos alter column due set not null;\n"
    )
    assert last["tables"][0]["scan"] is False
    assert rules(last) == []


def test_a_finding_that_the_catalogue_refutes_is_a_note(planner: Planner) -> None:
    planner.execute(
        "alter table app.todos add column due text constraint due_set check (due is not null)"
    )
    (statement,) = planner.statements("alter table app.todos alter column due set not null;\n")
    assert rules(statement) == []
    (note,) = statement["hazards"]
    assert (note["rule"], note["level"]) == ("adding-not-nullable-field", "note")
    assert "a valid CHECK constraint proves that due has no null" in note["message"]


def test_a_large_table_makes_a_rewrite_and_work_under_a_lock_hazards(planner: Planner) -> None:
    planner.execute(
        "create table app.large (id bigint primary key, body text)",
        "insert into app.large select i, repeat('x', 100) from generate_series(1, 20000) i",
        "analyze app.large",
    )
    lock, rewrite = planner.statements(
        "alter table app.todos add column due_at timestamptz;\n"
        "alter table app.large add column key uuid default gen_random_uuid();\n"
    )
    assert rules(lock) == []
    assert rewrite["tables"][0]["rows"] == 20000
    assert rewrite["tables"][0]["bytes"] > 1_000_000
    assert {"rewrite-under-lock", "lock-during-long-work"} <= set(rules(rewrite))
    message = next(
        one["message"] for one in rewrite["hazards"] if one["rule"] == "lock-during-long-work"
    )
    assert "ACCESS EXCLUSIVE on app.todos (line 1, blocks reads and writes)" in message


def test_a_file_without_a_transaction_is_planned_as_one(planner: Planner) -> None:
    report = planner.plan(
        "-- sessionbase: no-transaction\n"
        "create index concurrently todos_by_text on app.todos (text);\n",
        "--rehearse",
    )
    (file,) = report["files"]
    assert file["in_transaction"] is False
    assert [rules(one) for one in file["statements"]] == [[]]
    (done,) = report["rehearsal"]["files"][0]["statements"]
    held = [(one["relation"], one["lock"]) for one in done["locks"] if not one["new"]]
    assert held == [("app.todos", "SHARE UPDATE EXCLUSIVE")]
    assert done["differences"] == []


def test_the_rehearsal_shows_what_a_do_block_does_and_what_changes_in_security(
    planner: Planner,
) -> None:
    before = content(planner.uri)
    report = planner.plan(
        "do $$ begin execute 'alter table app.todos disable row level security'; end $$;\n"
        "grant select on app.todos to anon;\n"
        "drop policy no_estimates on app.todos;\n"
        "create function app.leak() returns text language sql security definer"
        " return current_user;\n",
        "--rehearse",
    )
    rehearsal = report["rehearsal"]
    assert "row_level_security: table app.todos" in rehearsal["failure"]
    (done, *_) = rehearsal["files"][0]["statements"]
    assert [(one["relation"], one["lock"]) for one in done["locks"]] == [
        ("app.todos", "ACCESS EXCLUSIVE")
    ]
    facts = {(one["object"], one["change"], one["fact"]) for one in rehearsal["changes"]}
    assert {
        ("table app.todos", "removed", "row-level security is enabled"),
        ("table app.todos", "added", "row-level security is not enabled"),
        ("table app.todos", "added", "anon may SELECT"),
    } <= facts
    assert any(
        name == "policy no_estimates on app.todos" and change == "removed"
        for name, change, _ in facts
    )
    assert content(planner.uri) == before, "the target must only be read"
    assert not [name for name, _, _ in facts if "ui_settings" in name]


def test_a_new_function_with_the_rights_of_its_owner_is_in_the_difference(
    planner: Planner,
) -> None:
    report = planner.plan(
        "create function ops.leak() returns text language sql security definer"
        " return current_user;\n",
        "--rehearse",
    )
    assert "search_path: function ops.leak()" in report["rehearsal"]["failure"]
    changed = report["rehearsal"]["changes"]
    facts = {one["fact"] for one in changed if one["object"] == "function ops.leak()"}
    assert {
        "its owner is sessionbase_owner",
        "runs with the rights of its owner (security definer)",
        "has the search_path of the caller",
    } <= facts


def test_a_statement_that_fails_in_the_rehearsal_sets_the_exit_code(planner: Planner) -> None:
    file = planner.write("alter table app.todos add column due int;\nselect 1 / 0;\n")
    done = planner.run("--rehearse", "--fail-on", "never", file)
    assert done.returncode == 1
    assert "FAILED: " in done.stdout and "line 2: division by zero" in done.stdout


def test_a_sample_satisfies_the_foreign_keys_and_leaves_nothing_behind(
    planner: Planner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(planner.uri, "p1", "p2", "p3")
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    report = planner.plan(
        "alter table app.todos add constraint text_short check (octet_length(text) < 1000);\n"
        "alter table app.tool_event_transitions add constraint again foreign key"
        " (profile_id, tool_event_id) references app.tool_events (profile_id, id);\n",
        "--rehearse",
        "--sample",
        "2",
    )
    rehearsal = report["rehearsal"]
    assert rehearsal["failure"] is None
    assert rehearsal["sampled"]["app.todos"] == 2
    assert 0 < rehearsal["sampled"]["app.tool_event_transitions"] <= 2
    assert list(temporary.iterdir()) == [], "the copy must be deleted"


@pytest.mark.parametrize("option", [("--sample", "5"), ("--skip-lint", "grants")])
def test_an_option_of_the_rehearsal_needs_rehearse(
    planner: Planner, option: tuple[str, str]
) -> None:
    done = planner.run(*option)
    assert done.returncode == 3
    assert f"{option[0]} needs --rehearse" in done.stderr


class SqlCopy:
    """A copy of the shipped SQL folder with one more migration."""

    def __init__(self, path: Path, text: str, verify: str = "") -> None:
        self.path = path
        shutil.copytree(resource_path("sql"), path)
        self.number = read_folder(path).migrations[-1].version + 1
        (path / f"migrations/{self.number:04}_try.sql").write_text(text)
        if verify:
            (path / "verify").mkdir(exist_ok=True)
            (path / f"verify/{self.number:04}.sql").write_text(verify)

    def rehearse(self, planner: Planner, *arguments: object) -> dict[str, Any]:
        """Rehearse; return the report, after a check of the exit code."""
        done = planner.run(
            "--sql-dir", self.path, "--rehearse", "--json", "--fail-on", "never", *arguments
        )
        assert done.stdout, done.stderr
        rehearsal = dict(json.loads(done.stdout)["rehearsal"])
        assert done.returncode == (1 if rehearsal["failure"] else 0)
        return rehearsal


TODO_BY_TEXT = (
    "-- sessionbase: no-transaction\ncreate index concurrently todos_by_text on app.todos (text);\n"
)

# A migration, its file of verify/, and the check that refuses it.
REFUSED = {
    "row_level_security": ("alter table app.todos disable row level security;\n", ""),
    "grants": ("grant select on app.todos to anon;\n", ""),
    "verify": ("comment on table app.todos is 'T';\n", "select 'wrong' as text;\n"),
    "verify of a file without a transaction": (TODO_BY_TEXT, "select 'wrong' as text;\n"),
    "role_probes": ("drop policy select_own on app.todos;\n", ""),
}


@pytest.mark.parametrize("case", REFUSED)
def test_the_rehearsal_is_refused_by_the_checks_that_refuse_the_migration(
    planner: Planner, tmp_path: Path, case: str
) -> None:
    fill(planner.uri, "p1", "p2")
    copy = SqlCopy(tmp_path / "sql", *REFUSED[case])
    name = case.split(" ", maxsplit=1)[0]
    rehearsal = copy.rehearse(planner, "--sample", "20")
    assert len(rehearsal["files"][0]["statements"]) == 1
    assert rehearsal["repeatable"] is None, "the files after the refused one must not run"
    with pytest.raises(CheckFailed) as refusal:
        migrate(planner.uri, copy.path)
    assert rehearsal["failure"] == str(refusal.value)
    assert name in {finding.lint for finding in refusal.value.findings}


def test_a_probe_needs_the_rows_of_a_sample(planner: Planner, tmp_path: Path) -> None:
    fill(planner.uri, "p1", "p2")
    copy = SqlCopy(tmp_path / "sql", *REFUSED["role_probes"])
    assert copy.rehearse(planner)["failure"] is None
    refused = copy.rehearse(planner, "--sample", "20")
    assert "role_probes: app.todos" in refused["failure"]
    skipped = copy.rehearse(planner, "--sample", "20", "--skip-lint", "role_probes")
    assert skipped["failure"] is None
    assert skipped["repeatable"] is not None


def test_an_unknown_name_of_a_check_is_refused(planner: Planner) -> None:
    done = planner.run("--rehearse", "--skip-lint", "nothing", planner.write("select 1;\n"))
    assert done.returncode == 3
    assert "--skip-lint 'nothing' is not the name of a check" in done.stderr


def test_a_violated_deferred_constraint_is_a_failure_with_a_report(planner: Planner) -> None:
    file = planner.write(
        "create table app.a (id int primary key);\n"
        "create table app.b (id int references app.a deferrable initially deferred);\n"
        "insert into app.b values (1);\n"
    )
    done = planner.run("--rehearse", "--fail-on", "never", file)
    assert done.returncode == 1
    assert "FAILED: " in done.stdout and "violates foreign key" in done.stdout, done.stderr


def test_an_interrupted_migration_without_a_transaction_is_rehearsed(
    planner: Planner, tmp_path: Path
) -> None:
    copy = SqlCopy(
        tmp_path / "sql",
        "-- sessionbase: no-transaction\nreindex index concurrently app.todos_pkey;\n",
    )
    migration = read_folder(copy.path).migrations[-1]
    planner.execute(
        "insert into ops.unfinished_migrations (version, sha256)"
        f" values ({migration.version}, '{migration.file.sha256}')"
    )
    assert copy.rehearse(planner)["failure"] is None
    planner.execute(f"update ops.unfinished_migrations set sha256 = '{'0' * 64}'")
    refused = copy.rehearse(planner)["failure"]
    assert "was edited after a run of it was interrupted" in refused


def test_foreign_schemas_and_roles_of_others_do_not_disturb_the_rehearsal(
    planner: Planner,
) -> None:
    planner.execute(
        "create extension pg_trgm",
        "create schema other",
        "create view other.todos as select id from app.todos",
        "create role plan_reader",
        "grant select on app.todos to plan_reader",
    )
    try:
        rehearsal = planner.plan("grant update on app.todos to plan_reader;\n", "--rehearse")[
            "rehearsal"
        ]
        assert rehearsal["failure"] is None
        assert [(one["object"], one["fact"]) for one in rehearsal["changes"]] == [
            ("table app.todos", "plan_reader may UPDATE")
        ]
        assert {"extension pg_trgm", "schema other"} <= set(rehearsal["not_included"])
        planner.execute("create function app.like_text(gtrgm) returns int return 1")
        done = planner.run("--rehearse", planner.write("select 1;\n"))
        assert done.returncode == 3
        assert "the copy does not have extension pg_trgm, schema other" in done.stderr
    finally:
        planner.execute("drop owned by plan_reader", "drop role plan_reader")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_rehearsal_and_leaves_nothing_behind(
    planner: Planner, tmp_path: Path, number: signal.Signals
) -> None:
    temporary = tmp_path / "t"
    temporary.mkdir()
    file = planner.write("select pg_sleep(60);\n")
    command = [sys.executable, "-m", "sessionbase", "migrate", "plan", "--rehearse", "--sample=5"]
    with subprocess.Popen(
        [*command, "--db-uri", planner.uri, str(file)],
        env={**os.environ, "TMPDIR": str(temporary)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stderr
        for line in process.stderr:
            if "running the pending files" in line:
                break
        servers = [one for one in psutil.process_iter() if _is_child(one, process.pid)]
        folders = [Path(one.cwd()) for one in servers]
        time.sleep(1)
        os.killpg(process.pid, number)  # as Ctrl-C in a terminal does
        assert process.wait(30) == 128 + number
    assert list(temporary.iterdir()) == [], "the copy and its rows must be deleted"
    assert servers, "the server of the copy must be found while it runs"
    # In a container without an init process an ended server stays in the list as a zombie.
    left = [one for one in servers if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
    assert not left
    assert not [folder for folder in folders if folder.exists()]


def _is_child(process: psutil.Process, parent: int) -> bool:
    """Return whether it is a server that the process started, which is not always its child."""
    with suppress(psutil.Error):
        return process.name() == "postgres" and process.ppid() == parent
    return False


def test_a_mistake_in_a_file_of_verify_is_found_by_the_plan(
    planner: Planner, tmp_path: Path
) -> None:
    copy = SqlCopy(tmp_path / "sql", "select 1;\n", "delete from app.todos;\n")
    done = planner.run("--sql-dir", copy.path)
    assert done.returncode == 3
    assert f"verify/{copy.number:04}.sql, line 1: not only a SELECT" in done.stderr


def test_a_new_database_can_be_planned_and_rehearsed(empty_database: str) -> None:
    done = run_main("migrate", "plan", "--db-uri", empty_database, "--rehearse", "--json")
    assert done.returncode == 0, done.stderr or done.stdout
    report = json.loads(done.stdout)
    shipped = sorted(path.name for path in (PROJECT_DIR / "sql/migrations").glob("*.sql"))
    assert [file["file"] for file in report["files"]] == [f"migrations/{name}" for name in shipped]
    assert report["hazards"] == 0
    rehearsal = report["rehearsal"]
    assert rehearsal["failure"] is None
    differences = [
        text
        for file in rehearsal["files"]
        for statement in file["statements"]
        for text in statement["differences"]
    ]
    assert differences == []
    assert {"object": "function app.profile_id()", "change": "added",
            "fact": "its owner is sessionbase_owner"} in rehearsal["changes"]  # fmt: skip


def _without_figures(text: str) -> list[str]:
    """Return the lines without what differs from run to run: times, sizes, versions, folders."""
    text = re.sub(r"[\d.]+ ms, \d+ bytes of WAL", "N ms, N bytes of WAL", text)
    text = re.sub(r"\d+ ms", "N ms", text)
    text = re.sub(r"PostgreSQL [\d.]+( \(.*\))?$", "PostgreSQL N", text, flags=re.MULTILINE)
    text = re.sub(r"PostgreSQL [\d.]+", "PostgreSQL N", text)
    text = re.sub(r"\((about \d+ rows|rows not estimated), .* of indexes\)", "(SIZE)", text)
    return [line.rstrip() for line in text.strip().splitlines()]


def test_the_commands_of_the_page_print_what_it_shows(planner: Planner) -> None:
    environment = {
        "PATH": "/usr/bin:/bin",
        "LC_ALL": "C.UTF-8",
        "SESSIONBASE_DB_URI": planner.uri,
        "SESSIONBASE": str(Path(sys.executable).with_name("sessionbase")),
    }
    for heading in ("Plan", "Rehearse"):
        script = code_block(PAGE, "Plan", "sh") if heading == "Rehearse" else ""
        script = script.split("sessionbase migrate")[0].rpartition("\n")[0] + "\n"
        script += code_block(PAGE, heading, "sh")
        done = subprocess.run(
            ["bash", "-u", "-c", script.replace(".venv/bin/sessionbase", '"$SESSIONBASE"')],
            env=environment,
            cwd=planner.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        shown = code_block(PAGE, heading, "text")
        assert _without_figures(done.stdout) == _without_figures(shown), (
            f"correct docs/{PAGE}: it must show\n{done.stdout}\n{done.stderr}"
        )
