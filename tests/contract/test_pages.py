"""CONTRACT.md: what a browser gets, over every framework."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.contract.stage import Said
from tests.contract.support import few
from tests.pages.reading import Page

from deferit.pages.frame import POLICY

if TYPE_CHECKING:
    from tests.contract.clients import Answer
    from tests.contract.support import Site

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


def page_of(answer: Answer) -> Page:
    assert answer["Content-Type"] == "text/html; charset=utf-8", answer
    assert answer["Content-Security-Policy"] == POLICY
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Referrer-Policy"] == "no-referrer"
    assert {"Prefer", "Accept"} <= answer.members("Vary")
    return Page(answer.body)


def test_a_form_is_answered_202_with_a_page_that_moves_on(shop: Site) -> None:
    shop.stage.gated("wait")

    answer = shop.post("/always/wait", b"name=ada", **BROWSER)

    assert answer.status == 202
    monitor = answer["Location"]
    assert answer["Content-Location"] == answer["Operation-Location"] == monitor
    assert (answer["Cache-Control"], answer["Retry-After"]) == ("no-store", "1")
    page = page_of(answer)
    assert f"0; url={monitor}" in [meta.attributes.get("content") for meta in page.all("meta")]
    shop.stage.open("wait")
    assert shop.result_of(monitor).body == b"name=ada"


def test_the_monitor_shows_a_browser_where_the_job_stands(shop: Site) -> None:
    shop.stage.gated("wait", Said(201, b"made"))
    monitor = shop.defer("/always/wait")
    shop.stage.wait_for("wait")

    pending = shop.get(monitor, **BROWSER)
    shop.stage.open("wait")
    shop.end_of(monitor)
    finished = shop.get(monitor, **BROWSER)

    assert (pending.status, pending["Location"]) == (202, monitor)
    assert page_of(pending).one("form").attributes["action"] == f"{monitor}/cancel"
    assert (finished.status, "Location" in finished) == (200, False)
    page = page_of(finished)
    assert page.one("pre").text == "made"
    assert page.all("a")[0].attributes["href"] == f"{monitor}/result"


def test_page_and_document_have_entity_tags_of_their_own(shop: Site) -> None:
    monitor = shop.defer()
    document = shop.end_of(monitor)
    page = shop.get(monitor, **BROWSER)

    again = shop.get(monitor, If_None_Match=page["ETag"], **BROWSER)
    other = shop.get(monitor, If_None_Match=document["ETag"], **BROWSER)

    assert page["ETag"] != document["ETag"]
    assert (again.status, again.body, again["ETag"]) == (304, b"", page["ETag"])
    assert other.status == 200
    assert shop.get(monitor, If_None_Match=page["ETag"]).status == 200


def test_a_page_has_a_head(shop: Site) -> None:
    monitor = shop.defer()
    shop.end_of(monitor)

    head, page = shop.ask("HEAD", monitor, **BROWSER), shop.get(monitor, **BROWSER)

    assert (head.status, head.body) == (200, b"")
    assert head["Content-Length"] == str(len(page.body))
    assert head["ETag"] == page["ETag"]


def test_a_pending_result_shows_a_browser_the_page(shop: Site) -> None:
    shop.stage.gated("wait", Said(201, b"made"))
    monitor = shop.defer("/always/wait")

    pending = shop.get(f"{monitor}/result", **BROWSER)
    shop.stage.open("wait")
    shop.end_of(monitor)
    result = shop.get(f"{monitor}/result", **BROWSER)

    assert (pending.status, pending["Location"]) == (202, f"{monitor}/result")
    assert page_of(pending).one("html").attributes["data-url"] == monitor
    assert (result.status, result.body) == (201, b"made")


def test_a_canceling_browser_is_led_back_to_the_page(shop: Site) -> None:
    shop.stage.gated("wait")
    monitor = shop.defer("/always/wait")

    answer = shop.post(f"{monitor}/cancel", **BROWSER)

    assert answer.status == 200
    page = page_of(answer)
    assert page.one("h1").text == "Canceled"
    assert f"0; url={monitor}" in [meta.attributes.get("content") for meta in page.all("meta")]
    assert shop.end_of(monitor).document["status"] == "canceled"


@few
def test_programs_get_json_unless_they_prefer_a_page(shop: Site) -> None:
    monitor = shop.defer()
    shop.end_of(monitor)

    for accept in (
        "*/*",
        "application/json",
        "application/json, text/html",
        "text/html;q=0.5, */*",
    ):
        assert shop.get(monitor, Accept=accept)["Content-Type"] == "application/json"
