from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import pytest
from msgspec.structs import replace
from tests.process.parts import PATIENCE

from deferit._signals import AsyncSignal, Signal, Signals
from deferit.testing import a_job

if TYPE_CHECKING:
    from deferit._core.job import Job


def test_who_waits_for_a_job_is_woken_and_nobody_else() -> None:
    signals, one, other = Signals(), threading.Event(), threading.Event()

    with signals.watching("a", one.set), signals.watching("b", other.set):
        signals.notify("a")

        assert (one.is_set(), other.is_set()) == (True, False)


def test_all_who_wait_for_one_job_are_woken() -> None:
    signals, wakes = Signals(), [threading.Event() for _ in range(3)]

    with (
        signals.watching("a", wakes[0].set),
        signals.watching("a", wakes[1].set),
        signals.watching("b", wakes[2].set),
    ):
        signals.notify("a")
        assert [wake.is_set() for wake in wakes] == [True, True, False]
        signals.notify_all()
        assert all(wake.is_set() for wake in wakes)


@pytest.mark.usefixtures("eager_threads")
def test_news_stay_though_somebody_tells_older_ones_meanwhile() -> None:
    signals, start = Signals(), threading.Barrier(2)
    older, newer = a_job(1), replace(a_job(1), revision=7)

    def tell(job: Job) -> None:
        start.wait()
        signals.notify(job.id, job)

    with ThreadPoolExecutor(2) as threads:
        for _ in range(2_000):
            with signals.watching(older.id, bool) as watch:
                list(threads.map(tell, [older, newer]))
                assert watch.after(older) is newer


def test_a_thread_that_waits_is_woken_by_others_again_and_again() -> None:
    here, there = Signal(), Signal()
    woken: list[int] = []

    def answer() -> None:
        for number in range(3):
            there.wait()
            woken.append(number)
            here.set()

    thread = threading.Thread(target=answer)
    thread.start()
    for number in range(3):
        there.set()
        here.wait(PATIENCE)
        assert woken[-1] == number
    thread.join(PATIENCE)


def test_a_signal_that_is_set_twice_ends_one_waiting() -> None:
    signal, late = Signal(), threading.Event()
    signal.set()
    signal.set()
    signal.wait()
    signal.wait(0.0)

    def wait_once_more() -> None:
        signal.wait()
        late.set()

    thread = threading.Thread(target=wait_once_more)
    thread.start()

    assert not late.is_set()
    signal.set()
    assert late.wait(PATIENCE)
    thread.join(PATIENCE)


def test_nobody_is_remembered_who_has_gone() -> None:
    signals, wake = Signals(), threading.Event()

    with signals.watching("a", wake.set), signals.watching("a", wake.set):
        assert list(signals.watched()) == ["a"]
    with pytest.raises(KeyError), signals.watching("b", wake.set):
        raise KeyError
    signals.notify("a")

    assert list(signals.watched()) == []
    assert not wake.is_set()


def test_watchers_may_come_and_go_while_they_are_woken() -> None:
    signals, stop = Signals(), threading.Event()
    raised: list[BaseException] = []

    def come_and_go() -> None:
        try:
            for _ in range(500):
                with signals.watching("a", lambda: None):
                    signals.notify("a")
        except BaseException as exc:  # noqa: BLE001  it is shown by the test
            raised.append(exc)
        finally:
            stop.set()

    threads = [threading.Thread(target=come_and_go) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)

    assert raised == []
    assert list(signals.watched()) == []


def test_any_thread_sets_a_signal_again_and_again(backend: str) -> None:
    async def main() -> None:
        signal = AsyncSignal()
        for _ in range(3):
            signal.clear()
            await anyio.to_thread.run_sync(signal.set)
            with anyio.fail_after(PATIENCE):
                await signal.wait()

    anyio.run(main, backend=backend)


def test_a_signal_that_is_set_after_it_was_cleared_is_not_lost(backend: str) -> None:
    async def main() -> None:
        signal = AsyncSignal()
        signal.clear()
        thread = threading.Thread(target=signal.set)
        thread.start()
        thread.join()
        with anyio.fail_after(PATIENCE):
            await signal.wait()

    anyio.run(main, backend=backend)


def test_waiting_for_a_signal_ends_with_its_time(backend: str) -> None:
    async def main() -> None:
        with anyio.fail_after(PATIENCE):
            await AsyncSignal().wait(0.0)

    anyio.run(main, backend=backend)


def test_a_signal_of_a_loop_that_has_ended_can_be_set(backend: str) -> None:
    async def main() -> AsyncSignal:
        return AsyncSignal()

    anyio.run(main, backend=backend).set()
