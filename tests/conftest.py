"""What all tests have: places in real stores, whose servers last as long as the process of the tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.stores import places

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session", autouse=True)
def places_in_stores() -> Iterator[None]:
    """End the servers that any test has asked for."""
    yield
    places.close()
