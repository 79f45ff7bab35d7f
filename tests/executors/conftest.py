from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.executors.running import KINDS

if TYPE_CHECKING:
    from tests.servers.harness import Kind


@pytest.fixture(scope="module", params=KINDS, ids=str)
def kind(request: pytest.FixtureRequest) -> Kind:
    found: Kind = request.param
    return found
