"""Lets handlers in other processes call what their test holds, over a socket of the process of the tests."""

from __future__ import annotations

import os
import tempfile
import threading
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import count
from multiprocessing.connection import Client, Connection, Listener
from typing import Any
from weakref import WeakValueDictionary

ADDRESS = "DEFERIT_TEST_DESK"
"""The environment variable that tells other processes where the desk is."""

FIRST = 0
"""The number of the first thing that is kept."""


@dataclass(frozen=True)
class Reference:
    """Names something that a desk keeps; whoever has it, in whatever process, may call its methods."""

    address: str
    number: int

    def call(self, method: str, *arguments: Any) -> Any:
        """Return what the method returns, or raise what it raises."""
        with Client(self.address, "AF_UNIX") as line:
            line.send((self.number, method, arguments))
            is_well, answer = line.recv()
        if not is_well:
            raise answer
        return answer


class Away:
    """Stands for something that the process of the tests holds."""

    def __init__(self, reference: Reference) -> None:
        self._reference = reference

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return partial(self._reference.call, name)


class Desk:
    """Answers calls, each in a thread of its own, for a handler may have to wait."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="desk-")
        self.address = f"{self._folder.name}/desk"
        self._numbers = count(FIRST)
        self._kept: WeakValueDictionary[int, Any] = WeakValueDictionary()
        self._listener = Listener(self.address, "AF_UNIX", backlog=64)
        threading.Thread(target=self._attend, name="desk", daemon=True).start()

    def keep(self, thing: Any) -> Reference:
        """Have others call something, for as long as there is somebody here who holds it."""
        number = next(self._numbers)
        self._kept[number] = thing
        return Reference(self.address, number)

    def close(self) -> None:
        self._listener.close()
        self._folder.cleanup()

    def _attend(self) -> None:
        with suppress(OSError):  # it was closed
            while True:
                line = self._listener.accept()
                threading.Thread(target=self._answer, args=(line,), daemon=True).start()

    def _answer(self, line: Connection[Any, Any]) -> None:
        with line, suppress(EOFError, OSError):  # who has called may have been killed
            number, method, arguments = line.recv()
            try:
                answer = True, getattr(self._kept[number], method)(*arguments)
            except BaseException as exc:  # noqa: BLE001  it is raised where it was called
                answer = False, exc
            line.send(answer)


def first() -> Reference:
    """Return, in another process, the reference of what was kept first."""
    return Reference(os.environ[ADDRESS], FIRST)
