"""Applications with callbacks, over both web interfaces, and a receiver."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import pytest
from starlette.testclient import TestClient
from tests.callbacks.apps import make_asgi, make_wsgi
from tests.callbacks.receiver import SECRET, Receiver
from tests.servers.harness import until

from deferit import ASGIMiddleware, WSGIMiddleware
from deferit._core.job import Job
from deferit._core.queries import Get
from deferit.callbacks import Callbacks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

Interface = Literal["asgi", "wsgi"]


@dataclass
class Site:
    """An application and a client for it."""

    middleware: ASGIMiddleware | WSGIMiddleware
    ask: Callable[[str, str, list[tuple[str, str]]], tuple[int, dict[str, Any]]]
    """A function of a method, a path and header fields that returns the status code and the JSON document."""

    def submit(
        self, path: str = "/work", *callbacks: str, **headers: str
    ) -> tuple[int, dict[str, Any]]:
        fields = [("Callback-URL", url) for url in callbacks]
        fields += [(name.replace("_", "-"), value) for name, value in headers.items()]
        return self.ask("POST", path, fields)

    def job(self, job_id: str) -> Job:
        job = self.middleware.options.store.read(Get(job_id))
        assert isinstance(job, Job)
        return job

    def until_over(self, job_id: str) -> Job:
        """Return the job when nothing more is to be done about its callback."""

        def over() -> Job | None:
            job = self.job(job_id)
            return job if job.is_finished and job.callback_at is None else None

        return until(over, "the callback to be over")

    def wake(self) -> None:
        deliverer = self.middleware.engine._deliverer
        assert deliverer is not None
        deliverer.wake()


class Build(Protocol):
    def __call__(self, **options: Any) -> Site: ...


@pytest.fixture(params=["asgi", "wsgi"])
def interface(request: pytest.FixtureRequest) -> Interface:
    found: Interface = request.param
    return found


@pytest.fixture
def build(interface: Interface, tmp_path: Path) -> Iterator[Build]:
    """Build a site whose store is a file."""
    with ExitStack() as stack:

        def built(**options: Any) -> Site:
            options = {"store": f"sqlite:///{tmp_path / 'jobs.db'}", **options}
            make = _asgi if interface == "asgi" else _wsgi
            return make(stack, options)

        yield built


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


def calling(receiver: Receiver, **options: Any) -> Callbacks:
    """Return the option that lets a receiver on this machine be called."""
    return Callbacks({receiver.url: SECRET}, **{"private": True, **options})


def _asgi(stack: ExitStack, options: dict[str, Any]) -> Site:
    middleware = ASGIMiddleware(make_asgi(), **options)
    client = stack.enter_context(TestClient(middleware))

    def ask(method: str, path: str, fields: list[tuple[str, str]]) -> tuple[int, dict[str, Any]]:
        response = client.request(method, path, headers=fields)
        return response.status_code, response.json()

    return Site(middleware, ask)


def _wsgi(stack: ExitStack, options: dict[str, Any]) -> Site:
    app = make_wsgi()
    middleware = WSGIMiddleware(app.wsgi_app, **options)
    app.wsgi_app = middleware  # type: ignore[method-assign]
    client = app.test_client()
    stack.callback(middleware.close)

    def ask(method: str, path: str, fields: list[tuple[str, str]]) -> tuple[int, dict[str, Any]]:
        response = client.open(path, method=method, headers=fields)
        return response.status_code, response.get_json()

    return Site(middleware, ask)
