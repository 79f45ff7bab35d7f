from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from msgspec.structs import replace

from deferit._core.commands import (
    Cancel,
    Claim,
    Claimed,
    Create,
    Finish,
    Limits,
    Placed,
    Report,
    Sweep,
)
from deferit._core.job import Job, Status
from deferit._core.queries import MOST_AHEAD, Ahead, Changed, Changes, Get, Load
from deferit._records import encode
from deferit.exceptions import JobExists, LeaseLost, OptionError, StoreUnavailable
from deferit.stores import _sqlite_file, _sqlite_statements, sqlite, store_from_url
from deferit.stores._sqlite_file import PAGE
from deferit.stores._sqlite_groups import Held
from deferit.stores._sqlite_schema import MIGRATIONS
from deferit.stores.sqlite import SQLiteStore
from deferit.testing import (
    LEASE,
    LONG,
    NOON,
    REQUEST,
    DamagedRecords,
    StoreComparison,
    StoreContract,
    a_job,
    a_result,
    ask,
    finished,
    is_gone,
    running,
    waiting,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from deferit.stores.base import Store

posix_only = pytest.mark.skipif(os.name != "posix", reason="file modes and forks are POSIX's")

PREAMBLE = """
import os, sys
from deferit._core.commands import *
from deferit._core.queries import *
from deferit.exceptions import *
from deferit.stores.sqlite import SQLiteStore
from deferit.testing import a_job, ask, finished, is_gone, waiting

store = SQLiteStore(sys.argv[1])
"""


def url_of(folder: Path, options: str = "") -> str:
    return f"sqlite:///{folder / 'jobs.db'}{options}"


def opened(url: str) -> SQLiteStore:
    store = SQLiteStore(url)
    store.open()
    return store


def process(script: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PREAMBLE + script, *arguments]
    return subprocess.Popen(command, stdin=-1, stdout=-1, stderr=-1, text=True)


def output(child: subprocess.Popen[str]) -> str:
    out, err = child.communicate(timeout=60)
    assert child.returncode == 0, err
    return out


def pragma(connection: sqlite3.Connection | None, name: str) -> object:
    assert connection is not None
    return connection.execute(f"PRAGMA {name}").fetchone()[0]


def is_sound(path: Path) -> bool:
    with closing(sqlite3.connect(path)) as connection:
        return pragma(connection, "integrity_check") == "ok"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLiteStore]:
    store = opened(url_of(tmp_path))
    yield store
    store.close()


class TestSQLiteStore(DamagedRecords, StoreContract):
    def make_store(self, folder: Path) -> Store:
        self.path = folder / "jobs.db"
        return opened(url_of(folder))

    def damage(self, store: Store, job_id: str, change: Callable[[bytes], bytes]) -> None:
        with closing(sqlite3.connect(self.path)) as connection, connection:
            (before,) = connection.execute(
                "SELECT record FROM jobs WHERE id = ?", (job_id,)
            ).fetchone()
            connection.execute("UPDATE jobs SET record = ? WHERE id = ?", (change(before), job_id))


class SQLiteComparison(StoreComparison):
    def make_store(self) -> Store:
        self.folder = tempfile.TemporaryDirectory()
        return opened(url_of(Path(self.folder.name), "?synchronous=normal"))

    def teardown(self) -> None:
        super().teardown()
        assert is_sound(Path(self.folder.name, "jobs.db"))
        self.folder.cleanup()


TestSQLiteComparison = SQLiteComparison.TestCase
TestSQLiteComparison.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


# --- names ---


def test_a_url_names_a_file_of_the_directory_where_it_was_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = store_from_url("sqlite:///my%20jobs.db")
    monkeypatch.chdir("/")

    store.check()
    store.open()
    store.close()

    assert (tmp_path / "my jobs.db").exists()


@pytest.mark.parametrize(
    "url", ["sqlite://", "sqlite:///", "sqlite://jobs.db", "sqlite:///:memory:"]
)
def test_a_url_without_a_file_is_refused(url: str) -> None:
    with pytest.raises(OptionError, match=r"names no file; write 'sqlite:///jobs\.db'"):
        SQLiteStore(url)


@pytest.mark.parametrize("options", ["?synchronous=off", "?synchronous=", "?mode=ro"])
def test_options_it_does_not_have_are_refused(options: str) -> None:
    with pytest.raises(OptionError, match="may stand 'synchronous=full'"):
        SQLiteStore(f"sqlite:///jobs.db{options}")


# --- check ---


def test_a_check_makes_nothing(tmp_path: Path) -> None:
    SQLiteStore(url_of(tmp_path)).check()

    assert list(tmp_path.iterdir()) == []


def test_a_check_accepts_a_database_and_an_empty_file(store: SQLiteStore, tmp_path: Path) -> None:
    waiting(store)
    (tmp_path / "empty.db").touch()

    store.check()
    SQLiteStore(f"sqlite:///{tmp_path}/empty.db").check()


def test_a_check_beside_an_open_store_leaves_its_locks_alone(store: SQLiteStore) -> None:
    another = output(
        process("store.open(); store.close(); store.check(); print('checked')", store.url)
    )
    SQLiteStore(store.url).check()  # a plain open and close would drop this process's locks

    output(process("store.open(); waiting(store, 1); store.close()", store.url))
    waiting(store, 2)

    assert another == "checked\n"
    assert sorted(path.name for path in store._file.path.parent.iterdir()) == [
        "jobs.db",
        "jobs.db-shm",
        "jobs.db-wal",
    ]


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=f"there is no directory {tmp_path}/no; make it"):
        SQLiteStore(url_of(tmp_path / "no")).check()


def test_a_file_in_the_place_of_a_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(OptionError, match=f"there is no directory {tmp_path}/file"):
        SQLiteStore(url_of(tmp_path / "file")).check()


def test_a_directory_in_the_place_of_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "jobs.db").mkdir()

    with pytest.raises(OptionError, match="is a directory; name a file in it"):
        SQLiteStore(url_of(tmp_path)).check()


@pytest.mark.parametrize("content", [b"import os\n", b"x" * 5000])
def test_a_file_that_is_no_database_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "jobs.db").write_bytes(content)
    store = SQLiteStore(url_of(tmp_path))

    with pytest.raises(OptionError, match="is no SQLite database; name another"):
        store.check()
    with pytest.raises(StoreUnavailable, match="is no SQLite database"):
        store.open()

    assert (tmp_path / "jobs.db").read_bytes() == content


@posix_only
@pytest.mark.parametrize(
    ("mode_of_folder", "mode_of_file", "problem"),
    [
        (0o555, 0o666, "cannot be written, where SQLite must keep its log"),
        (0o777, 0o444, "this user cannot read and write the file"),
        (0o777, 0o222, "this user cannot read and write the file"),
        (0o777, 0o666, "fine"),
    ],
)
def test_what_this_user_may_not_do_is_named(
    mode_of_folder: int, mode_of_file: int, problem: str
) -> None:
    with tempfile.TemporaryDirectory() as name:  # others cannot enter pytest's
        folder = Path(name, "inner")
        folder.mkdir()
        (folder / "jobs.db").touch()
        (folder / "jobs.db").chmod(mode_of_file)
        folder.chmod(mode_of_folder)
        Path(name).chmod(0o755)

        said = output(
            process(
                """
                if os.getuid() == 0:
                    os.setuid(65534)  # modes don't bind root
                try:
                    store.check()
                    print("fine")
                except OptionError as exc:
                    print(exc)
                """.replace("\n" + " " * 16, "\n"),
                url_of(folder),
            )
        )
        folder.chmod(0o777)

    assert problem in said


# --- the file ---


@posix_only
def test_its_files_are_for_their_user_only(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        store = opened(url_of(tmp_path))
        waiting(store)
        modes = {path.name: oct(path.stat().st_mode & 0o777) for path in tmp_path.iterdir()}
        store.close()
    finally:
        os.umask(before)

    assert modes == dict.fromkeys(("jobs.db", "jobs.db-wal", "jobs.db-shm"), "0o600")


@pytest.mark.parametrize(("options", "level"), [("", 2), ("?synchronous=normal", 1)])
def test_what_is_committed_is_in_a_write_ahead_log_and_synced(
    tmp_path: Path, options: str, level: int
) -> None:
    store = opened(url_of(tmp_path, options))
    connection = store._writer._connection

    assert pragma(connection, "journal_mode") == "wal"
    assert pragma(connection, "synchronous") == level
    assert pragma(store._reader._connection, "query_only") == 1
    store.close()


def test_eight_processes_may_make_it_at_once(tmp_path: Path) -> None:
    script = """
print("ready", flush=True)
sys.stdin.readline()
store.open()
job = waiting(store, int(sys.argv[2]))
store.read(Get(job.id))
store.close()
"""
    for attempt in range(3):
        url = url_of(tmp_path).replace("jobs.db", f"{attempt}.db")
        children = [process(script, url, str(number)) for number in range(8)]
        for child in children:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
        for child in children:
            assert child.stdin is not None
            child.stdin.write("go\n")
            child.stdin.flush()
        for child in children:
            output(child)

        store = opened(url)
        assert [store.read(Get(a_job(number).id)) for number in range(8)] == [
            a_job(number) for number in range(8)
        ]
        store.close()


def test_a_file_of_a_newer_deferit_is_left_alone(store: SQLiteStore) -> None:
    store.close()
    with closing(sqlite3.connect(store._file.path)) as connection:
        connection.execute("PRAGMA user_version = 99")

    with pytest.raises(StoreUnavailable, match=r"schema 99, this one knows \d+\); upgrade deferit"):
        store.open()


def test_jobs_of_an_earlier_schema_go_on(tmp_path: Path) -> None:
    job = a_job()
    with closing(sqlite3.connect(tmp_path / "jobs.db")) as connection:
        for statement in MIGRATIONS[0]:
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {_sqlite_file.APPLICATION_ID}")
        connection.execute("PRAGMA user_version = 1")
        connection.execute(
            "INSERT INTO jobs (id, application, owner, status, attempt, wake_at, record, request)"
            " VALUES (?, 'shop', 'ada', 'accepted', 0, ?, ?, ?)",
            (job.id, NOON, encode(job), REQUEST),
        )
        connection.commit()

    with closing(opened(url_of(tmp_path))) as store:
        (claimed,) = ask(store, Claim("shop", NOON, LEASE, 9))

    assert claimed == Claimed(job.claimed(NOON), REQUEST)


def test_a_database_of_something_else_is_left_alone(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "jobs.db")) as connection:
        connection.execute("CREATE TABLE jobs (mine)")

    with pytest.raises(StoreUnavailable, match="give deferit a file of its own"):
        opened(url_of(tmp_path))

    with closing(sqlite3.connect(tmp_path / "jobs.db")) as connection:
        assert pragma(connection, "journal_mode") == "delete"


def test_it_is_used_only_while_it_is_open(tmp_path: Path) -> None:
    store = SQLiteStore(url_of(tmp_path))
    with pytest.raises(StoreUnavailable, match="it is not open"):
        store.execute([])
    store.open()
    store.close()
    with pytest.raises(StoreUnavailable, match="it is not open"):
        store.read(Get("job_nobody"))


def test_it_waits_to_switch_a_file_that_is_being_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = sqlite3.connect(tmp_path / "jobs.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    attempts = _sqlite_file._attempts

    def until_the_second() -> Iterator[None]:
        for number, _ in enumerate(attempts()):
            if number == 1:
                other.execute("ROLLBACK")
            yield

    monkeypatch.setattr(_sqlite_file, "_attempts", until_the_second)
    store = opened(url_of(tmp_path))

    assert pragma(store._writer._connection, "journal_mode") == "wal"
    assert not other.in_transaction
    store.close()
    other.close()


# --- several processes ---


def test_two_stores_never_claim_the_same_job(store: SQLiteStore) -> None:
    other = opened(store.url)
    store.execute([Create(a_job(number), REQUEST) for number in range(200)])

    def claim_all(store: SQLiteStore) -> list[str]:
        ids: list[str] = []
        while claimed := ask(store, Claim("shop", NOON, LEASE, 3)):
            ids += [one.job.id for one in claimed]
        return ids

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(claim_all, [store, other])
    other.close()

    assert sorted(first + second) == [a_job(number).id for number in range(200)]


def test_another_process_sees_and_goes_on(store: SQLiteStore) -> None:
    cursor = store.read(Changes(-1)).cursor  # type: ignore[attr-defined]
    before = store.version()
    assert store.version() == before

    output(process("store.open(); finished(store, body=b'from afar'); store.close()", store.url))

    assert store.version() != before
    assert store.read(Load(a_job().id, 1, 0)) == b"from afar"
    assert store.read(Changes(cursor)) == Changed(cursor + 2, (a_job().id,))


def test_it_is_read_while_another_writes(store: SQLiteStore) -> None:
    job = waiting(store)
    with closing(sqlite3.connect(store._file.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("DELETE FROM jobs")

        assert store.read(Get(job.id)) == job


def test_what_was_answered_outlives_a_kill(tmp_path: Path) -> None:
    script = """
store.open()
for batch in range(10_000):
    answers = store.execute([Create(a_job(3 * batch + n), b"x" * 9000) for n in range(3)])
    print(*[job.id for job in answers], flush=True)
"""
    child = process(script, url_of(tmp_path))
    assert child.stdout is not None
    answered = [child.stdout.readline() for _ in range(40)]
    child.kill()
    rest, _ = child.communicate(timeout=60)
    answered += rest.splitlines(keepends=True)

    store = opened(url_of(tmp_path))

    ids = [job_id for line in answered if line.endswith("\n") for job_id in line.split()]
    assert len(ids) >= 120
    assert not any(is_gone(store, Get(job_id)) for job_id in ids)
    assert all(len(one.request) == 9000 for one in ask(store, Claim("shop", NOON, LEASE, 9999)))
    store.close()
    assert is_sound(tmp_path / "jobs.db")


@posix_only
def test_a_fork_leaves_parent_and_child_each_with_locks_of_its_own(tmp_path: Path) -> None:
    script = """
store.open()
waiting(store, 0)
heard, tell = os.pipe()
child = os.fork()
if child == 0:
    store.open()
    waiting(store, 1)
    os.read(heard, 1)  # until the parent has closed it, who must not think that it was the last
    waiting(store, 2)
    store.close()
    os._exit(0)
waiting(store, 3)
store.read(Get(a_job(3).id))
store.close()
os.write(tell, b"x")
_, status = os.waitpid(child, 0)
assert status == 0
"""
    output(process(script, url_of(tmp_path)))

    store = opened(url_of(tmp_path))
    assert not any(is_gone(store, Get(a_job(number).id)) for number in range(4))
    store.close()
    assert is_sound(tmp_path / "jobs.db")


@posix_only
def test_a_fork_waits_for_the_batch_under_way(tmp_path: Path) -> None:
    script = """
import threading
store.open()
waiting(store, 0)
stop = threading.Event()
done = []

def write():
    while not stop.is_set():
        done.append(waiting(store, 1 + len(done)))
        store.read(Get(done[-1].id))

thread = threading.Thread(target=write)
thread.start()
for _ in range(20):
    child = os.fork()
    if child == 0:
        store.open()
        os._exit(is_gone(store, Get(a_job(0).id)))
    _, status = os.waitpid(child, 0)
    assert status == 0
stop.set()
thread.join()
assert not any(is_gone(store, Get(job.id)) for job in done)
store.close()
"""
    output(process("import warnings; warnings.simplefilter('ignore')" + script, url_of(tmp_path)))

    assert is_sound(tmp_path / "jobs.db")


def test_connections_of_another_process_are_never_closed(store: SQLiteStore) -> None:
    job = waiting(store)
    inherited = store._writer._connection
    store._process = -1  # as after a fork that Python was not told of

    store.open()

    assert store.read(Get(job.id)) == job
    assert store._writer._connection is not inherited
    assert pragma(inherited, "journal_mode") == "wal"
    for line in sqlite._ABANDONED:
        line.close()
    sqlite._ABANDONED.clear()


# --- trouble ---


def test_a_removed_file_is_made_anew(store: SQLiteStore, tmp_path: Path) -> None:
    job = waiting(store)
    before = store.version()
    (tmp_path / "jobs.db").unlink()

    with pytest.raises(StoreUnavailable, match="removed or replaced"):
        store.execute([Create(a_job(1), REQUEST)])

    assert is_gone(store, Get(job.id))
    waiting(store, 2)
    assert is_gone(store, Get(a_job(1).id))
    assert store.read(Get(a_job(2).id)) == a_job(2)
    assert store.version() != before
    store.close()
    assert is_sound(tmp_path / "jobs.db")


def test_who_reads_a_removed_file_first_is_told_so(store: SQLiteStore, tmp_path: Path) -> None:
    job = waiting(store)
    (tmp_path / "jobs.db").unlink()

    with pytest.raises(StoreUnavailable, match="removed or replaced"):
        store.read(Get(job.id))
    assert is_gone(store, Get(job.id))


def test_a_file_that_another_process_made_anew_is_shared(
    store: SQLiteStore, tmp_path: Path
) -> None:
    (tmp_path / "jobs.db").unlink()
    child = process(
        "store.open(); waiting(store, 1); print(flush=True); sys.stdin.read()", store.url
    )
    assert child.stdout is not None
    child.stdout.readline()

    with pytest.raises(StoreUnavailable, match="removed or replaced"):
        store.execute([])

    assert store.read(Get(a_job(1).id)) == a_job(1)
    waiting(store, 2)
    output(child)
    waiting(store, 3)
    store.close()
    store.open()
    assert not any(is_gone(store, Get(a_job(number).id)) for number in (1, 2, 3))
    assert is_sound(tmp_path / "jobs.db")


def test_it_goes_on_when_its_directory_is_back(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    store = opened(url_of(folder))
    folder.rename(tmp_path / "away")

    with pytest.raises(StoreUnavailable, match="removed or replaced"):
        waiting(store)
    with pytest.raises(StoreUnavailable, match="No such file or directory"):
        waiting(store)
    folder.mkdir()
    waiting(store)
    store.close()

    assert is_sound(folder / "jobs.db")


def test_a_directory_in_its_place_makes_it_unavailable(tmp_path: Path) -> None:
    (tmp_path / "jobs.db").mkdir()

    with pytest.raises(StoreUnavailable, match="cannot be opened"):
        opened(url_of(tmp_path))


def test_nothing_of_a_batch_is_kept_when_the_disk_is_full(store: SQLiteStore) -> None:
    job = running(store)
    connection = store._writer._connection
    pages = pragma(connection, "page_count")
    pragma(connection, f"max_page_count = {pages}")

    with pytest.raises(StoreUnavailable, match="the disk is full"):
        store.execute(
            [
                Create(a_job(1), REQUEST),
                Finish(job.id, 1, NOON, a_result(), None, LONG),
                Create(a_job(2), LONG),
            ]
        )

    assert store.read(Get(job.id)) == job
    assert is_gone(store, Get(a_job(1).id))
    assert waiting(store, 2) == a_job(2)


def test_a_file_that_stays_locked_makes_it_unavailable(
    store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_sqlite_file, "PATIENCE", 0.05)
    store.close()
    store.open()
    with closing(sqlite3.connect(store._file.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")

        with pytest.raises(StoreUnavailable, match="another process has kept it locked"):
            waiting(store)

    assert waiting(store) == a_job()


def test_a_file_that_cannot_be_switched_makes_it_unavailable_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_sqlite_file, "PATIENCE", 0.05)
    with closing(sqlite3.connect(tmp_path / "jobs.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")

        with pytest.raises(StoreUnavailable, match="another process has kept it locked"):
            opened(url_of(tmp_path))


@posix_only
def test_a_lock_of_somebody_else_on_the_directory_does_not_stop_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fcntl = pytest.importorskip("fcntl")
    monkeypatch.setattr(_sqlite_file, "PATIENCE", 0.05)
    descriptor = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)

    store = opened(url_of(tmp_path))

    waiting(store)
    store.close()
    os.close(descriptor)


def test_a_damaged_file_makes_it_unavailable_until_it_is_moved_away(
    store: SQLiteStore, tmp_path: Path
) -> None:
    store.execute([Create(a_job(number), REQUEST) for number in range(500)])
    store.close()
    path = tmp_path / "jobs.db"
    content = path.read_bytes()
    path.write_bytes(content[:PAGE] + b"\xff" * (len(content) - PAGE))
    store.open()

    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="damaged"):
            waiting(store, 501)
        with pytest.raises(StoreUnavailable, match="damaged"):
            store.read(Get(a_job(1).id))
    path.rename(tmp_path / "damaged.db")

    assert waiting(store, 501) == a_job(501)
    assert store.read(Get(a_job(501).id)) == a_job(501)


def test_an_interrupted_batch_is_rolled_back(store: SQLiteStore) -> None:
    job = running(store)

    class Interrupted(Report, frozen=True):
        def apply(self, _: object) -> object:  # type: ignore[override]
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.execute([Create(a_job(1), REQUEST), Interrupted(job.id, 1, NOON, 5, None)])

    assert is_gone(store, Get(a_job(1).id))
    assert waiting(store, 1) == a_job(1)


# --- housekeeping ---


def test_its_log_does_not_stay_as_long_as_the_largest_result(
    store: SQLiteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_sqlite_file, "LOG_SIZE", 8 * len(LONG))
    store.close()
    store.open()
    store.execute([Create(a_job(number), LONG) for number in range(64)])
    log = tmp_path / "jobs.db-wal"
    largest = log.stat().st_size

    for number in range(64, 70):
        waiting(store, number)

    assert log.stat().st_size <= 8 * len(LONG) < largest


def test_changes_are_kept_for_the_last_batches(
    store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "KEPT_CHANGES", 3)
    for number in range(8):
        waiting(store, number)

    ask(store, Sweep(NOON))

    ids = tuple(a_job(number).id for number in (5, 6, 7))
    assert store.read(Changes(0)) == Changed(8, ids)
    waiting(store, 9)
    assert store.read(Changes(8)) == Changed(9, (a_job(9).id,))


def test_a_finished_job_has_no_request(store: SQLiteStore) -> None:
    finished(store)

    connection = store._writer._connection
    assert connection is not None
    assert connection.execute("SELECT request FROM jobs").fetchall() == [(None,)]


def test_what_is_forgotten_leaves_nothing_behind(store: SQLiteStore) -> None:
    for number in range(3):
        finished(store, number, body=LONG, ttl=0)
    waiting(store, 3)

    for _ in range(2):
        ask(store, Sweep(NOON + 1e9))

    connection = store._writer._connection
    assert connection is not None
    for table, rows in (("jobs", 1), ("pieces", 0)):
        assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (rows,)


def test_no_statement_reads_a_whole_table(store: SQLiteStore) -> None:
    connection = store._reader._connection
    assert connection is not None
    statements = {
        name: text
        for name, text in vars(_sqlite_statements).items()
        if name.isupper() and isinstance(text, str) and " WHERE " in text
    }

    for name, template in statements.items():
        columns = ", ".join("?" * getattr(_sqlite_statements, f"{name}_COLUMNS", 0))
        text = template.format(rows=f"({columns}), ({columns})", ids="?, ?")
        values = (1,) * (len(set(re.findall(r"\?[0-9]", text))) or text.count("?"))
        plan = connection.execute(f"EXPLAIN QUERY PLAN {text}", values).fetchall()
        steps = [step for *_, step in plan]
        whole = [step for step in steps if step.startswith(("SCAN jobs", "SCAN pieces"))]
        assert [step for step in whole if "INDEX running" not in step] == [], name
    assert len(statements) > 25


# --- groups ----------------------------------------------------------------------------------------------------------


def begun(number: int) -> Create:
    return Create(a_job(number).claimed(NOON), REQUEST, NOON + 15)


def ended(number: int) -> Finish:
    return Finish(a_job(number).id, 1, NOON + 1, None, None)


def statements(store: SQLiteStore) -> list[str]:
    """Return a list that gets the statements of the store as they are executed."""
    seen: list[str] = []
    connection = store._writer._connection
    assert connection is not None
    connection.set_trace_callback(lambda text: seen.append(" ".join(text.split()[:2])))
    return seen


def test_new_and_ended_jobs_of_a_batch_are_written_by_one_statement_each(
    store: SQLiteStore,
) -> None:
    store.execute([begun(number) for number in range(4)])
    seen = statements(store)

    answers = store.execute(
        [command for number in range(4) for command in (begun(number + 4), ended(number))]
    )

    assert [text for text in seen if "jobs" in text or "INTO" in text] == [
        "INSERT INTO",
        "UPDATE jobs",
        "INSERT INTO",
    ]
    assert [answer.status for answer in answers if isinstance(answer, Job)] == [
        Status.RUNNING,
        Status.SUCCEEDED,
    ] * 4
    assert store.read(Get(a_job(0).id)) == answers[1]


def stored_statements(seen: list[str]) -> list[str]:
    return [text for text in seen if text.startswith(("INSERT", "UPDATE", "DELETE"))]


def test_limits_that_count_nothing_keep_no_job_out_of_a_group(store: SQLiteStore) -> None:
    limits = Limits(max_queue=10_000, max_per_owner=None)
    seen = statements(store)

    store.execute([replace(begun(number), limits=limits) for number in range(4)])

    assert stored_statements(seen) == ["INSERT INTO", "INSERT INTO"]  # jobs, and what has changed


def test_new_jobs_that_wait_are_written_counted_and_placed_together(store: SQLiteStore) -> None:
    limits = Limits(max_queue=10_000)
    store.execute([Create(a_job(number), REQUEST) for number in range(3)])
    seen = statements(store)

    answers = store.execute(
        [Create(a_job(number), REQUEST, limits=limits, asks_place=True) for number in range(3, 30)]
    )

    assert stored_statements(seen) == ["INSERT INTO", "INSERT INTO"]
    assert len(seen) < 10
    assert [answer.ahead for answer in answers if isinstance(answer, Placed)] == [
        Ahead(number, 0) for number in range(3, 30)
    ]


def test_jobs_are_claimed_by_one_statement(store: SQLiteStore) -> None:
    jobs = [ask(store, Create(a_job(n), LONG if n == 2 else REQUEST)) for n in range(5)]
    seen = statements(store)

    claimed = ask(store, Claim("shop", NOON, LEASE, 9))

    assert stored_statements(seen) == ["UPDATE jobs", "INSERT INTO"]
    assert [each.job for each in claimed] == [job.claimed(NOON) for job in jobs]
    assert [each.request for each in claimed] == [REQUEST, REQUEST, LONG, REQUEST, REQUEST]


def test_a_place_behind_so_many_that_none_is_told_is_not_looked_for(
    store: SQLiteStore,
) -> None:
    store.execute([Create(a_job(number), REQUEST) for number in range(MOST_AHEAD - 1)])
    seen = statements(store)

    answers = store.execute(
        [Create(a_job(number), REQUEST, asks_place=True) for number in range(2000, 2020)]
    )

    told = [answer.ahead for answer in answers if isinstance(answer, Placed) and answer.ahead]
    assert [ahead.jobs for ahead in told] == [MOST_AHEAD - 1, *[MOST_AHEAD] * 19]
    assert len(seen) < 10


def test_a_group_of_any_size_is_written(store: SQLiteStore) -> None:
    store.execute([begun(number) for number in range(150)])

    answers = store.execute([ended(number) for number in range(150)])

    assert [store.read(Get(a_job(number).id)) for number in range(150)] == answers


def test_who_was_overtaken_by_another_process_is_told_so_and_the_rest_is_done(
    store: SQLiteStore,
) -> None:
    store.execute([begun(0), begun(1)])
    other = SQLiteStore(store.url)
    other.open()
    other.execute([Cancel(a_job(0).id, 1, NOON, "stopped")])
    other.close()

    lost, done = store.execute([ended(0), ended(1)])

    assert isinstance(lost, LeaseLost)
    assert isinstance(done, Job)
    assert store.read(Get(a_job(1).id)) == done


def test_a_job_of_a_group_that_is_there_already_is_refused_alone(store: SQLiteStore) -> None:
    store.execute([begun(0)])

    refused, done = store.execute([begun(0), begun(1)])

    assert isinstance(refused, JobExists)
    assert isinstance(done, Job)
    assert store.read(Get(a_job(1).id)) == done


def test_a_job_that_ends_twice_in_one_batch_ends_once(store: SQLiteStore) -> None:
    store.execute([begun(0)])

    done, refused = store.execute([ended(0), ended(0)])

    assert isinstance(done, Job)
    assert isinstance(refused, LeaseLost)


def test_an_end_that_is_out_of_order_is_refused_as_ever(store: SQLiteStore) -> None:
    store.execute([begun(0)])

    (refused,) = store.execute([Finish(a_job(0).id, 2, NOON + 1, None, None)])

    assert isinstance(refused, LeaseLost)
    assert a_job(0).claimed(NOON) == store.read(Get(a_job(0).id))


def test_only_so_many_running_jobs_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deferit.stores._sqlite_groups.MOST_HELD", 2)
    held = Held()

    for number in range(3):
        held.keep(a_job(number).claimed(NOON), b"")

    assert held.get(a_job(0).id) is None
    assert held.get(a_job(2).id) is not None


def test_a_request_that_is_gone_keeps_no_other_job_waiting(
    store: SQLiteStore, tmp_path: Path
) -> None:
    lost = ask(store, Create(a_job(1), LONG))
    other = waiting(store, 2)
    with closing(sqlite3.connect(tmp_path / "jobs.db")) as connection, connection:
        connection.execute("DELETE FROM pieces")

    claimed = ask(store, Claim("shop", NOON, LEASE, 9))

    assert [(item.job.id, item.request) for item in claimed] == [
        (lost.id, b""),  # of which it will be said that it cannot be read
        (other.id, REQUEST),
    ]
