from __future__ import annotations

import threading

import pytest
from tests.process.parts import PATIENCE

from deferit._process.keeper import PAUSE, Duty, Keeper
from deferit.exceptions import StoreUnavailable

DOWN = StoreUnavailable("memory://", "disk full")


def test_a_duty_is_done_every_so_many_seconds() -> None:
    done: list[float] = []
    duty = Duty(lambda: done.append(1), 5)

    counts = []
    for now in (0.0, 4.9, 5.0, 9.9, 30.0, 34.9):
        duty.attend(now)
        counts.append(len(done))

    assert counts == [1, 1, 2, 2, 3, 3]


@pytest.mark.parametrize("seconds", [0, 5])
@pytest.mark.parametrize("failure", [DOWN, ValueError("a bug")])
def test_a_duty_that_fails_is_tried_again_but_does_not_fill_the_log(
    failure: Exception, seconds: float, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise failure

    duty = Duty(fail, seconds)

    for now in (0.0, 0.05, 0.1, PAUSE - 0.01, PAUSE):
        duty.attend(now)

    said = [record for record in caplog.records if record.module == "keeper"]
    assert len(said) == 2
    assert f"trying again in {PAUSE:g} s" in caplog.text


def test_an_unavailable_store_is_a_warning_and_a_bug_an_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    failures: list[Exception] = [DOWN, ValueError("a bug")]

    def fail() -> None:
        raise failures.pop(0)

    duty = Duty(fail, 1)
    duty.attend(0.0)
    duty.attend(1.0)

    assert [record.levelname for record in caplog.records] == ["WARNING", "ERROR"]
    assert [record.exc_info is None for record in caplog.records] == [True, False]


def test_a_keeper_attends_to_all_duties_in_a_thread_of_its_own() -> None:
    attended: list[int] = []
    done = threading.Event()

    def second() -> None:
        attended.append(threading.get_ident())
        if len(attended) > 2:
            done.set()

    def first() -> None:
        attended.append(threading.get_ident())
        raise ValueError("a bug")

    keeper = Keeper(0.001)
    keeper.duties = [Duty(first, 0), Duty(second, 0)]
    keeper.start()

    assert done.wait(PATIENCE)
    keeper.close()
    assert len(set(attended)) == 1
    assert threading.get_ident() not in attended


def test_a_keeper_looks_at_once_when_it_is_woken() -> None:
    done = threading.Event()
    keeper = Keeper(tick=1000)
    keeper.duties = [Duty(done.set, 0)]
    keeper.start()

    assert not done.wait(0)
    keeper.wake()

    assert done.wait(PATIENCE)
    keeper.close()


def test_a_keeper_that_is_stirred_looks_again_and_again_without_being_woken() -> None:
    looks = threading.Semaphore(0)
    keeper = Keeper(tick=1000)
    keeper.duties = [Duty(looks.release, 0)]
    keeper.start()

    keeper.stir()

    assert all(looks.acquire(timeout=PATIENCE) for _ in range(5))
    keeper.close()


def test_a_keeper_can_be_closed_by_a_duty_twice_and_unstarted() -> None:
    Keeper(1).close()
    closed = threading.Event()

    def close() -> None:
        keeper.close()
        closed.set()

    keeper = Keeper(0.001)
    keeper.duties = [Duty(close, 0)]
    keeper.start()

    assert closed.wait(PATIENCE)
    keeper.close()
    keeper.close()
    assert not keeper._thread.is_alive()
