"""Conditional requests: which state of a representation a client has, or means (RFC 9110 §13)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from werkzeug.http import parse_date, parse_etags

from deferit._core.http import listed

if TYPE_CHECKING:
    from werkzeug.datastructures import Headers


def is_met(asked: Headers, tag: str, modified: float | None, *, weakly: bool = False) -> bool:
    """Whether the representation is the one that the client means; the date counts only without a tag (§13.2.2).

    Where it is not, a server "MUST NOT perform the requested method" (§13.1.1). With ``weakly`` a weak tag will do,
    where it is the representation's own.
    """
    if asked.get("If-Match"):
        return _is_meant(tag, listed(asked, "If-Match"), weakly=weakly)
    until = asked.get("If-Unmodified-Since")
    return until is None or _is_as_old(modified, until) is not False


def _is_meant(tag: str, if_match: str, *, weakly: bool) -> bool:
    """Compare strongly (§13.1.1): a weak tag is never the same, unless it is taken ``weakly``."""
    if if_match.strip() == "*":
        return True
    return (weakly or not tag.startswith("W/")) and tag in _TAG.findall(if_match)


_TAG = re.compile(r'(?:W/)?"[^"]*"')


def has(asked: Headers, tag: str, modified: float | None) -> bool:
    """Whether the client has this representation; the date counts only without a tag (§13.2.2)."""
    if asked.get("If-None-Match"):
        return is_known(tag, listed(asked, "If-None-Match"))
    since = asked.get("If-Modified-Since")
    return since is not None and _is_as_old(modified, since) is True


def is_known(tag: str, if_none_match: str) -> bool:
    """Whether the client has this representation (weak comparison, §13.1.2)."""
    known = parse_etags(if_none_match)
    return known.contains_raw(tag) or known.contains_weak(_opaque(tag))


def _opaque(tag: str) -> str:
    return tag.removeprefix("W/").strip('"')


def _is_as_old(modified: float | None, date: str) -> bool | None:
    """Whether it was not modified since a date; None: that is not known, or it is no date."""
    since = instant(date)
    if since is None or modified is None:
        return None
    return int(modified) <= since


def instant(text: str | None) -> float | None:
    """Return the instant of an HTTP date; None if there is none that can be read."""
    if text is None:
        return None
    try:
        date = parse_date(text)
    except (ValueError, OverflowError):  # a year of a hundred digits
        return None
    return None if date is None else date.timestamp()
