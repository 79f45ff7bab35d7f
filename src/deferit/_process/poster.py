"""Posts signed messages, to the address that was checked and nowhere else; needs the extra ``callbacks``."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpcore
from standardwebhooks import Webhook

from deferit import __version__
from deferit._core.addresses import is_public

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable, Sequence

    from deferit._core.allowed import Url
    from deferit.callbacks import Resolve

PATIENCE = 15.0
"""Seconds that a receiver is given, from the first packet to its status code."""


class NotPublic(Exception):
    """A host has an address that is not of the public internet. Arguments: the host, the address."""

    def __str__(self) -> str:
        host, address = self.args
        return f"{host} has the address {address}, which is not of the public internet"


class Poster:
    """Posts messages, each over a connection of its own, without redirects and proxies; from any thread."""

    def __init__(self, resolve: Resolve, *, private: bool, patience: float = PATIENCE) -> None:
        self._resolve = resolve
        self._private = private
        self._patience = patience
        self._context = httpcore.default_ssl_context()

    def post(self, url: Url, message_id: str, body: bytes, secrets: Sequence[str]) -> int:
        """Sign and post a JSON document; return the receiver's status code and read no more of its answer.

        Raises:
            NotPublic: the address may not be called.
            Exception: there was no answer in time; the resolver's exceptions and those of httpcore.
        """
        headers = [
            ("Host", url.authority),
            ("User-Agent", f"deferit/{__version__}"),
            ("Content-Type", "application/json"),
            *_signed(message_id, body, secrets),
        ]
        deadline = time.monotonic() + self._patience
        network = _Network(self._resolve, deadline, private=self._private)
        where = httpcore.URL(
            scheme=url.scheme.encode(),
            host=url.host.encode(),
            port=url.port,
            target=url.target.encode(),
        )
        with (
            _pool(self._context, network) as pool,
            pool.stream("POST", where, headers=headers, content=body) as response,
        ):
            return response.status


def _signed(message_id: str, body: bytes, secrets: Sequence[str]) -> list[tuple[str, str]]:
    now = datetime.now(UTC)
    text = body.decode()
    signatures = [Webhook(secret).sign(message_id, now, text) for secret in secrets]
    return [
        ("webhook-id", message_id),
        ("webhook-timestamp", str(int(now.timestamp()))),
        ("webhook-signature", " ".join(signatures)),
    ]


def _pool(context: ssl.SSLContext, network: _Network) -> httpcore.ConnectionPool:
    return httpcore.ConnectionPool(
        ssl_context=context, network_backend=network, max_keepalive_connections=0
    )


class _Network(httpcore.NetworkBackend):
    """Resolves a name once and connects to what it has checked, so that the name's owner has no second answer."""

    def __init__(self, resolve: Resolve, deadline: float, *, private: bool) -> None:
        self._resolve = resolve
        self._deadline = deadline
        self._private = private
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002  the deadline counts
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        addresses = self._checked(host, port)
        while addresses:
            address = addresses.pop(0)
            share = _left(self._deadline) / (len(addresses) + 1)
            try:
                stream = self._inner.connect_tcp(
                    address, port, share, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if not addresses:
                    raise
            else:
                return _Stream(stream, self._deadline)
        raise httpcore.ConnectError(f"{host} has no address")

    def _checked(self, host: str, port: int) -> list[str]:
        """Return the addresses of a host; one of them that is not public spoils the others."""
        addresses = list(self._resolve(host, port))
        for address in addresses:
            if not (self._private or is_public(address)):
                raise NotPublic(host, address)
        return addresses


class _Stream(httpcore.NetworkStream):
    """A connection, all of whose operations share one deadline."""

    def __init__(self, inner: httpcore.NetworkStream, deadline: float) -> None:
        self._inner = inner
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002
        return self._inner.read(max_bytes, _left(self._deadline))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002
        self._inner.write(buffer, _left(self._deadline))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002
    ) -> httpcore.NetworkStream:
        left = _left(self._deadline)
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, left), self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


def _left(deadline: float) -> float:
    """Return the seconds until a deadline.

    Raises:
        httpcore.TimeoutException: it has passed.
    """
    left = deadline - time.monotonic()
    if left <= 0:
        raise httpcore.TimeoutException("the receiver took too long")
    return left
