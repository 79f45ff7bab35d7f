from __future__ import annotations

import math
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import pytest

from deferit._core.policy import Defaults, Mode
from deferit.exceptions import OptionError
from deferit.executors.inline import InlineExecutor
from deferit.executors.threads import ThreadExecutor
from deferit.options import PREFIX, Options, options_from
from deferit.stores.memory import MemoryStore
from deferit.stores.sqlite import SQLiteStore

if TYPE_CHECKING:
    from pathlib import Path

    from deferit._core.http import Request

MEMORY = {"store": "memory://"}


def owner_of(request: Request) -> str | None:
    return request.headers.get("X-Owner")


STORE, EXECUTOR = MemoryStore(), ThreadExecutor()


def option(name: str, value: object) -> Any:
    return getattr(options_from({**MEMORY, name: value}, {}), name)


def from_environment(name: str, text: str) -> Any:
    return getattr(
        options_from({}, {"DEFERIT_STORE": "memory://", PREFIX + name: text}), name.lower()
    )


def test_every_option_has_a_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    options = options_from({}, {})

    assert isinstance(options.store, SQLiteStore)
    assert options.store.url == "sqlite:///deferit.db"
    assert options.executor is None
    assert not options.routes
    assert options.owner is None
    assert options.operator is None
    assert (options.prefix, options.base_url, options.application) == ("/jobs", None, "default")
    assert (options.concurrency, options.lease, options.grace) == (8, 15.0, 10.0)
    assert options.defaults == Defaults(Mode.ALWAYS, 1.0, 30.0, 86_400.0)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("store", STORE, STORE),
        ("executor", None, None),
        ("executor", EXECUTOR, EXECUTOR),
        ("application", "shop", "shop"),
        ("mode", "prefer", Mode.PREFER),
        ("wait", 2, 2.0),
        ("wait", 0.5, 0.5),
        ("max_wait", 60, 60.0),
        ("prefix", "/deferred/jobs/", "/deferred/jobs"),
        ("base_url", None, None),
        ("base_url", "https://example.com", "https://example.com"),
        ("base_url", "https://example.com/api/", "https://example.com/api"),
        ("owner", owner_of, owner_of),
        ("operator", bool, bool),
        ("operator", "builtins:bool", bool),
        ("operator", None, None),
        ("owner", None, None),
        ("concurrency", 1, 1),
        ("concurrency", 4.0, 4),
        ("max_body", 10, 10),
        ("max_result", 10**12, 10**12),
        ("retention", 60, 60.0),
        ("lease", 1, 1.0),
        ("grace", 0, 0.0),
        ("set_cookie", True, True),
    ],
)
def test_an_option_is_taken(name: str, value: object, found: object) -> None:
    taken = option(name, value)

    assert taken == found
    assert type(taken) is type(found)


def test_inline_is_an_executor() -> None:
    assert isinstance(option("executor", "inline"), InlineExecutor)


def test_routes_are_read_once() -> None:
    routes = option("routes", ["POST /reports"])

    assert routes.find("POST", "/reports")
    assert option("routes", routes) is routes


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("EXECUTOR", "inline", InlineExecutor),
        ("APPLICATION", "shop", "shop"),
        ("MODE", "prefer", Mode.PREFER),
        ("WAIT", "2.5", 2.5),
        ("MAX_WAIT", "60", 60.0),
        ("PREFIX", "/deferred", "/deferred"),
        ("BASE_URL", "https://example.com/api", "https://example.com/api"),
        ("OWNER", "os.path:basename", "basename"),
        ("CONCURRENCY", "4", 4),
        ("MAX_BODY", "1e6", 1_000_000),
        ("MAX_RESULT", "1000", 1000),
        ("RETENTION", "60", 60.0),
        ("LEASE", "30", 30.0),
        ("GRACE", "0", 0.0),
        ("SET_COOKIE", "yes", True),
        ("SET_COOKIE", "False", False),
        ("SET_COOKIE", "0", False),
    ],
)
def test_the_environment_says_it_too(name: str, text: str, found: object) -> None:
    taken = from_environment(name, text)

    if isinstance(found, type):
        assert isinstance(taken, found)
    elif name == "OWNER":
        assert taken.__name__ == found
    else:
        assert (taken, type(taken)) == (found, type(found))


def test_routes_in_the_environment_are_separated_by_commas() -> None:
    routes = from_environment("ROUTES", "POST /reports,GET,PUT /export/*")

    assert routes.find("POST", "/reports")
    assert routes.find("PUT", "/export/x")
    assert not routes.find("POST", "/export/x")


def test_a_keyword_wins_over_the_environment() -> None:
    options = options_from({**MEMORY, "wait": 1}, {"DEFERIT_WAIT": "2", "DEFERIT_GRACE": "3"})

    assert (options.wait, options.grace) == (1.0, 3.0)


def test_each_option_has_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEFERIT_STORE", "memory://")
    monkeypatch.setenv("DEFERIT_APPLICATION", "shop")

    assert options_from({}).application == "shop"
    assert {field.name for field in fields(Options)} >= {"store", "application"}


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("store", 7, "store=7 is neither a URL like 'sqlite:///jobs.db' nor a store"),
        (
            "store",
            "redis2://x",
            "store='redis2://x' names no store that deferit has; write 'sqlite",
        ),
        ("store", "", "store='' names no store"),
        ("executor", "processes2", "executor='processes2' names none; write 'worker'"),
        ("application", "", "application='' is not a name: write a short text"),
        ("application", "a\nb", "is not a name"),
        ("application", 7, "application=7 is not a name"),
        ("routes", ["reports"], "the route 'reports' cannot be read; write one or more methods"),
        ("routes", 7, "routes=7 is not a list; write for example"),
        ("mode", "sometimes", "mode='sometimes' is none of 'always', 'prefer'"),
        ("wait", -1, "wait=-1 is not a number of seconds"),
        ("wait", None, "wait=None is not a number"),
        ("wait", [], r"wait=\[\] is not a number"),
        ("wait", math.inf, "wait=inf is not a number of seconds"),
        ("max_wait", math.nan, "max_wait=nan is not a number of seconds"),
        ("prefix", "jobs", "prefix='jobs' is not a path such as '/jobs'"),
        ("prefix", "/", "prefix='/' is not a path"),
        ("prefix", None, "prefix=None is not a path"),
        ("base_url", "example.com", "base_url='example.com' is not the application's URL; write"),
        ("base_url", "ftp://example.com", "write for example 'https://example.com/api'"),
        ("base_url", "https://", "base_url='https://' is not the application's URL"),
        ("base_url", "https://x/?a=b", "is not the application's URL"),
        ("base_url", "http://[", r"base_url='http://\[' is not the application's URL"),
        ("base_url", 7, "base_url=7 is not the application's URL"),
        ("owner", "ada", r"owner='ada' cannot be imported .* write 'package.module:function'"),
        ("owner", "os:no_such", "owner='os:no_such' cannot be imported"),
        (
            "owner",
            "os",
            "is not a plain function",
        ),
        ("owner", 7, "owner=7 is not a plain function"),
        ("operator", True, r"operator=True is not a plain function .* that returns True or False"),
        ("concurrency", 0, "concurrency=0 is not a whole number of at least 1"),
        ("concurrency", 1.5, "concurrency=1.5 is not a whole number"),
        ("concurrency", True, "concurrency=True is not a number"),
        ("max_body", math.inf, "max_body=inf is not a whole number"),
        ("max_body", math.nan, "max_body=nan is not a whole number"),
        ("max_result", -1, "max_result=-1 is not a whole number"),
        ("retention", 0.5, "retention=0.5 is too short: write one second or more"),
        ("retention", math.inf, "retention=inf is not a number of seconds"),
        ("lease", 0, "lease=0 is too short: write one second or more"),
        ("grace", -1, "grace=-1 is not a number of seconds"),
        ("grace", math.inf, "grace=inf is not a number of seconds"),
        ("set_cookie", "maybe", "set_cookie='maybe' is neither true nor false"),
        ("set_cookie", None, "set_cookie=None is neither true nor false"),
    ],
)
def test_an_option_that_cannot_be_used_is_refused_with_a_sentence(
    name: str, value: object, sentence: str
) -> None:
    with pytest.raises(OptionError, match=sentence) as caught:
        option(name, value)

    assert name.removesuffix("s") in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("WAIT", "soon", "wait='soon' is not a number"),
        ("WAIT", "", "wait='' is not a number"),
        ("CONCURRENCY", "many", "concurrency='many' is not a number"),
        ("ROUTES", "POST reports", "the route 'POST reports' cannot be read"),
        ("MODE", "", "mode='' is none of 'always', 'prefer'"),
    ],
)
def test_so_is_one_of_the_environment(name: str, text: str, sentence: str) -> None:
    with pytest.raises(OptionError, match=sentence):
        from_environment(name, text)


@pytest.mark.parametrize(
    ("name", "meant"),
    [("concurency", "concurrency"), ("route", "routes"), ("max_waits", "max_wait")],
)
def test_an_unknown_option_is_told_with_the_one_that_may_be_meant(name: str, meant: str) -> None:
    with pytest.raises(
        OptionError, match=f"there is no option '{name}'; did you mean '{meant}'. there are: "
    ):
        option(name, 1)


def test_an_unknown_option_that_is_like_none_is_told_with_all() -> None:
    with pytest.raises(OptionError, match="there is no option 'xyz'; there are: application, "):
        option("xyz", 1)


def test_a_store_that_cannot_work_tells_when_it_is_checked(tmp_path: Path) -> None:
    store = option("store", f"sqlite:///{tmp_path}/no/such/folder/jobs.db")

    with pytest.raises(OptionError, match="store="):
        store.check()


def test_an_owner_that_has_to_be_awaited_is_refused() -> None:
    async def owner(request: object) -> str:
        return "ada"

    with pytest.raises(OptionError, match="not async"):
        Options(owner=owner)  # type: ignore[arg-type]
