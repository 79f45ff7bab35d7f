from __future__ import annotations

from deferit._process.slots import ENOUGH, MOST_AHEAD, SOON, Slots


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def practised(count: int, seconds: float) -> tuple[Slots[str], Clock]:
    """Return slots that have seen enough runs of a length."""
    clock = Clock()
    slots: Slots[str] = Slots(count, clock)
    for _ in range(ENOUGH):
        assert slots.take()
        assert slots.enter("past")
        clock.now += seconds
        assert slots.leave("past") is None
    return slots, clock


def taken(slots: Slots[str]) -> int:
    count = 0
    while slots.take():
        count += 1
    return count


def test_no_more_are_taken_than_there_are_before_anything_is_known() -> None:
    slots: Slots[str] = Slots(2)

    assert taken(slots) == 2
    assert slots.take_all() == 0


def test_as_many_are_taken_ahead_as_will_begin_soon() -> None:
    slow, _ = practised(2, 0.9 * SOON)
    slower, _ = practised(2, 10 * SOON)
    quick, _ = practised(2, SOON / 10_000)

    assert taken(slow) == 2 + 2
    assert taken(slower) == 2
    assert quick.take_all() == 2 + MOST_AHEAD
    assert quick.take_all() == 0


def test_what_was_taken_ahead_begins_as_others_leave() -> None:
    slots, _ = practised(1, 0.45 * SOON)
    assert taken(slots) == 3

    begun = [slots.enter(run) for run in "abc"]
    following = [slots.leave(run) for run in "abc"]

    assert begun == [True, False, False]
    assert following == ["b", "c", None]
    assert taken(slots) >= 3


def test_nothing_is_taken_ahead_of_one_that_runs_for_long() -> None:
    slots, clock = practised(1, 0.45 * SOON)
    assert slots.take()
    assert slots.enter("long")

    clock.now += 2 * SOON

    assert not slots.take()


def test_what_waits_for_longer_than_was_to_be_expected_is_withdrawn() -> None:
    slots, clock = practised(1, 0.45 * SOON)
    assert taken(slots) == 3
    assert [slots.enter(run) for run in "abc"] == [True, False, False]
    early = slots.withdraw()

    clock.now += 2 * SOON
    late = slots.withdraw()

    assert (early, late) == ([], ["b", "c"])
    assert [slots.leave(run) for run in "bca"] == [None, None, None]
    assert slots.take()


def test_one_that_somebody_else_has_counted_begins_in_any_case() -> None:
    slots: Slots[str] = Slots(1)
    slots.bring()
    slots.bring()

    assert slots.enter("a")
    assert slots.enter("b")
    assert slots.take_all() == 0
    slots.give(2)
    assert slots.take()
