from __future__ import annotations

import asyncio
import threading

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest
from tests.process.parts import PATIENCE

from deferit._loops import Loop, current_loop, is_canceled, run


def test_a_loop_is_always_the_same_object_and_another_is_another(backend: str) -> None:
    async def twice() -> tuple[Loop, Loop]:
        return current_loop(), current_loop()

    one, same = anyio.run(twice, backend=backend)
    other, _ = anyio.run(twice, backend=backend)

    assert one is same
    assert one is not other
    assert one.backend == backend


def test_a_function_is_called_in_the_loop_from_another_thread(backend: str) -> None:
    async def main() -> tuple[bool, int]:
        called, loop = anyio.Event(), current_loop()
        threads: list[int] = []

        def note() -> None:
            threads.append(threading.get_ident())
            called.set()

        has_posted = await anyio.to_thread.run_sync(loop.post, note)
        with anyio.fail_after(PATIENCE):
            await called.wait()
        return has_posted, threads[0]

    assert anyio.run(main, backend=backend) == (True, threading.get_ident())


def test_a_loop_that_has_ended_takes_nothing(backend: str) -> None:
    async def main() -> Loop:
        return current_loop()

    loop = anyio.run(main, backend=backend)

    assert loop.post(lambda: None) is False


def test_a_task_knows_whether_it_was_told_to_end(backend: str) -> None:
    async def main() -> list[bool]:
        found = [is_canceled()]
        with anyio.CancelScope() as scope:
            scope.cancel()
            found.append(is_canceled())
            await anyio.lowlevel.checkpoint()
        found.append(is_canceled())
        return found

    assert anyio.run(main, backend=backend) == [False, True, False]


def test_a_native_cancel_counts_and_a_stray_cancelled_error_does_not() -> None:
    async def work() -> bool:
        try:
            await asyncio.sleep(PATIENCE)
        except asyncio.CancelledError:
            return is_canceled()
        return False

    async def main() -> tuple[bool, bool]:
        task = asyncio.ensure_future(work())
        await asyncio.sleep(0)
        task.cancel()
        was_canceled = await task
        with pytest.raises(asyncio.CancelledError):
            raise asyncio.CancelledError
        return was_canceled, is_canceled()

    assert asyncio.run(main()) == (True, False)


@pytest.mark.parametrize("raised", [SystemExit, KeyboardInterrupt])
def test_a_loop_goes_on_when_a_task_in_it_exits(raised: type[BaseException]) -> None:
    seen: list[BaseException | None] = []

    async def exits() -> None:
        raise raised

    async def main() -> None:
        task = asyncio.create_task(exits())
        await asyncio.wait([task])
        seen.append(task.exception())

    run(main)

    assert [type(exc) for exc in seen] == [raised]


@pytest.mark.parametrize("raised", [SystemExit, ValueError])
def test_what_the_main_task_of_a_loop_raises_comes_out(
    backend: str, raised: type[BaseException]
) -> None:
    async def main() -> None:
        raise raised

    with pytest.raises(raised):
        run(main, backend)
