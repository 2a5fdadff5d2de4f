"""UI settings over HTTP: one document per profile, with revisions against lost updates."""

import json
from functools import partial
from typing import Any

import httpx
import psycopg
import pytest
from psycopg.types.json import Jsonb

from conftest import ClientFor
from support.concurrency import at_once

MIB = 1024 * 1024
DOCUMENT = {
    "lastSessionPath": "sessions/1.jsonl",
    "ruleInspector": {"open": True},
    "bookmarks": [{"id": "b1"}, "b2"],
    "sessionExplorer": {"filters": {"query": "x"}},
    "timelinePreferences": {
        "filters": ["tool"],
        "quickFilter": "all",
        "roleFilter": "user",
        "sortOrder": "desc",
        "searchQuery": "",
        "eventRange": {"start": 1},
        "commandFilter": None,
        "originFilter": ["a"],
    },
}


def save(client: httpx.Client, settings: object, **arguments: Any) -> httpx.Response:
    return client.post("/rpc/save_ui_settings", json={"settings": settings, **arguments})


def patch(client: httpx.Client, part: object, **arguments: Any) -> httpx.Response:
    return client.post("/rpc/patch_ui_settings", json={"patch": part, **arguments})


def load(client: httpx.Client) -> list[dict[str, Any]]:
    answer = client.get("/ui_settings")
    assert answer.status_code == 200, answer.text
    rows: list[dict[str, Any]] = answer.json()
    return rows


def document_of_size(size: int) -> dict[str, str]:
    """Return a document whose text has `size` bytes in PostgreSQL."""
    frame = json.dumps({"blob": ""})
    return {"blob": "x" * (size - len(frame))}


def assert_stale(answer: httpx.Response, revision: int, settings: object) -> None:
    assert answer.status_code == 409
    assert answer.json()["code"] == "stale_revision"
    assert json.loads(answer.json()["details"]) == {"revision": revision, "settings": settings}


# The table of examples in RFC 7396, appendix A: original, patch, result.
RFC_7396_EXAMPLES = [
    ('{"a":"b"}', '{"a":"c"}', '{"a":"c"}'),
    ('{"a":"b"}', '{"b":"c"}', '{"a":"b","b":"c"}'),
    ('{"a":"b"}', '{"a":null}', "{}"),
    ('{"a":"b","b":"c"}', '{"a":null}', '{"b":"c"}'),
    ('{"a":["b"]}', '{"a":"c"}', '{"a":"c"}'),
    ('{"a":"c"}', '{"a":["b"]}', '{"a":["b"]}'),
    ('{"a":{"b":"c"}}', '{"a":{"b":"d","c":null}}', '{"a":{"b":"d"}}'),
    ('{"a":[{"b":"c"}]}', '{"a":[1]}', '{"a":[1]}'),
    ('["a","b"]', '["c","d"]', '["c","d"]'),
    ('{"a":"b"}', '["c"]', '["c"]'),
    ('{"a":"foo"}', "null", "null"),
    ('{"a":"foo"}', '"bar"', '"bar"'),
    ('{"e":null}', '{"a":1}', '{"e":null,"a":1}'),
    ("[1,2]", '{"a":"b","c":null}', '{"a":"b"}'),
    ("{}", '{"a":{"bb":{"ccc":null}}}', '{"a":{"bb":{}}}'),
]


@pytest.mark.parametrize(("original", "change", "result"), RFC_7396_EXAMPLES)
def test_a_merge_patch_has_the_results_of_rfc_7396(
    db: psycopg.Connection[Any], original: str, change: str, result: str
) -> None:
    merged = db.execute(
        "select app.json_merge_patch(%s, %s)",
        [Jsonb(json.loads(original)), Jsonb(json.loads(change))],
    ).fetchone()
    assert merged == (json.loads(result),)


@pytest.mark.parametrize(
    ("original", "change", "result"),
    [row for row in RFC_7396_EXAMPLES if row[0].startswith("{") and row[1].startswith("{")],
)
def test_a_patch_over_http_has_the_results_of_rfc_7396(
    client: httpx.Client, original: str, change: str, result: str
) -> None:
    save(client, json.loads(original))
    answer = patch(client, json.loads(change))
    assert answer.status_code == 200, answer.text
    assert answer.json()["settings"] == json.loads(result)


def test_before_the_first_save_there_is_no_row(client: httpx.Client) -> None:
    assert load(client) == []


def test_a_saved_document_is_returned_unchanged(client: httpx.Client) -> None:
    answer = save(client, DOCUMENT)
    assert answer.status_code == 200, answer.text
    made = answer.json()
    columns = {"settings", "revision", "updated_at"}
    assert set(made) == columns, "list here the columns that were added or removed"
    assert (made["settings"], made["revision"]) == (DOCUMENT, 1)
    assert load(client) == [made]


def test_saving_replaces_the_whole_document_and_increases_the_revision(
    client: httpx.Client,
) -> None:
    first = save(client, DOCUMENT).json()
    second = save(client, {"bookmarks": []}).json()
    assert (second["settings"], second["revision"]) == ({"bookmarks": []}, 2)
    assert second["updated_at"] > first["updated_at"]
    assert load(client) == [second]


def test_saving_the_same_document_increases_the_revision(client: httpx.Client) -> None:
    revisions = [save(client, DOCUMENT).json()["revision"] for _ in range(3)]
    assert revisions == [1, 2, 3]


def test_save_and_patch_keep_unknown_keys(client: httpx.Client) -> None:
    unknown = {
        "fromALaterVersion": {"deep": [1, None, {"x": "y"}]},
        "timelinePreferences": {"newFilter": 7, "filters": []},
    }
    save(client, unknown)
    patch(client, {"lastSessionPath": "p", "timelinePreferences": {"searchQuery": "q"}})
    expected = {
        **unknown,
        "lastSessionPath": "p",
        "timelinePreferences": {"newFilter": 7, "filters": [], "searchQuery": "q"},
    }
    assert load(client)[0]["settings"] == expected


def test_a_patch_before_the_first_save_creates_the_document(client: httpx.Client) -> None:
    answer = patch(client, {"bookmarks": ["b"], "lastSessionPath": None})
    assert (answer.json()["settings"], answer.json()["revision"]) == ({"bookmarks": ["b"]}, 1)


def test_an_empty_patch_changes_only_the_revision(client: httpx.Client) -> None:
    save(client, DOCUMENT)
    answer = patch(client, {})
    assert (answer.json()["settings"], answer.json()["revision"]) == (DOCUMENT, 2)


def test_a_stale_revision_is_refused_with_the_stored_document(
    client: httpx.Client,
) -> None:
    save(client, {"a": 1})
    assert save(client, {"a": 2}, expected_revision=1).json()["revision"] == 2
    assert patch(client, {"b": 3}, expected_revision=2).json()["revision"] == 3
    stored = load(client)
    for revision in (0, 1, 2, 4, -1):
        assert_stale(save(client, {"lost": 1}, expected_revision=revision), 3, {"a": 2, "b": 3})
        assert_stale(patch(client, {"lost": 1}, expected_revision=revision), 3, {"a": 2, "b": 3})
    assert load(client) == stored


@pytest.mark.parametrize("write", [save, patch])
def test_revision_0_means_that_nothing_is_stored_yet(client: httpx.Client, write: Any) -> None:
    assert_stale(write(client, {"a": 1}, expected_revision=1), 0, None)
    assert load(client) == []
    assert write(client, {"a": 1}, expected_revision=0).json()["revision"] == 1
    assert_stale(write(client, {"a": 2}, expected_revision=0), 1, {"a": 1})
    assert load(client)[0]["settings"] == {"a": 1}


@pytest.mark.parametrize("revision", [0, 1])
@pytest.mark.parametrize("write", [save, patch])
def test_one_of_many_concurrent_writes_with_one_revision_succeeds(
    client: httpx.Client, write: Any, revision: int
) -> None:
    if revision:
        save(client, {"tab": None})
    answers = at_once(
        [partial(write, client, {"tab": tab}, expected_revision=revision) for tab in range(16)]
    )
    succeeded = [tab for tab, answer in enumerate(answers) if answer.status_code == 200]
    assert len(succeeded) == 1
    for tab, answer in enumerate(answers):
        if tab not in succeeded:
            assert_stale(answer, revision + 1, {"tab": succeeded[0]})
    assert load(client)[0]["settings"] == {"tab": succeeded[0]}


def test_200_concurrent_patches_of_8_clients_are_all_stored(
    client: httpx.Client, client_for: ClientFor, profile: str
) -> None:
    def patch_25(tab: int) -> list[int]:
        mine = client_for(profile)
        return [
            patch(mine, {f"tab{tab}": {f"k{number}": number}}).json()["revision"]
            for number in range(25)
        ]

    revisions = at_once([partial(patch_25, tab) for tab in range(8)])
    assert sorted(number for of_tab in revisions for number in of_tab) == list(range(1, 201))
    (stored,) = load(client)
    assert stored["revision"] == 200
    assert stored["settings"] == {
        f"tab{tab}": {f"k{number}": number for number in range(25)} for tab in range(8)
    }


@pytest.mark.parametrize("write", [save, patch])
@pytest.mark.parametrize("document", [None, [], "text", 1, True, [DOCUMENT]])
def test_a_document_that_is_not_an_object_is_refused(
    client: httpx.Client, write: Any, document: object
) -> None:
    before = save(client, DOCUMENT).json()
    answer = write(client, document)
    assert answer.status_code == 400
    assert answer.json()["code"] == "invalid_argument"
    assert json.loads(answer.json()["details"]) == {
        "field": "settings" if write is save else "patch"
    }
    assert load(client) == [before]


@pytest.mark.parametrize("write", [save, patch])
@pytest.mark.parametrize(
    "wrong",
    [
        {"lastSessionPath": 1},
        {"lastSessionPath": ["sessions/1.jsonl"]},
        {"ruleInspector": []},
        {"ruleInspector": "open"},
        {"bookmarks": {}},
        {"bookmarks": "b1"},
        {"sessionExplorer": [{"filters": {}}]},
        {"timelinePreferences": "x"},
        {"timelinePreferences": [{"filters": []}]},
        {"timelinePreferences": {"filters": {}}},
        {"timelinePreferences": {"sortOrder": 1}},
        {"timelinePreferences": {"searchQuery": {}}},
    ],
)
def test_a_known_key_with_another_type_is_refused(
    client: httpx.Client, write: Any, wrong: dict[str, object]
) -> None:
    before = save(client, DOCUMENT).json()
    answer = write(client, wrong)
    assert answer.status_code == 400, answer.text
    assert answer.json()["code"] == "invalid_argument"
    assert load(client) == [before]


def test_a_known_key_can_be_null(client: httpx.Client) -> None:
    empty = dict.fromkeys(DOCUMENT)
    assert save(client, empty).json()["settings"] == empty


def test_a_document_over_1_mib_is_refused(client: httpx.Client) -> None:
    assert save(client, document_of_size(MIB)).status_code == 200
    stored = load(client)
    for answer in (save(client, document_of_size(MIB + 1)), patch(client, {"a": 1})):
        assert answer.status_code == 413
        assert answer.json()["code"] == "payload_too_large"
        assert answer.json()["message"] == "settings may have 1 MiB at most"
    assert load(client) == stored


@pytest.mark.parametrize("write", [save, patch])
def test_a_text_with_a_null_character_is_refused(client: httpx.Client, write: Any) -> None:
    answer = write(client, {"lastSessionPath": "a\0b"})
    assert (answer.status_code, answer.json()["code"]) == (400, "22P05")
    assert load(client) == []


def test_a_patch_of_very_many_keys_is_applied(client: httpx.Client) -> None:
    many = {f"key{number}": number for number in range(50_000)}
    assert patch(client, many).status_code == 200
    assert patch(client, dict.fromkeys(many)).json()["settings"] == {}


def test_another_profile_cannot_access_the_rows(
    client: httpx.Client, client_for: ClientFor, profile: str
) -> None:
    mine = save(client, DOCUMENT).json()
    other = client_for(f"{profile}-other")
    assert load(other) == []
    assert_stale(save(other, {}, expected_revision=1), 0, None)
    assert patch(other, {"theirs": 1}).json()["settings"] == {"theirs": 1}
    assert load(client) == [mine]


@pytest.mark.parametrize("verb", ["POST", "PATCH", "DELETE"])
def test_the_view_cannot_be_written(client: httpx.Client, verb: str) -> None:
    before = save(client, DOCUMENT).json()
    answer = client.request(verb, "/ui_settings?revision=eq.1", json={"settings": {}})
    assert answer.status_code == 403
    assert load(client) == [before]


@pytest.mark.parametrize(
    ("verb", "path", "body"),
    [
        ("GET", "/ui_settings", None),
        ("GET", "/ui_settings?select=settings", None),
        ("PATCH", "/ui_settings", {"settings": {}}),
        ("POST", "/rpc/save_ui_settings", {"settings": {}}),
        ("POST", "/rpc/save_ui_settings", {"settings": {}, "expected_revision": 0}),
        ("POST", "/rpc/patch_ui_settings", {"patch": {}}),
    ],
)
def test_a_guest_gets_the_error_that_nothing_was_saved(
    guest: httpx.Client, db: psycopg.Connection[Any], verb: str, path: str, body: object
) -> None:
    answer = guest.request(verb, path, json=body)
    assert answer.status_code == 403
    assert answer.json() == {
        "code": "guest_not_stored",
        "message": "Nothing was saved: the server keeps no settings for a guest",
        "details": None,
        "hint": "Guest settings stay on the device; send a token to keep them here",
    }
    stored = db.execute(
        "select count(*) from app.ui_settings where profile_id in ('', 'anon', 'guest')"
    ).fetchone()
    assert stored == (0,)


def test_an_auditor_is_refused(client: httpx.Client, client_for: ClientFor, profile: str) -> None:
    before = save(client, DOCUMENT).json()
    auditor = client_for(profile, "auditor")
    assert auditor.get("/ui_settings").status_code == 403
    assert save(auditor, {}).status_code == 403
    assert patch(auditor, {}).status_code == 403
    assert load(client) == [before]
