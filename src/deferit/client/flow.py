"""Following a job, as generators that decide: they yield what they need done, and return the answer that counts."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, TypeAlias

from deferit._core.job import Status
from deferit.client.monitors import (
    ACCEPTED,
    NOT_MODIFIED,
    Answer,
    Document,
    Monitor,
    cancel_of,
    holds,
    is_finished,
    location_of,
    monitor_of,
    problem_of,
    result_of,
    retry_after,
    status_of,
    word_of,
)
from deferit.exceptions import FollowTimeout, JobFailed, JobWasCanceled, MonitorLost

if TYPE_CHECKING:
    from collections.abc import Generator

HOLD = 20
"""Seconds for which a server is asked to hold a poll."""

HELD = 1.0
"""Seconds: a server that answers sooner, and has no news, does not hold polls."""

PACE = 0.2
"""Seconds: the least between two polls."""

LAST_LOOK = 2.0
"""Seconds that the server gets for the last answer, once the deadline has come."""

LONGEST_PAUSE = 30.0
"""Seconds: the most that is waited where the server says nothing."""

MOST_REDIRECTS = 10

MOST_UNKNOWN = 3
"""How often a brand-new monitor may be unknown: some servers say 202 before all of their processes know of the job."""

TROUBLES = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Status codes that speak of the server's condition, not of the job."""

REDIRECTS = frozenset({301, 302, 307, 308})
OK, SEE_OTHER, NOT_FOUND = 200, 303, 404


@dataclass(frozen=True, slots=True)
class Ask:
    """Send a request; the reply is an `Answer`, or a `Trouble`.

    ``wait`` is the ``Prefer: wait`` to send, ``patience`` the seconds that the server gets beyond that. ``is_result``
    says that the result is asked for, in whatever form the original request accepts it.
    """

    method: str
    url: str
    wait: int = 0
    etag: str = ""
    patience: float = math.inf
    is_result: bool = False


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait; the reply is the instant after it."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Report:
    """Tell a status document; there is no reply."""

    document: Document


@dataclass(frozen=True, slots=True)
class Trouble:
    """There was no answer: why, and when."""

    reason: str
    at: float


Step: TypeAlias = Ask | Pause | Report
Part: TypeAlias = "Generator[Step, Any, None]"
Flow: TypeAlias = "Generator[Step, Any, Answer]"


class Stage(Enum):
    """What an answer of a monitor means."""

    PENDING = auto()
    """The job is not finished."""
    FINISHED = auto()
    """Its document says that it is."""
    RESULT = auto()
    """This is the result, or a 303 that leads to it."""
    MOVED = auto()
    """The monitor is elsewhere."""
    LOST = auto()
    """It is no monitor of ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How a job is followed.

    Args:
        timeout: seconds from the beginning until `FollowTimeout` is raised; None: for ever.
        retries: how often in a row a server may be unreachable before `MonitorLost` is raised.
        watch: whether every change of the status document is of interest, not only the end.
    """

    timeout: float | None = None
    retries: int = 8
    watch: bool = False


@dataclass(slots=True)
class Following:
    """Follows one job: `run` to its end, `result` from there. Whoever performs the steps tells the time.

    ``method`` and ``target`` are those of the original request. With no answer to that, ``target`` is a monitor.
    """

    method: str
    target: str
    now: float
    patience: Patience = field(default_factory=Patience)
    monitor: Monitor | None = None
    _deadline: float = math.inf
    _first: Answer | None = None
    _location: str | None = None
    _cancel_url: str | None = None
    _speaks: bool = True
    _holds: bool | None = None
    _hold: int = HOLD
    _was_held: bool = False
    _polls: int = 0
    _moves: int = 0
    _etag: str = ""
    _told: Document | None = None

    def __post_init__(self) -> None:
        if self.patience.timeout is not None:
            self._deadline = self.now + self.patience.timeout

    @property
    def url(self) -> str:
        """The URL from which following can be resumed."""
        return self.monitor.url if self.monitor else self.target

    def begins_with(self, answer: Answer) -> bool:
        """Take the answer to the original request; False if that names no monitor: then it is the final one."""
        self.now = answer.at
        self.monitor = monitor_of(answer)
        if self.monitor is None:
            return False
        self._first = answer
        self._location = location_of(answer)
        self._speaks = self.monitor.is_explicit
        return True

    def cancellation(self) -> Ask | None:
        """Return what cancels the job; None if it is finished, or the server has not said how."""
        if self._cancel_url is None:
            return None
        return Ask("POST", self._cancel_url, patience=LAST_LOOK)

    def whole(self) -> Flow:
        """Poll until the job is finished; return the final answer to the original request. See `run` and `result`."""
        answer = yield from self.run()
        return (yield from self.result(answer))

    def run(self) -> Flow:
        """Poll until the job is finished; return the answer that said so.

        Raises:
            FollowTimeout: the time is over.
            MonitorLost: the monitor cannot be reached, or is none.
        """
        if self._first is not None:
            yield from self._go_on(self._first)
        while True:
            answer = yield from self._polled()
            match self._stage(answer):
                case Stage.PENDING:
                    yield from self._go_on(answer)
                case Stage.MOVED:
                    self._move(answer)
                case Stage.LOST:
                    raise MonitorLost(self.url, _said(answer))
                case Stage.FINISHED:
                    self._cancel_url = None
                    yield from self._tell(answer)
                    return answer
                case Stage.RESULT:
                    self._cancel_url = None
                    return answer

    def result(self, answer: Answer) -> Flow:
        """Return the final answer to the original request, given the one that said that the job is finished.

        Raises:
            JobFailed: there is no response of the handler.
            JobWasCanceled: somebody has canceled it.
            FollowTimeout: the time is over.
            MonitorLost: the result cannot be reached.
        """
        url = self._result_url(answer)
        while url is not None:
            answer = yield from self._asked(Ask("GET", url, is_result=True))
            url = yield from self._result_is_at(url, answer)
        return answer

    def _stage(self, answer: Answer) -> Stage:
        if answer.field("AsyncResult"):
            return Stage.RESULT
        if answer.status in {OK, ACCEPTED} and self._is_document(answer):
            return Stage.FINISHED if is_finished(answer.document) else Stage.PENDING
        if answer.status in {ACCEPTED, NOT_MODIFIED}:
            return Stage.PENDING
        if answer.status in REDIRECTS and location_of(answer) and self._moves < MOST_REDIRECTS:
            return Stage.MOVED
        return Stage.RESULT if _is_success(answer) or answer.status == SEE_OTHER else Stage.LOST

    def _is_document(self, answer: Answer) -> bool:
        """Whether the body is a status document, rather than a result that has a member of that name."""
        if word_of(answer.document) is None:
            return False
        if status_of(answer.document) is not None:
            return self._speaks or answer.status == ACCEPTED or bool(answer.field("Retry-After"))
        # A word that nobody knows: of what is a monitor for certain, "any other value" means that it goes on.
        return answer.status == ACCEPTED or self.monitor is None or self.monitor.is_explicit

    def _go_on(self, answer: Answer) -> Part:
        """Take note of a pending job, and wait until it is time to ask again."""
        self._moves = 0
        if word_of(answer.document) is not None:
            self._speaks = True
            self._cancel_url = cancel_of(answer.document, answer.url) or self._cancel_url
        if self._polls and answer.status == ACCEPTED:
            self.monitor = monitor_of(answer) or self.monitor
        yield from self._tell(answer)
        yield from self._pause(self._until_next(answer))

    def _tell(self, answer: Answer) -> Part:
        if answer.document is not None and answer.document != self._told:
            self._told = answer.document
            yield Report(answer.document)

    def _until_next(self, answer: Answer) -> float:
        is_news = self.patience.watch and answer.field("ETag") != self._etag
        self._etag = answer.field("ETag")
        if self._holds is None:
            self._holds = holds(answer)
        elif self._was_held:
            self._holds = is_news or answer.seconds >= HELD
        if self._wait():
            return PACE if self._polls and is_news else 0.0
        is_unmarked = (
            self._holds and self._polls == 0
        )  # a poll at once brings what changes are told apart by
        return 0.0 if is_unmarked else self._retry(answer)

    def _retry(self, answer: Answer) -> float:
        asked = retry_after(answer)
        return max(PACE, _back_off(self._polls) if asked is None else asked)

    def _polled(self) -> Flow:
        etag = self._etag if self.patience.watch else ""
        answer: Answer = yield from self._asked(Ask("GET", self.url, self._wait(), etag))
        self._polls += 1
        return answer

    def _wait(self) -> int:
        """Return how long to have the server hold a poll; one that does not name what it knows would miss changes."""
        left = self._deadline - self.now
        may_miss = self.patience.watch and not self._etag
        return int(min(self._hold, left)) if self._holds and not may_miss and left >= 1 else 0

    def _asked(self, ask: Ask) -> Flow:
        """Ask until there is an answer that is about the job."""
        troubles = 0
        while True:
            patience = max(self._deadline - self.now, LAST_LOOK)
            reply: Answer | Trouble = yield replace(ask, patience=patience)
            self.now = reply.at
            if isinstance(reply, Answer) and not self._is_trouble(reply, troubles):
                self._was_held = ask.wait > 0
                return reply
            if ask.wait:  # a proxy on the way may have less patience than the server
                self._hold //= 2
                ask = replace(ask, wait=0)
            asked = retry_after(reply) if isinstance(reply, Answer) else None
            troubles += asked is None
            if troubles > self.patience.retries:
                raise MonitorLost(self.url, _said(reply))
            yield from self._pause(max(PACE, _back_off(troubles) / 2 if asked is None else asked))

    def _is_trouble(self, answer: Answer, troubles: int) -> bool:
        if answer.field("AsyncResult"):
            return False
        is_new = self._first is not None and not self._polls and troubles < MOST_UNKNOWN
        return answer.status in TROUBLES or (answer.status == NOT_FOUND and is_new)

    def _pause(self, seconds: float) -> Part:
        left = self._deadline - self.now
        if left <= 0:
            raise FollowTimeout(self.url, self.patience.timeout)
        if seconds > 0:
            self.now = yield Pause(min(seconds, left))

    def _move(self, answer: Answer) -> None:
        self._moves += 1
        is_explicit = self.monitor is None or self.monitor.is_explicit
        self.monitor = Monitor(location_of(answer) or self.url, is_explicit)

    def _result_url(self, answer: Answer) -> str | None:
        """Return where the final answer is; None: it is this one."""
        if self._stage(answer) is not Stage.FINISHED:
            return location_of(answer) if answer.status == SEE_OTHER else None
        document = answer.document or {}
        url = result_of(document, answer.url)
        if url is not None:
            return url
        status = status_of(document)
        if status is Status.CANCELED:
            raise JobWasCanceled(self.url, problem_of(document))
        if status is Status.FAILED:
            raise JobFailed(self.url, problem_of(document))
        return self._unnamed_result_url()

    def _unnamed_result_url(self) -> str | None:
        """Return where azure-core looks if the document does not say: the resource itself, or the first Location."""
        if self.method in {"PUT", "PATCH"}:
            return self.target
        return self._location if self._location != self.url else None

    def _result_is_at(self, url: str, answer: Answer) -> Generator[Step, Any, str | None]:
        """Return where to ask for the result next; None: the answer is the result."""
        if answer.status == ACCEPTED and not answer.field("AsyncResult"):
            yield from self._pause(self._retry(answer))
            return url
        if answer.status in REDIRECTS | {SEE_OTHER} and self._moves < MOST_REDIRECTS:
            self._moves += 1
            return location_of(answer)
        if not _is_success(answer) and not answer.field("AsyncResult"):
            raise MonitorLost(self.url, _said(answer))
        return None


def _back_off(count: int) -> float:
    """Return 1, 1, 2, 4 … 30 seconds."""
    return min(LONGEST_PAUSE, 2.0 ** max(0, min(count, 10) - 1))


def _is_success(answer: Answer) -> bool:
    return 200 <= answer.status < 300  # noqa: PLR2004


def _said(reply: Answer | Trouble) -> str:
    """Return what a server had to say, for people."""
    if isinstance(reply, Trouble):
        return reply.reason
    problem = problem_of(reply.document)
    words = problem.get("detail") or problem.get("message") or problem.get("title")
    return f"{reply.url} answered {reply.status}" + (f": {words}" if words else "")
