from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deferit._core.ids import RANDOM_BYTES, is_id, made_at, make_id, prefix_at

INSTANTS = st.floats(0, 4_400_000_000)
RANDOM = st.binary(min_size=RANDOM_BYTES, max_size=RANDOM_BYTES)


@given(INSTANTS, RANDOM)
def test_a_made_id_has_the_shape_of_one(now: float, random: bytes) -> None:
    assert is_id(make_id(now, random))


@given(INSTANTS, INSTANTS, RANDOM, RANDOM)
def test_ids_sort_by_the_instant_of_their_making(
    one: float, two: float, random: bytes, other: bytes
) -> None:
    early, late = sorted([one, two])

    assert int(early * 1e6) == int(late * 1e6) or make_id(early, random) < make_id(late, other)
    assert prefix_at(late) <= make_id(late, other)
    assert int(early * 1e6) == int(late * 1e6) or make_id(early, random) < prefix_at(late)


@given(INSTANTS, RANDOM)
def test_an_id_tells_when_it_was_made(now: float, random: bytes) -> None:
    assert abs(now - made_at(make_id(now, random))) < 2e-6


@given(INSTANTS, RANDOM, RANDOM)
def test_all_random_bits_are_in_an_id(now: float, random: bytes, other: bytes) -> None:
    assert (make_id(now, random) == make_id(now, other)) == (random == other)


@pytest.mark.parametrize(
    "text",
    ["", "42", "job_", "job_" + "a" * 25, "job_" + "a" * 65, "JOB_" + "a" * 30, "a" * 40]
    + [f"job_{'a' * 30}{letter}" for letter in ("\n", "/", ".", " ", "%", "é", "\0")],
)
def test_other_segments_have_not(text: str) -> None:
    assert not is_id(text)


@pytest.mark.parametrize("length", [26, 64])
def test_an_id_has_26_to_64_characters_behind_its_prefix(length: int) -> None:
    assert is_id("job_" + "-" * length)
