from __future__ import annotations

import pytest
from tests.core.samples import NOON, a_job

from deferit._core.job import Failure, Job
from deferit._core.offers import is_given_up, is_untouched

OFFERED = a_job(repeatable=True)
RUNNING = OFFERED.claimed(NOON)


def failed(code: str) -> Job:
    return RUNNING.ended(NOON, None, Failure(code, "why"))


def test_a_job_that_nobody_has_claimed_is_untouched() -> None:
    assert is_untouched(OFFERED, OFFERED)


@pytest.mark.parametrize(
    "now", [RUNNING, RUNNING.lost(NOON), OFFERED.canceled(NOON, "never started")]
)
def test_a_job_that_was_claimed_or_is_finished_is_not(now: Job) -> None:
    assert not is_untouched(OFFERED, now)


@pytest.mark.parametrize(
    "now",
    [
        RUNNING.canceled(NOON, "asked to stop"),
        failed("deadline-exceeded"),
        failed("interrupted"),
        RUNNING.lost(NOON),
    ],
)
def test_a_handler_that_may_still_run_for_nobody_has_to_end(now: Job) -> None:
    assert is_given_up(OFFERED, now)


@pytest.mark.parametrize(
    "now",
    [RUNNING.ended(NOON, None, None), failed("handler-exception"), RUNNING.retried(NOON, NOON)],
)
def test_one_that_has_ended_by_itself_has_not(now: Job) -> None:
    assert not is_given_up(OFFERED, now)
