"""How a status document is shown: as JSON to programs, as a page to people."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header, parse_options_header

from deferit import pages
from deferit._core.http import first, json_bytes, listed
from deferit.pages.places import MONITOR, Place

if TYPE_CHECKING:
    from deferit._core.http import Pairs, Request
    from deferit._core.job import Job

JSON_TYPE, PAGE_TYPE, EVENTS_TYPE = "application/json", "text/html", "text/event-stream"

_JSON_FIELDS = (("Content-Type", JSON_TYPE),)


def preferred(request: Request) -> str:
    """Return the media type that a client likes best; JSON where it has no preference."""
    wanted = listed(request.headers, "Accept")
    if "text/" not in wanted.lower():
        return (
            JSON_TYPE  # most clients; werkzeug's parser takes as long as all the rest of the answer
        )
    accept = parse_accept_header(wanted, MIMEAccept)
    return accept.best_match([JSON_TYPE, PAGE_TYPE, EVENTS_TYPE], JSON_TYPE)


class Representation(ABC):
    """A way to show a status document; each has entity tags of its own (RFC 9110 §8.8.3.3)."""

    @property
    @abstractmethod
    def headers(self) -> Pairs:
        """The fields that speak of the body."""

    @abstractmethod
    def tag(self, job: Job) -> str:
        """Return the entity tag: the job's revision, weak while it is pending."""

    @abstractmethod
    def body(self, document: dict[str, Any], now: float) -> bytes:
        """Return the document as bytes."""


class Json(Representation):
    """The document itself."""

    @property
    def headers(self) -> Pairs:
        return _JSON_FIELDS

    def tag(self, job: Job) -> str:
        return _tag(job, "")

    def body(self, document: dict[str, Any], now: float) -> bytes:  # noqa: ARG002  it has no words for "now"
        return json_bytes(document)


@dataclass(frozen=True, slots=True)
class Page(Representation):
    """The page for people; ``text`` is the job's result, where a person can read it."""

    place: Place = MONITOR
    text: str = ""

    @property
    def headers(self) -> Pairs:
        return (
            ("Content-Type", f"{PAGE_TYPE}; charset=utf-8"),
            ("Content-Security-Policy", pages.POLICY),
        )

    def tag(self, job: Job) -> str:
        return _tag(job, f"-{pages.VERSION}")

    def body(self, document: dict[str, Any], now: float) -> bytes:
        return pages.status_page(
            document, datetime.fromtimestamp(now, UTC).isoformat(), self.place, self.text
        )


def _tag(job: Job, of: str) -> str:
    tag = f'"{job.revision}{of}"'
    return tag if job.is_finished else f"W/{tag}"


JSON = Json()


def representation(
    request: Request, *, moves_on: bool = False, is_result: bool = False
) -> Representation:
    """Return the way to show a status document that a client prefers.

    A WSGI server that answers one request after the other would be blocked by a stream of events: a page does without.
    """
    if preferred(request) != PAGE_TYPE:
        return JSON
    is_streaming = bool(request.scope.get("wsgi.multithread", True))
    return Page(Place(moves_on, is_result, is_streaming))


# --- what of a result is for reading ---------------------------------------------------------------------------------

LONGEST_TEXT = 32 * 1024
"""Bytes of a result that a page shows at the most: less than a piece."""

NOT_SHOWN = (("cache-control", "no-store"), ("content-disposition", "attachment"))
"""Fields of a result with words that keep it out of another page."""


def is_readable(job: Job) -> bool:
    """Whether a job's result is a short text for people to read, and nothing that a browser has to be kept from."""
    result = job.result
    if result is None or not 0 < result.length <= LONGEST_TEXT:
        return False
    if first(result.headers, "content-encoding"):
        return False
    if any(word in (first(result.headers, name) or "").lower() for name, word in NOT_SHOWN):
        return False
    kind, _ = parse_options_header(result.content_type)
    is_text = kind.startswith("text/") and kind != PAGE_TYPE
    return is_text or kind == JSON_TYPE or kind.endswith("+json")


def text_of(job: Job, body: bytes) -> str:
    """Return a result as text; nothing if it is not what it says."""
    assert job.result is not None
    _, parameters = parse_options_header(job.result.content_type)
    try:
        return body.decode(parameters.get("charset", "utf-8"))
    except (LookupError, ValueError):
        return ""
