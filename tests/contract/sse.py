"""Reads server-sent events (WHATWG HTML §9.2.6), as far as deferit sends them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


@dataclass(frozen=True)
class Event:
    """A block of a stream: an event, a ``retry`` or a comment."""

    fields: dict[str, str]
    comment: str | None = None

    @property
    def document(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.fields["data"])
        return document


def blocks(parts: Iterable[bytes]) -> Iterator[Event]:
    """Yield the blocks of a stream, each as soon as it is there."""
    buffer = b""
    for part in parts:
        buffer += part
        while b"\n\n" in buffer:
            block, _, buffer = buffer.partition(b"\n\n")
            yield _read(block.decode())
    assert not buffer, "the stream ends within a block"


def events(parts: Iterable[bytes]) -> Iterator[Event]:
    """Yield the events of a stream only."""
    return (block for block in blocks(parts) if "data" in block.fields)


def _read(block: str) -> Event:
    fields: dict[str, str] = {}
    comment: str | None = None
    for line in block.split("\n"):
        name, colon, value = line.partition(":")
        assert colon, line
        value = value.removeprefix(" ")
        if name:
            assert name not in fields, block
            fields[name] = value
        else:
            comment = value
    return Event(fields, comment)
