"""Connections as they are made: to which address, for how long, with whose certificate."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpcore
import pytest
import trustme
from tests.callbacks.receiver import SECRET, Receiver

from deferit._core.allowed import url_from
from deferit._process.poster import NotPublic, Poster
from deferit.callbacks import addresses_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from deferit._core.allowed import Url

NAME = "hooks.example.com"
UNREACHABLE = "2d00::1"
"""An address of the public internet that IANA has given to nobody."""


class Resolver:
    """Answers in turn, the last answer for ever, and counts."""

    def __init__(self, *answers: list[str]) -> None:
        self.asked: list[tuple[str, int]] = []
        self._answers = list(answers)

    def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append((host, port))
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


def place(receiver: Receiver, scheme: str = "http", host: str = NAME) -> Url:
    url = url_from(f"{scheme}://{host}:{receiver.port}/hook")
    assert url is not None
    return url


def post(poster: Poster, url: Url, body: bytes = b'{"a":"\xc2\xbd"}') -> int:
    return poster.post(url, "msg_1", body, [SECRET])


# --- addresses ---


def test_a_name_that_is_public_first_and_private_later_never_leads_inside(
    receiver: Receiver,
) -> None:
    resolver = Resolver([UNREACHABLE], ["127.0.0.1"])
    poster = Poster(resolver, private=False, patience=0.3)

    with pytest.raises((httpcore.NetworkError, httpcore.TimeoutException)):
        post(poster, place(receiver))

    assert resolver.asked == [(NAME, receiver.port)], (
        "it was resolved once, and not again to connect"
    )
    with pytest.raises(NotPublic, match=r"127\.0\.0\.1"):
        post(poster, place(receiver))
    assert receiver.deliveries == []


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["::1"],
        ["::ffff:127.0.0.1"],
        ["0.0.0.0"],
        [UNREACHABLE, "127.0.0.1"],
        ["127.0.0.1", UNREACHABLE],
        ["fe80::1%lo"],
    ],
)
def test_one_private_address_spoils_the_name(receiver: Receiver, addresses: list[str]) -> None:
    poster = Poster(Resolver(addresses), private=False)

    with pytest.raises(NotPublic):
        post(poster, place(receiver))

    assert receiver.deliveries == []


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "[::1]"]
)
def test_no_way_of_writing_the_loopback_address_leads_there(receiver: Receiver, host: str) -> None:
    poster = Poster(addresses_of, private=False)

    with pytest.raises((NotPublic, OSError)):
        post(poster, place(receiver, host=host))

    assert receiver.deliveries == []


def test_what_was_checked_is_what_is_connected_to(receiver: Receiver) -> None:
    resolver = Resolver(["127.0.0.1"], [UNREACHABLE])

    status = post(Poster(resolver, private=True), place(receiver))

    assert status == 204
    assert receiver.deliveries[0].headers["host"] == f"{NAME}:{receiver.port}"
    assert resolver.asked == [(NAME, receiver.port)]


def test_another_address_of_the_name_is_tried_if_the_first_does_not_answer(
    receiver: Receiver,
) -> None:
    poster = Poster(Resolver([UNREACHABLE, "127.0.0.1"]), private=True, patience=2)

    assert post(poster, place(receiver)) == 204


def test_a_name_without_an_address_is_not_connected_to(receiver: Receiver) -> None:
    with pytest.raises(httpcore.ConnectError, match="no address"):
        post(Poster(Resolver([]), private=True), place(receiver))


@pytest.mark.parametrize("host", ["nobody.invalid", "a..b", "a" * 70 + ".example"])
def test_a_name_that_does_not_exist_is_a_failure_like_others(receiver: Receiver, host: str) -> None:
    with pytest.raises((OSError, UnicodeError)):
        post(Poster(addresses_of, private=True), place(receiver, host=host))


def test_a_resolver_that_takes_all_the_time_leaves_none_to_connect(receiver: Receiver) -> None:
    poster = Poster(Resolver(["127.0.0.1"]), private=True, patience=0)

    with pytest.raises(httpcore.TimeoutException, match="took too long"):
        post(poster, place(receiver))

    assert receiver.deliveries == []


# --- answers ---


@pytest.mark.parametrize("status", [200, 204, 301, 307, 410, 500])
def test_the_status_code_is_the_receivers(receiver: Receiver, status: int) -> None:
    receiver.statuses, receiver.headers = [status], {"Location": receiver.url}

    assert post(Poster(addresses_of, private=True), place(receiver, host="127.0.0.1")) == status
    assert len(receiver.deliveries) == 1


def test_a_body_is_not_read_however_long_it_is() -> None:
    with raw_server(
        b"HTTP/1.1 200 OK\r\nContent-Length: 100000000000\r\n\r\n", b"x" * 65536
    ) as raw:
        began = time.monotonic()
        status = post(Poster(addresses_of, private=True, patience=5), raw.url)

        assert status == 200
        assert time.monotonic() - began < 3
        assert raw.was_left.wait(5)
        assert raw.sent < 32 * 2**20


@pytest.mark.parametrize("drop", [b"x", b""], ids=["drips", "is silent"])
def test_a_receiver_that_never_ends_is_left(drop: bytes) -> None:
    with raw_server(b"HTTP/1.1 200 OK\r\nX-Endless: ", drop, pause=0.05) as raw:
        began = time.monotonic()

        with pytest.raises(httpcore.TimeoutException):
            post(Poster(addresses_of, private=True, patience=0.5), raw.url)

        assert time.monotonic() - began < 2


def test_an_answer_that_is_no_http_is_a_failure() -> None:
    with (
        raw_server(b"SSH-2.0-OpenSSH_9.2\r\n\r\n", b"") as raw,
        pytest.raises(httpcore.RemoteProtocolError),
    ):
        post(Poster(addresses_of, private=True), raw.url)


# --- TLS ---


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusting(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Poster:
    """Return a poster on a machine whose administrator trusts the authority of the tests."""
    file = tmp_path / "authorities.pem"
    authority.cert_pem.write_to_path(str(file))
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    return Poster(Resolver(["127.0.0.1"]), private=True)


def server_context(authority: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


def test_the_certificate_is_checked_by_the_name_though_the_address_is_connected_to(
    authority: trustme.CA, trusting: Poster
) -> None:
    names: list[str | None] = []
    context = server_context(authority, NAME)
    context.sni_callback = lambda _, name, __: names.append(name)

    with Receiver(context=context) as receiver:
        assert post(trusting, place(receiver, "https")) == 204

    assert names == [NAME]
    assert receiver.deliveries[0].headers["host"] == f"{NAME}:{receiver.port}"


def test_a_certificate_for_another_name_is_refused(authority: trustme.CA, trusting: Poster) -> None:
    with Receiver(context=server_context(authority, "evil.example.com")) as receiver:
        with pytest.raises(httpcore.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            post(trusting, place(receiver, "https"))

        assert receiver.deliveries == []


def test_a_certificate_of_an_unknown_authority_is_refused(authority: trustme.CA) -> None:
    poster = Poster(Resolver(["127.0.0.1"]), private=True)

    with Receiver(context=server_context(authority, NAME)) as receiver:
        with pytest.raises(httpcore.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            post(poster, place(receiver, "https"))

        assert receiver.deliveries == []


class Raw:
    """A server that sends what it is told to whoever connects, until they leave."""

    def __init__(self, head: bytes, rest: bytes, pause: float) -> None:
        self.sent = 0
        self.was_left = threading.Event()
        self._head, self._rest, self._pause = head, rest, pause
        self._listener = socket.create_server(("127.0.0.1", 0))
        port = self._listener.getsockname()[1]
        url = url_from(f"http://127.0.0.1:{port}/")
        assert url is not None
        self.url = url
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        connection.settimeout(5)
        with connection:
            connection.recv(65536)
            connection.sendall(self._head)
            try:
                self._send_the_rest(connection)
            except OSError:
                self.was_left.set()

    def _send_the_rest(self, connection: socket.socket) -> None:
        while not self._rest and connection.recv(65536):
            pass  # until they leave
        while self._rest:
            connection.sendall(self._rest)
            self.sent += len(self._rest)
            time.sleep(self._pause)


@contextmanager
def raw_server(head: bytes, rest: bytes, pause: float = 0.0) -> Iterator[Raw]:
    raw = Raw(head, rest, pause)
    try:
        yield raw
    finally:
        raw.close()
