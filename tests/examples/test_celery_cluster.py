"""The cluster of web processes and Celery workers that one command starts, and that stops by itself."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.servers.harness import until
from tests.stores.postgres_server import required_programs
from tests.stores.redis_server import need_redis

from celery_cluster.demo import Unexpected, judge, standing, summarize
from celery_cluster.jobs import Job

if TYPE_CHECKING:
    from collections.abc import Iterator

CLUSTER = Path(__file__).parents[2] / "examples" / "celery_cluster" / "cluster.py"


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder whose name is short enough for a socket, and that PostgreSQL may enter."""
    need_redis()
    required_programs()
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o711)
        yield Path(name)


def started(folder: Path, *options: str) -> subprocess.Popen[bytes]:
    with (folder / "output").open("wb") as output:
        return subprocess.Popen(
            [sys.executable, CLUSTER, *options],
            env={**os.environ, "TMPDIR": str(folder)},
            stdout=output,
            stderr=subprocess.STDOUT,
        )


def output(folder: Path) -> str:
    return (folder / "output").read_text()


def processes(folder: Path) -> list[int]:
    """Return what was started, PostgreSQL included."""
    found = [int(number) for number in re.findall(r"started \(pid=(\d+)\)", output(folder))]
    files = folder.glob("deferit-cluster-*/postgres/postmaster.pid")
    return found + [int(file.read_text().split()[0]) for file in files]


def is_alive(process: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(process, 0)
        return True
    return False


@pytest.mark.server
def test_all_jobs_end_though_a_worker_is_killed_and_everything_stops(folder: Path) -> None:
    cluster = started(folder, "--jobs", "12", "--orders", "30000")
    try:
        until(lambda: "were accepted" in output(folder), "jobs to be accepted")
        all_processes = processes(folder)
        code = cluster.wait(90)
    finally:
        cluster.terminate()
        cluster.wait()

    said = output(folder)
    assert code == 0, said
    assert re.search(r"accepted (\d+), finished \1, lost 0", said)
    assert re.search(r"kill -9 \d+ \d+ \d+: that was worker\.1", said)
    assert re.search(r"exports \d+: succeeded at attempt 2", said)
    assert re.search(r"(reports|imports) \d+: failed at attempt 1, interrupted", said)
    assert len(all_processes) == 6
    assert not any(is_alive(process) for process in all_processes)
    assert not list(folder.glob("deferit-cluster-*"))


@pytest.mark.server
def test_ctrl_c_stops_everything(folder: Path) -> None:
    cluster = started(folder, "--jobs", "12", "--orders", "30000")
    try:
        until(lambda: "demo.1 started" in output(folder), "it to begin")
        cluster.send_signal(signal.SIGINT)
        code = cluster.wait(40)
    finally:
        cluster.terminate()
        cluster.wait()

    all_processes = processes(folder)
    assert code == 128 + signal.SIGINT, output(folder)
    assert all_processes
    assert not any(is_alive(process) for process in all_processes)
    assert not list(folder.glob("deferit-cluster-*"))


# --- what makes it fail ---


def job(what: str, status: str, attempt: int = 1, code: str | None = None) -> Job:
    document: dict[str, Any] = {
        "id": f"job_{what}",
        "status": status,
        "done": status in {"succeeded", "failed"},
        "attempt": attempt,
    }
    if code is not None:
        document["error"] = {"code": code}
    return Job(what, 2101, "/jobs/job_1", document, worker="worker.1")


class Orders:
    """The part of the service that is asked how many orders there are."""

    def __init__(self, count: int) -> None:
        self._count = count

    def count(self, year: int) -> int:
        assert year == 2101
        return self._count


REPEATED = job("exports", "succeeded", attempt=2)
INTERRUPTED = job("imports", "failed", code="interrupted")


@pytest.mark.parametrize("count", [0, 3_000])
def test_what_ran_in_the_killed_worker_may_be_repeated_or_interrupted(count: int) -> None:
    others = [job("reports", "succeeded"), job("exports", "succeeded")]

    judge([REPEATED, INTERRUPTED, *others], [REPEATED, INTERRUPTED], Orders(count))


@pytest.mark.parametrize(
    ("bad", "was_killed", "says"),
    [
        (job("exports", "running"), False, "all jobs finish"),
        (job("reports", "failed", code="handler-exception"), False, "reports 2101 succeeds"),
        (job("reports", "failed", code="interrupted"), False, "reports 2101 succeeds"),
        (job("exports", "failed", code="interrupted"), True, "exports 2101 succeeds"),
        (job("exports", "succeeded", attempt=2), False, "exports 2101 runs once"),
        (job("reports", "succeeded", attempt=2), True, "reports 2101 does not run twice"),
        (job("imports", "succeeded"), False, "all its orders, or none"),
    ],
)
def test_it_is_said_what_is_wrong(bad: Job, was_killed: bool, says: str) -> None:
    killed = [REPEATED, bad] if was_killed else [REPEATED]

    with pytest.raises(Unexpected, match=says):
        judge([REPEATED, bad], killed, Orders(17))


def test_a_demonstration_in_which_nobody_was_killed_has_shown_nothing() -> None:
    with pytest.raises(Unexpected, match="a worker is killed"):
        judge([job("reports", "succeeded")], [], Orders(0))


def test_a_line_and_a_summary_say_where_jobs_are(capsys: pytest.CaptureFixture[str]) -> None:
    jobs = [REPEATED, INTERRUPTED, job("reports", "running")]

    line = standing(jobs)
    summarize(jobs, [REPEATED, INTERRUPTED])

    said = capsys.readouterr().out
    assert "accepted   0  running   1  finished   2" in line
    assert "worker.1   1 ■■■■■■■ " in line
    assert "accepted 3, finished 2, lost 1: failed 1, running 1, succeeded 1" in said
    assert "exports 2101: succeeded at attempt 2, run by worker.1" in said
