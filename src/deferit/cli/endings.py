"""How a command ends: its exit code, and what it complains of."""

from __future__ import annotations

import json
import sys
from enum import IntEnum

import httpx

from deferit.cli.words import printable
from deferit.exceptions import (
    FollowError,
    FollowTimeout,
    JobFailed,
    JobNotFound,
    JobWasCanceled,
    MonitorLost,
    OptionError,
    StoreUnavailable,
)


class Ending(IntEnum):
    """An exit code."""

    WELL = 0
    """The job has succeeded, and its result is below 400; whatever was asked for is done."""
    FAILED = 1
    """The job has failed, or its result is 400 or more; there is no such job; a check has found a problem."""
    USAGE = 2
    """The command line, or what it names, cannot be used."""
    CANCELED = 3
    """Somebody has canceled the job."""
    UNREACHABLE = 4
    """The time is over, or the server or the store cannot be reached."""
    INTERRUPTED = 130
    """Ctrl-C."""


_ENDINGS: tuple[tuple[type[Exception] | tuple[type[Exception], ...], Ending], ...] = (
    ((OptionError, httpx.InvalidURL, httpx.UnsupportedProtocol), Ending.USAGE),
    ((JobFailed, JobNotFound), Ending.FAILED),
    (JobWasCanceled, Ending.CANCELED),
    (
        (FollowTimeout, MonitorLost, StoreUnavailable, httpx.TransportError, OSError),
        Ending.UNREACHABLE,
    ),
)


def ending_of(exc: Exception) -> Ending | None:
    """Return how a command ends that raised; None for what nobody expects, which is shown with its traceback."""
    return next((ending for kinds, ending in _ENDINGS if isinstance(exc, kinds)), None)


def complaint(exc: Exception, *, as_json: bool) -> None:
    """Say on stderr what went wrong, and what to do."""
    sys.stderr.write(f"{_as_json(exc) if as_json else _as_text(exc)}\n")


def _as_text(exc: Exception) -> str:
    words = printable(str(exc)) or type(exc).__name__
    if isinstance(exc, FollowTimeout | MonitorLost):
        words = words.partition("; wait(")[0]
        return f"deferit: {words}\nTo go on: deferit wait {printable(exc.url)}"
    if isinstance(exc, httpx.TransportError):
        return f"deferit: {printable(str(exc.request.url))} cannot be reached: {words}"
    return f"deferit: {words}"


def _as_json(exc: Exception) -> str:
    members = {"error": type(exc).__name__, "message": str(exc)}
    if isinstance(exc, FollowError):
        members["monitorUrl"] = exc.url
    return json.dumps(members)
