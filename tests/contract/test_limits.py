"""CONTRACT.md §5 and §7: queue-full and too-many-jobs; a mark's concurrency counts in the whole store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.contract.stage import Said
from tests.contract.support import id_of, stored
from tests.elsewhere.promises import takes_turns

from deferit._core.job import Status

if TYPE_CHECKING:
    from tests.contract.conftest import Build
    from tests.contract.support import Site

QUEUED: dict[str, Any] = {
    "always": {},
    "auto": {"mode": "auto", "wait": 20},
    "narrow": {"concurrency": 1},
    "narrow-auto": {"concurrency": 1, "mode": "auto", "wait": 20},
}


def by(owner: str) -> dict[str, str]:
    return {"X_Owner": owner}


def owner_of(request: Any) -> str | None:
    owner: str | None = request.headers.get("X-Owner")
    return owner


def held(shop: Site, count: int) -> list[str]:
    """Have jobs of one worker wait for each other at a gate; return their monitors, of which the first runs."""
    shop.stage.gated("gate")
    first = shop.defer("/always/gate")
    shop.stage.wait_for("gate")
    return [first, *(shop.defer("/always/gate") for _ in range(count - 1))]


def test_a_full_queue_answers_503_and_makes_no_job(build: Build) -> None:
    shop = build(concurrency=1, max_queue=2, marks=QUEUED)
    monitors = held(shop, 3)

    refused = shop.post("/always/gate")

    assert (refused.status, refused.document["code"]) == (503, "queue-full")
    assert "2 jobs wait already" in refused.document["detail"]
    assert int(refused["Retry-After"]) >= 1
    assert "Location" not in refused
    shop.stage.open("gate")
    assert [shop.end_of(monitor).document["status"] for monitor in monitors] == ["succeeded"] * 3
    assert shop.post("/always/echo").status == 202
    assert shop.stage.calls["gate"] == 3


def test_a_full_queue_does_not_keep_an_auto_handler_from_waiting_or_answering(build: Build) -> None:
    shop = build(concurrency=2, max_queue=1, marks=QUEUED)

    assert shop.post("/auto/echo", b"x").body == b"x"


def test_the_same_key_has_its_job_though_the_queue_is_full(build: Build) -> None:
    shop = build(concurrency=1, max_queue=1, marks=QUEUED)
    held(shop, 1)
    first = shop.post("/always/echo", Idempotency_Key="k")

    again = shop.post("/always/echo", Idempotency_Key="k")

    assert (again.status, again["Location"]) == (202, first["Location"])
    assert shop.post("/always/echo").status == 503


def test_an_owner_with_too_many_jobs_gets_429_and_others_do_not(build: Build) -> None:
    shop = build(owner=owner_of, max_jobs_per_owner=2, marks=QUEUED)
    shop.stage.gated("gate")
    monitors = [shop.defer("/always/gate", **by("ada")) for _ in range(2)]

    refused = shop.post("/always/gate", **by("ada"))

    assert (refused.status, refused.document["code"]) == (429, "too-many-jobs")
    assert int(refused["Retry-After"]) >= 1
    assert shop.post("/always/echo", **by("ben")).status == 202
    assert shop.post("/always/echo").status == 202
    shop.stage.open("gate")
    for monitor in monitors:
        shop.end_of(monitor, **by("ada"))
    assert shop.post("/always/echo", **by("ada")).status == 202


@takes_turns
def test_one_owners_many_jobs_do_not_keep_anothers_waiting(build: Build) -> None:
    shop = build(owner=owner_of, concurrency=1, marks=QUEUED)
    shop.stage.gated("gate")

    def noted(body: bytes) -> Any:
        shop.stage.note(body.decode())
        return Said(body=body)

    shop.stage.acts["echo"] = noted
    shop.defer("/always/gate", **by("ada"))
    shop.stage.wait_for("gate")
    adas = [shop.defer("/always/echo", b"ada", **by("ada")) for _ in range(20)]
    ben = shop.defer("/always/echo", b"ben", **by("ben"))
    position = shop.get(ben, **by("ben")).document["queuePosition"]

    shop.stage.open("gate")
    shop.end_of(ben, **by("ben"))
    for monitor in adas:
        shop.end_of(monitor, **by("ada"))

    assert shop.stage.notes.index("ben") == 1 == position


def test_no_more_jobs_of_a_mark_run_than_its_concurrency(build: Build) -> None:
    shop = build(marks=QUEUED)
    shop.stage.gated("gate")
    first = shop.defer("/narrow/gate")
    shop.stage.wait_for("gate")
    second = shop.defer("/narrow/echo", b"second")

    aside = shop.end_of(shop.defer("/always/echo"))

    assert aside.document["status"] == "succeeded"
    assert shop.get(second).document["status"] == "accepted"
    assert stored(shop.store, id_of(second)).status is Status.ACCEPTED
    shop.stage.open("gate")
    shop.end_of(first)
    assert shop.result_of(second).body == b"second"


def test_mode_auto_waits_for_a_slot_of_the_mark(build: Build) -> None:
    shop = build(marks=QUEUED)

    answer = shop.post("/narrow-auto/echo", b"x")

    assert (answer.status, answer.body) == (200, b"x")
    assert "AsyncResult" in answer  # it was stored, for only the store can count
