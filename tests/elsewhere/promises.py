"""What the contract promises where handlers run in other processes, and which tests are about this process alone."""

from __future__ import annotations

import pytest
from tests.matrix import EXECUTOR

IS_HERE = EXECUTOR == "in-process"
"""Whether handlers run in the process of the tests."""

logs_here = pytest.mark.skipif(
    not IS_HERE, reason="who runs a job logs it, and that is another process"
)
sets_the_clock = pytest.mark.skipif(
    not IS_HERE, reason="it sets the clock, and another process has its own"
)
takes_turns = pytest.mark.skipif(
    EXECUTOR == "celery",
    reason="owners take turns in the store; what a broker has comes in its own order",
)
tells_its_handlers = pytest.mark.skipif(
    EXECUTOR in {"processes", "celery"}, reason="the process of a handler is killed, not told"
)
ends_here = pytest.mark.skipif(
    not IS_HERE, reason="what runs in another process goes on when this one ends"
)
of_this_loop = pytest.mark.skipif(
    not IS_HERE,
    reason="it is about handlers in the server's own event loop, and what they share with it",
)
has_own_application = pytest.mark.skipif(
    not IS_HERE, reason="its application stands in no slot that other processes know"
)


def needs_references(framework: str) -> None:
    """Skip a test whose handler needs an object that an outer layer has put into the scope."""
    if not IS_HERE and framework != "flask":
        pytest.skip("an object in the scope goes by reference, to handlers in the same process")


def begun_at_once() -> set[str]:
    """Return what a job may be a moment after it was accepted, with a free slot."""
    return {"running"} if IS_HERE else {"accepted", "running"}


def hears_of_a_cancel() -> bool:
    """Return whether a handler hears of a cancel, or of the end of its time; it cannot where its process is killed."""
    return EXECUTOR in {"in-process", "work"}


def after_cancel(here: str) -> str:
    """Return what a cancel says of a running handler: ``here``, if it runs in the web server's process."""
    elsewhere = {"processes": "stopped", "work": "asked to stop", "celery": "asked to stop"}
    return elsewhere.get(EXECUTOR, here)
