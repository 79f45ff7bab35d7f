from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from tests.stores.redis_server import RedisServer

from deferit.stores import store_from_url
from deferit.testing import StoreComparison, StoreContract

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from deferit.stores.base import Store

NUMBERS = count()


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    server = RedisServer("--appendonly", "no")
    RedisComparison.server = server
    yield server
    server.stop()


def opened(server: RedisServer, prefix: str = "") -> Store:
    store = store_from_url(f"{server.unix_url}?prefix={prefix or f'test-{next(NUMBERS)}'}")
    store.open()
    return store


class TestRedisStore(StoreContract):
    @pytest.fixture(autouse=True)
    def _server(self, server: RedisServer) -> None:
        self.server = server

    def make_store(self, folder: Path) -> Store:
        return opened(self.server)


class RedisComparison(StoreComparison):
    server: RedisServer

    def make_store(self) -> Store:
        return opened(self.server)


TestRedisComparison = pytest.mark.usefixtures("server")(RedisComparison.TestCase)
TestRedisComparison.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
