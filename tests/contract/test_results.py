"""CONTRACT.md §2, §3 and §5: ranges, conditional requests, HEAD, and what becomes of a job in the end."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.contract.stage import Said
from tests.contract.support import execute, few, id_of, site, stored
from tests.servers.harness import until
from tests.stores.places import chosen, fresh

from deferit._core.commands import Cancel, Create, Sweep
from deferit._core.job import TOMBSTONE
from deferit._core.recorder import PIECE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.contract.clients import Answer
    from tests.contract.support import Framework, Site

WHOLE = bytes(range(256)) * (2 * PIECE // 256) + b"and a rest of it"
"""Three stored pieces."""
LAST = len(WHOLE) - 1


def result_with(shop: Site, body: bytes = WHOLE, **fields: str) -> str:
    """Return the URL of a finished job's result."""
    headers = tuple((name.replace("_", "-"), value) for name, value in fields.items())
    shop.stage.acts["make"] = lambda _: Said(200, body, headers)
    monitor = shop.defer("/always/make")
    shop.end_of(monitor)
    return monitor + "/result"


# --- ranges ----------------------------------------------------------------------------------------------------------


@few
@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-99", 0, 100),
        ("bytes=100-", 100, LAST + 1),
        ("bytes=-10", LAST - 9, LAST + 1),
        (f"bytes={PIECE - 1}-{PIECE}", PIECE - 1, PIECE + 1),
        (f"bytes={PIECE}-{2 * PIECE - 1}", PIECE, 2 * PIECE),
        (f"bytes={PIECE - 5}-{2 * PIECE + 5}", PIECE - 5, 2 * PIECE + 6),
        (f"bytes={LAST}-", LAST, LAST + 1),
        (f"bytes=10-{LAST + 1000}", 10, LAST + 1),
        (f"bytes=-{LAST + 1000}", 0, LAST + 1),
    ],
)
def test_a_range_is_a_slice_of_the_whole(shop: Site, asked: str, start: int, stop: int) -> None:
    url = result_with(shop)
    whole = shop.get(url)

    part = shop.get(url, Range=asked)

    assert (part.status, part.body) == (206, WHOLE[start:stop])
    assert part["Content-Range"] == f"bytes {start}-{stop - 1}/{len(WHOLE)}"
    assert part["Content-Length"] == str(stop - start)
    for name in ("ETag", "Content-Type", "AsyncResult", "Link", "Cache-Control", "Sunset"):
        assert part[name] == whole[name]
    assert (whole.status, whole.body, whole["Accept-Ranges"]) == (200, WHOLE, "bytes")


@pytest.mark.parametrize("asked", [f"bytes={LAST + 1}-", "bytes=999999999-1000000000", "bytes=-0"])
def test_a_range_outside_the_whole_is_not_satisfiable(shop: Site, asked: str) -> None:
    answer = shop.get(result_with(shop), Range=asked)

    assert (answer.status, answer["Content-Range"]) == (416, f"bytes */{len(WHOLE)}")
    assert answer.document["code"] == "range-not-satisfiable"


@few
@pytest.mark.parametrize(
    "asked",
    [
        *("bytes=0-1,5-6", "lines=0-1", "bytes", "bytes=", "bytes=x-y", "bytes=5-1"),
        *("bytes=--5", "0-1", "bytes=1-2-3", "bytes=-", "", "bytes=0-" + 5000 * "9"),
    ],
)
def test_what_is_not_one_range_of_bytes_gets_the_whole(shop: Site, asked: str) -> None:
    answer = shop.get(result_with(shop, b"0123456789"), Range=asked)

    assert (answer.status, answer.body) == (200, b"0123456789")
    assert "Content-Range" not in answer


def test_an_empty_result_has_no_range(shop: Site) -> None:
    assert shop.get(result_with(shop, b""), Range="bytes=0-").status == 416


def test_a_range_is_for_the_representation_that_the_client_knows(shop: Site) -> None:
    url = result_with(shop, b"0123456789")
    tag = shop.get(url)["ETag"]

    def part(if_range: str) -> int:
        return shop.get(url, Range="bytes=0-1", If_Range=if_range).status

    assert part(tag) == 206
    assert part('"another"') == 200
    assert part(f"W/{tag}") == 200  # "strong comparison" (RFC 9110 §13.1.5)
    assert part("Thu, 01 Jan 1970 00:00:00 GMT") == 200


def test_a_weak_tag_of_the_handlers_is_none_to_combine_ranges_by(shop: Site) -> None:
    url = result_with(shop, b"0123456789", ETag='W/"v1"')

    assert shop.get(url, Range="bytes=0-1", If_Range='W/"v1"').status == 200
    assert shop.get(url, Range="bytes=0-1").status == 206


def test_a_head_request_knows_no_range(shop: Site) -> None:
    answer = shop.ask("HEAD", result_with(shop), Range="bytes=0-1")

    assert (answer.status, answer.body) == (200, b"")
    assert answer["Content-Length"] == str(len(WHOLE))
    assert "Content-Range" not in answer


@few
@pytest.mark.parametrize("status", [201, 206, 404, 500])
def test_only_a_200_has_ranges(shop: Site, status: int) -> None:
    shop.stage.acts["make"] = lambda _: Said(status, b"0123456789")
    monitor = shop.defer("/always/make")
    shop.end_of(monitor)

    answer = shop.get(monitor + "/result", Range="bytes=0-1")

    assert (answer.status, answer.body) == (status, b"0123456789")


@pytest.fixture(scope="module", params=["starlette", "flask"])
def lasting(request: pytest.FixtureRequest) -> Iterator[tuple[Site, str]]:
    framework: Framework = request.param
    with site(framework, store=fresh(*chosen("sqlite"))) as shop:
        yield shop, result_with(shop)


BORDERS = [0, 1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE - 1, 2 * PIECE, LAST - 1, LAST, LAST + 1]
positions = st.one_of(st.sampled_from(BORDERS), st.integers(0, LAST + 10))


@settings(max_examples=60, deadline=None)
@given(first=st.none() | positions, last=st.none() | positions)
def test_any_range_is_what_the_rfc_says(
    lasting: tuple[Site, str], first: int | None, last: int | None
) -> None:
    shop, url = lasting
    asked = f"bytes={'' if first is None else first}-{'' if last is None else last}"

    answer = shop.get(url, Range=asked)

    expected = part(first, last)
    if expected is None:
        assert (answer.status, answer.body) == (200, WHOLE)
    elif expected:
        assert (answer.status, answer.body) == (206, expected)
    else:
        assert answer.status == 416


def part(first: int | None, last: int | None) -> bytes | None:
    """Return what a range is of the whole; None: it is no range."""
    if first is None:
        return None if last is None else WHOLE[max(0, len(WHOLE) - last) :]
    if last is None:
        return WHOLE[first:]
    return None if last < first else WHOLE[first : last + 1]


# --- conditional requests --------------------------------------------------------------------------------------------


def test_a_result_that_the_client_has_is_not_sent_again(shop: Site) -> None:
    url = result_with(shop, b"x")
    tag = shop.get(url)["ETag"]

    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        answer = shop.get(url, If_None_Match=known)
        assert (answer.status, answer.body, answer["ETag"]) == (304, b"", tag)
        assert shop.ask("HEAD", url, If_None_Match=known).status == 304
    assert shop.get(url, If_None_Match='"other"').status == 200
    assert shop.get(url, If_None_Match=tag, Range="bytes=0-0").status == 304


def test_the_tag_of_the_handlers_is_kept(shop: Site) -> None:
    url = result_with(shop, b"x", ETag='W/"v1"')

    assert shop.get(url)["ETag"] == 'W/"v1"'
    assert shop.get(url, If_None_Match='"v1"').status == 304


def test_conditions_are_nothing_to_a_failure(shop: Site) -> None:
    shop.stage.acts["make"] = lambda _: Said(404, b"none", (("ETag", '"v1"'),))
    monitor = shop.defer("/always/make")
    shop.end_of(monitor)

    assert shop.get(monitor + "/result", If_None_Match='"v1"').status == 404


def test_a_finished_monitor_that_the_client_has_is_not_sent_again(shop: Site) -> None:
    monitor = shop.defer()
    end = shop.end_of(monitor)
    modified = end["Last-Modified"]

    assert not end["ETag"].startswith("W/")
    assert shop.get(monitor, If_None_Match=end["ETag"]).status == 304
    assert shop.get(monitor, If_Modified_Since=modified).status == 304
    assert shop.get(monitor, If_None_Match='"x"', If_Modified_Since=modified).status == 200
    assert shop.get(monitor, If_Modified_Since="Thu, 01 Jan 1970 00:00:00 GMT").status == 200
    assert shop.get(monitor, If_Modified_Since="yesterday").status == 200


def test_a_pending_monitor_has_a_weak_tag_and_no_date(shop: Site) -> None:
    shop.stage.gated("slow")
    monitor = shop.defer("/always/slow")

    def running() -> Answer | None:
        answer = shop.get(monitor)
        return answer if answer.document["status"] == "running" else None

    answer = until(running, "it to run")
    same = shop.get(monitor, If_None_Match=answer["ETag"])

    assert answer["ETag"].startswith("W/")
    assert "Last-Modified" not in answer
    assert (same.status, same.body, same["ETag"]) == (304, b"", answer["ETag"])
    assert "Retry-After" in same


@pytest.mark.parametrize("state", ["pending", "finished"])
def test_head_is_the_head_of_get(shop: Site, state: str) -> None:
    shop.stage.gated("slow")
    monitor = shop.defer("/always/slow")
    shop.stage.wait_for("slow")
    if state == "finished":
        shop.stage.open("slow")
        shop.end_of(monitor)

    for url in (monitor, monitor + "/result"):
        got, head = shop.get(url), shop.ask("HEAD", url)
        assert (head.status, head.body) == (got.status, b"")
        assert {name.lower() for name, _ in head.fields} == {name.lower() for name, _ in got.fields}


# --- expiry ----------------------------------------------------------------------------------------------------------


def test_a_finished_job_says_when_it_goes(shop: Site) -> None:
    monitor = shop.defer()
    end = shop.end_of(monitor)
    result = shop.get(monitor + "/result")

    sunset = parsedate_to_datetime(end["Sunset"]).timestamp()
    assert end["Sunset"] == result["Sunset"]
    assert sunset - time.time() == pytest.approx(86_400, abs=10)
    assert end.document["expires"][:19] == time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(sunset))


def test_an_expired_job_is_gone_then_unknown(shop: Site) -> None:
    monitor = shop.defer("/fleeting/echo", b"x")
    until(lambda: shop.get(monitor).status == 410, "the job to expire")

    for swept in (time.time(), time.time() + TOMBSTONE - 60):
        execute(shop.store, Sweep(swept))
        for url in (monitor, monitor + "/result", monitor + "/events"):
            gone = shop.get(url)
            assert (gone.status, gone.document["code"]) == (410, "job-expired")
            assert gone["Cache-Control"] == "no-store"
        assert shop.ask("POST", monitor + "/cancel").status == 410
    execute(shop.store, Sweep(time.time() + TOMBSTONE + 60))
    unknown = shop.get(monitor)

    assert (unknown.status, unknown.document["code"]) == (404, "job-not-found")


def test_an_expired_job_of_somebody_else_is_unknown(owned: Site) -> None:
    monitor = owned.defer("/fleeting/echo", X_Owner="ann")
    until(lambda: owned.get(monitor, X_Owner="ann").status == 410, "the job to expire")

    assert owned.get(monitor, X_Owner="ben").status == 404


def test_a_canceled_job_expires_too(shop: Site) -> None:
    shop.stage.gated("slow")
    monitor = shop.defer("/fleeting/slow")

    shop.ask("DELETE", monitor)

    assert shop.get(monitor).status == 410


def test_expiry_never_touches_a_job_that_is_not_finished(shop: Site) -> None:
    engine = shop.middleware.engine
    long_ago = time.time() - 10 * 86_400
    marks: dict[str, Any] = {"route": "x", "method": "POST", "ttl": 0.0}
    old = engine.draft(**marks).but(created_at=long_ago, updated_at=long_ago)
    running, waiting = (
        old.claimed(long_ago),
        engine.draft(**marks).but(due_at=time.time() + 9e5),
    )
    execute(shop.store, Create(running, b"", lease_until=time.time() + 60), Create(waiting, b""))

    execute(shop.store, Sweep(time.time()), Sweep(time.time()))

    for job in (running, waiting):
        answer = shop.get(f"/jobs/{job.id}")
        assert (answer.status, answer.document["status"]) == (202, job.status)
        assert "Sunset" not in answer
        assert "expires" not in answer.document


def test_what_was_canceled_longer_ago_than_it_is_kept_is_gone(shop: Site) -> None:
    job = shop.middleware.engine.draft(route="x", method="POST", ttl=60.0)
    waiting = job.but(due_at=time.time() + 9e5)
    execute(shop.store, Create(waiting, b""), Cancel(job.id, 0, time.time() - 30, "never started"))
    kept = shop.get(f"/jobs/{job.id}").status
    other = waiting.but(id=shop.middleware.engine.draft(route="x", method="POST", ttl=60.0).id)
    execute(shop.store, Create(other, b""), Cancel(other.id, 0, time.time() - 61, "never started"))

    assert (kept, shop.get(f"/jobs/{other.id}").status) == (200, 410)
    assert stored(shop.store, id_of(f"/{other.id}")).is_finished
