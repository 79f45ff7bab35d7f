"""What all tests have: servers and workers that last as long as the process of the tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.elsewhere import running
from tests.stores import places

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session", autouse=True)
def what_lasts() -> Iterator[None]:
    """End the servers and the workers that any test has asked for."""
    yield
    running.close()
    places.close()
