from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.core.samples import a_request, in_status, succeeded
from werkzeug.datastructures import Headers

from deferit._core.idempotency import Identity, InvalidKey, client_key, identity
from deferit._core.job import Status

if TYPE_CHECKING:
    from deferit._core.http import Request


def with_lines(*lines: str) -> Request:
    headers = Headers([("Idempotency-Key", line) for line in lines])
    return replace(a_request("POST"), headers=headers)


# --- the key ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ('"8e03978e-40d5-43dd-bc93-6894a57f9324"', "8e03978e-40d5-43dd-bc93-6894a57f9324"),
        ("8e03978e-40d5-43dd-bc93-6894a57f9324", "8e03978e-40d5-43dd-bc93-6894a57f9324"),
        ('  "k"  ', "k"),
        ('" a b "', " a b "),
        (r'"a\"b\\c"', r'a"b\c'),
        ("a:b/c=", "a:b/c="),
        ("k" * 255, "k" * 255),
        (f'"{"k" * 255}"', "k" * 255),
        (f'"{255 * chr(92) * 2}"', 255 * chr(92)),
    ],
)
def test_a_key_is_a_string_or_a_token(line: str, key: str) -> None:
    assert client_key(with_lines(line)) == key


@pytest.mark.parametrize(
    "line",
    [
        *("", " ", '""', "k" * 256, f'"{"k" * 256}"', "a b", "a,b", '"a', 'a"', '"a"b', '"a" "b"'),
        *(r'"a\b"', '"ä"', "ä", '"a\tb"', '"a";p=1', "(a)", '"a", "b"'),
    ],
)
def test_what_cannot_be_read_is_no_key(line: str) -> None:
    with pytest.raises(InvalidKey):
        client_key(with_lines(line))


def test_several_keys_are_none_and_so_is_no_field() -> None:
    with pytest.raises(InvalidKey):
        client_key(with_lines("a", "a"))
    assert client_key(a_request("POST")) is None


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=255))
def test_every_printable_text_can_be_a_key(text: str) -> None:
    quoted = text.replace("\\", r"\\").replace('"', r"\"")

    assert client_key(with_lines(f'"{quoted}"')) == text


# --- the identity ----------------------------------------------------------------------------------------------------


def same(
    *wishes: str,
    request: Request | None = None,
    application: str = "shop",
    owner: str | None = None,
    key: str | None = "k",
    digest: str = "d",
) -> Identity:
    request = request or a_request("POST", Content_Type="text/csv")
    return identity(application, request, owner, key, digest, *wishes)


ELSEWHERE: list[dict[str, Any]] = [
    {"application": "other"},
    {"owner": "ada"},
    {"request": a_request("PUT", Content_Type="text/csv")},
    {"request": a_request("POST", "/orders", Content_Type="text/csv")},
    {"request": a_request("POST", Content_Type="text/csv", Authorization="Bearer a")},
    {"request": a_request("POST", Content_Type="text/csv", Cookie="session=a")},
    {"request": a_request("POST", Content_Type="text/csv", Cookie="Bearer a")},
]


def test_a_key_is_of_one_submitter_and_one_place() -> None:
    keys = [same(**change).key for change in [{}, {"key": "other"}, *ELSEWHERE]]

    assert len(set(keys)) == len(keys)


def test_an_owner_may_come_with_other_credentials() -> None:
    tokens = [a_request("POST", Authorization=token) for token in ("a", "b")]

    assert len({same(request=request, owner="ada").key for request in tokens}) == 1
    assert len({same(request=request).key for request in tokens}) == 2


DIFFERENT: list[dict[str, Any]] = [
    {"digest": "other"},
    {"request": a_request("POST", Content_Type="text/plain")},
    {"request": replace(a_request("POST", Content_Type="text/csv"), query="page=2")},
]


@pytest.mark.parametrize("change", DIFFERENT)
def test_another_request_with_the_same_key_has_another_fingerprint(change: Any) -> None:
    assert same(**change).key == same().key
    assert same(**change).fingerprint != same().fingerprint
    assert same("a wish", **change).fingerprint != same(**change).fingerprint


def test_other_fields_make_no_other_request() -> None:
    noisy = a_request("POST", Content_Type="text/csv", User_Agent="x", Accept="*/*")

    assert same(request=noisy) == same()


@pytest.mark.parametrize("change", [*ELSEWHERE, *DIFFERENT])
def test_without_a_key_all_that_a_request_says_is_its_identity(change: Any) -> None:
    assert same(key=None, **change).key != same(key=None).key
    assert same(key=None) == same(key=None)
    assert same(key=None).while_unfinished
    assert not same().while_unfinished


@given(st.lists(st.text(), max_size=3), st.lists(st.text(), max_size=3))
def test_no_two_lists_of_texts_are_alike(one: list[str], two: list[str]) -> None:
    assert (same(*one).fingerprint == same(*two).fingerprint) == (one == two)


def test_what_no_encoding_has_can_be_hashed() -> None:
    assert (
        same(request=a_request("POST", "/\udcff")).key != same(request=a_request("POST", "/")).key
    )


# --- how long it lasts -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", Status)
def test_a_key_of_the_clients_lives_as_long_as_the_job_one_of_ours_as_long_as_the_work(
    status: Status,
) -> None:
    job = in_status(status)

    assert job.key is None
    assert job.but(identity=Identity("k", "f")).key == "k"
    ours = job.but(identity=Identity("k", "f", while_unfinished=True))
    assert ours.key == (None if job.is_finished else "k")
    assert succeeded().key is None
