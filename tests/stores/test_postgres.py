from __future__ import annotations

import itertools
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, LiteralString, cast

import psycopg
import pytest
from hypothesis import settings
from msgspec.structs import replace
from psycopg import sql
from tests.stores.postgres_server import PostgresServer
from tests.stores.wire import Wire

from deferit._core.commands import (
    ORPHANED,
    Append,
    Cancel,
    Claim,
    Create,
    Finish,
    Limits,
    Observe,
    Purge,
    Renew,
    Report,
    Sweep,
)
from deferit._core.job import Job
from deferit._core.queries import Changed, Changes, Get, History, Load
from deferit.exceptions import JobExists, OptionError, QueueFull, StoreUnavailable, TooManyJobs
from deferit.stores import (
    _postgres_batch,
    _postgres_lines,
    _postgres_server,
    postgres,
    store_from_url,
)
from deferit.stores import _postgres_statements as statements
from deferit.stores._postgres_lines import Listener
from deferit.stores._postgres_server import MIGRATIONS, Server
from deferit.stores.postgres import PostgresStore
from deferit.testing import (
    LEASE,
    LONG,
    NOON,
    REQUEST,
    SAME,
    DamagedRecords,
    StoreComparison,
    StoreContract,
    a_job,
    a_result,
    ask,
    finish,
    finished,
    is_gone,
    running,
    waiting,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from deferit._core.commands import Command
    from deferit.stores._postgres_server import Connection
    from deferit.stores.base import Store

PREAMBLE = """
import os, sys, time
from deferit._core.commands import *
from deferit._core.queries import *
from deferit.exceptions import *
from deferit.stores.postgres import PostgresStore
from deferit.testing import *

store = PostgresStore(sys.argv[1])
"""

SERVERS: list[PostgresServer] = []
NUMBERS = itertools.count()


@pytest.fixture(scope="module", autouse=True)
def server() -> Iterator[PostgresServer]:
    one = PostgresServer()
    try:
        one.start()
        SERVERS.append(one)
        yield one
    finally:
        SERVERS.clear()
        one.remove()


def fresh_url() -> str:
    """Return the URL of a schema that is not there yet."""
    return SERVERS[0].url(f"&schema=test_{next(NUMBERS)}")


def opened(url: str) -> PostgresStore:
    store = PostgresStore(url)
    store.open()
    return store


@pytest.fixture
def url() -> str:
    return fresh_url()


@pytest.fixture
def store(url: str) -> Iterator[PostgresStore]:
    store = opened(url)
    yield store
    store.close()


@pytest.fixture
def other(url: str, store: PostgresStore) -> Iterator[PostgresStore]:
    """Give a test a second store as another process would have it."""
    other = opened(url)
    yield other
    other.close()


@contextmanager
def connected(url: str) -> Iterator[psycopg.Connection[Any]]:
    """Connect past the store; without autocommit."""
    schema = url.partition("schema=")[2]
    with closing(psycopg.connect(url.partition("&")[0])) as connection:
        connection.execute(sql.SQL("SET search_path = {}").format(sql.Identifier(schema)))
        connection.commit()
        yield connection


def process(script: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PREAMBLE + script, *arguments]
    return subprocess.Popen(command, stdin=-1, stdout=-1, stderr=-1, text=True)


def output(child: subprocess.Popen[str]) -> str:
    out, err = child.communicate(timeout=60)
    assert child.returncode == 0, err
    return out


def line(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline()


def until(condition: Callable[[], object]) -> None:
    """Wait, and fail after a time that is long enough for any machine."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def until_longer(some: list[str]) -> None:
    before = len(some)
    until(lambda: len(some) > before + 50)


def cursor_of(store: PostgresStore, since: int = -1) -> int:
    changed = store.read(Changes(since))
    assert isinstance(changed, Changed)
    return changed.cursor


def changed_ids(store: PostgresStore, since: int) -> set[str]:
    changed = store.read(Changes(since))
    assert isinstance(changed, Changed)
    return set(changed.job_ids)


class TestPostgresStore(DamagedRecords, StoreContract):
    def make_store(self, folder: Path) -> Store:
        self.url = fresh_url()
        return opened(self.url)

    def damage(self, store: Store, job_id: str, change: Callable[[bytes], bytes]) -> None:
        with connected(self.url) as connection:
            rows = connection.execute("SELECT record FROM jobs WHERE id = %s", (job_id,)).fetchall()
            changed = [(change(record), job_id) for (record,) in rows]
            connection.cursor().executemany("UPDATE jobs SET record = %s WHERE id = %s", changed)
            connection.commit()


class PostgresComparison(StoreComparison):
    def make_store(self) -> Store:
        return opened(fresh_url())


TestPostgresComparison = PostgresComparison.TestCase
TestPostgresComparison.settings = settings(max_examples=20, stateful_step_count=40, deadline=None)


# --- names ---


@pytest.mark.parametrize("scheme", ["postgresql", "postgres"])
def test_a_url_names_a_database_and_its_password_is_not_shown(scheme: str) -> None:
    store = store_from_url(f"{scheme}://ada:secret@db.example.com/shop?schema=jobs&sslmode=require")

    assert store.url == f"{scheme}://ada:***@db.example.com/shop?schema=jobs&sslmode=require"


def test_a_password_behind_the_question_mark_is_not_shown_either() -> None:
    store = PostgresStore("postgresql:///shop?password=secret&sslpassword=secret&host=/run")

    assert "secret" not in store.url
    assert "host=/run" in store.url


@pytest.mark.parametrize("schema", ["", "pg_mine", "a b", "x" * 60, "Jobs"])
def test_a_schema_that_is_no_name_is_refused(schema: str) -> None:
    with pytest.raises(OptionError, match="is no name; write small letters"):
        PostgresStore(f"postgresql://localhost/shop?schema={schema}")


def test_an_option_that_nobody_knows_is_refused_without_showing_the_password() -> None:
    with pytest.raises(OptionError, match=r"colour.*write 'postgresql://user:password@host") as no:
        PostgresStore("postgresql://ada:secret@localhost/shop?colour=red")

    assert "secret" not in str(no.value)


@pytest.mark.parametrize("password", ["se@cret", "se/cret", "se?cret", "se%cret", "s/e@cr?et"])
def test_a_password_that_is_not_escaped_is_refused_without_being_shown(password: str) -> None:
    with pytest.raises(OptionError, match="written %25, %2F, %3F and %40 there") as no:
        PostgresStore(f"postgresql://ada:{password}@db.example.com/shop?schema=jobs")

    assert "cret" not in str(no.value)
    assert "et@" not in str(no.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ada:s%40cr%2Fet@one:1,two:2/shop",
        "postgresql://one:5432/shop?user=ada@example.com",
        "postgresql://one:5432?user=ada@example.com",
        "postgresql://ada@/shop?host=/run/a@b",
        "postgresql:///shop?host=/run/a@b",
    ],
)
def test_what_is_escaped_or_stands_elsewhere_is_no_matter(url: str) -> None:
    assert PostgresStore(url).url == url.replace(":s%40cr%2Fet@", ":***@")


def test_without_the_extra_it_is_named() -> None:
    script = "import sys; sys.modules['psycopg'] = None\nimport deferit.stores.postgres"

    child = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )

    assert 'PostgresStore needs the extra: pip install "deferit[postgres]"' in child.stderr


# --- opening ---


def test_eight_processes_may_make_the_schema_at_once() -> None:
    script = """
print("ready", flush=True)
sys.stdin.readline()
store.open()
job = waiting(store, int(sys.argv[2]))
store.read(Get(job.id))
store.close()
"""
    url = fresh_url()
    children = [process(script, url, str(number)) for number in range(8)]
    assert [line(child) for child in children] == ["ready\n"] * 8
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    for child in children:
        output(child)

    store = opened(url)
    assert not any(is_gone(store, Get(a_job(number).id)) for number in range(8))
    store.close()


def test_a_schema_of_a_newer_deferit_is_left_alone(store: PostgresStore, url: str) -> None:
    with connected(url) as connection:
        connection.execute("UPDATE deferit_version SET version = 99")
        connection.commit()
    store.close()

    with pytest.raises(StoreUnavailable, match=r"schema 99, this one knows \d+\); upgrade deferit"):
        store.open()


def test_a_schema_of_something_else_is_left_alone(url: str) -> None:
    with connected(url) as connection:
        connection.execute(
            sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(url.partition("schema=")[2]))
        )
        connection.execute("CREATE TABLE jobs (mine integer)")
        connection.commit()

    with pytest.raises(StoreUnavailable, match="give deferit a schema of its own"):
        opened(url)


def test_a_schema_that_was_made_for_it_is_used(url: str) -> None:
    with connected(url) as connection:
        connection.execute(
            sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(url.partition("schema=")[2]))
        )
        connection.commit()

    store = opened(url)

    assert waiting(store) == a_job()
    store.close()


def test_a_user_without_rights_is_told_what_is_missing(url: str) -> None:
    with connected(url) as connection:
        connection.execute("DROP ROLE IF EXISTS nobody; CREATE ROLE nobody LOGIN")
        connection.commit()

    with pytest.raises(
        StoreUnavailable, match="make it the owner of the schema, or let it create one"
    ):
        opened(url.replace("postgres@", "nobody@"))


def test_a_user_who_may_not_use_the_schema_is_told_so(store: PostgresStore, url: str) -> None:
    with connected(url) as connection:
        connection.execute("DROP ROLE IF EXISTS stranger; CREATE ROLE stranger LOGIN")
        connection.commit()

    with pytest.raises(StoreUnavailable, match="its user may not do this"):
        opened(url.replace("postgres@", "stranger@"))


def test_a_server_without_a_connection_to_spare_is_told_what_to_do(
    store: PostgresStore, url: str
) -> None:
    with connected(url) as connection:
        connection.execute("DROP ROLE IF EXISTS narrow; CREATE ROLE narrow LOGIN")
        connection.execute("ALTER ROLE narrow CONNECTION LIMIT 2")  # none to listen
        connection.execute(
            sql.SQL(
                "GRANT USAGE ON SCHEMA {0} TO narrow; GRANT ALL ON ALL TABLES IN SCHEMA {0} TO narrow"
            ).format(sql.Identifier(url.partition("schema=")[2]))
        )
        connection.commit()

    with pytest.raises(StoreUnavailable, match="no connection to spare; raise its max_connections"):
        opened(url.replace("postgres@", "narrow@"))

    with connected(url) as connection:
        connection.execute("DROP OWNED BY narrow; DROP ROLE narrow")
        connection.commit()


def test_a_database_that_has_not_all_characters_is_refused(server: PostgresServer) -> None:
    with closing(psycopg.connect(server.url(), autocommit=True)) as connection:
        connection.execute("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0")

    with pytest.raises(StoreUnavailable, match=r"the encoding LATIN1.*give deferit one in UTF8"):
        opened(server.url().replace("/postgres?", "/latin?"))


def test_of_several_hosts_the_one_that_can_be_written_is_used(server: PostgresServer) -> None:
    schema = f"&schema=test_{next(NUMBERS)}"
    standby = PostgresServer()
    try:
        standby.start("default_transaction_read_only=on")
        with pytest.raises(StoreUnavailable, match="it is read-only, as a standby is"):
            opened(standby.url(schema))

        store = opened(standby.url(f",{server.data}{schema}"))

        assert waiting(store) == a_job()
        assert store.read(Get(a_job().id)) == a_job()
        store.close()
    finally:
        standby.remove()


def test_two_make_the_schema_at_once_whatever_isolation_is_usual_there(
    server: PostgresServer,
) -> None:
    usual = "&options=-c%20default_transaction_isolation%3Dserializable"
    url = server.url(f"{usual}&schema=test_{next(NUMBERS)}")
    with connected(server.url("&schema=public")) as connection, ThreadPoolExecutor() as pool:
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (Server(url).lock("migrate"),))
        stores = [pool.submit(opened, url) for _ in range(2)]
        until(lambda: number_waiting(server.url("&schema=public")) == 2)

        connection.commit()

        for store in stores:
            store.result().close()


def test_a_migration_takes_as_long_as_it_takes(
    store: PostgresStore, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_postgres_server, "MIGRATIONS", (*MIGRATIONS, (UNHURRIED,)))

    opened(url).close()

    with connected(url) as connection:
        assert connection.execute("SELECT version FROM deferit_version").fetchone() == (
            len(MIGRATIONS) + 1,
        )


UNHURRIED: LiteralString = """
    DO $$ BEGIN ASSERT current_setting('statement_timeout') = '0'; END $$
"""


def test_an_old_server_is_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_postgres_server, "OLDEST", 990_000)

    with pytest.raises(
        StoreUnavailable, match=r"it is PostgreSQL \d+.*; deferit needs 99 or newer"
    ):
        opened(url)


def test_a_server_that_is_not_there_is_named_without_the_password() -> None:
    store = PostgresStore("postgresql://ada:secret@127.0.0.1:1/shop")

    with pytest.raises(StoreUnavailable, match="Connection refused") as no:
        store.open()

    assert "secret" not in str(no.value)
    assert "ada:***@127.0.0.1:1" in str(no.value)


def test_it_is_used_only_while_it_is_open(store: PostgresStore) -> None:
    store.close()

    with pytest.raises(StoreUnavailable, match="it is not open"):
        store.execute([])
    with pytest.raises(StoreUnavailable, match="it is not open"):
        store.read(Get("job_nobody"))
    with pytest.raises(StoreUnavailable, match="it is not open"):
        store.version()


# --- batches ---


@pytest.fixture
def wire(server: PostgresServer) -> Iterator[Wire]:
    with closing(Wire(server.data / ".s.PGSQL.5432")) as wire:
        yield wire


def through(wire: Wire, url: str) -> str:
    """Return the URL of the same schema at the other end of a wire."""
    schema = url.partition("schema=")[2]
    return f"postgresql://postgres@127.0.0.1:{wire.port}/postgres?schema={schema}"


def test_a_batch_costs_a_few_round_trips_whatever_its_size(wire: Wire, url: str) -> None:
    store = opened(through(wire, url))
    jobs = [a_job(number, owner=f"{number}") for number in range(200)]
    limits = Limits(max_queue=10_000, max_per_owner=10_000)
    batches: list[Sequence[Command]] = [
        [Create(job, REQUEST, limits=limits) for job in jobs],
        [Claim("shop", NOON, LEASE, 200)],
        [Report(job.id, 1, NOON, 5, None) for job in jobs] + [Renew(((jobs[0].id, 1),), LEASE)],
        [Finish(job.id, 1, NOON, a_result(), None, LONG) for job in jobs],
        [Sweep(NOON + 1e9)],
    ]
    turns = []

    for batch in batches:
        before = wire.turns
        answers = store.execute(batch)
        turns.append(wire.turns - before)
        assert not any(isinstance(answer, Exception) for answer in answers)

    # A long answer, or a long batch, may come in several parts.
    assert max(turns) < 12, turns
    store.close()


def test_a_place_that_becomes_free_in_a_batch_is_given_away_in_it(store: PostgresStore) -> None:
    limits = Limits(max_queue=1)
    first = ask(store, Create(a_job(1), REQUEST, limits=limits))

    answers = store.execute(
        [
            Create(a_job(2), REQUEST, limits=limits),
            Cancel(first.id, 0, NOON, "never started"),
            Create(a_job(3), REQUEST, limits=limits),
            Create(a_job(4), REQUEST, limits=limits),
        ]
    )

    assert [type(answer) for answer in answers] == [QueueFull, Job, Job, QueueFull]


def test_pieces_that_come_and_go_in_one_batch_are_not_written(store: PostgresStore) -> None:
    job = running(store)

    store.execute(
        [
            Append(job.id, 1, 0, b"of the result"),
            Append(job.id, 1, 7, b"of nothing"),
            Finish(job.id, 1, NOON, a_result(2), None, b"end"),
        ]
    )

    assert store.read(Load(job.id, 1, 0)) == b"of the result"
    assert store.read(Load(job.id, 1, 1)) == b"end"
    assert is_gone(store, Load(job.id, 1, 7))


def test_what_has_a_nul_character_is_the_answer_of_its_command_alone(store: PostgresStore) -> None:
    commands: list[Command] = [
        Create(a_job(1, owner="a\0b"), REQUEST),
        Report("job_\ud800", 1, NOON, 5, None),
        Create(a_job(2), REQUEST),
    ]

    refused, unknown, created = store.execute(commands)

    assert isinstance(refused, ValueError)
    assert isinstance(unknown, Exception)
    assert created == a_job(2)


def test_an_interrupted_batch_is_rolled_back(store: PostgresStore) -> None:
    job = running(store)

    class Interrupted(Report, frozen=True):
        def apply(self, job: Job) -> Job:
            raise KeyboardInterrupt

    batch: list[Command] = [Create(a_job(1), REQUEST), Claim("shop", NOON, LEASE, 9)]
    with pytest.raises(KeyboardInterrupt):
        store.execute([*batch, Interrupted(job.id, 1, NOON, 5, None)])

    assert is_gone(store, Get(a_job(1).id))
    assert waiting(store, 1) == a_job(1)


def test_a_process_that_stands_still_does_not_keep_others_from_its_jobs(
    store: PostgresStore, other: PostgresStore, url: str
) -> None:
    job = running(store)
    store._writer.use(set_idle_timeout)
    pid = store._writer.use(lambda connection: connection.info.backend_pid)
    tries = []

    class Standing(Report, frozen=True):
        def apply(self, job: Job) -> Job:
            tries.append(job)
            if len(tries) == 1:
                until(lambda: not is_there(url, pid))
                ask(other, Report(job.id, 1, NOON, 20, None))
            return super().apply(job)

    reported = ask(store, Standing(job.id, 1, NOON, 30, None))

    assert [job.progress for job in tries] == [None, 20]
    assert reported.progress == 30


def set_idle_timeout(connection: psycopg.Connection[Any]) -> None:
    connection.execute("SET idle_in_transaction_session_timeout = '20ms'")


def test_the_server_is_told_how_soon_a_machine_that_has_vanished_is_given_up(
    store: PostgresStore,
) -> None:
    told = "SELECT name FROM pg_settings WHERE name ^@ 'tcp_' AND source = 'session' ORDER BY name"

    rows = store._writer.use(lambda connection: connection.execute(told).fetchall())

    assert [name.removeprefix("tcp_") for (name,) in rows] == [
        "keepalives_count",
        "keepalives_idle",
        "keepalives_interval",
        "user_timeout",
    ]


def is_there(url: str, pid: int) -> bool:
    """Whether the server has a session."""
    with connected(url) as connection:
        query = "SELECT FROM pg_stat_activity WHERE pid = %s"
        return bool(connection.execute(query, (pid,)).fetchall())


def test_a_body_of_64_megabytes_goes_in_and_out_in_pieces(store: PostgresStore) -> None:
    job = running(store)
    pieces = [bytes([number]) * 2**20 for number in range(64)]

    for number in range(0, 64, 8):
        store.execute([Append(job.id, 1, n, pieces[n]) for n in range(number, number + 8)])
    done = finish(store, job, b"", chunks=65)

    assert all(store.read(Load(job.id, 1, n)) == piece for n, piece in enumerate(pieces))
    ask(store, Sweep(NOON + 1e9))
    assert is_gone(store, Load(done.id, 1, 0))


def test_a_batch_that_is_longer_than_the_connection_takes_at_once_is_sent_to_its_end(
    store: PostgresStore,
) -> None:
    job, other = running(store), waiting(store, 1)
    pieces = [bytes([number]) * 2**20 for number in range(8)]
    store._writer.use(narrow)

    answers = store.execute(
        [
            *(Append(job.id, 1, number, piece) for number, piece in enumerate(pieces)),
            Claim("shop", NOON, LEASE, 9),
        ]
    )

    assert [one.job.id for one in cast("Any", answers[-1])] == [other.id]
    assert all(store.read(Load(job.id, 1, n)) == piece for n, piece in enumerate(pieces))


def narrow(connection: Connection) -> None:
    """Have the system keep little of what the server has not read yet, as on a way that is long and new."""
    with socket.socket(fileno=os.dup(connection.fileno())) as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)


def test_a_job_that_is_purged_and_created_in_one_batch_has_nothing_of_the_old_one(
    store: PostgresStore,
) -> None:
    job = running(store)
    ask(store, Append(job.id, 1, 0, LONG))
    done = finish(store, job, b"end", chunks=2)

    answers = store.execute(
        [
            Append(a_job(7).id, 0, 0, b"early"),
            Purge(done.id, done.revision),
            Append(job.id, 0, 0, b"new"),
            Create(a_job(), REQUEST),
            Create(a_job(7), REQUEST),
        ]
    )

    assert answers == [None, True, None, a_job(), a_job(7)]
    assert store.read(Load(job.id, 0, 0)) == b"new"
    assert store.read(Load(a_job(7).id, 0, 0)) == b"early"
    assert is_gone(store, Load(job.id, 1, 0))


# --- several processes ---


def test_two_stores_never_claim_the_same_job(store: PostgresStore, other: PostgresStore) -> None:
    store.execute([Create(a_job(number), REQUEST) for number in range(200)])

    def claim_all(store: PostgresStore) -> list[str]:
        ids: list[str] = []
        while claimed := ask(store, Claim("shop", NOON, LEASE, 3)):
            ids += [one.job.id for one in claimed]
        return ids

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(claim_all, [store, other])

    # What one has passed over because the other had it locked, it may have left at the end.
    rest = [one.job.id for one in ask(store, Claim("shop", NOON, LEASE, 200))]
    assert sorted(first + second + rest) == [a_job(number).id for number in range(200)]


def test_a_key_that_two_use_at_the_same_moment_makes_one_job(
    store: PostgresStore, other: PostgresStore
) -> None:
    meet = threading.Barrier(2)

    def create(store: PostgresStore, number: int) -> Job:
        meet.wait(30)
        identity = replace(SAME, key=f"key {number // 2}")
        return cast("Job", ask(store, Create(a_job(number, identity=identity), REQUEST)))

    with ThreadPoolExecutor(2) as pool:
        for number in range(0, 60, 2):
            ours = pool.submit(create, store, number)
            theirs = pool.submit(create, other, number + 1)
            assert ours.result() == theirs.result()


def test_a_key_that_another_has_not_committed_yet_is_waited_for(
    store: PostgresStore, url: str
) -> None:
    with connected(url) as connection, ThreadPoolExecutor() as pool:
        job = waiting(store, 1, identity=SAME)
        connection.execute("CREATE TABLE mine AS SELECT * FROM jobs")
        connection.execute("DELETE FROM jobs")
        connection.commit()
        connection.execute("INSERT INTO jobs SELECT * FROM mine")
        again = pool.submit(ask, store, Create(a_job(2, identity=SAME), REQUEST))
        until(lambda: number_waiting(url))
        connection.commit()

        assert again.result() == job


def number_waiting(url: str) -> int:
    """Return how many sessions wait for another's lock."""
    with connected(url) as connection:
        ((number,),) = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        ).fetchall()
    return int(number)


def test_batches_that_cross_each_other_do_not_hold_each_other_up(
    store: PostgresStore, other: PostgresStore
) -> None:
    jobs = [running(store, number, identity=replace(SAME, key=f"{number}")) for number in range(20)]

    def report(store: PostgresStore, order: int) -> list[object]:
        answers: list[object] = []
        for progress in range(30):
            changes = [Report(job.id, 1, NOON, progress, None) for job in jobs[::order]]
            creates = [
                Create(a_job(100 + n, identity=replace(SAME, key=f"new {n}")), REQUEST)
                for n in range(5)[::order]
            ]
            answers += store.execute([*changes, Claim("shop", NOON, LEASE, 2), *creates])
        return answers

    with ThreadPoolExecutor(2) as pool:
        answers = [*pool.map(report, [store, other], [1, -1])]

    assert not [answer for some in answers for answer in some if isinstance(answer, Exception)]
    assert all(cast("Job", store.read(Get(job.id))).progress == 29 for job in jobs)


def test_no_more_of_a_limited_queue_are_taken_than_it_has_slots(
    store: PostgresStore, other: PostgresStore
) -> None:
    limited = {"queue": "narrow", "slots": 3}
    store.execute([Create(a_job(number, **limited), REQUEST) for number in range(60)])
    most = 0
    done: list[str] = []

    def work(store: PostgresStore) -> None:
        while len(done) < 60:
            claimed = ask(store, Claim("shop", NOON, LEASE, 2))
            count(store)
            for one in claimed:
                finish(store, one.job, b"")
                done.append(one.job.id)

    def count(store: PostgresStore) -> None:
        nonlocal most
        with connected(fresh) as connection:
            (row,) = connection.execute(
                "SELECT count(*) FROM jobs WHERE status = 'running'"
            ).fetchall()
        most = max(most, row[0])

    fresh = store.url
    with ThreadPoolExecutor(2) as pool:
        for worker in [pool.submit(work, one) for one in (store, other)]:
            worker.result()

    assert len(set(done)) == 60
    assert 1 <= most <= 3


def test_limits_hold_for_all_processes_together(store: PostgresStore, other: PostgresStore) -> None:
    meet = threading.Barrier(2)

    def create(store: PostgresStore, first: int) -> list[object]:
        meet.wait(30)
        limits = Limits(max_queue=70, max_per_owner=50)
        jobs = [a_job(first + n, owner=f"{n % 2}") for n in range(100)]
        answers: list[object] = []
        for size in range(0, 100, 5):
            answers += store.execute(
                [Create(job, REQUEST, limits=limits) for job in jobs[size : size + 5]]
            )
        return answers

    with ThreadPoolExecutor(2) as pool:
        answers = [*itertools.chain(*pool.map(create, [store, other], [0, 1000]))]

    kinds = [type(answer) for answer in answers]
    assert kinds.count(Job) == 70
    assert set(kinds) <= {Job, QueueFull, TooManyJobs}


def test_another_process_sees_and_goes_on(store: PostgresStore, url: str) -> None:
    cursor = cursor_of(store)
    before = store.version()

    output(process("store.open(); finished(store, body=b'from afar'); store.close()", url))

    until(lambda: store.version() != before)
    assert store.read(Load(a_job().id, 1, 0)) == b"from afar"
    assert changed_ids(store, cursor) == {a_job().id}


def test_a_lock_that_is_not_given_back_makes_it_unavailable(store: PostgresStore, url: str) -> None:
    job = running(store)
    store._writer.use(lambda connection: connection.execute("SET lock_timeout = '50ms'"))
    with connected(url) as connection:
        connection.execute("SELECT FROM jobs FOR UPDATE")

        with pytest.raises(StoreUnavailable, match="another process has kept a job locked"):
            ask(store, Report(job.id, 1, NOON, 5, None))

        assert store.read(Get(job.id)) == job
        assert ask(store, Claim("shop", NOON, LEASE, 9)) == ()
    assert ask(store, Report(job.id, 1, NOON, 5, None)).progress == 5


def test_a_conflict_that_does_not_end_makes_it_unavailable(
    store: PostgresStore, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "TRIES", 2)
    with connected(url) as connection:
        connection.execute(CONFLICT)
        connection.commit()

        with pytest.raises(StoreUnavailable, match="2 times running"):
            waiting(store)

        connection.execute("DROP TRIGGER conflict ON jobs")
        connection.commit()
    assert waiting(store) == a_job()


CONFLICT: LiteralString = """
    CREATE FUNCTION conflict() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION USING ERRCODE = 'serialization_failure'; END
    $$;
    CREATE TRIGGER conflict BEFORE INSERT ON jobs EXECUTE FUNCTION conflict();
"""


def test_nothing_is_kept_of_the_batch_of_a_killed_process(store: PostgresStore, url: str) -> None:
    job = running(store, 1)
    script = """
class Slow(Report):
    def apply(self, job):
        print("in the middle", flush=True)
        time.sleep(60)

store.open()
store.execute([
    Create(a_job(2), REQUEST),
    Report(a_job(1).id, 1, NOON, 50, None),
    Claim("shop", NOON, LEASE, 9),
    Slow(a_job(1).id, 1, NOON, 60, None),
])
"""
    child = process(script, url)
    assert line(child) == "in the middle\n"
    child.kill()
    child.communicate()

    assert ask(store, Report(job.id, 1, NOON, 7, None)).progress == 7
    assert is_gone(store, Get(a_job(2).id))
    assert ask(store, Claim("shop", NOON, LEASE, 9)) == ()


def test_what_was_answered_outlives_a_kill(url: str) -> None:
    script = """
store.open()
for batch in range(10_000):
    answers = store.execute([Create(a_job(3 * batch + n), b"x" * 9000) for n in range(3)])
    print(*[job.id for job in answers], flush=True)
"""
    child = process(script, url)
    answered = [line(child) for _ in range(40)]
    child.kill()
    rest, _ = child.communicate(timeout=60)
    answered += rest.splitlines(keepends=True)

    store = opened(url)

    ids = [job_id for line in answered if line.endswith("\n") for job_id in line.split()]
    assert len(ids) >= 120
    assert not any(is_gone(store, Get(job_id)) for job_id in ids)
    assert all(len(one.request) == 9000 for one in ask(store, Claim("shop", NOON, LEASE, 9999)))
    store.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks are POSIX's")
def test_a_fork_leaves_parent_and_child_each_with_connections_of_its_own(url: str) -> None:
    script = """
import warnings
warnings.simplefilter("ignore")
store.open()
waiting(store, 0)
child = os.fork()
if child == 0:
    store.open()
    waiting(store, 1)
    store.close()
    sys.exit()
_, status = os.waitpid(child, 0)
assert status == 0
waiting(store, 2)
before = store.version()
store.read(Get(a_job(1).id))
waiting(store, 3)
assert store.version() != before
store.close()
"""
    output(process(script, url))

    store = opened(url)
    assert not any(is_gone(store, Get(a_job(number).id)) for number in range(4))
    store.close()


# --- changes ---


def test_a_change_that_is_committed_late_is_not_missed(store: PostgresStore, url: str) -> None:
    cursor = cursor_of(store)
    with connected(url) as connection:
        connection.execute("INSERT INTO changes (writer, batch, ids) VALUES (1, 1, '{late}')")
        job = waiting(store)
        assert changed_ids(store, cursor) == {job.id}
        cursor = cursor_of(store, cursor)
        assert changed_ids(store, cursor) == set()

        connection.commit()

    assert changed_ids(store, cursor) == {"late"}
    cursor = cursor_of(store, cursor)
    assert changed_ids(store, cursor) == set()


def test_a_transaction_of_somebody_else_that_does_not_end_holds_nothing_up(
    store: PostgresStore, url: str
) -> None:
    with connected(url) as connection:
        connection.execute("SELECT pg_current_xact_id()")
        cursor = cursor_of(store)

        jobs = [waiting(store, number) for number in range(3)]

        assert changed_ids(store, cursor) == {job.id for job in jobs}
        assert changed_ids(store, cursor_of(store, cursor)) == set()


def test_its_own_commits_are_counted_at_once(store: PostgresStore) -> None:
    before = store.version()

    waiting(store)

    assert store.version() == before + 1
    assert store.execute([]) == []
    assert store.version() == before + 1


def test_a_message_that_is_lost_is_made_up_for(store: PostgresStore, url: str) -> None:
    before = store.version()

    with connected(url) as connection:
        connection.execute("INSERT INTO changes (writer, batch, ids) VALUES (1, 1, '{silent}')")
        connection.commit()

    until(lambda: store.version() != before)
    after = store.version()
    waiting(store)
    assert store.version() == after + 1


def test_a_message_that_comes_while_the_listener_looks_is_heard(
    url: str, other: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look(listener: Listener, connection: Connection) -> None:
        monkeypatch.setattr(_postgres_lines, "LOOK", 3_600.0)  # no other one makes up for it
        look_as_ever(listener, connection)
        before.append(store.version())
        waiting(other)
        until(lambda: connection.execute("SELECT").statusmessage and connection._notifies_backlog)

    before: list[int] = []
    look_as_ever = Listener._look
    monkeypatch.setattr(Listener, "_look", look)
    monkeypatch.setattr(_postgres_lines, "LOOK", 0.001)
    with closing(opened(url)) as store:
        until(lambda: before and store.version() != before[0])


def test_what_is_committed_but_cannot_be_told_is_kept(store: PostgresStore) -> None:
    usual, store._server.channel = store._server.channel, "x" * 64  # which PostgreSQL refuses
    before = store.version()

    assert waiting(store) == a_job()

    store._server.channel = usual
    assert store.version() == before + 1
    assert store.read(Get(a_job().id)) == a_job()
    assert waiting(store, 1) == a_job(1)


def test_a_listener_whose_connection_is_lost_connects_again(
    store: PostgresStore, other: PostgresStore, url: str
) -> None:
    listener = store._listener
    assert listener is not None
    lost = listener._connection
    assert lost is not None
    cursor = cursor_of(store)
    with connected(url) as connection:
        connection.execute("SELECT pg_terminate_backend(%s)", (lost.info.backend_pid,))
    until(lambda: listener._connection is not lost)
    assert store.version() != store.version() or listener._connection is not None

    until(lambda: listener._connection is not None)
    job = waiting(other)

    assert changed_ids(store, cursor) >= {job.id}  # a cursor of before gets all that is kept
    before = store.version()
    ask(other, Cancel(job.id, 0, NOON, "never started"))
    until(lambda: store.version() != before)


def test_changes_are_kept_for_the_last_batches(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_postgres_batch, "KEPT_CHANGES", 3)
    for number in range(8):
        waiting(store, number)

    ask(store, Sweep(NOON))

    assert changed_ids(store, 10**9) == {a_job(number).id for number in (5, 6, 7)}


def test_changes_of_another_servers_dump_are_forgotten(store: PostgresStore, url: str) -> None:
    waiting(store)
    store.close()
    with connected(url) as connection:
        connection.execute("UPDATE changes SET transaction = '999999999'")
        connection.commit()

    store.open()

    assert changed_ids(store, 10**9) == set()


def test_durations_are_kept_as_far_as_they_are_of_use(store: PostgresStore, url: str) -> None:
    for number in range(310):
        ask(store, Observe("shop", "a", (float(number),)))
    ask(store, Observe("shop", "b", (1.0,)))

    ask(store, Sweep(NOON))

    assert store.read(History("shop", "a")) == tuple(map(float, range(10, 310)))
    with connected(url) as connection:
        assert connection.execute("SELECT count(*) FROM durations").fetchone() == (301,)


# --- trouble ---


def test_it_goes_on_when_the_server_is_back(
    store: PostgresStore, other: PostgresStore, server: PostgresServer
) -> None:
    job = waiting(store)
    before = store.version()
    server.stop()

    with pytest.raises(
        StoreUnavailable, match=r"(?i)no such file|shutting down|refused|terminating"
    ):
        waiting(store, 1)
    with pytest.raises(StoreUnavailable):
        store.read(Get(job.id))
    until(lambda: store.version() != store.version())
    server.start()

    assert store.read(Get(job.id)) == job
    assert is_gone(store, Get(a_job(1).id))
    until(lambda: store.version() == store.version())
    assert store.version() != before
    before = store.version()
    waiting(other, 2)
    until(lambda: store.version() != before)


def test_a_restart_between_two_calls_is_not_noticed(
    store: PostgresStore, server: PostgresServer
) -> None:
    job = waiting(store)
    server.stop()
    server.start()

    assert store.read(Get(job.id)) == job
    assert waiting(store, 1) == a_job(1)


def test_what_is_answered_is_true_while_the_server_crashes(
    store: PostgresStore, other: PostgresStore, server: PostgresServer
) -> None:
    is_over = threading.Event()
    kept: list[str] = []
    refused: list[str] = []

    def create(store: PostgresStore, first: int) -> None:
        for number in itertools.count(first):
            if is_over.is_set():
                return
            job = a_job(number)
            try:
                ask(store, Create(job, REQUEST))
            except StoreUnavailable:
                refused.append(job.id)
            else:
                kept.append(job.id)

    with ThreadPoolExecutor(2) as pool:
        workers = [pool.submit(create, store, 0), pool.submit(create, other, 10**6)]
        for how in (signal.SIGQUIT, signal.SIGINT, signal.SIGQUIT):
            until_longer(kept)
            server.stop(how)
            server.start()
        until_longer(kept)
        is_over.set()
        for worker in workers:
            worker.result()

    assert not [job_id for job_id in kept if is_gone(store, Get(job_id))]
    assert not [job_id for job_id in refused if not is_gone(store, Get(job_id))]


@pytest.mark.parametrize("is_delivered", [True, False])
def test_a_connection_that_is_lost_in_the_moment_of_a_commit_leaves_no_doubt(
    wire: Wire, url: str, *, is_delivered: bool
) -> None:
    with closing(opened(through(wire, url))) as store:
        wire.is_delivered = is_delivered
        wire.cut_at = b"COMMIT\0"

        assert waiting(store) == a_job()
        assert wire.cut_at is None
        with pytest.raises(JobExists):
            waiting(store)
        (claimed,) = ask(store, Claim("shop", NOON, LEASE, 9))
        assert claimed.job.attempt == 1


def test_a_job_is_not_accepted_before_a_synchronous_standby_has_it(
    store: PostgresStore, url: str, server: PostgresServer
) -> None:
    server.stop()
    server.start("synchronous_standby_names=absent")
    with ThreadPoolExecutor() as pool:
        created = pool.submit(waiting, store)
        until(lambda: waits_for_standby(url))
        (first,) = waits_for_standby(url)
        with connected(url) as connection:
            connection.execute("SELECT pg_terminate_backend(%s)", (first,))

        until(lambda: created.done() or set(waits_for_standby(url)) - {first})
        assert not created.done()
        server.stop()
        server.start()

        assert created.result() == a_job()
    assert store.read(Get(a_job().id)) == a_job()


def waits_for_standby(url: str) -> list[int]:
    """Return the sessions whose commits wait for a standby."""
    with connected(url) as connection:
        rows = connection.execute("SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
        return [pid for (pid,) in rows]


class Busy(PostgresStore):
    """A store of which libpq says once, as its connection ends behind a commit, that it is busy."""

    is_busy = False

    def _commit(self, connection: Connection, *, told: bool) -> psycopg.Cursor[Any]:
        commit = super()._commit(connection, told=told)
        if self.is_busy:
            self.is_busy = False
            raise psycopg.OperationalError("cannot exit pipeline mode while busy")
        return commit


def test_what_the_server_has_not_said_of_a_commit_is_found_out(url: str) -> None:
    store = Busy(url)
    store.open()
    with closing(store):
        store.is_busy = True

        assert waiting(store) == a_job()
        assert not store.is_busy
        assert store.read(Get(a_job().id)) == a_job()


def test_a_doubt_that_cannot_be_resolved_is_said(
    wire: Wire, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "DOUBT", 0.0)
    with closing(opened(through(wire, url))) as store:
        wire.cut_at = b"COMMIT\0"

        with pytest.raises(StoreUnavailable, match="lost in the moment of a commit"):
            waiting(store)


# --- housekeeping ---


def test_a_finished_job_has_no_request(store: PostgresStore, url: str) -> None:
    finished(store)
    store.execute([Create(a_job(1), LONG), Claim("shop", NOON, LEASE, 9)])
    finish(store, a_job(1).claimed(NOON), b"hello")

    with connected(url) as connection:
        rows = connection.execute("SELECT request FROM jobs UNION ALL SELECT data FROM pieces")
        assert rows.fetchall() == [(None,), (None,)]


def test_what_is_forgotten_leaves_nothing_behind(store: PostgresStore, url: str) -> None:
    for number in range(3):
        finished(store, number, body=LONG, ttl=0)
    waiting(store, 3)

    for _ in range(2):
        ask(store, Sweep(NOON + 1e9))

    with connected(url) as connection:
        for table, rows in (("jobs", 1), ("pieces", 0)):
            count = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table))
            assert connection.execute(count).fetchone() == (rows,)


def test_a_sweep_looks_at_some_of_the_pieces_and_the_next_one_goes_on(store: PostgresStore) -> None:
    orphans = [a_job(number).id for number in (1, 3, 0)]
    waits = a_job(2)
    sweep = Sweep(NOON + 10 + ORPHANED)
    store.execute([Append(waits.id, 0, number, b"x") for number in range(1_000)])
    store.execute([Append(job_id, 0, 0, b"x") for job_id in orphans[:2]])
    ask(store, Create(waits, REQUEST))

    found = [ask(store, sweep) and gone(store, orphans)]
    ask(store, Append(orphans[2], 0, 0, b"x"))
    found += [ask(store, sweep) and gone(store, orphans) for _ in range(2)]

    assert found == [[True, False, True], [True, True, False], [True, True, True]]
    assert store.read(Load(waits.id, 0, 999)) == b"x"


def gone(store: PostgresStore, job_ids: Sequence[str]) -> list[bool]:
    """Return whether each of these has no piece of a request."""
    return [is_gone(store, Load(job_id, 0, 0)) for job_id in job_ids]


def test_a_sweep_that_finds_more_orphans_than_it_may_drop_goes_on_with_them(
    store: PostgresStore,
) -> None:
    orphans = [a_job(number).id for number in range(5)]
    store.execute([Append(job_id, 0, 0, b"x") for job_id in orphans])

    swept = [ask(store, Sweep(NOON + 10 + ORPHANED, limit=2)).is_done for _ in range(3)]

    assert swept == [False, False, True]
    assert all(gone(store, orphans))


def test_no_statement_reads_a_whole_table(store: PostgresStore) -> None:
    whole = {"ALL_CHANGES", "WAS_KEPT"}
    texts = {
        name: text
        for name, text in vars(statements).items()
        if name not in whole
        and re.search(r"(FROM|UPDATE) (jobs|pieces|changes|durations)", str(text))
    }

    def plan(text: str, connection: psycopg.Connection[Any]) -> str:
        numbers = itertools.count(1)
        numbered = re.sub("%b", lambda _: f"${next(numbers)}", text)
        rows = connection.pgconn.exec_(f"EXPLAIN (GENERIC_PLAN) {numbered}".encode())
        return "\n".join(str(rows.get_value(row, 0)) for row in range(rows.ntuples))

    for name, text in texts.items():
        said = store._writer.use(partial(plan, text))
        assert "Scan" in said, name
        assert "Seq Scan" not in said, f"{name}\n{said}"
    assert len(texts) > 18


def test_a_request_that_is_gone_keeps_no_other_job_waiting(store: PostgresStore, url: str) -> None:
    lost = ask(store, Create(a_job(1), LONG))
    other = waiting(store, 2)
    with connected(url) as connection:
        connection.execute("DELETE FROM pieces")
        connection.commit()

    claimed = ask(store, Claim("shop", NOON, LEASE, 9))

    assert [(item.job.id, item.request) for item in claimed] == [
        (lost.id, b""),  # of which it will be said that it cannot be read
        (other.id, REQUEST),
    ]
