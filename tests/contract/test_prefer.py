"""CONTRACT.md §1 and §7: what a client prefers (RFC 7240), and what is said of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.contract.stage import Said
from tests.contract.support import few
from tests.elsewhere.promises import IS_HERE

from deferit._core.prefer import Prefer, parse

if TYPE_CHECKING:
    from tests.contract.conftest import Build
    from tests.contract.support import Site


@pytest.mark.parametrize(
    ("lines", "prefer"),
    [
        ([], Prefer()),
        ([""], Prefer()),
        (["respond-async"], Prefer(respond_async=True)),
        (["RESPOND-ASYNC , Wait = 5"], Prefer(respond_async=True, wait=5)),
        (["respond-async; priority=5, return=minimal"], Prefer(respond_async=True, minimal=True)),
        (["return=minimal", "wait=7", "respond-async"], Prefer(True, 7, True)),
        (['wait="7"'], Prefer(wait=7)),
        (["wait=7, wait=9"], Prefer(wait=7)),
        (["wait=9", "wait=7"], Prefer(wait=9)),
        (["wait=soon, respond-async"], Prefer(respond_async=True)),
        (["wait=-1"], Prefer()),
        (["wait=1.5"], Prefer()),
        (["wait=¹"], Prefer()),
        (["wait"], Prefer()),
        (["=, ;, , =5, ;;wait=3"], Prefer()),
        (["return=representation"], Prefer()),
        (["respond-async=please"], Prefer()),
        (["handling=lenient, foo; bar, respond-async"], Prefer(respond_async=True)),
        (["wait=99999999999999999999"], Prefer(wait=999999999)),
    ],
)
def test_a_preference_is_read_as_the_rfc_says(lines: list[str], prefer: Prefer) -> None:
    assert parse(lines) == prefer


HEADER_TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=60)


@given(st.lists(HEADER_TEXT, max_size=4))
def test_no_field_is_too_malformed_to_be_read(lines: list[str]) -> None:
    found = parse(lines)

    assert found.wait is None or found.wait >= 0


@few
@pytest.mark.parametrize(
    ("label", "prefer", "status", "applied"),
    [
        ("always", None, 202, set()),
        ("always", "respond-async", 202, {"respond-async"}),
        ("always", "wait=0", 202, set()),
        ("always", "respond-async, wait=0", 202, {"respond-async"}),
        ("always", "return=minimal", 202, {"return=minimal"}),
        ("always", "return=representation, foo", 202, set()),
        ("always", "wait=20", 201, set()),
        ("always", "wait=20, respond-async, return=minimal", 201, set()),
        ("prefer", None, 201, set()),
        ("prefer", "wait=20", 201, set()),
        ("prefer", "return=minimal", 201, set()),
        ("prefer", "respond-async", 202, {"respond-async"}),
        ("prefer", "respond-async, wait=20", 201, set()),
        ("prefer", ";;, respond-async, wait=soon", 202, {"respond-async"}),
        ("auto", None, 201, set()),
        ("auto", "wait=20", 201, set()),
        ("auto", "respond-async, wait=20", 201, set()),
        ("auto", "respond-async", 202, {"respond-async"}),
        ("auto", "wait=0", 202, set()),
        ("auto", "wait=0, return=minimal", 202, {"return=minimal"}),
    ],
)
def test_each_mode_does_as_the_client_prefers(
    shop: Site, label: str, prefer: str | None, status: int, applied: set[str]
) -> None:
    shop.stage.acts["make"] = lambda _: Said(201, b"made", (("Vary", "Accept"),))
    headers = {"Prefer": prefer} if prefer else {}

    answer = shop.post(f"/{label}/make", **headers)

    assert answer.status == status
    assert answer.members("Preference-Applied") == applied
    assert answer.members("Vary") == {"Accept", "Prefer"}
    assert ("Location" in answer) == (status == 202)


@pytest.mark.parametrize("label", ["always", "brief"])
def test_a_wait_that_was_honoured_in_vain_is_applied(build: Build, label: str) -> None:
    shop = build(max_wait=0.05)
    shop.stage.gated("slow")

    answer = shop.post(f"/{label}/slow", Prefer="wait=1, respond-async")

    assert answer.status == 202
    assert answer.members("Preference-Applied") == {"wait=1", "respond-async"}
    assert answer.document["status"] in ({"running"} if IS_HERE else {"accepted", "running"})


def test_several_lines_are_one_list(shop: Site) -> None:
    lines = (("Prefer", "handling=lenient"), ("Prefer", "return=minimal, respond-async"))

    answer = shop.ask("POST", "/prefer/echo", b"", *lines)

    assert answer.status == 202
    assert answer.members("Preference-Applied") == {"respond-async", "return=minimal"}


def test_a_minimal_return_is_a_202_without_body_and_content_location(shop: Site) -> None:
    answer = shop.post("/always/echo", b"x", Prefer="return=minimal")

    assert (answer.status, answer.body) == (202, b"")
    assert "Content-Location" not in answer
    assert "Content-Type" not in answer
    assert answer.get("Content-Length") in {None, "0"}
    assert shop.result_of(answer["Location"]).body == b"x"
    assert {"Operation-Location", "Link", "Retry-After"} <= {
        name.title() for name, _ in answer.fields
    }


@pytest.mark.parametrize("label", ["always", "prefer", "auto"])
def test_a_head_request_is_answered_synchronously_and_varies(shop: Site, label: str) -> None:
    answer = shop.ask("HEAD", f"/{label}/echo", Prefer="respond-async")

    assert (answer.status, answer.body) == (200, b"")
    assert answer.members("Vary") == {"Prefer"}
    assert "Preference-Applied" not in answer


def test_a_route_that_is_not_deferrable_does_not_vary(shop: Site) -> None:
    answer = shop.post("/plain/echo", b"x", Prefer="respond-async, return=minimal, wait=3")

    assert (answer.status, answer.body) == (200, b"x")
    assert not answer.members("Vary") | answer.members("Preference-Applied")


@pytest.mark.parametrize("mode", ["prefer", "auto"])
def test_a_configured_route_varies_too(build: Build, mode: str) -> None:
    shop = build(routes={"POST /plain/*": {"mode": mode, "wait": 20}})

    answer = shop.post("/plain/echo", b"x")

    assert (answer.status, answer.body) == (200, b"x")
    assert answer.members("Vary") == {"Prefer"}


# --- waiting on the monitor and the result ---------------------------------------------------------------------------


@pytest.mark.parametrize("resource", ["", "/result"])
def test_a_client_that_waits_is_answered_when_the_job_is_finished(
    shop: Site, resource: str
) -> None:
    shop.stage.gated("slow", Said(201, b"at last"))
    monitor = shop.defer("/always/slow")

    waiting = shop.open("GET", monitor + resource, Prefer="wait=20")
    shop.await_watchers(monitor, 1)
    shop.stage.open("slow")
    answer = waiting.answer()

    assert answer.status == (201 if resource else 200)
    assert (answer.body if resource else answer.document["status"]) in {b"at last", "succeeded"}


@pytest.mark.parametrize("resource", ["", "/result"])
def test_a_client_that_has_waited_in_vain_is_told_to_come_back(build: Build, resource: str) -> None:
    shop = build(max_wait=0.05)
    shop.stage.gated("slow")
    monitor = shop.defer("/always/slow")

    answer = shop.get(monitor + resource, Prefer="wait=1000")

    assert answer.status == 202
    assert answer["Location"] == monitor + resource
    assert int(answer["Retry-After"]) >= 1


def test_a_finished_job_keeps_nobody_waiting(shop: Site) -> None:
    monitor = shop.defer()
    shop.end_of(monitor)

    assert shop.get(monitor, Prefer="wait=20").status == 200
    assert shop.get(monitor + "/result", Prefer="wait=20").status == 200


def test_a_head_request_waits_as_a_get_does(shop: Site) -> None:
    shop.stage.gated("slow", Said(201, b"at last"))
    monitor = shop.defer("/always/slow")

    waiting = shop.open("HEAD", monitor, Prefer="wait=20")
    shop.await_watchers(monitor, 1)
    shop.stage.open("slow")

    assert waiting.answer().status == 200
    assert shop.ask("HEAD", monitor + "/result").status == 201
