"""The file of a `SQLiteStore`: where it is, how it is made, and connections that notice when it is gone.

What SQLite asks of those who use it, and how it is met:

1. The file is switched to WAL before it is used, and two who switch at once fail with "database is locked" whatever
   the timeout: they try again until a deadline.
2. To close *any* descriptor of the file drops all locks that this process has on it (sqlite.org/howtocorrupt.html,
   §2.2): nothing but SQLite opens a file that exists.
3. If a connection is open during a fork, the child takes locks for granted that only its parent has, and what it
   commits can be lost: every connection is closed before a fork, and made anew when it is next wanted.
"""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote
from weakref import WeakSet

from deferit.exceptions import OptionError, StoreUnavailable
from deferit.stores._sqlite_schema import MIGRATIONS

try:
    import fcntl
except ModuleNotFoundError:  # on Windows, where nobody can remove a file that is open
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

PATIENCE = 5.0
"""Seconds to wait for a lock that another process holds."""

APPLICATION_ID = 0x64667274
"""How `file` and we tell the database from others: "dfrt"."""

PAGE = 4096
"""Bytes of a page, of which a commit writes some ten, however little changed in each."""

STATEMENTS = 256
"""That a connection keeps prepared: five for each size of a group, and all others."""

LOG_SIZE = 16 * 2**20
"""Bytes to which the log is cut back after a large result has gone through it; SQLite itself lets it be for ever."""

_REASONS = {
    sqlite3.SQLITE_BUSY: f"another process has kept it locked for {PATIENCE:g} s",
    sqlite3.SQLITE_CANTOPEN: "the file cannot be opened; does its directory exist, and may this user write there?",
    sqlite3.SQLITE_CORRUPT: "the file is damaged; put a backup in its place, or move it away to begin a new one",
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_IOERR: "the file cannot be read or written",
    sqlite3.SQLITE_NOTADB: "the file is no SQLite database; move it away, or name another",
    sqlite3.SQLITE_READONLY: "the file cannot be written",
}

_FIRST_BYTE = 0xFF
"""Of an extended result code: the plain one (https://sqlite.org/rescode.html)."""


class DatabaseFile:
    """Names a database, and connects to it.

    Raises:
        OptionError: the URL cannot be read.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.path, self.synchronous = _parse(url)

    def problem(self) -> str | None:
        """Return why the file cannot be used, as far as can be seen without making or locking anything."""
        folder = self.path.parent
        if not (os.access(folder, os.F_OK) and folder.is_dir()):
            return f"there is no directory {folder}; make it, or name another"
        if not os.access(folder, os.W_OK | os.X_OK):
            return f"the directory {folder} cannot be written, where SQLite must keep its log; change its mode"
        return self._problem_of_file() if self.path.exists() else None

    def _problem_of_file(self) -> str | None:
        if self.path.is_dir():
            return f"{self.path} is a directory; name a file in it"
        if not os.access(self.path, os.R_OK | os.W_OK):
            return f"this user cannot read and write the file {self.path}; change its mode or owner"
        if not self._is_database():
            return f"the file {self.path} is no SQLite database; name another, or a new one"
        return None

    def _is_database(self) -> bool:
        uri = f"{self.path.as_uri()}?mode=ro&immutable=1"  # immutable: no locks, no log beside it
        try:
            with closing(sqlite3.connect(uri, uri=True)) as connection:
                connection.execute("PRAGMA schema_version")
        except sqlite3.DatabaseError as exc:
            return _code(exc) != sqlite3.SQLITE_NOTADB
        return True

    def identity(self) -> tuple[int, int] | None:
        """Return what tells the file from another in its place; None if there is none."""
        try:
            status = os.stat(self.path)  # noqa: PTH116  half the time of Path.stat, for each batch and each read
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def connect(self, *, read_only: bool = False) -> sqlite3.Connection:
        """Return a new connection to the file, which is made if it is not there.

        Raises:
            StoreUnavailable: with the reason.
        """
        try:
            self._make()
            self._mend_modes()
            connection = sqlite3.connect(
                self.path,
                timeout=PATIENCE,
                isolation_level=None,
                check_same_thread=False,
                cached_statements=STATEMENTS,
            )
            try:
                self._prepare(connection)
                connection.execute(f"PRAGMA query_only = {read_only}")
            except BaseException:
                connection.close()
                raise
        except (OSError, sqlite3.Error) as exc:
            raise StoreUnavailable(self.url, reason(exc)) from exc
        return connection

    def _make(self) -> None:
        with _making:
            if not self.path.exists():
                with _alone_in(self.path.parent), suppress(FileExistsError):
                    self._make_alone()

    def _make_alone(self) -> None:
        """Make the file, for its user only, and remove what is left of one that was here before."""
        if self.path.exists():
            return
        for suffix in ("-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
        os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))

    def _mend_modes(self) -> None:
        """Let the files beside it be written, if it can be: SQLite made them with the mode that it had then."""
        if not os.access(self.path, os.W_OK):
            return
        for suffix in ("-wal", "-shm"):
            beside = self.path.with_name(self.path.name + suffix)
            if beside.exists() and not os.access(beside, os.W_OK):
                with suppress(OSError):  # it is another user's
                    beside.chmod(0o600)

    def _prepare(self, connection: sqlite3.Connection) -> None:
        for _ in _attempts():
            try:
                return self._set_up(connection)
            except sqlite3.OperationalError as exc:
                if _code(exc) != sqlite3.SQLITE_BUSY:
                    raise
        return self._set_up(connection)

    def _set_up(self, connection: sqlite3.Connection) -> None:
        with Transaction(connection, "DEFERRED"):
            version = self._version(connection)  # before anything of another's file is changed
        connection.execute(f"PRAGMA page_size = {PAGE}")  # of a new file; an old one keeps its own
        (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise StoreUnavailable(
                self.url, "its file system cannot keep a write-ahead log; put it on a local disk"
            )
        connection.execute(f"PRAGMA synchronous = {self.synchronous}")
        connection.execute(f"PRAGMA journal_size_limit = {LOG_SIZE}")
        # Overwrites what is deleted where that costs nothing: not the pages of large bodies.
        connection.execute("PRAGMA secure_delete = FAST")
        if version < len(MIGRATIONS):
            self._migrate(connection)

    def _migrate(self, connection: sqlite3.Connection) -> None:
        with Transaction(connection, "IMMEDIATE"):
            for statements in MIGRATIONS[self._version(connection) :]:
                for statement in statements:
                    connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")

    def _version(self, connection: sqlite3.Connection) -> int:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if application != APPLICATION_ID and (version or tables):
            raise StoreUnavailable(
                self.url, "it is a database of something else; give deferit a file of its own"
            )
        if version > len(MIGRATIONS):
            known = len(MIGRATIONS)
            raise StoreUnavailable(
                self.url,
                f"a newer deferit made it (schema {version}, this one knows {known}); upgrade deferit",
            )
        return int(version)


class Transaction:
    """Commits when its block ends, rolls back when it is left by an exception."""

    def __init__(self, connection: sqlite3.Connection, kind: str) -> None:
        self._connection = connection
        self._begin = f"BEGIN {kind}"

    def __enter__(self) -> None:
        self._connection.execute(self._begin)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._connection.execute("COMMIT")
        elif self._connection.in_transaction:  # SQLite has rolled back itself after a full disk
            self._connection.execute("ROLLBACK")


class Line:
    """One connection to a file, for one thread at a time; made anew when the old one cannot be trusted.

    As a context manager it gives the connection to one thread, and turns SQLite's exceptions into `StoreUnavailable`.
    """

    def __init__(self, file: DatabaseFile, *, read_only: bool = False) -> None:
        self.generation = 0
        """Counts its connections."""
        self._file = file
        self._read_only = read_only
        self._lock = Lock()
        self._is_open = False
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        _lines.add(self)

    def open(self) -> None:
        """Connect; the block of a `with` may follow until `close`."""
        self._is_open = True
        with self:
            pass

    def close(self) -> None:
        """Disconnect, once whoever has the connection gives it back."""
        with self._lock:
            self._is_open = False
            self._drop()

    def renew(self) -> None:
        """Have the next one who uses it connect anew."""
        with self._lock:
            self._drop()

    def pause(self) -> None:
        """Disconnect, and keep everybody from connecting again until `resume`."""
        self._lock.acquire()
        self._drop()

    def resume(self) -> None:
        """Let others have the connection again, from the thread that paused it."""
        self._lock.release()

    def __enter__(self) -> sqlite3.Connection:
        self._lock.acquire()
        try:
            return self._usable()
        except BaseException:
            self._lock.release()
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if isinstance(exc, sqlite3.Error):
                self._drop()
                raise StoreUnavailable(self._file.url, reason(exc)) from exc
        finally:
            self._lock.release()

    def _usable(self) -> sqlite3.Connection:
        if self._connection is None:
            return self._connect()
        if self._file.identity() != self._identity:
            self._drop()
            raise StoreUnavailable(self._file.url, "its file was removed or replaced while in use")
        return self._connection

    def _connect(self) -> sqlite3.Connection:
        if not self._is_open:
            raise StoreUnavailable(self._file.url, "it is not open")
        self._connection = self._file.connect(read_only=self._read_only)
        self._identity = self._file.identity()
        self.generation += 1
        return self._connection

    def _drop(self) -> None:
        """Disconnect; SQLite itself leaves the log alone if the file is not its own any more."""
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None


def _attempts() -> Iterator[None]:
    """Let a loop try again every two milliseconds until `PATIENCE` is at its end."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        yield
        time.sleep(0.002)


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Keep other processes from making a file there; not for ever, for the lock may be somebody else's."""
    if fcntl is None:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        for _ in _attempts():
            with suppress(BlockingIOError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
        yield
    finally:
        os.close(descriptor)


def reason(exc: OSError | sqlite3.Error) -> str:
    """Return what went wrong, to somebody who can do something about it."""
    if isinstance(exc, OSError):
        return f"{exc.strerror}: {exc.filename}"
    text = _REASONS.get(_code(exc))
    return f"{text} (SQLite: {exc})" if text else str(exc)


def _code(exc: sqlite3.Error) -> int:
    return getattr(exc, "sqlite_errorcode", 0) & _FIRST_BYTE


def _parse(url: str) -> tuple[Path, str]:
    rest, _, query = url.removeprefix("sqlite://").partition("?")
    name = unquote(rest.removeprefix("/"))
    if not rest.startswith("/") or not name or name == ":memory:":
        raise OptionError(
            f"store={url!r} names no file; write 'sqlite:///jobs.db' (a file in this directory), "
            "'sqlite:////var/lib/app/jobs.db' (an absolute path) or 'memory://'"
        )
    return Path(name).resolve(), _synchronous(url, query)


def _synchronous(url: str, query: str) -> str:
    options = dict(parse_qsl(query, keep_blank_values=True))
    value = options.pop("synchronous", "full").lower()
    if options or value not in {"full", "normal"}:
        raise OptionError(
            f"store={url!r}: behind the '?' may stand 'synchronous=full' (what is committed outlives a power cut; "
            "the default) or 'synchronous=normal' (it outlives a crash of the process)"
        )
    return value


_making = Lock()
_forking = Lock()
_lines: WeakSet[Line] = WeakSet()
_paused: list[Line] = []


def _before_fork() -> None:
    _forking.acquire()
    _paused.extend(_lines)
    for line in _paused:
        line.pause()


def _after_fork() -> None:
    for line in _paused:
        line.resume()
    _paused.clear()
    _forking.release()


if hasattr(os, "register_at_fork"):  # not on Windows, which cannot fork
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork
    )
