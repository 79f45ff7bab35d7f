"""``call`` and ``wait`` bring the result to stdout, tell of the job on stderr, and end with a telling code."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from tests.client.apps.common import LONG
from tests.servers.harness import CHECKOUT, until

if TYPE_CHECKING:
    from tests.cli.conftest import Deferit
    from tests.servers.harness import Server

pytestmark = pytest.mark.server

PROGRAM = [sys.executable, "-c", "from deferit.cli import main; main()"]


def test_the_result_goes_to_stdout_and_all_else_to_stderr(deferit: Deferit, server: Server) -> None:
    done = deferit("call", "post", f"{server.url}/work/report", "-d", "of 2024")

    assert done.code == 0
    assert json.loads(done.out) == {"method": "POST", "body": "of 2024"}
    first, *others = done.err.splitlines()
    assert first.startswith(f"following {server.url}/jobs/job_")
    assert others[-1].startswith("succeeded")


def test_lines_have_no_control_characters(deferit: Deferit, server: Server) -> None:
    done = deferit("call", "POST", f"{server.url}/work/report")

    assert all(line.isprintable() for line in done.err.splitlines())


def test_an_error_is_a_result_and_a_failure(deferit: Deferit, server: Server) -> None:
    done = deferit("call", "POST", f"{server.url}/work/refusal")

    assert done.code == 1
    assert json.loads(done.out) == {"detail": "No."}
    assert done.err.splitlines()[-1] == "409 Conflict"


def test_an_answer_that_comes_at_once_is_the_result(deferit: Deferit, server: Server) -> None:
    done = deferit("call", "GET", f"{server.url}/nowhere")

    assert (done.code, done.out, done.err) == (1, "Not Found", "404 Not Found\n")


def test_a_result_is_written_to_a_file(deferit: Deferit, server: Server, tmp_path: Path) -> None:
    path = tmp_path / "result.json"

    done = deferit("call", "POST", f"{server.url}/work/long", "-o", str(path), "--quiet")

    assert (done.code, done.out, done.err) == (0, "", "")
    assert path.read_bytes() == LONG
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_no_plain_file_stays_what_it_is(
    deferit: Deferit, server: Server, tmp_path: Path
) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDWR | os.O_NONBLOCK)

    done = deferit("call", "POST", f"{server.url}/work/report", "-o", str(path), "--quiet")

    told = os.read(reader, 1_000)
    os.close(reader)
    assert done.code == 0
    assert told
    assert path.is_fifo()


def test_a_job_is_waited_for_by_its_url(deferit: Deferit, server: Server) -> None:
    monitor = httpx.post(f"{server.url}/work/report").headers["Location"]

    done = deferit("wait", monitor)

    assert done.code == 0
    assert json.loads(done.out)["method"] == "POST"


def test_documents_are_lines_of_json_if_wanted(deferit: Deferit, server: Server) -> None:
    done = deferit("call", "POST", f"{server.url}/work/report", "--json")

    documents = [json.loads(line) for line in done.err.splitlines()]
    assert [document["status"] for document in documents][-1] == "succeeded"
    assert {document["monitorUrl"] for document in documents} == {documents[0]["monitorUrl"]}


def test_the_header_of_the_result_is_shown_if_wanted(deferit: Deferit, server: Server) -> None:
    done = deferit("call", "POST", f"{server.url}/work/report", "-i")

    assert "201 Created\n" in done.err
    assert "asyncresult: 201\n" in done.err.lower()


@pytest.mark.parametrize(
    ("data", "content_type"),
    [
        ('{"year": 2024}', "application/json"),
        ("of 2024", "text/plain; charset=utf-8"),
        ("@orders.csv", "text/csv"),
        ("@unknown", "application/octet-stream"),
    ],
)
def test_a_body_is_sent_as_what_it_seems_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: str, content_type: str
) -> None:
    from deferit.cli.following import body_of  # noqa: PLC0415  it stands for one request each

    monkeypatch.chdir(tmp_path)
    Path("orders.csv").write_text("number\n1.5 apples\n")
    Path("unknown").write_bytes(b"\xff")

    body, found = body_of(data)

    assert found == content_type
    assert body is not None
    assert body == (Path(data[1:]).read_bytes() if data.startswith("@") else data.encode())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["call", "POST"], "URL"),
        (["call", "POST", "http://127.0.0.1", "-d", "@nowhere"], "the file cannot be read"),
        (
            ["call", "POST", "http://127.0.0.1", "-o", "no/such/folder/x"],
            "there is no folder no/such",
        ),
        (["wait", "http://127.0.0.1/jobs/1", "-o", "/"], "is a folder"),
        (["call", "POST", "http://127.0.0.1", "-H", "nonsense"], "write 'Name: value'"),
        (["call", "POST", "nonsense"], "deferit: "),
        (["wait", "http://127.0.0.1/jobs/1", "--timeout", "-1"], "timeout=-1"),
        (["dance"], "dance"),
    ],
)
def test_what_cannot_be_used_ends_with_2(
    deferit: Deferit, arguments: list[str], words: str
) -> None:
    done = deferit(*arguments)

    assert done.code == 2
    assert done.out == ""
    assert words in done.err


def test_a_server_out_of_reach_ends_with_4(deferit: Deferit) -> None:
    done = deferit("call", "POST", "http://127.0.0.1:1/reports")

    assert done.code == 4
    assert done.err.startswith("deferit: http://127.0.0.1:1/reports cannot be reached: ")


def test_a_timeout_ends_with_4_and_says_how_to_go_on(deferit: Deferit, server: Server) -> None:
    done = deferit("call", "POST", f"{server.url}/work/gate", "-d", "never", "--timeout", "0.3")

    assert done.code == 4
    resume = done.err.splitlines()[-1].removeprefix("To go on: deferit wait ")
    assert httpx.post(f"{resume}/cancel").json()["status"] == "canceled"


def test_a_complaint_is_json_if_wanted(deferit: Deferit, server: Server) -> None:
    monitor = f"{server.url}/jobs/job_{'0' * 30}"

    done = deferit("wait", monitor, "--json")

    complaint = json.loads(done.err)
    assert done.code == 4
    assert complaint["error"] == "MonitorLost"
    assert complaint["monitorUrl"] == monitor


def test_a_job_that_somebody_cancels_ends_with_3(server: Server) -> None:
    with subprocess.Popen(
        [*PROGRAM, "call", "POST", f"{server.url}/work/gate", "-d", "never"],
        stderr=subprocess.PIPE,
        text=True,
        cwd=CHECKOUT,
    ) as process:
        assert process.stderr is not None
        monitor = process.stderr.readline().split()[-1]
        httpx.post(f"{monitor}/cancel").raise_for_status()
        rest = process.stderr.read()

    assert process.returncode == 3
    assert "somebody has canceled the job" in rest


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        ([], "canceled", "canceled\n"),
        (["--leave"], "running", "left alone; to go on: deferit wait "),
    ],
)
def test_ctrl_c_ends_with_130(server: Server, options: list[str], status: str, words: str) -> None:
    with subprocess.Popen(
        [*PROGRAM, "call", "POST", f"{server.url}/work/gate", "-d", "never", *options],
        stderr=subprocess.PIPE,
        text=True,
        cwd=CHECKOUT,
    ) as process:
        assert process.stderr is not None
        monitor = process.stderr.readline().split()[-1]
        assert any(line.startswith("running") for line in process.stderr)
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()

    assert process.returncode == 130
    assert words in rest
    assert httpx.get(monitor).json()["status"] == status
    httpx.post(f"{monitor}/cancel").raise_for_status()


def test_a_terminal_gets_a_bar_that_is_gone_at_the_end(server: Server, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [*PROGRAM, "call", "POST", f"{server.url}/work/gate", "-d", str(gate)],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        cwd=CHECKOUT,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "120"},
    )
    os.close(slave)
    shown = b""

    def shows(what: bytes) -> bool:
        nonlocal shown
        shown += _read(master)
        return what in shown

    until(lambda: shows("━".encode()), "the bar")
    until(lambda: shows(b" %"), "its progress")
    gate.touch()
    until(lambda: shows(b'"method"'), "the result")
    assert process.wait(20) == 0
    os.close(master)

    assert b"\x1b[2K" in shown, "the bar's line is not erased"


def _read(master: int) -> bytes:
    os.set_blocking(master, False)
    try:
        return os.read(master, 2**16)
    except OSError:  # nothing yet, or the other side is closed
        return b""


def test_nothing_is_left_of_a_download_that_breaks_off(
    deferit: Deferit, others: Server, tmp_path: Path
) -> None:
    done = deferit("call", "GET", f"{others.url}/half", "-o", str(tmp_path / "result"))

    assert done.code == 4
    assert list(tmp_path.iterdir()) == []
