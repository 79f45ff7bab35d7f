"""A small share of the matrix: what `make matrix` does with all the web tests works with each executor."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from tests.servers.harness import CHECKOUT

pytestmark = pytest.mark.server


@pytest.mark.parametrize(
    "pair", ["sqlite/processes", "redis/work", "postgresql/celery"], ids=lambda pair: pair
)
def test_handlers_run_in_other_processes_and_do_what_the_contract_says(pair: str) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n0"]
    chosen = ["tests/contract/test_retries.py", "-k", "once_is_tried_again and not trio"]

    ended = subprocess.run(
        [*command, *chosen],
        check=False,
        cwd=CHECKOUT,
        env={**os.environ, "DEFERIT_MATRIX": pair},
        capture_output=True,
        text=True,
        timeout=100,
    )

    assert ended.returncode == 0, ended.stdout
    assert "6 passed" in ended.stdout
