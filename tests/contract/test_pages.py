"""CONTRACT.md: what a browser gets, over every framework."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from tests.contract.stage import Said
from tests.contract.support import few
from tests.pages.reading import Page

from deferit.pages.frame import POLICY

if TYPE_CHECKING:
    from tests.contract.clients import Answer
    from tests.contract.conftest import Build
    from tests.contract.support import Site

    from deferit import Request

ANN, BEN = {"X-Owner": "ann"}, {"X-Owner": "ben"}
OPERATOR = {"X-Owner": "olga"}
BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


def owner_of(request: Request) -> str | None:
    return request.headers.get("X-Owner")


def is_operator(request: Request) -> bool:
    return request.headers.get("X-Owner") == "olga"


def page_of(answer: Answer) -> Page:
    assert answer["Content-Type"] == "text/html; charset=utf-8", answer
    assert answer["Content-Security-Policy"] == POLICY
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Referrer-Policy"] == "no-referrer"
    assert "Accept" in answer.members("Vary")
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


# --- the list --------------------------------------------------------------------------------------------------------


def links(page: Page) -> list[str]:
    """Return the URLs of the jobs that a page lists, from its top."""
    return [
        str(link.attributes["href"]) for link in page.all("a") if "/job_" in str(link.attributes)
    ]


def test_a_browser_is_shown_the_jobs_of_their_owner(owned: Site) -> None:
    first, second = owned.defer(**ANN), owned.defer(**ANN)
    owned.defer(**BEN)
    owned.defer()
    owned.end_of(first, **ANN)
    owned.end_of(second, **ANN)

    answer = owned.get("/jobs", **ANN, **BROWSER)

    assert (answer.status, answer["Cache-Control"]) == (200, "private, no-store")
    page = page_of(answer)
    assert links(page) == [second, first]
    assert page.one("li", id="count-succeeded").text == "2 Done"
    assert page.has("figure", id="throughput")
    assert links(page_of(owned.get("/jobs", **BROWSER))) == []


def test_a_browser_filters_and_turns_pages(owned: Site) -> None:
    owned.stage.acts["fail"] = lambda _: Said(500)
    made = [owned.defer(**ANN) for _ in range(3)]
    failed = owned.defer("/always/fail", **ANN)
    for monitor in (*made, failed):
        owned.end_of(monitor, **ANN)

    failures = page_of(owned.get("/jobs?status=failed&route=", **ANN, **BROWSER))
    nothing = page_of(owned.get("/jobs?status=&route=POST+/none", **ANN, **BROWSER))
    first = page_of(owned.get("/jobs?status=succeeded&limit=2", **ANN, **BROWSER))
    following = str(first.one("a", rel="next").attributes["href"])
    second = page_of(owned.get(following, **ANN, **BROWSER))
    (route,) = {option.text for option in first.all("option") if "work" in option.text}
    of_route = page_of(owned.get(f"/jobs?route={quote(route)}", **ANN, **BROWSER))

    assert links(failures) == [failed]
    assert nothing.has("li", id="nothing")
    assert links(first) + links(second) == made[::-1]
    assert links(of_route) == [failed, *made[::-1]]
    assert owned.get("/jobs?status=nonsense", **ANN, **BROWSER).status == 400


def test_programs_get_the_list_as_ever(owned: Site) -> None:
    owned.end_of(owned.defer(**ANN), **ANN)

    answer = owned.get("/jobs", Accept="*/*", **ANN)

    assert answer["Content-Type"] == "application/json"
    assert len(answer.document["jobs"]) == 1
    assert "Accept" in answer.members("Vary")


def test_an_operator_sees_and_cancels_everybodys_jobs(build: Build) -> None:
    shop = build(owner=owner_of, operator=is_operator)
    shop.stage.gated("slow")
    anns, nobodys = shop.defer("/always/slow", **ANN), shop.defer("/always/slow")

    page = page_of(shop.get("/jobs", **OPERATOR, **BROWSER))
    listed = shop.get("/jobs", **OPERATOR).document["jobs"]
    seen = shop.get(anns, **OPERATOR)
    canceled = shop.post(f"{anns}/cancel", **OPERATOR)

    assert links(page) == [nobodys, anns]
    assert [owner.text for owner in page.all("span", class_="owner")] == ["ann"]
    assert [job["monitorUrl"] for job in listed] == [nobodys, anns]
    assert (seen.status, canceled.document["status"]) == (202, "canceled")
    assert links(page_of(shop.get("/jobs", **BEN, **BROWSER))) == []
    assert shop.get(anns, **BEN).status == shop.get("/jobs/job_" + 26 * "x", **BEN).status == 404


@few
def test_an_operator_alone_switches_the_list_on(build: Build) -> None:
    shop = build(operator=is_operator)
    monitor = shop.defer()

    assert links(page_of(shop.get("/jobs", **OPERATOR, **BROWSER))) == [monitor]
    assert links(page_of(shop.get("/jobs", **BROWSER))) == []
    assert build().get("/jobs", **BROWSER).status == 404


@few
def test_an_operator_is_one_by_true_alone(build: Build) -> None:
    shop = build(operator=lambda _: "yes")

    answer = shop.get("/jobs", **BROWSER)

    assert (answer.status, answer.document["code"]) == (500, "hook-failed")
