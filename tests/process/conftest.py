from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.process.parts import BACKENDS, Process

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def process() -> Iterator[Process]:
    process = Process()
    yield process
    process.close()
