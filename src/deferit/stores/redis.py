"""Jobs kept in Redis, shared by processes on many machines."""

from __future__ import annotations

import os
import secrets
import time
from itertools import count
from random import uniform
from typing import TYPE_CHECKING, Any, cast

from deferit.exceptions import StoreUnavailable
from deferit.stores._redis.batch import Batch
from deferit.stores._redis.commit import Commit
from deferit.stores._redis.desk import Desk
from deferit.stores._redis.facts import Facts, NotTold
from deferit.stores._redis.listener import Listener
from deferit.stores._redis.needs import Needs
from deferit.stores._redis.pieces import PieceWriter
from deferit.stores._redis.queries import Reader
from deferit.stores._redis.room import job_of, jobs_that_need_room
from deferit.stores._redis.rows import Names
from deferit.stores._redis.scripts import COMMIT
from deferit.stores._redis.server import PATIENCE, NoAnswer, RedisServer, ServerFull
from deferit.stores.base import Store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deferit._core.commands import Command
    from deferit._core.job import Job
    from deferit._core.queries import Query
    from deferit.stores._redis.facts import Question
    from deferit.stores._redis.server import Connected

SCHEMA = "1"
"""How the store is laid out; its identity begins with it."""


DOUBT = 15.0
"""Seconds for which a server is asked that was lost in the moment of a commit."""

PAUSE = 0.05
"""Seconds between two such questions."""


class RedisStore(Store):
    """Keeps jobs in Redis, named ``redis://host:port/db``, ``rediss://…`` (with TLS) or ``unix:///path``.

    ``?prefix=`` at the end of the URL tells stores on one server apart. What is committed is as durable as the server
    is set up to make it: with ``appendonly yes`` and ``appendfsync always`` it outlives a power cut.

    A batch reads what it concerns, is gone through here, and is written by one script, which does nothing if something
    has changed meanwhile; then the batch begins again.

    If the server's data is lost or replaced, the next call fails and the one after that goes on with what is there.

    Raises:
        OptionError: the URL names no server, or the extra is missing.
    """

    def __init__(self, url: str) -> None:
        self._server = RedisServer(url)
        self.url = self._server.url
        self._names = Names(self._server.prefix)
        self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        self._session: Session | None = None

    def open(self) -> None:
        """Connect, see whether the server can be relied on, and follow its changes."""
        if self._process != os.getpid():
            self._begin()  # what the parent has opened is the parent's
        if self._session is None:
            self._session = Session(self._server.connect(), self._names, self.url)

    def close(self) -> None:
        """Disconnect."""
        session, self._session = self._session, None
        if session:
            session.close()

    def execute(self, batch: Sequence[Command]) -> list[object]:
        """Read, go through the commands and write, until nobody was faster."""
        return self._opened().execute(batch)

    def read(self, query: Query) -> object:
        """Answer a query, over a connection of its own."""
        return self._opened().reader.read(query)

    def get_all(self, job_ids: Sequence[str]) -> list[Job | Exception]:
        """Find jobs by their ids, in one round trip to each server that has some."""
        return self._opened().reader.get_all(job_ids)

    def version(self) -> int:
        """Return a number that is another one after a change was heard of, some milliseconds after it was made."""
        return self._opened().listener.version()

    def _opened(self) -> Session:
        if self._session is None:
            raise StoreUnavailable(self.url, "it is not open")
        return self._session


class Session:
    """A store from when it is opened until it is closed."""

    def __init__(self, connected: Connected, names: Names, url: str) -> None:
        self.reader = Reader(connected, names)
        self.listener = Listener(connected, names)
        self._connected = connected
        self._names = names
        self._url = url
        self._writer = secrets.token_urlsafe(9)
        self._numbers = count(1)
        self._identity: str | None = None
        try:
            self._identity = self._identify()
            self.listener.start()
        except BaseException:
            connected.close()
            raise

    def close(self) -> None:
        """Let go of the connections, and of the thread."""
        self.listener.close()
        self._connected.close()

    def execute(self, batch: Sequence[Command]) -> list[object]:
        """Execute a batch; if there is no room for it, what needs none: so leases go on, and old jobs still go."""
        needy = jobs_that_need_room(batch)
        try:
            return self._execute(batch, needs_room=bool(needy))
        except ServerFull as exc:
            rest = [command for command in batch if job_of(command) not in needy]
            if not needy or not rest:
                raise
            answers = iter(self._execute(rest, needs_room=False))
            return [exc if job_of(command) in needy else next(answers) for command in batch]

    def _execute(self, batch: Sequence[Command], *, needs_room: bool) -> list[object]:
        mark = f"{self._writer}:{next(self._numbers)}"
        pieces = PieceWriter(self._connected, self._names)
        deadline = None
        for tries in count():
            desk, answers = self._go_through(batch, careful=tries > 0)
            pieces.write(desk)
            if self._write(Commit(desk, mark, needs_room=needs_room)):
                pieces.drop(desk)
                return answers
            deadline = deadline or time.monotonic() + PATIENCE
            if time.monotonic() > deadline:
                break
            time.sleep(uniform(0, min(0.001 * 2**tries, 0.05)))  # noqa: S311  so that two do not meet again
        reason = f"others have changed the same jobs without end for {PATIENCE:g} s"
        raise StoreUnavailable(self._url, reason)

    def _go_through(self, batch: Sequence[Command], *, careful: bool) -> tuple[Desk, list[object]]:
        facts = Facts(self._names)
        needs = Needs(batch, facts, careful=careful)
        while questions := needs.questions():
            self._ask(questions)
        while True:
            desk = Desk(facts)
            try:
                return desk, Batch(desk).execute(batch)
            except NotTold as exc:
                self._ask(exc.args)

    def _ask(self, questions: Sequence[Question]) -> None:
        replies = self._connected.ask_all(question.command for question in questions)
        for question, reply in zip(questions, replies, strict=True):
            question.tell(reply)

    def _write(self, commit: Commit) -> bool:
        """Write a batch; return whether it is done, or something was not any more as it had been read."""
        if commit.is_empty:
            return True
        self._identity = self._identity or self._identify()
        outcome, *rest = self._run(commit, self._identity)
        if outcome == b"replaced":
            self._identity = None
            raise StoreUnavailable(self._url, "its data was removed or replaced while in use")
        if outcome == b"kept":
            self.listener.heard(rest[0])
        return bool(outcome == b"kept")

    def _run(self, commit: Commit, identity: str) -> list[Any]:
        """Have the script write; if the server does not say whether it has, ask again: the mark has a batch kept once.

        For long only where jobs are concerned: of those the server has told a moment ago, so it was there.
        """
        names = self._names
        mark = names.of("writer", self._writer)
        keys = commit.keys(names.identity, mark, names.cursor, names.changes)
        arguments = commit.arguments(identity)
        deadline = time.monotonic() + (DOUBT if commit.has_rows else 0.0)
        while True:
            try:
                return cast("list[Any]", self._connected.run(COMMIT, keys, arguments))
            except NoAnswer:
                if time.monotonic() >= deadline:
                    raise
            time.sleep(PAUSE)

    def _identify(self) -> str:
        """Return what tells this store's data from other data in its place; made by whoever comes first."""
        ask, name = self._connected.ask, self._names.identity
        # It changes nothing. A replica refuses it, as it would all that follows; a server that is full does not.
        ask("PERSIST", name)
        found = ask("GET", name)
        if found is None:
            ask("SET", name, f"{SCHEMA} {secrets.token_urlsafe(9)}", "NX")
            found = ask("GET", name)
        identity: str = found.decode()
        schema, _, _ = identity.partition(" ")
        if schema != SCHEMA:
            raise StoreUnavailable(
                self._url,
                f"a newer deferit made it (layout {schema}, this one knows {SCHEMA}); upgrade deferit",
            )
        return identity
