from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from itertools import count
from typing import TYPE_CHECKING, Any, Protocol, Self, cast

import pytest
from hypothesis import settings
from redis.backoff import NoBackoff
from redis.retry import Retry
from tests.ports import HOST
from tests.stores.redis_server import RedisServer

from deferit._core.commands import (
    Append,
    Cancel,
    Claim,
    Claimed,
    Create,
    Dispatch,
    Finish,
    Limits,
    Observe,
    Purge,
    Release,
    Renew,
    Report,
    Sweep,
)
from deferit._core.idempotency import Identity
from deferit._core.job import Failure, Job, Status
from deferit._core.queries import Ahead, Changed, Changes, Due, Get, List, Load, Position
from deferit.exceptions import LeaseLost, OptionError, QueueFull, StoreUnavailable
from deferit.stores import redis, store_from_url
from deferit.stores._redis import server as redis_server
from deferit.stores._redis.pieces import PieceWriter
from deferit.stores._redis.rows import Names
from deferit.stores.redis import RedisStore
from deferit.testing import (
    CALLBACK,
    LEASE,
    LONG,
    NOON,
    REQUEST,
    TTL,
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
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from deferit.stores.base import Store

NUMBERS = count()

WITHIN = 20.0
"""Seconds in which what another thread or process does has to be seen."""

PREAMBLE = """
import os, sys
from itertools import count
from deferit._core.commands import *
from deferit.stores import redis, store_from_url
from deferit.testing import *

store = store_from_url(sys.argv[1])
store.open()
"""


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    """A server without a log, for what has nothing to do with it."""
    server = RedisServer("--appendonly", "no")
    RedisComparison.server = server
    yield server
    server.stop()


class Start(Protocol):
    def __call__(self, *options: str, password: str | None = None) -> RedisServer: ...


@pytest.fixture
def start() -> Iterator[Start]:
    """Start servers with options of the test's own; by default they keep what they have answered."""
    with ExitStack() as stack:

        def started(*options: str, password: str | None = None) -> RedisServer:
            server = RedisServer(*options, password=password)
            stack.callback(server.stop)
            return server

        yield started


@pytest.fixture
def own(start: Start) -> RedisServer:
    """A server that a test may kill."""
    return start()


@pytest.fixture
def store(server: RedisServer) -> Iterator[RedisStore]:
    store = opened(url_of(server))
    yield store
    store.close()


def url_of(server: RedisServer) -> str:
    return f"{server.unix_url}?prefix=test-{next(NUMBERS)}"


def opened(url: str) -> RedisStore:
    store = RedisStore(url)
    store.open()
    return store


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + WITHIN
    while not condition():
        assert time.monotonic() < deadline, "it has not come about"
        time.sleep(0.001)


def process(script: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PREAMBLE + script, *arguments]
    return subprocess.Popen(command, stdout=-1, text=True)


class TestRedisStore(DamagedRecords, StoreContract):
    @pytest.fixture(autouse=True)
    def _server(self, server: RedisServer) -> None:
        self.server = server

    def make_store(self, folder: Path) -> Store:
        self.url = url_of(self.server)
        return opened(self.url)

    def damage(self, store: Store, job_id: str, change: Callable[[bytes], bytes]) -> None:
        damage(self.server, self.url, job_id, change)


def damage(
    server: RedisServer, url: str, job_id: str, change: Callable[[bytes], bytes], field: str = "r"
) -> None:
    """Change a field of a job's row."""
    row = Names(url.partition("prefix=")[2]).row(job_id)
    with server.client() as client:
        before = cast("bytes", client.hget(row, field))
        client.hset(row, field, cast("str", change(before)))


class RedisComparison(StoreComparison):
    server: RedisServer

    def make_store(self) -> Store:
        return opened(url_of(self.server))


TestRedisComparison = pytest.mark.usefixtures("server")(RedisComparison.TestCase)
TestRedisComparison.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)


# --- names ---


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://localhost", "redis://localhost"),
        ("redis://ada:secret@host:6380/2?prefix=shop", "redis://host:6380/2?prefix=shop"),
        ("rediss://:secret@host?ssl_ca_certs=/ca.pem", "rediss://host"),
        ("unix:///run/redis.sock?db=1", "unix:///run/redis.sock?db=1"),
    ],
)
def test_a_store_is_named_without_its_secrets(url: str, shown: str) -> None:
    assert store_from_url(url).url == shown


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("redis://", "names no server; write 'redis://"),
        ("unix://", "names no server"),
        ("redis://host/jobs", "'jobs' is not a number"),
        ("unix:///socket?db=x", "'x' is not a number"),
        ("redis://host:99999", "the port is not"),
        ("redis://host?prefix=a{b", "must be 1 to 64 letters"),
        ("redis://host?timeout=3", "'timeout' is not known behind the '\\?'; known are prefix"),
        ("redis://host?ssl_ca_certs=/ca.pem", "'ssl_ca_certs' is not known"),
    ],
)
def test_a_url_that_cannot_be_read_says_why(url: str, problem: str) -> None:
    with pytest.raises(OptionError, match=problem):
        store_from_url(url)


def test_a_problem_with_a_url_does_not_show_the_password() -> None:
    with pytest.raises(OptionError) as refusal:
        store_from_url("redis://ada:secret@host/jobs")

    assert "secret" not in str(refusal.value)


def test_without_the_extra_the_store_says_which_it_needs() -> None:
    script = """
import sys
sys.modules["redis"] = None
from deferit.stores import redis, store_from_url
store_from_url("redis://localhost")
"""
    command = [sys.executable, "-c", script]
    child = subprocess.run(command, capture_output=True, text=True, check=False)

    assert 'RedisStore needs the extra: pip install "deferit[redis]"' in child.stderr


def test_stores_with_other_prefixes_do_not_meet(server: RedisServer) -> None:
    one, other = opened(url_of(server)), opened(url_of(server))

    job = waiting(one)

    assert is_gone(other, Get(job.id))
    one.close()
    other.close()


def test_a_store_may_be_reached_over_tcp(server: RedisServer) -> None:
    store = opened(f"{server.url}?prefix=tcp")

    assert store.read(Get(waiting(store).id)) == a_job()
    store.close()


# --- servers that cannot be relied on ---


@pytest.mark.parametrize(
    ("options", "risk"),
    [
        (("--appendonly", "no"), "keeps no log"),
        (("--appendfsync", "everysec"), "up to a second"),
        (("--appendfsync", "no"), "half a minute"),
        ((), None),
    ],
)
def test_a_server_that_may_lose_jobs_is_warned_of_once(
    start: Start, options: tuple[str, ...], risk: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    store = opened(start(*options).unix_url)
    waiting(store)
    store.close()

    warnings = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
    assert [risk in warning for warning in warnings if risk] == ([True] if risk else [])
    assert len(warnings) == (risk is not None)


def test_a_server_that_deletes_keys_is_refused(start: Start) -> None:
    store = RedisStore(start("--maxmemory-policy", "allkeys-lru").unix_url)

    with pytest.raises(StoreUnavailable, match="set maxmemory-policy to noeviction"):
        store.open()


def test_a_server_that_is_full_says_so_and_keeps_nothing_new(own: RedisServer) -> None:
    store = opened(own.unix_url)
    waiting(store)
    own.ask("CONFIG", "SET", "maxmemory", "1")

    with pytest.raises(StoreUnavailable, match="memory is full"):
        store.execute([Create(a_job(1), REQUEST), Cancel(a_job(1).id, 0, NOON, "never started")])

    own.ask("CONFIG", "SET", "maxmemory", "0")
    assert is_gone(store, Get(a_job(1).id))
    assert waiting(store, 1) == a_job(1)
    store.close()


def test_a_server_that_is_full_still_keeps_leases_and_forgets_what_has_expired(
    own: RedisServer,
) -> None:
    store = opened(own.unix_url)
    old, held, free = finished(store), running(store, 1), running(store, 2)
    own.ask("CONFIG", "SET", "maxmemory", "1")

    refused, *answers = store.execute(
        [
            Create(a_job(3), REQUEST),
            Renew(((held.id, 1),), NOON + 1e9),
            Report(held.id, 1, NOON, 50, "half of it"),
            Release(free.id, 1, NOON, has_begun=False),
            Sweep(NOON + TTL),
        ]
    )

    assert isinstance(refused, StoreUnavailable)
    assert "memory is full" in str(refused)
    assert answers[0] == ()
    assert cast("Job", store.read(Get(held.id))).progress == 50
    assert cast("Job", store.read(Get(free.id))).status is Status.ACCEPTED
    assert cast("Job", store.read(Get(old.id))).result is None
    assert is_gone(store, Get(a_job(3).id))
    store.close()


def test_new_jobs_are_refused_by_a_full_server_whatever_is_written_with_them(
    own: RedisServer,
) -> None:
    store = opened(own.unix_url)
    old, job = finished(store), running(store, 1)
    own.ask("CONFIG", "SET", "maxmemory", "1")

    purged, created = store.execute([Purge(old.id, old.revision), Create(a_job(2), REQUEST)])
    piece, ended = store.execute(
        [
            Append(job.id, 1, 0, LONG),
            Finish(job.id, 1, NOON, a_result(2, 1), None, b"x"),
            Observe("shop", job.route, (1.0,)),
        ]
    )[:2]

    assert purged is True
    assert all(isinstance(refused, StoreUnavailable) for refused in (created, piece, ended))
    assert store.read(Get(job.id)) == job
    store.close()


def test_a_store_can_be_opened_while_its_server_is_full(own: RedisServer) -> None:
    first, second = opened(own.unix_url), RedisStore(own.unix_url)
    job = waiting(first)
    own.ask("CONFIG", "SET", "maxmemory", "1")

    second.open()

    assert second.read(Get(job.id)) == job
    first.close()
    second.close()


def test_what_a_server_refuses_is_not_shown_with_what_belongs_to_a_client(
    own: RedisServer,
) -> None:
    store = opened(own.unix_url)
    job = running(store)
    own.ask("CONFIG", "SET", "maxmemory", "1")

    with pytest.raises(StoreUnavailable, match="memory is full") as refusal:
        store.execute([Append(job.id, 1, 0, b"4111 1111 1111 1111")])

    assert "4111" not in str(refusal.value)
    store.close()


def test_a_replica_is_refused(start: Start, own: RedisServer) -> None:
    replica = start()
    replica.ask("REPLICAOF", "127.0.0.1", own.port)
    store = RedisStore(replica.unix_url)

    with pytest.raises(StoreUnavailable, match="replica"):
        store.open()


def test_a_replica_of_a_server_that_has_jobs_is_refused(start: Start, own: RedisServer) -> None:
    store = opened(own.unix_url)
    waiting(store)
    replica = replica_of(own, start)

    with pytest.raises(StoreUnavailable, match="replica"):
        RedisStore(replica.unix_url).open()
    store.close()


def replica_of(primary: RedisServer, start: Start) -> RedisServer:
    """Return a replica that has all that its primary has."""
    replica = start()
    replica.ask("REPLICAOF", HOST, primary.port)
    cursor = Names("deferit").cursor
    until(lambda: replica.ask("GET", cursor) == primary.ask("GET", cursor))
    return replica


def test_a_wrong_password_is_said_to_be_wrong(start: Start) -> None:
    server = start("--requirepass", "right", password="right")

    store = opened(f"redis://:right@127.0.0.1:{server.port}")
    assert waiting(store) == a_job()
    store.close()
    for login in (":wrong@", ""):
        with pytest.raises(StoreUnavailable, match="does not accept"):
            RedisStore(f"redis://{login}127.0.0.1:{server.port}").open()


def test_a_user_that_may_not_ask_about_the_server_may_use_it(
    own: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    rules = ("on", ">secret", "~{deferit*", "+@all", "-info", "-config")
    own.ask("ACL", "SETUSER", "shop", *rules)

    store = opened(f"redis://shop:secret@127.0.0.1:{own.port}")

    assert waiting(store) == a_job()
    assert caplog.records == []
    store.close()


def test_a_server_that_is_too_old_is_refused(store: RedisStore) -> None:
    with pytest.raises(StoreUnavailable, match=r"6\.2 or newer is needed, this is 6\.0\.16"):
        store._server._check({"redis_version": "6.0.16"}, None)


@pytest.mark.parametrize(("version", "warnings"), [("6.2.5", 1), ("7.0.0", 0)])
def test_a_server_that_does_not_hold_scripts_back_for_its_replicas_is_warned_of(
    store: RedisStore, version: str, warnings: int, caplog: pytest.LogCaptureFixture
) -> None:
    about = {"redis_version": version, "aof_enabled": 1, "min_slaves_good_slaves": 1}
    caplog.clear()

    store._server._check(about, "always")

    assert [
        "though no replica follows; upgrade" in record.message for record in caplog.records
    ] == [True] * warnings


def test_what_a_newer_deferit_has_made_is_left_alone(
    store: RedisStore, server: RedisServer
) -> None:
    name = "{" + store.url.partition("prefix=")[2] + "}:store"
    server.ask("SET", name, "2 whatever")

    with pytest.raises(StoreUnavailable, match="upgrade deferit"):
        opened(store.url)


# --- outages ---


def test_a_store_that_is_not_open_says_so(server: RedisServer) -> None:
    store = RedisStore(url_of(server))

    with pytest.raises(StoreUnavailable, match="not open"):
        store.version()
    with pytest.raises(StoreUnavailable, match="not open"):
        store.execute([])
    with pytest.raises(StoreUnavailable, match="not open"):
        store.read(Get("job_x"))


def test_a_server_that_is_not_there_is_named(own: RedisServer) -> None:
    own.kill()
    store = RedisStore(own.url)

    with pytest.raises(StoreUnavailable, match=f"127.0.0.1:{own.port}.*refused"):
        store.open()
    own.start()
    store.open()
    store.close()


def test_a_store_goes_on_by_itself_when_its_server_is_back(own: RedisServer) -> None:
    store = opened(own.unix_url)
    job = waiting(store)

    own.kill()
    with pytest.raises(StoreUnavailable):
        store.read(Get(job.id))
    with pytest.raises(StoreUnavailable):
        waiting(store, 1)
    until(lambda: store.version() != store.version())  # nobody listens: anything may have changed
    own.start()

    assert store.read(Get(job.id)) == job
    assert waiting(store, 2) == a_job(2)
    until(lambda: store.version() == store.version())
    store.close()


def test_a_store_follows_its_name_to_another_server_when_the_one_it_knows_has_become_a_replica(
    start: Start, own: RedisServer
) -> None:
    with Wire(own.port) as wire:
        store = opened(f"redis://{HOST}:{wire.port}")
        job = waiting(store)
        successor = replica_of(own, start)
        successor.ask("REPLICAOF", "NO", "ONE")
        wire.lead_to(successor.port)
        own.ask("REPLICAOF", HOST, successor.port)
        until(lambda: "xread" in last_commands(successor))  # who waits there was cut off

        with pytest.raises(StoreUnavailable, match="is a replica"):
            waiting(store, 1)

        assert waiting(store, 2) == a_job(2)
        assert store.read(Get(job.id)) == job
        assert successor.ask("EXISTS", Names("deferit").row(a_job(2).id)) == 1
        store.close()


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")
def test_a_store_can_be_closed_while_its_server_hangs(own: RedisServer) -> None:
    store = opened(own.unix_url)
    assert own._process is not None
    own._process.send_signal(signal.SIGSTOP)

    with ThreadPoolExecutor() as pool:
        closing = pool.submit(store.close)
        try:
            closing.result(WITHIN / 2)
        finally:
            own._process.send_signal(signal.SIGCONT)


def test_a_log_of_changes_that_is_damaged_is_not_relied_on_and_nothing_is_half_written(
    own: RedisServer,
) -> None:
    store = opened(own.unix_url)
    job = waiting(store)
    own.ask("SET", Names("deferit").cursor, "garbage")

    with pytest.raises(StoreUnavailable, match="not an integer"):
        store.execute([Cancel(job.id, 0, NOON, "never started")])

    until(lambda: store.version() != store.version())
    assert store.read(Get(job.id)) == job
    own.ask("SET", Names("deferit").cursor, "9")
    assert ask(store, Cancel(job.id, 0, NOON, "never started")).status is Status.CANCELED
    until(lambda: store.version() == store.version())
    store.close()


def last_commands(server: RedisServer) -> set[str]:
    """Return what the connections of a server have asked last."""
    with server.client() as client:
        return {connection["cmd"] for connection in client.client_list()}


def test_data_that_is_lost_is_noticed(own: RedisServer) -> None:
    store, reader = opened(own.unix_url), opened(own.unix_url)
    for number in range(5):
        waiting(store, number)
    until(lambda: reader.version() == store.version())
    before = reader.version()

    own.ask("FLUSHALL")

    until(lambda: reader.version() != before)
    with pytest.raises(StoreUnavailable, match="removed or replaced"):
        waiting(store)
    assert waiting(store) == a_job()
    changed = cast("Changed", reader.read(Changes(before)))
    assert changed.job_ids == (a_job().id,)
    store.close()
    reader.close()


def test_what_was_answered_outlives_a_crash_of_the_server(
    own: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis, "DOUBT", 0.0)
    store, kept = opened(own.unix_url), set[str]()
    has_begun = threading.Event()

    def create() -> None:
        with suppress(StoreUnavailable):
            for number in count():
                batch = [Create(a_job(4 * number + n), REQUEST) for n in range(4)]
                kept.update(cast("Any", job).id for job in store.execute(batch))
                if number == 20:
                    has_begun.set()

    with ThreadPoolExecutor() as pool:
        creating = pool.submit(create)
        has_begun.wait(WITHIN)
        own.kill()
        creating.result()
    own.start()

    assert len(kept) > 80
    assert all(not is_gone(store, Get(job_id)) for job_id in kept)
    jobs = cast("tuple[Any, ...]", store.read(List("shop", "ada", None, 10**6, None)))
    assert len(jobs) % 4 == 0
    store.close()


def test_a_batch_whose_answer_was_lost_is_kept_once(server: RedisServer) -> None:
    with Wire(server.port) as wire:
        store = opened(f"redis://127.0.0.1:{wire.port}?prefix=test-{next(NUMBERS)}")
        waiting(store, 1)  # now the server knows the script
        follow = cast("Changed", store.read(Changes(-1))).cursor

        wire.cut_after(b"EVALSHA")
        job = waiting(store, 2)

        assert wire.has_cut
        assert store.read(Get(job.id)) == job
        changed = cast("Changed", store.read(Changes(follow)))
        assert (changed.cursor, changed.job_ids) == (follow + 1, (job.id,))
        store.close()


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have redis-py ask once: what it does for half a second otherwise is not what is tested."""
    monkeypatch.setattr(redis_server, "_retry", lambda _: Retry(NoBackoff(), 0))


@pytest.mark.usefixtures("hasty")
def test_what_became_of_a_batch_is_found_out_when_its_server_is_back(server: RedisServer) -> None:
    with Wire(server.port) as wire, ThreadPoolExecutor() as pool:
        store = opened(f"redis://{HOST}:{wire.port}?prefix=test-{next(NUMBERS)}")
        waiting(store, 1)

        wire.cut_after(b"EVALSHA", goes_down=True)
        creating = pool.submit(store.execute, [Claim("shop", NOON, LEASE, 1)])
        until(lambda: wire.refused > 1)
        wire.come_back()

        ((claimed,),) = cast("Any", creating.result())
        assert store.read(Get(a_job(1).id)) == claimed.job == a_job(1).claimed(NOON)
        store.close()


@pytest.mark.usefixtures("hasty")
def test_what_cannot_be_found_out_is_refused(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis, "DOUBT", 0.0)
    with Wire(server.port) as wire:
        store = opened(f"redis://{HOST}:{wire.port}?prefix=test-{next(NUMBERS)}")
        waiting(store, 1)

        wire.cut_after(b"EVALSHA", goes_down=True)
        with pytest.raises(StoreUnavailable):
            waiting(store, 2)

        wire.come_back()
        assert waiting(store, 3) == a_job(3)
        store.close()


@pytest.mark.usefixtures("hasty")
def test_nothing_is_in_doubt_where_no_job_is_concerned(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis, "DOUBT", float("inf"))
    with Wire(server.port) as wire:
        store = opened(f"redis://{HOST}:{wire.port}?prefix=test-{next(NUMBERS)}")
        waiting(store, 1)

        wire.cut_after(b"EVALSHA", goes_down=True)
        with pytest.raises(StoreUnavailable):
            store.execute([Observe("shop", "POST /reports", (1.0,))])

        wire.come_back()
        store.close()


class Wire:
    """Passes on what a client and a server say, and may cut an answer off."""

    def __init__(self, port: int) -> None:
        self.lead_to(port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.has_cut = False
        self.refused = 0
        """Connections that were closed at once."""
        self._is_down = False
        self._word = b""

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def lead_to(self, port: int) -> None:
        """Have connections that begin from now on lead to a port."""
        self._server = (HOST, port)

    def cut_after(self, word: bytes, *, goes_down: bool = False) -> None:
        """Lose the answer to the next request with a word in it, and the connection; maybe let no other one begin."""
        self._word = word
        self._goes_down = goes_down

    def come_back(self) -> None:
        """Let connections begin again."""
        self._is_down = False

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self._is_down:
                    self.refused += 1
                    client.close()
                    continue
                server = socket.create_connection(self._server)
                cut = threading.Event()
                for work in (self._ask, self._answer):
                    threading.Thread(target=work, args=(client, server, cut), daemon=True).start()

    def _ask(self, client: socket.socket, server: socket.socket, cut: threading.Event) -> None:
        with suppress(OSError), server:
            while data := client.recv(65_536):
                if self._word and self._word in data:
                    self._word = b""
                    self._is_down = self._goes_down
                    cut.set()
                server.sendall(data)
            server.shutdown(socket.SHUT_RDWR)

    def _answer(self, client: socket.socket, server: socket.socket, cut: threading.Event) -> None:
        with suppress(OSError), client:
            while (data := server.recv(65_536)) and not cut.is_set():
                client.sendall(data)
            self.has_cut |= cut.is_set()
            client.shutdown(socket.SHUT_RDWR)


# --- several processes ---


def test_another_process_hears_of_a_change(store: RedisStore) -> None:
    other = opened(store.url)
    version, cursor = other.version(), cast("Changed", other.read(Changes(-1))).cursor

    job = waiting(store)

    until(lambda: other.version() != version)
    assert cast("Changed", other.read(Changes(cursor))).job_ids == (job.id,)
    other.close()


def test_an_own_change_is_heard_of_at_once(store: RedisStore) -> None:
    before = store.version()

    waiting(store)

    assert store.version() != before


def test_no_job_is_claimed_twice(store: RedisStore) -> None:
    jobs = {ask(store, Create(a_job(number), REQUEST)).id for number in range(120)}

    def claim() -> list[str]:
        mine = opened(store.url)
        claimed = []
        while found := cast("tuple[Claimed, ...]", ask(mine, Claim("shop", NOON, LEASE, 3))):
            claimed += [taken.job.id for taken in found]
        mine.close()
        return claimed

    with ThreadPoolExecutor(4) as pool:
        claims = [pool.submit(claim) for _ in range(4)]
        claimed = [job_id for taken in claims for job_id in taken.result()]

    assert len(claimed) == len(jobs)
    assert set(claimed) == jobs


def test_no_more_jobs_of_a_queue_run_than_it_has_slots(store: RedisStore) -> None:
    for number in range(20):
        waiting(store, number, queue="few", slots=3)

    def claim() -> int:
        mine = opened(store.url)
        taken = sum(len(ask(mine, Claim("shop", NOON, LEASE, 1))) for _ in range(5))
        mine.close()
        return taken

    with ThreadPoolExecutor(4) as pool:
        claims = [pool.submit(claim) for _ in range(4)]

        assert sum(taken.result() for taken in claims) == 3


def test_a_job_that_was_handed_over_waits_for_its_turn_if_its_queue_has_no_room(
    store: RedisStore,
) -> None:
    job = waiting(store, 1, queue="one", slots=1)
    ask(store, Dispatch("shop", NOON, NOON + 60, 1))
    running(store, 2, queue="one", slots=1)

    assert ask(store, Claim("shop", NOON, LEASE, 1, job.id)) == ()

    assert store.read(Due("shop", NOON)) is True


def before_it_writes(
    store: RedisStore, act: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Let something happen between what a batch reads and what it writes, at each try."""
    session = store._session
    assert session is not None
    go_through = session._go_through

    def late(*args: Any, **options: Any) -> Any:
        gone_through = go_through(*args, **options)
        act()
        return gone_through

    monkeypatch.setattr(session, "_go_through", late)


def between_its_looks(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Have something happen once, after a batch has read what is due and before it reads the rows of that."""
    acts = [act]
    ask = redis.Session._ask

    def late(session: redis.Session, questions: Any) -> None:
        ask(session, questions)
        if acts:
            acts.pop()()

    monkeypatch.setattr(redis.Session, "_ask", late)


def test_a_job_that_another_process_takes_from_its_lost_worker_meanwhile_is_not_forgotten(
    store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = opened(store.url)
    job = running(store, repeatable=True)
    between_its_looks(monkeypatch, lambda: ask(other, Sweep(LEASE)))

    swept = ask(store, Sweep(LEASE))

    found = cast("Job", store.read(Get(job.id)))
    assert swept.jobs == ()
    assert (found.status, found.losses) == (Status.ACCEPTED, 1)
    (claimed,) = ask(store, Claim("shop", LEASE, LEASE + 9, 1))
    assert claimed.job.id == job.id
    other.close()


def test_a_lease_that_is_renewed_at_the_last_moment_holds(
    store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = opened(store.url)
    job = running(store)
    between_its_looks(monkeypatch, lambda: ask(other, Renew(((job.id, 1),), LEASE + 9)))

    ask(store, Sweep(LEASE))

    assert store.read(Get(job.id)) == job
    assert [lost.id for lost in ask(store, Sweep(LEASE + 9)).jobs] == [job.id]
    other.close()


def test_a_job_that_is_lost_and_claimed_meanwhile_can_be_lost_again(
    store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = opened(store.url)
    job = running(store, repeatable=True)

    claim = Claim("shop", LEASE, LEASE + 9, 1)
    between_its_looks(monkeypatch, lambda: ask(other, Sweep(LEASE)))
    before_it_writes(store, lambda: ask(other, claim), monkeypatch)

    ask(store, Sweep(LEASE))
    assert cast("Job", store.read(Get(job.id))).attempt == 2

    ask(store, Sweep(LEASE + 9))

    assert cast("Job", store.read(Get(job.id))).losses == 2
    other.close()


def test_a_batch_that_others_are_always_ahead_of_is_given_up(
    store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, other = running(store), opened(store.url)
    monkeypatch.setattr(redis, "PATIENCE", 0.05)
    before_it_writes(store, lambda: ask(other, Renew(((job.id, 1),), LEASE)), monkeypatch)

    with pytest.raises(StoreUnavailable, match="others have changed the same jobs"):
        store.execute([Report(job.id, 1, NOON, 50, None)])

    assert other.read(Get(job.id)) == job
    other.close()


def test_a_piece_for_a_job_that_is_canceled_meanwhile_is_refused_and_dropped(
    store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, other = running(store), opened(store.url)
    cancel = Cancel(job.id, 1, NOON, "asked to stop")
    before_it_writes(store, lambda: ask(other, cancel), monkeypatch)

    with pytest.raises(LeaseLost):
        ask(store, Append(job.id, 1, 0, LONG))

    assert is_gone(store, Load(job.id, 1, 0))
    other.close()


def test_a_job_that_is_offered_while_its_place_is_looked_up_is_not_in_front_of_itself(
    store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, jobs = opened(store.url), [waiting(store, number) for number in range(2)]
    reader = store._opened().reader
    ask_all = reader._ask_all

    def late(*arguments: Any, **options: Any) -> list[Any]:
        ask(other, Dispatch("shop", NOON, NOON + 60, 9))
        return ask_all(*arguments, **options)

    monkeypatch.setattr(reader, "_ask_all", late)

    assert store.read(Position(jobs[1].id)) == Ahead(1, 0)
    other.close()


def test_any_number_of_threads_may_read_while_the_server_takes_its_time(own: RedisServer) -> None:
    store, readers = opened(own.unix_url), 120
    job = waiting(store)
    start = threading.Barrier(readers + 1)

    def read() -> object:
        start.wait()
        return store.read(Get(job.id))

    with ThreadPoolExecutor(readers) as pool:
        found = [pool.submit(read) for _ in range(readers)]
        own.ask("CLIENT", "PAUSE", 500)
        start.wait()

        assert [read.result() for read in found] == [job] * readers
    store.close()


def test_a_long_list_of_one_status_is_read_in_parts(store: RedisStore) -> None:
    store.execute([Create(a_job(number), REQUEST) for number in range(250)])
    ask(store, Cancel(a_job(0).id, 0, NOON, "never started"))

    (found,) = cast("tuple[Job]", store.read(List("shop", "ada", Status.CANCELED, 9, None)))

    assert found.id == a_job(0).id


def test_no_more_jobs_wait_than_may(store: RedisStore) -> None:
    def create(first: int) -> int:
        mine = opened(store.url)
        limits = Limits(max_queue=10, max_per_owner=10)
        creates = [Create(a_job(first + n), REQUEST, limits=limits) for n in range(10)]
        kept = sum(isinstance(mine.execute([create])[0], Job) for create in creates)
        mine.close()
        return kept

    with ThreadPoolExecutor(4) as pool:
        creates = [pool.submit(create, 100 * number) for number in range(4)]

        assert sum(kept.result() for kept in creates) == 10


def test_no_more_jobs_wait_than_may_in_a_queue_that_two_processes_begin(
    store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, limits = opened(store.url), Limits(max_queue=3)
    before_it_writes(store, lambda: other.execute(creates[:3]), monkeypatch)
    creates = [Create(a_job(number), REQUEST, limits=limits) for number in range(4)]

    (answer,) = store.execute(creates[3:])

    assert isinstance(answer, QueueFull)
    other.close()


def test_a_batch_may_move_any_number_of_jobs(store: RedisStore) -> None:
    many = 4_100
    for first in range(0, many, 820):
        store.execute([Create(a_job(first + number), REQUEST) for number in range(820)])

    claimed = ask(store, Claim("shop", NOON, LEASE, many))

    assert len(claimed) == many
    leases = tuple((found.job.id, 1) for found in claimed)
    assert ask(store, Renew(leases, LEASE + 9)) == ()
    assert ask(store, Sweep(LEASE + 8)).jobs == ()
    assert len(ask(store, Sweep(LEASE + 9, many)).jobs) == many


def test_one_of_two_processes_ends_a_job(store: RedisStore) -> None:
    other = opened(store.url)
    outcomes = []
    for number in range(20):
        job = running(store, number)
        ends = (
            Finish(job.id, 1, NOON, None, Failure("handler-exception", "…")),
            Cancel(job.id, 1, NOON, "asked to stop"),
        )
        with ThreadPoolExecutor(2) as pool:
            answers = list(pool.map(lambda s, c: s.execute([c])[0], (store, other), ends))
        outcomes.append((answers, store.read(Get(job.id))))

    for answers, ended in outcomes:
        assert ended in answers
        assert all(answer == ended or isinstance(answer, LeaseLost) for answer in answers)
    other.close()


def test_a_process_that_is_killed_leaves_no_half_of_a_batch(store: RedisStore) -> None:
    script = """
for number in count():
    store.execute([Create(a_job(50 * number + n), REQUEST) for n in range(50)])
    print(number, flush=True)
"""
    for _ in range(3):
        child = process(script, store.url)
        assert child.stdout is not None
        for _ in range(5):
            child.stdout.readline()
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()

        jobs = cast("tuple[Job, ...]", store.read(List("shop", "ada", None, 10**6, None)))
        assert len(jobs) >= 250
        assert len(jobs) % 50 == 0
        store.execute([Cancel(job.id, 0, NOON, "never started") for job in jobs])
        for _ in ("result", "tombstone"):
            while not ask(store, Sweep(NOON + 1e9)).is_done:
                pass


@pytest.mark.skipif(os.name != "posix", reason="forks are POSIX's")
def test_a_forked_process_connects_for_itself(store: RedisStore) -> None:
    job = waiting(store)

    pid = os.fork()
    if pid == 0:  # pragma: no cover  coverage ends with the fork
        with suppress(BaseException):
            store.open()
            ask(store, Cancel(job.id, 0, NOON, "never started"))
            store.close()
            os._exit(0)
        os._exit(1)

    assert os.waitpid(pid, 0)[1] == 0
    assert store.read(Get(job.id)) == job.canceled(NOON, "never started")
    assert waiting(store, 1) == a_job(1)


# --- bodies ---


def test_a_large_body_goes_through_in_pieces(store: RedisStore) -> None:
    job, piece = running(store), LONG
    for index in range(255):
        ask(store, Append(job.id, 1, index, piece))

    finish(store, job, piece, chunks=256)

    assert all(store.read(Load(job.id, 1, index)) == piece for index in range(256))


def test_pieces_that_a_lost_process_should_have_dropped_are_swept(
    store: RedisStore, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = a_job(repeatable=True)
    store.execute([Append(job.id, 0, 0, LONG), Create(job, LONG)])
    ask(store, Claim("shop", NOON, LEASE, 1))
    ask(store, Append(job.id, 1, 0, LONG))
    with monkeypatch.context() as lost:
        lost.setattr(PieceWriter, "drop", lambda *_: None)
        ask(store, Release(job.id, 1, NOON))
    assert store.read(Load(job.id, 1, 0)) == LONG

    ask(store, Sweep(NOON))

    assert is_gone(store, Load(job.id, 1, 0))
    assert store.read(Load(job.id, 0, 0)) == LONG
    (claimed,) = ask(store, Claim("shop", NOON, LEASE, 1))
    assert claimed.request == LONG


def test_a_piece_whose_writer_was_killed_before_its_batch_goes_with_the_lost_attempt(
    store: RedisStore, server: RedisServer
) -> None:
    job = running(store, repeatable=True)
    pieces = Names(store.url.partition("prefix=")[2]).pieces(job.id)
    server.ask("HSET", pieces, "1:0", LONG)  # as `PieceWriter` does, before the batch

    ask(store, Sweep(LEASE))

    assert cast("Job", store.read(Get(job.id))).status is Status.ACCEPTED
    assert server.ask("EXISTS", pieces) == 0


def test_nothing_is_left_of_jobs_that_are_gone(store: RedisStore, server: RedisServer) -> None:
    prefix = "{" + store.url.partition("prefix=")[2]
    for number in range(3):
        job = a_job(number, identity=Identity(f"key {number}", "…"), callback=CALLBACK)
        store.execute([Append(job.id, 0, 0, LONG), Create(job, LONG)])
    for claimed in ask(store, Claim("shop", NOON, LEASE, 9)):
        ask(store, Append(claimed.job.id, 1, 0, LONG))
        finish(store, claimed.job, LONG, chunks=2)

    for _ in ("result", "tombstone"):
        ask(store, Sweep(NOON + 1e9))

    left = {key.decode().partition("}:")[2] for key in server.ask("KEYS", f"{prefix}*")}
    writers = {key for key in left if key.startswith("writer:")}
    assert left - writers == {"store", "cursor", "changes", "queues:shop"}


# --- rows of which more than the record is damaged ---


@pytest.mark.parametrize(
    "fields", [("r", "b"), ("r", "t"), ("r", "w"), ("t",), ("w",), ("r", "k"), ("v",), ("r", "v")]
)
def test_whatever_is_left_of_a_row_the_others_are_claimed(
    server: RedisServer, fields: tuple[str, ...]
) -> None:
    store = opened(url := url_of(server))
    jobs = [waiting(store, number, identity=Identity(f"key {number}", "")) for number in range(3)]
    for field in fields:
        damage(server, url, jobs[0].id, lambda _: b"\xff garbage", field)

    found = ask(store, Claim("shop", NOON + 1, LEASE, 2)) + ask(
        store, Claim("shop", NOON + 1, LEASE, 2)
    )

    assert {jobs[1].id, jobs[2].id} <= {claimed.job.id for claimed in found}
    assert not store.read(Due("shop", NOON + 1))
    assert [cast("Job", store.read(Get(job.id))).status for job in jobs[1:]] == ["running"] * 2
    store.close()


@pytest.mark.parametrize("make", [waiting, running])
def test_a_row_that_is_gone_keeps_nobody_waiting(
    server: RedisServer, make: Callable[..., Job]
) -> None:
    store = opened(url := url_of(server))
    jobs = [make(store, number, repeatable=True) for number in range(3)]
    with server.client() as client:
        client.delete(Names(url.partition("prefix=")[2]).row(jobs[0].id))

    ask(store, Sweep(LEASE + 1))
    found = ask(store, Claim("shop", LEASE + 2, LEASE + 15, 10))

    assert [claimed.job.id for claimed in found] == [jobs[1].id, jobs[2].id]
    assert is_gone(store, Get(jobs[0].id))
    store.close()
