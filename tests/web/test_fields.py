"""The fields of a request are one multi-dict that ignores case, whichever web interface they came by."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest

from deferit import ASGIMiddleware, WSGIMiddleware
from deferit.asgi import _ASGIPassage
from deferit.wsgi import _WSGIPassage

if TYPE_CHECKING:
    from werkzeug.datastructures import Headers


async def _nothing(*_: Any) -> Any:
    """Take and give nothing."""


def asgi(**fields: str) -> Headers:
    headers = [(name.encode(), value.encode("latin-1")) for name, value in fields.items()]
    scope = {"type": "http", "method": "GET", "path": "/", "headers": headers}
    middleware = ASGIMiddleware(_nothing, store="memory://")
    return _ASGIPassage(middleware, scope, _nothing, _nothing).request().headers


def wsgi(**fields: str) -> Headers:
    return of_environ({f"HTTP_{name.upper()}": value for name, value in fields.items()})


def of_environ(environ: dict[str, Any]) -> Headers:
    environ |= {"REQUEST_METHOD": "GET", "wsgi.input": BytesIO()}
    middleware = WSGIMiddleware(lambda *_: [], store="memory://")
    return _WSGIPassage(middleware, environ, lambda *_: lambda _: None).request().headers


@pytest.mark.parametrize("fields", [asgi, wsgi])
def test_a_field_is_found_whatever_its_case(fields: Any) -> None:
    headers = fields(host="shop.example", cookie="größe=1")

    assert headers.get("COOKIE") == headers["cookie"] == headers.getlist("Cookie")[0] == "größe=1"
    assert "HOST" in headers
    assert {name.lower(): value for name, value in headers} == {
        "host": "shop.example",
        "cookie": "größe=1",
    }


@pytest.mark.parametrize("fields", [asgi, wsgi])
@pytest.mark.parametrize("name", ["Origin", "größe", "größe\N{PILE OF POO}", "?"])
def test_what_did_not_come_is_not_there(fields: Any, name: str) -> None:
    headers = fields(host="shop.example")

    assert headers.get(name) is None
    assert headers.getlist(name) == []
    assert name not in headers
    with pytest.raises(KeyError):
        headers[name]


@pytest.mark.parametrize("fields", [asgi, wsgi])
def test_a_number_is_read_where_there_is_one(fields: Any) -> None:
    headers = fields(host="12", cookie="twelve")

    assert headers.get("Host", 0, type=int) == 12
    assert headers.get("Cookie", 0, type=int) == headers.get("Origin", 0, type=int) == 0
    assert headers.getlist("Host", type=int) == [12]
    assert headers.getlist("Cookie", type=int) == headers.getlist("Origin", type=int) == []


@pytest.mark.parametrize("fields", [asgi, wsgi])
def test_a_copy_is_another_such_multi_dict(fields: Any) -> None:
    headers = fields(host="shop.example", cookie="a=1")

    assert headers.copy().get("Cookie") == headers[:].get("Cookie") == "a=1"


def test_of_fields_that_repeat_the_first_counts() -> None:
    headers = [(b"prefer", b"wait=1"), (b"host", b"shop.example"), (b"prefer", b"respond-async")]
    scope = {"type": "http", "method": "GET", "path": "/", "headers": headers}
    middleware = ASGIMiddleware(_nothing, store="memory://")

    found = _ASGIPassage(middleware, scope, _nothing, _nothing).request().headers

    assert found.get("Prefer") == "wait=1"
    assert found.getlist("Prefer") == ["wait=1", "respond-async"]


def test_a_variable_that_a_server_sets_though_nothing_came_is_no_field() -> None:
    headers = of_environ({"CONTENT_TYPE": "", "CONTENT_LENGTH": "", "HTTP_COOKIE": ""})

    assert headers.get("Content-Type") is headers.get("Content-Length") is None
    assert "Content-Type" not in headers
    assert list(headers) == [("Cookie", "")]
    assert headers.get("Cookie") == ""
