"""The jobs page: an owner's jobs, or everybody's for an operator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import msgspec
from markupsafe import Markup

from deferit.pages import words
from deferit.pages.chart import charts, past
from deferit.pages.frame import again_after, framed, read
from deferit.pages.status import HEADLINES

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Mapping, Sequence

    from deferit.pages.chart import Run

CONTENT = read("jobs.html")

PAUSE = 5
"""Seconds between two looks at the list."""

PATIENCE = 30
"""Seconds after which a browser without scripts loads the page anew: it scrolls to the top each time."""


class Row(msgspec.Struct, frozen=True, gc=False):
    """A job on the page: its status document, its route, and, for operators, its owner."""

    document: Mapping[str, Any]
    route: str
    owner: str | None = None


class Newest(msgspec.Struct, frozen=True, gc=False):
    """What counts and charts are made of: the newest jobs, whatever the filter."""

    statuses: Counter[str]
    routes: frozenset[str]
    runs: tuple[Run, ...]
    limit: int
    """So many jobs were looked at, at the most."""


class Chosen(msgspec.Struct, frozen=True, gc=False):
    """What is shown of the list: a filter, and whether it begins with the newest."""

    url: str
    """The list without a query."""
    status: str = ""
    route: str = ""
    is_first: bool = True
    next_url: str | None = None
    is_everybodys: bool = False


def jobs_page(rows: Sequence[Row], newest: Newest, chosen: Chosen, now: float) -> bytes:
    """Return the page."""
    return framed(
        "jobs",
        title="Jobs",
        summary="",
        content=CONTENT.format(
            whose="of everybody" if chosen.is_everybodys else "",
            counts=_counts(newest, chosen),
            charts=charts(past(newest.runs, now)),
            url=chosen.url,
            statuses=_options(HEADLINES, chosen.status),
            routes=_options(
                {route: route for route in sorted(newest.routes | {chosen.route}) if route},
                chosen.route,
            ),
            rows=Markup("").join(_row(row) for row in rows) or _nothing(chosen),
            pager=_pager(chosen),
            limit=f"{newest.limit:,}",
        ),
        refresh=again_after(PATIENCE),
        attributes={"refresh": PAUSE, "pauses": "yes"},
    )


def _counts(newest: Newest, chosen: Chosen) -> Markup:
    """Return how many jobs have each status, as links that show those."""
    return Markup("").join(
        Markup(
            '<li id="count-{status}" class="{status}"><a href="{url}"{now}><b>{count}</b> {name}</a></li>'
        ).format(
            status=status,
            url=_url(chosen, "" if status == chosen.status else status),
            now=Markup(' aria-current="true"') if status == chosen.status else "",
            count=f"{newest.statuses[status]:,}",
            name=name,
        )
        for status, name in HEADLINES.items()
    )


def _url(chosen: Chosen, status: str) -> str:
    """Return the list of this status and the chosen route, from the newest on."""
    query = {"status": status, "route": chosen.route}
    given = urlencode({name: value for name, value in query.items() if value})
    return f"{chosen.url}?{given}" if given else chosen.url


def _options(names: Mapping[str, str], chosen: str) -> Markup:
    return Markup("").join(
        Markup('<option value="{}"{}>{}</option>').format(
            value, Markup(" selected") if value == chosen else "", name
        )
        for value, name in {"": "All", **names}.items()
    )


def _row(row: Row) -> Markup:
    document = row.document
    name = row.route or "A job"
    owner = Markup('<span class="owner">{}</span>').format(row.owner) if row.owner else ""
    return Markup(
        '<li id="row-{id}" class="row {status}">'
        '<span class="badge">{headline}</span>'
        '<p class="what"><a href="{url}">{name}</a> <code>{short}</code>{owner}</p>'
        '<p class="when">{when}</p><p class="how" dir="auto">{how}</p>{cancel}</li>'
    ).format(
        id=document["id"],
        status=document["status"],
        headline=HEADLINES[document["status"]],
        url=document["monitorUrl"],
        name=name,
        short="…" + document["id"][-6:],
        owner=owner,
        when=words.instant(document["created"]),
        how=_how(document),
        cancel=_cancel(document, name),
    )


def _how(document: Mapping[str, Any]) -> str:
    """Return how far a job is, or how long it took and why it failed."""
    if not document["done"]:
        percent = f"{document['progress']} %" if "progress" in document else ""
        return " · ".join(filter(None, (percent, document.get("message"))))
    span = ""
    if "started" in document:
        span = words.took(words.seconds_between(document["started"], document["finished"]))
    reason = document["error"]["message"] if document["status"] == "failed" else ""
    return " · ".join(filter(None, (span, reason)))


def _cancel(document: Mapping[str, Any], name: str) -> Markup:
    if "cancelUrl" not in document:
        return Markup("")
    return Markup(
        '<form class="cancel" method="post" action="{}">'
        '<button id="cancel-{}" aria-label="Cancel {}">Cancel</button></form>'
    ).format(document["cancelUrl"], document["id"], name)


def _nothing(chosen: Chosen) -> Markup:
    text = "There are no such jobs." if chosen.status or chosen.route else "There are no jobs yet."
    return Markup('<li id="nothing">{}</li>').format(text)


def _pager(chosen: Chosen) -> Markup:
    links = Markup("")
    if not chosen.is_first:
        links += Markup('<a id="to-newest" class="button" href="{}">Newest</a> ').format(
            _url(chosen, chosen.status)
        )
    if chosen.next_url:
        links += Markup('<a id="to-older" class="button" rel="next" href="{}">Older</a>').format(
            chosen.next_url
        )
    return Markup('<nav id="pager" aria-label="Pages">{}</nav>').format(links) if links else links
