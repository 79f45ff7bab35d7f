"""Finds the browser of this machine."""

from __future__ import annotations

import os
import shutil

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


def browser_or_skip() -> str:
    """Return the path of a browser; without one a test is skipped, or fails where a run must be complete."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        reason = f"none of {', '.join(BROWSERS)} is installed"
        if os.environ.get("CI"):
            pytest.fail(f"{reason}: apt-get install --no-install-recommends chromium")
        pytest.skip(reason)
    return found
