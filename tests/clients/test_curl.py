"""What curl can do: its own --retry sits out a 503, and a few lines of shell around it follow any job."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.clients.submissions import Ends, Submission, ends
from tests.servers.twins import take_away, twin

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.servers.harness import Kind, Server

pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here"),
]

FOLLOW = Path(__file__).with_name("follow.sh")
CURL = ("curl", "--no-progress-meter")


def begin(url: str, submission: Submission) -> tuple[str, Callable[[], Any]]:
    options = ["--data-binary", "@-"]
    for name, value in submission.headers.items():
        options += ["--header", f"{name}: {value}"]
    process = subprocess.Popen(
        ["sh", FOLLOW, *options, url + submission.path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(submission.body)
    process.stdin.close()
    monitor = process.stdout.readline().decode().strip()

    def follow() -> Any:
        with process:
            assert process.stdout is not None
            return json.loads(process.stdout.read())

    return monitor, follow


@pytest.fixture(scope="module")
def followed(example: Server) -> Ends[Any]:
    return ends(example.url, begin)


def test_a_loop_follows_a_job_to_its_result(followed: Ends[Any]) -> None:
    document = followed["result"].result()

    result = curl(document["resourceLocation"])

    assert document["status"] == "succeeded"
    assert json.loads(result.stdout)["year"] == 2024


def test_a_loop_follows_a_job_to_its_failure(followed: Ends[Any]) -> None:
    document = followed["failure"].result()

    result = curl("--fail", document["resultUrl"])

    assert document["status"] == "failed"
    assert result.returncode == 22  # what --fail says of 400 and more
    assert b"422" in result.stderr


def test_a_loop_follows_a_job_to_its_cancellation(followed: Ends[Any]) -> None:
    document = followed["cancellation"].result()

    assert document["status"] == "canceled"


def test_a_long_poll_needs_no_loop(example: Server) -> None:
    report = ("--header", "Content-Type: application/json", "--data", "{}")
    document = json.loads(curl(*report, f"{example.url}/reports").stdout)

    result = curl("--header", "Prefer: wait=20", document["resultUrl"])

    assert document["done"] is False
    assert "customers" in json.loads(result.stdout)


def test_retry_honours_retry_after(kind: Kind, tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    with twin(kind, tmp_path, DEFERIT_STORE=f"sqlite:///{place / 'jobs.db'}") as server:
        take_away(place)
        retry = ("--retry", "9", "--retry-delay", "20", "--fail")
        retrying = subprocess.Popen(
            [*CURL, *retry, "--data", "", f"{server.url}/work/once"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        with retrying:
            assert retrying.stderr is not None
            warning = next(line for line in retrying.stderr if b"retry" in line)
            place.unlink()
            place.mkdir()
            answer, _ = retrying.communicate(timeout=30)

    # A second as we say, not the twenty that it would wait else.
    assert b"Will retry in 1 second" in warning
    assert json.loads(answer)["status"] in {"accepted", "running"}


def curl(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*CURL, *arguments], capture_output=True, check=False, timeout=60)
