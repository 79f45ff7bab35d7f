"""``deferit jobs`` works on a store, whoever the jobs belong to."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from deferit._core.commands import Claim, Create, Finish
from deferit._core.job import Failure, Job, Result, Status
from deferit._core.queries import Get
from deferit.exceptions import JobNotFound
from deferit.stores.sqlite import SQLiteStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cli.conftest import Deferit

NOW = 1_800_000_000.0


def draft(number: int, application: str = "asgi:default", owner: str | None = None) -> Job:
    return Job(
        id=f"job_{number:030}",
        application=application,
        route="shop.report",
        method="POST",
        created_at=NOW + number,
        updated_at=NOW + number,
        due_at=NOW + number,
        ttl=60.0,
        owner=owner,
    )


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLiteStore]:
    store = SQLiteStore(f"sqlite:///{tmp_path / 'jobs.db'}")
    store.open()
    yield store
    store.close()


@pytest.fixture
def url(store: SQLiteStore, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the URL of a store with two jobs of ours and one of another application; the oldest runs."""
    jobs = [draft(1, owner="ann"), draft(2, "wsgi:default"), draft(3, "asgi:other")]
    store.execute([Create(job, b"secret") for job in jobs])
    store.execute([Claim("asgi:default", NOW + 9, NOW + 60, 1)])
    monkeypatch.setenv("DEFERIT_STORE", store.url)
    return store.url


def status_of(store: SQLiteStore, number: int) -> Status:
    job = store.read(Get(draft(number).id))
    assert isinstance(job, Job)
    return job.status


def test_jobs_are_listed_newest_first(deferit: Deferit, url: str) -> None:
    done = deferit("jobs", "ls", "--store", url)

    rows = [line.split("\t") for line in done.out.splitlines()]
    assert done.code == 0
    assert [row[:2] for row in rows] == [
        [draft(2).id, "accepted"],
        [draft(1).id, "running"],
    ]
    assert rows[1][4:] == ["ann", "shop.report"]


@pytest.mark.parametrize(
    ("options", "numbers"),
    [
        (["--status", "running"], [1]),
        (["--owner", "ann"], [1]),
        (["--route", "shop.other"], []),
        (["--limit", "1"], [2]),
        (["-a", "other"], [3]),
        (["-a", "wsgi:default"], [2]),
    ],
)
@pytest.mark.usefixtures("url")
def test_the_list_can_be_narrowed(deferit: Deferit, options: list[str], numbers: list[int]) -> None:
    done = deferit("jobs", "ls", *options, "--json")

    assert [job["id"] for job in json.loads(done.out)] == [draft(number).id for number in numbers]


@pytest.mark.usefixtures("url")
def test_the_environment_says_which_application(
    deferit: Deferit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEFERIT_APPLICATION", "other")

    assert deferit("jobs", "ls").out.startswith(draft(3).id)


def test_more_jobs_than_a_page_are_listed(deferit: Deferit, store: SQLiteStore) -> None:
    store.execute([Create(draft(number), b"") for number in range(250)])

    done = deferit("jobs", "ls", "--store", store.url, "--limit", "240")

    ids = [line.split("\t")[0] for line in done.out.splitlines()]
    assert ids == [draft(number).id for number in range(249, 9, -1)]


@pytest.mark.usefixtures("url")
def test_a_job_is_shown_without_what_may_be_secret(deferit: Deferit) -> None:
    text = deferit("jobs", "show", draft(1).id)
    members = json.loads(deferit("jobs", "show", draft(1).id, "--json").out)

    assert "shop.report" in text.out
    assert members["status"] == "running"
    assert members["created_at"] == "2027-01-15T08:00:01Z"
    assert "secret" not in text.out + str(members)


@pytest.mark.usefixtures("url")
def test_jobs_are_canceled_with_what_can_be_said_of_each(
    deferit: Deferit, store: SQLiteStore
) -> None:
    done = deferit("jobs", "cancel", draft(1).id, draft(2).id)

    assert done.code == 0
    assert done.out.splitlines() == [
        f"{draft(1).id}  canceled, asked to stop",
        f"{draft(2).id}  canceled, never started",
    ]
    assert {status_of(store, 1), status_of(store, 2)} == {Status.CANCELED}


@pytest.mark.usefixtures("url")
def test_only_finished_jobs_are_purged(deferit: Deferit, store: SQLiteStore) -> None:
    deferit("jobs", "cancel", draft(2).id)

    done = deferit("jobs", "purge", draft(1).id, draft(2).id, "--json")

    outcomes = {job["id"]: job["done"] for job in json.loads(done.out)}
    assert done.code == 1
    assert outcomes == {draft(1).id: False, draft(2).id: True}
    assert status_of(store, 1) is Status.RUNNING
    with pytest.raises(JobNotFound):
        store.read(Get(draft(2).id))


def test_a_finished_job_is_shown_with_the_head_of_its_result(
    deferit: Deferit, store: SQLiteStore, url: str
) -> None:
    result = Result(200, (("Set-Cookie", "secret"),), length=2, chunks=1, etag='"1"')
    store.execute([Finish(draft(1).id, 1, NOW + 20, result, None, b"{}")])

    members = json.loads(deferit("jobs", "show", draft(1).id, "-s", url, "--json").out)

    assert members["result"] == {"status": 200, "length": 2}


def test_a_finished_job_is_not_canceled(deferit: Deferit, store: SQLiteStore, url: str) -> None:
    failure = Failure("handler-exception", "It raised.")
    store.execute([Finish(draft(1).id, 1, NOW + 20, None, failure, b"")])

    done = deferit("jobs", "cancel", draft(1).id, "-s", url)

    assert (done.code, done.out) == (1, f"{draft(1).id}  is failed already\n")


def test_a_terminal_gets_a_table(url: str) -> None:
    master, slave = pty.openpty()
    program = "from deferit.cli import main; main()"
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "140", "DEFERIT_STORE": url}
    subprocess.run(
        [sys.executable, "-c", program, "jobs", "ls"], stdout=slave, check=True, env=environment
    )
    os.close(slave)

    shown = os.read(master, 2**16).decode()
    os.close(master)

    head, *rows = shown.splitlines()
    assert "status" in head
    assert [draft(number).id in row for number, row in zip([2, 1], rows, strict=True)]


@pytest.mark.parametrize("command", ["show", "cancel", "purge"])
@pytest.mark.usefixtures("url")
def test_an_unknown_job_ends_with_1(deferit: Deferit, command: str) -> None:
    done = deferit("jobs", command, "job_unknown")

    assert done.code == 1
    assert "there is no job job_unknown" in done.out + done.err


def test_a_store_that_is_not_there_is_not_made(deferit: Deferit, tmp_path: Path) -> None:
    done = deferit("jobs", "ls", "--store", f"sqlite:///{tmp_path / 'nowhere.db'}")

    assert done.code == 4
    assert "there is no file" in done.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["ls", "--store", "memory://"], "inside the processes of the application"),
        (["ls", "--store", "nonsense"], "names no store"),
        (["ls", "--status", "done"], "done"),
        (["cancel"], "no job is named"),
    ],
)
def test_what_cannot_be_used_ends_with_2(
    deferit: Deferit, url: str, arguments: list[str], words: str
) -> None:
    done = deferit("jobs", *arguments)

    assert url
    assert done.code == 2
    assert words in done.err
