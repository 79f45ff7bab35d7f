"""The sites of tests as other processes import them: ``slot_0`` is what the process of the tests has in slot 0."""

from __future__ import annotations

from typing import Any

import cloudpickle
from tests.contract import apps as _contract_apps  # noqa: F401  what is loaded once, before processes fork
from tests.elsewhere import desk
from tests.web.apps import fastapi_app, flask_app, starlette_app  # noqa: F401  the same


def __getattr__(name: str) -> Any:
    """Return the application of a slot with its middleware, built anew from its description."""
    if not name.startswith("slot_"):
        raise AttributeError(name)
    build, options = cloudpickle.loads(desk.first().call("described", name))
    return build(options)[1]
