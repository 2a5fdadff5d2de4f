"""`sessionbase audit` detects changes of a chain, with and without a checkpoint."""

import hmac
import json
import os
import pty
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from conftest import Stack
from sessionbase.audit import chains
from sessionbase.audit.checkpoint import (
    Chain,
    create_key,
    read_checkpoint,
    read_key,
    write_checkpoint,
)
from sessionbase.errors import SessionbaseError
from support.command import run_main

pytest_plugins = ["support.sql_folder"]

Database = psycopg.Connection[Any]


def record(db: Database, profile: str, *names: str) -> None:
    """Record decisions with these ids; the triggers append them to the profile's chain."""
    for name in names:
        db.execute(
            "insert into app.hookify_decisions"
            " (profile_id, id, session_id, source, content_hash, severity, blocked, rules)"
            " values (%s, %s, 's1', 'manual', repeat('a', 64), 'low', false, '[]')",
            [profile, name],
        )


def tamper(db: Database, *statements: str, profile: str) -> None:
    """Write as a superuser in a session that runs no triggers."""
    with db.transaction():
        db.execute("set local session_replication_role = replica")
        for statement in statements:
            db.execute(statement.encode(), {"profile": profile})


def rebuild(db: Database, profile: str) -> None:
    """Compute all hashes and the head again, so that a changed chain is valid in itself."""
    rows = "where profile_id = %(profile)s and position = "
    count = db.execute(
        "select count(*) from app.hookify_decisions where profile_id = %s", [profile]
    ).fetchone()
    assert count
    tamper(
        db,
        *(
            statement
            for position in range(1, count[0] + 1)
            for statement in (
                "update app.hookify_decisions as d set previous_hash = coalesce((select"
                " row_hash from app.hookify_decisions"
                f" {rows}{position - 1}), repeat('0', 64)) {rows}{position}",
                "update app.hookify_decisions as d set row_hash = app.hookify_decision_hash(d)"
                f" {rows}{position}",
            )
        ),
        "update app.hookify_chains set (length, head_hash) = (select position, row_hash from"
        " app.hookify_decisions where profile_id = %(profile)s order by position desc limit 1)"
        " where profile_id = %(profile)s",
        profile=profile,
    )


def delete_chain(db: Database, profile: str) -> None:
    tamper(
        db,
        "delete from app.hookify_decisions where profile_id = %(profile)s",
        "delete from app.hookify_chains where profile_id = %(profile)s",
        profile=profile,
    )


@pytest.fixture
def chain(db: Database, profile: str) -> str:
    """Record three decisions of the test's profile; return the profile."""
    record(db, profile, "one", "two", "three")
    return profile


@pytest.fixture
def own_db(migrated_database: str) -> Iterator[Database]:
    """Connect to the test's own database, in which p-1 and p-2 have three decisions each."""
    with psycopg.connect(migrated_database, autocommit=True) as connection:
        for profile in ("p-1", "p-2"):
            record(connection, profile, "one", "two", "three")
        yield connection


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    """Return a new file with a key."""
    path = tmp_path / "audit.key"
    create_key(path)
    return path


@pytest.fixture
def checkpoint(migrated_database: str, own_db: Database, key_file: Path, tmp_path: Path) -> Path:
    """Return a checkpoint of the test's own database."""
    path = tmp_path / "checkpoint.jsonl"
    done = run_main(
        "audit", "checkpoint", path, "--key-file", key_file, "--db-uri", migrated_database
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"the checkpoint is in {path}: chains: 2, decisions: 6\n"
    return path


def compare(uri: str, checkpoint: Path, key_file: Path, *options: str) -> dict[str, Any]:
    """Verify all chains against the checkpoint; return the report."""
    done = run_main(
        *("audit", "verify", "--db-uri", uri, "--json", *options),
        *("--checkpoint", checkpoint, "--key-file", key_file),
    )
    report: dict[str, Any] = json.loads(done.stdout)
    assert done.stderr == ""
    assert done.returncode == (0 if report["valid"] else 1)
    return report


def problems(report: dict[str, Any]) -> list[tuple[str, int | None, str]]:
    return [
        (problem["profile_id"], problem["position"], problem["problem"])
        for problem in report["problems"]
    ]


# Without a checkpoint.


def test_a_valid_chain_is_verified(stack: Stack, chain: str) -> None:
    done = run_main("audit", "verify", "--profile", chain, "--db-uri", stack.db_uri)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("chains verified: 1, decisions verified: 3, problems: 0, ")


@pytest.mark.parametrize(
    ("statement", "position", "name", "problem"),
    [
        (
            "update app.hookify_decisions set blocked = true"
            " where profile_id = %(profile)s and position = 2",
            2,
            "two",
            "the row was changed after it was recorded",
        ),
        (
            "delete from app.hookify_decisions where profile_id = %(profile)s and position = 2",
            3,
            "three",
            "decision 2 of the chain is missing",
        ),
        (
            "delete from app.hookify_decisions where profile_id = %(profile)s and position = 3",
            3,
            None,
            "the chain ends after 2 decisions, but 3 were recorded",
        ),
        (
            "delete from app.hookify_chains where profile_id = %(profile)s",
            1,
            None,
            "the head of the chain is missing",
        ),
    ],
)
def test_a_changed_chain_is_reported_in_one_line_with_exit_code_1(
    stack: Stack,
    db: Database,
    chain: str,
    statement: str,
    position: int,
    name: str | None,
    problem: str,
) -> None:
    tamper(db, statement, profile=chain)
    done = run_main("audit", "verify", "--profile", chain, "--db-uri", stack.db_uri)
    assert (done.returncode, done.stderr) == (1, "")
    line, summary = done.stdout.splitlines()
    place = f'profile "{chain}", position {position}' + (f', id "{name}"' if name else "")
    assert line == f"{place}: {problem}"
    assert ", problems: 1, " in summary


def test_control_characters_of_an_id_are_not_printed(
    stack: Stack, db: Database, profile: str
) -> None:
    record(db, profile, "\x1b[2J\nprofile x: all valid")
    tamper(
        db,
        "update app.hookify_decisions set blocked = true where profile_id = %(profile)s",
        profile=profile,
    )
    done = run_main("audit", "verify", "--profile", profile, "--db-uri", stack.db_uri)
    assert len(done.stdout.splitlines()) == 2
    assert "\x1b" not in done.stdout


def test_every_chain_is_verified_if_no_profile_is_given(
    migrated_database: str, own_db: Database
) -> None:
    record(own_db, "p-3", "one")
    tamper(
        own_db,
        "update app.hookify_decisions set blocked = true"
        " where profile_id = %(profile)s and position = 3",
        profile="p-1",
    )
    tamper(own_db, "delete from app.hookify_chains where profile_id = %(profile)s", profile="p-2")
    done = run_main("audit", "verify", "--db-uri", migrated_database, "--json")
    assert done.returncode == 1
    report = json.loads(done.stdout)
    assert problems(report) == [
        ("p-1", 3, "the row was changed after it was recorded"),
        ("p-2", 1, "the head of the chain is missing"),
    ]
    assert (report["valid"], report["chains"], report["decisions"]) == (False, 3, 7)


def test_a_database_without_decisions_is_valid(migrated_database: str) -> None:
    done = run_main("audit", "verify", "--db-uri", migrated_database, "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["chains"] == 0


def test_an_unknown_profile_is_an_error(stack: Stack, profile: str) -> None:
    done = run_main("audit", "verify", "--profile", profile, "--db-uri", stack.db_uri)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"no decisions are recorded for profile {profile}" in done.stderr


def test_a_chain_is_verified_in_ranges(
    stack: Stack, db: Database, chain: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chains, "RANGE", 2)
    record(db, chain, "four", "five")
    steps: list[tuple[int, int]] = []
    report = chains.verify_chains(
        stack.db_uri, chain, progress=lambda done, total: steps.append((done, total))
    )
    assert steps == [(2, 5), (4, 5), (5, 5)]
    assert (report.decisions, report.problems) == (5, [])
    tamper(
        db,
        "update app.hookify_decisions set blocked = true"
        " where profile_id = %(profile)s and position = 4",
        profile=chain,
    )
    (problem,) = chains.verify_chains(stack.db_uri, chain).problems
    assert (problem.position, problem.id) == (4, "four")


def test_decisions_recorded_during_a_verification_cause_no_problem(
    stack: Stack, db: Database, chain: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chains, "RANGE", 1)
    report = chains.verify_chains(
        stack.db_uri, chain, progress=lambda done, _: record(db, chain, f"meanwhile {done}")
    )
    assert (report.decisions, report.problems) == (3, [])
    assert chains.verify_chains(stack.db_uri, chain).decisions == 6


def test_a_progress_bar_is_shown_on_a_terminal(stack: Stack, chain: str) -> None:
    terminal, end = pty.openpty()
    command = [sys.executable, "-m", "sessionbase", "audit", "verify", "--profile", chain]
    done = subprocess.run(
        [*command, "--db-uri", stack.db_uri],
        stdout=subprocess.PIPE,
        stderr=end,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "80"},
        check=True,
    )
    os.close(end)
    shown = os.read(terminal, 65536)
    os.close(terminal)
    assert b"verifying" in shown
    assert b"3/3" in shown
    assert done.stdout.startswith(b"chains verified: 1")


# With a checkpoint.


def test_chains_with_added_decisions_match_the_checkpoint(
    migrated_database: str, own_db: Database, checkpoint: Path, key_file: Path
) -> None:
    record(own_db, "p-1", "four")
    record(own_db, "p-3", "one")
    report = compare(migrated_database, checkpoint, key_file)
    assert report["problems"] == []
    assert (report["chains"], report["decisions"]) == (3, 8)
    assert report["checkpoint"]["chains"] == 2
    assert report["checkpoint"]["database"] == own_db.info.dbname
    done = run_main(
        *("audit", "verify", "--db-uri", migrated_database),
        *("--checkpoint", checkpoint, "--key-file", key_file),
    )
    assert done.stdout.startswith(f"compared with {checkpoint}: chains: 2, database: try_")


def test_a_deleted_chain_is_detected_with_the_checkpoint(
    migrated_database: str, own_db: Database, checkpoint: Path, key_file: Path
) -> None:
    delete_chain(own_db, "p-2")
    alone = run_main("audit", "verify", "--db-uri", migrated_database)
    assert alone.returncode == 0, (
        "without a checkpoint, a chain that was deleted with its head is not detected"
    )
    missing = [("p-2", None, "the chain is missing; the checkpoint has 3 decisions of it")]
    assert problems(compare(migrated_database, checkpoint, key_file)) == missing
    assert problems(compare(migrated_database, checkpoint, key_file, "--profile", "p-2")) == missing
    assert problems(compare(migrated_database, checkpoint, key_file, "--profile", "p-1")) == []


def test_a_shortened_chain_with_a_new_head_is_detected_with_the_checkpoint(
    migrated_database: str, own_db: Database, checkpoint: Path, key_file: Path
) -> None:
    tamper(
        own_db,
        "delete from app.hookify_decisions where profile_id = %(profile)s and position > 1",
        profile="p-2",
    )
    rebuild(own_db, "p-2")
    assert run_main("audit", "verify", "--db-uri", migrated_database).returncode == 0
    assert problems(compare(migrated_database, checkpoint, key_file)) == [
        (
            "p-2",
            3,
            "the chain is shorter than in the checkpoint: it ends after 1 decisions, "
            "the checkpoint has 3",
        )
    ]


@pytest.mark.parametrize("added", [[], ["four", "five"]])
def test_a_chain_rewritten_from_the_start_is_detected_with_the_checkpoint(
    migrated_database: str, own_db: Database, checkpoint: Path, key_file: Path, added: list[str]
) -> None:
    tamper(
        own_db,
        "update app.hookify_decisions set severity = 'none'"
        " where profile_id = %(profile)s and position = 1",
        profile="p-1",
    )
    rebuild(own_db, "p-1")
    record(own_db, "p-1", *added)
    assert run_main("audit", "verify", "--db-uri", migrated_database).returncode == 0
    assert problems(compare(migrated_database, checkpoint, key_file)) == [
        (
            "p-1",
            3,
            "the chain was rewritten: its decision at this position is not the one of the "
            "checkpoint",
        )
    ]


def test_a_checkpoint_includes_a_chain_without_a_head_and_warns(
    migrated_database: str, own_db: Database, key_file: Path, tmp_path: Path
) -> None:
    tamper(own_db, "delete from app.hookify_chains where profile_id = %(profile)s", profile="p-2")
    path = tmp_path / "checkpoint.jsonl"
    done = run_main(
        "audit", "checkpoint", path, "--key-file", key_file, "--db-uri", migrated_database
    )
    assert done.returncode == 0
    assert done.stderr == 'profile "p-2": the head of the chain is missing\n'
    delete_chain(own_db, "p-2")
    assert problems(compare(migrated_database, path, key_file)) == [
        ("p-2", None, "the chain is missing; the checkpoint has 3 decisions of it")
    ]


def test_a_checkpoint_is_json_lines(checkpoint: Path) -> None:
    header, *lines, signature = map(json.loads, checkpoint.read_text().splitlines())
    assert (header["format"], header["version"]) == ("sessionbase-audit-checkpoint", 1)
    assert [(line["profile_id"], line["length"]) for line in lines] == [("p-1", 3), ("p-2", 3)]
    assert {len(line["head_hash"]) for line in lines} == {64}
    assert len(signature["hmac_sha256"]) == 64


def test_an_existing_file_is_not_replaced_by_a_checkpoint_or_a_key(
    migrated_database: str, checkpoint: Path, key_file: Path
) -> None:
    for path, command in (
        (
            checkpoint,
            ("checkpoint", checkpoint, "--key-file", key_file, "--db-uri", migrated_database),
        ),
        (key_file, ("key", key_file)),
    ):
        before = path.read_bytes()
        done = run_main("audit", *command)
        assert done.returncode == 1
        assert done.stderr == f"Error: {path} exists and was not changed (name a new file)\n"
        assert path.read_bytes() == before


def test_a_failed_checkpoint_leaves_no_file(key_file: Path, tmp_path: Path) -> None:
    done = run_main(
        *("audit", "checkpoint", tmp_path / "new.jsonl", "--key-file", key_file),
        *("--db-uri", "postgresql://nobody@127.0.0.1:1/nowhere"),
    )
    assert done.returncode == 1
    assert [path.name for path in tmp_path.iterdir()] == [key_file.name]


# The file, without a database.


@pytest.fixture
def small_checkpoint(tmp_path: Path, key_file: Path) -> Path:
    """Return a checkpoint of two chains with made-up hashes."""
    path = tmp_path / "small.jsonl"
    made_up = [Chain("p-1", 5, "a" * 64), Chain("naïve 日本\n", 1, "b" * 64)]
    write_checkpoint(path, read_key(key_file), "2026-11-24T12:00:00+00:00", "try", made_up)
    read = read_checkpoint(path, read_key(key_file))
    assert (list(read.chains), read.database) == (made_up, "try")
    return path


def test_every_changed_byte_of_a_checkpoint_is_detected(
    small_checkpoint: Path, key_file: Path
) -> None:
    content = small_checkpoint.read_bytes()
    for place in range(len(content)):
        for other in (content[place] ^ 1, 0, 10):
            if content[place] != other:
                small_checkpoint.write_bytes(
                    content[:place] + bytes([other]) + content[place + 1 :]
                )
                with pytest.raises(SessionbaseError):
                    read_checkpoint(small_checkpoint, read_key(key_file))


def test_a_checkpoint_truncated_at_any_byte_is_refused(
    small_checkpoint: Path, key_file: Path
) -> None:
    content = small_checkpoint.read_bytes()
    for length in range(len(content)):
        small_checkpoint.write_bytes(content[:length])
        with pytest.raises(SessionbaseError):
            read_checkpoint(small_checkpoint, read_key(key_file))


def lines_of(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


def test_the_error_names_what_is_wrong_with_a_checkpoint(
    small_checkpoint: Path, key_file: Path, tmp_path: Path
) -> None:
    lines = lines_of(small_checkpoint)
    other_key = tmp_path / "other.key"
    create_key(other_key)
    cut = "is cut off, or lines were added to it: its last line is not a signature"
    no_checkpoint = "is not a checkpoint of sessionbase, or its first line was changed"
    for content, key, message in (
        (b"".join(lines).replace(b'"length": 5', b'"length": 4'), key_file, "was changed after"),
        (b"".join([lines[0], lines[1], lines[3]]), key_file, "was changed after it was signed"),
        (b"".join(lines[:-1]), key_file, cut),
        (b"".join(lines) + lines[2], key_file, cut),
        (b"".join(lines), other_key, "was signed with another key"),
        (b"".join(lines[1:]), key_file, no_checkpoint),
        (b"", key_file, no_checkpoint),
        (b"".join(lines).replace(b'"version": 1', b'"version": 2'), key_file, "version 2"),
    ):
        small_checkpoint.write_bytes(content)
        with pytest.raises(SessionbaseError) as refused:
            read_checkpoint(small_checkpoint, read_key(key))
        assert str(refused.value).startswith(f"{small_checkpoint} ")
        assert message in str(refused.value)
    done = run_main("audit", "verify", "--checkpoint", small_checkpoint, "--key-file", key_file)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(
        f"Error: {small_checkpoint} has version 2 of the checkpoint format"
    )


def test_the_signature_is_the_hmac_of_all_lines_before_it(
    small_checkpoint: Path, key_file: Path
) -> None:
    *signed, last = lines_of(small_checkpoint)
    key = key_file.read_text().strip().encode()
    expected = hmac.digest(key, b"".join(signed), "sha256").hex()
    assert last == b'{"hmac_sha256": "%s"}\n' % expected.encode()


def test_a_new_key_can_be_read_by_its_owner_only(key_file: Path, tmp_path: Path) -> None:
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    create_key(tmp_path / "other.key")
    assert read_key(key_file) != read_key(tmp_path / "other.key")


def test_a_key_that_is_too_short_or_missing_is_refused(tmp_path: Path) -> None:
    short = tmp_path / "short.key"
    short.write_bytes(b"x" * 31 + b"\n")
    for path, message in ((short, "has 31 bytes"), (tmp_path / "none.key", "can't be read")):
        done = run_main(
            *("audit", "checkpoint", tmp_path / "new.jsonl", "--key-file", path),
            *("--db-uri", "postgresql://nobody@127.0.0.1:1/nowhere"),
        )
        assert done.returncode == 1
        assert message in done.stderr
    assert not (tmp_path / "new.jsonl").exists()


@pytest.mark.parametrize("option", ["--checkpoint", "--key-file"])
def test_checkpoint_and_key_file_must_be_given_together(option: str) -> None:
    done = run_main("audit", "verify", option, "x")
    assert done.returncode == 2
    assert "--checkpoint and --key-file must be given together" in done.stderr


# Erased profiles.


def erase(uri: str, profile: str) -> None:
    done = run_main("profile", "erase", profile, "--yes", "--db-uri", uri, "--reason", "request")
    assert done.returncode == 0, done.stderr


def erasures(report: dict[str, Any]) -> list[tuple[str, int, str, int]]:
    return [
        (found["profile_id"], found["decisions"], found["reason"], found["decisions_since"])
        for found in report["erased"]
    ]


def test_an_erased_chain_is_reported_as_erased_and_not_as_valid(
    migrated_database: str, own_db: Database, checkpoint: Path, key_file: Path
) -> None:
    erase(migrated_database, "p-1")
    done = run_main("audit", "verify", "--profile", "p-1", "--db-uri", migrated_database)
    assert done.returncode == 0
    assert re.match(
        r'profile "p-1": erased on 20\S+ by postgres \("request"\): 3 decisions; '
        r"decisions in the new chain: 0\nchains verified: 0, ",
        done.stdout,
    )
    one = run_main("audit", "verify", "--profile", "p-1", "--db-uri", migrated_database, "--json")
    assert json.loads(one.stdout)["valid"] is None
    report = compare(migrated_database, checkpoint, key_file)
    assert (report["chains"], problems(report)) == (1, [])
    assert erasures(report) == [("p-1", 3, "request", 0)]


def test_the_chain_after_an_erasure_is_verified_and_can_be_in_a_checkpoint(
    migrated_database: str, own_db: Database, checkpoint: Path, key_file: Path, tmp_path: Path
) -> None:
    record(own_db, "p-1", "four")
    erase(migrated_database, "p-1")
    erase(migrated_database, "p-2")
    record(own_db, "p-1", "new")
    report = compare(migrated_database, checkpoint, key_file)
    assert (report["chains"], report["decisions"], problems(report)) == (1, 1, [])
    assert erasures(report) == [("p-1", 4, "request", 1), ("p-2", 3, "request", 0)]

    second = tmp_path / "second.jsonl"
    done = run_main(
        "audit", "checkpoint", second, "--key-file", key_file, "--db-uri", migrated_database
    )
    assert done.stdout.endswith("chains: 1, decisions: 1\n")
    tamper(
        own_db,
        "update app.hookify_decisions set blocked = true where profile_id = %(profile)s",
        profile="p-1",
    )
    report = compare(migrated_database, second, key_file)
    assert [problem for *_, problem in problems(report)] == [
        "the row was changed after it was recorded"
    ]


def test_an_erasure_does_not_hide_what_was_cut_off_or_rewritten_before(
    migrated_database: str, own_db: Database, checkpoint: Path, key_file: Path
) -> None:
    tamper(
        own_db,
        "delete from app.hookify_decisions where profile_id = %(profile)s and position = 3",
        "update app.hookify_chains set (length, head_hash) = (select 2, row_hash from"
        " app.hookify_decisions where profile_id = %(profile)s and position = 2)"
        " where profile_id = %(profile)s",
        profile="p-1",
    )
    tamper(
        own_db,
        "update app.hookify_decisions set message = 'x' where profile_id = %(profile)s",
        profile="p-2",
    )
    rebuild(own_db, "p-2")
    erase(migrated_database, "p-1")
    erase(migrated_database, "p-2")
    found = problems(compare(migrated_database, checkpoint, key_file))
    assert [(profile, position) for profile, position, _ in found] == [("p-1", 3), ("p-2", 3)]
    assert "had 2 decisions and was not the one of the checkpoint" in found[0][2]
    assert "had 3 decisions and was not the one of the checkpoint" in found[1][2]


def test_an_erasure_before_the_checkpoint_does_not_explain_a_missing_chain(
    migrated_database: str, own_db: Database, key_file: Path, tmp_path: Path
) -> None:
    erase(migrated_database, "p-1")
    record(own_db, "p-1", "new")
    path = tmp_path / "checkpoint.jsonl"
    later = (datetime.now(UTC) + timedelta(minutes=5)).isoformat(timespec="seconds")
    head = own_db.execute("select head_hash from app.hookify_chains where profile_id = 'p-1'")
    row = head.fetchone()
    assert row
    write_checkpoint(path, read_key(key_file), later, "d", [Chain("p-1", 1, row[0])])
    delete_chain(own_db, "p-1")
    (found,) = problems(compare(migrated_database, path, key_file))
    assert found[:2] == ("p-1", 1)
    assert "it ends after 0 decisions, the checkpoint has 1" in found[2]


def move_away_and_back(uri: str, profile: str, file: Path) -> None:
    """Erase the profile after an export, and import it again."""
    assert run_main("profile", "export", profile, file, "--db-uri", uri).returncode == 0
    erase(uri, profile)
    done = run_main("profile", "import", file, "--db-uri", uri)
    assert done.returncode == 0, done.stderr


def test_an_erasure_does_not_explain_that_a_chain_imported_after_it_is_missing(
    migrated_database: str, own_db: Database, key_file: Path, tmp_path: Path
) -> None:
    move_away_and_back(migrated_database, "p-1", tmp_path / "p-1.jsonl")
    path = tmp_path / "checkpoint.jsonl"
    later = (datetime.now(UTC) + timedelta(seconds=30)).isoformat(timespec="seconds")
    head = own_db.execute("select head_hash from app.hookify_chains where profile_id = 'p-1'")
    row = head.fetchone()
    assert row
    write_checkpoint(path, read_key(key_file), later, "d", [Chain("p-1", 3, row[0])])
    assert problems(compare(migrated_database, path, key_file)) == []
    delete_chain(own_db, "p-1")
    assert problems(compare(migrated_database, path, key_file)) == [
        ("p-1", 1, "the head of the chain is missing"),
        (
            "p-1",
            3,
            "the chain is shorter than in the checkpoint: it ends after 0 decisions, "
            "the checkpoint has 3",
        ),
    ]


@pytest.mark.parametrize("entry_deleted", [False, True])
def test_a_new_chain_in_the_place_of_an_imported_one_is_not_valid(
    migrated_database: str, own_db: Database, tmp_path: Path, entry_deleted: bool
) -> None:
    move_away_and_back(migrated_database, "p-1", tmp_path / "p-1.jsonl")
    if entry_deleted:
        tamper(own_db, "delete from app.profile_log where action = 'erase'", profile="")
    delete_chain(own_db, "p-1")
    record(own_db, "p-1", "new", "newer", "newest", "last")
    found = own_db.execute(
        "select valid, first_bad_position, problem, next_position"
        " from api.verify_hookify_decisions('p-1')"
    ).fetchone()
    assert found == (False, 3, "the decision is not the one that was imported", None)
    ranges = own_db.execute(
        "select r.valid, r.next_position, r.first_bad_position from generate_series(1, 4) as n,"
        " api.verify_hookify_decisions('p-1', n, 1) as r order by n"
    ).fetchall()
    assert ranges == [(None, 2, None), (None, 3, None), (False, None, 3), (True, None, None)]
    done = run_main("audit", "verify", "--db-uri", migrated_database)
    assert done.returncode == 1
    assert "the decision is not the one that was imported" in done.stdout


def test_the_list_of_chains_does_not_read_the_entries_of_imported_profiles(
    own_db: Database,
) -> None:
    tamper(
        own_db,
        "insert into app.profile_log select 'i' || n, 1, 'import', now(), 'x',"
        " pg_current_xact_id(), '{}'::text::jsonb, 0, repeat('0', 64), null, null, '[]'"
        " from generate_series(1, 20000) as n",
        "insert into app.hookify_chains (profile_id) select 'c' || n"
        " from generate_series(1, 50) as n",
        profile="",
    )
    own_db.execute("analyze app.profile_log")
    read = (
        "select pg_stat_get_xact_tuples_fetched('app.profile_log'::regclass)"
        " + pg_stat_get_xact_tuples_returned('app.profile_log'::regclass)"
    )
    with own_db.transaction():
        own_db.execute("select api.verify_hookify_decisions()")
        row = own_db.execute(read).fetchone()
    assert row and row[0] < 1000, f"{row} entries were read to list 50 chains"
