"""The stores whose capacity is measured, each empty and with a server of its own."""

from __future__ import annotations

import sqlite3
import tempfile
import tracemalloc
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, LiteralString, TypeAlias

import psycopg
from tests.stores.postgres_server import PostgresServer
from tests.stores.redis_server import RedisServer

from deferit.stores import store_from_url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from deferit.stores.base import Store


@dataclass(frozen=True)
class Contender:
    """An empty store.

    ``held`` says how many bytes it holds, ``needed`` how many if all that is free in it was given back, and
    ``connections`` how many it has open.
    """

    store: Store
    held: Callable[[], int]
    needed: Callable[[], int]
    connections: Callable[[], int] = lambda: 0


Opening: TypeAlias = "Callable[[], AbstractContextManager[Contender]]"


@contextmanager
def memory() -> Iterator[Contender]:
    """Jobs in this process."""

    def held() -> int:
        if not tracemalloc.is_tracing():  # not before: it makes everything slow
            tracemalloc.start()
        return tracemalloc.get_traced_memory()[0]

    try:
        yield Contender(store_from_url("memory://"), held, held)
    finally:
        tracemalloc.stop()


@contextmanager
def sqlite() -> Iterator[Contender]:
    """A file, with ``synchronous=FULL``."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "jobs.db")

        def pages() -> int:
            with closing(sqlite3.connect(path)) as db:
                (count,), (size,) = (
                    db.execute(f"PRAGMA page_{what}").fetchone() for what in ("count", "size")
                )
            return int(count * size)

        def compact() -> int:
            copy = path.with_suffix(".copy")
            copy.unlink(missing_ok=True)
            with closing(sqlite3.connect(path)) as db:
                db.execute("VACUUM INTO ?", [str(copy)])
            return copy.stat().st_size

        yield Contender(store_from_url(f"sqlite:///{path}"), pages, compact)


@contextmanager
def redis(fsync: str) -> Iterator[Contender]:
    """A Redis that keeps its log of commands, synced as ``appendfsync`` says."""
    server = RedisServer("--appendfsync", fsync)
    try:
        with server.client() as client:

            def held() -> int:
                about: dict[str, Any] = client.info("memory")
                return int(about["used_memory"])

            yield Contender(
                store_from_url(server.unix_url),
                held,
                held,
                lambda: len(client.client_list()) - 1,
            )
    finally:
        server.stop()


@contextmanager
def postgresql() -> Iterator[Contender]:
    """A PostgreSQL as it comes, on a socket."""
    server = PostgresServer()
    try:
        server.start("fsync=on")
        with psycopg.connect(server.url(), autocommit=True) as connection:

            def held() -> int:
                return _number(connection, "SELECT pg_database_size(current_database())")

            def needed() -> int:
                connection.execute("VACUUM FULL")
                return held()

            yield Contender(
                store_from_url(server.url()),
                held,
                needed,
                lambda: _number(connection, BACKENDS) - 1,
            )
    finally:
        server.remove()


BACKENDS: LiteralString = (
    "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
)


def _number(connection: psycopg.Connection, question: LiteralString) -> int:
    row = connection.execute(question).fetchone()
    assert row is not None
    return int(row[0])


STORES: dict[str, Opening] = {
    "memory": memory,
    "sqlite": sqlite,
    "redis, appendfsync always": partial(redis, "always"),
    "redis, appendfsync everysec": partial(redis, "everysec"),
    "postgresql": postgresql,
}
