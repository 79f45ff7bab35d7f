"""What the tests in a browser share: a server whose handlers do as they are told, and windows that look at it."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect
from tests.servers.harness import GUNICORN_2, UVICORN_2, Kind, Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, ConsoleMessage, Page

on_both = pytest.mark.parametrize(
    "kind", [UVICORN_2, GUNICORN_2], ids=str, indirect=True, scope="module"
)
"""For tests of what depends on the server; the others run in front of uvicorn alone, for they take their time."""

PATIENCE = 60_000
"""Milliseconds for which a browser is given to show something."""

WATCH = """
addEventListener("securitypolicyviolation", (event) => {
  console.error("policy: " + event.violatedDirective + " " + event.blockedURI);
});
"""

AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8")

_names = count(1)


@dataclass
class Show:
    """A server, and a browser that looks at it."""

    server: Server
    browser: Browser

    def tell(self, name: str, **what: Any) -> None:
        """Have the handler of this name report ``progress`` and ``message``, and end with an ``answer``."""
        draft = self.server.folder / f"{name}.draft"
        draft.write_text(json.dumps(what))
        os.replace(draft, self.server.folder / name)  # noqa: PTH105  whole or not at all

    def begin(self, owner: str | None = None, **what: Any) -> tuple[str, str]:
        """Have a job accepted; return the name of its handler and the URL of its monitor."""
        name = f"handler-{next(_names)}"
        self.tell(name, **what)
        with self.server.client(headers={"X-Owner": owner} if owner else {}) as client:
            answer = client.post("/always/told", data={"name": name})
        assert answer.status_code == 202, answer.text
        return name, answer.headers["Location"]

    def calls(self, name: str) -> int:
        """Return how many times the handler of this name was begun."""
        return (self.server.folder / "ledger").read_text().splitlines().count(name)

    @contextmanager
    def window(self, *, may_complain: bool = False, **options: Any) -> Iterator[Window]:
        """Open a window of a person of its own; at its end nothing may have been complained of."""
        context = self.browser.new_context(**{"locale": "en-GB", "timezone_id": "UTC", **options})
        context.set_default_timeout(PATIENCE)
        context.add_init_script(WATCH)
        window = Window(context.new_page())
        try:
            yield window
        finally:
            context.close()
        assert may_complain or window.complaints == [], window.complaints


@dataclass
class Window:
    """A page in a browser, and all that its console has complained of."""

    page: Page
    complaints: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _heard(self, message: ConsoleMessage) -> None:
        is_of_an_icon = message.location.get("url", "").endswith("/favicon.ico")  # of a result's
        if message.type in {"error", "warning"} and not is_of_an_icon:
            self.complaints.append(message.text)

    def shows(self, headline: str) -> None:
        """Wait until this is the headline."""
        expect(self.page.locator("h1")).to_have_text(headline)

    def mark(self) -> None:
        """Leave a mark that is gone once the page is loaded anew."""
        self.page.evaluate("window.isTheSame = true")

    def barriers(self) -> list[str]:
        """Return what axe, the checker of WCAG's rules, finds: rule and element."""
        self.page.evaluate(AXE)
        found = self.page.evaluate("axe.run({resultTypes: ['violations']})")
        return [
            f"{rule['id']}: {node['html']}"
            for rule in found["violations"]
            for node in rule["nodes"]
        ]

    @property
    def is_the_same(self) -> bool:
        return bool(self.page.evaluate("window.isTheSame === true"))


def serve(kind: Kind, folder: Path, **environment: str) -> Server:
    """Make a server of the application that people look at; it isn't started yet."""
    defaults = {
        "DEFERIT_STORE": f"sqlite:///{folder / 'jobs.db'}",
        "DEFERIT_TEST_FOLDER": str(folder),
        "DEFERIT_CONCURRENCY": "16",
    }
    app = f"tests.pages.served.{kind.interface}_app:app"
    return Server(kind, app, folder, environment=defaults | environment)
