"""The length of the queue, asked for as docs/scale.md says: behind the back of deferit."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from tests.stores.postgres_server import PostgresServer
from tests.stores.redis_server import RedisServer

from deferit._core.commands import Claim, Create, Dispatch
from deferit.stores import store_from_url
from deferit.testing import a_job

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import LiteralString

SCALE = (Path(__file__).parents[2] / "docs" / "scale.md").read_text()
NOW = 1_800_000_100.0


@pytest.fixture
def postgres() -> Iterator[PostgresServer]:
    server = PostgresServer()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    server = RedisServer()
    try:
        yield server
    finally:
        server.stop()


def fill(url: str) -> None:
    """Have eight jobs wait, one of them offered to a broker and two in a queue with slots; two more run."""
    store = store_from_url(url)
    store.open()
    try:
        jobs = [a_job(number, application="default") for number in range(8)]
        limited = [
            a_job(number, application="default", queue="films", slots=1) for number in (8, 9)
        ]
        others = [a_job(10, application="another")]
        store.execute([Create(job, b"a request") for job in [*jobs, *limited, *others]])
        store.execute([Claim("default", NOW, NOW + 15, 1, job_id=job.id) for job in jobs[:2]])
        store.execute([Dispatch("default", NOW, NOW + 30, 1)])
    finally:
        store.close()


def test_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    fill(f"sqlite:///{path}")
    (question,) = re.findall(r"SQLite: `([^`]*)`", SCALE)

    with closing(sqlite3.connect(path)) as db:
        (count,) = db.execute(question).fetchone()

    assert count == 8


def test_of_postgresql(postgres: PostgresServer) -> None:
    fill(postgres.url())
    question: LiteralString
    (question,) = re.findall(r"```sql\n(.*?)```", SCALE, re.DOTALL)

    with psycopg.connect(postgres.url()) as connection:
        row = connection.execute(question).fetchone()

    assert row == (8,)


def test_of_redis(redis: RedisServer) -> None:
    fill(redis.url)
    early, ready = re.findall(r'`ZCARD "([^"]*)"`', SCALE)
    (queues,) = re.findall(r'`SMEMBERS "([^"]*)"`', SCALE)

    names = [name.decode() for name in redis.ask("SMEMBERS", queues)]
    keys = [early, *(ready.replace("NAME", name) for name in names)]
    count = sum(redis.ask("ZCARD", key) for key in keys)

    assert (len(names), count) == (2, 8)
