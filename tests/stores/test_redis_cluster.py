"""The contract of a store on a Redis cluster, where bodies lie on other nodes than their jobs."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from tests.stores.redis_server import RedisCluster

from deferit.stores import store_from_url
from deferit.testing import StoreComparison, StoreContract

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from deferit.stores.base import Store

NUMBERS = count()


@pytest.fixture(scope="module")
def cluster() -> Iterator[RedisCluster]:
    cluster = RedisCluster()
    ClusterComparison.cluster = cluster
    yield cluster
    cluster.stop()


def opened(cluster: RedisCluster) -> Store:
    store = store_from_url(f"{cluster.url}?prefix=test-{next(NUMBERS)}")
    store.open()
    return store


class TestRedisCluster(StoreContract):
    @pytest.fixture(autouse=True)
    def _cluster(self, cluster: RedisCluster) -> None:
        self.cluster = cluster

    def make_store(self, folder: Path) -> Store:
        return opened(self.cluster)


class ClusterComparison(StoreComparison):
    cluster: RedisCluster

    def make_store(self) -> Store:
        return opened(self.cluster)


TestClusterComparison = pytest.mark.usefixtures("cluster")(ClusterComparison.TestCase)
TestClusterComparison.settings = settings(max_examples=10, stateful_step_count=30, deadline=None)
