"""Handlers in real Celery workers, with a real broker that is killed and started again."""

from __future__ import annotations

import base64
import json
import signal
import sys
from typing import TYPE_CHECKING

import pytest
from tests.executors.broker import Broker
from tests.executors.running import APPS, KINDS, environment, site, submitted
from tests.servers.harness import UVICORN, Kind, until
from tests.servers.programs import Program, Supervised
from tests.servers.twins import begun, ledger

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx

pytestmark = pytest.mark.server

both = pytest.mark.parametrize("kind", KINDS, ids=str, indirect=True)


@pytest.fixture
def kind(request: pytest.FixtureRequest) -> Kind:
    found: Kind = getattr(request, "param", UVICORN)
    return found


@pytest.fixture
def broker() -> Iterator[Broker]:
    with Broker() as broker:
        yield broker


@pytest.fixture
def client(kind: Kind, broker: Broker, tmp_path: Path) -> Iterator[httpx.Client]:
    web = site(kind, tmp_path, "celery", DEFERIT_TEST_BROKER=broker.url)
    with web as server, server.client() as client:
        yield client


def celery(
    kind: Kind, broker: Broker, folder: Path, *options: str, name: str = "celery"
) -> Program:
    """Make a real worker with a prefork pool; it isn't started yet."""
    return Program(*worker(kind, broker, folder, *options), name)


def worker(
    kind: Kind, broker: Broker, folder: Path, *options: str
) -> tuple[list[str], Path, dict[str, str]]:
    """Return the command of a real worker with a prefork pool, its folder and what its environment says."""
    app = APPS[kind.interface].partition(":")[0]
    command = [
        sys.executable,
        "-m",
        "celery",
        "-A",
        f"{app}:celery_app",
        "worker",
        "--pool=prefork",
    ]
    settings = environment(folder, "celery", DEFERIT_TEST_BROKER=broker.url)
    quiet = ["--concurrency=2", "--without-gossip", "--without-mingle", "-l", "INFO"]
    return [*command, *quiet, *options], folder, settings


def starts(folder: Path, name: str) -> list[int]:
    return [deed.process for deed in ledger(folder)[name] if deed.event == "start"]


@both
def test_a_worker_s_process_runs_the_handler(
    kind: Kind, client: httpx.Client, broker: Broker, tmp_path: Path
) -> None:
    job = submitted(client, "/work/elsewhere")
    with celery(kind, broker, tmp_path) as worker:
        done = job.until_finished()

        answer = job.result().json()

    assert done["status"] == "succeeded"
    assert answer["is_started_here"] is True
    assert answer["process"] != worker.process.pid


def test_a_message_has_the_id_of_its_job_and_nothing_of_the_request(
    client: httpx.Client, broker: Broker
) -> None:
    secret = {"Authorization": "Bearer of-a-secret"}
    accepted = client.post("/work/named?token=hidden", headers=secret, content=b"a body")
    until(broker.waiting, "a message")

    message, *_ = broker.messages()  # it is sent again every few seconds

    job_id = accepted.json()["id"]
    arguments, options, _ = json.loads(base64.b64decode(json.loads(message)["body"]))
    assert (arguments, options) == ([job_id], {})
    assert not any(word in message for word in (b"secret", b"hidden", b"named", b"a body"))


def test_a_message_that_is_delivered_twice_changes_nothing(
    kind: Kind, client: httpx.Client, broker: Broker, tmp_path: Path
) -> None:
    jobs = [submitted(client, f"/work/{number}?gate=all") for number in range(3)]
    until(lambda: broker.waiting() >= 3, "their messages")
    broker.deliver_again()
    with celery(kind, broker, tmp_path):
        until(lambda: begun(tmp_path), "the first to begin")
        (tmp_path / "all").touch()
        statuses = {job.until_finished()["status"] for job in jobs}
        until(lambda: broker.waiting() == 0, "the others to be taken")
        submitted(client, "/work/last").until_finished()

    assert statuses == {"succeeded"}
    assert all(len(starts(tmp_path, str(number))) == 1 for number in range(3))


def test_a_message_is_acknowledged_when_its_job_has_ended(
    kind: Kind, client: httpx.Client, broker: Broker, tmp_path: Path
) -> None:
    with celery(kind, broker, tmp_path):
        submitted(client, "/work/warm").until_finished()
        # It may have been sent again while the worker started.
        until(lambda: not broker.waiting() and not broker.unacknowledged(), "the first to be over")
        job = submitted(client, "/work/late?gate=late")
        until(lambda: starts(tmp_path, "late"), "it to begin")
        meanwhile = (broker.waiting(), broker.unacknowledged())
        (tmp_path / "late").touch()
        job.until_finished()
        until(lambda: broker.unacknowledged() == 0, "its message to be acknowledged")

    assert meanwhile == (0, 1)


def test_handlers_may_have_a_queue_of_their_own(
    kind: Kind, client: httpx.Client, broker: Broker, tmp_path: Path
) -> None:
    with celery(kind, broker, tmp_path):
        heavy = submitted(client, "/compute/heavy")
        light = submitted(client, "/work/light").until_finished()
        until(lambda: broker.waiting("heavy"), "the message of the heavy one")
        waiting = heavy.document()["status"]
        with celery(kind, broker, tmp_path, "--queues=heavy", name="heavy"):
            until(lambda: starts(tmp_path, "heavy"), "the heavy one to begin")

    assert (light["status"], waiting) == ("succeeded", "accepted")


def test_with_the_broker_down_accepts_go_on_and_are_dispatched_when_it_is_back(
    kind: Kind, client: httpx.Client, broker: Broker, tmp_path: Path
) -> None:
    with Supervised(*worker(kind, broker, tmp_path), "celery"):
        submitted(client, "/work/warm").until_finished()
        broker.kill()
        jobs = [submitted(client, f"/work/{number}") for number in range(30)]
        slowest = max(
            client.post(f"/work/more-{number}").elapsed.total_seconds() for number in range(5)
        )
        broker.start()

        statuses = {job.until_finished()["status"] for job in jobs}

    assert slowest < 10  # a publish would wait for the broker; this one does not touch it
    assert statuses == {"succeeded"}
    assert all(len(starts(tmp_path, str(number))) == 1 for number in range(30))


def test_a_broker_that_restarts_empty_under_load_loses_nothing(
    kind: Kind, client: httpx.Client, broker: Broker, tmp_path: Path
) -> None:
    with Supervised(*worker(kind, broker, tmp_path), "celery") as supervised:
        submitted(client, "/work/warm").until_finished()
        jobs = []
        for number in range(60):
            jobs.append(submitted(client, f"/work/{number}"))
            if number in {20, 40}:
                broker.kill()
                broker.start()

        statuses = {job.until_finished()["status"] for job in jobs}

    ends = (
        {"succeeded", "failed"} if supervised.codes else {"succeeded"}
    )  # one may have run as it ended
    assert statuses <= ends
    assert all(len(starts(tmp_path, str(number))) == 1 for number in range(60))


def test_what_was_sent_again_and_again_before_there_is_a_worker_runs_once(
    kind: Kind, client: httpx.Client, broker: Broker, tmp_path: Path
) -> None:
    jobs = [submitted(client, f"/work/{number}") for number in range(3)]
    until(lambda: broker.waiting() > len(jobs), "a message to be sent again")
    with celery(kind, broker, tmp_path):
        statuses = {job.until_finished()["status"] for job in jobs}
        until(lambda: broker.waiting() == 0, "the others to be taken")
        submitted(client, "/work/last").until_finished()

    assert statuses == {"succeeded"}
    assert all(len(starts(tmp_path, str(number))) == 1 for number in range(3))


def test_a_worker_killed_in_mid_job(
    kind: Kind, client: httpx.Client, broker: Broker, tmp_path: Path
) -> None:
    with celery(kind, broker, tmp_path) as worker:
        safe = submitted(client, "/work/safe?gate=safe", "PUT")
        unsafe = submitted(client, "/work/unsafe?gate=safe")
        until(lambda: starts(tmp_path, "safe"), "safe to begin")
        until(lambda: starts(tmp_path, "unsafe"), "unsafe to begin")
        worker.kill()
    (tmp_path / "safe").touch()
    with celery(kind, broker, tmp_path, name="next"):
        done = safe.until_finished()
        failed = unsafe.until_finished()
        later = submitted(client, "/work/later").until_finished()

    assert (done["status"], done["attempt"]) == ("succeeded", 2)
    assert failed["error"]["code"] == "interrupted"
    assert later["status"] == "succeeded"
    assert len(starts(tmp_path, "unsafe")) == 1


def test_a_cancel_ends_the_process_of_the_handler(
    kind: Kind, client: httpx.Client, broker: Broker, tmp_path: Path
) -> None:
    with celery(kind, broker, tmp_path, "--queues=celery,heavy") as worker:
        job = submitted(client, "/compute/long")
        until(lambda: starts(tmp_path, "long"), "it to begin")

        document = client.post(f"{job.monitor}/cancel").json()
        until(lambda: "Terminating" in worker.log, "the worker to hear of it")
        following = [submitted(client, f"/work/{number}") for number in range(4)]
        statuses = {job.until_finished()["status"] for job in following}

    assert (document["status"], document["error"]["detail"]) == ("canceled", "asked to stop")
    assert statuses == {"succeeded"}


def test_a_worker_that_is_told_to_end_lets_its_job_end(
    kind: Kind, client: httpx.Client, broker: Broker, tmp_path: Path
) -> None:
    with celery(kind, broker, tmp_path) as worker:
        job = submitted(client, "/work/last?gate=last")
        until(lambda: starts(tmp_path, "last"), "it to begin")
        worker.tell(signal.SIGTERM)
        until(lambda: "Warm shutdown" in worker.log, "the signal to be heard")
        (tmp_path / "last").touch()
        worker.await_end()

    assert job.until_finished()["status"] == "succeeded"
