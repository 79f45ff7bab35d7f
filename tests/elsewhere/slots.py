"""Slots in which the process of the tests has its sites, described so that other processes can build them."""

from __future__ import annotations

import os
from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING, Any

import cloudpickle
from tests.elsewhere.desk import ADDRESS, Desk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.elsewhere.desk import Reference

SLOTS = 24
"""Sites that tests have at a time, at the most."""


class Slots:
    """Descriptions of sites, under names that other processes know."""

    def __init__(self) -> None:
        self._free = [f"slot_{number}" for number in reversed(range(SLOTS))]
        self._descriptions: dict[str, bytes] = {}
        self._editions: dict[str, int] = {}
        self._numbers = count(1)

    @contextmanager
    def taken(self, build: Callable[[Any], Any], options: dict[str, Any]) -> Iterator[str]:
        """Have other processes build a site with these options; yield the name of its slot."""
        description = cloudpickle.dumps((build, options))
        name = self._free.pop()
        self._editions[name] = next(self._numbers)
        self._descriptions[name] = description
        try:
            yield name
        finally:
            del self._descriptions[name]
            self._free.append(name)

    # --- called by other processes -----------------------------------------------------------------------------------

    def described(self, name: str) -> bytes:
        return self._descriptions[name]

    def edition(self, name: str) -> int:
        """Return a number that is another one for each site that a slot has had."""
        return self._editions[name]


_desk: Desk | None = None
slots = Slots()


def keep(thing: Any) -> Reference:
    """Have other processes call something of this one."""
    return _open().keep(thing)


def _open() -> Desk:
    global _desk  # noqa: PLW0603  one for the process, as late as it is needed
    if _desk is None:
        _desk = Desk()
        _desk.keep(slots)  # the first
        os.environ[ADDRESS] = _desk.address
    return _desk


def close() -> None:
    if _desk is not None:
        _desk.close()
