"""A request to deferit: who asks, and what they may see."""

from __future__ import annotations

from hmac import compare_digest
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from deferit._core.document import Site
    from deferit._core.http import Request
    from deferit._core.job import Job
    from deferit._core.prefer import Prefer


class Visit(msgspec.Struct, frozen=True):
    """A request to deferit: who asks, when, what they prefer, and where they see us."""

    request: Request
    site: Site
    at: float
    owner: str | None
    prefer: Prefer
    max_wait: float
    application: str = ""
    cookies: bool = False
    """Whether the result route replays ``Set-Cookie``."""
    is_operator: bool = False
    """Whether who asks may see everybody's jobs."""

    def may_see(self, job: Job) -> bool:
        """Whether a job answers to who asks; one without an owner answers to whoever knows its URL.

        An owner may be a secret, such as a key of an API: how long the comparison takes tells nothing of it.
        """
        if self.is_operator or job.owner is None:
            return True
        return self.owner is not None and compare_digest(_utf8(job.owner), _utf8(self.owner))


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
