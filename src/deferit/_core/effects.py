"""What a flow can ask for besides the store's commands and queries, and the drivers that run it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from deferit._core.commands import Command
from deferit._core.http import Body, Response
from deferit._core.queries import Query

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from deferit._core.commands import Limits
    from deferit._core.job import Job
    from deferit._core.queries import Ahead


class RequestTooLarge(Exception):
    """The body is longer than the option ``max_body`` allows; the argument is that limit in bytes."""


class ClientGone(Exception):
    """The client went away before all of its request was there; nobody waits for an answer."""


class HookFailed(Exception):
    """A function that the application gave has raised, or returned what it must not; the argument is its option's name.

    The cause is what it raised. It is logged, and answered with 500.
    """

    def __str__(self) -> str:
        return f"the function that {self.args[0]}= names has failed"


class ShuttingDown(Exception):
    """This process takes no new jobs, and waits for none."""


class Capture(msgspec.Struct, frozen=True, gc=False):
    """Take the request's body to its end, and return `CapturedRequest`.

    What is long of it is stored; with ``stores_nothing`` only what is too long for memory, and if nothing is, the
    answer has a `Replica`. Raises `RequestTooLarge` and `ClientGone`.
    """

    job_id: str
    needs_digest: bool = False
    stores_nothing: bool = False


class Replica(msgspec.Struct, frozen=True):
    """A captured request that is still in memory, where a trial replays it from; most are never stored.

    ``at`` is when all of it was there. ``captured`` is what a replay takes, with ``carried``, which goes by reference.
    ``encode`` returns what is to be stored, and carried with that.
    """

    at: float
    captured: Any
    carried: Mapping[str, Any]
    encode: Callable[[], tuple[bytes, Mapping[str, Any]]]


class CapturedRequest(msgspec.Struct, frozen=True, gc=False):
    """A captured request, encoded for the store, and, if asked for, the SHA-256 of its body in hexadecimal digits.

    One with a ``replica`` is not encoded yet.
    """

    encoded: bytes = b""
    digest: str = ""
    replica: Replica | None = None


class Try(msgspec.Struct, frozen=True, gc=False):
    """Begin a job at once without storing it, and give it so many seconds to end.

    Return the handler's `Response` if it came in time; else the job, which is durable and running, or waiting if this
    process has no room for it. ``limits`` count only for one that waits: what has begun cannot be refused any more.
    Raises `ShuttingDown`, and what `Create` does.
    """

    job: Job
    replica: Replica
    seconds: float
    limits: Limits | None = None


class Wait(msgspec.Struct, frozen=True, gc=False):
    """Wait until a job is finished, at most so many seconds; return it as it is then.

    With a ``revision``, any other one ends the waiting too. Raises `ShuttingDown` as soon as this process is to end.
    """

    job: Job
    seconds: float
    revision: int | None = None

    def is_over(self, job: Job) -> bool:
        """Whether the job, as it is now, is what is waited for."""
        return job.is_finished or self.revision not in {None, job.revision}


class Stop(msgspec.Struct, frozen=True, gc=False):
    """Tell a running job to stop, wherever it runs; return what is guaranteed of it: a phrase of the contract."""

    job: Job


class Foresee(msgspec.Struct, frozen=True, gc=False):
    """Return the `Outlook` of a job that is not finished; for one that runs, this process asks nobody.

    What is in front of one that waits is asked for, unless it is known.
    """

    job: Job
    ahead: Ahead | None = None


class Recall(msgspec.Struct, frozen=True, gc=False):
    """Return what this process has `Known` of jobs like this one, which need not be stored."""

    job: Job


class Now(msgspec.Struct, frozen=True, gc=False):
    """Return the present instant."""


Effect: TypeAlias = Command | Query | Capture | Try | Wait | Stop | Foresee | Recall | Now
Flow: TypeAlias = Generator[Effect, Any, Response]


def drive(flow: Flow, perform: Callable[[Effect], object]) -> Response:
    """Run a flow to its end, performing each effect as it comes."""
    try:
        effect = next(flow)
        while True:
            try:
                done = perform(effect)
            except Exception as exc:  # noqa: BLE001  the flow decides what it can answer
                effect = flow.throw(exc)
            else:
                effect = flow.send(done)
    except StopIteration as end:
        response: Response = end.value
        return response
    finally:
        flow.close()


async def adrive(flow: Flow, perform: Callable[[Effect], Awaitable[object]]) -> Response:
    """Same as `drive`, but awaits what is performed."""
    try:
        effect = next(flow)
        while True:
            try:
                done = await perform(effect)
            except Exception as exc:  # noqa: BLE001  the flow decides what it can answer
                effect = flow.throw(exc)
            else:
                effect = flow.send(done)
    except StopIteration as end:
        response: Response = end.value
        return response
    finally:
        flow.close()


def parts(body: bytes | Body, perform: Callable[[Effect], object]) -> Iterator[bytes]:
    """Yield a body in parts, performing each effect that its making takes."""
    if isinstance(body, bytes):
        yield body
        return
    with closing(body.steps()) as steps:
        step = next(steps, None)
        while step is not None:
            if isinstance(step, bytes):
                yield step
                step = next(steps, None)
                continue
            try:
                done = perform(step)
            except Exception as exc:  # noqa: BLE001  the body decides what it can end with
                step = _thrown(steps, exc)
            else:
                step = _sent(steps, done)


async def aparts(
    body: bytes | Body, perform: Callable[[Effect], Awaitable[object]]
) -> AsyncGenerator[bytes, None]:
    """Same as `parts`, but awaits what is performed."""
    if isinstance(body, bytes):
        yield body
        return
    with closing(body.steps()) as steps:
        step = next(steps, None)
        while step is not None:
            if isinstance(step, bytes):
                yield step
                step = next(steps, None)
                continue
            try:
                done = await perform(step)
            except Exception as exc:  # noqa: BLE001  the body decides what it can end with
                step = _thrown(steps, exc)
            else:
                step = _sent(steps, done)


def _sent(steps: Generator[Effect | bytes, Any, None], answer: object) -> Effect | bytes | None:
    try:
        return steps.send(answer)
    except StopIteration:
        return None


def _thrown(steps: Generator[Effect | bytes, Any, None], exc: Exception) -> Effect | bytes | None:
    try:
        return steps.throw(exc)
    except StopIteration:
        return None
