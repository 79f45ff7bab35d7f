from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from deferit._core.queries import Get
from deferit.exceptions import JobNotFound, OptionError
from deferit.stores import store_from_url
from deferit.stores.memory import MemoryStore
from deferit.testing import StoreComparison, StoreContract, finished, waiting

if TYPE_CHECKING:
    from pathlib import Path

    from deferit.stores.base import Store


def opened() -> MemoryStore:
    store = MemoryStore()
    store.open()
    return store


class TestMemoryStore(StoreContract):
    def make_store(self, folder: Path) -> Store:
        return opened()


class MemoryComparison(StoreComparison):
    """Shows that the comparison itself holds, and that two stores share nothing."""

    def make_store(self) -> Store:
        return opened()


TestMemoryComparison = MemoryComparison.TestCase
TestMemoryComparison.settings = settings(max_examples=20, stateful_step_count=30, deadline=None)


def test_it_is_named_by_its_scheme_alone() -> None:
    assert isinstance(store_from_url("memory://"), MemoryStore)
    with pytest.raises(OptionError, match="write 'memory://'"):
        store_from_url("memory://jobs")


def test_it_says_that_it_is_private_and_quick() -> None:
    store = opened()

    store.check()
    waiting(store)

    assert (store.is_shared, store.reads_are_quick, store.version()) == (False, True, 0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform cannot fork")
def test_a_forked_child_begins_with_none_of_its_parents_jobs() -> None:
    script = """
import os
from deferit._core.queries import Get
from deferit.stores.memory import MemoryStore
from deferit.testing import is_gone, waiting

store = MemoryStore()
job = waiting(store)
child = os.fork()
if child == 0:
    store.open()
    os._exit(not is_gone(store, Get(job.id)) or waiting(store) != job)
_, status = os.waitpid(child, 0)
assert status == 0
assert store.read(Get(job.id)) == job
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_a_finished_job_has_no_request() -> None:
    store = opened()

    job = finished(store)

    assert store._rows[job.id].request is None


def test_opening_it_again_keeps_its_jobs() -> None:
    store = opened()
    job = waiting(store)

    store.open()

    assert store.read(Get(job.id)) == job
    with pytest.raises(JobNotFound):
        store.read(Get("job_nobody"))
