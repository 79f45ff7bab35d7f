"""Fresh, empty places in real stores: one server of a kind in each process of the tests, one namespace a place."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.matrix import IS_CHOSEN, STORE
from tests.stores.postgres_server import PostgresServer
from tests.stores.redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import Callable

    from deferit.stores.base import Store

_lasting = ExitStack()
_servers: dict[str, Callable[[str], str]] = {}
_numbers = count()


def usual() -> str:
    """Return the URL of a place for a site whose test does not care: in the store of the matrix, else in memory."""
    return fresh(STORE if IS_CHOSEN else "memory")


def chosen(*stores: str) -> tuple[str, ...]:
    """Return these stores; with the matrix, the one that it names."""
    return (STORE,) if IS_CHOSEN else stores


def fresh(store: str) -> str:
    """Return the URL of a place where nothing has been yet."""
    if store == "memory":
        return "memory://"
    if store not in _servers:
        _servers[store] = _STARTS[store]()
    return _servers[store](f"place_{next(_numbers)}")


def need(store: Store | str) -> None:
    """Skip a test that brings a store of its own, where the matrix asks for another."""
    url = store if isinstance(store, str) else store.url
    if IS_CHOSEN and url.partition(":")[0] != STORE:
        pytest.skip("it is about a store of another kind")


def close() -> None:
    """Stop the servers, and remove the files."""
    _servers.clear()
    _lasting.close()


def _files() -> Callable[[str], str]:
    folder = Path(_lasting.enter_context(tempfile.TemporaryDirectory(prefix="places-")))

    def url(name: str) -> str:
        (folder / name).mkdir()
        return f"sqlite:///{folder / name / 'jobs.db'}"

    return url


def _redis() -> Callable[[str], str]:
    server = RedisServer("--appendonly", "no")
    _lasting.callback(server.stop)
    return lambda name: f"{server.url}?prefix={name}"


def _postgresql() -> Callable[[str], str]:
    server = PostgresServer()
    _lasting.callback(server.remove)
    server.start()
    return lambda name: server.url(f"&schema={name}")


_STARTS = {"sqlite": _files, "redis": _redis, "postgresql": _postgresql}
