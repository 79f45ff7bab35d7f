"""What all tests have: servers and workers that last as long as their process, eager threads, no clock for examples."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from tests.elsewhere import running
from tests.stores import places

if TYPE_CHECKING:
    from collections.abc import Iterator

# On a machine that does other things too, an example may take any time: it is not timed, as Hypothesis has it with CI.
settings.register_profile(
    "without a clock", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("without a clock")

# A shell starts what it puts into the background deaf to Ctrl-C; the programs that tests interrupt would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def what_lasts() -> Iterator[None]:
    """End the servers and the workers that any test has asked for."""
    yield
    running.close()
    places.close()


@pytest.fixture
def eager_threads() -> Iterator[None]:
    """Let threads change over as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)
