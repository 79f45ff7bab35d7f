from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from tests.core.samples import a_submission, running, succeeded

from deferit._core.effects import Effect, Flow, Now, Wait, adrive, aparts, drive, parts
from deferit._core.flow import submit
from deferit._core.http import Body, Response
from deferit._core.policy import Mark

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from deferit._core.job import Job


@pytest.mark.parametrize(
    ("revision", "job", "is_over"),
    [
        (None, running(), False),
        (None, succeeded(), True),
        (2, running(), False),
        (1, running(), True),
        (3, succeeded(), True),
    ],
)
def test_waiting_is_over_when_it_is_finished_or_has_another_revision(
    revision: int | None, job: Job, is_over: bool
) -> None:
    assert Wait(running(), 1, revision).is_over(job) == is_over


# --- the drivers -----------------------------------------------------------------------------------------------------


class Broken(Exception):
    pass


def a_flow(log: list[object]) -> Flow:
    """Ask twice, survive what goes wrong, and note how it ended."""
    try:
        for _ in range(2):
            try:
                log.append((yield Now()))
            except Broken as exc:
                log.append(exc.args[0])
        return Response(204)
    finally:
        log.append("closed")


def performer(*outcomes: Any) -> Callable[[Effect], object]:
    left = list(outcomes)

    def perform(effect: Effect) -> object:
        assert effect == Now()
        outcome = left.pop(0)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    return perform


def drive_sync(flow: Flow, perform: Callable[[Effect], object]) -> Response:
    return drive(flow, perform)


def drive_async(flow: Flow, perform: Callable[[Effect], object]) -> Response:
    async def aperform(effect: Effect) -> object:
        return perform(effect)

    return anyio.run(adrive, flow, aperform)


@pytest.mark.parametrize("run", [drive_sync, drive_async])
class TestDrivers:
    def test_they_send_what_was_performed(self, run: Callable[..., Response]) -> None:
        log: list[object] = []

        assert run(a_flow(log), performer(1, 2)) == Response(204)
        assert log == [1, 2, "closed"]

    def test_they_throw_what_went_wrong_into_the_flow(self, run: Callable[..., Response]) -> None:
        log: list[object] = []

        assert run(a_flow(log), performer(Broken("first"), Broken("second"))) == Response(204)
        assert log == ["first", "second", "closed"]

    @pytest.mark.parametrize("exc", [ValueError("unexpected"), KeyboardInterrupt()])
    def test_they_let_out_what_the_flow_does_not_know_and_close_it(
        self, run: Callable[..., Response], exc: BaseException
    ) -> None:
        log: list[object] = []

        with pytest.raises(type(exc)):
            run(a_flow(log), performer(1, exc))

        assert log == [1, "closed"]

    def test_a_flow_may_end_at_once(self, run: Callable[..., Response]) -> None:
        submission = a_submission(mark=Mark(accept=lambda _request: 403))

        assert run(submit(submission), performer()).status == 403


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_flow_is_closed_when_its_task_is_canceled(backend: str) -> None:
    log: list[object] = []

    async def perform(_effect: Effect) -> None:
        await anyio.sleep_forever()

    async def main() -> None:
        with anyio.move_on_after(0):
            await adrive(a_flow(log), perform)

    anyio.run(main, backend=backend)

    assert log == ["closed"]


# --- bodies ----------------------------------------------------------------------------------------------------------


class Gone(Exception):
    pass


@dataclass(frozen=True)
class Asking(Body):
    """Yields bytes, asks for more, and notes how it ended."""

    script: tuple[bytes | None, ...]
    log: list[object] = field(default_factory=list)

    length = None

    def steps(self) -> Generator[Any, Any, None]:
        """Yield what the script says; None stands for a question, whose answer is yielded next."""
        try:
            for line in self.script:
                if line is None:
                    self.log.append((yield Now()))
                else:
                    yield line
        except Gone:
            yield b"the end"
        finally:
            self.log.append("closed")


def parts_sync(body: bytes | Body, perform: Callable[[Effect], object]) -> list[bytes]:
    return list(parts(body, perform))


def parts_async(body: bytes | Body, perform: Callable[[Effect], object]) -> list[bytes]:
    async def aperform(effect: Effect) -> object:
        return perform(effect)

    async def collected() -> list[bytes]:
        return [part async for part in aparts(body, aperform)]

    return anyio.run(collected)


@pytest.mark.parametrize("collect", [parts_sync, parts_async])
class TestParts:
    def test_bytes_are_their_only_part(self, collect: Callable[..., list[bytes]]) -> None:
        assert collect(b"hello", performer()) == [b"hello"]

    @pytest.mark.parametrize(
        ("script", "found"),
        [
            ((), []),
            ((b"a", b"b"), [b"a", b"b"]),
            ((None, b"a", None, None, b"b"), [b"a", b"b"]),
            ((b"a", None), [b"a"]),
        ],
    )
    def test_questions_are_answered_and_bytes_sent(
        self, collect: Callable[..., list[bytes]], script: Any, found: list[bytes]
    ) -> None:
        body = Asking(script)
        answers = list(range(script.count(None)))

        assert collect(body, performer(*answers)) == found
        assert body.log == [*answers, "closed"]

    @pytest.mark.parametrize("script", [(b"a", None, b"b"), (b"a", None)])
    def test_what_goes_wrong_is_thrown_into_it(
        self, collect: Callable[..., list[bytes]], script: Any
    ) -> None:
        body = Asking(script)

        assert collect(body, performer(Gone())) == [b"a", b"the end"]
        assert body.log == ["closed"]

    def test_what_it_does_not_know_ends_it(self, collect: Callable[..., list[bytes]]) -> None:
        body = Asking((b"a", None, b"b"))

        with pytest.raises(Broken):
            collect(body, performer(Broken()))

        assert body.log == ["closed"]


def test_a_body_is_closed_when_its_reader_goes_away() -> None:
    body = Asking((b"a", b"b"))

    reading = parts(body, performer())
    assert next(iter(reading)) == b"a"
    del reading

    assert body.log == ["closed"]
