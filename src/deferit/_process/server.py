"""Whether the server that this process belongs to was told to stop: only it hears the signal."""

from __future__ import annotations

# `signal.getsignal` looks each handler up in an enumeration, where it is not: some 3 µs for each request.
from _signal import SIGTERM, getsignal  # type: ignore[import-not-found]  # pyright: ignore[reportMissingImports, reportUnknownVariableType]


def is_stopping() -> bool:
    """Return True once the server ends in good order, long before it says so to its applications; from any thread.

    A server's own handler of SIGTERM is a method of the object that knows: of uvicorn's ``Server``, whose
    ``should_exit`` it sets, or of gunicorn's ``Worker``, whose ``alive`` it clears; `deferit work` has one like
    uvicorn's. Of other servers nothing is known.
    """
    server = getattr(getsignal(SIGTERM), "__self__", None)
    return getattr(server, "should_exit", False) is True or getattr(server, "alive", True) is False
