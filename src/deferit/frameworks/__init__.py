"""What a marked handler returns in place of its response, native to the framework that called it.

The middleware puts the true answer in its place on the way out, so that CORS, sessions and after-request hooks of the
application apply to it as to any other response. One module a framework; none is imported unless the application has.
"""

from __future__ import annotations

import sys
from functools import cache
from importlib import import_module
from typing import Any

ANSWER = "deferit.answer"
"""The entry of an environ that answers for a mounted route, where the application itself routes to it."""

FRAMEWORKS = ("flask", "django")
"""Frameworks whose handlers cannot return Starlette's response, each with a module here."""


def placeholder(args: tuple[Any, ...]) -> object:
    """Return an empty 202 that the framework which called a handler with ``args`` understands."""
    for name in FRAMEWORKS:
        if name in sys.modules:
            module = _module(name)
            if module.is_calling(args):
                return module.placeholder()
    return _module("starlette").placeholder()


@cache
def _module(name: str) -> Any:
    """Return what knows a framework; an application need not pay for those that it does not have."""
    return import_module(f"deferit.frameworks.{name}")
