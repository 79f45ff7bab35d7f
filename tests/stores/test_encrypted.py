from __future__ import annotations

import sqlite3
from base64 import urlsafe_b64encode
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

from deferit._core.commands import Append, Claim, Create, Finish
from deferit._core.job import Result
from deferit._core.queries import Get, List, Load
from deferit._core.sealed import token_of
from deferit.exceptions import OptionError, StoreUnavailable
from deferit.options import options_from
from deferit.stores.encrypted import EncryptedStore
from deferit.stores.memory import MemoryStore
from deferit.stores.sqlite import SQLiteStore
from deferit.testing import (
    LEASE,
    LONG,
    NOON,
    REQUEST,
    StoreComparison,
    StoreContract,
    a_job,
    ask,
    finished,
    running,
    waiting,
)

if TYPE_CHECKING:
    from pathlib import Path

    from deferit._core.job import Job
    from deferit.stores.base import Store

KEY, OTHER_KEY = (urlsafe_b64encode(32 * letter).decode() for letter in (b"k", b"o"))
"""The same in each process that runs tests, for they name them."""

MARKER = b"4929-1234-secret-marker"


def encrypted(store: Store, *keys: str) -> EncryptedStore:
    store = EncryptedStore(store, keys or (KEY,))
    store.open()
    return store


class TestEncryptedMemoryStore(StoreContract):
    def make_store(self, folder: Path) -> Store:
        return encrypted(MemoryStore())


class TestEncryptedSQLiteStore(StoreContract):
    def make_store(self, folder: Path) -> Store:
        return encrypted(SQLiteStore(f"sqlite:///{folder / 'jobs.db'}"))


class EncryptedComparison(StoreComparison):
    def make_store(self) -> Store:
        return encrypted(MemoryStore())


TestEncryptedComparison = EncryptedComparison.TestCase
TestEncryptedComparison.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)


def ended(store: Store, job: Job, body: bytes = MARKER) -> Job:
    """Return the job finished with a result that has the marker wherever one can have it."""
    text = MARKER.decode()
    headers = (("Set-Cookie", text), ("Content-Type", "text/plain"))
    ask(store, Append(job.id, job.attempt, 0, MARKER + LONG))
    result = Result(200, headers, len(MARKER + LONG + body), 2, f'"{text}"')
    done: Job = ask(store, Finish(job.id, job.attempt, NOON, result, None, body))
    return done


def claim(store: Store) -> Any:
    return ask(store, Claim("shop", NOON, LEASE, 10))


# --- what is on disk ---


def test_nothing_of_requests_and_results_can_be_read_from_the_file(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    store = encrypted(SQLiteStore(f"sqlite:///{path}"))
    ask(store, Append(a_job(1).id, 0, 0, MARKER + LONG))
    ask(store, Create(a_job(1), MARKER))
    ask(store, Create(a_job(2), MARKER + LONG))
    ask(store, Create(a_job(3).claimed(NOON), MARKER, LEASE))
    job = ended(store, a_job(3).claimed(NOON))

    files = list(tmp_path.iterdir())
    assert {file.name for file in files} >= {"jobs.db", "jobs.db-wal"}
    assert not any(MARKER in file.read_bytes() or LONG[:64] in file.read_bytes() for file in files)
    store.close()
    assert not any(MARKER in file.read_bytes() for file in tmp_path.iterdir())
    store.open()
    assert store.read(Get(job.id)) == job
    assert store.read(Load(job.id, 1, 0)) == MARKER + LONG
    assert {claimed.request for claimed in claim(store)} == {MARKER, MARKER + LONG}


def test_without_encryption_the_file_shows_them(tmp_path: Path) -> None:
    """The test above would see it."""
    store = SQLiteStore(f"sqlite:///{tmp_path / 'jobs.db'}")
    store.open()
    ended(store, running(store))

    assert any(MARKER in file.read_bytes() for file in tmp_path.iterdir())


# --- keys ---


def test_the_first_key_encrypts_and_all_decrypt() -> None:
    inner = MemoryStore()
    old = ended(encrypted(inner, KEY), running(encrypted(inner, KEY)))
    rotated = encrypted(inner, OTHER_KEY, KEY)
    new = ended(rotated, running(rotated, 1))

    assert rotated.read(Get(old.id)) == old
    assert rotated.read(Load(old.id, 1, 1)) == MARKER
    later = encrypted(inner, OTHER_KEY)
    assert later.read(Get(new.id)) == new
    assert later.read(Load(new.id, 1, 1)) == MARKER


@pytest.fixture
def inner() -> MemoryStore:
    """Store with a waiting job and a finished one, both sealed with `KEY`."""
    inner = MemoryStore()
    store = encrypted(inner)
    waiting(store, 1)
    ended(store, running(store, 2))
    return inner


def test_with_a_wrong_key_a_captured_request_comes_out_empty_and_the_log_says_why(
    inner: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    (claimed,) = claim(encrypted(inner, OTHER_KEY))

    assert claimed.request == b""
    (record,) = caplog.records
    assert "none of the keys that encrypt= names opens its captured request" in record.message
    assert record.levelname == "ERROR"


def test_with_a_wrong_key_a_result_stays_sealed_until_the_right_one_is_back(
    inner: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = encrypted(inner, OTHER_KEY)
    job = wrong.read(Get(a_job(2).id))

    assert token_of(job.result)  # type: ignore[attr-defined]
    assert wrong.read(List("shop", "ada", None, 9, None)) == (job, a_job(1))
    with pytest.raises(StoreUnavailable, match="put the one that sealed it behind the others"):
        wrong.read(Load(a_job(2).id, 1, 1))
    assert "none of the keys" in caplog.text
    right = encrypted(inner, OTHER_KEY, KEY)
    assert token_of(right.read(Get(a_job(2).id)).result) is None  # type: ignore[attr-defined]
    assert right.read(Load(a_job(2).id, 1, 1)) == MARKER


def test_with_a_wrong_key_the_store_goes_on(inner: MemoryStore) -> None:
    wrong = encrypted(inner, OTHER_KEY)

    job = finished(wrong, 3, MARKER)

    assert wrong.read(Load(job.id, 1, 0)) == MARKER


# --- tampering ---


@pytest.mark.parametrize("column", ["request", "body"])
def test_what_was_sealed_for_one_job_opens_in_no_other(tmp_path: Path, column: str) -> None:
    path = tmp_path / "jobs.db"
    store = encrypted(SQLiteStore(f"sqlite:///{path}"))
    mine, theirs = waiting(store, 1), waiting(store, 2)
    finished(store, 3, b"mine")
    finished(store, 4, b"theirs")
    with closing(sqlite3.connect(path)) as connection, connection:
        for target, source in ((mine.id, theirs.id), (a_job(3).id, a_job(4).id)):
            connection.execute(
                f"UPDATE jobs SET {column} = (SELECT {column} FROM jobs WHERE id = ?) WHERE id = ?",
                (source, target),
            )

    if column == "request":
        assert [claimed.request for claimed in claim(store)] == [b"", REQUEST]
    else:
        assert store.read(Load(a_job(4).id, 1, 0)) == b"theirs"
        with pytest.raises(StoreUnavailable):
            store.read(Load(a_job(3).id, 1, 0))


def test_what_was_changed_by_a_bit_does_not_open(inner: MemoryStore) -> None:
    store = encrypted(inner)
    row = inner._rows[a_job(2).id]
    flipped = bytes([row.pieces[1, 1][40] ^ 1])
    row.pieces[1, 1] = row.pieces[1, 1][:40] + flipped + row.pieces[1, 1][41:]
    assert row.job.result is not None
    other = inner._rows[a_job(1).id]
    other.job = other.job.but(result=row.job.result)

    with pytest.raises(StoreUnavailable):
        store.read(Load(a_job(2).id, 1, 1))
    assert token_of(store.read(Get(a_job(1).id)).result)  # type: ignore[attr-defined]


# --- the option ---


@pytest.mark.parametrize(
    "value", [f"{KEY}, {OTHER_KEY}", [KEY, OTHER_KEY], (KEY.encode(), OTHER_KEY)]
)
def test_the_option_takes_one_key_or_several(value: object) -> None:
    options = options_from({"store": "memory://", "encrypt": value}, {})

    assert isinstance(options.store, EncryptedStore)
    assert options.encrypt == (KEY, OTHER_KEY)
    assert replace(options, wait=2).store is options.store
    assert KEY not in repr(options)


def test_the_environment_names_keys_too() -> None:
    environment = {"DEFERIT_STORE": "memory://", "DEFERIT_ENCRYPT": f"{KEY},{OTHER_KEY}"}

    assert options_from({}, environment).encrypt == (KEY, OTHER_KEY)


@pytest.mark.parametrize("value", ["", " , ", [], [""], 7, "not a key", [KEY, 7], [KEY, KEY[1:]]])
def test_what_is_no_key_is_refused_without_being_shown(value: object) -> None:
    with pytest.raises(OptionError, match=r"encrypt= .*Fernet\.generate_key") as refusal:
        options_from({"store": "memory://", "encrypt": value}, {})

    assert KEY[1:] not in str(refusal.value)
    assert refusal.value.__cause__ is None


def test_without_the_option_nothing_is_encrypted() -> None:
    assert isinstance(options_from({"store": "memory://"}, {}).store, MemoryStore)
    assert isinstance(options_from({"store": "memory://", "encrypt": None}, {}).store, MemoryStore)
