"""URLs that may be called back: read strictly, so that no two readers can differ on what one means."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

LONGEST = 2048
"""Characters of a URL at the most."""

_PORTS = {"http": 80, "https": 443}
_LAST_PORT = 65_535
_CHARACTER = r"[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2}"
_URL = re.compile(
    r"(?P<scheme>[Hh][Tt][Tt][Pp][Ss]?)://"
    r"(?P<host>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])"
    r"(?::(?P<port>[0-9]{1,5}))?"
    rf"(?P<path>/(?:{_CHARACTER})*)?"
    rf"(?P<query>\?(?:{_CHARACTER}|\?)*)?",  # a star within a star would try all ways to divide a text
)
"""RFC 3986 without what only serves to mislead: userinfo, fragments, and all that is not ASCII."""


class Url(msgspec.Struct, frozen=True, gc=False):
    """An absolute URL in its parts; ``host`` is in lower case, without the brackets of an IPv6 address."""

    scheme: str
    host: str
    port: int
    path: str
    query: str

    @property
    def target(self) -> str:
        """What stands in the request line."""
        return (self.path or "/") + self.query

    @property
    def authority(self) -> str:
        """What stands in ``Host``."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    def is_below(self, prefix: Url) -> bool:
        """Whether this is a URL of the prefix's server, at its path or below."""
        if (self.scheme, self.host, self.port) != (prefix.scheme, prefix.host, prefix.port):
            return False
        path, base = self.path or "/", prefix.path or "/"
        return path == base or path.startswith(base if base.endswith("/") else f"{base}/")


def url_from(text: str) -> Url | None:
    """Return the parts of a URL, or None if there may be two opinions about them."""
    match = _URL.fullmatch(text) if len(text) <= LONGEST else None
    if match is None or _leads_astray(match["path"] or ""):
        return None
    scheme = match["scheme"].lower()
    port = int(match["port"] or _PORTS[scheme])
    if not 0 < port <= _LAST_PORT:
        return None
    host = match["host"].lower().strip("[]")
    return Url(scheme, host, port, match["path"] or "", match["query"] or "")


def _leads_astray(path: str) -> bool:
    """Whether a path has segments that say "here" or "up", in any disguise that a receiver may see through."""
    while (plain := unquote(path, "latin-1")) != path:
        path = plain
    return any(segment.partition(";")[0] in {".", ".."} for segment in re.split(r"[/\\]", path))


class AllowList:
    """Finds the signing secrets for a URL; of several prefixes the longest counts."""

    def __init__(self, secrets: Mapping[Url, tuple[str, ...]]) -> None:
        self._secrets = sorted(secrets.items(), key=lambda item: len(item[0].path), reverse=True)

    def secrets(self, text: str) -> tuple[str, ...] | None:
        """Return what a callback to this URL is signed with, or None if it is not allowed."""
        url = url_from(text)
        if url is None:
            return None
        return next((secrets for prefix, secrets in self._secrets if url.is_below(prefix)), None)
