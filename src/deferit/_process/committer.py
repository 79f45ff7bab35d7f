"""Commits in groups: one thread that executes, in one transaction, all that came while the last one was under way.

A store across a network is read in groups by another such thread, in one round trip.
"""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, TypeAlias

from deferit._core.commands import Claim
from deferit._loops import Loop, current_loop
from deferit._process.pauses import Pauses
from deferit.exceptions import StoreError, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from deferit._core.commands import Command
    from deferit._core.queries import Query

    Item: TypeAlias = tuple[Command | Query, "Reply"]

logger = logging.getLogger("deferit")

LARGEST_BATCH = 256
"""Commands in one transaction at the most: a longer one makes the first of it wait for the last."""


class Reply(ABC):
    """Where the outcome of a command goes: its result, or the exception that it met."""

    loop: Loop | None = None
    """The event loop in which `resolve` has to be called; None: in the committer's thread."""

    @abstractmethod
    def resolve(self, outcome: object) -> None:
        """Take the outcome, once."""

    def abandon(self, outcome: object) -> None:  # noqa: B027  most have nobody to tell
        """Take the outcome when the loop has ended, in the committer's thread."""


class Callback(Reply):
    """Calls a function with the outcome, in the committer's thread; it must be quick and must not raise."""

    def __init__(self, function: Callable[[object], object]) -> None:
        self._function = function

    def resolve(self, outcome: object) -> None:
        self._function(outcome)


class BlockingReply(Reply):
    """Lets a thread wait."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()
        self._outcome: object = None

    def resolve(self, outcome: object) -> None:
        self._outcome = outcome
        self._lock.release()

    def outcome(self) -> object:
        """Return the outcome, be it a result or an exception."""
        self._lock.acquire()
        return self._outcome


class AwaitableReply(Reply):
    """Lets a task wait.

    If the task is canceled meanwhile, or its loop ends, ``otherwise`` is called with the outcome: what was committed
    cannot be taken back, so somebody has to go on with it.
    """

    def __init__(self, otherwise: Callable[[object], object] = lambda _: None) -> None:
        self.loop = loop = current_loop()
        self._event = loop.new_event()
        self._outcome: object = None
        self._otherwise = otherwise
        self._is_abandoned = False

    def resolve(self, outcome: object) -> None:
        self._outcome = outcome
        self._event.set()
        if self._is_abandoned:
            self._otherwise(outcome)

    def abandon(self, outcome: object) -> None:
        """Take the outcome in the committer's thread, as the loop has ended."""
        self._otherwise(outcome)

    async def outcome(self) -> object:
        """Return the outcome, be it a result or an exception."""
        try:
            await self._event.wait()
        except BaseException:
            self._is_abandoned = True
            if self._event.is_set():
                self._otherwise(self._outcome)
            raise
        return self._outcome


def returned(outcome: object) -> object:
    """Return an outcome, or raise it if it is an exception."""
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


class Committer:
    """Executes commands, or queries, in groups; any thread may `submit`, `close` ends the thread when all is done."""

    def __init__(
        self,
        execute: Callable[[Sequence[Any]], Sequence[object]],
        url: str,
        name: str = "deferit-committer",
        pauses: Pauses | None = None,
    ) -> None:
        """Have ``execute`` do it, in a thread of that name; without ``pauses`` no group waits for more."""
        self._execute = execute
        self._url = url
        self._pauses = pauses or Pauses(longest=0.0)
        self._waiting: SimpleQueue[Item | None] = SimpleQueue()  # None only wakes
        self._is_closed = False
        self._is_over = False
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def submit(self, command: Command | Query, reply: Reply) -> None:
        """Have a command executed in the next group; after the end, it meets `StoreUnavailable`."""
        self._waiting.put((command, reply))
        if self._is_over:
            self._refuse_the_rest()

    def close(self) -> None:
        """Execute what is waiting, then end the thread; idempotent."""
        self._is_closed = True
        self._waiting.put(None)
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join()

    def _work(self) -> None:
        while not (self._is_closed and self._waiting.empty()):
            group = self._next_group()
            if group:
                self._commit(group)
        self._is_over = True
        self._refuse_the_rest()

    def _refuse_the_rest(self) -> None:
        """Answer those who came too late, each once, whichever thread gets hold of it."""
        while True:
            try:
                item = self._waiting.get_nowait()
            except Empty:
                return
            if item:
                _resolve([item[1]], [StoreUnavailable(self._url, "this process has closed it")])

    def _next_group(self) -> list[Item]:
        """Wait for the first command, and take those that are there by then, or after a pause."""
        get, is_empty = self._waiting.get, self._waiting.empty
        items = [get()]
        if not self._is_closed:
            self._pauses.pause(lambda: len(items) + self._waiting.qsize())
        while len(items) < LARGEST_BATCH and not is_empty():
            items.append(get())
        return sorted(filter(None, items), key=_takes_jobs)

    def _commit(self, group: list[Item]) -> None:
        self._pauses.begin()
        try:
            outcomes = self._execute([command for command, _ in group])
            if len(outcomes) != len(group):
                raise RuntimeError(f"{len(outcomes)} answers to {len(group)} commands")  # noqa: TRY301  as if it had raised
        except StoreError as exc:
            outcomes = [exc] * len(group)
        except Exception as exc:  # noqa: BLE001  whatever a store raises, nobody may wait for ever
            outcomes = [unexpected(self._url, exc)] * len(group)
        self._pauses.end(len(group), self._waiting.qsize())
        _resolve([reply for _, reply in group], outcomes)


def _takes_jobs(item: Item) -> bool:
    """Whether a command takes jobs that wait: it comes last in its group, so that it finds those that came with it."""
    return isinstance(item[0], Claim)


def unexpected(url: str, exc: Exception) -> StoreUnavailable:
    """Return what a store should have raised in place of an exception that no store may raise."""
    failure = StoreUnavailable(url, f"{type(exc).__name__}: {exc}")
    failure.__cause__ = exc
    return failure


def _resolve(replies: list[Reply], outcomes: Sequence[object]) -> None:
    """Hand out the outcomes, with one wake-up for each event loop."""
    by_loop: dict[Loop, list[tuple[Reply, object]]] = {}
    for reply, outcome in zip(replies, outcomes, strict=True):
        if reply.loop is None:
            _give(reply.resolve, outcome)
        else:
            by_loop.setdefault(reply.loop, []).append((reply, outcome))
    for loop, pairs in by_loop.items():
        if not loop.post(_resolve_all, pairs):
            _abandon_all(pairs)


def _resolve_all(pairs: list[tuple[Reply, object]]) -> None:
    for reply, outcome in pairs:
        _give(reply.resolve, outcome)


def _abandon_all(pairs: list[tuple[Reply, object]]) -> None:
    for reply, outcome in pairs:
        _give(reply.abandon, outcome)


def _give(take: Callable[[object], object], outcome: object) -> None:
    """Hand out one outcome; whoever fails to take it must not keep the others from theirs."""
    try:
        take(outcome)
    except Exception:
        # Not the outcome itself: a captured request may be part of it.
        logger.exception("nobody could take the %s that a command met", type(outcome).__name__)
