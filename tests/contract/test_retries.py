"""The mark `retries`: what raises, or answers an error with Retry-After, is tried again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.contract.stage import Said
from tests.servers.harness import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.contract.clients import Answer
    from tests.contract.conftest import Build
    from tests.contract.support import Site

TRIED: dict[str, Any] = {"tried": {"retries": 2}, "once": {}}

BUSY = Said(503, b"busy", (("Retry-After", "0"),))


@pytest.fixture
def shop(build: Build) -> Site:
    return build(marks=TRIED)


def failing(site: Site, times: int, fail: Callable[[], Said]) -> None:
    """Have the act `flaky` fail so often, and echo then."""

    def act(body: bytes) -> Said:
        return fail() if site.stage.called("flaky") <= times else Said(body=body)

    site.stage.acts["flaky"] = act


def broken() -> Said:
    raise OSError("the disk is on fire")


@pytest.mark.parametrize("fail", [broken, lambda: BUSY], ids=["raises", "is busy"])
def test_a_handler_that_fails_once_is_tried_again(shop: Site, fail: Callable[[], Said]) -> None:
    failing(shop, 1, fail)

    monitor = shop.defer("/tried/flaky", b"x")
    document = shop.end_of(monitor).document

    assert (document["status"], document["attempt"]) == ("succeeded", 2)
    assert "message" not in document
    assert shop.result_of(monitor).body == b"x"
    assert shop.stage.calls["flaky"] == 2


def test_retries_come_to_an_end_with_the_last_answer(shop: Site) -> None:
    failing(shop, 9, lambda: BUSY)

    monitor = shop.defer("/tried/flaky")
    document = shop.end_of(monitor).document

    assert (document["status"], document["attempt"]) == ("failed", 3)
    result = shop.get(monitor + "/result")
    assert (result.status, result.body, result["AsyncResult"]) == (503, b"busy", "503")


def test_a_job_that_is_to_be_tried_again_says_so(shop: Site) -> None:
    failing(shop, 1, lambda: Said(503, b"", (("Retry-After", "3000"),)))

    monitor = shop.defer("/tried/flaky")
    pending = until(lambda: waiting_again(shop, monitor), "it to wait again")

    assert pending.document["message"] == "Attempt 1 has failed and is followed by another."
    assert pending.document["attempt"] == 1
    assert 2900 < int(pending["Retry-After"]) <= 3000
    canceled = shop.ask("DELETE", monitor)
    assert canceled.document["error"]["detail"] == "never started"


def waiting_again(shop: Site, monitor: str) -> Answer | None:
    answer = shop.get(monitor)
    document = answer.document
    return answer if document["status"] == "accepted" and "attempt" in document else None


@pytest.mark.parametrize(
    ("label", "fail"),
    [
        ("once", broken),
        ("once", lambda: BUSY),
        ("tried", lambda: Said(503, b"busy")),
        ("tried", lambda: Said(404, b"gone")),
    ],
    ids=["raises", "is busy", "is broken", "refuses"],
)
def test_other_failures_are_answers(shop: Site, label: str, fail: Callable[[], Said]) -> None:
    failing(shop, 1, fail)

    document = shop.end_of(shop.defer(f"/{label}/flaky")).document

    assert (document["status"], document["attempt"]) == ("failed", 1)
