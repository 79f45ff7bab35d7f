"""How jobs are followed: the options that all of `deferit.client` takes."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, TypedDict

from deferit._core.policy import unknown
from deferit.client.flow import Following, Patience
from deferit.exceptions import OptionError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from deferit.client.monitors import Document


class FollowOptions(TypedDict, total=False):
    """How a job is followed.

    Args:
        timeout: seconds until `FollowTimeout` is raised, counted from the original request until its result begins to
            arrive; None: for ever. The job goes on.
        retries: how often in a row the server may be unreachable, or in trouble without saying for how long, before
            `MonitorLost` is raised. The pauses between grow: 8 times are about a minute.
        cancel: whether Ctrl-C, or canceling the task, cancels the job as well.
        on_status: a function that is called with every new status document, a ``dict``.
    """

    timeout: float | None
    retries: int
    cancel: bool
    on_status: Callable[[Document], object] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The options, checked."""

    timeout: float | None = None
    retries: int = 8
    cancel: bool = True
    on_status: Callable[[Document], object] | None = None

    def __post_init__(self) -> None:
        if self.timeout is not None and not _is_number(self.timeout):
            raise OptionError(f"timeout={self.timeout!r} is neither None nor seconds, zero or more")
        if not _is_number(self.retries) or self.retries != int(self.retries):
            raise OptionError(f"retries={self.retries!r} is not a whole number, zero or more")
        if self.on_status is not None and not callable(self.on_status):
            raise OptionError(
                f"on_status={self.on_status!r} is not a function of the status document"
            )

    def tell(self, document: Document) -> None:
        """Pass on a status document."""
        if self.on_status is not None:
            self.on_status(document)

    def following(self, request: Any, now: float, *, watch: bool = False) -> Following:
        """Return what follows the job of a request."""
        patience = Patience(
            timeout=self.timeout,
            retries=self.retries,
            watch=watch or self.on_status is not None,
        )
        return Following(request.method, str(request.url), now, patience)


def settings(options: Mapping[str, Any]) -> Settings:
    """Return the options, checked.

    Raises:
        OptionError: a name or a value that cannot be used.
    """
    known = [option.name for option in fields(Settings)]
    for name in options:
        if name not in known:
            raise OptionError(unknown("option", name, known))
    return Settings(**options)


def _is_number(value: object) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and 0 <= value < math.inf  # type: ignore[operator]
