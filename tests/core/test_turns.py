from __future__ import annotations

import pytest

from deferit._core.turns import MOST_IN_LINE, Place, Turns


@pytest.mark.parametrize(
    ("slots", "free", "in_line", "place"),
    [
        (2, 1, 0, Place.SLOT),
        (2, 0, 0, Place.LINE),
        (2, -1, 0, Place.LINE),
        (2, 1, 1, Place.LINE),
        (2, 0, MOST_IN_LINE - 1, Place.LINE),
        (2, 0, MOST_IN_LINE, Place.STORE),
        (2, 1, MOST_IN_LINE, Place.STORE),
        (0, 0, 0, Place.STORE),
    ],
)
def test_a_trial_takes_a_slot_or_stands_in_line_or_goes_to_the_store(
    slots: int, free: int, in_line: int, place: Place
) -> None:
    assert Turns.place(slots, free, in_line) is place


def test_while_nothing_waits_in_the_store_every_slot_is_the_lines() -> None:
    turns = Turns()

    assert [turns.are_trials(waits_in_store=False) for _ in range(3)] == [True] * 3


def test_while_jobs_wait_in_the_store_they_take_turns() -> None:
    turns = Turns()

    seen = [turns.are_trials(waits_in_store=True) for _ in range(4)]
    alone = turns.are_trials(waits_in_store=False)
    again = turns.are_trials(waits_in_store=True)

    assert seen == [True, False, True, False]
    assert (alone, again) == (True, False)
