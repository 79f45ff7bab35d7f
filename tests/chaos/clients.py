"""Clients that submit jobs and follow them, at a bounded rate, whatever becomes of the server."""

from __future__ import annotations

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

import httpx
from tests.chaos.book import Seen, Submission

if TYPE_CHECKING:
    from tests.chaos.book import Book

REFUSED = 503
OUT_OF_REACH = "store-unavailable"
LARGE_BODY = 1_200_000
"""Bytes: it is spooled to a file, and lies in the store in several pieces."""
MOST_TRIES = 40
PATIENCE = 10.0


class Order(NamedTuple):
    """A kind of request, how often it is made, and how many seconds its handler takes at the most."""

    method: str
    path: str
    weight: int
    seconds: float = 0.0
    size: int = 0
    has_body: bool = False
    has_key: bool = False


MIX = (
    Order("POST", "work", 24, 0.02, size=3_000),
    Order("PUT", "work", 12, 0.05, size=20_000),
    Order("POST", "work", 8, 1.5),
    Order("PUT", "work", 6, 1.5),
    Order("POST", "repeatable", 6, 0.8, size=9_000),
    Order("POST", "auto", 8, 1.0, size=2_000),
    Order("PUT", "auto", 4, 1.0),
    Order("POST", "report", 5, 1.0),
    Order("PUT", "report", 3, 1.0),
    Order("POST", "stream", 3, 0.5),
    Order("PUT", "stream", 3, 0.5),
    Order("POST", "echo", 2, 0.3, has_body=True),
    Order("PUT", "echo", 2, 0.3, has_body=True),
    Order("POST", "fail", 4, 0.2),
    Order("POST", "work", 8, 0.4, has_key=True),
    Order("PUT", "work", 3, 0.4, has_key=True),
    Order("POST", "auto", 3, 0.6, has_key=True),
)
REPEATABLE_PATHS = {"repeatable"}


class Client:
    """A thread that submits and polls, in a random order that its seed decides."""

    def __init__(self, url: str, book: Book, name: str, seed: str, pause: float) -> None:
        """Make a request every ``pause`` seconds at the most."""
        self._http = httpx.Client(base_url=url, timeout=PATIENCE, trust_env=False)
        self._book = book
        self._name = name
        self._random = random.Random(seed)
        self._pause = pause
        self._stopped = threading.Event()
        self._made = 0
        self._pending: list[str] = []
        self._finished: list[str] = []
        self._pair = ThreadPoolExecutor(2)
        self._thread = threading.Thread(target=self._work, name=f"client-{name}")
        self._thread.start()

    def stop(self) -> None:
        """Make no more submissions, and return when the last one is answered or given up."""
        self._stopped.set()
        self._thread.join()
        self._pair.shutdown()
        self._http.close()

    def _work(self) -> None:
        while not self._stopped.is_set():
            self._submit(self._next())
            self._stopped.wait(self._pause)
            self._poll()
            self._stopped.wait(self._pause)

    # --- submitting ----------------------------------------------------------------------------------------------

    def _next(self) -> Submission:
        (order,) = self._random.choices(MIX, [order.weight for order in MIX])
        self._made += 1
        name = f"{self._name}-{self._made}"
        seconds = self._random.uniform(0, order.seconds)
        return Submission(
            name=name,
            method=order.method,
            path=order.path,
            query=f"seconds={seconds:.3f}&size={self._random.randint(0, order.size)}",
            is_repeatable=order.method == "PUT" or order.path in REPEATABLE_PATHS,
            key=f"key-{name}" if order.has_key else None,
            body=self._random.randbytes(LARGE_BODY) if order.has_body else b"",
        )

    def _submit(self, submission: Submission) -> None:
        self._book.add(submission)
        if submission.key is None:
            self._send(submission)
            return
        # Twice at the same time, so that two workers get it, and again until there is an answer.
        list(self._pair.map(self._send_until_answered, [submission, submission]))

    def _send_until_answered(self, submission: Submission) -> None:
        for _ in range(MOST_TRIES):
            if self._send(submission):
                return
            self._stopped.wait(0.2)
        self._book.count("keyed submissions given up")

    def _send(self, submission: Submission) -> bool:
        """Send it; return whether there was an answer that speaks of the job."""
        headers = {"Idempotency-Key": submission.key} if submission.key else {}
        target = f"/{submission.path}/{submission.name}?{submission.query}"
        sent_at = time.monotonic()
        try:
            answer = self._http.request(
                submission.method, target, content=submission.body, headers=headers
            )
        except httpx.TransportError:
            self._book.count("submissions without an answer")
            return False
        if answer.status_code == REFUSED:
            self._take_refusal(submission, answer.json()["code"], sent_at)
            return False
        self._take(submission, answer)
        return True

    def _take_refusal(self, submission: Submission, code: str, sent_at: float) -> None:
        self._book.count(f"submissions refused ({code})")
        submission.is_refused = code == OUT_OF_REACH
        if code == OUT_OF_REACH and not self._book.was_out(sent_at):
            self._book.violation(f"{submission.name} was refused though the store could be reached")

    def _take(self, submission: Submission, answer: httpx.Response) -> None:
        job_id = _job_id(answer)
        if job_id:
            submission.job_ids.add(job_id)
        if answer.status_code == 202:
            self._book.count("202")
            self._pending.append(job_id or "")
        else:
            self._book.count("final answers to submissions")
            submission.answers.append(Seen(answer.status_code, sha256(answer.content).hexdigest()))

    # --- following -----------------------------------------------------------------------------------------------

    def _poll(self) -> None:
        jobs = self._finished if self._random.random() < 0.2 else self._pending
        if not jobs:
            return
        job_id = self._random.choice(jobs[-20:] if self._random.random() < 0.5 else jobs)
        headers = {"Prefer": "wait=0.5"} if self._random.random() < 0.1 else {}
        sent_at = time.monotonic()
        try:
            answer = self._http.get(f"/jobs/{job_id}", headers=headers)
        except httpx.TransportError:
            self._book.count("polls without an answer")
            return
        if answer.status_code == REFUSED and self._book.was_out(sent_at):
            self._book.count("polls refused while the store had no server")
            return
        self._book.count("polls")
        self._note(job_id, answer)

    def _note(self, job_id: str, answer: httpx.Response) -> None:
        if answer.status_code == 200:
            self._book.saw_finished(job_id, answer.headers["ETag"])
            if job_id in self._pending:
                self._pending.remove(job_id)
                self._finished.append(job_id)
        elif answer.status_code != 202:
            self._book.violation(
                f"a poll of {job_id} was answered {answer.status_code}: {answer.text}"
            )


def _job_id(answer: httpx.Response) -> str | None:
    """Return the id of the job that an answer to a submission speaks of; there may be none."""
    monitor = answer.links.get("monitor", {}).get("url")
    if monitor is None:
        return None
    # The stream of events is a monitor too.
    return urlsplit(monitor).path.split("/")[2]
