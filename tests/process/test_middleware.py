"""A middleware has one engine in a process, whoever asks first."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TYPE_CHECKING

import pytest

from deferit import WSGIMiddleware

if TYPE_CHECKING:
    from deferit._process.engine import Engine

TIMES, ABREAST = 200, 4


@pytest.mark.usefixtures("eager_threads")
def test_first_requests_that_come_together_find_the_same_engine() -> None:
    start = Barrier(ABREAST)

    def ask(middleware: WSGIMiddleware) -> Engine:
        start.wait()
        return middleware.engine

    with ThreadPoolExecutor(ABREAST) as threads:
        for _ in range(TIMES):
            middleware = WSGIMiddleware(lambda _environ, _start: [], store="memory://")
            engines = set(threads.map(ask, [middleware] * ABREAST))
            assert engines == {middleware.engine}
