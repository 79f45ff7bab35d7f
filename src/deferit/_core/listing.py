"""The list of jobs: an owner's own, or everybody's for an operator; as JSON, and as a page for people."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode

import msgspec

from deferit import pages
from deferit._core.document import status_document
from deferit._core.effects import Now
from deferit._core.http import GUARDED, Response, json_bytes
from deferit._core.ids import is_id
from deferit._core.job import Job, Status
from deferit._core.problems import method_not_allowed, problem
from deferit._core.queries import List
from deferit._core.representations import JSON, PAGE_TYPE, Page, preferred

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from deferit._core.document import Site
    from deferit._core.effects import Effect, Flow
    from deferit._core.visits import Visit

PAGE = 20
LONGEST_PAGE = 100
"""Jobs on a page of the list: without ``limit``, and at the most."""

NEWEST = 1_000
"""Jobs of which a page for people makes its counts and charts."""


class Wish(msgspec.Struct, frozen=True, gc=False):
    """Which part of the list is asked for."""

    status: Status | None = None
    limit: int = PAGE
    cursor: str | None = None
    route: str | None = None
    """Only on the page for people."""

    def query(self, cursor: str) -> str:
        """Return the query that asks for what comes behind a job."""
        given = {
            "status": self.status and self.status.value,
            "route": self.route,
            "limit": self.limit,
            "cursor": cursor,
        }
        return urlencode({name: value for name, value in given.items() if value})


class Part(msgspec.Struct, frozen=True, gc=False):
    """A part of the list, newest first, and what leads to the next one."""

    jobs: tuple[Job, ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    """Relations with their URLs."""


def list_jobs(visit: Visit) -> Flow:
    """GET P: the owner's jobs, newest first, so many at a time."""
    if visit.request.method not in {"GET", "HEAD"}:
        return method_not_allowed(("GET", "HEAD"))
    is_page = preferred(visit.request) == PAGE_TYPE
    try:
        wish = _wish(visit.request.query, is_page=is_page)
    except ValueError as exc:
        return problem("invalid-parameter", str(exc))
    newest = (yield from _found(visit, Wish(limit=NEWEST))) if is_page else ()
    is_start = is_page and wish == Wish()
    found = newest[: PAGE + 1] if is_start else (yield from _found(visit, wish))
    now: float = yield Now()
    part = _part(found, wish, visit.site, now)
    if is_page:
        return _page(part, newest, wish, visit, now)
    return _document(part, visit.site, now)


def _wish(query: str, *, is_page: bool) -> Wish:
    """Return what a query asks for; raises ValueError with a sentence for whoever wrote it.

    A form sends what was not chosen too, as an empty value.
    """
    given = {
        name: values[-1] for name, values in parse_qs(query, keep_blank_values=not is_page).items()
    }
    status = given.get("status")
    if status is not None and status not in set(Status):
        raise ValueError(f"status is one of {', '.join(Status)}.")
    limit = given.get("limit", str(PAGE))
    is_number = limit.isascii() and limit.isdigit() and len(limit) <= len(str(LONGEST_PAGE))
    if not is_number or not 1 <= int(limit) <= LONGEST_PAGE:
        raise ValueError(f"limit is a number from 1 to {LONGEST_PAGE}.")
    cursor = given.get("cursor")
    if cursor is not None and not is_id(cursor):
        raise ValueError(
            "cursor is what the link to the next page has; leave it out for the first."
        )
    route = given.get("route") if is_page else None
    return Wish(Status(status) if status else None, int(limit), cursor, route)


def _found(visit: Visit, wish: Wish) -> Generator[Effect, Any, tuple[Job, ...]]:
    """Return the jobs that are asked for and one more.

    Nobody has none: to a store no owner would mean everybody's.
    """
    if visit.owner is None and not visit.is_operator:
        return ()
    owner = None if visit.is_operator else visit.owner
    found: tuple[Job, ...] = yield List(
        visit.application, owner, wish.status, wish.limit + 1, wish.cursor, wish.route
    )
    return found


def _part(found: tuple[Job, ...], wish: Wish, site: Site, now: float) -> Part:
    jobs = tuple(job for job in found[: wish.limit] if not job.is_expired(now))
    if len(found) <= wish.limit:
        return Part(jobs)
    following = f"{site.mount_url}?{wish.query(found[wish.limit - 1].id)}"
    return Part(jobs, (("next", following),))


def _document(part: Part, site: Site, now: float) -> Response:
    members = {
        "jobs": [status_document(job, site, now, None) for job in part.jobs],
        "links": [{"rel": rel, "href": href} for rel, href in part.links],
    }
    return Response(200, (*JSON.headers, *_fields(part)), json_bytes(members))


def _fields(part: Part) -> tuple[tuple[str, str], ...]:
    link = tuple(("Link", f'<{href}>; rel="{rel}"') for rel, href in part.links)
    return (*link, ("Cache-Control", "private, no-store"), ("Vary", "Accept"), *GUARDED)


# --- for people ------------------------------------------------------------------------------------------------------


def _page(part: Part, newest: Sequence[Job], wish: Wish, visit: Visit, now: float) -> Response:
    rows = [
        pages.Row(
            status_document(job, visit.site, now, None),
            job.route,
            job.owner if visit.is_operator else None,
        )
        for job in part.jobs
    ]
    chosen = pages.Chosen(
        url=visit.site.mount_url,
        status=wish.status.value if wish.status else "",
        route=wish.route or "",
        is_first=wish.cursor is None,
        next_url=dict(part.links).get("next"),
        is_everybodys=visit.is_operator,
    )
    kept = [job for job in newest[:NEWEST] if not job.is_expired(now)]
    body = pages.jobs_page(rows, _counted(kept), chosen, now)
    return Response(200, (*Page().headers, *_fields(part)), body)


def _counted(jobs: Sequence[Job]) -> pages.Newest:
    return pages.Newest(
        statuses=Counter(job.status.value for job in jobs),
        routes=frozenset(job.route for job in jobs),
        runs=tuple(_run(job) for job in jobs if job.is_finished),
        limit=NEWEST,
    )


def _run(job: Job) -> pages.Run:
    assert job.finished_at is not None
    if job.started_at is None:
        return pages.Run(job.finished_at, job.status.value, None)
    return pages.Run(job.finished_at, job.status.value, max(0.0, job.finished_at - job.started_at))
