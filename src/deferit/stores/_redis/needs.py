"""What commands will want to know, so that it can be asked in one go."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, assert_never

from deferit._core.commands import (
    MOST_READY,
    ORPHANED,
    Append,
    Cancel,
    Claim,
    ClaimCallbacks,
    Create,
    Dispatch,
    Finish,
    Observe,
    Purge,
    Release,
    Renew,
    Report,
    SettleCallback,
    Sweep,
)
from deferit._core.ids import prefix_at
from deferit.stores._redis.batch import INLINE
from deferit.stores._redis.rows import quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from deferit._core.commands import Command
    from deferit._core.job import Job
    from deferit.stores._redis.facts import Facts, Question


class Needs:
    """What a batch will want to know, round by round: some questions come up from answers.

    What it leaves out costs a round trip, no more: the batch asks for it as it goes along.
    """

    def __init__(self, batch: Sequence[Command], facts: Facts, *, careful: bool) -> None:
        """Without ``careful``, take it for granted that the ids of new jobs are new."""
        self._batch = batch
        self._facts = facts
        self._rows: dict[str, None] = {}
        self._bodies: dict[str, None] = {}
        self._limits: Counter[str] = Counter()
        for command in batch:
            if isinstance(command, Claim | Dispatch):
                self._limits[command.application] += max(command.limit, 0)
        if not careful:
            facts.assume_new(self._new_ids())

    def _new_ids(self) -> set[str]:
        """Return the ids of new jobs of which nothing is written that could belong to another."""
        creates = [command for command in self._batch if isinstance(command, Create)]
        ids = {command.job.id for command in creates}
        ids -= {command.job.id for command in creates if len(command.request) > INLINE}
        return ids - {getattr(command, "job_id", None) for command in self._batch}

    def questions(self) -> list[Question]:
        """Return what is to be asked next; nothing, if the batch can be gone through."""
        self._rows.clear()
        self._bodies.clear()
        asked: dict[tuple[object, ...], Question] = {}
        for command in self._batch:
            with suppress(UnicodeError):  # it will be the answer to this command
                asked.update((question.command, question) for question in self._of(command))
        questions = list(asked.values())
        if self._rows:
            questions.append(self._facts.ask_rows(*self._rows))
        if self._bodies:
            questions.append(self._facts.ask_bodies(*self._bodies))
        return questions

    def _of(self, command: Command) -> Iterator[Question]:
        match command:
            case Create():
                yield from self._of_create(command)
            case Claim() if command.job_id is not None:
                yield from self._of_named(command.job_id)
            case Claim() | Dispatch():
                yield from self._of_claim(command)
            case Renew():
                self._need_rows(job_id for job_id, _ in command.leases)
            case Sweep():
                yield from self._of_sweep(command)
            case ClaimCallbacks():
                due = self._facts.names.of("callbacks", command.application)
                yield from self._due(due, command.limit, command.now)
            case Append() | Purge() | SettleCallback() | Report() | Finish() | Release() | Cancel():
                self._need_rows([command.job_id])
            case Observe():
                return
            case _:
                assert_never(command)

    def _of_create(self, command: Create) -> Iterator[Question]:
        facts, job = self._facts, command.job
        self._need_rows([job.id])
        if job.id not in facts.bodies:
            self._bodies[job.id] = None
        if job.key and job.key not in facts.keys:
            yield facts.ask_key(job.key)
        elif job.key and (found := facts.keys[job.key]):
            self._need_rows([found])
        if command.is_ready:
            yield from self._of_turn(job)
        if command.limits:
            yield from self._of_limits(job)

    def _of_turn(self, job: Job) -> Iterator[Question]:
        facts = self._facts
        ready, lane = facts.names.ready(job.application, job.queue), facts.names.lane(job)
        if ready not in facts.spans and job.application not in self._limits:
            yield facts.ask_first(ready, 1)
        if lane not in facts.spans:
            yield facts.ask_last(lane, 1)

    def _of_limits(self, job: Job) -> Iterator[Question]:
        facts, of, application = self._facts, self._facts.names.of, job.application
        keys = [of("early", application)]
        if job.owner is not None:
            keys.append(of("unfinished", application, job.owner))
        if application not in facts.queues:
            yield facts.ask_queues(application)
        else:
            ready = of("ready", application, "")
            keys += [ready + queue for queue in facts.queues[application] | {quoted(job.queue)}]
        yield from (facts.ask_count(key) for key in keys if key not in facts.counts)

    def _of_claim(self, command: Claim | Dispatch) -> Iterator[Question]:
        facts, application = self._facts, command.application
        if application not in facts.selected:
            most = self._limits[application]
            yield facts.ask_selection(application, command.now, most)
            return
        early = facts.span(facts.names.of("early", application))
        for _, job_id in early.entries[:MOST_READY]:
            row = facts.rows[job_id]
            if row is not None:
                yield from self._of_turn(row.job)
        unknown = facts.are_long - facts.requests.keys()
        yield from (facts.ask_request(job_id) for job_id in unknown)

    def _of_named(self, job_id: str) -> Iterator[Question]:
        facts = self._facts
        is_first = job_id not in facts.rows
        self._need_rows([job_id])
        if job_id not in facts.requests and (is_first or facts.rows[job_id]):
            yield facts.ask_request(job_id)

    def _of_sweep(self, command: Sweep) -> Iterator[Question]:
        facts = self._facts
        for key in (facts.names.running, facts.names.finished):
            yield from self._due(key, command.limit, command.now)
        before = prefix_at(command.now - ORPHANED)
        if before not in facts.orphans:
            yield facts.ask_orphans(before, max(command.limit, 0) + len(self._batch))
        if facts.leftovers is None:
            yield facts.ask_leftovers(max(command.limit, 1))

    def _due(self, key: str, limit: int, now: float) -> Iterator[Question]:
        span = self._facts.spans.get(key)
        if span is None:
            yield self._facts.ask_first(key, max(limit, 0) + len(self._batch), now)
        else:
            self._need_rows(job_id for _, job_id in span.entries)

    def _need_rows(self, job_ids: Iterable[str]) -> None:
        self._rows.update((job_id, None) for job_id in job_ids if job_id not in self._facts.rows)
