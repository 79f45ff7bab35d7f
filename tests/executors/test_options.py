"""What the option `executor` takes, what it refuses, and how a middleware is found."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery
from celery.local import PromiseProxy
from django.utils.functional import SimpleLazyObject
from flask import Flask
from starlette.applications import Starlette

from deferit import ASGIMiddleware, WSGIMiddleware
from deferit._host import find, load, name_of
from deferit.exceptions import OptionError
from deferit.executors.celery import CeleryExecutor
from deferit.executors.futures import FuturesExecutor
from deferit.executors.inline import InlineExecutor
from deferit.executors.processes import ProcessExecutor
from deferit.executors.worker import WorkerExecutor
from deferit.options import options_from

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("inline", InlineExecutor),
        ("worker", WorkerExecutor),
        ("processes", ProcessExecutor),
        ("none", type(None)),
    ],
)
def test_a_text_names_an_executor(text: str, kind: type) -> None:
    options = options_from({}, {"DEFERIT_EXECUTOR": text})

    assert type(options.executor) is kind


def test_a_text_may_name_the_application() -> None:
    options = options_from({"executor": "processes:orders.web:app"}, {})

    assert isinstance(options.executor, ProcessExecutor)
    assert options.executor.app == "orders.web:app"


@pytest.mark.parametrize("value", ["procesess", "celery", 7])
def test_what_names_none_is_refused(value: object) -> None:
    with pytest.raises(OptionError, match="executor="):
        options_from({"executor": value}, {})


def test_processes_cannot_see_into_memory() -> None:
    with pytest.raises(OptionError, match="cannot see into store='memory://'"):
        options_from({"executor": "worker", "store": "memory://"}, {})


def test_a_worker_cannot_see_into_memory() -> None:
    middleware = WSGIMiddleware(Flask(__name__).wsgi_app, store="memory://")

    with pytest.raises(OptionError, match="store='memory://' is each process's own"):
        middleware.host(0)


def test_an_application_that_stands_in_no_module_has_to_be_named(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'jobs.db'}"
    nameless = WSGIMiddleware(Flask(__name__).wsgi_app, executor="processes", store=store)

    with pytest.raises(OptionError, match=r"processes:package\.module:name"):
        nameless.open()


def test_without_celery_the_extra_is_named() -> None:
    program = "import sys; sys.modules['celery'] = None; import deferit.executors.celery"

    child = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )

    assert 'CeleryExecutor needs the extra: pip install "deferit[celery]"' in child.stderr


def test_no_job_ahead_would_be_none_at_all() -> None:
    with pytest.raises(OptionError, match="ahead=0"):
        CeleryExecutor(Celery("orders"), app="orders.web:app", ahead=0)


def test_a_pool_gets_no_more_ahead_than_it_may() -> None:
    with ThreadPoolExecutor(1) as pool:
        executor = FuturesExecutor(pool, app="orders.web:app", ahead=3)

        assert [executor.capacity(waiting) for waiting in (0, 1, 3)] == [3, 2, 0]


# --- finding the middleware ------------------------------------------------------------------------------------------


def flask_app() -> tuple[Any, Any]:
    made = Flask(__name__)
    middleware = WSGIMiddleware(made.wsgi_app)
    made.wsgi_app = middleware  # type: ignore[method-assign]
    return made, middleware


app, in_this_module = flask_app()


def make() -> Any:
    return app


def calling_a_global(environ: Any, start_response: Any) -> Any:
    return app(environ, start_response)


def test_it_is_found_in_flask() -> None:
    assert find(app) is in_this_module


def test_it_is_found_behind_functions() -> None:
    inner, middleware = flask_app()

    def calling_what_is_around(environ: Any, start_response: Any) -> Any:
        return inner(environ, start_response)

    assert find(calling_what_is_around) is middleware
    assert find(calling_a_global) is in_this_module


def test_it_is_found_around_an_application() -> None:
    middleware = ASGIMiddleware(Starlette())

    assert find(middleware) is middleware


def test_it_is_found_in_a_stack_that_was_built() -> None:
    starlette = Starlette()
    starlette.add_middleware(ASGIMiddleware)
    starlette.middleware_stack = starlette.build_middleware_stack()

    assert isinstance(find(starlette), ASGIMiddleware)


def test_an_application_without_one_has_none() -> None:
    assert find(Flask(__name__)) is None


def test_what_is_lazy_is_not_woken_by_the_search_for_the_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = Event()
    monkeypatch.setitem(globals(), "lazy", SimpleLazyObject(asked.set))
    monkeypatch.setitem(globals(), "promise", PromiseProxy(asked.set))
    sought = WSGIMiddleware(Flask(__name__).wsgi_app, store="memory://")

    assert name_of(sought) is None
    assert not asked.is_set()


def test_the_name_of_an_application_in_a_module_is_known() -> None:
    name = name_of(in_this_module)

    assert name is not None
    assert load(name) is app


def test_a_target_may_be_a_function_that_makes_it() -> None:
    assert load(f"{__name__}:make()") is app


@pytest.mark.parametrize(
    "target", ["", "orders", ":app", "os:", "os:no_such_name", "no_such:app", ".orders:app"]
)
def test_a_target_that_cannot_be_imported_is_said(target: str) -> None:
    with pytest.raises(OptionError):
        load(target)


@pytest.mark.parametrize("text", ["import no_such_module", "from os import no_such_name", "1 / 0"])
def test_what_its_module_raises_is_not_hidden(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_shop.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises((ImportError, ZeroDivisionError)) as caught:
        load("broken_shop:app")

    assert caught.traceback[-1].path == tmp_path / "broken_shop.py"
