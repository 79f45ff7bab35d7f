"""``deferit jobs``: the jobs in a store, of everybody, without the application."""

from __future__ import annotations

import json as jsonlib
import sys
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, cast

from cyclopts import App, Parameter
from msgspec.structs import asdict, replace
from rich.console import Console
from rich.table import Table

from deferit._core.commands import Cancel, Purge
from deferit._core.job import Job, Status
from deferit._core.queries import Get, List
from deferit.cli.endings import Ending
from deferit.cli.words import printable
from deferit.exceptions import JobNotFound, OptionError, StoreUnavailable
from deferit.stores import store_from_url
from deferit.stores._sqlite_file import DatabaseFile
from deferit.stores.sqlite import SQLiteStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deferit.stores.base import Store

PAGE = 100
"""Jobs that are read at once."""

INTERFACES = ("asgi", "wsgi")

TOLD = (
    "id",
    "application",
    "route",
    "method",
    "owner",
    "status",
    "progress",
    "message",
    "attempt",
    "tries",
    "retries",
    "losses",
    "repeatable",
    "created_at",
    "updated_at",
    "due_at",
    "started_at",
    "finished_at",
    "expires_at",
)
"""What is told of a job, beside its result and its error."""

app = App(
    name="jobs",
    help="Look at the jobs in a store, cancel them, forget them. For operators: of every owner.",
)

StoreUrl = Annotated[
    str,
    Parameter(
        name=("--store", "-s"),
        env_var="DEFERIT_STORE",
        show_default=True,
        help="Where the jobs are, as the application has it in its option store.",
    ),
]
AsJSON = Annotated[bool, Parameter(help="Print JSON.")]
DEFAULT = "sqlite:///deferit.db"


@app.command
def ls(
    *,
    store: StoreUrl = DEFAULT,
    application: Annotated[
        str,
        Parameter(name=("--application", "-a"), env_var="DEFERIT_APPLICATION", show_default=True),
    ] = "default",
    status: Status | None = None,
    route: str | None = None,
    owner: str | None = None,
    limit: Annotated[int, Parameter(name=("--limit", "-n"), show_default=True)] = 20,
    json: AsJSON = False,
) -> int:
    """List jobs, newest first.

    Args:
        application: The name of the application, as in its option.
        status: Only jobs that are in this status.
        route: Only jobs of this route, as it is listed.
        owner: Only jobs of this owner.
        limit: How many.
    """
    with opened(store) as found:
        names = (
            [application]
            if ":" in application
            else [f"{name}:{application}" for name in INTERFACES]
        )
        jobs = [
            job
            for name in names
            for job in islice(every(found, List(name, owner, status, PAGE, None, route)), limit)
        ]
    jobs = sorted(jobs, key=lambda job: job.id, reverse=True)[:limit]
    _print(jobs, as_json=json)
    return Ending.WELL


@app.command
def show(job_id: str, /, *, store: StoreUrl = DEFAULT, json: AsJSON = False) -> int:
    """Show all that the store has of a job, but for its request and its result's body.

    Args:
        job_id: The id of the job.
    """
    with opened(store) as found:
        members = described(get(found, job_id))
    if json:
        _write(jsonlib.dumps(members, indent=2))
    else:
        for name, value in members.items():
            _write(
                f"{name:>12}  {printable(value if isinstance(value, str) else jsonlib.dumps(value))}"
            )
    return Ending.WELL


@app.command
def cancel(*job_id: str, store: StoreUrl = DEFAULT, json: AsJSON = False) -> int:
    """Cancel jobs. One that runs is asked to stop: its worker hears of it within seconds.

    Args:
        job_id: The ids of the jobs.
    """
    with opened(store) as found:
        outcomes = [_attempted(found, one, _cancel) for one in _some(job_id)]
    return _tell(outcomes, as_json=json)


@app.command
def purge(*job_id: str, store: StoreUrl = DEFAULT, json: AsJSON = False) -> int:
    """Forget finished jobs, with their results: their URLs are 404 from now on.

    Args:
        job_id: The ids of the jobs.
    """
    with opened(store) as found:
        outcomes = [_attempted(found, one, _purge) for one in _some(job_id)]
    return _tell(outcomes, as_json=json)


@contextmanager
def opened(url: str) -> Iterator[Store]:
    """Open a store that is there; this never makes one.

    Raises:
        OptionError: nobody else can see into it, or there is none.
        StoreUnavailable: it cannot be opened.
    """
    store = store_from_url(url)
    if not store.is_shared:
        raise OptionError(
            f"--store {url}: that is inside the processes of the application; name a file or a server"
        )
    path = DatabaseFile(url).path if isinstance(store, SQLiteStore) else None
    if path and not path.exists():
        raise StoreUnavailable(
            url, f"there is no file {path}; name the one that the application has"
        )
    store.check()
    store.open()
    try:
        yield store
    finally:
        store.close()


def every(store: Store, query: List) -> Iterator[Job]:
    """Yield the jobs that a query finds, page by page."""
    before = query.before
    while True:
        page = cast("tuple[Job, ...]", store.read(replace(query, before=before)))
        yield from page
        if len(page) < query.limit:
            return
        before = page[-1].id


def get(store: Store, job_id: str) -> Job:
    """Return a job.

    Raises:
        JobNotFound: there is none.
    """
    return cast("Job", store.read(Get(job_id)))


def described(job: Job) -> dict[str, Any]:
    """Return what is known of a job, without what may be secret: no header of its request or result, no key."""
    members = {name: getattr(job, name) for name in TOLD}
    if job.result:
        members["result"] = {"status": job.result.status, "length": job.result.length}
    if job.error:
        members["error"] = asdict(job.error)
    return {
        name: _time(value) if name.endswith("_at") else value
        for name, value in members.items()
        if value not in (None, "")
    }


def _time(instant: float) -> str:
    return datetime.fromtimestamp(instant, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _some(job_ids: tuple[str, ...]) -> tuple[str, ...]:
    if not job_ids:
        raise OptionError("no job is named; write one or more ids, as 'deferit jobs ls' shows them")
    return job_ids


def _attempted(store: Store, job_id: str, act: Any) -> tuple[str, str, bool]:
    """Return the id, what became of it, and whether that is what was wanted."""
    try:
        return job_id, *act(store, get(store, job_id))
    except JobNotFound as exc:
        return job_id, str(exc), False


def _cancel(store: Store, job: Job) -> tuple[str, bool]:
    while not job.is_finished:
        detail = "never started" if job.status is Status.ACCEPTED else "asked to stop"
        job = _executed(store, Cancel(job.id, job.attempt, time.time(), detail))
        if job.status is Status.CANCELED:
            return f"canceled, {detail}", True
    return f"is {job.status} already", job.status is Status.CANCELED


def _purge(store: Store, job: Job) -> tuple[str, bool]:
    if not job.is_finished:
        return f"is {job.status}; cancel it first", False
    is_gone = _executed(store, Purge(job.id, job.revision))
    return ("purged" if is_gone else "has changed meanwhile; try again"), bool(is_gone)


def _executed(store: Store, command: Cancel | Purge) -> Any:
    (answer,) = store.execute([command])
    if isinstance(answer, Exception):
        raise answer
    return answer


def _tell(outcomes: list[tuple[str, str, bool]], *, as_json: bool) -> int:
    if as_json:
        members = [{"id": one, "outcome": words, "done": done} for one, words, done in outcomes]
        _write(jsonlib.dumps(members, indent=2))
    else:
        for one, words, _ in outcomes:
            _write(f"{printable(one)}  {words}")
    return Ending.WELL if all(done for *_, done in outcomes) else Ending.FAILED


def _print(jobs: list[Job], *, as_json: bool) -> None:
    if as_json:
        _write(jsonlib.dumps([described(job) for job in jobs], indent=2))
    elif sys.stdout.isatty():
        Console(highlight=False).print(_table(jobs))
    else:
        for job in jobs:
            _write("\t".join(_row(job)))


def _table(jobs: list[Job]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("id", "status", "%", "created", "owner", "route"):
        table.add_column(name, no_wrap=name in {"id", "status", "%"}, overflow="fold")
    for job in jobs:
        table.add_row(*_row(job))
    return table


def _row(job: Job) -> tuple[str, ...]:
    progress = "" if job.progress is None else str(job.progress)
    created = _time(job.created_at)
    return job.id, job.status, progress, created, printable(job.owner or ""), printable(job.route)


def _write(text: str) -> None:
    sys.stdout.write(f"{text}\n")
