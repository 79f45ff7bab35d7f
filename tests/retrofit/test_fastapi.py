"""docs/retrofit-fastapi.md: its diff, applied to an application in the shape of FastAPI's tutorial."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from threading import Event
from typing import TYPE_CHECKING, Any

import pytest
from starlette.testclient import TestClient
from tests.retrofit.conftest import DOCS
from tests.retrofit.diffs import changed, diffs

from deferit import ASGIMiddleware
from deferit._core.queries import List
from deferit.stores.memory import MemoryStore

if TYPE_CHECKING:
    import httpx2
    from tests.retrofit.conftest import Retrofitted

Open = Callable[[int], TestClient]


class Trainer:
    """Trains a hero when it is let."""

    def __init__(self) -> None:
        self.runs = Event()
        self.runs.set()

    def __call__(self, name: str) -> str:
        assert self.runs.wait(60)
        return name.title()


@pytest.fixture
def trainer() -> Trainer:
    return Trainer()


@pytest.fixture
def open_client(
    retrofitted: Retrofitted, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Open]:
    """Start the application after so many of the diffs, with a database of its own."""
    monkeypatch.setenv("DEFERIT_STORE", "memory://")
    with ExitStack() as clients:

        def started(count: int) -> TestClient:
            module = retrofitted("fastapi", count)
            module.DATABASE = f"heroes-{count}.db"
            client = clients.enter_context(TestClient(module.app))
            module.app.state.train = trainer
            return client

        yield started
        trainer.runs.set()


def created(client: TestClient, **values: object) -> httpx2.Response:
    return client.post("/heroes/", json={"name": "deadpond", "age": 28, **values})


def result(client: TestClient, accepted: httpx2.Response) -> httpx2.Response:
    return client.get(accepted.json()["resultUrl"], headers={"Prefer": "wait=30"})


def jobs(client: TestClient) -> int:
    """How many jobs the application's store has."""
    layer: Any = client.app
    layer = layer.middleware_stack
    while not isinstance(layer, ASGIMiddleware):
        layer = layer.app
    store = layer.options.store
    assert isinstance(store, MemoryStore)
    found = store.read(List(layer.application, None, None, 10, None))
    assert isinstance(found, tuple)
    return len(found)


def test_the_diff_changes_three_lines() -> None:
    (diff,) = diffs(DOCS / "retrofit-fastapi.md")

    assert changed(diff) == 3


def test_undeferred_it_answers_with_the_hero(open_client: Open) -> None:
    answer = created(open_client(0))

    assert answer.status_code == 201
    assert answer.json() == {"name": "Deadpond", "age": 28, "id": 1}


def test_a_hero_is_202_and_the_result_the_undeferred_answer(
    open_client: Open, trainer: Trainer
) -> None:
    undeferred = created(open_client(0))
    client = open_client(1)
    trainer.runs.clear()

    accepted = created(client)

    assert accepted.status_code == 202
    monitor = client.get(accepted.headers["Location"])
    assert (monitor.status_code, monitor.json()["done"]) == (202, False)
    trainer.runs.set()
    found = result(client, accepted)
    assert (found.status_code, found.content) == (undeferred.status_code, undeferred.content)
    assert found.headers["Content-Type"] == undeferred.headers["Content-Type"]
    monitor = client.get(accepted.headers["Location"])
    assert (monitor.status_code, monitor.json()["status"]) == (200, "succeeded")
    assert jobs(client) == 1


def test_the_job_writes_to_the_same_database(open_client: Open) -> None:
    client = open_client(1)

    hero = result(client, created(client)).json()

    assert client.get(f"/heroes/{hero['id']}").json() == hero


def test_a_hero_without_a_name_is_refused_at_once(open_client: Open) -> None:
    undeferred = created(open_client(0), name="")
    client = open_client(1)

    refused = created(client, name="")

    assert (refused.status_code, refused.content) == (422, undeferred.content)
    assert jobs(client) == 0


def test_other_routes_answer_as_before(open_client: Open) -> None:
    client = open_client(1)

    missing = client.get("/heroes/7")

    assert (missing.status_code, missing.json()) == (404, {"detail": "Hero not found"})
    assert jobs(client) == 0
