"""What people are told of a job reads as they would say it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deferit.cli.words import line, message, percent, printable, remaining, span

NOW = 1_800_000_000.0


def at(seconds: float) -> str:
    return datetime.fromtimestamp(NOW + seconds, UTC).isoformat().replace("+00:00", "Z")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, (1, "second")),
        (1, (1, "second")),
        (59, (59, "seconds")),
        (89, (89, "seconds")),
        (91, (2, "minutes")),
        (3_600, (60, "minutes")),
        (5_500, (2, "hours")),
        (86_400, (24, "hours")),
        (3 * 86_400, (3, "days")),
    ],
)
def test_a_span_has_one_number(seconds: float, words: tuple[int, str]) -> None:
    assert span(seconds) == words


@given(st.floats(0, 1e9))
def test_a_span_is_never_far_off(seconds: float) -> None:
    count, unit = span(seconds)

    size = {"second": 1, "minute": 60, "hour": 3_600, "day": 86_400}[unit.removesuffix("s")]
    assert abs(count * size - seconds) <= max(1, size / 2)


@pytest.mark.parametrize(
    ("median", "latest", "words"),
    [
        (120, 240, "about 2 minutes, at most 4"),
        (50, 240, "about 50 seconds, at most 4 minutes"),
        (120, 125, "about 2 minutes"),
        (120, None, "about 2 minutes"),
        (-1, 240, "any moment now"),
        (None, None, ""),
    ],
)
def test_what_remains_is_told_with_its_range(
    median: float | None, latest: float | None, words: str
) -> None:
    document = {
        "estimatedCompletion": None if median is None else at(median),
        "estimatedCompletionLatest": None if latest is None else at(latest),
    }

    assert remaining(document, NOW) == words


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"status": "running"}, "running"),
        ({"status": "running", "progress": 7, "message": "rows"}, "running, 7 %, rows"),
        ({"status": "accepted", "queuePosition": 1}, "accepted, 1 job ahead"),
        ({"status": "accepted", "queuePosition": 3}, "accepted, 3 jobs ahead"),
        ({"status": "accepted", "queuePosition": 0}, "accepted"),
        ({"state": "Mixing"}, "Mixing"),
        ({}, "?"),
    ],
)
def test_a_document_fits_into_a_line(document: dict[str, Any], words: str) -> None:
    assert line(document, NOW) == words


@given(st.text())
def test_a_servers_words_have_no_power_over_a_terminal(text: str) -> None:
    for shown in (printable(text), message({"message": text}), line({"status": text}, NOW)):
        assert shown.isprintable()


@pytest.mark.parametrize(
    ("progress", "shown"), [(0, 0), (99.9, 99), (250, 100), (True, None), ("9", None), (None, None)]
)
def test_progress_is_shown_only_if_it_is_one(progress: Any, shown: int | None) -> None:
    assert percent({"progress": progress}) == shown
