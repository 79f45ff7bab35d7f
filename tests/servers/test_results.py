from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
from tests.servers.twins import followed

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx
    from tests.servers.harness import Server

pytestmark = pytest.mark.server

MEBIBYTE = 1 << 20
NOISE = bytes(range(256)) * 4096
OF_THE_SERVER = {b"date", b"server", b"connection", b"transfer-encoding", b"x-worker"}
"""Header fields that are not the handler's."""

REQUESTS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "JSON": ("POST", "/json", {"json": {"amount": 7, "note": "žluťoučký"}}),
    "50 MiB streamed": ("GET", "/big", {}),
    "empty 204": ("GET", "/empty", {}),
    "304": ("GET", "/unchanged", {}),
    "repeated fields": ("GET", "/repeated", {}),
    "form": ("POST", "/form", {"data": {"name": ["Ä", "ö"], "empty": ""}}),
    "multipart": (
        "POST",
        "/upload",
        {
            "data": {"title": "Größe"},
            "files": [
                ("file", ("žlutý.bin", NOISE, "application/octet-stream")),
                ("file", ("empty.csv", b"", "text/csv")),
            ],
        },
    ),
    "refusal by the handler": ("POST", "/refuse", {}),
}

ECHOED: dict[str, tuple[str, str, dict[str, Any]]] = {
    "GET": ("GET", "/echo/here", {}),
    "unicode path": ("PUT", "/echo/Größe/日本/a%2Fb%20c", {}),
    "unicode query": ("DELETE", "/echo/here?q=ä&q=%2F+%26&empty=&bare", {}),
    "cookies": ("GET", "/echo/here", {"headers": {"Cookie": 'session="a b"; theme=dark'}}),
    "host and port": ("GET", "/echo/here", {"headers": {"Host": "orders.example:8080"}}),
    "repeated fields": (
        "GET",
        "/echo/here",
        {"headers": [("Host", "h.example"), ("X-Part", "one"), ("X-Part", "two")]},
    ),
    "binary body": ("POST", "/echo/here", {"content": NOISE}),
    "body of one mebibyte and one": ("PATCH", "/echo/here", {"content": NOISE + b"!"}),
}


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with server.client() as client:
        _speak_of_no_connection(client)
        yield client


@pytest.fixture(autouse=True)
def _same_fields(plain_client: httpx.Client) -> None:
    _speak_of_no_connection(plain_client)


def _speak_of_no_connection(client: httpx.Client) -> None:
    """Send no header field that a capture drops, and one host, so that twins can be compared."""
    del client.headers["Accept-Encoding"], client.headers["Connection"]
    client.headers["Host"] = "orders.example"


@pytest.mark.parametrize("case", REQUESTS)
def test_the_result_is_the_handlers_response_byte_for_byte(
    case: str, client: httpx.Client, plain_client: httpx.Client
) -> None:
    method, url, options = REQUESTS[case]
    plain = plain_client.request(method, url, **options)

    job = followed(client, client.request(method, url, **options))
    job.until_finished()
    result = job.result()

    assert result.status_code == plain.status_code
    assert sha256(result.content).digest() == sha256(plain.content).digest()
    assert _fields(result, like=plain) == _fields(plain, like=plain)
    assert result.headers["AsyncResult"] == str(plain.status_code)


def test_50_mib_are_50_mib(plain_client: httpx.Client) -> None:
    assert len(plain_client.get("/big").content) == 50 * MEBIBYTE


def test_a_relative_location_is_made_absolute(client: httpx.Client) -> None:
    job = followed(client, client.post("/json", json={}))
    job.until_finished()

    assert job.result().headers["Location"] == "http://orders.example/orders/7"


@pytest.mark.parametrize("case", ECHOED)
def test_the_handler_sees_the_request_as_it_came(
    case: str, client: httpx.Client, plain_client: httpx.Client
) -> None:
    method, url, options = ECHOED[case]
    plain = plain_client.request(method, url, **options).json()

    job = followed(client, client.request(method, url, **options))
    job.until_finished()
    seen = job.result().json()

    assert _but_for_the_port(seen) == _but_for_the_port(plain)


def test_the_handler_sees_the_address_of_the_client(client: httpx.Client) -> None:
    with client.stream("GET", "/echo/here") as accepted:
        address = accepted.extensions["network_stream"].get_extra_info("client_addr")
        accepted.read()
    job = followed(client, accepted)
    job.until_finished()

    assert job.result().json()["client"] == [*address]


def test_a_chunked_body_reaches_the_handler_whole(client: httpx.Client) -> None:
    chunks = [NOISE[:70_000], b"x", NOISE]

    job = followed(client, client.post("/echo/here", content=iter(chunks)))
    job.until_finished()
    seen = job.result().json()

    assert seen["length"] == sum(map(len, chunks))
    assert seen["sha256"] == sha256(b"".join(chunks)).hexdigest()


def _fields(response: httpx.Response, *, like: httpx.Response) -> list[tuple[bytes, bytes]]:
    """Return the header fields, as sent and sorted, that a plain answer has of the handler."""
    names = {name.lower() for name, _ in like.headers.raw} - OF_THE_SERVER - {b"location"}
    fields = [(name.lower(), value) for name, value in response.headers.raw]
    return sorted(field for field in fields if field[0] in names)


def _but_for_the_port(seen: dict[str, Any]) -> dict[str, Any]:
    return seen | {"client": seen["client"][0]}
