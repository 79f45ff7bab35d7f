from __future__ import annotations

from deferit._core.turns import Place
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
    slower, _ = practised(16, 2 * SOON)
    quick, _ = practised(2, SOON / 10_000)

    assert taken(slow) == 2 + 2
    assert taken(slower) == 16
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


# --- those that are not stored ---------------------------------------------------------------------------------------


def full(count: int) -> Slots[str]:
    """Return slots that are all taken, by runs named by their numbers."""
    slots: Slots[str] = Slots(count)
    for number in range(count):
        assert slots.line_up(str(number)) is Place.SLOT
    return slots


def test_who_finds_no_slot_stands_in_line_and_begins_as_others_leave() -> None:
    slots = full(2)

    places = [slots.line_up(run) for run in "abc"]
    following = [slots.leave(run) for run in ("0", "1", "a", "b", "c")]

    assert places == [Place.LINE] * 3
    assert following == ["a", "b", "c", None, None]
    assert taken(slots) == 2


def test_every_second_slot_is_left_to_those_in_the_store_and_nobody_else_comes_between() -> None:
    slots = full(2)
    assert slots.line_up("a") is slots.line_up("b") is Place.LINE

    first = slots.leave("0", has_backlog=True)
    second = slots.leave("1", has_backlog=True)
    late = slots.line_up("late")

    assert (first, second) == ("a", None)
    assert late is Place.LINE
    assert slots.take_all() == 1
    assert slots.call_up() == []


def test_what_those_in_the_store_did_not_take_is_the_lines() -> None:
    slots = full(1)
    assert slots.line_up("a") is slots.line_up("b") is slots.line_up("c") is Place.LINE
    assert [slots.leave(run, has_backlog=True) for run in ("0", "a")] == ["a", None]

    begun = slots.call_up()

    assert begun == ["b"]
    assert slots.call_up() == []
    assert slots.leave("b") == "c"


def test_who_steps_out_does_not_begin_and_who_has_begun_cannot() -> None:
    slots = full(1)
    assert slots.line_up("a") is slots.line_up("b") is Place.LINE

    assert slots.step_out("a")
    assert not slots.step_out("a")
    assert slots.leave("0") == "b"
    assert not slots.step_out("b")


def test_those_taken_ahead_and_those_in_line_take_turns() -> None:
    slots, _ = practised(1, 0.45 * SOON)
    assert taken(slots) == 3
    assert [slots.enter(run) for run in "123"] == [True, False, False]
    assert slots.line_up("a") is slots.line_up("b") is Place.LINE

    following = [slots.leave(run) for run in ("1", "a", "2", "b")]

    assert following == ["a", "2", "b", "3"]


def test_who_leaves_without_having_begun_leaves_no_slot() -> None:
    slots, clock = practised(1, 0.45 * SOON)
    assert taken(slots) == 3
    assert [slots.enter(run) for run in "123"] == [True, False, False]
    assert slots.line_up("a") is Place.LINE
    clock.now += 2 * SOON

    assert slots.withdraw() == ["2", "3"]
    assert [slots.leave("2"), slots.leave("3")] == [None, None]
    assert slots.leave("1") == "a"
