from __future__ import annotations

from collections import OrderedDict
from enum import StrEnum
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.process.parts import captured, draft

from deferit._core.job import Job
from deferit._records import Captured, decode_captured, decode_job, encode, plain


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

    assert decode_job(encode(job)) == job
    assert isinstance(decode_job(encode(job)), Job)


def test_a_captured_request_comes_back_equal() -> None:
    request = Captured("asgi", {"path": "/größe", "raw_path": b"\xff"}, "https://x/", b"body", 3)

    assert decode_captured(encode(request)) == request


@pytest.mark.parametrize("data", [b"", b"garbage", encode({"interface": 1}), captured()[:-1]])
def test_what_is_no_captured_request_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode_captured(data)
