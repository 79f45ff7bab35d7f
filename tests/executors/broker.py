"""A Redis server as Celery's broker."""

from __future__ import annotations

from typing import Self

from tests.stores.redis_server import RedisServer


class Broker(RedisServer):
    """A broker that keeps nothing on disk: what is in it is lost when it is killed."""

    def __init__(self) -> None:
        super().__init__("--appendonly", "no")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def waiting(self) -> int:
        """Return how many messages wait in Celery's default queue."""
        return int(self.ask("LLEN", "celery"))
