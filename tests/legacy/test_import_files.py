"""Files that are not a complete JSON array, and the reader of JSON arrays."""

import io
import json
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import Stack
from sessionbase.errors import SessionbaseError
from sessionbase.legacy import json_array
from sessionbase.legacy.json_array import BadJsonError, JsonArrayReader
from support.import_files import event, finished, load


@pytest.mark.parametrize(
    ("content", "byte"),
    [
        (b"", 0),
        (b" \n", 2),
        (b"{}", 0),
        (b"null", 0),
        (b"events: []", 0),
        (b"[] []", 3),
        (b"[1, 2]x", 6),
        (b"[1,]", 3),
        (b"[1 2]", 3),
        (b"[{'a': 1}]", 2),
        (b'[{"a": NaN}]', 7),
        (b'["NaN", -Infinity]', 8),
        (b'["a\nb"]', 3),
        (b'["\\x"]', 2),
        (b'["\xff"]', 2),
        ('["é", tru]'.encode(), 7),
        (b"\xef\xbb\xbf[]", 0),
    ],
)
def test_the_error_for_an_invalid_json_array_names_the_byte(
    stack: Stack,
    db: psycopg.Connection[Any],
    profile: str,
    tmp_path: Path,
    content: bytes,
    byte: int,
) -> None:
    file = tmp_path / "file.json"
    file.write_bytes(content)
    with pytest.raises(SessionbaseError, match=rf"at byte {byte}\b.*nothing was loaded"):
        load(stack.db_uri, file, profile)


def test_a_truncated_file_is_refused_with_the_byte_where_it_ends(
    stack: Stack, db: psycopg.Connection[Any], profile: str, tmp_path: Path
) -> None:
    whole = json.dumps([event("a"), finished("b"), event("c")], indent=2).encode()
    file = tmp_path / "cut.json"
    for length in (1, 3, 40, len(whole) // 2, len(whole) - 120, len(whole) - 2, len(whole) - 1):
        file.write_bytes(whole[:length])
        with pytest.raises(SessionbaseError, match=rf"cut off: it ends at byte {length}\b"):
            load(stack.db_uri, file, profile)
    found = db.execute("select count(*) from app.tool_events where profile_id = %s", (profile,))
    assert found.fetchone() == (0,)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=20,
)


@given(
    values=st.lists(json_values, max_size=8),
    chunk=st.integers(1, 50),
    indent=st.sampled_from([None, 2]),
    ascii_only=st.booleans(),
)
def test_the_reader_returns_the_same_elements_for_every_chunk_size(
    values: list[Any], chunk: int, indent: int | None, ascii_only: bool
) -> None:
    text = json.dumps(values, indent=indent, ensure_ascii=ascii_only)
    try:
        data = text.encode()
    except UnicodeEncodeError:
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_array, "CHUNK", chunk)
        elements = list(JsonArrayReader(io.BytesIO(data)))
    assert [element.value for element in elements] == values
    for place, element in enumerate(elements):
        encoded = element.text.encode()
        assert element.position == place
        assert data[element.offset : element.offset + len(encoded)] == encoded


@given(
    values=st.lists(json_values, min_size=1, max_size=5),
    chunk=st.integers(1, 50),
    cut=st.floats(0, 1, exclude_max=True),
)
def test_a_file_truncated_at_any_byte_is_refused(values: list[Any], chunk: int, cut: float) -> None:
    data = json.dumps(values).encode()
    data = data[: int(len(data) * cut)]
    with pytest.MonkeyPatch.context() as patch, pytest.raises(BadJsonError) as caught:
        patch.setattr(json_array, "CHUNK", chunk)
        list(JsonArrayReader(io.BytesIO(data)))
    assert caught.value.offset == len(data)


def test_a_number_at_the_border_of_two_chunks_is_read_correctly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for chunk in range(1, 12):
        monkeypatch.setattr(json_array, "CHUNK", chunk)
        elements = list(JsonArrayReader(io.BytesIO(b"[12.5e+6,-7,0.25]")))
        assert [element.text for element in elements] == ["12.5e+6", "-7", "0.25"]


def test_a_too_long_element_is_refused_before_it_is_read_completely(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(json_array, "CHUNK", 64)
    monkeypatch.setattr(json_array, "MAX_ELEMENT", 1 << 20)
    with pytest.raises(BadJsonError, match="record 1 is longer than 1 MiB: it starts at byte 3"):
        list(JsonArrayReader(io.BytesIO(b'[1,"' + b"x" * (4 << 20) + b'"]')))
