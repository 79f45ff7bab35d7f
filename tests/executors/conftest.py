from __future__ import annotations

import pytest
from tests.executors.running import KINDS
from tests.servers.harness import Kind


@pytest.fixture(scope="module", params=KINDS, ids=str)
def kind(request: pytest.FixtureRequest) -> Kind:
    found: Kind = request.param
    return found
