"""Takes the pictures of the pages that the documentation shows: `make screenshots`."""

from __future__ import annotations

import os
import random
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from playwright.sync_api import sync_playwright
from tests.browsers import browser_or_skip
from tests.pages.stage import serve
from tests.servers.harness import CHECKOUT, UVICORN

from deferit._core.commands import Create, Finish, Report
from deferit._core.ids import make_id
from deferit._core.job import Failure, Job, Result
from deferit.stores import store_from_url

if TYPE_CHECKING:
    from collections.abc import Sequence

    from playwright.sync_api import Browser

    from deferit._core.commands import Command

IMAGES = CHECKOUT / "docs/images"
HOUR = 3600.0
ROUTES = ("POST /reports", "POST /imports", "GET /exports/*")
BODY = b'{"pages": 214, "url": "/reports/2026-11.pdf", "warnings": ["3 orders have no customer"]}'


def main() -> None:
    """Fill a store, have a server show it, and take the pictures."""
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        with serve(UVICORN, folder) as server:
            jobs = filled(folder, time.time())
            browser = playwright.chromium.launch(
                executable_path=browser_or_skip(), args=["--no-sandbox"]
            )
            taken(browser, f"{server.url}/jobs", jobs)
            browser.close()


def taken(browser: Browser, url: str, jobs: dict[str, str]) -> None:
    IMAGES.mkdir(exist_ok=True)
    picture(browser, f"{url}/{jobs['running']}", "status-running", 700)
    picture(browser, f"{url}/{jobs['running']}", "status-phone", 360)
    picture(browser, f"{url}/{jobs['succeeded']}", "status-done", 700)
    picture(browser, f"{url}/{jobs['failed']}", "status-failed-dark", 700, "dark")
    picture(browser, url, "jobs", 1060)
    picture(browser, url, "jobs-dark", 1060, "dark")


def picture(
    browser: Browser, url: str, name: str, width: int, scheme: Literal["light", "dark"] = "light"
) -> None:
    """Take the picture of a page as somebody who is signed in sees it."""
    context = browser.new_context(
        viewport={"width": width, "height": 400},
        color_scheme=scheme,
        locale="en-GB",
        timezone_id="UTC",
        reduced_motion="reduce",
        extra_http_headers={"X-Owner": "ada"},
    )
    page = context.new_page()
    page.goto(url)
    height = page.evaluate("Math.min(document.documentElement.scrollHeight, 980)")
    page.set_viewport_size({"width": width, "height": height})
    page.screenshot(path=IMAGES / f"{name}.png")
    context.close()


# --- what there is to see --------------------------------------------------------------------------------------------


def filled(folder: Path, now: float) -> dict[str, str]:
    """Put a day's jobs of an owner into the store; return the ids of some by their status."""
    chance = random.Random(7)
    scenes = {
        "running": reported(accepted(now - 75), 42, "Rendering page 90 of 214"),
        "succeeded": ended(accepted(now - 190), 94.0),
        "failed": ended(accepted(now - 400, "POST /imports"), 4.2, is_failed=True),
    }
    store = store_from_url(f"sqlite:///{folder / 'jobs.db'}")
    store.open()
    for commands in (*past(now, chance), *(commands for _, commands in scenes.values())):
        for answer in store.execute(commands):
            assert not isinstance(answer, Exception), answer
    store.close()
    return {status: job.id for status, (job, _) in scenes.items()}


def past(now: float, chance: random.Random) -> list[Sequence[Command]]:
    def age() -> float:
        return 500 + chance.random() * (20 if chance.random() < 0.7 else 6) * HOUR

    return [
        ended(
            accepted(now - age(), chance.choice(ROUTES)),
            chance.lognormvariate(2.2, 0.8),
            is_failed=chance.random() < 0.07,
        )[1]
        for _ in range(400)
    ]


def accepted(at: float, route: str = "POST /reports") -> Job:
    return Job(
        id=make_id(at, os.urandom(16)),
        application="asgi:default",
        route=route,
        method="POST",
        created_at=at,
        updated_at=at,
        due_at=at,
        ttl=24 * HOUR,
        owner="ada",
    )


def begun(job: Job) -> Create:
    running = job.but(repeatable=True).claimed(job.created_at + 0.2)
    return Create(running, b"", lease_until=time.time() + HOUR)


def reported(job: Job, progress: int, message: str) -> tuple[Job, Sequence[Command]]:
    return job, (begun(job), Report(job.id, 1, time.time(), progress, message))


def ended(job: Job, seconds: float, *, is_failed: bool = False) -> tuple[Job, Sequence[Command]]:
    at = job.created_at + 0.2 + seconds
    finish: dict[str, Any] = {"result": None, "error": None}
    if is_failed:
        finish["error"] = Failure("handler-exception", "The handler raised ValueError.")
    else:
        head = (("Content-Type", "application/json"),)
        finish |= {"result": Result(201, head, len(BODY), 1, '"report"'), "body": BODY}
    return job, (begun(job), Finish(job.id, 1, at, **finish))


if __name__ == "__main__":
    main()
