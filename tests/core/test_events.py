from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.core.samples import JOB_ID, NOON, SITE, a_job, running, succeeded

from deferit._core.document import status_document
from deferit._core.effects import Effect, Foresee, Now, ShuttingDown, Wait, parts
from deferit._core.estimate import Estimate, Outlook
from deferit._core.events import KEEP_ALIVE, RETRY, Events
from deferit._core.job import Job, Status
from deferit.exceptions import JobNotFound, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable


EXPECTED = Estimate(NOON + 8, NOON + 9, NOON + 7)
WAITING = b": waiting\n\n"


def outlook(job: Job) -> Outlook:
    return Outlook(NOON, 3 if job.status is Status.ACCEPTED else None, EXPECTED)


def history(*jobs: Job | Exception) -> Callable[[Effect], object]:
    """Return what performs: each wait ends with the next of these, or fails."""
    left = list(jobs)

    def perform(effect: Effect) -> object:
        if isinstance(effect, Wait):
            assert (effect.seconds, effect.revision) == (KEEP_ALIVE, effect.job.revision)
            found = left.pop(0)
            if isinstance(found, Exception):
                raise found
            return found
        if isinstance(effect, Foresee):
            return outlook(effect.job)
        assert effect == Now()
        return NOON

    return perform


def sent(job: Job, known: str | None, *later: Job | Exception) -> list[bytes]:
    return list(parts(Events(job, SITE, known), history(*later)))


def shown(event: bytes) -> tuple[int, dict[str, Any]]:
    """Return id and document of an event."""
    first, second, third, *end = event.decode().split("\n")
    assert second == "event: status"
    assert end == ["", ""]
    return int(first.removeprefix("id: ")), json.loads(third.removeprefix("data: "))


def test_each_change_is_an_event_to_the_end() -> None:
    retry, *events = sent(a_job(), None, running(), succeeded())

    assert retry == RETRY
    assert [shown(event) for event in events] == [
        (1, status_document(a_job(), SITE, NOON, outlook(a_job()))),
        (2, status_document(running(), SITE, NOON, outlook(running()))),
        (3, status_document(succeeded(), SITE, NOON, None)),
    ]


@pytest.mark.parametrize("known", ["1", "99", "x"])
def test_who_comes_back_is_told_what_is_new(known: str) -> None:
    _, *events = sent(running(), known, succeeded())

    assert [shown(event)[0] for event in events] == [2, 3]


def test_who_comes_back_is_not_told_what_is_known() -> None:
    _, *events = sent(running(), "2", succeeded())

    assert [shown(event)[0] for event in events] == [3]


def test_a_finished_job_is_one_event() -> None:
    _, *events = sent(succeeded(), None)

    assert [shown(event)[0] for event in events] == [3]


def test_silence_is_broken_by_comments() -> None:
    _, _, *rest = sent(running(), None, running(), running(), succeeded())

    assert rest[:2] == [WAITING, WAITING]
    assert shown(rest[2])[1]["status"] == "succeeded"


def test_a_message_of_several_lines_stays_in_its_line() -> None:
    job = running().reported(NOON, 5, "one\ntwo\r\nthree")

    _, event = sent(job, None, ShuttingDown())

    assert shown(event)[1]["message"] == "one\ntwo\r\nthree"


@pytest.mark.parametrize(
    "exc", [ShuttingDown(), JobNotFound(JOB_ID), StoreUnavailable("memory://", "gone")]
)
def test_a_stream_ends_where_it_cannot_go_on(exc: Exception) -> None:
    assert len(sent(running(), None, exc)) == 2
