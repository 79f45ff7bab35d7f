from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.process.parts import WatchedStore, captured, draft, eventually

from deferit._core.commands import Claim, Create
from deferit._process.ledger import Ledger
from deferit._process.offers import Offers
from deferit.executors.base import Dispatcher

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deferit._core.job import Job

AHEAD = 2


class Queue(Dispatcher):
    """Takes so many offers that nobody has claimed; a test loses them by doing nothing."""

    again_after = 0.05

    def __init__(self) -> None:
        self.offered: list[str] = []

    def capacity(self, waiting: int) -> int:
        return AHEAD - waiting

    def dispatch(self, job: Job) -> None:
        self.offered.append(job.id)

    def revoke(self, job: Job) -> bool:
        return False


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    ledger = Ledger(WatchedStore())
    ledger.open()
    yield ledger
    ledger.close()


@pytest.fixture
def queue() -> Queue:
    return Queue()


@pytest.fixture
def offers(ledger: Ledger, queue: Queue) -> Iterator[Offers]:
    offers = Offers(ledger, queue, "default")
    yield offers
    offers.close(0.0)


def waiting(ledger: Ledger, count: int) -> list[str]:
    """Have jobs accepted; return their ids."""
    jobs = [draft(number, ledger) for number in range(count)]
    for job in jobs:
        ledger.execute(Create(job, captured()))
    return [job.id for job in jobs]


def eventually_offered(offers: Offers, queue: Queue, job_id: str, times: int = 1) -> None:
    """Wait until a job was offered so many times, without waiting for the thread to look by itself."""

    def is_so() -> bool:
        offers.wake()
        return queue.offered.count(job_id) >= times

    eventually(is_so)


def test_no_more_is_offered_than_there_is_room_for(
    ledger: Ledger, queue: Queue, offers: Offers
) -> None:
    first, second, third = waiting(ledger, 3)
    offers.start()

    eventually_offered(offers, queue, second, 3)

    assert {first, second} == set(queue.offered)
    assert third not in queue.offered


def test_offers_that_were_all_lost_are_repeated_though_they_take_up_the_room(
    ledger: Ledger, queue: Queue, offers: Offers
) -> None:
    jobs = waiting(ledger, AHEAD)
    offers.start()

    for job_id in jobs:
        eventually_offered(offers, queue, job_id, 2)


def test_what_was_claimed_makes_room_and_is_not_offered_again(
    ledger: Ledger, queue: Queue, offers: Offers
) -> None:
    first, second, third = waiting(ledger, 3)
    offers.start()
    eventually_offered(offers, queue, second)
    now = ledger.now()
    ledger.execute(Claim("default", now, now + 60.0, 1, first))
    offers.recheck([first])
    eventually_offered(offers, queue, third)
    before = queue.offered.count(first)

    eventually_offered(offers, queue, third, 3)

    assert queue.offered.count(first) == before
