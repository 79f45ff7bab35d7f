"""When a job will be finished, as far as can be told: the only thing that RFC 9110 §15.3.3 asks of a monitor."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec

from deferit._core.job import Status
from deferit._core.pace import SHORTEST, Pace, Span, beyond, rounded
from deferit._core.queries import MOST_AHEAD, Ahead

if TYPE_CHECKING:
    from deferit._core.job import Job


class Estimate(msgspec.Struct, frozen=True, gc=False):
    """Two instants by which the job is finished: as likely as not, and nine times of ten."""

    median: float
    latest: float
    soonest: float
    """Once of ten it is finished by then; nobody is told, but those who ask are asked not to come much later."""


class Known(msgspec.Struct, frozen=True, gc=False):
    """What a process knows of others when it is asked for one job: how long they take on its route, and in its queue.

    ``concurrency`` is how many run at once in this process, where it is not known how many do in all.
    """

    route: Pace | None = None
    queue: Pace | None = None
    concurrency: int = 1


class Outlook(msgspec.Struct, frozen=True, gc=False):
    """What can be told now of a job that is not finished: when it will be, and how many are in front while it waits."""

    now: float
    position: int | None = None
    expected: Estimate | None = None


NOTHING = Known()

FARTHEST = 100 * 365 * 86_400.0
"""A hundred years in seconds: a rest that is longer comes of a clock that was set while the job ran."""

CAUTION = 2.0
"""How many times longer than a steady handler the rest may take, of a route of which nothing is known."""

NOISE = 0.5
"""How far progress that has only begun may mislead, as the logarithm of a factor; the farther it is, the less."""

SURPRISE = 0.1
"""How likely it is that a job is like none that was seen."""

DEVIATIONS = (-1.28, -0.52, 0.0, 0.52, 1.28)
"""Five equally likely values of a normal distribution."""

NINE_OF_TEN = 1.28
"""Standard deviations up to the 90th percentile of a normal distribution."""

CALM = 0.2
"""A part of the time left: an estimate that would move less than that stays as it was."""


def estimate(
    job: Job, now: float, known: Known = NOTHING, ahead: Ahead | None = None
) -> Estimate | None:
    """Return when a job will be finished, or None if nothing is known of that.

    A job that waits begins when those in front of it have, and no earlier than its window opens; then it takes as long
    as others of its route. One that runs takes as long as those that took longer than it did so far. One that reports
    its progress is taken to go on as it did, the more so the farther it is and the more others took as long.
    """
    if job.status is Status.RUNNING and job.started_at is not None:
        begun = job.started_at
        span = _of_running(job, now, begun, known.route)
        if span is None:
            return None
        found = Estimate(begun + span.median, begun + span.latest, begun + span.soonest)
        return _not_past(found, now)
    if job.status is Status.ACCEPTED:
        return _of_waiting(job, now, known, ahead or Ahead(0, 0))
    return None


def _not_past(found: Estimate, now: float) -> Estimate:
    """Return an estimate that is in the past as now: a clock was set, or the job ends this instant."""
    if found.median >= now:
        return found
    return Estimate(now, max(now, found.latest), now)


# --- running ---------------------------------------------------------------------------------------------------------


def _of_running(job: Job, now: float, started_at: float, pace: Pace | None) -> Span | None:
    """Return how long the attempt of a job takes in all."""
    age = max(0.0, now - started_at)
    if not job.progress:
        return pace.of(age) if pace else None
    span = _by_progress(job.progress, max(SHORTEST, job.updated_at - started_at), pace)
    if age < span.median:
        return span
    later = beyond(span.median, age)
    return Span(later.median, max(span.latest, later.latest), later.soonest)


def _by_progress(percent: int, age: float, pace: Pace | None) -> Span:
    """Return how long a job takes in all that came so far at this age.

    If it goes on as it did. That is one witness; the other is how long jobs of its route take, of which those are
    believed that fit (Bayes' rule, where the logarithm of the first witness' error is normal).
    """
    steady = max(age, min(FARTHEST, age * 100 / percent))
    if pace is None:
        return Span(steady, max(steady, min(FARTHEST, age + (steady - age) * CAUTION)), steady)
    noise = NOISE * (1 - percent / 100) + math.log(1 + 1 / percent)
    seen = [(point, _fit(point / steady, noise) / len(pace.points)) for point in pace.points]
    new = [(steady * math.exp(noise * z), SURPRISE / len(DEVIATIONS)) for z in DEVIATIONS]
    left = sorted((seconds, weight) for seconds, weight in (*seen, *new) if seconds > age)
    return rounded(*(_quantile(left, share) for share in (0.5, 0.9, 0.1)))


def _fit(ratio: float, noise: float) -> float:
    return math.exp(-((math.log(ratio) / noise) ** 2) / 2)


def _quantile(weighted: list[tuple[float, float]], share: float) -> float:
    wanted = share * sum(weight for _, weight in weighted)
    for value, weight in weighted:
        wanted -= weight
        if wanted <= 0:
            return value
    return weighted[-1][0]


# --- waiting ---------------------------------------------------------------------------------------------------------


def _of_waiting(job: Job, now: float, known: Known, ahead: Ahead) -> Estimate | None:
    opens = job.due_at if job.is_early(now) else now
    if known.route is None or ahead.jobs >= MOST_AHEAD:
        return Estimate(opens, opens, opens) if opens > now else None
    turns = _turns(job, known, ahead)
    own = known.route.of(0.0)
    start = max(opens, now + turns.median)
    doubt = math.hypot(turns.latest - turns.median, own.latest - own.median)
    soonest = max(opens, now + turns.soonest) + own.soonest
    return Estimate(start + own.median, start + own.median + doubt, soonest)


def _turns(job: Job, known: Known, ahead: Ahead) -> Span:
    """Return how long it takes until it is the turn of a job that waits.

    While jobs wait, all that can run do; each that ends lets one begin. The first of them has run for a while already.
    In doubt are the times that those in front take, and the mean by which all of them are guessed.
    """
    pace = known.queue or known.route
    if pace is None or not (ahead.jobs or ahead.running):
        return Span(0.0, 0.0, 0.0)
    at_once = ahead.running or known.concurrency
    at_once = min(at_once, job.slots or at_once)
    first = min(1.0, (1 + (pace.deviation / pace.mean) ** 2) / 2)
    median = (ahead.jobs + first) * pace.mean / at_once
    turns = ahead.jobs + 1
    doubt = NINE_OF_TEN * pace.deviation * math.sqrt(turns + turns**2 / pace.size) / at_once
    return Span(median, median + doubt, max(0.0, median - doubt))


def seconds_until_room(known: Known, among: int | None = None) -> float | None:
    """Return in how many seconds one job ends of those that run, or of ``among`` so many; None if that is unknown."""
    pace = known.queue or known.route
    if pace is None:
        return None
    return pace.mean / max(1, min(known.concurrency, among or known.concurrency))


def calm(before: Estimate | None, found: Estimate, now: float) -> Estimate:
    """Return what was said of a waiting job before, unless what was found since is far from it.

    Each job that begins lets the others move up, and until the next one does all of them seem to be late.
    """
    if before is None or before.median < now:
        return found
    is_near = abs(found.median - before.median) <= CALM * (before.median - now)
    is_as_sure = abs(found.latest - before.latest) <= CALM * (before.latest - now)
    return before if is_near and is_as_sure else found
