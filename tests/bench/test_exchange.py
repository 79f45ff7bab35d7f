"""The client that benchmarks measure with counts what it should, and hides nothing."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from benchmarks.exchange import Connection, NoAnswer, flood, paced, request
from benchmarks.load import BODY, CONNECTIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ACCEPTED = b"HTTP/1.1 202 Accepted\r\nLocation: http://a/jobs/1\r\nContent-Length: 2\r\n\r\n{}"


@contextmanager
def served(answer: Callable[[socket.socket, bytes], object]) -> Iterator[str]:
    """Answer each request on each connection; yield the URL."""

    def serve(connection: socket.socket) -> None:
        with connection:
            while came := connection.recv(65_536):
                answer(connection, came)

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return  # it is closed
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0), backlog=CONNECTIONS) as listener:
        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()


def test_a_post_has_the_body_that_all_have() -> None:
    head, _, body = request("POST", "/reports", Prefer="wait=1").partition(b"\r\n\r\n")

    assert head.startswith(b"POST /reports HTTP/1.1\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    assert b"Prefer: wait=1" in head
    assert body == BODY.encode()
    assert request("GET", "/jobs").endswith(b"\r\n\r\n")


def test_an_answer_in_pieces_is_put_together() -> None:
    def in_pieces(connection: socket.socket, _: bytes) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(0, len(ACCEPTED), 20):
            connection.sendall(ACCEPTED[at : at + 20])

    with served(in_pieces) as url, Connection(url) as connection:
        answer = connection.ask(request("GET", "/"))

    assert (answer.status, answer.location, answer.body) == (202, "/jobs/1", b"{}")


@pytest.mark.parametrize("said", [b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nno length", b""])
def test_what_is_no_answer_is_said_so(said: bytes) -> None:
    def answer(connection: socket.socket, _: bytes) -> None:
        connection.sendall(said)
        connection.shutdown(socket.SHUT_RDWR)

    with served(answer) as url, Connection(url) as connection, pytest.raises(NoAnswer):
        connection.ask(request("GET", "/"))


def test_a_flood_sends_each_request_once() -> None:
    seen: list[bytes] = []

    def answer(connection: socket.socket, came: bytes) -> None:
        seen.append(came)
        connection.sendall(ACCEPTED)

    asked = [request("GET", f"/{number}") for number in range(3 * CONNECTIONS)]
    with served(answer) as url:
        answers = flood(url, asked)

    assert len(answers) == len(asked)
    assert sorted(seen) == sorted(asked)


def test_who_comes_while_the_server_stands_still_is_counted_from_when_they_came() -> None:
    """A client that waited for answers would see one long wait; here all see it that came in it."""
    still = threading.Event()
    came_to_all = threading.Semaphore(0)

    def answer(connection: socket.socket, _: bytes) -> None:
        came_to_all.release()
        still.wait()
        connection.sendall(ACCEPTED)

    def go_on() -> None:
        for _ in range(CONNECTIONS):
            came_to_all.acquire()
        still.set()

    instants = [0.0] * (2 * CONNECTIONS)
    with served(answer) as url:
        threading.Thread(target=go_on, daemon=True).start()
        seen = paced(url, request("GET", "/"), instants)

    waits = [seconds for seconds, _ in seen]
    assert len(waits) == len(instants)
    assert waits == sorted(
        waits
    )  # all came at one instant, so who is answered later has waited longer
