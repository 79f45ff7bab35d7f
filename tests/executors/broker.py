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

    def waiting(self, queue: str = "celery") -> int:
        """Return how many messages wait in a queue; this is Celery's default one."""
        return int(self.ask("LLEN", queue))

    def messages(self) -> list[bytes]:
        """Return the messages that wait in Celery's default queue."""
        found: list[bytes] = self.ask("LRANGE", "celery", 0, -1)
        return found

    def deliver_again(self) -> None:
        """Have all that waits there delivered twice."""
        for message in self.messages():
            self.ask("LPUSH", "celery", message)

    def unacknowledged(self) -> int:
        """Return how many messages workers have taken that are not acknowledged."""
        return int(self.ask("HLEN", "unacked"))
