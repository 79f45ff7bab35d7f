"""A receiver of callbacks: a real HTTP server on the loopback interface that writes down what it gets."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

from standardwebhooks import Webhook
from tests.ports import HOST, port_of
from tests.servers.harness import until

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo="
ANOTHER_SECRET = "whsec_plJ3nmyCDGBKInavdOK15jsl4+yT4N3Zw5mV0e4i0dU="


@dataclass(frozen=True)
class Delivery:
    """One request that came."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    verified: Any
    """What the library for receivers makes of it; it raises if the signature is not right."""

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def document(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.body)
        return document


@dataclass
class Receiver:
    """Answers with `statuses` one after the other, the last one for ever."""

    statuses: list[int] = field(default_factory=lambda: [204])
    headers: dict[str, str] = field(default_factory=dict)
    context: ssl.SSLContext | None = None
    deliveries: list[Delivery] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.port = port_of(self)  # the same whenever it is up

    def __enter__(self) -> Self:
        self._server = _Server((HOST, self.port), _Handler)
        self._server.receiver = self
        if self.context:
            self._server.socket = self.context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}/hook"

    def first(self) -> Delivery:
        return self.await_deliveries(1)[0]

    def await_deliveries(self, count: int, *, within: float = 60.0) -> list[Delivery]:
        until(lambda: len(self.deliveries) >= count, f"{count} deliveries", within=within)
        return self.deliveries

    def take(self, delivery: Delivery) -> int:
        self.deliveries.append(delivery)
        return self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]


class _Server(ThreadingHTTPServer):
    receiver: Receiver

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client that breaks off is part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self._answer(Delivery(self.path, headers, body, Webhook(SECRET).verify(body, headers)))

    def do_GET(self) -> None:
        self._answer(Delivery(self.path, {}, b"", None))

    def _answer(self, delivery: Delivery) -> None:
        assert isinstance(self.server, _Server)
        receiver = self.server.receiver
        self.send_response(receiver.take(delivery))
        for name, value in receiver.headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *_: object) -> None:  # noqa: A002
        """Say nothing."""
