"""Real servers that clients talk to: the two examples, and two small applications for PUT and DELETE."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.matrix import EXECUTOR, Site, settings
from tests.servers.harness import CHECKOUT, UVICORN, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers.harness import Server

GUNICORN = Kind("gunicorn")
KINDS = (GUNICORN, UVICORN)

EXAMPLES = {"wsgi": "flask_app.app:app", "asgi": "starlette_app.app:app"}


@pytest.fixture(scope="session", autouse=True)
def no_proxy() -> Iterator[None]:
    """Clients here are as they come: they would heed the environment's proxies."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_PROXY", "127.0.0.1")
        patch.setenv("no_proxy", "127.0.0.1")
        yield


@pytest.fixture(scope="session", params=KINDS, ids=["flask", "starlette"])
def kind(request: pytest.FixtureRequest) -> Kind:
    found: Kind = request.param
    return found


@pytest.fixture(scope="session")
def example(kind: Kind, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An example application as it is, with fewer orders."""
    folder = tmp_path_factory.mktemp("example")
    environment = {
        **settings(folder),
        "ORDERS_DB": str(folder / "orders.db"),
        "ORDERS_COUNT": "20000",
    }
    app = EXAMPLES[kind.interface]
    if EXECUTOR == "celery":
        pytest.skip("the examples have no Celery application")
    with Site(kind, app, folder, environment=environment, path=CHECKOUT / "examples") as running:
        yield running


@pytest.fixture(scope="session")
def things(kind: Kind, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The application whose slow endpoints are PUT and DELETE."""
    folder = tmp_path_factory.mktemp("things")
    app = f"tests.clients.apps.{kind.interface}_app:app"
    with Site(kind, app, folder, environment=settings(folder)) as running:
        yield running
