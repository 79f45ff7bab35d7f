"""Servers that contestants need beside the web server: Redis and PostgreSQL, each in a folder of its own."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.stores.postgres_server import PostgresServer
from tests.stores.redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def durable_redis() -> Iterator[str]:
    """Run a Redis that has each write on disk before it answers; yield its URL."""
    yield from _redis()


@contextmanager
def quick_redis() -> Iterator[str]:
    """Run a Redis that keeps nothing on disk: no slower than the configuration it comes with; yield its URL."""
    yield from _redis("--appendonly", "no")


def _redis(*options: str) -> Iterator[str]:
    server = RedisServer(*options)
    try:
        yield server.url
    finally:
        server.stop()


@contextmanager
def postgres() -> Iterator[str]:
    """Run a PostgreSQL that has each commit on disk before it answers; yield its URL."""
    server = PostgresServer()
    try:
        server.start("fsync=on")
        yield server.url()
    finally:
        server.remove()
