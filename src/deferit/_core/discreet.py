"""`Discreet`: a record that may be logged, whatever it carries."""

from __future__ import annotations

from typing import ClassVar

import msgspec


class Discreet(msgspec.Struct, frozen=True):
    """A record whose ``repr`` leaves out the members that nobody else should read: what clients and handlers sent."""

    HIDDEN: ClassVar[frozenset[str]] = frozenset()
    """The names of those."""

    def __repr__(self) -> str:
        shown = (
            f"{name}={getattr(self, name)!r}"
            for name in self.__struct_fields__
            if name not in self.HIDDEN
        )
        return f"{type(self).__name__}({', '.join(shown)})"
