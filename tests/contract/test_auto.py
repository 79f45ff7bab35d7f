"""CONTRACT.md §1, mode auto: a handler that ends in time is as without deferit, another one is a job that goes on."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from tests.contract.clients import ASGIExchange
from tests.contract.stage import Said
from tests.contract.support import CountingStore, execute, id_of
from tests.elsewhere.promises import IS_HERE, hears_of_a_cancel
from tests.matrix import in_process
from tests.servers.harness import until
from tests.stores.around import Around

from deferit import current_job, progress
from deferit._core.commands import Create
from deferit.exceptions import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.contract.clients import Answer
    from tests.contract.conftest import Build
    from tests.contract.support import Site

    from deferit._core.commands import Command

SECRET = "the launch code is 0000"


@pytest.fixture
def counting(build: Build) -> Site:
    """A site whose store counts what is written, and that tries what is to run, so that nothing may have to be."""
    if not IS_HERE:
        pytest.skip(
            "what runs in another process is stored first, for that is where it has it from"
        )
    return build(store=CountingStore())


def written(shop: Site) -> list[Command]:
    assert isinstance(shop.store, CountingStore)
    return shop.store.written


def fails(_: bytes) -> Said:
    raise RuntimeError(SECRET)


def breaks_off() -> Iterator[bytes]:
    yield b"so far"
    raise RuntimeError(SECRET)


MEBIBYTE = bytes(range(256)) * 4096

IN_TIME: dict[str, Said] = {
    "plain": Said(200, b"done"),
    "created": Said(201, b"{}", (("Location", "/orders/1"), ("ETag", '"v1"'))),
    "cookies": Said(200, b"x", (("Set-Cookie", "a=1; Path=/"), ("Set-Cookie", "b=2"))),
    "repeated": Said(200, b"x", (("X-Part", "one"), ("X-Part", "two"), ("Vary", "Accept"))),
    "empty": Said(204),
    "not-modified": Said(304, b"", (("ETag", '"v1"'),)),
    "refused": Said(409, b"already there"),
    "broken": Said(500, b"sorry"),
    "accepted": Said(202, b"the application's own", (("X-Own", "yes"),)),
    "streamed": Said(200, [b"one ", b"two ", b"three"]),
    "long": Said(200, MEBIBYTE[:-1]),
}


def comparable(answer: Answer) -> tuple[int, list[tuple[str, str]], bytes]:
    """Return all of an answer but for how its length is told, and the field that it has to have."""
    left_out = {"content-length", "vary", "transfer-encoding"}
    fields = [(name.lower(), value) for name, value in answer.fields]
    return answer.status, [pair for pair in fields if pair[0] not in left_out], answer.body


@pytest.mark.parametrize("name", IN_TIME)
def test_what_ends_in_time_is_the_handlers_very_response_and_nothing_is_written(
    counting: Site, name: str
) -> None:
    counting.stage.acts[name] = lambda _: IN_TIME[name]

    plain, answer = counting.post(f"/plain/{name}"), counting.post(f"/auto/{name}")

    assert comparable(answer) == comparable(plain)
    assert answer.members("Vary") == plain.members("Vary") | {"Prefer"}
    assert not answer.members("AsyncResult") | answer.members("Link")
    assert counting.stage.calls[name] == 2
    assert written(counting) == []
    counting.assert_nothing_left()


def test_a_handler_that_reports_and_ends_in_time_writes_nothing(counting: Site) -> None:
    def act(_: bytes) -> Said:
        job = current_job()
        assert job
        assert not job.canceled
        progress(0.5, "half of it")
        return Said(200, b"done")

    counting.stage.acts["report"] = act

    assert counting.post("/auto/report").body == b"done"
    assert written(counting) == []


@pytest.mark.parametrize("size", [len(MEBIBYTE), len(MEBIBYTE) + 1, 3 * len(MEBIBYTE) + 7])
def test_a_response_over_a_mebibyte_that_ends_in_time_is_whole_too(shop: Site, size: int) -> None:
    whole = (MEBIBYTE * 4)[:size]
    headers = (("Set-Cookie", "a=1"), ("X-Own", "yes"))
    shop.stage.acts["big"] = lambda _: Said(200, [whole[:100_000], whole[100_000:]], headers)

    answer = shop.post("/auto/big")

    assert (answer.status, answer["Set-Cookie"], answer["X-Own"]) == (200, "a=1", "yes")
    assert answer.body == whole
    assert shop.stage.calls["big"] == 1
    shop.assert_nothing_left()


@pytest.mark.parametrize("parts", [[101 * b"x"], [60 * b"x", 60 * b"x"]])
def test_a_response_over_max_result_that_would_be_in_time_is_told_as_any_other(
    build: Build, parts: list[bytes]
) -> None:
    shop = build(max_result=100)
    shop.stage.acts["long"] = lambda _: Said(200, parts)

    answer = shop.post("/auto/long")

    assert (answer.status, answer.document["code"]) == (500, "result-too-large")
    assert answer.members("Vary") == {"Prefer"}
    shop.assert_nothing_left()


# --- exceptions ------------------------------------------------------------------------------------------------------


def test_an_exception_is_as_without_deferit(
    counting: Site, caplog: pytest.LogCaptureFixture
) -> None:
    counting.stage.acts["fail"] = fails

    plain, answer = counting.post("/plain/fail"), counting.post("/auto/fail")

    assert comparable(answer) == comparable(plain)
    assert (answer.status, written(counting)) == (500, [])
    records = [record for record in caplog.records if record.name == "deferit"]
    told = [record.exc_info for record in records if record.exc_info]
    if plain.raised:  # Starlette answers, then lets the server log it
        assert answer.raised or (told and str(told[0][1]) == SECRET)
    counting.assert_nothing_left()


@in_process
def test_an_exception_that_nobody_answers_for_reaches_the_server(build: Build) -> None:
    def lets_pass(app: Any) -> None:
        app.config["PROPAGATE_EXCEPTIONS"] = True

    shop = build(store=CountingStore(), inside=lets_pass if is_flask(build) else as_is)
    shop.stage.acts["stop"] = lambda _: Said(200, breaks_off())

    plain = outcome(shop, "/plain/stop")
    answer = outcome(shop, "/auto/stop")

    assert (type(plain), str(plain)) == (RuntimeError, SECRET)
    assert (type(answer), str(answer)) == (RuntimeError, SECRET)
    assert written(shop) == []
    shop.assert_nothing_left()


def is_flask(build: Build) -> bool:
    return build.__closure__ is not None and any(  # type: ignore[attr-defined]
        cell.cell_contents == "flask"
        for cell in build.__closure__  # type: ignore[attr-defined]
    )


def as_is(_: Any) -> None:
    """Leave the application as it is."""


def outcome(shop: Site, url: str) -> BaseException | None:
    """Return what the server is left with, whether or not it has a part of an answer."""
    try:
        answer = shop.post(url)
    except RuntimeError as exc:
        return exc
    return innermost(answer.raised)


def innermost(exc: BaseException | None) -> BaseException | None:
    return innermost(exc.exceptions[0]) if isinstance(exc, BaseExceptionGroup) else exc


def test_an_exception_after_the_202_is_a_failed_job(shop: Site) -> None:
    def act(_: bytes) -> Said:
        shop.stage.pass_gate("fail")
        raise RuntimeError(SECRET)

    shop.stage.acts["fail"] = act

    monitor = shop.defer("/brief/fail")
    shop.stage.open("fail")
    end = shop.end_of(monitor)

    assert (end.document["status"], end.document["error"]["code"]) == (
        "failed",
        "handler-exception",
    )
    assert SECRET.encode() not in end.body


# --- not in time -----------------------------------------------------------------------------------------------------


def test_what_does_not_end_in_time_is_a_202_for_the_same_call(shop: Site) -> None:
    shop.stage.gated("slow", Said(201, b"at last", (("X-Own", "yes"), ("Set-Cookie", "a=1"))))

    answer = shop.post("/brief/slow")
    shop.stage.wait_for("slow")
    pending = shop.get(answer["Location"])
    shop.stage.open("slow")
    result = shop.result_of(answer["Location"])

    assert answer.status == 202
    for seen in (answer, pending) if IS_HERE else (pending,):
        assert (seen.document["status"], seen.document["attempt"]) == ("running", 1)
    assert (result.status, result.body, result["X-Own"]) == (201, b"at last", "yes")
    assert "Set-Cookie" not in result
    assert shop.stage.calls["slow"] == 1
    shop.assert_nothing_left()


@pytest.mark.parametrize("size", [10, 300_000, 700_000, 3_000_000])
def test_what_was_written_before_the_202_is_part_of_the_result(shop: Site, size: int) -> None:
    before, after = (MEBIBYTE * 3)[:size], b"the rest" * 50_000

    def parts() -> Iterator[bytes]:
        yield from (before[start : start + 70_000] for start in range(0, size, 70_000))
        shop.stage.pass_gate("rest")
        yield after

    shop.stage.acts["parts"] = lambda _: Said(200, parts())

    monitor = shop.defer("/brief/parts")
    shop.stage.open("rest")

    assert shop.result_of(monitor).body == before + after
    assert shop.stage.calls["parts"] == 1


def test_what_was_reported_before_the_202_is_seen_after_it(shop: Site) -> None:
    def act(_: bytes) -> Said:
        progress(0.25, "a quarter")
        shop.stage.pass_gate("quarter")
        return Said()

    shop.stage.acts["quarter"] = act

    monitor = shop.defer("/brief/quarter")

    def seen() -> bool:
        document = shop.get(monitor).document
        return (document.get("progress"), document.get("message")) == (25, "a quarter")

    until(seen, "the report to be seen")


def test_a_cancel_after_the_202_reaches_the_running_call(shop: Site) -> None:
    def act(_: bytes) -> Said:
        job = current_job()
        assert job
        shop.stage.note("begun")
        until(lambda: job.canceled, "the handler to be told")
        shop.stage.note("told")
        return Said()

    shop.stage.acts["patient"] = act
    monitor = shop.defer("/brief/patient")
    shop.stage.wait_for_note("begun")

    answer = shop.ask("DELETE", monitor)

    assert (answer.status, answer.document["status"]) == (200, "canceled")
    if hears_of_a_cancel():
        shop.stage.wait_for_note("told")
    shop.assert_nothing_left()


def test_a_client_may_do_without_waiting(shop: Site) -> None:
    shop.stage.gated("slow")

    assert shop.post("/auto/slow", Prefer="wait=0").status == 202
    assert shop.post("/auto/slow", Prefer="respond-async").status == 202


# --- clients that leave ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["leave", "cancel"])
def test_a_client_that_leaves_while_it_waits_leaves_a_stored_job_behind(
    build: Build, way: str
) -> None:
    shop = build(store=CountingStore())
    if shop.is_wsgi:
        pytest.skip("over WSGI nobody tells an application that its client has left")
    shop.stage.gated("slow", Said(201, b"at last"))

    exchange = shop.open("POST", "/auto/slow")
    assert isinstance(exchange, ASGIExchange)
    shop.stage.wait_for("slow")
    getattr(exchange, way)()
    (job,) = until(lambda: created(shop), "the job to be stored")
    shop.stage.open("slow")
    result = shop.result_of(f"http://testserver/jobs/{job}")

    assert exchange.over()
    assert (result.status, result.body) == (201, b"at last")
    assert shop.stage.calls["slow"] == 1
    shop.assert_nothing_left()


def created(shop: Site) -> list[str]:
    return [command.job.id for command in written(shop) if isinstance(command, Create)]


# --- stores and slots ------------------------------------------------------------------------------------------------


def test_without_a_store_the_end_is_answered_synchronously_after_all(counting: Site) -> None:
    assert counting.post("/auto/echo").status == 200  # everything has been started
    counting.stage.gated("slow", Said(201, b"at last"))
    assert isinstance(counting.store, CountingStore)

    counting.store.failure = StoreUnavailable("memory://", "it was switched off")
    exchange = counting.open("POST", "/brief/slow")
    until(lambda: created(counting), "the store to be asked")
    counting.stage.open("slow")
    answer = exchange.answer()
    counting.store.failure = None

    assert (answer.status, answer.body) == (201, b"at last")
    assert counting.stage.calls["slow"] == 1
    counting.assert_nothing_left()


def test_without_a_store_a_long_response_is_whole_too(counting: Site) -> None:
    whole = MEBIBYTE * 3
    counting.stage.acts["big"] = lambda _: Said(200, [whole[:500_000], whole[500_000:]])
    assert isinstance(counting.store, CountingStore)
    counting.post("/auto/echo")

    counting.store.failure = StoreUnavailable("memory://", "it was switched off")
    answer = counting.post("/auto/big")
    counting.store.failure = None

    assert (answer.status, answer.body) == (200, whole)
    counting.assert_nothing_left()


def in_line(shop: Site) -> int:
    """Return how many requests wait for a slot, of which nothing is stored."""
    return len(shop.middleware.engine._worker.slots._line)


def busy(build: Build, **options: Any) -> tuple[Site, str]:
    """Return a site all of whose slots are taken, and the monitor of the job that has them."""
    shop = build(concurrency=1, store=CountingStore(), **options)
    shop.stage.gated("first")
    monitor = shop.defer("/always/first")
    shop.stage.wait_for("first")
    return shop, monitor


@in_process
def test_without_a_free_slot_it_waits_for_one_and_nothing_is_written(build: Build) -> None:
    shop, monitor = busy(build)

    exchange = shop.open("POST", "/auto/echo", b"second")
    until(lambda: in_line(shop), "the second one to wait")
    shop.stage.open("first")
    answer = exchange.answer()
    shop.end_of(monitor)

    assert (answer.status, answer.body) == (200, b"second")
    assert "AsyncResult" not in answer
    assert len(created(shop)) == 1
    shop.assert_nothing_left()


@in_process
def test_those_that_wait_for_a_slot_begin_in_their_order(build: Build) -> None:
    shop, _ = busy(build)

    def noted(body: bytes) -> Said:
        shop.stage.note(body.decode())
        return Said(body=body)

    shop.stage.acts["noted"] = noted
    exchanges = []
    for number in range(3):
        exchanges.append(shop.open("POST", "/auto/noted", str(number).encode()))
        until(lambda: in_line(shop) == len(exchanges), "one more to wait")
    shop.stage.open("first")
    answers = [exchange.answer() for exchange in exchanges]

    assert [answer.body for answer in answers] == [b"0", b"1", b"2"]
    assert shop.stage.notes == ["0", "1", "2"]
    shop.assert_nothing_left()


def test_without_a_free_slot_in_time_it_is_a_202_that_waits(build: Build) -> None:
    shop = build(concurrency=1)
    shop.stage.gated("first")
    shop.defer("/always/first")
    shop.stage.wait_for("first")

    answer = shop.post("/brief/echo", b"second")
    shop.stage.open("first")

    assert (answer.status, answer.document["status"]) == (202, "accepted")
    assert answer.document["queuePosition"] == 0
    assert shop.result_of(answer["Location"]).body == b"second"
    shop.assert_nothing_left()


def test_without_a_free_slot_in_time_a_full_queue_refuses_it(build: Build) -> None:
    shop, _ = busy(build, max_queue=1)
    second = shop.defer("/always/echo")

    answer = shop.post("/brief/echo")

    assert (answer.status, answer.document["code"]) == (503, "queue-full")
    assert "Location" not in answer
    shop.stage.open("first")
    shop.end_of(second)
    shop.assert_nothing_left()
    assert shop.stage.calls["echo"] == 1


def test_without_a_free_slot_nor_a_store_it_is_refused(build: Build) -> None:
    shop, _ = busy(build)
    assert isinstance(shop.store, CountingStore)

    shop.store.failure = StoreUnavailable("memory://", "it was switched off")
    answer = shop.post("/brief/echo")
    shop.store.failure = None

    assert (answer.status, answer.document["code"]) == (503, "store-unavailable")
    shop.stage.open("first")
    shop.assert_nothing_left()
    assert shop.stage.calls["echo"] == 0


@in_process
@pytest.mark.parametrize("way", ["leave", "cancel"])
def test_a_client_that_leaves_while_it_waits_for_a_slot_leaves_a_job_that_waits(
    build: Build, way: str
) -> None:
    shop, monitor = busy(build)
    if shop.is_wsgi:
        pytest.skip("over WSGI nobody tells an application that its client has left")

    exchange = shop.open("POST", "/auto/echo", b"second")
    assert isinstance(exchange, ASGIExchange)
    until(lambda: in_line(shop), "the second one to wait")
    getattr(exchange, way)()
    job_id = until(lambda: created(shop)[1:], "the job to be stored")[0]
    pending = shop.get(f"http://testserver/jobs/{job_id}")
    shop.stage.open("first")

    assert exchange.over()
    assert pending.document["status"] == "accepted"
    assert shop.result_of(f"http://testserver/jobs/{job_id}").body == b"second"
    shop.end_of(monitor)
    assert shop.stage.calls["echo"] == 1
    shop.assert_nothing_left()


# --- the end of the process ------------------------------------------------------------------------------------------


class Slow(Around):
    """Takes its time to commit, as a busy disk does, once the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()

    def execute(self, batch: Sequence[Command]) -> list[object]:
        assert self.gate.wait(20)
        return super().execute(batch)


@in_process
@pytest.mark.parametrize("is_slow", [False, True])
def test_a_trial_when_the_process_ends_is_stored_and_given_its_grace(
    build: Build, is_slow: bool
) -> None:
    store = Slow()
    shop = build(store=store, grace=10)
    shop.stage.gated("slow", Said(201, b"at last"))
    exchange = shop.open("POST", "/auto/slow")
    shop.stage.wait_for("slow")
    engine = shop.middleware.engine

    if is_slow:
        store.gate.clear()
    closing = threading.Thread(target=shop.middleware.close)
    closing.start()
    until(lambda: engine._worker.is_closing, "the process to begin to end")
    threading.Timer(0.1, store.gate.set).start()
    threading.Timer(0.3, shop.stage.open, ["slow"]).start()
    answer = exchange.answer()
    closing.join()

    assert answer.status in {201, 202}
    if answer.status == 202:
        result = shop.result_of(answer["Location"])
        assert (result.status, result.body) == (201, b"at last")
    assert shop.stage.calls["slow"] == 1
    assert not engine._worker.trials | engine._worker.runs.keys()


@in_process
def test_what_waits_for_a_slot_when_the_process_drains_is_a_202_at_once(build: Build) -> None:
    shop, _ = busy(build)
    exchange = shop.open("POST", "/auto/echo", b"second")
    until(lambda: in_line(shop), "the second one to wait")

    shop.middleware.engine.drain()
    answer = exchange.answer()
    shop.stage.open("first")
    shop.middleware.close()  # the next request is for the next process

    assert (answer.status, answer.document["status"]) == (202, "accepted")
    assert shop.result_of(answer["Location"]).body == b"second"
    assert shop.stage.calls["echo"] == 1


def test_a_trial_that_outlasts_the_grace_is_given_back(build: Build) -> None:
    shop = build(grace=0)
    shop.stage.gated("slow", Said(201, b"at last"))
    exchange = shop.open("PUT", "/auto/slow")
    shop.stage.wait_for("slow")

    shop.middleware.close()
    answer = exchange.answer()
    shop.stage.open("slow")

    assert answer.status in {202, 503}
    if answer.status == 202:
        assert shop.result_of(answer["Location"]).body == b"at last"  # PUT is safe to repeat
        assert execute(shop.store) == []
        assert id_of(answer["Location"]) == answer.document["id"]


def test_a_long_request_that_is_answered_in_time_writes_nothing(counting: Site) -> None:
    body = MEBIBYTE[:300_000]

    assert counting.post("/auto/echo", body).body == body
    assert written(counting) == []
