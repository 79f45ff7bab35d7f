"""Follows jobs with httpx or httpx2: of any server that answers 202 with a monitor, deferit's own among them.

`FollowTransport` makes a client that never sees a 202: its requests return what came of their jobs. `follow` yields the
status documents of a job, `wait` its result; both go on from a response, or from a monitor's URL after a restart.

Inside, ``flow`` decides, without I/O and clock, by what ``monitors`` reads; ``exchange`` performs that, with what
``requests`` makes. ``transports`` and ``jobs`` are what users see.
"""

from deferit.client.jobs import afollow, await_, follow, wait
from deferit.client.options import FollowOptions
from deferit.client.transports import AsyncFollowTransport, FollowTransport

__all__ = [
    "AsyncFollowTransport",
    "FollowOptions",
    "FollowTransport",
    "afollow",
    "await_",
    "follow",
    "wait",
]
