"""Whether the server that this process belongs to was told to stop: only it hears the signal."""

from __future__ import annotations

import signal
import time

SETTLED = 0.05
"""Seconds in which it is not looked anew whose the handler is: Python takes ten microseconds to say so."""


class Server:
    """The server around an engine, if it is one that tells."""

    def __init__(self) -> None:
        self._found: object = None
        self._look_at = 0.0

    def is_stopping(self) -> bool:
        """Return True once it ends in good order, long before it says so to its applications; from any thread.

        A server's own handler of SIGTERM is a method of the object that knows: of uvicorn's ``Server``, whose
        ``should_exit`` it sets, or of gunicorn's ``Worker``, whose ``alive`` it clears. Of other servers nothing is
        known.
        """
        now = time.monotonic()
        if now >= self._look_at:
            self._found = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
            self._look_at = now + SETTLED
        found = self._found
        return found is not None and (
            getattr(found, "should_exit", False) is True or getattr(found, "alive", True) is False
        )
