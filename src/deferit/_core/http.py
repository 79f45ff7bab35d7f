"""A request and a response, reduced to what WSGI and ASGI have in common."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec
from werkzeug.datastructures import Headers

from deferit._core.discreet import Discreet

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping

Pairs = tuple[tuple[str, str], ...]
"""Header fields in the order they were sent; names may repeat, values are latin-1 text."""

HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Fields that speak of one connection (RFC 9110 §7.6.1; the names of RFC 2616 §13.5.1)."""

OF_THE_SUBMITTER = HOP_BY_HOP | {
    "accept-encoding",
    "expect",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "range",
}
"""Request fields that a replay leaves out: they speak of the submitter's connection and cache."""

NEVER_REPLAYED = HOP_BY_HOP | {"content-length", "date", "server"}
"""Response fields that the result route leaves to whoever serves it."""


GUARDED = (("X-Content-Type-Options", "nosniff"), ("Referrer-Policy", "no-referrer"))
"""Fields of every document: it is what it says it is, and its URL, which may be a capability, goes nowhere else."""


class Fields(Headers):
    """The fields of a request, found by an index: most of those that are looked for are not there.

    Nobody may change them. The parameters have werkzeug's names, and its meaning.
    """

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        self._list = list(pairs)  # as they came; werkzeug would check that they can be sent
        self._first: dict[str, str] = {}
        for name, value in self._list:
            self._first.setdefault(name.lower(), value)

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, slice):
            return Fields(self._list[key])
        return super().__getitem__(key)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self.found(key) is not None

    def get(self, key: str, default: Any = None, type: Any = None) -> Any:  # type: ignore[override]  # noqa: A002
        """Return the first value of a field, read by ``type`` if it is given, or the default."""
        found = self.found(key)
        if found is None:
            return default
        if type is None:
            return found
        try:
            return type(found)
        except ValueError:
            return default

    def getlist(self, key: str, type: Any = None) -> list[Any]:  # noqa: A002
        """Return all values of a field."""
        return super().getlist(key, type) if self.found(key) is not None else []

    def copy(self) -> Fields:
        """Return the same fields."""
        return Fields(self._list)

    def found(self, key: str) -> str | None:
        """Return the first value of a field, or None."""
        return self._first.get(key.lower())


class Request(Discreet, frozen=True):
    """A request as every part of deferit sees it.

    ``path`` is decoded and begins behind the application's root; ``query`` is raw, without ``?``; ``headers`` is a
    multi-dict that ignores case; ``scope`` is the raw ASGI scope or WSGI environ; ``root_url`` is ``scheme://host``
    with the application's root path, without a slash at its end. ``repr`` shows no header: it may be logged.
    """

    HIDDEN = frozenset({"headers", "scope"})

    method: str
    path: str
    query: str
    headers: Headers
    scope: Mapping[str, Any]
    root_url: str

    @property
    def url(self) -> str:
        """The absolute URL that was asked for."""
        return self.url_at(self.root_url)

    def url_at(self, root_url: str) -> str:
        """Return the same URL of an application that has this root."""
        return root_url + _quoted(self.path) + (f"?{self.query}" if self.query else "")


@lru_cache(256)
def _quoted(path: str) -> str:
    return quote(path, errors="surrogatepass")


class Body(ABC):
    """A body that is made while it is sent; its ``length`` in bytes is None where nobody can know it."""

    length: int | None

    @abstractmethod
    def steps(self) -> Generator[Any, Any, None]:
        """Yield effects, to be answered, and between them bytes, to be sent."""


class Response(msgspec.Struct, frozen=True):
    """An answer: a status code, header fields and a body."""

    status: int
    headers: Pairs = ()
    body: bytes | Body = b""

    @property
    def length(self) -> int | None:
        """Bytes in the body, if they can be known."""
        return len(self.body) if isinstance(self.body, bytes) else self.body.length

    def header(self, name: str) -> str | None:
        """Return the first value of a field, or None."""
        return first(self.headers, name)


def listed(headers: Headers, name: str) -> str:
    """Return all members of a list, which may come on several lines (RFC 9110 §5.3), on one line."""
    return ", ".join(headers.getlist(name))


def is_host(text: str) -> bool:
    """Whether a text can stand in a URL as host and port (RFC 3986 §3.2.2), whoever it names."""
    return _HOST.fullmatch(text) is not None


_HOST = re.compile(r"[0-9A-Za-z._~!$&'()*+,;=%:\[\]-]{1,1024}")


def first(pairs: Pairs, name: str) -> str | None:
    """Return the first value of a field, whatever the case of its name, or None."""
    wanted = name.lower()
    for key, value in pairs:
        if key.lower() == wanted:
            return value
    return None


def every(pairs: Pairs, name: str) -> list[str]:
    """Return all values of a field, whatever the case of its name."""
    wanted = name.lower()
    return [value for key, value in pairs if key.lower() == wanted]


def without(pairs: Pairs, names: frozenset[str]) -> Pairs:
    """Return the fields whose lower-case name is not among ``names``."""
    return tuple([pair for pair in pairs if pair[0].lower() not in names])


def merged(pairs: Pairs, name: str, members: tuple[str, ...]) -> Pairs:
    """Return the fields with ``members`` added to the list-valued field ``name``, each once."""
    wanted, joined = name.lower(), ", ".join(members)
    present = every(pairs, name)
    if not present:
        return (*pairs, (name, joined)) if members else pairs
    if present == [joined]:
        return pairs
    known = [member.strip() for value in present for member in value.split(",") if member.strip()]
    lower = {member.lower() for member in known}
    if "*" in lower or all(member.lower() in lower for member in members):
        return pairs
    known += [member for member in members if member.lower() not in lower]
    return (*without(pairs, frozenset({wanted})), (name, ", ".join(known)))


json_bytes = msgspec.json.Encoder().encode
"""Return a JSON document, as bytes."""
