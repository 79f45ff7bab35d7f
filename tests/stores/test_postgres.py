from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from deferit.stores.postgres import PostgresStore
from deferit.testing import StoreComparison, StoreContract
from tests.stores.postgres_server import PostgresServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from deferit.stores.base import Store

SCHEMAS = itertools.count()

server: PostgresServer


@pytest.fixture(scope="module", autouse=True)
def running_server() -> Iterator[None]:
    global server
    server = PostgresServer()
    try:
        server.start()
        yield
    finally:
        server.remove()


def fresh_url() -> str:
    return server.url(options=f"&schema=deferit_{next(SCHEMAS)}")


def opened(url: str) -> PostgresStore:
    store = PostgresStore(url)
    store.open()
    return store


class TestPostgresStore(StoreContract):
    def make_store(self, folder: Path) -> Store:
        return opened(fresh_url())


class PostgresComparison(StoreComparison):
    def make_store(self) -> Store:
        return opened(fresh_url())


TestPostgresComparison = PostgresComparison.TestCase
TestPostgresComparison.settings = settings(max_examples=20, stateful_step_count=40, deadline=None)
