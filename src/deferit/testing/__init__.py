"""What a store of your own must keep: a test class to inherit, and a comparison with the store in memory.

    class TestMyStore(StoreContract):
        def make_store(self, folder):
            return opened(MyStore(f"mine://{folder}"))

    class MyComparison(StoreComparison):
        def make_store(self):
            return opened(MyStore("mine://"))

    TestMyComparison = MyComparison.TestCase

A store whose records are bytes inherits from `DamagedRecords` too, and says how one is damaged.

All instants are in the commands, so nothing here waits for a clock.
"""

# ruff: noqa: E402  pytest has to know whose assertions it explains before these modules are imported
from __future__ import annotations

try:
    import hypothesis  # noqa: F401  the comparison needs it
    import pytest
except ModuleNotFoundError as exc:
    raise ModuleNotFoundError(f"deferit.testing needs {exc.name}: pip install {exc.name}") from exc

PARTS = (
    *(
        "admission",
        "batches",
        "bodies",
        "callbacks",
        "changes",
        "claims",
        "damage",
        "offers",
        "queries",
        "sweeps",
    ),
    *("comparison", "samples"),
)
pytest.register_assert_rewrite(*(f"{__name__}.{part}" for part in PARTS))

from deferit.testing.admission import Admission
from deferit.testing.batches import Batches
from deferit.testing.bodies import Bodies
from deferit.testing.callbacks import Callbacks
from deferit.testing.changes import JobChanges
from deferit.testing.claims import Claims
from deferit.testing.comparison import StoreComparison
from deferit.testing.damage import DamagedRecords
from deferit.testing.offers import Offers
from deferit.testing.queries import Queries
from deferit.testing.samples import (
    CALLBACK,
    LEASE,
    LONG,
    NOON,
    REQUEST,
    SAME,
    TTL,
    a_job,
    a_result,
    ask,
    finish,
    finished,
    is_gone,
    running,
    waiting,
)
from deferit.testing.sweeps import Sweeps

__all__ = [
    "CALLBACK",
    "LEASE",
    "LONG",
    "NOON",
    "REQUEST",
    "SAME",
    "TTL",
    "DamagedRecords",
    "StoreComparison",
    "StoreContract",
    "a_job",
    "a_result",
    "ask",
    "finish",
    "finished",
    "is_gone",
    "running",
    "waiting",
]


class StoreContract(
    Batches, Claims, Offers, Admission, Bodies, JobChanges, Sweeps, Callbacks, Queries
):
    """Tests the contract of `Store`; inherit from it and say how a store is made."""
