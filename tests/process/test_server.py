"""Whether a process is about to end is known from what hears the signal."""

from __future__ import annotations

import logging
import signal

from deferit._process.server import is_stopping
from deferit.worker_command import _Work


def test_a_worker_that_was_told_to_end_is_stopping_before_it_has_begun_to() -> None:
    work = _Work("shop:app", None, logging.NullHandler(), drain=False)
    before = signal.signal(signal.SIGTERM, work._hear)
    try:
        was_stopping = is_stopping()
        signal.raise_signal(signal.SIGTERM)
        is_told = is_stopping()
    finally:
        signal.signal(signal.SIGTERM, before)
        work._arrivals.close()
        work._arrived.close()

    assert (was_stopping, is_told) == (False, True)
