from __future__ import annotations

from collections import OrderedDict
from enum import StrEnum
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.process.parts import captured, draft

from deferit import _records
from deferit._core.job import Job, Status
from deferit._core.remains import Remains, salvaged
from deferit._records import (
    Captured,
    decode_captured,
    decode_history,
    decode_job,
    encode,
    encode_job,
    plain,
    salvage,
)
from deferit.exceptions import RecordDamaged


class Word(StrEnum):
    A = "a"


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text(st.characters())
    | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters()), inner, max_size=3)
        | st.tuples(inner, inner)
    ),
    max_leaves=8,
)


@given(ANYTHING)
def test_what_is_plain_comes_back_equal_but_for_tuples(value: Any) -> None:
    if plain(value):
        assert msgspec.msgpack.decode(encode(value)) == as_lists(value)


def as_lists(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [as_lists(item) for item in value]
    if isinstance(value, dict):
        return {key: as_lists(item) for key, item in value.items()}
    return value


@pytest.mark.parametrize(
    "value", [None, True, 0, -(2**63), 2**64 - 1, 1.5, "größe", b"\xff", [(1, {"a": []})]]
)
def test_plain_data_is_plain(value: object) -> None:
    assert plain(value)


@pytest.mark.parametrize(
    "value",
    [
        object(),
        Word.A,
        2**64,
        -(2**63) - 1,
        "\ud800",
        {"\udfff": 1},
        {1: 2},
        {"a": object()},
        [object()],
        OrderedDict(),
        {1, 2},
        bytearray(b"x"),
    ],
)
def test_what_would_not_come_back_equal_is_not(value: object) -> None:
    assert not plain(value)


def test_a_job_comes_back_equal() -> None:
    job = draft(owner="ada", repeatable=True)

    assert decode_job(encode_job(job)) == job
    assert isinstance(decode_job(encode_job(job)), Job)


def test_a_record_without_a_checksum_is_of_an_earlier_version() -> None:
    job = draft(owner="ada")

    assert decode_job(encode(job)) == job


def test_every_bit_of_a_record_that_has_fallen_over_is_seen() -> None:
    record = encode_job(draft(owner="ada", repeatable=True))

    for number in range(8 * len(record)):
        at, bit = divmod(number, 8)
        with pytest.raises(RecordDamaged):
            decode_job(record[:at] + bytes([record[at] ^ 1 << bit]) + record[at + 1 :])


@pytest.mark.parametrize("data", [b"", b"garbage", encode([1]), encode({"id": 1}), "a text", 7])
def test_what_is_no_record_is_said_to_be_damaged(data: Any) -> None:
    with pytest.raises(RecordDamaged):
        decode_job(data)


def test_what_is_salvaged_is_logged_once_for_each_job(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_records, "MOST_REPORTED", 3)
    monkeypatch.setattr(_records, "_reported", set())
    left = [
        Remains(f"job_{n:013x}{'s3cr3t' * 4}", "", None, None, "", Status.ACCEPTED, 0, 0.0)
        for n in range(4)
    ]

    jobs = [salvage(remains, RecordDamaged("truncated")) for remains in [*left, *left[1:3]]]

    assert jobs == [salvaged(remains) for remains in [*left, *left[1:3]]]
    # Of three it remembers, the fourth takes the place of all.
    assert [record.__dict__["job_id"] for record in caplog.records] == [
        remains.id for remains in [*left, *left[1:3]]
    ]
    assert "truncated" in caplog.text
    assert "s3cr3t" not in caplog.text


def test_a_history_that_cannot_be_read_begins_anew() -> None:
    assert decode_history(encode((1.5, 2.5))) == (1.5, 2.5)
    assert decode_history(b"garbage") == ()


def test_a_captured_request_comes_back_equal() -> None:
    request = Captured("asgi", {"path": "/größe", "raw_path": b"\xff"}, "https://x/", b"body", 3)

    assert decode_captured(encode(request)) == request


@pytest.mark.parametrize("data", [b"", b"garbage", encode({"interface": 1}), captured()[:-1]])
def test_what_is_no_captured_request_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode_captured(data)
