"""What may be wrong with how an application uses deferit: decided from facts that somebody else has gathered."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from deferit.exceptions import HOW_TO_WRAP

SAFE = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"})
"""Methods that may be repeated (RFC 9110 §9.2.2)."""

NETWORK_DISKS = frozenset(
    {"9p", "afs", "ceph", "cifs", "fuse.sshfs", "nfs", "nfs4", "smb3", "smbfs"}
)
"""File systems on which SQLite's write-ahead log does not work (sqlite.org/wal.html, "Overview", 3)."""

SKEW = 60.0
"""Seconds by which clocks may differ before it is worth a word."""


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    """As it should be."""
    WARNING = "warning"
    """It may be meant, and should be known."""
    PROBLEM = "problem"
    """It does not work, or not safely."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found, and what to do about it."""

    level: Level
    check: str
    found: str
    advice: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Marked:
    """A deferred handler or route: its name, the methods it is reached by, and how it may be started again."""

    name: str
    methods: frozenset[str]
    repeatable: bool = False
    retries: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreFacts:
    """What is so about a store; what is None is not known or does not apply."""

    url: str
    is_shared: bool = True
    error: str | None = None
    is_synchronous: bool = True
    mode: int | None = None
    disk: str | None = None
    newest: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is so about an application and where it runs."""

    middlewares: int
    marked: tuple[Marked, ...] = ()
    store: StoreFacts | None = None
    base_url: str | None = None
    workers: tuple[str, int] | None = None
    """Who says how many, and how many."""
    proxy: str | None = None
    """What suggests that a proxy is in front."""
    trusts_proxy: bool = False
    """Whether a layer of the application reads the headers of the proxy."""
    is_readable: bool = True
    """Whether the handlers of the application could be looked through."""
    ignored: tuple[str, ...] = ()
    """Variables of the environment that look like options, and name none."""
    now: float = 0.0


Check = Callable[[Facts], Iterator[Finding]]


def examined(facts: Facts) -> list[Finding]:
    """Return the findings of all checks, those of one check together."""
    return [finding for check in CHECKS for finding in check(facts)]


def middleware(facts: Facts) -> Iterator[Finding]:
    """There is one middleware, and it has something to do."""
    add = f"add {HOW_TO_WRAP}"
    names = ", ".join(marked.name for marked in facts.marked)
    if facts.middlewares == 0 and facts.marked:
        yield Finding(
            Level.PROBLEM,
            "middleware",
            f"none is around the application, so nothing is deferred of {names}",
            add,
        )
    elif facts.middlewares == 0:
        yield Finding(Level.PROBLEM, "middleware", "none was found in the application's stack", add)
    elif facts.middlewares > 1:
        found = f"there are {facts.middlewares}, one within another; each would defer what the other replays"
        yield Finding(Level.PROBLEM, "middleware", found, "keep one")
    elif not facts.marked and facts.is_readable:
        found = "it is there, but no handler is marked and no route is configured"
        yield Finding(
            Level.WARNING,
            "middleware",
            found,
            "mark slow handlers with @deferred, or give routes=[…]",
        )
    else:
        found = f"it is around the application, and defers {names or 'what is marked'}"
        yield Finding(Level.OK, "middleware", found)


def store(facts: Facts) -> Iterator[Finding]:
    """The store can be reached, and keeps what it is given."""
    found = facts.store
    if found is None:
        return
    if found.error:
        yield Finding(
            Level.PROBLEM,
            "store",
            found.error,
            "see to that, or name another with the option store",
        )
    elif not found.is_shared:
        words = f"{found.url} forgets all jobs when the process ends"
        yield Finding(
            Level.WARNING,
            "store",
            words,
            "for all but tests name a file: store='sqlite:///jobs.db'",
        )
    elif not found.is_synchronous:
        words = f"{found.url} may lose the last jobs in a power cut, though their 202 was sent"
        yield Finding(
            Level.WARNING, "store", words, "leave out ?synchronous=normal if that is not meant"
        )
    else:
        yield Finding(
            Level.OK, "store", f"{found.url} can be reached, and commits before it says so"
        )


def workers(facts: Facts) -> Iterator[Finding]:
    """Several processes have one store."""
    if facts.store is None or facts.store.is_shared or facts.workers is None:
        return
    source, count = facts.workers
    if count > 1:
        found = f"{source} says {count} processes, each of which has a memory of its own: polls will meet 404"
        yield Finding(
            Level.PROBLEM,
            "workers",
            found,
            "name a file, store='sqlite:///jobs.db', or run one process",
        )


def file(facts: Facts) -> Iterator[Finding]:
    """The file is private, and on a local disk."""
    found = facts.store
    if found is None:
        return
    if found.mode is not None and found.mode & 0o077:
        words = f"others on this machine may open {found.url} (mode {found.mode:04o}): it has captured requests in it"
        yield Finding(
            Level.PROBLEM, "file", words, "chmod 600 the file, and those ending in -wal and -shm"
        )
    if found.disk in NETWORK_DISKS:
        words = f"{found.url} lies on {found.disk}, where SQLite's log does not work and jobs may be lost"
        yield Finding(Level.PROBLEM, "file", words, "put it on a local disk")


def urls(facts: Facts) -> Iterator[Finding]:
    """Clients are sent to where they came from."""
    if facts.base_url is not None:
        yield Finding(Level.OK, "urls", f"monitors are at {facts.base_url}")
    elif facts.proxy and not facts.trusts_proxy:
        found = f"{facts.proxy}, so a proxy seems to be in front, and monitors may be named by its inner address"
        advice = (
            "give base_url='https://…', or have the server or ProxyFix read the proxy's headers"
        )
        yield Finding(Level.WARNING, "urls", found, advice)


def environment(facts: Facts) -> Iterator[Finding]:
    """What the environment says is heard."""
    for name in facts.ignored:
        found = f"{name} is set, and there is no option of that name"
        yield Finding(
            Level.WARNING,
            "environment",
            found,
            "write DEFERIT_ and the name of an option, in capitals, or take it away",
        )


def marks(facts: Facts) -> Iterator[Finding]:
    """What is started again is safe to repeat."""
    for marked in facts.marked:
        methods = ", ".join(sorted(marked.methods - SAFE))
        if methods and (marked.repeatable or marked.retries):
            mark = "repeatable=True" if marked.repeatable else f"retries={marked.retries}"
            found = f"{marked.name} is reached by {methods} and may be started again ({mark})"
            advice = "see that a second start does no harm, however far the first one came, or take the mark away"
            yield Finding(Level.WARNING, "marks", found, advice)


def clock(facts: Facts) -> Iterator[Finding]:
    """The clock has not been set back."""
    newest = facts.store.newest if facts.store else None
    if newest is not None and newest > facts.now + SKEW:
        found = f"the newest job in the store is {newest - facts.now:.0f} seconds in the future"
        yield Finding(
            Level.PROBLEM, "clock", found, "set the clock of this machine, and keep it set (NTP)"
        )


CHECKS: tuple[Check, ...] = (
    middleware,
    store,
    workers,
    file,
    urls,
    environment,
    marks,
    clock,
)
