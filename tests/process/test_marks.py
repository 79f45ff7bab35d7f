from __future__ import annotations

import functools
import inspect
import threading
import warnings
from typing import TYPE_CHECKING, Any

import anyio
import flask
import pytest
from starlette.responses import Response
from starlette.testclient import TestClient
from tests.process import marked_fastapi
from tests.process.parts import Process, answer

from deferit import ASGIMiddleware, deferred
from deferit._core.policy import Mark, Mode
from deferit.context import Approach, current
from deferit.exceptions import OptionError
from deferit.marks import mark_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deferit._process.runs import Run


class Passing(Approach):
    """A request on its way, which is deferred or not."""

    def __init__(self, *, is_deferred: bool) -> None:
        self.is_deferred = is_deferred
        self.marks: list[Mark] = []

    def defers(self, mark: Mark) -> bool:
        self.marks.append(mark)
        return self.is_deferred


@pytest.fixture(params=[True, False])
def passing(request: pytest.FixtureRequest) -> Iterator[Passing]:
    passing = Passing(is_deferred=request.param)
    token = current.set(passing)
    yield passing
    current.reset(token)


def plain(a: int, *, b: int = 2) -> int:
    """Add."""
    return a + b


async def aplain(a: int, *, b: int = 2) -> int:
    """Add, later."""
    return a + b


class Adder:
    def __call__(self, a: int, *, b: int = 2) -> int:
        return a + b


class AsyncAdder:
    async def __call__(self, a: int, *, b: int = 2) -> int:
        return a + b


class View:
    @deferred
    def post(self, a: int, *, b: int = 2) -> int:
        return a + b

    @deferred(wait=2)
    async def put(self, a: int, *, b: int = 2) -> int:
        return a + b


SYNC = [plain, Adder(), functools.partial(plain), View().post]
ASYNC = [aplain, AsyncAdder(), functools.partial(aplain), View().put]


# --- what it leaves as it was ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("handler", SYNC)
def test_a_sync_handler_is_marked(handler: Any, passing: Passing) -> None:
    marked = handler if mark_of(handler) else deferred(handler)

    found = marked(1, b=3)

    assert not inspect.iscoroutinefunction(marked)
    assert passing.marks == [mark_of(marked)]
    if passing.is_deferred:
        assert isinstance(found, Response)
        assert found.status_code == 202
    else:
        assert found == 4


@pytest.mark.parametrize("handler", ASYNC)
def test_an_async_handler_is_marked(handler: Any, passing: Passing) -> None:
    marked = handler if mark_of(handler) else deferred(handler)

    found = anyio.run(functools.partial(marked, 1, b=3))

    assert inspect.iscoroutinefunction(marked)
    assert passing.marks == [mark_of(marked)]
    if passing.is_deferred:
        assert isinstance(found, Response)
    else:
        assert found == 4


@pytest.mark.parametrize("handler", [plain, aplain])
def test_name_documentation_and_signature_are_the_handlers(handler: Any) -> None:
    marked = deferred(handler)

    assert (marked.__name__, marked.__doc__) == (handler.__name__, handler.__doc__)
    assert inspect.signature(marked) == inspect.signature(handler, eval_str=True)
    assert inspect.unwrap(marked) is handler


@pytest.mark.parametrize("path", ["/orders", "/sync-orders"])
def test_fastapi_sees_a_marked_handlers_annotations_even_as_texts(path: str) -> None:
    client = TestClient(ASGIMiddleware(marked_fastapi.app, store="memory://", mode="prefer"))

    found = client.post(path, params={"name": "ada"}, json={"amount": 4})
    refusals = [
        client.post(path, json={"amount": "four"}),
        client.post(path, params={"name": "a"}, json={"amount": 4}),
    ]

    assert (found.status_code, found.json()) == (200, {"amount": 7})
    assert [refusal.status_code for refusal in refusals] == [422, 422]
    schema = marked_fastapi.app.openapi()
    body = schema["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body["$ref"].endswith("/Order")


# --- marks -----------------------------------------------------------------------------------------------------------


def test_marks_are_kept_and_the_name_is_the_handlers() -> None:
    marked = deferred(methods="POST", mode="prefer", wait=2, repeatable=True, retention=60)(plain)

    assert mark_of(marked) == Mark(
        methods=frozenset({"POST"}),
        mode=Mode.PREFER,
        wait=2,
        repeatable=True,
        retention=60,
        name=f"{__name__}.plain",
    )
    assert mark_of(plain) is None
    assert mark_of(object()) is None


@pytest.mark.parametrize(
    ("handler", "name"),
    [
        (View.post, f"{__name__}.View.post"),
        (deferred(Adder()), f"{__name__}.Adder"),
        (deferred(functools.partial(plain)), "partial"),
        (deferred(name="adding")(plain), "adding"),
    ],
)
def test_a_handler_has_a_name(handler: Any, name: str) -> None:
    mark = mark_of(handler)

    assert mark is not None
    assert mark.name is not None
    assert mark.name.endswith(name)


def generator() -> Iterator[int]:
    yield 1


async def agenerator() -> Any:
    yield 1


@pytest.mark.parametrize(
    ("handler", "sentence"),
    [
        (View, "View is a class: mark its methods instead"),
        ("/reports", "'/reports' is none: it stands below the decorator that routes the handler"),
        (property(plain), "it stands below the decorator"),
        (generator, "generator is a generator: mark the view it belongs to"),
        (agenerator, "agenerator is a generator"),
    ],
)
def test_what_is_no_handler_is_refused(handler: Any, sentence: str) -> None:
    with pytest.raises(OptionError, match=sentence):
        deferred(handler)
    with pytest.raises(OptionError, match=sentence):
        deferred(wait=2)(handler)


def test_a_mark_that_cannot_be_used_is_refused_where_it_stands() -> None:
    with pytest.raises(OptionError, match="there is no mark 'waite'; did you mean 'wait'"):
        deferred(waite=2)
    with pytest.raises(OptionError, match="wait=-1 is not a number of seconds"):
        deferred(wait=-1)


# --- no middleware ---------------------------------------------------------------------------------------------------


def test_without_a_middleware_the_handler_just_runs_with_one_warning() -> None:
    def report() -> str:
        return "done"

    marked = deferred(report)

    with pytest.warns(
        RuntimeWarning, match=r"report is marked @deferred, but no deferit middleware"
    ):
        assert marked() == "done"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert marked() == "done"


def test_an_async_one_too() -> None:
    async def report() -> str:
        return "done"

    marked = deferred(report)

    with pytest.warns(RuntimeWarning, match=r"add .*WSGIMiddleware.* or .*ASGIMiddleware"):
        assert anyio.run(marked) == "done"
    assert anyio.run(marked) == "done"


# --- in a replay -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_async", [False, True])
def test_in_a_replay_the_handler_runs_and_its_exception_is_noted(is_async: bool) -> None:
    process = Process()
    raised: list[BaseException | None] = []
    done = threading.Event()

    @deferred
    def fail() -> None:
        raise KeyError("order")

    @deferred
    async def afail() -> None:
        raise KeyError("order")

    def handler(run: Run) -> None:
        with pytest.raises(KeyError):
            _ = anyio.run(afail) if is_async else fail()
        raised.append(run.raised)
        done.set()
        answer(run, status=500)

    process.handlers.handler = handler
    job = process.end_of(process.create())
    process.close()

    assert isinstance(raised[0], KeyError)
    assert job.error is not None
    assert job.error.code == "handler-exception"
    assert job.result is not None


def test_an_exception_in_an_ordinary_request_is_nobodys() -> None:
    token = current.set(Passing(is_deferred=False))
    try:
        with pytest.raises(TypeError):
            deferred(plain)("a")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    finally:
        current.reset(token)


def test_in_a_flask_view_the_placeholder_is_flasks() -> None:
    app = flask.Flask(__name__)
    token = current.set(Passing(is_deferred=True))

    try:
        with app.test_request_context("/"):
            found: object = deferred(plain)(1)
    finally:
        current.reset(token)

    assert isinstance(found, flask.Response)
    assert found.status_code == 202
