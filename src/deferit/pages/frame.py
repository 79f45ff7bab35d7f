"""What the pages have in common: a frame with style and script in it, and the policy that lets nothing else in."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from importlib.resources import files
from typing import Any

from markupsafe import Markup


def read(name: str) -> Markup:
    """Return one of the files beside this module."""
    return Markup(files("deferit.pages").joinpath(name).read_text("utf-8"))  # noqa: S704  it is ours


FRAME, STYLE, SCRIPT = read("frame.html"), read("style.css"), read("live.js")


def _hash(inlined: str) -> str:
    digest = hashlib.sha256(inlined.encode()).digest()
    return f"'sha256-{b64encode(digest).decode()}'"


POLICY = "; ".join(
    (
        "default-src 'none'",
        f"script-src {_hash(SCRIPT)}",
        f"style-src {_hash(STYLE)}",
        "img-src data:",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
"""The Content-Security-Policy of every page: what stands in it runs, and nothing that was smuggled in (CSP Level 3)."""


def _version() -> str:
    """Return a digest of all that pages are made by: files as they are here, modules too."""
    digest = hashlib.sha256()
    for file in sorted(files("deferit.pages").iterdir(), key=lambda file: file.name):
        if file.name.endswith((".html", ".css", ".js", ".py")):
            digest.update(file.read_bytes())
    return digest.hexdigest()[:8]


VERSION = _version()
"""Part of every page's entity tag: a cached page of another release has a policy of its own."""


def framed(kind: str, *, title: str, summary: str, content: Markup, **more: Any) -> bytes:
    """Return a whole page; ``more`` is ``refresh``, an element of its head, and ``attributes`` for its script."""
    attributes = Markup("").join(
        Markup(' data-{}="{}"').format(name, value)
        for name, value in more.get("attributes", {}).items()
        if value
    )
    page = FRAME.format(
        kind=kind,
        title=title,
        summary=summary,
        content=content,
        attributes=attributes,
        refresh=more.get("refresh", ""),
        style=STYLE,
        script=SCRIPT,
    )
    return page.encode()


def again_after(seconds: int | None) -> Markup:
    """Return what has a browser without scripts ask again; one with scripts does so by itself."""
    if not seconds:
        return Markup("")
    return Markup('<noscript><meta http-equiv="refresh" content="{}"></noscript>').format(seconds)


def on_to(url: str) -> Markup:
    """Return what leads any browser on to another URL, in place of the present one."""
    return Markup('<meta http-equiv="refresh" content="0; url={}">').format(url)
