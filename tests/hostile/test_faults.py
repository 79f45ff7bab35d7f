"""A store that raises whatever it likes, whenever it likes: the server never hears of it, and the client a 503."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import pytest
from tests.servers.harness import until
from tests.web.sites import FRAMEWORKS, saying, site

from deferit._core.commands import Append, Create, Finish
from deferit._core.queries import Changes, Due, Get, List, Load, Position
from deferit.exceptions import RecordDamaged, StoreUnavailable
from deferit.stores.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tests.web.sites import Framework, Site

    from deferit._core.commands import Command
    from deferit._core.queries import Query

ERRORS: tuple[Exception, ...] = (
    StoreUnavailable("memory://", "it sulks"),
    RecordDamaged("truncated"),
    sqlite3.OperationalError("disk I/O error"),
    OSError(28, "No space left on device"),
    ValueError("not a record"),
    KeyError("id"),
    AssertionError("it cannot be"),
    RuntimeError("can't start new thread"),
    TimeoutError(),
    RecursionError("too deep"),
)

LONG = 600_000 * b"x"


class FaultyStore(MemoryStore):
    """Raises an exception for some kinds of commands and queries, and at `open`, for as long as a test likes."""

    def __init__(self) -> None:
        super().__init__()
        self.error: Exception | None = None
        self.fails_at: tuple[type, ...] = ()
        self.cannot_open = False

    def open(self) -> None:
        if self.error and self.cannot_open:
            raise self.error
        super().open()

    def execute(self, batch: Sequence[Command]) -> list[object]:
        if self.error and isinstance(batch[0], self.fails_at):
            raise self.error
        return super().execute(batch)

    def read(self, query: Query) -> object:
        if self.error and isinstance(query, self.fails_at):
            raise self.error
        return super().read(query)

    def version(self) -> int:
        if self.error and Changes in self.fails_at:
            raise self.error
        return super().version()


@pytest.fixture(params=FRAMEWORKS)
def faulty(request: pytest.FixtureRequest) -> Iterator[tuple[Site, FaultyStore]]:
    framework: Framework = request.param
    store = FaultyStore()
    hooks = {"POST /configured": {"mode": "always"}}
    with site(framework, store=store, owner=lambda _: "ann", routes=hooks) as built:
        yield built, store


REQUESTS: dict[str, Callable[[Site, str], object]] = {
    "submit": lambda built, _monitor: built.post("/pages"),
    "submit and wait": lambda built, _monitor: built.post("/pages", Prefer="wait=20"),
    "submit with a key": lambda built, _monitor: built.post("/pages", Idempotency_Key="one"),
    "submit much": lambda built, _monitor: built.post("/length", LONG, Content_Type="a/b"),
    "configured": lambda built, _monitor: built.post("/configured"),
    "in time": lambda built, _monitor: built.post("/patient", saying(201, b"served")),
    "monitor": lambda built, monitor: built.get(monitor),
    "wait": lambda built, monitor: built.get(monitor, Prefer="wait=20"),
    "head": lambda built, monitor: built.head(monitor),
    "result": lambda built, monitor: built.get(monitor + "/result"),
    "page": lambda built, monitor: built.get(monitor + "/result", Accept="text/html"),
    "range": lambda built, monitor: built.get(monitor + "/result", Range="bytes=0-1"),
    "events": lambda built, monitor: built.get(monitor + "/events"),
    "cancel": lambda built, monitor: built.post(monitor + "/cancel"),
    "list": lambda built, _monitor: built.get("/jobs"),
    "delete": lambda built, monitor: built.delete(monitor),
}


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_nothing_that_a_store_raises_reaches_the_server(
    faulty: tuple[Site, FaultyStore], error: Exception
) -> None:
    built, store = faulty
    monitor = built.defer("/pages")
    before = built.result_of(monitor)
    answers = {}

    for kind in (object, Create, Get, Load, List, Position, Due, Changes):
        store.error, store.fails_at = error, (kind,)
        answers[kind] = {
            name: ask(built, monitor) for name, ask in REQUESTS.items() if name != "delete"
        }
    store.error = None

    statuses = {answer.status for found in answers.values() for answer in found.values()}  # type: ignore[attr-defined]
    assert statuses <= {200, 201, 202, 206, 409, 503}
    refused = answers[object]
    assert refused.pop("in time").status == 201  # type: ignore[attr-defined]  # it needs no store
    assert {answer.status for answer in refused.values()} == {503}  # type: ignore[attr-defined]
    until(lambda: built.get(monitor).status == 200, "the store to be back")
    assert built.get(monitor + "/result") == before
    assert built.end_of(built.defer("/pages")).document["status"] == "succeeded"


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_nothing_that_it_raises_when_it_is_opened_does_either(
    framework: Framework, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    store = FaultyStore()
    store.error, store.cannot_open = error, True
    client = None if framework == "flask" else "TestClient"
    with site(framework, store=store, client=client) as built:
        refusals = [built.post("/pages"), built.get(f"/jobs/job_{26 * '0'}")]
        assert [answer.status for answer in refusals] == [503, 503]
        assert str(error) in caplog.text
        assert [record.levelname for record in caplog.records] == ["ERROR"]
        store.error = None

        assert built.end_of(built.defer("/pages")).document["status"] == "succeeded"


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_handler_that_ends_while_the_store_raises_keeps_its_end(framework: Framework) -> None:
    store = FaultyStore()
    with site(framework, store=store) as built:
        monitor = built.defer("/gated/a")
        built.bench.wait_for("started a")
        store.error, store.fails_at = OSError(28, "No space left on device"), (Finish,)
        built.bench.open("a")
        built.bench.wait_for("ended a")
        built.get(monitor)
        store.error = None

        assert built.end_of(monitor).document["status"] == "succeeded"


class ForgetfulStore(MemoryStore):
    """Is away for a moment, when a replay needs it for the first time: to read its request, or to write its result."""

    def __init__(self, needed: type[Append | Load]) -> None:
        super().__init__()
        self._needed = needed
        self._was_away = False

    def execute(self, batch: Sequence[Command]) -> list[object]:
        for command in batch:
            if isinstance(command, Append) and command.attempt:
                self._be_away(command)
        return super().execute(batch)

    def read(self, query: Query) -> object:
        self._be_away(query)
        return super().read(query)

    def _be_away(self, asked: Command | Query) -> None:
        if isinstance(asked, self._needed) and not self._was_away:
            self._was_away = True
            raise StoreUnavailable(self.url, "it is away")


@pytest.mark.parametrize("needed", [Append, Load])
@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize(
    ("method", "end"), [("PUT", ("succeeded", 2, None)), ("POST", ("failed", 1, "interrupted"))]
)
def test_a_replay_that_an_outage_cuts_off_is_no_fault_of_the_handler(
    framework: Framework,
    method: str,
    end: tuple[object, ...],
    needed: type[Append | Load],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "deferit._process.runs.PATIENCE", 0.0
    )  # a store that stays away longer than one waits

    with site(framework, store=ForgetfulStore(needed)) as built:
        accepted = built.ask(method, "/say", body=saying(200, LONG))

        document = built.end_of(accepted["Location"]).document

    error = document.get("error")
    assert (document["status"], document["attempt"], error and error["code"]) == end
