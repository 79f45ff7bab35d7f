"""Pages for people: a status document or a list of them in, a self-contained HTML page out.

1. One page is one answer: style and script stand in it, nothing else is loaded, and the policy allows nothing else.
2. A page is right without its script, which only asks for the page again and takes over what has changed.
3. All that is not ours is escaped, for every piece of markup is a `markupsafe.Markup`.

What it offers is loaded when it is asked for: most applications never show a page, and none before it serves.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deferit.pages.chart import Run
    from deferit.pages.frame import POLICY, VERSION
    from deferit.pages.jobs import Chosen, Newest, Row, jobs_page
    from deferit.pages.status import status_page

__all__ = [
    "POLICY",
    "VERSION",
    "Chosen",
    "Newest",
    "Row",
    "Run",
    "jobs_page",
    "status_page",
]

_HOMES = {
    "POLICY": "frame",
    "VERSION": "frame",
    "Chosen": "jobs",
    "Newest": "jobs",
    "Row": "jobs",
    "Run": "chart",
    "jobs_page": "jobs",
    "status_page": "status",
}


if not TYPE_CHECKING:  # who checks types knows the names from above, and no others

    def __getattr__(name: str) -> Any:
        """Load what is asked for (PEP 562), and keep it."""
        if name not in _HOMES:
            msg = f"module {__name__!r} has no attribute {name!r}"
            raise AttributeError(msg)
        found = globals()[name] = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        return found
