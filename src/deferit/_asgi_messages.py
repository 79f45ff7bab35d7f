"""What ASGI's scopes and messages say, in the terms of the core, and the other way round."""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from deferit._core.http import Fields, Request, Response, is_host

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from starlette.types import Message, Scope

    from deferit._core.http import Pairs

BODILESS = frozenset({204, 304})
"""Status codes of responses that have no body, nor the length of one."""


def below(root: str, path: str) -> str:
    """Return the path behind the application's root, which ASGI servers put in front of it."""
    root = root.rstrip("/")
    if root and path.startswith(root) and path[len(root) : len(root) + 1] in {"", "/"}:
        return path[len(root) :]
    return path


def request_of(scope: Scope) -> Request:
    """Return what a scope says, as a request."""
    root, headers = scope.get("root_path"), ScopeFields(scope["headers"])
    return Request(
        method=scope["method"],
        path=below(root, scope["path"]) if root else scope["path"],
        query=scope.get("query_string", b"").decode("latin-1"),
        headers=headers,
        scope=scope,
        root_url=_origin(scope, headers.found("Host")) + (quote(root.rstrip("/")) if root else ""),
    )


class ScopeFields(Fields):
    """The fields of a scope, each decoded when it is asked for; their names are in lower case, as ASGI wants them."""

    def __init__(self, raw: Sequence[tuple[bytes, bytes]]) -> None:
        self._raw = raw
        self._values = dict(reversed(raw))  # of fields that repeat the first

    @cached_property
    def _list(self) -> list[tuple[str, str]]:  # type: ignore[override]  # made when it is asked for
        return list(as_text(self._raw))

    def found(self, key: str) -> str | None:
        """Return the first value of a field, or None."""
        value = self._values.get(_name(key))
        return None if value is None else value.decode("latin-1")

    def getlist(self, key: str, type: Any = None) -> list[Any]:  # noqa: A002  werkzeug's name
        """Return all values of a field."""
        wanted = _name(key)
        if wanted not in self._values:
            return []
        if type is not None:
            return super().getlist(key, type)
        return [value.decode("latin-1") for name, value in self._raw if name == wanted]


def _origin(scope: Scope, host: str | None) -> str:
    """Return scheme and authority that were asked for, or if that cannot be known those of the server."""
    if host is None or not is_host(host):
        name, port = scope.get("server") or ("localhost", None)
        host = f"{name}:{port}" if port else str(name)
    return f"{scope.get('scheme', 'http')}://{host}"


def response_start(response: Response) -> Message:
    """Return the message that a response begins with."""
    headers = [(_name(name), value.encode("latin-1")) for name, value in response.headers]
    length = response.length
    if length is not None and response.status not in BODILESS:
        headers.append((b"content-length", b"%d" % length))
    return {"type": "http.response.start", "status": response.status, "headers": headers}


@lru_cache(256)
def _name(name: str) -> bytes:
    """Return a field's name as ASGI has it; there are few of them, and none has a question mark in it."""
    return name.lower().encode("latin-1", "replace")


def as_text(headers: Iterable[tuple[bytes, bytes]]) -> Pairs:
    """Return fields as the core has them."""
    return tuple([(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers])


def as_bytes(headers: Pairs) -> list[tuple[bytes, bytes]]:
    """Return fields as ASGI has them."""
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
