from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.core.samples import a_request
from werkzeug.datastructures import Headers

from deferit._core.body import StoredBody
from deferit._core.http import Pairs, Request, Response, first, merged, without

TOKENS = st.text("abcXYZ-", min_size=1, max_size=4)


def test_a_url_quotes_the_path_and_keeps_the_query_as_it_came() -> None:
    request = Request("GET", "/größe/a b", "q=%20+", Headers(), {}, "https://shop.example/api")

    assert request.url == "https://shop.example/api/gr%C3%B6%C3%9Fe/a%20b?q=%20+"
    assert a_request(path="/plain").url == "https://shop.example/api/plain"


def test_a_request_does_not_show_its_scope() -> None:
    request = Request("GET", "/", "", Headers(), {"secret": "hunter2"}, "https://shop.example")

    assert "hunter2" not in repr(request)


def test_a_response_survives_pickling() -> None:
    response = Response(200, (("A", "b"),), StoredBody("job", 1, 0, 3))

    assert pickle.loads(pickle.dumps(response)) == response


def test_a_response_knows_the_length_of_its_body() -> None:
    assert Response(204).length == 0
    assert Response(200, (), b"hello").length == 5
    assert Response(206, (), StoredBody("job", 1, 2, 9)).length == 7


def test_the_first_value_of_a_field_is_found_whatever_its_case() -> None:
    response = Response(200, (("X-A", "1"), ("x-a", "2")))

    assert response.header("x-A") == "1"
    assert response.header("X-B") is None
    assert first((), "X-A") is None


def test_fields_are_left_out_by_their_lower_case_names() -> None:
    pairs = (("Date", "now"), ("X-A", "1"), ("date", "then"))

    assert without(pairs, frozenset({"date"})) == (("X-A", "1"),)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((), (("Vary", "Prefer, Accept"),)),
        ((("X", "y"),), (("X", "y"), ("Vary", "Prefer, Accept"))),
        ((("vary", "Origin"),), (("Vary", "Origin, Prefer, Accept"),)),
        (
            (("Vary", "Origin,  PREFER"), ("Vary", "Cookie")),
            (("Vary", "Origin, PREFER, Cookie, Accept"),),
        ),
        ((("Vary", "accept, prefer"),), (("Vary", "accept, prefer"),)),
        ((("Vary", "*"),), (("Vary", "*"),)),
        ((("Vary", " ,"),), (("Vary", "Prefer, Accept"),)),
    ],
)
def test_members_are_merged_into_a_list(before: Pairs, after: Pairs) -> None:
    assert merged(before, "Vary", ("Prefer", "Accept")) == after


def test_merging_no_members_changes_nothing() -> None:
    assert merged((("X", "y"),), "Vary", ()) == (("X", "y"),)


@given(st.lists(TOKENS, max_size=4), st.lists(TOKENS, max_size=4))
def test_merging_keeps_all_and_adds_each_once(present: list[str], added: list[str]) -> None:
    members = tuple({member.lower(): member for member in added}.values())

    once = merged((("Vary", ", ".join(present)),), "Vary", members)

    listed = [item.lower() for _, value in once for item in value.split(", ") if item]
    assert set(listed) == {item.lower() for item in [*present, *added]}
    assert listed[: len(present)] == [item.lower() for item in present]
    assert len(listed) <= len(present) + len(members)
    assert merged(once, "Vary", members) == once
