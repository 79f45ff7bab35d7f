"""A store around another one, for tests that want to see, or to spoil, what is asked of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.stores.places import usual

from deferit.stores import store_from_url
from deferit.stores.base import Store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deferit._core.commands import Command
    from deferit._core.queries import Query


class Around(Store):
    """Passes everything on to a store in a fresh place: of the matrix, else in memory.

    Other processes have the other store alone.
    """

    def __init__(self, url: str | None = None) -> None:
        self._inner = store_from_url(url or usual())
        self.url = self._inner.url
        self.reads_are_quick = self._inner.reads_are_quick
        self.is_shared = self._inner.is_shared

    def __reduce__(self) -> Any:
        return store_from_url, (self.url,)

    def check(self) -> None:
        self._inner.check()

    def open(self) -> None:
        self._inner.open()

    def close(self) -> None:
        self._inner.close()

    def version(self) -> int:
        return self._inner.version()

    def execute(self, batch: Sequence[Command]) -> list[object]:
        return self._inner.execute(batch)

    def read(self, query: Query) -> object:
        return self._inner.read(query)
