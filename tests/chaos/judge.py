"""Compares what clients were told with what handlers did and what is in the store, once all is quiet."""

from __future__ import annotations

from collections import Counter
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from tests.chaos.book import Deed, read_ledger

from deferit._core.job import FINISHED, MAX_LOSSES, Job
from deferit._core.rules import keeps

if TYPE_CHECKING:
    from pathlib import Path

    import httpx
    from tests.chaos.book import Book, Submission
    from tests.chaos.stores import Piece
    from tests.chaos.target import Target

ENDS = {
    ("succeeded", None),
    ("failed", "handler-exception"),
    ("failed", "interrupted"),
}
"""How a job may end here: nobody cancels one, and no handler answers 400 or more but by raising."""


class Judge:
    """Finds what should not be; `violations` has a sentence for each."""

    def __init__(self, book: Book, folder: Path, struck: set[int]) -> None:
        self.ends: Counter[str] = Counter()
        self.figures: dict[str, int] = {}
        self._book = book
        self._struck = struck
        self._deeds = read_ledger(folder)
        self._deeds_of_job: dict[str, list[Deed]] = {}
        for deeds in self._deeds.values():
            for deed in deeds:
                self._deeds_of_job.setdefault(deed.job_id, []).append(deed)

    # --- over HTTP -----------------------------------------------------------------------------------------------

    def ask(self, client: httpx.Client) -> None:
        """Ask for the end and the result of every job that a client was told of."""
        for job_id, submission in self._book.accepted.items():
            answer = client.get(f"/jobs/{job_id}")
            document = answer.json()
            if answer.status_code != 200:
                self._object(f"accepted job {job_id}: {answer.status_code} {document}")
                continue
            self._book.saw_finished(job_id, answer.headers["ETag"])
            self._check_end(submission, document)
            if document["status"] == "succeeded":
                self._check_result(document, client.get(f"/jobs/{job_id}/result"))

    def _check_end(self, submission: Submission, document: dict[str, Any]) -> None:
        code = document.get("error", {}).get("code")
        end = document["status"], code
        self.ends[code or document["status"]] += 1
        if end not in ENDS or (code == "handler-exception") != (
            submission.path == "fail" and code != "interrupted"
        ):
            self._object(f"{submission.kind} {document['id']} has ended as {end}: {document}")
        if code == "interrupted":
            self._check_interruption(submission, document)

    def _check_interruption(self, submission: Submission, document: dict[str, Any]) -> None:
        """Only a process that was struck interrupts, and a repeatable job not until it was lost often."""
        deeds = self._deeds_of_job.get(document["id"], [])
        if deeds and deeds[-1].process not in self._struck:
            self._object(f"{document['id']} was interrupted in a process that nobody has struck")
        if submission.is_repeatable and document["attempt"] < MAX_LOSSES:
            self._object(f"repeatable {document['id']} was given up: {document}")

    def _check_result(self, document: dict[str, Any], answer: httpx.Response) -> None:
        digest = sha256(answer.content).hexdigest()
        written = {
            deed.digest
            for deed in self._deeds_of_job.get(document["id"], [])
            if deed.event == "end" and deed.attempt == document["attempt"]
        }
        if digest not in written:
            self._object(f"the result of {document['id']} is not what its handler wrote")

    # --- in the ledger -------------------------------------------------------------------------------------------

    def audit(self) -> None:
        """Look how often handlers ran."""
        for submission in self._book.submissions:
            self._check_starts(submission, self._deeds[submission.name])
            self._check_answers(submission, self._deeds[submission.name])
        self.figures["handlers started"] = sum(map(_starts, self._deeds_of_job.values()))
        self.figures["started again"] = sum(
            max(0, _starts(deeds) - 1) for deeds in self._deeds_of_job.values()
        )

    def _check_starts(self, submission: Submission, deeds: list[Deed]) -> None:
        jobs = {deed.job_id for deed in deeds} | submission.job_ids
        if submission.key is None and len(jobs) > 1:
            self._object(f"{submission.name} was sent once and has several jobs: {jobs}")
        if submission.is_repeatable:
            self._check_attempts(deeds)
        elif _starts(deeds) > 1:
            self._object(f"unsafe {submission.kind} {submission.name} ran twice: {deeds}")
        if submission.key is not None and len(submission.job_ids) > 1:
            self._object(f"the key of {submission.name} has several jobs: {submission.job_ids}")

    def _check_attempts(self, deeds: list[Deed]) -> None:
        attempts = Counter((deed.job_id, deed.attempt, deed.event) for deed in deeds)
        twice = [attempt for attempt, count in attempts.items() if count > 1]
        if twice:
            self._object(f"an attempt was started twice: {twice}")

    def _check_answers(self, submission: Submission, deeds: list[Deed]) -> None:
        """Compare what was answered in place of a 202."""
        written = {deed.digest for deed in deeds if deed.event == "end"}
        for seen in submission.answers:
            if seen.status == 200 and seen.digest not in written:
                self._object(f"{submission.name} was answered what its handler has not written")
            if seen.status != 200 and not self._may_fail(submission):
                self._object(f"{submission.kind} {submission.name} was answered {seen.status}")

    def _may_fail(self, submission: Submission) -> bool:
        """Whether 500 is an answer: the handler raises, or the job of a key was interrupted."""
        processes = {deed.process for deed in self._deeds[submission.name]}
        is_struck = not processes or bool(processes & self._struck)
        return submission.path == "fail" or (submission.key is not None and is_struck)

    # --- in the store --------------------------------------------------------------------------------------------

    def inspect(self, target: Target) -> None:
        """Look into the store, which no server has open any more."""
        store = target.store
        jobs = store.jobs(target.application)
        self.figures["jobs in the store"] = len(jobs)
        for fault in store.faults(jobs):
            self._object(fault)
        self._check_jobs(jobs)
        self._check_known(jobs, set() if target.helpers else self._tried())
        self._check_left_overs(jobs, store.requests(), store.pieces())
        if store.refuses_for_certain:
            self._check_refusals()

    def _check_jobs(self, jobs: dict[str, Job]) -> None:
        for job in jobs.values():
            if job.status not in FINISHED:
                self._object(f"{job.id} is not finished: {job}")
            if job.repeatable and job.result is None and not _was_given_up(job):
                self._object(f"repeatable {job.id} has not come to its end: {job}")

    def _check_known(self, jobs: dict[str, Job], tried: set[str]) -> None:
        """Every job whose handler ran is in the store, but those that were only tried."""
        for name, deeds in self._deeds.items():
            missing = {deed.job_id for deed in deeds} - set(jobs)
            if missing and name not in tried:
                self._object(f"{name} ran as {missing}, which the store does not know")

    def _tried(self) -> set[str]:
        return {item.name for item in self._book.submissions if item.path == "auto"}

    def _check_left_overs(
        self, jobs: dict[str, Job], requests: set[str], pieces: list[Piece]
    ) -> None:
        """Nothing is kept of a request that is done with, nor of an attempt that has no result."""
        if requests:
            self._object(f"{len(requests)} finished jobs have their request in the store")
        orphans = set()
        for piece in pieces:
            job = jobs.get(piece.job_id)
            if job is None:
                orphans.add(piece.job_id)  # its submission was cut off; `Sweep` drops it in an hour
            elif not keeps(job, piece.attempt, piece.position) and not _is_last(job, piece):
                self._object(f"{piece} was left behind")
        self.figures["bodies of submissions cut off"] = len(orphans)

    def _check_refusals(self) -> None:
        """What was refused, and not sent again, is not there."""
        for submission in self._book.submissions:
            if submission.is_refused and submission.key is None and self._deeds[submission.name]:
                self._object(f"{submission.name} was refused, and has run")

    def _object(self, text: str) -> None:
        self._book.violation(text)


def _starts(deeds: list[Deed]) -> int:
    return sum(deed.event == "start" for deed in deeds)


def _was_given_up(job: Job) -> bool:
    return job.error is not None and job.error.code == "interrupted" and job.losses >= MAX_LOSSES


def _is_last(job: Job, piece: Piece) -> bool:
    """Whether a piece is a result's last one, which `Finish` brings."""
    result = job.result
    return result is not None and (piece.attempt, piece.position) == (
        job.attempt,
        result.chunks - 1,
    )
