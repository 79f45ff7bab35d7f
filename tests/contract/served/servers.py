"""Runs the served applications under real servers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.matrix import STORE, Site, settings

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.harness import Kind


def serve(kind: Kind, folder: Path, **environment: str) -> Site:
    """Make a server of the application for this kind, with the store and executor of the matrix; it isn't started yet.

    The test is skipped if the processes of the server would not see the same jobs.
    """
    if STORE == "memory" and kind.workers > 1:
        pytest.skip("memory:// is seen by one process only")
    defaults = {
        **settings(folder),
        "DEFERIT_TEST_FOLDER": str(folder),
        "DEFERIT_CONCURRENCY": "32",
    }
    app = f"tests.contract.served.{kind.interface}_app:app"
    return Site(kind, app, folder, environment=defaults | environment)
