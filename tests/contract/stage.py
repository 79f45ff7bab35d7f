"""What a test and the handlers of its application share: acts, gates that handlers wait at, and notes they leave."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import cloudpickle
from tests.elsewhere import slots
from tests.elsewhere.desk import Away

PATIENCE = 20.0
"""Seconds after which a handler or a test that waits for the other gives up."""


@dataclass(frozen=True)
class Said:
    """What a handler answers; a body that is not bytes is streamed."""

    status: int = 200
    body: bytes | Iterable[bytes] = b""
    headers: tuple[tuple[str, str], ...] = ()


Act = Callable[[bytes], Said]
"""What a handler does with the body of its request."""


class Stage:
    """Handlers do what the test tells them: each route ends in the name of an act."""

    def __init__(self) -> None:
        self.acts: dict[str, Act] = {"echo": lambda body: Said(body=body)}
        self.calls: Counter[str] = Counter()
        self.notes: list[str] = []
        self._condition = threading.Condition()
        self._gates: defaultdict[str, threading.Event] = defaultdict(threading.Event)
        self._is_over = False

    def __reduce__(self) -> Any:
        """Let handlers in other processes do what this very test tells them."""
        return AwayStage, (slots.keep(self),)

    def act(self, name: str, body: bytes) -> Said:
        self._count(name)
        return self.acts[name](body)

    def begin(self, name: str) -> bytes:
        """Count a call in another process; return the act for it."""
        self._count(name)
        act: bytes = cloudpickle.dumps(self.acts[name])
        return act

    def _count(self, name: str) -> None:
        with self._condition:
            self.calls[name] += 1
            self._condition.notify_all()

    def called(self, name: str) -> int:
        """Return, in a handler, how often an act was begun."""
        return self.calls[name]

    def note(self, text: str) -> None:
        """Leave a note for the test."""
        with self._condition:
            self.notes.append(text)
            self._condition.notify_all()

    def wait_for_note(self, text: str) -> None:
        """Wait, in the test, until a handler leaves a note."""
        with self._condition:
            assert self._condition.wait_for(lambda: text in self.notes, PATIENCE), self.notes

    def wait_for(self, name: str, calls: int = 1) -> None:
        """Wait, in the test, until an act was begun so many times."""
        with self._condition:
            began = self._condition.wait_for(lambda: self.calls[name] >= calls, PATIENCE)
        assert began, self.calls

    def pass_gate(self, name: str) -> None:
        """Wait, in a handler's thread, until the test opens the gate."""
        gate = self._gates[name]
        assert self._is_over or gate.wait(PATIENCE), f"nobody opened the gate {name}"

    def open(self, *names: str) -> None:
        for name in names:
            self._gates[name].set()

    def gated(self, name: str, said: Said | None = None) -> None:
        """Have an act of this name pass the gate of this name, and answer then."""

        def act(body: bytes) -> Said:
            self.pass_gate(name)
            return said or Said(body=body)

        self.acts[name] = act

    def close(self) -> None:
        """Let everybody go who waits, or ever will."""
        self._is_over = True
        for gate in list(self._gates.values()):
            gate.set()


class AwayStage(Away):
    """A stage as handlers in other processes have it: acts are done where the handler runs."""

    def act(self, name: str, body: bytes) -> Said:
        act: Act = cloudpickle.loads(self._reference.call("begin", name))
        return act(body)
