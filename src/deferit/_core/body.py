"""A stored result as a body: the whole of it, or a range."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from deferit._core.http import Body
from deferit._core.queries import Load
from deferit._core.recorder import PIECE

if TYPE_CHECKING:
    from collections.abc import Generator


@dataclass(frozen=True)
class StoredBody(Body):
    """The bytes from ``start`` to before ``stop`` of the result that an attempt of a job has stored."""

    job_id: str
    attempt: int
    start: int
    stop: int

    @property
    def length(self) -> int:  # type: ignore[override]  # always known
        """Bytes in the body."""
        return self.stop - self.start

    def steps(self) -> Generator[Any, Any, None]:
        """Load piece after piece, and cut the first and the last to size."""
        for index in range(self.start // PIECE, -(-self.stop // PIECE)):
            piece: bytes = yield Load(self.job_id, self.attempt, index)
            begin = index * PIECE
            yield piece[max(0, self.start - begin) : self.stop - begin]
