"""Make the examples importable, and give each test orders of its own."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))

import orders


@pytest.fixture(autouse=True)
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small database of this test's own."""
    path = tmp_path / "orders.db"
    monkeypatch.setenv("ORDERS_DB", str(path))
    monkeypatch.setenv("ORDERS_COUNT", "500")
    orders.prepare()
    return path
