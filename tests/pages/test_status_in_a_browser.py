"""The status page in a real browser, in front of real servers: what a person sees and does."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal

import pytest
from playwright.sync_api import expect
from tests.pages.stage import on_both

if TYPE_CHECKING:
    from playwright.sync_api import Page
    from tests.pages.stage import Show

pytestmark = pytest.mark.server

FORM = """<!doctype html><title>A form</title>
<form method="post" action="/always/told"><input name="name" value="{name}"><button>Go</button></form>"""

HOSTILE = "<script>document.title = 'taken over'</script><img src=x onerror=alert(1)>"

POLL = re.compile("/events$")


def percent(page: Page, text: str) -> None:
    """Wait until so much is shown."""
    expect(page.locator("#percent")).to_have_text(text)


# --- live ------------------------------------------------------------------------------------------------------------


@on_both
def test_progress_moves_while_one_looks(show: Show) -> None:
    name, monitor = show.begin(progress=0.1, message="reading")
    with show.window() as window:
        window.page.goto(monitor)
        window.mark()
        percent(window.page, "10 %")
        expect(window.page.get_by_role("progressbar", name="Progress")).to_have_attribute(
            "value", "10"
        )

        show.tell(name, progress=0.6, message="sorting")

        percent(window.page, "60 %")
        expect(window.page.locator("#sentence")).to_have_text("sorting")
        expect(window.page).to_have_title("60 % · Running")

        show.tell(name, answer="all sorted")

        window.shows("Done")
        expect(window.page.locator("pre")).to_have_text("all sorted")
        assert window.page.get_by_role("progressbar").count() == 0
        assert window.is_the_same


@on_both
def test_a_stream_is_what_makes_it_live(show: Show) -> None:
    name, monitor = show.begin(progress=0.1)
    with show.window() as window:
        with window.page.expect_request(POLL) as stream:
            window.page.goto(monitor)
        percent(window.page, "10 %")

        show.tell(name, answer="x")

        window.shows("Done")
        assert stream.value.headers["accept"] == "text/event-stream"


@on_both
def test_without_a_stream_the_page_asks_now_and_then(show: Show) -> None:
    name, monitor = show.begin(progress=0.1)
    with show.window(may_complain=True) as window:
        window.page.route(POLL, lambda route: route.abort())
        window.page.goto(monitor)
        window.mark()
        percent(window.page, "10 %")

        show.tell(name, progress=0.7)

        percent(window.page, "70 %")
        show.tell(name, answer="x")
        window.shows("Done")
        assert window.is_the_same


def test_a_server_that_is_away_is_waited_for(show: Show) -> None:
    name, monitor = show.begin(progress=0.1)
    with show.window(may_complain=True) as window:
        window.page.goto(monitor)
        percent(window.page, "10 %")

        window.page.context.set_offline(True)
        expect(window.page.get_by_role("alert")).to_have_text(re.compile("Trying again"))
        show.tell(name, answer="x")
        window.page.context.set_offline(False)

        window.shows("Done")
        expect(window.page.locator("#note")).to_be_hidden()


def test_a_job_that_was_deleted_is_said_to_be_gone(show: Show) -> None:
    name, monitor = show.begin(progress=0.1)
    with show.window(may_complain=True) as window, show.server.client() as client:
        window.page.route(POLL, lambda route: route.abort())
        window.page.goto(monitor)
        percent(window.page, "10 %")
        window.page.context.set_offline(True)

        client.post(f"{monitor}/cancel")
        client.delete(monitor)
        window.page.context.set_offline(False)

        expect(window.page.get_by_role("alert")).to_have_text(re.compile("This is gone"))
        show.tell(name, answer="x")


# --- a form ----------------------------------------------------------------------------------------------------------


@on_both
def test_a_form_leads_to_the_monitor_and_a_reload_does_not_submit_again(show: Show) -> None:
    name = f"form-{show.server.kind}"
    show.tell(name, progress=0.2)
    form = f"{show.server.url}/form"
    with show.window() as window:
        page = window.page
        page.route(
            form, lambda route: route.fulfill(body=FORM.format(name=name), content_type="text/html")
        )
        page.goto(form)

        with page.expect_response(lambda answer: answer.request.method == "POST") as posted:
            page.get_by_role("button").click()

        page.wait_for_url(re.compile("/jobs/job_"))
        assert posted.value.status == 202
        assert page.url == posted.value.headers["location"]
        percent(page, "20 %")
        page.reload()
        percent(page, "20 %")
        assert show.calls(name) == 1
        page.go_back()
        expect(page).to_have_title("A form")
        assert show.calls(name) == 1
    show.tell(name, answer="x")


@on_both
def test_a_form_leads_to_the_monitor_without_scripts_too(show: Show) -> None:
    name = f"bare-form-{show.server.kind}"
    show.tell(name, progress=0.2)
    form = f"{show.server.url}/form"
    with show.window(java_script_enabled=False) as window:
        page = window.page
        page.route(
            form, lambda route: route.fulfill(body=FORM.format(name=name), content_type="text/html")
        )
        page.goto(form)

        page.get_by_role("button").click()

        page.wait_for_url(re.compile("/jobs/job_"))
        page.reload()
        percent(page, "20 %")
        assert show.calls(name) == 1
    show.tell(name, answer="x")


# --- canceling -------------------------------------------------------------------------------------------------------


@on_both
def test_a_click_cancels(show: Show) -> None:
    _, monitor = show.begin(progress=0.1)
    with show.window() as window:
        window.page.goto(monitor)
        window.mark()
        percent(window.page, "10 %")

        window.page.get_by_role("button", name="Cancel").click()

        window.shows("Canceled")
        expect(window.page.locator("#sentence")).to_have_text(re.compile("stop"))
        expect(window.page.get_by_role("button")).to_have_count(0)
        assert window.is_the_same


@on_both
def test_a_keyboard_cancels_and_is_not_lost(show: Show) -> None:
    _, monitor = show.begin(progress=0.1)
    with show.window() as window:
        page = window.page
        page.goto(monitor)
        percent(page, "10 %")

        page.keyboard.press("Tab")
        expect(page.get_by_role("button", name="Cancel")).to_be_focused()
        page.keyboard.press("Enter")

        window.shows("Canceled")
        expect(page.locator("h1")).to_be_focused()


def test_the_focus_stays_on_the_button_while_the_page_changes(show: Show) -> None:
    name, monitor = show.begin(progress=0.1)
    with show.window() as window:
        window.page.goto(monitor)
        button = window.page.get_by_role("button", name="Cancel")
        button.focus()

        show.tell(name, progress=0.5, message="half of it")

        percent(window.page, "50 %")
        expect(button).to_be_focused()
    show.tell(name, answer="x")


# --- without scripts -------------------------------------------------------------------------------------------------


@on_both
def test_without_scripts_the_page_is_right_and_asks_again(show: Show) -> None:
    name, monitor = show.begin(progress=0.1, message="reading")
    with show.window(java_script_enabled=False) as window:
        window.page.goto(monitor)
        percent(window.page, "10 %")

        show.tell(name, progress=0.6, message="sorting")

        percent(window.page, "60 %")
        show.tell(name, answer="all sorted")
        window.shows("Done")
        expect(window.page.locator("pre")).to_have_text("all sorted")


@on_both
def test_without_scripts_the_button_leads_back_to_the_page(show: Show) -> None:
    _, monitor = show.begin(progress=0.1)
    with show.window(java_script_enabled=False) as window:
        window.page.goto(monitor)

        window.page.get_by_role("button", name="Cancel").click()

        window.page.wait_for_url(monitor)
        window.shows("Canceled")


# --- the result ------------------------------------------------------------------------------------------------------


def test_the_result_can_be_opened(show: Show) -> None:
    _, monitor = show.begin(answer="made", status=201)
    with show.window() as window:
        window.page.goto(monitor)

        window.page.get_by_role("link", name="Open the result").click()

        window.page.wait_for_url(f"{monitor}/result")
        expect(window.page.locator("body")).to_have_text("made")


def test_the_result_can_be_downloaded(show: Show) -> None:
    _, monitor = show.begin(answer="made")
    with show.window() as window:
        window.page.goto(monitor)

        with window.page.expect_download() as download:
            window.page.get_by_role("link", name="Download").click()

        assert download.value.path().read_text() == "made"


@on_both
def test_a_page_in_place_of_the_result_becomes_the_result(show: Show) -> None:
    name, monitor = show.begin(progress=0.3)
    with show.window() as window:
        window.page.goto(f"{monitor}/result")
        percent(window.page, "30 %")

        show.tell(name, answer="made")

        expect(window.page.locator("body")).to_have_text("made")
        assert window.page.url == f"{monitor}/result"


def test_a_failure_is_told(show: Show) -> None:
    _, monitor = show.begin(answer="no such month", status=422)
    with show.window() as window:
        window.page.goto(monitor)

        window.shows("Failed")
        expect(window.page.locator("pre")).to_have_text("no such month")
        expect(window.page.locator(".aside")).to_contain_text("status 422")


# --- safety ----------------------------------------------------------------------------------------------------------


@on_both
def test_what_a_handler_says_is_shown_as_text(show: Show) -> None:
    name, monitor = show.begin(progress=0.1, message="reading")
    with show.window() as window:
        window.page.goto(monitor)
        percent(window.page, "10 %")

        show.tell(name, progress=0.5, message=HOSTILE)
        percent(window.page, "50 %")
        expect(window.page.locator("#sentence")).to_have_text(HOSTILE)
        show.tell(name, answer=HOSTILE)

        window.shows("Done")
        expect(window.page.locator("pre")).to_have_text(HOSTILE)
        expect(window.page).to_have_title("Done")
        assert window.page.locator("img").count() == 0


def test_nothing_that_is_smuggled_in_runs(show: Show) -> None:
    _, monitor = show.begin(answer="x")
    with show.window(may_complain=True) as window:
        window.page.goto(monitor)

        window.page.evaluate(
            """() => {
              const script = document.createElement("script");
              script.textContent = "document.title = 'taken over'";
              document.head.append(script);
              document.body.insertAdjacentHTML("beforeend", "<p style='color: red' onclick=x()>x</p>");
              const image = new Image();
              image.src = "http://127.0.0.1:9/";
            }"""
        )

        expect(window.page).to_have_title("Done")
        blocked = {text.split()[1] for text in window.complaints if text.startswith("policy: ")}
        assert blocked >= {"script-src-elem", "style-src-attr"}


# --- for everybody ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    ("headline", "what"),
    [
        ("Running", {"progress": 0.4, "message": "sorting"}),
        ("Running", {}),
        ("Done", {"answer": "made"}),
        ("Failed", {"answer": "no", "status": 422}),
    ],
    ids=["running", "moving", "done", "failed"],
)
def test_nobody_is_shut_out(
    show: Show, headline: str, what: dict[str, Any], scheme: Literal["light", "dark"]
) -> None:
    name, monitor = show.begin(**what)
    with show.window(color_scheme=scheme) as window:
        window.page.goto(monitor)
        window.shows(headline)

        assert window.barriers() == []
    show.tell(name, answer="x")


def test_the_end_is_announced(show: Show) -> None:
    name, monitor = show.begin(progress=0.1)
    with show.window() as window:
        window.page.goto(monitor)
        percent(window.page, "10 %")

        show.tell(name, answer="made")

        expect(window.page.get_by_role("status")).to_have_text("Done")


def test_dark_is_dark(show: Show) -> None:
    _, monitor = show.begin(answer="x")
    shades = {}
    for scheme in ("light", "dark"):
        with show.window(color_scheme=scheme) as window:
            window.page.goto(monitor)
            shade = window.page.evaluate(
                "getComputedStyle(document.querySelector('main')).backgroundColor.match(/[0-9]+/g).map(Number)"
            )
            shades[scheme] = sum(shade) / 3

    assert shades["light"] > 240
    assert shades["dark"] < 60


@pytest.mark.parametrize("width", [320, 360, 768])
def test_nothing_is_wider_than_a_phone(show: Show, width: int) -> None:
    long = "a-word-without-an-end" * 20
    name, running = show.begin(progress=0.4, message=long)
    _, done = show.begin(answer=long * 5)
    with show.window(viewport={"width": width, "height": 640}) as window:
        for monitor in (running, done):
            window.page.goto(monitor)
            expect(window.page.locator("h1")).to_have_text(re.compile("Running|Done"))

            assert window.page.evaluate("document.documentElement.scrollWidth") <= width
    show.tell(name, answer="x")
