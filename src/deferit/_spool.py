"""Keeps a request's body while it passes by: small ones in memory as the bytes that came, large ones in a file."""

from __future__ import annotations

from contextlib import suppress
from hashlib import sha256
from io import BytesIO
from tempfile import TemporaryFile, gettempdir
from typing import IO, TYPE_CHECKING

from deferit._core.effects import RequestTooLarge
from deferit._core.recorder import PIECE
from deferit.exceptions import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

IN_MEMORY = 1024**2
"""Bytes of a body that are held in memory; starlette's and werkzeug's form parsers spool at 1 MiB and 500 KiB."""


class Spool:
    """A body on its way to the application, kept in case a marked handler is reached."""

    def __init__(self, limit: float, is_worth_a_file: Callable[[], bool]) -> None:
        """Keep up to ``limit`` bytes; a longer body passes by, but cannot be captured any more.

        ``is_worth_a_file`` is asked once, when a body becomes too large for memory.
        """
        self._limit = limit
        self._is_worth_a_file = is_worth_a_file
        self._parts: list[bytes] = []
        self._file: IO[bytes] | None = None
        self._length = 0
        self._is_dropped = False
        self._failure: OSError | None = None

    @property
    def is_dropped(self) -> bool:
        """Whether some of the body was let go though it is not too large, so that it cannot be captured."""
        return self._is_dropped and self._length <= self._limit and self._failure is None

    def keep(self, data: bytes) -> None:
        """Take note of a part that passes by; may write to a disk."""
        if self.keeps_in_memory(data):
            return
        self._length += len(data)
        if self._length > self._limit or not (self._file or self._is_worth_a_file()):
            self.close()
        else:
            self._to_file(data)

    def keeps_in_memory(self, data: bytes) -> bool:
        """Take note of a part if that needs no disk, which an event loop must not wait for; else say False."""
        length = self._length + len(data)
        if length > IN_MEMORY and not self._is_dropped:
            return False
        self._length = length
        if not self._is_dropped:
            self._parts.append(data)
        return True

    def check(self, declared: int = 0) -> None:
        """Check that what has passed by so far, or is ``declared`` to come, can be captured.

        Raises:
            RequestTooLarge: it is longer than the limit.
            StoreUnavailable: there was no room to keep it.
        """
        if self._failure:
            raise StoreUnavailable(
                gettempdir(), f"a request's body cannot be kept: {self._failure}"
            )
        if self._length > self._limit or declared > self._limit:
            raise RequestTooLarge(self._limit)

    def rewind(self, *, in_one: bool = False) -> int:
        """Go back to the beginning, to `read` it all in pieces; return how many full ones come before the last.

        With ``in_one`` a body that is in memory is one piece, however long.
        """
        if in_one and self._file is None:
            return 0
        if self._file is None and self._length > PIECE:
            self._file = BytesIO(b"".join(self._parts))
        if self._file:
            self._go_back(self._file)
        return max(0, (self._length - 1) // PIECE)

    def read(self) -> bytes:
        """Return the next piece; the last one may be short, or empty."""
        return self._file.read(PIECE) if self._file else b"".join(self._parts)

    def digest(self) -> str:
        """Return the SHA-256 of all that was kept, in hexadecimal digits."""
        digest = sha256()
        for _ in range(self.rewind() + 1):
            digest.update(self.read())
        return digest.hexdigest()

    def close(self) -> None:
        """Let go of what was kept, and keep nothing that still passes by; idempotent."""
        self._is_dropped = True
        self._is_worth_a_file = (
            _never  # what it was belongs to who has this spool: a cycle, for the collector
        )
        self._parts.clear()
        if self._file:
            with suppress(OSError):  # what was still to be written
                self._file.close()
            self._file = None

    def _to_file(self, data: bytes) -> None:
        try:
            self._write(data)
        except OSError as exc:  # the disk is full: that must not disturb the application, which reads the body itself
            self._failure = exc
            self.close()

    def _go_back(self, file: IO[bytes]) -> None:
        try:
            file.seek(0)
        except OSError as exc:  # it writes what it has in its buffer
            self._failure = exc
            self.check()

    def _write(self, data: bytes) -> None:
        if self._file is None:
            self._file = TemporaryFile(prefix="deferit-")  # noqa: SIM115  closed by close
            self._file.writelines(self._parts)
            self._parts.clear()
        self._file.write(data)


def _never() -> bool:
    """Say that nothing is worth a file any more."""
    return False
