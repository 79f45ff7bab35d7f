"""CONTRACT.md §1, CORS: a page of another origin, in a real browser, follows a job to its result."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from tests.browsers import browser_or_skip
from tests.contract.served.servers import serve
from tests.servers.harness import UVICORN_2

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers.harness import Server

pytestmark = pytest.mark.server

PAGE = """<!doctype html>
<title>A page of another origin</title>
<script>
const field = (answer, name) => answer.headers.get(name);
async function follow() {
  const submitted = await fetch(API + "/always/work", {
    method: "POST",
    headers: {
      "Content-Type": "application/json",
      "Prefer": "respond-async",
      "Idempotency-Key": '"a page of another origin"',
    },
    body: JSON.stringify({name: "browsed"}),
  });
  const monitor = field(submitted, "Location");
  let answer, polls = 0;
  do {
    answer = await fetch(monitor, {headers: {"Prefer": "wait=5"}});
    polls += 1;
  } while (answer.status === 202 && polls < 20);
  const job = await answer.json();
  const result = await fetch(job.resourceLocation);
  const events = await new Promise((resolve, reject) => {
    const source = new EventSource(monitor + "/events");
    source.addEventListener("status", (event) => { source.close(); resolve(event.data); });
    source.onerror = () => reject(new Error("no events"));
  });
  return {
    submitted: submitted.status,
    monitor,
    retryAfter: field(submitted, "Retry-After"),
    link: field(submitted, "Link"),
    applied: field(submitted, "Preference-Applied"),
    status: job.status,
    tag: field(answer, "ETag"),
    sunset: field(answer, "Sunset"),
    result: [result.status, await result.text(), field(result, "AsyncResult")],
    lastEvent: JSON.parse(events).status,
  };
}
follow()
  .catch((error) => ({error: String(error)}))
  .then((found) => fetch("/found", {method: "POST", body: JSON.stringify(found)}));
</script>
"""


class Elsewhere(ThreadingHTTPServer):
    """Another origin: serves the page, and takes down what the page has found out."""

    def __init__(self, api: str) -> None:
        super().__init__(("127.0.0.1", 0), Page)
        self.page = f"<script>const API = {json.dumps(api)}</script>{PAGE}".encode()
        self.found: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self.url = f"http://localhost:{self.server_port}/"


class Page(BaseHTTPRequestHandler):
    server: Elsewhere  # pyright: ignore[reportIncompatibleVariableOverride]  the one it is made for

    def do_GET(self) -> None:
        self._answer(200, self.server.page if self.path == "/" else b"")

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        self.server.found.put(json.loads(self.rfile.read(length)))
        self._answer(200, b"")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  as http.server calls it
        """Say nothing."""

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def browser() -> str:
    return browser_or_skip()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with serve(UVICORN_2, tmp_path) as running:
        yield running


@pytest.fixture
def elsewhere(server: Server) -> Iterator[Elsewhere]:
    with Elsewhere(server.url) as other:
        thread = threading.Thread(target=other.serve_forever, daemon=True)
        thread.start()
        yield other
        other.shutdown()
        thread.join()


@contextlib.contextmanager
def opened(browser: str, url: str, folder: Path) -> Iterator[Path]:
    """Have a browser without a window show a page, with a profile of its own; yield its log."""
    log = folder / "browser.log"
    command = [
        *(browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"),
        *("--no-first-run", "--disable-background-networking", "--disable-component-update"),
        *("--disable-sync", "--disable-dev-shm-usage", "--disable-default-apps"),
        *(
            "--no-proxy-server",
            f"--user-data-dir={folder / 'profile'}",
            "--remote-debugging-port=0",
        ),
        url,
    ]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # it is many processes: they end together
        )
    try:
        yield log
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)


def test_a_page_of_another_origin_follows_a_job_to_its_result(
    browser: str, elsewhere: Elsewhere, server: Server, tmp_path: Path
) -> None:
    with opened(browser, elsewhere.url, tmp_path) as log:
        try:
            found = elsewhere.found.get(timeout=60)
        except queue.Empty:
            pytest.fail(f"the page has told nothing; the browser says:\n{log.read_text()[-3000:]}")

    assert "error" not in found, (found, server.log[-2000:])
    assert found["submitted"] == 202
    assert found["monitor"].startswith(f"{server.url}/jobs/job_")
    assert int(found["retryAfter"]) >= 1
    assert found["monitor"] in found["link"]
    assert found["applied"] == "respond-async"
    assert (found["status"], found["lastEvent"]) == ("succeeded", "succeeded")
    assert found["tag"]
    assert found["sunset"]
    assert found["result"] == [201, "browsed is done", "201"]
