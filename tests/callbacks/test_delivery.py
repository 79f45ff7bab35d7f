from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from standardwebhooks import Webhook
from tests.callbacks.conftest import calling
from tests.callbacks.receiver import ANOTHER_SECRET, SECRET, Receiver
from tests.servers.harness import until

import deferit
from deferit._core.callback import DELAYS, JITTER, Callback
from deferit._core.commands import Create, Finish, SettleCallback
from deferit._core.ids import make_id
from deferit._core.job import Failure
from deferit.callbacks import Callbacks
from deferit.testing import a_job

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.callbacks.conftest import Build, Interface, Site

    from deferit._core.job import Job

GATE = "/work?gate={gate}"


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate()}


# --- what is sent ---


def test_a_finished_job_is_posted_as_its_monitor_shows_it(build: Build, receiver: Receiver) -> None:
    site = build(callbacks=calling(receiver))
    begun = int(time.time())

    status, accepted = site.submit("/work", receiver.url + "?order=7")

    assert status == 202
    delivery = receiver.first()
    assert delivery.path == "/hook?order=7"
    assert delivery.document == site.ask("GET", f"/jobs/{accepted['id']}", [])[1]
    assert delivery.document["status"] == "succeeded"
    assert delivery.verified == delivery.document
    assert delivery.headers["content-type"] == "application/json"
    assert delivery.headers["user-agent"] == f"deferit/{deferit.__version__}"
    assert delivery.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert begun <= int(delivery.headers["webhook-timestamp"]) <= time.time()
    job = site.until_over(accepted["id"])
    assert delivery.id == f"{job.id}_{job.revision}"
    assert len(receiver.deliveries) == 1


def test_its_urls_are_those_of_base_url_if_there_is_one(build: Build, receiver: Receiver) -> None:
    site = build(callbacks=calling(receiver), base_url="https://shop.example.com/api")

    _, accepted = site.submit("/work", receiver.url)

    document = receiver.first().document
    assert document["monitorUrl"] == f"https://shop.example.com/api/jobs/{accepted['id']}"


def test_a_job_that_fails_is_posted_too(build: Build, receiver: Receiver) -> None:
    site = build(callbacks=calling(receiver))

    site.submit("/fail", receiver.url)

    document = receiver.first().document
    assert (document["status"], document["error"]["code"]) == ("failed", "handler-response")


def test_a_job_that_is_canceled_is_posted_too(
    build: Build, receiver: Receiver, tmp_path: Path
) -> None:
    site = build(callbacks=calling(receiver), grace=0)
    gate = tmp_path / "gate"
    _, accepted = site.submit(GATE.format(gate=gate), receiver.url)

    site.ask("POST", f"/jobs/{accepted['id']}/cancel", [])

    assert receiver.first().document["status"] == "canceled"
    gate.touch()


def test_every_secret_signs_while_one_takes_the_place_of_another(
    build: Build, receiver: Receiver
) -> None:
    both = Callbacks({receiver.url: f"{ANOTHER_SECRET} {SECRET}"}, private=True)

    build(callbacks=both).submit("/work", receiver.url)

    delivery = receiver.first()
    for secret in (SECRET, ANOTHER_SECRET):
        assert Webhook(secret).verify(delivery.body, dict(delivery.headers)) == delivery.document


def test_a_job_of_mode_auto_is_posted_if_the_client_got_a_202(
    build: Build, receiver: Receiver, tmp_path: Path
) -> None:
    site = build(callbacks=calling(receiver))
    gate = tmp_path / "gate"

    status, accepted = site.submit(f"/auto?gate={gate}", receiver.url)
    gate.touch()

    assert status == 202
    assert receiver.first().document["id"] == accepted["id"]


def test_the_end_of_a_job_is_told_without_waiting_for_the_next_look(
    build: Build, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deferit._process.deliverer.INTERVAL", 3600.0)
    site = build(callbacks=calling(receiver))

    for count in (1, 2, 3):
        site.submit("/work", receiver.url)
        receiver.await_deliveries(count)


# --- who asks for what ---


def test_without_the_option_the_field_is_the_applications(build: Build, receiver: Receiver) -> None:
    site = build()

    status, accepted = site.submit("/work", receiver.url, "anything", Prefer="wait=20")

    assert status == 200
    assert accepted["pages"] == 12
    assert receiver.url in accepted["asked"]
    assert receiver.deliveries == []
    assert "deferit-callbacks" not in threads()


def test_without_the_field_nobody_is_called(build: Build, receiver: Receiver) -> None:
    site = build(callbacks=calling(receiver))
    _, accepted = site.submit("/work")
    _, other = site.submit("/work", receiver.url)

    receiver.first()

    assert site.until_over(accepted["id"]).callback is None
    assert [delivery.document["id"] for delivery in receiver.deliveries] == [other["id"]]


@pytest.mark.parametrize(
    "urls",
    [
        ["https://elsewhere.example.com/"],
        ["http://127.0.0.1.evil.example/hook"],
        ["{url}/../admin"],
        [""],
        ["{url}", "{url}"],
    ],
)
def test_what_is_not_allowed_is_refused_and_makes_no_job(
    build: Build, receiver: Receiver, urls: list[str]
) -> None:
    site = build(callbacks=calling(receiver), owner=lambda _: "ada")

    status, problem = site.submit("/work", *(url.format(url=receiver.url) for url in urls))

    assert (status, problem["code"]) == (400, "callback-not-allowed")
    assert problem["type"] == "urn:deferit:problem:callback-not-allowed"
    assert site.ask("GET", "/jobs", [])[1]["jobs"] == []


def test_the_handler_sees_the_field_in_its_replay(build: Build, receiver: Receiver) -> None:
    site = build(callbacks=calling(receiver))

    _, result = site.submit("/work", receiver.url, Prefer="wait=20")

    assert result["asked"] == receiver.url


def test_a_key_belongs_to_a_request_with_the_same_callback(
    build: Build, receiver: Receiver
) -> None:
    site = build(callbacks=calling(receiver))
    key = {"Idempotency_Key": "one"}
    _, first = site.submit("/work", receiver.url, **key)
    site.until_over(first["id"])

    assert site.submit("/work", receiver.url, **key)[0] == 200
    assert site.submit("/work", receiver.url + "/other", **key)[1]["code"] == (
        "idempotency-key-reused"
    )
    assert len(receiver.deliveries) == 1


def test_identical_requests_share_a_job_only_if_the_same_is_to_be_called(
    build: Build, receiver: Receiver, tmp_path: Path
) -> None:
    site = build(callbacks=calling(receiver))
    path = f"/same?gate={tmp_path / 'gate'}"

    ids = [site.submit(path, receiver.url + tail)[1]["id"] for tail in ("", "", "/other")]
    (tmp_path / "gate").touch()

    assert (ids[0] == ids[1], ids[0] == ids[2]) == (True, False)
    paths = {delivery.path for delivery in receiver.await_deliveries(2)}
    assert paths == {"/hook", "/hook/other"}


# --- when it is not taken ---


def test_a_callback_that_fails_is_tried_again_later_each_time(
    build: Build, receiver: Receiver
) -> None:
    receiver.statuses = [500, 302, 429, 200]
    site = build(callbacks=calling(receiver))
    _, accepted = site.submit("/work", receiver.url)

    for attempts in (1, 2, 3):
        let_time_pass(site, accepted["id"], attempts)

    job = site.until_over(accepted["id"])
    assert job.callback is not None
    assert job.callback.attempts == len(receiver.deliveries) == 4
    assert len({delivery.id for delivery in receiver.deliveries}) == 1


def test_after_its_last_attempt_it_is_given_up_and_says_so_once(
    build: Build, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.statuses = [503]
    site = build(callbacks=calling(receiver, attempts=2))
    _, accepted = site.submit("/work", receiver.url + "?token=hidden")

    let_time_pass(site, accepted["id"], 1)
    site.until_over(accepted["id"])

    (record,) = warnings(caplog)
    assert "given up after 2 attempts: the receiver answered 503" in record.getMessage()
    assert f"127.0.0.1:{receiver.port}" in record.getMessage()
    assert "hidden" not in caplog.text
    assert accepted["id"] not in caplog.text
    assert record.__dict__["job_id"] == accepted["id"]
    assert len(receiver.deliveries) == 2


def test_a_receiver_that_is_gone_is_not_asked_again(
    build: Build, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.statuses = [410]
    site = build(callbacks=calling(receiver))

    _, accepted = site.submit("/work", receiver.url)
    site.until_over(accepted["id"])

    assert len(receiver.deliveries) == 1
    assert "given up after 1 attempts: the receiver answered 410" in caplog.text


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(build: Build, receiver: Receiver, status: int) -> None:
    with Receiver() as elsewhere:
        receiver.statuses, receiver.headers = [status], {"Location": elsewhere.url}
        site = build(callbacks=calling(receiver, attempts=1))

        _, accepted = site.submit("/work", receiver.url)
        site.until_over(accepted["id"])

        assert len(receiver.deliveries) == 1
        assert elsewhere.deliveries == []


def test_a_receiver_that_is_down_is_tried_again(build: Build) -> None:
    receiver = Receiver()
    site = build(callbacks=calling(receiver))
    _, accepted = site.submit("/work", receiver.url)
    settled(site, accepted["id"], 1)

    with receiver:
        let_time_pass(site, accepted["id"], 1)

        assert receiver.first().document["id"] == accepted["id"]


def test_a_proxy_of_the_environment_is_not_asked(
    build: Build, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Receiver() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")

        build(callbacks=calling(receiver)).submit("/work", receiver.url)

        receiver.first()
        assert proxy.deliveries == []


def test_a_private_address_is_not_called_unless_that_is_allowed(
    build: Build, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    site = build(callbacks=calling(receiver, private=False, attempts=1))

    _, accepted = site.submit("/work", receiver.url)
    site.until_over(accepted["id"])

    assert receiver.deliveries == []
    assert "127.0.0.1, which is not of the public internet" in caplog.text


def test_a_name_whose_address_changes_leads_nowhere_private(
    build: Build, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    answers: Iterator[list[str]] = iter([["2d00::1"], ["127.0.0.1"]])
    url = f"http://rebind.example.com:{receiver.port}/"
    callbacks = Callbacks({url: SECRET}, attempts=2, resolve=lambda _, __: next(answers))
    site = build(callbacks=callbacks)

    _, accepted = site.submit("/work", url)
    let_time_pass(site, accepted["id"], 1)
    site.until_over(accepted["id"])

    assert receiver.deliveries == []
    assert next(answers, None) is None
    assert "rebind.example.com has the address 127.0.0.1" in warnings(caplog)[0].getMessage()


def test_a_resolver_that_breaks_does_not_end_the_delivery_of_others(
    build: Build, receiver: Receiver
) -> None:
    def resolve(host: str, _: int) -> list[str]:
        if host == "127.0.0.1":
            return [host]
        raise KeyError(host)

    broken = [f"http://broken{number}.example.com/" for number in range(8)]
    allow = dict.fromkeys([receiver.url, *broken], SECRET)
    site = build(callbacks=Callbacks(allow, private=True, attempts=1, resolve=resolve))

    ids = [site.submit("/work", url)[1]["id"] for url in [*broken, receiver.url]]

    assert receiver.first().document["id"] == ids[-1]
    for job_id in ids:
        site.until_over(job_id)


# --- over the lives of processes ---


def test_what_was_due_before_this_process_began_is_delivered(
    build: Build, receiver: Receiver, interface: Interface, caplog: pytest.LogCaptureFixture
) -> None:
    site = build(callbacks=calling(receiver))
    job = store_finished(site, interface, receiver.url)
    elsewhere = store_finished(site, interface, "https://no-more.example.com/")
    expired = store_finished(site, interface, receiver.url, ttl=1, finished_at=time.time() - 2)

    site.submit("/work")  # over WSGI nothing begins before

    assert receiver.first().document["id"] == job.id
    for given_up in (elsewhere, expired):
        site.until_over(given_up.id)
    until(lambda: len(warnings(caplog)) == 2, "two warnings")
    assert "after 1 attempts: it is not allowed any more" in caplog.text
    assert "after 0 attempts: the job has expired" in caplog.text
    assert len(receiver.deliveries) == 1


def test_deliveries_go_on_when_a_store_that_was_away_is_back(
    build: Build, receiver: Receiver, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    site = build(callbacks=calling(receiver))
    site.submit("/work", receiver.url)
    receiver.first()
    away = tmp_path / "away"
    away.mkdir()

    move(tmp_path, away)
    (tmp_path / "jobs.db").write_bytes(b"this is no database" * 100)
    until(lambda: "looking for callbacks again in 1 s" in caplog.text, "the warning")
    (tmp_path / "jobs.db").unlink()
    move(away, tmp_path)

    until(lambda: site.submit("/work", receiver.url)[0] == 202, "the store to be back")
    receiver.await_deliveries(2)


def move(source: Path, target: Path) -> None:
    for file in source.glob("jobs.db*"):
        file.rename(target / file.name)


def test_closing_ends_the_threads_and_leaves_the_rest_to_another_process(
    build: Build, receiver: Receiver, interface: Interface
) -> None:
    site = build(callbacks=calling(receiver))
    site.submit("/work", receiver.url)
    receiver.first()
    assert "deferit-callbacks" in threads()

    site.middleware.close()

    assert "deferit-callbacks" not in threads()
    later = store_finished(site, interface, receiver.url)
    site.submit("/work")
    assert receiver.await_deliveries(2)[1].document["id"] == later.id


def test_two_processes_worth_of_deliverers_deliver_once(build: Build, receiver: Receiver) -> None:
    first, second = (build(callbacks=calling(receiver)) for _ in range(2))
    second.submit("/work")

    ids = {first.submit("/work", receiver.url)[1]["id"] for _ in range(30)}

    for job_id in ids:
        first.until_over(job_id)
    delivered = [delivery.document["id"] for delivery in receiver.deliveries]
    assert sorted(delivered) == sorted(ids)


def store_finished(site: Site, interface: str, url: str, **changes: Any) -> Job:
    """Put a job into the store that was finished by a process which died before it told anybody."""
    now = changes.pop("finished_at", time.time())
    callback = Callback(url, "https://shop.example.com/jobs")
    job = a_job(
        id=make_id(now, url.encode()[-16:]),
        application=f"{interface}:default",
        callback=callback,
        **changes,
    ).claimed(now)
    store = site.middleware.options.store
    store.open()
    error = Failure("interrupted", "…")
    *_, done = store.execute(
        [Create(job, b"", now + 15), Finish(job.id, 1, now, None, error)],
    )
    assert not isinstance(done, Exception)
    return job


def settled(site: Site, job_id: str, attempts: int) -> Job:
    """Return the job when so many attempts have failed, and the next is to come when the schedule says."""
    delay = DELAYS[attempts - 1]

    def failed() -> Job | None:
        job = site.job(job_id)
        if job.callback is None or job.callback.attempts != attempts or job.callback_at is None:
            return None
        earliest, latest = (job.finished_at or 0) + delay, time.time() + delay * (1 + JITTER)
        return job if earliest <= job.callback_at <= latest else None

    return until(failed, f"attempt {attempts} to have failed")


def let_time_pass(site: Site, job_id: str, attempts: int) -> None:
    """Have the next attempt made now."""
    settled(site, job_id, attempts)
    site.middleware.options.store.execute([SettleCallback(job_id, attempts, time.time())])
    site.wake()


def warnings(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.levelno == logging.WARNING]
