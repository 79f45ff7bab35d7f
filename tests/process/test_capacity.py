"""The model of docs/scale.md, and that what it is fed with can be measured."""

from __future__ import annotations

import pytest
from benchmarks.capacity import SCALE, capacities, demands, filled, measured
from benchmarks.contenders import STORES
from benchmarks.demand import Capacity, Demand, needs

STORE = Capacity(
    name="some store",
    rates={1: 500.0, 64: 4_000.0, 256: 8_000.0},
    together=1_000.0,
    cpu=100e-6,
    job=2_000.0,
    tombstone=500.0,
    connections=6,
)
TEN_MILLION = Demand(10e6, peak=5, seconds=1, concurrency=8)


def test_ten_million_jobs_a_day_are_116_a_second_and_more_at_the_peak() -> None:
    assert round(TEN_MILLION.mean) == 116
    assert round(TEN_MILLION.at_peak) == 579


def test_as_many_run_at_once_as_come_while_one_runs() -> None:
    assert TEN_MILLION.processes == 73
    assert Demand(10e6, seconds=0.1).processes == 8
    assert Demand(10e6, seconds=10).processes == 724


def test_the_peak_takes_a_part_of_a_store() -> None:
    need = needs(STORE, TEN_MILLION)

    assert need.share == pytest.approx(0.072, abs=0.001)
    assert need.share_one_by_one == pytest.approx(0.579, abs=0.001)
    assert need.cores == pytest.approx(0.058, abs=0.001)
    assert need.connections == 73 * 6


def test_a_job_is_kept_for_its_retention_and_its_tombstone_for_a_day_more() -> None:
    for_a_day = needs(STORE, TEN_MILLION)
    for_an_hour = needs(STORE, Demand(10e6, retention=3_600))

    assert for_a_day.bytes == pytest.approx(10e6 * 2_500)
    assert for_an_hour.bytes == pytest.approx(10e6 * (2_000 / 24 + 500))


@pytest.mark.parametrize("name", ["memory", "sqlite"])
def test_a_store_is_measured(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.capacity.PROCESSES", 2)

    found = measured(name, STORES[name], jobs=100, seconds=0.01)

    assert min(found.rates.values()) > 0
    assert 200 < found.tombstone < found.job < 20_000
    assert (found.together > 0) == (name == "sqlite")


def test_both_tables_have_a_line_for_each_store() -> None:
    lines = [*capacities([STORE, STORE]), *demands([STORE, STORE], TEN_MILLION)]

    assert sum(line.startswith("| some store |") for line in lines) == 4
    assert "10,000,000 jobs a day are 116/s on average, and 579/s at a peak of 5" in "\n".join(
        lines
    )


def test_the_page_has_a_place_for_both_tables() -> None:
    page = filled(SCALE.read_text(), {"capacities": "| the first |", "demands": "| the second |"})

    assert page.count("| the first |") == page.count("| the second |") == 1
    assert filled(page, {"capacities": "| the first |", "demands": "| the second |"}) == page
    assert page.count("\n## ") == SCALE.read_text().count("\n## ")
