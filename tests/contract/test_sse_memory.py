"""What clients that listen cost: a short form of `make sse-memory`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from tests.contract.sse_memory import PER_CLIENT, measure
from tests.matrix import IS_CHOSEN, STORE

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif(STORE != "sqlite" and IS_CHOSEN, reason="it changes the job in a file"),
]


@pytest.mark.skipif(sys.platform != "linux", reason="reads the resident set from /proc")
def test_a_hundred_listening_clients_cost_no_more_than_their_share(tmp_path: Path) -> None:
    figures = measure(100, tmp_path)

    assert figures.per_client <= PER_CLIENT, figures
