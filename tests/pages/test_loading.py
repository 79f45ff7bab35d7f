from __future__ import annotations

import subprocess
import sys

import pytest

from deferit import pages

LOADED = "import sys, deferit; print(*(name for name in sys.modules if name.startswith('deferit.pages.')))"


def test_pages_are_loaded_when_they_are_asked_for() -> None:
    command = [sys.executable, "-c", LOADED]

    loaded = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()

    assert loaded == ["deferit.pages.places"]


@pytest.mark.parametrize("name", pages.__all__)
def test_all_that_pages_offer_is_there(name: str) -> None:
    assert getattr(pages, name)


@pytest.mark.parametrize("name", ["no_page", "status_pages"])
def test_what_pages_do_not_offer_is_not_there(name: str) -> None:
    with pytest.raises(AttributeError, match=f"'{name}'"):
        getattr(pages, name)
