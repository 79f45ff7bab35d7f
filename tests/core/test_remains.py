from __future__ import annotations

import pytest
from msgspec.structs import replace
from tests.core.samples import NOON

from deferit._core.commands import Create
from deferit._core.idempotency import Identity, known_by
from deferit._core.ids import RANDOM_BYTES, make_id
from deferit._core.job import FINISHED, TOMBSTONE, Job, Status
from deferit._core.remains import DAMAGED, DAY, Remains, salvaged
from deferit._core.rules import swept, wake_at
from deferit.exceptions import KeyReused

MADE = NOON - 60
LEFT = Remains(
    id=make_id(MADE, bytes(RANDOM_BYTES)),
    application="shop",
    owner="ada",
    key=None,
    queue="reports",
    status=Status.RUNNING,
    attempt=2,
    wake_at=NOON,
)


def test_what_is_left_is_a_job_that_has_failed() -> None:
    job = salvaged(LEFT)

    assert (job.status, job.error, job.result) == (Status.FAILED, DAMAGED, None)
    assert (job.application, job.owner, job.queue, job.attempt) == ("shop", "ada", "reports", 2)
    assert job.created_at == job.finished_at == MADE
    assert job.callback_at is None


@pytest.mark.parametrize("status", sorted(set(Status) - FINISHED))
def test_it_is_kept_for_a_day_from_when_it_was_to_be_looked_after(status: Status) -> None:
    early = salvaged(replace(LEFT, status=status, wake_at=0.0))
    late = salvaged(replace(LEFT, status=status))

    assert (early.expires_at, late.expires_at) == (MADE + DAY, NOON + DAY)


@pytest.mark.parametrize("status", sorted(FINISHED))
def test_one_that_was_finished_expires_when_it_was_to(status: Status) -> None:
    job = salvaged(replace(LEFT, status=status))

    assert job.expires_at == NOON
    assert wake_at(job, None) == NOON + TOMBSTONE


def test_an_id_that_tells_no_time_is_of_1970() -> None:
    assert salvaged(replace(LEFT, id="job_" + "z" * 30)).created_at == 0.0


def test_a_sweep_that_comes_upon_it_leaves_it_until_it_has_expired() -> None:
    job = salvaged(LEFT)

    assert swept(job, NOON + 1) == job
    assert swept(job, NOON + DAY) is None


def again(identity: Identity, found: Job) -> bool:
    new = salvaged(LEFT).but(identity=identity)
    return Create(new, b"").found(found)


def test_the_key_alone_finds_it() -> None:
    job = salvaged(replace(LEFT, key="a key"))

    assert job.key == "a key"
    assert again(Identity("a key", "a fingerprint"), job)
    assert again(Identity("a key", "another"), job)


def test_a_whole_job_is_found_by_its_fingerprint_too() -> None:
    job = salvaged(LEFT).but(identity=Identity("a key", "a fingerprint"))

    assert again(Identity("a key", "a fingerprint"), job)
    with pytest.raises(KeyReused):
        again(Identity("a key", "another"), job)


def test_what_deferit_has_made_the_key_of_finds_nothing_that_has_ended() -> None:
    assert known_by("~a key").while_unfinished
    assert salvaged(replace(LEFT, key="~a key")).key is None
