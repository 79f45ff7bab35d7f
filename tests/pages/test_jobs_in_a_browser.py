"""The jobs page in a real browser, in front of real servers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal

import pytest
from playwright.sync_api import expect
from tests.pages.stage import on_both

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page
    from tests.pages.stage import Show

pytestmark = pytest.mark.server


@pytest.fixture
def ann(request: pytest.FixtureRequest) -> str:
    """An owner of the test's own: tests share a server."""
    return re.sub(r"[^a-z0-9]+", "-", request.node.name.lower())


def signed_in(name: str, **options: Any) -> dict[str, Any]:
    return {"extra_http_headers": {"X-Owner": name}, **options}


def row(page: Page, monitor: str) -> Locator:
    """Return the row of a job."""
    return page.locator(f"#row-{monitor.rpartition('/')[2]}")


@on_both
def test_jobs_are_listed_and_change_while_one_looks(show: Show, ann: str) -> None:
    name, monitor = show.begin(ann, progress=0.1)
    with show.window(**signed_in(ann)) as window:
        window.page.goto(f"{show.server.url}/jobs")
        window.mark()
        expect(row(window.page, monitor)).to_contain_text("Running")

        _, newer = show.begin(ann, answer="x")
        show.tell(name, answer="x")

        expect(row(window.page, monitor)).to_contain_text("Done")
        expect(row(window.page, newer)).to_contain_text("Done")
        expect(window.page.locator("#count-succeeded")).to_have_text("2 Done")
        expect(window.page.locator("#rows > li").first).to_have_id(
            f"row-{newer.rpartition('/')[2]}"
        )
        assert window.is_the_same


@on_both
def test_a_job_is_canceled_from_the_list_and_no_other(show: Show, ann: str) -> None:
    _, older = show.begin(ann, progress=0.1)
    other, newer = show.begin(ann, progress=0.1)
    with show.window(**signed_in(ann)) as window:
        window.page.goto(f"{show.server.url}/jobs")

        row(window.page, older).get_by_role("button").click()

        expect(row(window.page, older)).to_contain_text("Canceled")
        expect(row(window.page, newer)).to_contain_text("Running")
        expect(window.page.get_by_role("button", name=re.compile("Cancel"))).to_have_count(1)
    show.tell(other, answer="x")


def test_the_focus_stays_with_its_job_when_others_come(show: Show, ann: str) -> None:
    name, monitor = show.begin(ann, progress=0.1)
    with show.window(**signed_in(ann)) as window:
        window.page.goto(f"{show.server.url}/jobs")
        button = row(window.page, monitor).get_by_role("button")
        button.focus()

        _, newer = show.begin(ann, answer="x")

        expect(row(window.page, newer)).to_be_visible()
        expect(button).to_be_focused()
    show.tell(name, answer="x")


def test_a_filter_is_a_form(show: Show, ann: str) -> None:
    _, done = show.begin(ann, answer="x")
    _, failed = show.begin(ann, answer="no", status=500)
    with show.window(**signed_in(ann, java_script_enabled=False)) as window:
        page = window.page
        for monitor in (done, failed):
            page.goto(monitor)
            expect(page.locator("h1")).to_have_text(re.compile("Done|Failed"))
        page.goto(f"{show.server.url}/jobs")

        page.get_by_label("Status").select_option("failed")
        page.get_by_role("button", name="Show").click()

        expect(row(page, failed)).to_be_visible()
        expect(page.locator("#rows > li")).to_have_count(1)
        row(page, failed).get_by_role("link").click()
        page.wait_for_url(failed)
        window.shows("Failed")


@on_both
def test_an_operator_sees_everybodys(show: Show, ann: str) -> None:
    name, monitor = show.begin(ann, progress=0.1)
    with show.window(**signed_in("olga")) as window:
        window.page.goto(f"{show.server.url}/jobs")

        expect(row(window.page, monitor).locator(".owner")).to_have_text(ann)
        row(window.page, monitor).get_by_role("button").click()
        expect(row(window.page, monitor)).to_contain_text("Canceled")
    with show.window(**signed_in("eve")) as window:
        window.page.goto(f"{show.server.url}/jobs")
        expect(window.page.locator("#nothing")).to_be_visible()
    show.tell(name, answer="x")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nobody_is_shut_out(show: Show, ann: str, scheme: Literal["light", "dark"]) -> None:
    name, monitor = show.begin(ann, progress=0.1, message="sorting")
    show.begin(ann, answer="x")
    _, ended = show.begin(ann, answer="x", status=500)
    with show.window(**signed_in(ann, color_scheme=scheme)) as window:
        window.page.goto(f"{show.server.url}/jobs")
        expect(row(window.page, ended)).to_contain_text("Failed")
        expect(row(window.page, monitor)).to_contain_text("sorting")

        assert window.barriers() == []
    show.tell(name, answer="x")


@pytest.mark.parametrize("width", [320, 360, 768])
def test_nothing_is_wider_than_a_phone(show: Show, ann: str, width: int) -> None:
    name, monitor = show.begin(ann, progress=0.4, message="a-word-without-an-end" * 20)
    show.begin(ann, answer="x")
    with show.window(**signed_in(ann, viewport={"width": width, "height": 640})) as window:
        window.page.goto(f"{show.server.url}/jobs")
        expect(row(window.page, monitor)).to_contain_text("a-word")

        assert window.page.evaluate("document.documentElement.scrollWidth") <= width
    show.tell(name, answer="x")
