"""Runs the served applications under real servers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.servers.harness import Kind, Server

if TYPE_CHECKING:
    from pathlib import Path


def serve(kind: Kind, folder: Path, **environment: str) -> Server:
    """Make a server of the application for this kind; it isn't started yet."""
    defaults = {
        "DEFERIT_STORE": f"sqlite:///{folder / 'jobs.db'}",
        "DEFERIT_TEST_FOLDER": str(folder),
        "DEFERIT_CONCURRENCY": "32",
    }
    app = f"tests.contract.served.{kind.interface}_app:app"
    return Server(kind, app, folder, environment=defaults | environment)
