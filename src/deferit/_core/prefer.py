"""What a client prefers: the header field ``Prefer`` of RFC 7240."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from werkzeug.http import parse_list_header

if TYPE_CHECKING:
    from collections.abc import Iterable


class Prefer(msgspec.Struct, frozen=True, gc=False):
    """The preferences that deferit knows; ``wait`` is in seconds."""

    respond_async: bool = False
    wait: int | None = None
    minimal: bool = False


NOTHING = Prefer()


def parse(lines: Iterable[str]) -> Prefer:
    """Return what the field's lines say; members that cannot be read are dropped.

    "If any preference is specified more than once, only the first instance is to be considered" (RFC 7240 §2).
    """
    found: dict[str, str] = {}
    for member in parse_list_header(", ".join(lines)):
        name, _, value = member.partition(";")[0].partition("=")
        found.setdefault(name.strip().lower(), value.strip().strip('"'))
    if not found:
        return NOTHING
    return Prefer(
        respond_async=found.get("respond-async") == "",
        wait=_seconds(found.get("wait", "")),
        minimal=found.get("return", "").lower() == "minimal",
    )


def _seconds(text: str) -> int | None:
    """Return delta-seconds (RFC 9110 §10.2.3: ``1*DIGIT``), or None."""
    return int(text.lstrip("0")[:9] or "0") if text.isascii() and text.isdigit() else None
