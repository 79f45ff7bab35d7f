"""What was measured comes into pages as it was: medians, ratios of the same round, verdicts."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest
from benchmarks import tables
from benchmarks.contestants import ON_STARLETTE
from benchmarks.measure import chosen
from benchmarks.picture import picture
from benchmarks.publish import PAGES, filled
from benchmarks.record import Row, Seen, rows
from benchmarks.stages import FIGURES, OWN, PEERS
from benchmarks.targets import TARGETS, verdicts

if TYPE_CHECKING:
    from benchmarks.record import Sample


def seen(own: Sample, bare: Sample, figure: str = "accept", of: str = ON_STARLETTE.name) -> Seen:
    return Seen(figure, of, "Starlette", own, bare)


def accepts(ratio: float) -> list[Row]:
    numbers = {"rate": 1_000 * ratio, "p50": 1.0, "p99": 2.0, "cpu": 70.0}
    return rows([seen(numbers, {"rate": 1_000.0, "p50": 1.0, "p99": 2.0, "cpu": 30.0})])


def test_a_ratio_is_the_median_of_the_rounds_not_that_of_medians() -> None:
    (row,) = rows(
        [
            seen({"rate": 40.0}, {"rate": 100.0}),
            seen({"rate": 90.0}, {"rate": 300.0}),
            seen({"rate": 50.0}, {"rate": 50.0}),
        ]
    )

    assert row.rounds == 3
    assert (row.own["rate"], row.bare["rate"]) == (50.0, 100.0)
    assert row.ratio["rate"] == 0.4
    assert row.over["rate"] == -60.0


def test_numbers_that_the_baseline_has_not_have_no_ratio() -> None:
    (row,) = rows([seen({"ms": 3.0, "built": 4.0}, {"ms": 2.0})])

    assert row.own == {"ms": 3.0, "built": 4.0}
    assert row.ratio == {"ms": 1.5}


@pytest.mark.parametrize(("ratio", "is_met"), [(0.41, True), (0.39, False)])
def test_a_target_is_met_or_not(ratio: float, is_met: bool) -> None:
    (verdict,) = verdicts(accepts(ratio))

    assert verdict.words == "durable accept, Starlette: at least 0.40 of bare"
    assert (verdict.seen, verdict.is_met) == (f"{ratio:.2f}", is_met)
    assert ("**no**" in tables.targets(accepts(ratio))) is not is_met


def test_each_target_is_of_a_figure_that_is_taken() -> None:
    taken = {
        (figure, visit.contestant.name)
        for stage in OWN
        for visit in stage.visits
        for figure in visit.figures
    }

    assert {(each.figure, each.contestant) for each in TARGETS if each.figure != "import"} <= taken


def test_a_page_is_filled_between_its_markers_only() -> None:
    page = "before\n\n<!-- figures: everybody -->\nold\n<!-- end of figures -->\n\nafter\n"

    once = filled(page, accepts(0.4))

    assert "old" not in once
    assert once.startswith("before\n\n<!-- figures: everybody -->\n\n| ")
    assert "| **deferit on Starlette** | 400 | 0.40 |" in once
    assert once.endswith("|\n\n<!-- end of figures -->\n\nafter\n")
    assert filled(once, accepts(0.4)) == once


def test_the_pages_name_tables_that_there_are() -> None:
    for page in PAGES:
        text = page.read_text("utf-8")
        assert "<!-- figures: " in filled(text, accepts(0.4))
        assert "| **deferit on Starlette** | 400 | 0.40 |" in filled(text, accepts(0.4))


def test_the_picture_is_one() -> None:
    root = ET.fromstring(picture(accepts(0.4)))

    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "deferit on Starlette" in texts
    assert "0.40  (400/s)" in texts


def test_figures_and_contestants_can_be_chosen() -> None:
    found = chosen([*OWN, PEERS], {"accept", "latency"}, "huey")

    (visit,) = [visit for stage in found for visit in stage.visits]
    assert visit.contestant.name == "Flask + Huey (SQLite)"
    assert list(visit.figures) == ["latency", "accept"]
    assert set(visit.figures) <= set(FIGURES)
