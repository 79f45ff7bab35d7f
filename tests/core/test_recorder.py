from __future__ import annotations

import math
from base64 import urlsafe_b64encode
from hashlib import sha256

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deferit._core.recorder import PIECE, IllegalResponse, Recorder, ResultTooLarge

URL = "https://shop.example/api/reports?year=1"
SIZES = st.lists(
    st.integers(0, 3 * PIECE) | st.sampled_from([PIECE - 1, PIECE, PIECE + 1]), max_size=6
)
NAMES = st.from_regex(r"[A-Za-z0-9-]{1,9}", fullmatch=True)
VALUES = st.text(
    st.characters(min_codepoint=33, max_codepoint=255, exclude_categories=["Cc"]), min_size=1
)


def a_recorder(limit: float = math.inf) -> Recorder:
    return Recorder(URL, limit)


def write(recorder: Recorder, data: bytes) -> list[tuple[int, bytes]]:
    return list(recorder.write(data))


@given(SIZES)
def test_pieces_and_the_last_one_are_the_body_however_it_was_cut(sizes: list[int]) -> None:
    recorder = a_recorder()
    parts = [bytes([number % 256]) * size for number, size in enumerate(sizes)]
    recorder.start(200, ())

    pieces = [piece for part in parts for piece in write(recorder, part)]
    recorder.end()
    result, last = recorder.result()

    body = b"".join(parts)
    assert b"".join(data for _, data in pieces) + last == body
    assert [index for index, _ in pieces] == list(range(len(pieces)))
    assert all(len(data) == PIECE for _, data in pieces)
    assert (0 < len(last) <= PIECE) if body else last == b""
    assert (result.length, result.chunks) == (len(body), math.ceil(len(body) / PIECE))
    digest = urlsafe_b64encode(sha256(body).digest()).decode().rstrip("=")
    assert result.etag == f'"{digest}"'


def test_it_tells_the_fields_as_they_were_sent() -> None:
    recorder = a_recorder()
    fields = (("Location", "/x"), ("Connection", "close"))

    recorder.start(201, fields)

    assert recorder.response().headers == fields


def test_it_is_whole_once_it_was_begun_and_ended() -> None:
    recorder = a_recorder()
    steps = [recorder.is_whole]
    recorder.start(200, ())
    steps.append(recorder.is_whole)
    recorder.end()
    steps.append(recorder.is_whole)
    unbegun = a_recorder()
    unbegun.end()

    assert steps == [False, False, True]
    assert not unbegun.is_whole


def test_it_knows_whether_it_has_a_body() -> None:
    recorder = a_recorder()
    recorder.start(200, ())

    write(recorder, b"")
    assert not recorder.has_body
    write(recorder, b"x")
    assert recorder.has_body


def test_a_later_start_replaces_an_earlier_one() -> None:
    recorder = a_recorder()
    recorder.start(200, (("X", "1"),))
    recorder.start(500, (("Y", "2"),))

    result, _ = recorder.result()

    assert (result.status, result.headers) == (500, (("Y", "2"),))


@pytest.mark.parametrize("status", [204, 205, 304])
def test_a_response_that_has_no_body_keeps_none(status: int) -> None:
    recorder = a_recorder(limit=1)
    recorder.start(status, ())

    pieces = write(recorder, b"a stray body")
    result, last = recorder.result()

    assert (pieces, last, result.length, result.chunks) == ([], b"", 0, 0)


def test_the_limit_is_the_longest_that_is_kept() -> None:
    recorder = a_recorder(limit=4)
    recorder.start(200, ())

    write(recorder, b"four")
    assert not recorder.is_too_large
    with pytest.raises(ResultTooLarge):
        write(recorder, b"!")

    assert recorder.is_too_large


def test_fields_of_the_connection_are_left_out_and_repeated_ones_kept() -> None:
    recorder = a_recorder()
    recorder.start(
        200,
        (
            ("X-Part", "a"),
            ("Content-Length", "7"),
            ("Date", "now"),
            ("Server", "x"),
            ("Connection", "close"),
            ("transfer-encoding", "chunked"),
            ("x-part", "b"),
            ("Set-Cookie", "a=1"),
        ),
    )

    result, _ = recorder.result()

    assert result.headers == (("X-Part", "a"), ("x-part", "b"), ("Set-Cookie", "a=1"))


@pytest.mark.parametrize(
    ("location", "absolute"),
    [
        ("/orders/7", "https://shop.example/orders/7"),
        ("orders/7", "https://shop.example/api/orders/7"),
        ("?page=2", "https://shop.example/api/reports?page=2"),
        ("//cdn.example/x", "https://cdn.example/x"),
        ("https://other.example/x", "https://other.example/x"),
        ("http://[not-an-address", "http://[not-an-address"),
    ],
)
def test_a_location_is_made_absolute_against_the_request(location: str, absolute: str) -> None:
    recorder = a_recorder()
    recorder.start(201, (("location", location),))

    result, _ = recorder.result()

    assert result.headers == (("location", absolute),)


def test_the_handlers_own_entity_tag_counts() -> None:
    recorder = a_recorder()
    recorder.start(200, (("ETag", 'W/"mine"'),))
    write(recorder, b"body")

    result, _ = recorder.result()

    assert result.etag == 'W/"mine"'


@given(st.text(), st.text())
def test_a_field_is_taken_only_if_it_stays_one_field_on_every_server(name: str, value: str) -> None:
    recorder = a_recorder()

    try:
        recorder.start(200, ((name, value),))
    except IllegalResponse:
        pass
    else:
        ((kept, taken),) = recorder.response().headers
        line = f"{kept}: {taken}\r\n".encode("latin-1")
        parsed = h11.Connection(h11.CLIENT)
        parsed.send(h11.Request(method="GET", target="/", headers=[("host", "x")]))
        parsed.send(h11.EndOfMessage())
        parsed.receive_data(b"HTTP/1.1 200 OK\r\nX-First: 1\r\n" + line + b"\r\n")
        head = parsed.next_event()
        assert isinstance(head, h11.Response)
        assert list(head.headers.raw_items())[1:] == [(name.encode(), taken.encode("latin-1"))]


@given(NAMES, VALUES)
def test_what_http_allows_is_taken_as_it_is(name: str, value: str) -> None:
    recorder = a_recorder()

    recorder.start(200, ((name, value), (name, f" {value}\t")))

    assert recorder.response().headers == ((name, value), (name, value))


@pytest.mark.parametrize("status", [0, 99, 100, 199, 600, 999, -1])
def test_a_status_code_that_no_server_sends_is_refused(status: int) -> None:
    recorder = a_recorder()

    with pytest.raises(IllegalResponse, match=f"cannot answer with the status code {status}"):
        recorder.start(status, ())

    recorder.end()
    assert not recorder.is_whole
