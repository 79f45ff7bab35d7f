from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deferit._core.policy import (
    Defaults,
    Deferral,
    Mark,
    Mode,
    Refusal,
    Route,
    Routes,
    applies,
    decide,
    mark_from,
    routes_from,
)
from deferit._core.prefer import NOTHING, Prefer
from deferit.exceptions import OptionError

if TYPE_CHECKING:
    from deferit._core.http import Request

ASYNC = Prefer(respond_async=True)


def accept(_request: Request) -> Refusal:
    return None


async def aaccept(_request: Request) -> Refusal:
    return None


class Nightly:
    """A window a day."""

    def next_after(self, now: float) -> float:
        """Return when the next one opens."""
        return now - now % 86_400 + 86_400


NIGHTLY = Nightly()


# --- marks -----------------------------------------------------------------------------------------------------------


def test_a_mark_is_read_from_keywords() -> None:
    mark = mark_from(
        {"methods": "post, Put", "mode": "prefer", "wait": 2, "accept": accept, "name": "reports"}
    )

    assert mark == Mark(
        methods=frozenset({"POST", "PUT"}), mode=Mode.PREFER, wait=2, accept=accept, name="reports"
    )


def test_a_mark_may_have_a_schedule_in_the_other_modes() -> None:
    for mode in (None, "always", "prefer"):
        assert mark_from({"schedule": NIGHTLY, "mode": mode}).schedule is NIGHTLY


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"methods": "HEAD"}, "HEAD and OPTIONS are never deferred; leave them out"),
        ({"methods": "GET,OPTIONS"}, "HEAD and OPTIONS are never deferred"),
        ({"methods": "GET POST"}, "'GET POST' is not the name of a method; write for example"),
        ({"methods": ""}, "'' is not the name of a method; write for example 'GET,POST'"),
        ({"methods": [7]}, "'7' is not the name of a method"),
        ({"methods": 7}, "methods=7 names no methods; write for example 'GET,POST'"),
        ({"methods": []}, r"methods=\[\] names no methods"),
        ({"mode": "sometimes"}, "mode='sometimes' is none of 'always', 'prefer'"),
        ({"accept": "hook"}, "accept='hook' is not a function of the request"),
        ({"accept": aaccept}, "an async one cannot be awaited here"),
        ({"wait": -1}, "wait=-1 is not a number of seconds, from zero to a hundred years"),
        ({"wait": "2"}, "wait='2' is not a number of seconds"),
        ({"wait": True}, "wait=True is not a number of seconds"),
        ({"wait": math.nan}, "wait=nan is not a number of seconds"),
        ({"wait": math.inf}, "wait=inf is not a number of seconds"),
        ({"retention": 1e12}, "retention=1000000000000.0 is not a number of seconds"),
        (
            {"timeout": 0},
            "timeout=0 leaves the handler no time; write a number of seconds, or None",
        ),
        ({"timeout": "soon"}, "timeout='soon' is not a number of seconds"),
        ({"retries": -1}, "retries=-1 is not a whole number of at least 0"),
        ({"retries": True}, "retries=True is not a whole number"),
        ({"concurrency": 0}, "concurrency=0 is not a whole number of at least 1"),
        ({"concurrency": 1.5}, "concurrency=1.5 is not a whole number"),
        ({"repeatable": "yes"}, "repeatable='yes' is neither True nor False"),
        ({"schedule": 5}, "schedule=5 is not a cron expression; write five fields"),
        ({"coalesce": "no"}, "coalesce='no' is neither True nor False"),
        ({"name": 7}, "name=7 is not a name: write a short text"),
        ({"schedule": NIGHTLY, "mode": "auto"}, "schedule= and mode='auto' exclude each other"),
        ({"wiat": 2}, "there is no mark 'wiat'; did you mean 'wait'. there are: accept, "),
        (
            {"xyz": 2},
            "there is no mark 'xyz'; there are: accept, coalesce, concurrency, methods, mode, name, ",
        ),
    ],
)
def test_a_mark_that_cannot_be_used_is_refused_with_a_sentence(
    options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(OptionError, match=sentence):
        mark_from(options)


@pytest.mark.parametrize(
    ("repeatable", "method", "is_repeatable"),
    [
        (None, "GET", True),
        (None, "PUT", True),
        (None, "DELETE", True),
        (None, "POST", False),
        (None, "PATCH", False),
        (True, "POST", True),
        (False, "GET", False),
    ],
)
def test_what_is_idempotent_is_repeatable_unless_the_mark_says_otherwise(
    repeatable: bool | None, method: str, is_repeatable: bool
) -> None:
    assert Mark(repeatable=repeatable).is_repeatable(method) is is_repeatable


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS"])
def test_head_and_options_are_never_deferred(method: str) -> None:
    assert not applies(Mark(), method)
    assert decide(Mark(), Defaults(), method, ASYNC) is None


def test_a_mark_can_be_narrowed_to_methods() -> None:
    mark = Mark(methods=frozenset({"post"}))

    assert applies(mark, "POST")
    assert decide(mark, Defaults(), "GET", NOTHING) is None


# --- the decision: CONTRACT.md, sections 1 and 7 ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mark_mode", "default_mode", "prefer", "is_deferred"),
    [
        (None, Mode.ALWAYS, NOTHING, True),
        (None, Mode.PREFER, NOTHING, False),
        (None, Mode.PREFER, ASYNC, True),
        (None, Mode.PREFER, Prefer(wait=5), False),
        (Mode.ALWAYS, Mode.PREFER, NOTHING, True),
        (Mode.PREFER, Mode.ALWAYS, NOTHING, False),
        (None, Mode.AUTO, NOTHING, True),
        (Mode.AUTO, Mode.PREFER, NOTHING, True),
    ],
)
def test_the_mode_decides_and_the_marks_comes_first(
    mark_mode: Mode | None, default_mode: Mode, prefer: Prefer, is_deferred: bool
) -> None:
    found = decide(Mark(mode=mark_mode), Defaults(mode=default_mode), "POST", prefer)

    assert (found is not None) == is_deferred


@pytest.mark.parametrize(
    ("prefer", "mark_wait", "wait"),
    [
        (NOTHING, None, 3.0),
        (NOTHING, 2, 2.0),
        (NOTHING, 0, 0.0),
        (ASYNC, 2, 0.0),
        (Prefer(wait=5), 2, 5.0),
        (Prefer(wait=99), 2, 30.0),
        (Prefer(wait=0), 2, 0.0),
        (Prefer(respond_async=True, wait=5), None, 5.0),
    ],
)
@pytest.mark.parametrize("mode", [Mode.ALWAYS, Mode.AUTO])
def test_the_client_says_how_long_to_wait_else_the_mark_else_the_option(
    mode: Mode, prefer: Prefer, mark_wait: float | None, wait: float
) -> None:
    found = decide(Mark(wait=mark_wait), Defaults(mode, wait=3.0), "POST", prefer)

    if mode is Mode.ALWAYS:
        assert found == Deferral(wait if prefer.wait is not None else 0.0, prefer)
    else:
        assert found == Deferral(wait, prefer, is_tried=wait > 0)


@pytest.mark.parametrize(("prefer", "wait"), [(NOTHING, 0.0), (ASYNC, 0.0), (Prefer(wait=5), 5.0)])
def test_nobody_is_kept_waiting_for_a_window_by_the_option_auto(
    prefer: Prefer, wait: float
) -> None:
    found = decide(Mark(schedule=NIGHTLY), Defaults(Mode.AUTO, wait=3.0), "POST", prefer)

    assert found == Deferral(wait, prefer)


def test_mode_prefer_waits_only_as_long_as_the_client_says() -> None:
    mark = Mark(mode=Mode.PREFER, wait=2)

    assert decide(mark, Defaults(), "POST", ASYNC) == Deferral(0.0, ASYNC)
    both = Prefer(respond_async=True, wait=5)
    assert decide(mark, Defaults(), "POST", both) == Deferral(5.0, both)


# --- routes ----------------------------------------------------------------------------------------------------------


def labels(routes: Routes, method: str, path: str) -> str | None:
    route = routes.find(method, path)
    return route.label if route else None


def test_a_literal_route_fits_its_path_alone() -> None:
    routes = routes_from(["POST /reports"])

    assert labels(routes, "POST", "/reports") == "POST /reports"
    assert labels(routes, "GET", "/reports") is None
    assert labels(routes, "POST", "/reports/") is None
    assert labels(routes, "POST", "/report") is None


def test_a_star_is_anything_and_a_name_one_segment() -> None:
    routes = routes_from(["GET /export/*", "GET /orders/{id}/lines", "GET /v1.0/*.csv"])

    assert labels(routes, "GET", "/export/") == "GET /export/*"
    assert labels(routes, "GET", "/export/a/b\nc") == "GET /export/*"
    assert labels(routes, "GET", "/export") is None
    assert labels(routes, "GET", "/orders/7/lines") == "GET /orders/{id}/lines"
    assert labels(routes, "GET", "/orders//lines") is None
    assert labels(routes, "GET", "/orders/7/8/lines") is None
    assert labels(routes, "GET", "/v1.0/a.csv") == "GET /v1.0/*.csv"
    assert labels(routes, "GET", "/v1x0/a.csv") is None


def test_every_method_is_all_but_head_and_options() -> None:
    routes = routes_from(["* /*", "* /literal"])

    assert [
        method
        for method in ("GET", "HEAD", "POST", "OPTIONS", "PURGE")
        if is_deferred(routes, method, "/x") and is_deferred(routes, method, "/literal")
    ] == ["GET", "POST", "PURGE"]


def is_deferred(routes: Routes, method: str, path: str) -> bool:
    route = routes.find(method, path)
    return route is not None and decide(route.mark, Defaults(), method, NOTHING) is not None


def test_head_has_the_route_of_get_and_is_not_deferred() -> None:
    routes = routes_from(["GET /export/*", "POST /reports"])

    assert labels(routes, "HEAD", "/export/a") == "GET /export/*"
    assert not is_deferred(routes, "HEAD", "/export/a")
    assert labels(routes, "HEAD", "/reports") is None


def test_the_first_that_fits_counts_and_literal_paths_come_first() -> None:
    routes = routes_from(["* /*", "GET /a*", "POST /a", "GET,POST /a"])

    assert labels(routes, "POST", "/a") == "POST /a"
    assert labels(routes, "GET", "/a") == "GET,POST /a"
    assert labels(routes, "GET", "/ab") == "* /*"


def test_routes_have_marks() -> None:
    routes = routes_from({"POST /a": {"wait": 2, "name": "report"}, "* /b": {"methods": "GET"}})

    found = routes.find("POST", "/a")
    assert found is not None
    assert (found.mark.wait, found.label) == (2, "report")
    assert labels(routes, "GET", "/b") == "* /b"
    assert labels(routes, "POST", "/b") is None


def test_all_routes_can_be_looked_through() -> None:
    routes = routes_from(["GET /export/*", "POST /reports", "PUT /reports"])

    assert [route.label for route in routes] == ["POST /reports", "PUT /reports", "GET /export/*"]


def test_no_routes_are_false() -> None:
    assert not routes_from(())
    assert not routes_from("")
    assert not routes_from(" ")
    assert routes_from(["GET /a"])
    assert routes_from(["GET /*"])


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("POST /reports", ["POST /reports"]),
        (
            "POST /reports,GET,POST /export/*, * /x ",
            ["POST /reports", "GET,POST /export/*", "* /x"],
        ),
        ("get /a,", ["GET /a"]),
    ],
)
def test_the_environment_separates_them_by_commas(text: str, found: list[str]) -> None:
    routes = routes_from(text)

    for label in found:
        names, path = label.split(" ")
        method = "DELETE" if names == "*" else names.split(",")[0]
        assert labels(routes, method, path.replace("*", "any")) == label.replace("any", "*")


@pytest.mark.parametrize(
    "value",
    [
        ["/reports"],
        ["POST reports"],
        ["POST"],
        [""],
        ["POST /a b"],
        ["POST,/a"],
        [7],
        [None],
        {"reports": {}},
        "POST reports",
        "GET /a,POST b",
        "reports",
    ],
)
def test_a_route_that_cannot_be_read_is_refused(value: object) -> None:
    with pytest.raises(OptionError, match=r"cannot be read; write .* for example 'POST /reports'"):
        routes_from(value)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (7, r"routes=7 is not a list; write for example routes=\['POST /reports'"),
        (["HEAD /a"], "HEAD and OPTIONS are never deferred"),
        ({"POST /a": {"wiat": 2}}, "did you mean 'wait'"),
        ({"POST /a": None}, "None are no marks; write a mapping"),
        ({"POST /a": "wait"}, "'wait' are no marks"),
    ],
)
def test_other_mistakes_are_told_too(value: object, sentence: str) -> None:
    with pytest.raises(OptionError, match=sentence):
        routes_from(value)


SEGMENTS = st.text("abc.+(é", min_size=1, max_size=5)
PATHS = st.lists(SEGMENTS, min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts))


@given(PATHS, PATHS)
def test_a_literal_path_fits_itself_and_nothing_else(path: str, other: str) -> None:
    routes = Routes([Route(None, path, Mark())])

    assert (routes.find("GET", other) is not None) == (path == other)


@given(PATHS, SEGMENTS, PATHS, SEGMENTS)
def test_a_pattern_fits_whatever_its_wild_parts_stand_for(
    head: str, segment: str, tail: str, extra: str
) -> None:
    named = Routes([Route(None, f"{head}/{{x}}{tail}", Mark())])
    starred = Routes([Route(None, f"{head}*{tail}", Mark())])

    assert named.find("GET", f"{head}/{segment}{tail}")
    assert not named.find("GET", f"{head}/{tail}")
    assert not named.find("GET", f"x{head}/{segment}{tail}")
    assert starred.find("GET", f"{head}{extra}/{segment}{tail}")
    assert starred.find("GET", f"{head}{tail}")


TOKENS = st.sampled_from(["*", "{name}", "a", "b", "/", "-", "ab", ".", "{"])


@given(
    st.lists(TOKENS, max_size=7), st.lists(st.sampled_from(["a", "b", "/", "-", "."]), max_size=12)
)
def test_a_pattern_fits_what_the_plain_expression_for_it_fits(
    tokens: list[str], letters: list[str]
) -> None:
    """The plain one tries all ways to divide a path, and would take hours for a long one."""
    pattern, path = "/" + "".join(tokens), "/" + "".join(letters)
    wild = {"*": ".*", "{name}": "[^/]+"}
    parts = re.split(r"(\*|\{name\})", pattern)
    plain = re.compile("".join(wild.get(part, re.escape(part)) for part in parts))

    found = Routes([Route(None, pattern, Mark())]).find("GET", path)

    assert (found is not None) == (plain.fullmatch(path) is not None)


@pytest.mark.parametrize("pattern", ["/*a*a*a*a*a*b", "/{a}-{b}-{c}-{d}-{e}/x", "/*/*/*/*/*/x"])
def test_a_long_path_is_matched_as_soon_as_it_is_read(pattern: str) -> None:
    path = "/" + 16_000 * "a-/"[: 1 + pattern.count("-")]

    assert Routes([Route(None, pattern, Mark())]).find("GET", path) is None
