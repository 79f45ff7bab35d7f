"""Reads what servers answer while a job goes on: which monitor they name, where its job stands, when to ask again."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urljoin, urlsplit

from werkzeug.http import parse_date

from deferit._core.job import FINISHED, Status

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CREATED = 201
ACCEPTED = 202
NOT_MODIFIED = 304

Document = dict[str, Any]
"""A status document as the server wrote it."""


class Fields(Protocol):
    """Header fields; names have no case, lines of one name are joined with commas."""

    def get(self, name: str, /) -> str | None:
        """Return the value of a field."""
        ...


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered, as far as following goes.

    ``at`` is when it came, by the clock of the deadline, ``date`` the same by the calendar, and ``seconds`` how long it
    took. ``document`` is the body if that is a JSON object; ``response`` is the client library's own object, for
    whoever asked.
    """

    status: int
    fields: Fields
    url: str
    at: float
    date: float = 0.0
    seconds: float = 0.0
    document: Document | None = None
    response: Any = None

    def field(self, name: str) -> str:
        """Return the value of a field, empty if there is none."""
        return self.fields.get(name) or ""


@dataclass(frozen=True, slots=True)
class Monitor:
    """Where to ask how a job goes on; ``is_explicit`` says that it is a monitor and nothing else.

    What is only a ``Location`` may as well become the result itself, whatever that looks like.
    """

    url: str
    is_explicit: bool


def monitor_of(answer: Answer) -> Monitor | None:
    """Return the monitor that a 202 names, None if it names none or is no 202.

    A 201 counts if it names an operation, as Azure's do, or says that the client's ``respond-async`` was honoured, as
    OGC API Processes has it.
    """
    operation = answer.field("Operation-Location") or answer.field("Azure-AsyncOperation")
    is_async = "respond-async" in answer.field("Preference-Applied").lower()
    if answer.status != ACCEPTED and not (answer.status == CREATED and (operation or is_async)):
        return None
    explicit = operation or next(_monitors(answer, is_stream=False), "")
    url = _absolute(answer.url, explicit or answer.field("Location"))
    return Monitor(url, is_explicit=bool(explicit)) if url else None


def location_of(answer: Answer) -> str | None:
    """Return where an answer's ``Location`` leads to."""
    return _absolute(answer.url, answer.field("Location"))


def _absolute(base: str, reference: str) -> str | None:
    if not reference:
        return None
    try:
        url = urljoin(base, reference)
        parts = urlsplit(url)
        is_complete = parts.hostname and parts.port != 0  # to ask for a port that is none raises
    except ValueError:
        return None
    return url if parts.scheme in {"http", "https"} and is_complete else None


_LINK = re.compile(r'<([^<>]*)>((?:\s*;\s*[\w!#$&+.^`|~*-]+\s*(?:=\s*(?:"[^"]*"|[^\s",;]*))?)*)')
_PARAMETER = re.compile(r';\s*([\w!#$&+.^`|~*-]+)\s*=\s*(?:"([^"]*)"|([^\s",;]*))')


def links(value: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Read a ``Link`` field (RFC 8288 §3): references with their parameters; what cannot be read is passed over."""
    for reference, rest in _LINK.findall(value):
        found: dict[str, str] = {}
        for name, quoted, plain in _PARAMETER.findall(rest):
            # "occurrences after the first MUST be ignored" (RFC 8288 §3.3)
            found.setdefault(name.lower(), quoted or plain)
        yield reference.strip(), found


def _monitors(answer: Answer, *, is_stream: bool) -> Iterator[str]:
    for reference, parameters in links(answer.field("Link")):
        is_monitor = "monitor" in parameters.get("rel", "").lower().split()
        if is_monitor and is_stream == parameters.get("type", "").startswith("text/event-stream"):
            yield reference


_WORDS = {
    Status.ACCEPTED: "accepted queued pending submitted notstarted created scheduled waiting",
    Status.RUNNING: "running inprogress processing started executing working",
    Status.SUCCEEDED: "succeeded successful success completed complete finished done",
    Status.FAILED: "failed failure error errored rejected timedout interrupted",
    Status.CANCELED: "canceled cancelled dismissed aborted revoked",
}
_STATUS = {word: status for status, words in _WORDS.items() for word in words.split()}


def word_of(document: Mapping[str, Any] | None) -> str | None:
    """Return the word by which a document says how things stand, if it has one.

    Most call it ``status``; resources of Azure have it in ``properties.provisioningState``.
    """
    if document is None:
        return None
    properties = document.get("properties")
    nested = properties.get("provisioningState") if isinstance(properties, dict) else None
    for word in (document.get("status"), document.get("state"), nested):
        if isinstance(word, str) and word:
            return word
    return None


def status_of(document: Mapping[str, Any] | None) -> Status | None:
    """Return where a job stands in deferit's words, whichever the server has; None for words of nobody we know."""
    word = word_of(document)
    return _STATUS.get(re.sub(r"[\s_-]", "", word).lower()) if word else None


def is_finished(document: Mapping[str, Any] | None) -> bool:
    """Whether a document says that nothing will follow."""
    return status_of(document) in FINISHED


def problem_of(document: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what a document says about what went wrong: its ``error`` if it has one, else what it says itself."""
    if document is None:
        return {}
    error = document.get("error")
    if isinstance(error, dict):
        return dict(error)
    if isinstance(error, str):
        return {"message": error}
    told = ("code", "message", "type", "title", "detail")
    return {name: document[name] for name in told if name in document}


def result_of(document: Mapping[str, Any], base: str) -> str | None:
    """Return the URL of the result, if a finished job's document names one.

    ``resourceLocation`` is Azure's; ``resultUrl`` counts where a response was recorded; OGC API Processes has a link.
    """
    found = document.get("resourceLocation")
    if not found and "resultStatus" in document:
        found = document.get("resultUrl")
    if not found:
        found = next(_result_links(document.get("links")), None)
    return _absolute(base, found) if isinstance(found, str) else None


def _result_links(found: object) -> Iterator[str]:
    for link in found if isinstance(found, list) else ():
        rel = str(link.get("rel", "")) if isinstance(link, dict) else ""
        # OGC 18-062r2 §7.13.1: http://www.opengis.net/def/rel/ogc/1.0/results
        if rel.rpartition("/")[2] in {"result", "results"}:
            yield str(link.get("href", ""))


def cancel_of(document: Mapping[str, Any] | None, base: str) -> str | None:
    """Return the URL that cancels the job, if the document names one."""
    found = document.get("cancelUrl") if document else None
    return _absolute(base, found) if isinstance(found, str) else None


def holds(answer: Answer) -> bool:
    """Whether a server says that it holds requests with ``Prefer: wait`` until there is news.

    Deferit's own monitors name a stream of events; others echo the preference.
    """
    has_events = "eventsUrl" in (answer.document or {}) or any(_monitors(answer, is_stream=True))
    return has_events or "wait" in answer.field("Preference-Applied").lower()


def retry_after(answer: Answer) -> float | None:
    """Return the seconds after which to ask again, as ``Retry-After`` says in seconds or as a date; None if it doesn't.

    A date is taken relative to the answer's own ``Date``, so that clocks need not agree.
    """
    value = answer.field("Retry-After").strip()
    if value.isascii() and value.isdigit():
        return float(min(int(value[:12]), LONGEST))
    when = parse_date(value) if value else None
    if when is None:
        return None
    sent = parse_date(answer.field("Date"))
    now = sent.timestamp() if sent else answer.date
    return max(0.0, when.timestamp() - now)


LONGEST = 10**9
"""Seconds: what a timer can still count."""
