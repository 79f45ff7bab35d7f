"""What a test and the handlers of its application share: they wait for each other, never for the clock."""

from __future__ import annotations

import threading
from collections import defaultdict
from hashlib import sha256
from typing import Any

from tests.elsewhere import slots
from tests.elsewhere.desk import Away
from tests.servers.harness import until

from deferit import current_job

PATIENCE = 20.0
"""Seconds after which a handler or a test that waits for the other gives up."""


class Bench:
    """Gates that handlers wait at until the test opens them, and notes that they leave."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._gates: defaultdict[str, threading.Event] = defaultdict(threading.Event)
        self._is_over = False
        self._edition = 0
        self.notes: list[str] = []

    def __reduce__(self) -> Any:
        """Let handlers in other processes call this very bench."""
        return Away, (slots.keep(self),)

    def gate(self, name: str) -> threading.Event:
        with self._condition:
            if self._is_over:
                self._gates[name].set()
            return self._gates[name]

    def pass_gate(self, name: str) -> None:
        """Wait, in a handler's thread, until the test opens the gate; raise if the test ends before."""
        edition, gate = self._edition, self.gate(name)
        assert gate.wait(PATIENCE), f"nobody opened the gate {name}"
        assert edition == self._edition, "the test is over"

    def open(self, *names: str) -> None:
        for name in names:
            self.gate(name).set()

    def note(self, text: str) -> None:
        with self._condition:
            self.notes.append(text)
            self._condition.notify_all()

    def has(self, text: str) -> bool:
        """Whether a note was left."""
        with self._condition:
            return text in self.notes

    def wait_for(self, text: str) -> None:
        """Wait, in the test, until a handler leaves a note."""
        with self._condition:
            assert self._condition.wait_for(lambda: text in self.notes, PATIENCE), self.notes

    def clear(self) -> None:
        """Let everybody go who still waits, and begin anew."""
        with self._condition:
            self._edition += 1
            for gate in self._gates.values():
                gate.set()
            self._gates.clear()
            self.notes.clear()

    def close(self) -> None:
        """Let everybody go who still waits, or ever will."""
        with self._condition:
            self._is_over = True
        self.clear()


def work_on(bench: Bench, order: str) -> None:
    """Do in a handler what an order takes: wait for its gate and, if the test has noted a cancel, to hear of that."""
    bench.note(order)
    bench.pass_gate(order)
    if bench.has(CANCELED):
        until(_is_canceled, "the handler to hear of the cancel")


def _is_canceled() -> bool:
    job = current_job()
    return job is not None and job.canceled


CANCELED = "canceled"
"""What a test notes where a handler hears of a cancel a moment later."""


def digest(data: bytes) -> str:
    return sha256(data).hexdigest()


CHUNKS = [b"part %d\n" % number for number in range(5)]
"""What the streaming handlers send, one by one."""

ORDERS = [f"order {number}" for number in range(4)]
"""What the handlers that report progress go through."""

SECRET = "the launch code is 0000"
"""What the failing handlers raise with; it must not be seen from outside."""

PAGES = b'{"pages":12}'
"""What the plainest of the marked handlers answers, with 201 and two fields X-Tag."""
