"""The figures of docs/estimates.md, on fewer jobs: the clock is the simulation's own, so they are always the same."""

from __future__ import annotations

import pytest
from benchmarks.estimates import WORKLOADS, Figures, figures, replayed

JOBS = 500


@pytest.fixture(scope="module", params=list(WORKLOADS))
def found(request: pytest.FixtureRequest) -> Figures:
    return figures(replayed(request.param, JOBS))


def test_estimates_are_off_by_a_fifth_at_the_most(found: Figures) -> None:
    assert found.error <= 0.2
    assert found.error_later <= 0.2


def test_about_nine_of_ten_jobs_are_finished_by_the_latest_instant(found: Figures) -> None:
    assert 0.8 <= found.covered <= 0.97
    assert 0.8 <= found.covered_later <= 0.97


def test_clients_poll_less_than_half_as_often_and_notice_the_end_as_soon(found: Figures) -> None:
    assert found.polls < 0.5
    assert found.noticed <= 1.2
    assert found.slowest <= 1.5


def test_what_is_said_is_calm(found: Figures) -> None:
    assert found.moves <= 5


def test_the_figures_are_the_same_each_time(found: Figures) -> None:
    assert found in [figures(replayed(name, JOBS)) for name in WORKLOADS]
