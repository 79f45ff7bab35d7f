"""The list of jobs as a page: CONTRACT.md, section 4."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace
from tests.core.samples import NOON, Driven, a_job, a_visit, canceled, failed, running, succeeded
from tests.pages.reading import Page

from deferit._core.effects import Now
from deferit._core.flow import Target, answer
from deferit._core.job import Status
from deferit._core.listing import NEWEST
from deferit._core.queries import List

if TYPE_CHECKING:
    from deferit._core.job import Job

WHOLE = List("", "ada", None, NEWEST + 1, None)


def asked(query: str = "", owner: str | None = "ada", *, is_operator: bool = False) -> Driven:
    """Return the flow of the list, as a browser asks for it."""
    visit = a_visit(owner=owner, Accept="text/html")
    request = replace(visit.request, query=query)
    return Driven(
        answer(replace(visit, request=request, is_operator=is_operator), Target(None, ""))
    )


def shown(driven: Driven) -> Page:
    assert driven.effect == Now()
    driven.answer(NOON + 10)
    assert driven.end.status == 200
    assert isinstance(driven.end.body, bytes)
    return Page(driven.end.body)


def numbered(count: int) -> tuple[Job, ...]:
    return tuple(a_job(id=f"job_{number:026}") for number in range(count, 0, -1))


@pytest.mark.parametrize("query", ["", "status=&route=&cursor="])
def test_the_newest_are_asked_for_once(query: str) -> None:
    driven = asked(query)

    assert driven.effect == WHOLE
    driven.answer(numbered(21))

    page = shown(driven)
    assert len(page.all("code")) == 20
    assert page.one("a", rel="next").attributes["href"] == (
        f"https://shop.example/api/jobs?limit=20&cursor=job_{2:026}"
    )


def test_what_is_filtered_is_asked_for_besides() -> None:
    driven = asked("status=failed&route=POST+/reports&limit=2")

    assert driven.effect == WHOLE
    driven.answer((failed(), running()))
    assert driven.effect == List("", "ada", Status.FAILED, 3, None, "POST /reports")
    driven.answer((failed(),))

    page = shown(driven)
    assert page.one("li", id="count-running").text == "1 Running"
    assert len(page.all("code")) == 1


def test_an_operator_asks_for_everybodys() -> None:
    driven = asked(owner=None, is_operator=True)

    assert driven.effect == replace(WHOLE, owner=None)
    driven.answer((running(owner="ben"),))

    assert shown(driven).one("span", class_="owner").text == "ben"


def test_nobody_asks_for_nothing() -> None:
    assert shown(asked(owner=None)).has("li", id="nothing")


def test_what_has_expired_is_neither_counted_nor_listed() -> None:
    driven = asked()
    driven.answer((running(), succeeded(ttl=1.0)))

    page = shown(driven)

    assert page.one("li", id="count-succeeded").text == "0 Done"
    assert not page.has("figure")
    assert len(page.all("code")) == 1


def test_charts_are_of_what_has_ended() -> None:
    driven = asked()
    driven.answer((running(), succeeded(), failed(), canceled()))

    throughput, durations = shown(driven).all("figcaption")

    assert throughput.text == "Throughput3 ended, 1 failed, 1 canceled"
    assert durations.text == "Time to runhalf within 1.0 seconds, nine of ten within 1.0 seconds"
