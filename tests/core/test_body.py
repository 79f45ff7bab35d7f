from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from deferit._core.body import StoredBody
from deferit._core.effects import Effect, parts
from deferit._core.queries import Load
from deferit._core.recorder import PIECE

BODY = bytes(range(256)) * (3 * PIECE // 256) + b"the rest"
EDGES = [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE, len(BODY) - 1, len(BODY)]
PLACES = st.sampled_from(EDGES) | st.integers(0, len(BODY))


def load(effect: Effect) -> bytes:
    assert isinstance(effect, Load)
    assert (effect.job_id, effect.attempt) == ("job", 2)
    piece = BODY[effect.index * PIECE : (effect.index + 1) * PIECE]
    assert piece, effect
    return piece


@given(PLACES, PLACES)
@example(0, len(BODY))
@example(PIECE, 2 * PIECE)
def test_a_range_of_a_stored_body_is_those_bytes_whatever_pieces_they_are_in(
    one: int, two: int
) -> None:
    start, stop = sorted([one, two])
    stored = StoredBody("job", 2, start, stop)

    assert b"".join(parts(stored, load)) == BODY[start:stop]
    assert stored.length == stop - start


def test_only_the_pieces_that_are_needed_are_loaded() -> None:
    asked: list[int] = []

    def perform(effect: Effect) -> bytes:
        assert isinstance(effect, Load)
        asked.append(effect.index)
        return load(effect)

    list(parts(StoredBody("job", 2, PIECE + 1, 2 * PIECE + 1), perform))

    assert asked == [1, 2]
