"""What is sent while a job is followed carries secrets to one place only."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from deferit.client.flow import Ask
from deferit.client.requests import POLL, is_own, outgoing

if TYPE_CHECKING:
    from tests.client.conftest import Library

SECRETS = {"Authorization": "Bearer secret", "Cookie": "a=b", "X-API-Key": "secret"}


@pytest.mark.parametrize(
    ("url", "own"),
    [
        ("https://example.com/jobs/1", True),
        ("https://EXAMPLE.com:443/jobs/1", True),
        ("http://example.com/jobs/1", False),
        ("https://example.com:8443/jobs/1", False),
        ("https://example.com.evil.example/", False),
        ("https://example.com@evil.example/", False),
        ("https://www.example.com/", False),
    ],
)
def test_secrets_go_to_one_scheme_host_and_port(library: Library, url: str, own: bool) -> None:
    original = library.Request("POST", "https://example.com/reports", headers=SECRETS)

    request = outgoing(original, Ask("GET", url))

    assert is_own(original, request) is own
    assert all((name in request.headers) is own for name in SECRETS)


def test_a_backslash_leads_nowhere_else(library: Library) -> None:
    original = library.Request("POST", "https://example.com/reports", headers=SECRETS)
    ask = Ask("GET", "https://example.com\\@evil.example/")

    try:
        request = outgoing(original, ask)
    except library.InvalidURL:
        return

    assert ("Authorization" in request.headers) is (request.url.host == "example.com")


def test_a_poll_has_the_clients_limits_but_never_none(library: Library) -> None:
    extensions = {"timeout": {"connect": 3.0, "read": None, "write": 9.0, "pool": 9.0}}
    original = library.Request("POST", "https://example.com", extensions=extensions)

    poll = outgoing(original, Ask("GET", "https://example.com/1", wait=20, patience=5.0))
    patient = outgoing(original, Ask("GET", "https://example.com/1"))
    fetch = outgoing(original, Ask("GET", "https://example.com/1", is_result=True, patience=5.0))

    limits = {"connect": 3.0, "read": 25.0, "write": 5.0, "pool": 5.0}
    assert poll.extensions["timeout"] == limits
    assert patient.extensions["timeout"]["read"] == POLL
    assert fetch.extensions["timeout"] == extensions["timeout"]


def test_a_poll_says_how_long_to_hold_it_and_what_is_known(library: Library) -> None:
    original = library.Request("POST", "https://example.com", content=b"body")

    poll = outgoing(original, Ask("GET", "https://example.com/1", wait=7, etag='W/"3"'))

    assert poll.headers["Prefer"] == "wait=7"
    assert poll.headers["If-None-Match"] == 'W/"3"'
    assert poll.headers["Host"] == "example.com"
    assert "Content-Length" not in poll.headers
