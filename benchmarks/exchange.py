"""Requests over kept connections by a client that costs little: one by one, as many as go, or at a given pace."""

from __future__ import annotations

import socket
import time
from collections import deque
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from select import select
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

from benchmarks.load import BODY, CONNECTIONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PATIENCE = 60.0
"""Seconds without any answer after which a server is given up."""


class NoAnswer(Exception):
    """The server closed a connection, or said nothing that was understood."""


@dataclass(frozen=True)
class Answer:
    """What a server has answered; ``head`` has its header as it came."""

    status: int
    head: bytes
    body: bytes

    @property
    def location(self) -> str | None:
        """The path that ``Location`` leads to."""
        value = _field(self.head, b"location")
        return urlsplit(value).path if value else None


def _field(head: bytes, name: bytes) -> str | None:
    at = head.lower().find(b"\r\n" + name + b":")
    if at < 0:
        return None
    start = at + len(name) + 3
    end = head.find(b"\r\n", start)
    return head[start : end if end >= 0 else None].decode().strip()


def request(method: str, path: str, **fields: str) -> bytes:
    """Return the bytes of a request, with the body that all have if it is a POST."""
    body = BODY if method == "POST" else ""
    if body:
        fields |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
    return f"{method} {path} HTTP/1.1\r\nHost: benchmark\r\n{head}\r\n{body}".encode()


class Connection:
    """One connection to a server, for one request at a time."""

    def __init__(self, url: str) -> None:
        where = urlsplit(url)
        assert where.hostname is not None
        self._socket = socket.create_connection((where.hostname, where.port or 80), PATIENCE)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._came = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def fileno(self) -> int:
        """Return what `select` needs."""
        return self._socket.fileno()

    def send(self, asked: bytes) -> None:
        """Send a request."""
        self._socket.sendall(asked)

    def receive(self) -> Answer | None:
        """Read what has come; return the answer once that is whole."""
        came = self._socket.recv(65_536)
        if not came:
            raise NoAnswer(f"closed after {self._came!r}")
        self._came += came
        head, separator, body = self._came.partition(b"\r\n\r\n")
        if not separator:
            return None
        length = _field(head, b"content-length")
        if length is None:
            raise NoAnswer(f"without a length: {head!r}")
        if len(body) < int(length):
            return None
        self._came = b""
        return Answer(int(head[9:12]), head, body)

    def ask(self, asked: bytes) -> Answer:
        """Send a request, and return the answer."""
        self.send(asked)
        while (answer := self.receive()) is None:
            pass
        return answer


@contextmanager
def connections(url: str) -> Iterator[list[Connection]]:
    """Open as many connections as wrk has."""
    with ExitStack() as stack:
        yield [stack.enter_context(Connection(url)) for _ in range(CONNECTIONS)]


def flood(url: str, requests: Iterable[bytes]) -> list[Answer]:
    """Send requests over all connections, on each the next as soon as the last was answered; return the answers."""
    waiting = iter(requests)
    answers: list[Answer] = []
    with connections(url) as opened:
        busy = [each for each in opened if _sent(each, waiting)]
        while busy:
            for each in _ready(busy, PATIENCE):
                if (answer := each.receive()) is None:
                    continue
                answers.append(answer)
                if not _sent(each, waiting):
                    busy.remove(each)
    return answers


def _sent(connection: Connection, requests: Iterator[bytes]) -> bool:
    """Whether there was one more to send."""
    for asked in requests:
        connection.send(asked)
        return True
    return False


def _ready(busy: Iterable[Connection], within: float) -> list[Connection]:
    """Return the connections on which something came; `select` because it waits for less than a millisecond too."""
    ready = select(list(busy), [], [], within)[0]
    if not ready and within >= PATIENCE:
        raise NoAnswer(f"no answer in {PATIENCE} s")
    return ready


def paced(url: str, asked: bytes, instants: Iterable[float]) -> list[tuple[float, Answer]]:
    """Send a request at each of the instants, in seconds from now, whether or not the others are answered.

    Return how many seconds after *its instant* each was answered: where all connections are busy it is sent later, and
    the time that it had to wait for that counts (else a server that stands still would hide what it does to those who
    come meanwhile, "coordinated omission").
    """
    due = deque(instants)
    seen: list[tuple[float, Answer]] = []
    with connections(url) as opened:
        idle, busy = deque(opened), dict[Connection, float]()
        begun = time.perf_counter()
        while due or busy:
            now = time.perf_counter() - begun
            while due and idle and due[0] <= now:
                connection = idle.popleft()
                busy[connection] = due.popleft()
                connection.send(asked)
            within = max(due[0] - now, 0) if due and idle else PATIENCE
            for connection in _ready(busy, within):
                if answer := connection.receive():
                    instant = busy.pop(connection)
                    seen.append((time.perf_counter() - begun - instant, answer))
                    idle.append(connection)
    return seen
