"""Every field that the middleware reads, with everything that has no place in it, on every route."""

from __future__ import annotations

import os
from itertools import product
from typing import TYPE_CHECKING

import pytest
from tests.description.states import PENDING, STATES
from tests.hostile.reading import fields_in, fields_read
from tests.hostile.requests import FIELDS, LONGEST, Hostile, Value
from tests.hostile.test_bad_input import ask, is_fit, open_to_all
from tests.web.sites import FRAMEWORKS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.web.sites import Site

ALL = os.environ.get("HOSTILE_STATES") == "all"
"""Whether jobs in every state are asked for with each field, as `make hostile` does; else one of each kind."""

VALUES = {
    "nothing": Value(""),
    "spaces": Value(" \t", LONGEST),
    "no UTF-8": Value("\xff\xfe\x80"),
    "half of a surrogate pair": Value("\xed\xa0\x80"),
    "zero bytes": Value("\x00", 9),
    "a zero byte in 64 KiB": Value("a" * 30_000 + "\x00" + "b" * 35_000),
    "another field": Value("a\r\nX-Injected: b"),
    "64 KiB": Value("x", LONGEST),
    "64 KiB that are no UTF-8": Value("\xff", LONGEST),
    "64 KiB of quotes": Value('"', LONGEST),
    "64 KiB of backslashes": Value('"\\', LONGEST),
    "64 KiB of commas": Value(",", LONGEST),
    "64 KiB of brackets": Value("([", LONGEST),
    "10,000 preferences": Value("wait=1", 10_000, ", "),
    "10,000 parameters": Value("a=b", 10_000, "; "),
    "10,000 qualities": Value("a/b;q=0.1", 10_000, ","),
    "10,000 tags": Value('W/"1"', 10_000, ", "),
    "10,000 ranges": Value("bytes=0-1", 10_000, ","),
    "5,000 digits": Value("9" * 5_000),
    "a number below zero": Value("-1"),
    "digits of others": Value("\xb2\xb3"),
    "a date of no year": Value("Thu, 01 Jan 0000 00:00:00 +9999"),
    "percent signs": Value("%00%ff%", 9_000),
}

ROUTES = [
    ("GET", "running", ""),
    ("GET", "succeeded", ""),
    ("HEAD", "succeeded", ""),
    ("DELETE", "running", ""),
    ("DELETE", "succeeded", ""),
    ("GET", "running", "/result"),
    ("GET", "succeeded", "/result"),
    ("GET", "failed, handler-exception", "/result"),
    ("GET", "succeeded", "/events"),
    ("POST", "running", "/cancel"),
    ("POST", "succeeded", "/cancel"),
    ("GET", None, "/jobs"),
    ("POST", None, "/pages"),
    ("POST", None, "/configured"),
]

EVERYWHERE = [
    *product(["GET", "DELETE"], STATES, [""]),
    *product(["GET"], STATES, ["/result"]),
    *product(["GET"], sorted(STATES.keys() - PENDING), ["/events"]),
    *product(["POST"], STATES, ["/cancel"]),
    *[route for route in ROUTES if route[1] is None],
]


@pytest.fixture(scope="module", params=FRAMEWORKS if ALL else ("flask", "starlette"))
def hostile_site(request: pytest.FixtureRequest) -> Iterator[Site]:
    with open_to_all(request.param) as built:
        yield built


def test_every_field_that_is_read_is_tested() -> None:
    read = fields_read()

    assert read >= {"prefer", "accept", "host", "origin", "callback-url", "if-range", "cookie"}
    assert read - {name.lower() for name in FIELDS} == set()


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ('request.headers.get("X-New")', "x-new"),
        ('fields.getlist("Forwarded")', "forwarded"),
        ('headers.get("x-new")', "x-new"),
        ('listed(request.headers, "X-New")', "x-new"),
        ('"Origin" in headers', "origin"),
        ('environ["HTTP_X_NEW"]', "x-new"),
        ('environ.get("CONTENT_TYPE")', "content-type"),
        ('dict(scope["headers"]).get(b"x-new")', "x-new"),
        ('[value for name, value in headers if name == b"cookie"]', "cookie"),
        ('NAME = "X-New"\nheaders.get(NAME)', "x-new"),
        ('headers.get("traceparent")', "traceparent"),
    ],
)
def test_a_new_field_would_be_found_however_it_is_read(source: str, name: str) -> None:
    assert fields_in(source) == {name}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_no_field_is_answered_with_an_error_of_ours(hostile_site: Site, value: Value) -> None:
    for name, (method, state, path) in product(FIELDS, EVERYWHERE if ALL else ROUTES):
        fields = () if name == "Content-Length" else ((name, value),)
        length = str(value) if name == "Content-Length" else None
        asked = Hostile(method, state, path, Value(""), fields, b"", length)

        answer = ask(hostile_site, asked)

        assert is_fit(answer, asked), (asked, answer)
