"""The stores under attack, with their servers: they are killed here, and looked into past deferit."""

from __future__ import annotations

import sqlite3
import time
from abc import ABC, abstractmethod
from contextlib import closing
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self, cast

import psycopg
from redis import RedisError
from tests.chaos.herd import store_of
from tests.stores.postgres_server import PostgresServer
from tests.stores.redis_server import RedisServer

from deferit._core.commands import Sweep, Swept
from deferit._core.queries import List
from deferit._records import decode_job
from deferit.stores import store_from_url
from deferit.stores._redis.rows import FIELDS, REQUEST, Names, row_from

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from redis import Redis

    from deferit._core.job import Job

PAGE = 200
"""Jobs that are listed at a time."""


class Look(NamedTuple):
    """What can be seen of a store from outside, at one moment."""

    unfinished: int
    oldest_lease: float | None
    """The instant at which the first lease of a running job ends, or has ended."""


class Piece(NamedTuple):
    """A part of a body that lies beside its job."""

    job_id: str
    attempt: int
    position: int


class Attacked(ABC):
    """A store, with its server inside `with`. It has one application."""

    has_server: ClassVar[bool] = True
    refuses_for_certain: ClassVar[bool] = True
    """Whether a submission that was refused has made no job, however the store was killed meanwhile."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    @abstractmethod
    def url(self) -> str:
        """What the applications are told."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:  # noqa: B027  a file has none
        """End the server, if there is one."""

    def kill(self) -> None:
        """End all processes of the server."""
        raise AssertionError(f"{self.url} has no server that could be killed")

    def start(self) -> None:
        """Start the server again, and return when it answers."""
        raise AssertionError(f"{self.url} has no server that could be started")

    @abstractmethod
    def look(self) -> Look | None:
        """Look at the jobs; None: there is nothing to see yet."""

    @abstractmethod
    def faults(self, jobs: Mapping[str, Job]) -> Iterator[str]:
        """Yield what is not sound, or says something else than the jobs' own records."""

    @abstractmethod
    def requests(self) -> set[str]:
        """Return the jobs whose captured request is there."""

    @abstractmethod
    def pieces(self) -> list[Piece]:
        """Return the pieces of bodies that are there, whether their jobs are or not."""

    def jobs(self, application: str) -> dict[str, Job]:
        """Return all jobs, as deferit itself lists them, once all is done that is left to a sweep."""
        found: dict[str, Job] = {}
        with closing(store_from_url(self.url)) as store:
            store.open()
            while not cast("Swept", store.execute([Sweep(time.time())])[0]).is_done:
                pass
            last: str | None = None
            while page := store.read(List(application, None, None, PAGE, last)):
                jobs = cast("tuple[Job, ...]", page)
                found |= {job.id: job for job in jobs}
                last = jobs[-1].id
        return found


# --- tables ----------------------------------------------------------------------------------------------------------


class AttackedTables(Attacked):
    """A store in tables, which are read by SQL."""

    @abstractmethod
    def _select(self, statement: str) -> list[Any]:
        """Return rows, over a connection of their own."""

    def look(self) -> Look | None:
        try:
            ((unfinished, oldest_lease),) = self._select(_LOOK)
        except (sqlite3.OperationalError, psycopg.Error):
            return None  # it has to be made, or recovered
        return Look(unfinished, oldest_lease)

    def faults(self, jobs: Mapping[str, Job]) -> Iterator[str]:
        yield from self._damages()
        for job_id, status, attempt, record in self._select(_RECORDS):
            told = decode_job(bytes(record))
            if (told.id, told.status, told.attempt) != (job_id, status, attempt):
                yield f"the row of {job_id} says {status}, attempt {attempt}; its record says {told}"
            if told != jobs.get(job_id):
                yield f"{job_id} is listed as {jobs.get(job_id)}; its record says {told}"

    @abstractmethod
    def _damages(self) -> Iterator[str]:
        """Yield what is wrong with the tables themselves."""

    def requests(self) -> set[str]:
        return {job_id for (job_id,) in self._select(_REQUESTS)}

    def pieces(self) -> list[Piece]:
        return [Piece(*row) for row in self._select(_PIECES)]


_LOOK = """
    SELECT
        (SELECT count(*) FROM jobs WHERE status IN ('accepted', 'running')),
        (SELECT min(wake_at) FROM jobs WHERE status = 'running')
"""
_RECORDS = "SELECT id, status, attempt, record FROM jobs"
_REQUESTS = "SELECT id FROM jobs WHERE request IS NOT NULL"
_PIECES = "SELECT job_id, attempt, position FROM pieces"


class AttackedFile(AttackedTables):
    """A SQLite file: whoever comes first after a crash recovers it, so looks only read, and let go of it."""

    has_server = False

    @property
    def url(self) -> str:
        return f"sqlite:///{store_of(self.folder)}"

    def _select(self, statement: str) -> list[Any]:
        url = f"{store_of(self.folder).as_uri()}?mode=ro"
        with closing(sqlite3.connect(url, uri=True, timeout=5)) as connection:
            return connection.execute(statement).fetchall()

    def _damages(self) -> Iterator[str]:
        ((verdict,),) = self._select("PRAGMA integrity_check")
        if verdict != "ok":
            yield f"integrity check: {verdict}"


class AttackedPostgres(AttackedTables):
    """A PostgreSQL server, which recovers from its log each time; it compares checksums of the pages it reads."""

    def __enter__(self) -> Self:
        self._server = PostgresServer()
        try:
            self._server.start()
        except BaseException:
            self._server.remove()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._server.remove()

    @property
    def url(self) -> str:
        return self._server.url()

    def kill(self) -> None:
        self._server.kill()

    def start(self) -> None:
        self._server.start()

    def _select(self, statement: str, **settings: str) -> list[Any]:
        given = {"search_path": "deferit", **settings}
        options = " ".join(f"-c {name}={value}" for name, value in given.items())
        with psycopg.connect(self.url, connect_timeout=5, options=options) as connection:
            return connection.execute(statement.encode()).fetchall()

    def _damages(self) -> Iterator[str]:
        """Yield where an index finds other rows than there are."""
        for table, condition in self._select(_INDEXED):
            statement = f"SELECT * FROM {table} WHERE {condition} ORDER BY 1, 2, 3"
            found = self._select(statement, enable_seqscan="off")
            there = self._select(statement, **dict.fromkeys(_BY_INDEX, "off"))
            if found != there:
                yield f"{table} has {len(there)} rows where {condition}; an index finds {len(found)}"


_INDEXED = """
    SELECT DISTINCT indrelid::regclass::text, coalesce(pg_get_expr(indpred, indrelid), 'true')
    FROM pg_index WHERE indrelid IN ('jobs'::regclass, 'pieces'::regclass)
"""
_BY_INDEX = ("enable_indexscan", "enable_indexonlyscan", "enable_bitmapscan")


# --- keys ------------------------------------------------------------------------------------------------------------


class AttackedRedis(Attacked):
    """A Redis server that syncs its log before it answers, and reads it each time it is started."""

    refuses_for_certain = False  # if the server is away for half a second
    _names = Names("deferit")

    def __enter__(self) -> Self:
        self._server = RedisServer()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()

    @property
    def url(self) -> str:
        return self._server.url

    def _client(self) -> Any:
        """Return a client; its annotations don't know that answers are bytes."""
        return self._server.client()

    def kill(self) -> None:
        self._server.kill()

    def start(self) -> None:
        self._server.start()

    def look(self) -> Look | None:
        try:
            with self._client() as client:
                waiting = [*client.keys(self._names.of("early") + ":*")]
                waiting += client.keys(self._names.of("ready") + ":*")
                counts = [client.zcard(key) for key in (self._names.running, *waiting)]
                leases = _entries(client, self._names.running, 0)
        except RedisError:
            return None  # it reads its log
        return Look(sum(counts), leases[0][1] if leases else None)

    def faults(self, jobs: Mapping[str, Job]) -> Iterator[str]:
        """Yield where what finds jobs is not what their rows say."""
        expected: dict[str, dict[str, float]] = {}
        with self._client() as client:
            for key in client.keys(self._names.row("*")):
                row = row_from(key.decode().rpartition(":")[2], client.hmget(key, FIELDS))
                assert row is not None, f"{key!r} has no row"
                if row.job != jobs.get(row.job.id):
                    yield f"{row.job.id} is listed as {jobs.get(row.job.id)}; its row says {row.job}"
                for entry, score in self._names.entries(row).items():
                    expected.setdefault(entry, {})[row.job.id] = score
            found = self._sorted_sets(client)
            if left := client.hgetall(self._names.trash):
                yield f"pieces that were to be dropped are still there: {left}"
        for key in expected.keys() | found.keys():
            if expected.get(key) != found.get(key):
                yield f"{key} has {found.get(key)}; the rows say {expected.get(key)}"

    def _sorted_sets(self, client: Redis) -> dict[str, dict[str, float]]:
        keys = [key.decode() for key in client.scan_iter(self._names.of("*"), _type="ZSET")]
        return {
            key: {job_id.decode(): score for job_id, score in _entries(client, key)}
            for key in keys
            if key != self._names.bodies
        }

    def requests(self) -> set[str]:
        with self._client() as client:
            keys = [key.decode() for key in client.keys(self._names.row("*"))]
            return {key.rpartition(":")[2] for key in keys if client.hexists(key, REQUEST)}

    def pieces(self) -> list[Piece]:
        before, after = self._names.pieces("*").split("*")
        found: list[Piece] = []
        with self._client() as client:
            for key in client.keys(self._names.pieces("*")):
                job_id = key.decode().removeprefix(before).removesuffix(after)
                fields = [field.decode().split(":") for field in client.hkeys(key)]
                found += [Piece(job_id, int(attempt), int(index)) for attempt, index in fields]
        return found


def _entries(client: Redis, key: str, last: int = -1) -> list[tuple[bytes, float]]:
    """Return a sorted set, as far as the last entry."""
    entries: Any = client.zrange(key, 0, last, withscores=True)
    return list(entries)


STORES: dict[str, Callable[[Path], Attacked]] = {
    "sqlite": AttackedFile,
    "postgresql": AttackedPostgres,
    "redis": AttackedRedis,
}
