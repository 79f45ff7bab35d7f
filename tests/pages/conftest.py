"""A real browser, and real servers that it looks at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect, sync_playwright
from tests.browsers import browser_or_skip
from tests.pages.stage import PATIENCE, Show, serve
from tests.servers.harness import UVICORN_2, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = browser_or_skip()
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture(scope="module", params=[UVICORN_2], ids=str)
def kind(request: pytest.FixtureRequest) -> Kind:
    found: Kind = request.param
    return found


@pytest.fixture(scope="module")
def show(kind: Kind, browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Show]:
    """Shared by all tests of a module: each begins jobs of its own."""
    with serve(kind, tmp_path_factory.mktemp("show")) as server:
        yield Show(server, browser)
