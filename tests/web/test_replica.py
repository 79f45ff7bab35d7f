"""What a trial replays from memory is what a stored job would replay, and stays so whatever a handler does to it."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest

from deferit import ASGIMiddleware, WSGIMiddleware
from deferit._records import Captured, decode_captured
from deferit.asgi import _ASGIPassage
from deferit.wsgi import _WSGIPassage

if TYPE_CHECKING:
    from deferit._middleware import Passage

BODY = b'{"pages": 12}'


class User:
    """What an authentication leaves behind, of which nobody can make a record."""


async def _nothing(*_: Any) -> Any:
    """Take and give nothing."""


def asgi(**added: Any) -> Passage:
    """Return a request on its way, with what an outer layer has added to it."""
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "method": "POST",
        "path": "/reports",
        "query_string": b"a=1",
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
        "headers": [(b"host", b"shop.example"), (b"accept-encoding", b"gzip")],
        "extensions": {"http.response.trailers": {}},
        "state": {},
        **added,
    }
    return _ASGIPassage(ASGIMiddleware(_nothing, store="memory://"), scope, _nothing, _nothing)


def wsgi(**added: Any) -> Passage:
    environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/reports",
        "HTTP_HOST": "shop.example",
        "HTTP_ACCEPT_ENCODING": "gzip",
        "wsgi.input": BytesIO(BODY),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "https",
        **added,
    }
    middleware = WSGIMiddleware(lambda *_: [], store="memory://")
    return _WSGIPassage(middleware, environ, lambda *_: lambda _: None)


def stored(passage: Passage) -> tuple[Captured, Any]:
    """Return what would be replayed of a job, and what of that goes by reference."""
    encoded, carried = passage.replica(BODY, 0.0).encode()
    return decode_captured(encoded), carried


@pytest.mark.parametrize("make", [asgi, wsgi])
def test_what_is_replayed_from_memory_is_what_would_be_stored(make: Any) -> None:
    user = User()
    passage = make(user=user)
    replica = passage.replica(BODY, 0.0)
    record, carried = stored(passage)

    there, here = {**record.scope, **carried}, {**replica.captured.scope, **replica.carried}

    assert carried == {"user": user}
    assert {name: _as_lists(value) for name, value in here.items()} == {
        name: _as_lists(value) for name, value in there.items()
    }
    assert (replica.captured.url, replica.captured.body) == (record.url, record.body)


def _as_lists(value: Any) -> Any:
    """Return a value with its tuples as a store gives them back."""
    return [_as_lists(item) for item in value] if isinstance(value, list | tuple) else value


@pytest.mark.parametrize("make", [asgi, wsgi])
@pytest.mark.parametrize("kind", [dict, list])
def test_what_a_handler_changes_is_stored_as_it_came(make: Any, kind: Any) -> None:
    added = kind([("a", 1)])
    replica = make(added=added).replica(BODY, 0.0)

    held = {**replica.captured.scope, **replica.carried}["added"]
    held.clear()
    encoded, _ = replica.encode()

    assert decode_captured(encoded).scope["added"] == ({"a": 1} if kind is dict else [["a", 1]])
    assert added == kind([("a", 1)])


def test_what_is_added_to_the_state_is_stored_as_it_came() -> None:
    replica = asgi(state={"cart": ["apples"]}).replica(BODY, 0.0)

    replica.captured.scope["state"]["cart"].append("pears")
    encoded, _ = replica.encode()

    assert decode_captured(encoded).scope["state"] == {"cart": ["apples"]}
