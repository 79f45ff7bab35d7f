"""The status page: where one job stands, for people."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from deferit.pages import words
from deferit.pages.frame import again_after, framed, on_to, read
from deferit.pages.places import MONITOR, Place

if TYPE_CHECKING:
    from collections.abc import Mapping

    Document = Mapping[str, Any]

CONTENT = read("status.html")

HEADLINES = {
    "accepted": "Waiting",
    "running": "Running",
    "succeeded": "Done",
    "failed": "Failed",
    "canceled": "Canceled",
}

GUARANTEES = {
    "never started": "It was never started.",
    "stopped": "It was stopped.",
    "asked to stop": "It was asked to stop, and may take a moment to do so.",
}
"""What the contract's phrases for a cancel mean."""


def status_page(document: Document, now: str, place: Place = MONITOR, text: str = "") -> bytes:
    """Return the page of a status document; ``text`` is its result, where that can be read."""
    retry_after = document.get("retryAfter")
    left = _left(document, now)
    headline = HEADLINES[document["status"]]
    progress = document.get("progress")
    percent = f"{progress} %" if progress is not None and not document["done"] else ""
    refresh = on_to(document["monitorUrl"]) if place.moves_on else again_after(retry_after)
    said = (headline, percent, document.get("message"), left)
    return framed(
        "status",
        title=" · ".join(filter(None, (percent, headline))),
        summary=". ".join(part for part in said if part),
        content=_content(document, headline, percent, left, text) + _onward(document, place),
        refresh=refresh,
        attributes={
            "status": document["status"],
            "refresh": retry_after,
            "events": document.get("eventsUrl") if place.is_streaming else None,
            "url": document["monitorUrl"] if place.is_result or place.moves_on else None,
            "reload": "yes" if place.is_result else None,
        },
    )


def _content(document: Document, headline: str, percent: str, left: str, text: str) -> Markup:
    return CONTENT.format(
        status=document["status"],
        headline=headline,
        sentence=_sentence(document),
        bar=_bar(document, percent),
        left=Markup('<p id="left">{}</p>').format(left) if left else "",
        result=_result(document, text),
        facts=_facts(document),
        cancel=_cancel(document),
        id=document["id"],
    )


def _onward(document: Document, place: Place) -> Markup:
    """Return a link to the monitor, for those who have told their browser not to follow by itself."""
    if not place.moves_on:
        return Markup("")
    return Markup('<p id="onward"><a href="{}">Follow this job</a></p>').format(
        document["monitorUrl"]
    )


def _left(document: Document, now: str) -> str:
    """Return what there is to say of the time: the rest of it, or the queue."""
    if "estimatedCompletion" not in document:
        return ""
    likely = words.seconds_between(now, document["estimatedCompletion"])
    latest = words.seconds_between(now, document["estimatedCompletionLatest"])
    said = words.left(likely, latest)
    return said[0].upper() + said[1:]


def _sentence(document: Document) -> str:
    """Return what the handler says, or what became of it."""
    error = document.get("error")
    message: str = error["message"] if error else document.get("message", "")
    if document["status"] == "canceled":
        return GUARANTEES.get(error["detail"] if error else "", message)
    return message or _queue(document)


def _queue(document: Document) -> str:
    """Return the job's place in the queue."""
    position = document.get("queuePosition")
    if position is None:
        return ""
    if position == 0:
        return "No other job is ahead of it."
    return "1 job is ahead of it." if position == 1 else f"{position} jobs are ahead of it."


def _bar(document: Document, percent: str) -> Markup:
    """Return the progress of a job that is not finished; without a value the bar only says that something goes on."""
    if document["done"]:
        return Markup("")
    if percent:
        bar = Markup('<progress id="bar" aria-label="Progress" max="100" value="{}"></progress>')
        shown = Markup('<span id="percent" aria-hidden="true">{}</span>').format(percent)
        return Markup('<div id="progress">{}{}</div>').format(
            bar.format(document["progress"]), shown
        )
    if document["status"] == "accepted":
        return Markup("")
    return Markup(
        '<div id="progress"><progress id="moving" aria-label="Progress"></progress></div>'
    )


def _result(document: Document, text: str) -> Markup:
    """Return the handler's answer: itself, or what leads to it."""
    if "resultStatus" not in document:
        return Markup("")
    told = [document.get("resultType", "").partition(";")[0], words.size(document["resultLength"])]
    if document["resultStatus"] != 200:  # noqa: PLR2004
        told.insert(0, f"status {document['resultStatus']}")
    shown = Markup("")
    if text:
        shown = Markup('<pre id="text" tabindex="0" role="group" aria-label="Result">{}</pre>')
        shown = shown.format(pretty(text, document.get("resultType", "")))
    return Markup(
        '<section id="result" aria-label="Result">{shown}<p class="actions">'
        '<a class="button primary" href="{url}">Open the {name}</a> '
        '<a class="button" href="{url}" download>Download</a></p>'
        '<p class="aside">{told}</p></section>'
    ).format(
        shown=shown,
        url=document["resultUrl"],
        name="answer" if "error" in document else "result",
        told=" · ".join(filter(None, told)),
    )


def pretty(text: str, content_type: str) -> str:
    """Return JSON indented, and anything else as it is."""
    if "json" not in content_type:
        return text
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return text


def _facts(document: Document) -> Markup:
    facts = [("Accepted", words.instant(document["created"]))]
    facts += [
        (name, words.instant(document[member]))
        for name, member in (("Started", "started"), ("Finished", "finished"))
        if member in document
    ]
    if "started" in document and "finished" in document:
        span = words.seconds_between(document["started"], document["finished"])
        facts.append(("Took", Markup(words.took(span))))  # noqa: S704  our own words
    if "estimatedCompletion" in document:
        facts.append(("Expected", words.instant(document["estimatedCompletion"])))
    if document.get("message") and (queue := _queue(document)):
        facts.append(("Queue", Markup.escape(queue)))
    if document.get("attempt", 0) > 1:
        facts.append(("Attempt", Markup.escape(document["attempt"])))
    if "expires" in document:
        facts.append(("Kept until", words.instant(document["expires"])))
    return Markup("").join(
        Markup('<div id="fact-{}"><dt>{}</dt><dd>{}</dd></div>').format(
            name.split()[0].lower(), name, value
        )
        for name, value in facts
    )


def _cancel(document: Document) -> Markup:
    if "cancelUrl" not in document:
        return Markup("")
    return Markup(
        '<form id="cancel" class="cancel" method="post" action="{}"><button>Cancel</button></form>'
    ).format(document["cancelUrl"])
