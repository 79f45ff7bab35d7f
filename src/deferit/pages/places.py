"""Where a status page stands, and what follows from that."""

from __future__ import annotations

import msgspec


class Place(msgspec.Struct, frozen=True, gc=False):
    """Where a status page stands."""

    moves_on: bool = False
    """It stands for another answer, and leads on to the monitor at once."""
    is_result: bool = False
    """It stands where the result will be."""
    is_streaming: bool = True
    """Whether the server can keep a stream of events open beside other requests."""


MONITOR = Place()
