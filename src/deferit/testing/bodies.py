"""Requests and results in pieces."""

# ruff: noqa: PLR2004  a number of pieces is clearer than a name for it
from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from deferit._core.commands import (
    Append,
    Create,
    Release,
)
from deferit._core.queries import Load
from deferit.exceptions import JobExists, JobNotFound, LeaseLost
from deferit.testing.samples import (
    LONG,
    NOON,
    REQUEST,
    StoreTests,
    a_job,
    ask,
    claim,
    finished,
    is_gone,
    running,
    waiting,
)

if TYPE_CHECKING:
    from deferit.stores.base import Store


class Bodies(StoreTests):
    """Requests and results in pieces."""

    # --- pieces ---

    def test_pieces_of_a_request_come_before_their_job_and_stay_while_it_lives(
        self, store: Store
    ) -> None:
        job = a_job(repeatable=True)
        store.execute([Append(job.id, 0, 0, LONG), Append(job.id, 0, 1, b"")])

        ask(store, Create(job, REQUEST))
        claim(store)
        ask(store, Release(job.id, 1, NOON))
        claim(store)

        assert store.read(Load(job.id, 0, 0)) == LONG
        assert store.read(Load(job.id, 0, 1)) == b""

    def test_a_piece_of_a_request_behind_its_job_is_refused(self, store: Store) -> None:
        job = waiting(store)

        with pytest.raises(JobExists):
            ask(store, Append(job.id, 0, 0, b"late"))

        assert is_gone(store, Load(job.id, 0, 0))

    def test_a_piece_that_comes_again_replaces_the_first(self, store: Store) -> None:
        job = running(store)
        for attempt, job_id in ((0, a_job(9).id), (1, job.id)):
            store.execute([Append(job_id, attempt, 0, b"a"), Append(job_id, attempt, 0, b"b")])

            assert store.read(Load(job_id, attempt, 0)) == b"b"

    def test_a_piece_that_is_not_there_is_not_found(self, store: Store) -> None:
        job = finished(store)

        for attempt, index in ((0, 0), (1, 1), (2, 0)):
            assert is_gone(store, Load(job.id, attempt, index))
        assert is_gone(store, Load("job_nobody", 1, 0))

    def test_a_piece_of_a_result_needs_its_job(self, store: Store) -> None:
        with pytest.raises(JobNotFound):
            ask(store, Append("job_nobody", 1, 0, b"x"))

    @pytest.mark.parametrize("attempt", [1, 3])
    def test_a_piece_of_another_attempt_is_refused(self, store: Store, attempt: int) -> None:
        job = running(store, attempt=1)
        assert job.attempt == 2

        with pytest.raises(LeaseLost):
            ask(store, Append(job.id, attempt, 0, b"x"))

        assert is_gone(store, Load(job.id, attempt, 0))

    def test_a_piece_is_refused_after_the_end(self, store: Store) -> None:
        job = finished(store)

        with pytest.raises(LeaseLost):
            ask(store, Append(job.id, 1, 0, b"x"))

        assert store.read(Load(job.id, 1, 0)) == b"hello"
