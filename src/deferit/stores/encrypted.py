"""What any store keeps of requests and results, encrypted; needs the extra ``encrypt``."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from deferit._core.commands import Append, Claimed, Create, Finish, Placed
from deferit._core.http import Pairs
from deferit._core.job import Job
from deferit._core.queries import Load
from deferit._core.sealed import sealed, token_of
from deferit.exceptions import OptionError, StoreUnavailable
from deferit.stores.base import Store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography.fernet import MultiFernet

    from deferit._core.commands import Command
    from deferit._core.queries import Query

logger = logging.getLogger("deferit")


class EncryptedStore(Store):
    """Keeps in another store what it is given, requests and results encrypted and authenticated (Fernet).

    Sealed are a captured request with its body, and of a result the body, the header fields and the entity tag. The
    rest of a job stays legible, for the store has to find it: id, route, method, owner, times, what is reported.
    Each token is bound to its job and its place there, so that who can write into the store cannot give one job's
    result to another.

    Of several keys the first encrypts and all decrypt. What none of them opens is not lost: a result's head stays
    sealed and a piece of a body meets `StoreUnavailable` until the key is back. But a captured request comes out
    empty, so that its job fails.

    Raises:
        OptionError: a key that is none, or the extra is not installed.
    """

    def __init__(self, store: Store, keys: Sequence[str]) -> None:
        self.url = store.url
        self.reads_are_quick = store.reads_are_quick
        self.is_shared = store.is_shared
        self._store = store
        self._box = _Box(keys)

    def check(self) -> None:
        """Let the other store look."""
        self._store.check()

    def open(self) -> None:
        """Open the other store."""
        self._store.open()

    def close(self) -> None:
        """Let the other store go."""
        self._store.close()

    def version(self) -> int:
        """Return the other store's."""
        return self._store.version()

    def execute(self, batch: Sequence[Command]) -> list[object]:
        """Seal what goes in, open what comes out."""
        return [
            self._opened(answer)
            for answer in self._store.execute([self._sealed(command) for command in batch])
        ]

    def read(self, query: Query) -> object:
        """Open what the other store answers."""
        answer = self._store.read(query)
        if isinstance(query, Load):
            assert isinstance(answer, bytes)
            return self._piece(query, answer)
        return self._opened(answer)

    def get_all(self, job_ids: Sequence[str]) -> list[Job | Exception]:
        """Open the jobs that the other store finds."""
        return [
            self._opened_job(found) if isinstance(found, Job) else found
            for found in self._store.get_all(job_ids)
        ]

    def _sealed(self, command: Command) -> Command:
        match command:
            case Create(job, request):
                return replace(command, request=self._box.seal(request, _request(job)))
            case Append(job_id, attempt, index, data):
                return replace(command, data=self._box.seal(data, _place(job_id, attempt, index)))
            case Finish() if command.result is not None:
                return self._sealed_end(command)
            case _:
                return command

    def _sealed_end(self, finish: Finish) -> Finish:
        result = finish.result
        assert result is not None
        head = msgspec.msgpack.encode((result.headers, result.etag))
        token = self._box.seal(head, _head(finish.job_id)).decode()
        place = _place(finish.job_id, finish.attempt, result.chunks - 1)
        body = self._box.seal(finish.body, place) if result.chunks else b""
        return replace(finish, result=sealed(result, token), body=body)

    def _opened(self, answer: object) -> object:
        match answer:
            case Job():
                return self._opened_job(answer)
            case Placed():
                return replace(answer, job=self._opened_job(answer.job))
            case Claimed():
                return self._opened_request(answer)
            case tuple():
                return tuple(self._opened(item) for item in answer)
            case _:
                return answer

    def _opened_job(self, job: Job) -> Job:
        token = token_of(job.result)
        if token is None:
            return job
        head = self._box.open(token.encode(), _head(job.id))
        if head is None:
            return job
        assert job.result is not None
        headers, etag = _decode_head(head)
        return job.but(result=msgspec.structs.replace(job.result, headers=headers, etag=etag))

    def _opened_request(self, claimed: Claimed) -> Claimed:
        request = self._box.open(claimed.request, _request(claimed.job))
        if request is None:
            logger.error(_UNREADABLE_REQUEST, claimed.job.route, extra={"job_id": claimed.job.id})
        return replace(claimed, request=request or b"")

    def _piece(self, load: Load, data: bytes) -> bytes:
        piece = self._box.open(data, _place(load.job_id, load.attempt, load.index))
        if piece is None:
            logger.error("%s", _UNREADABLE_BODY, extra={"job_id": load.job_id})
            raise StoreUnavailable(self.url, _UNREADABLE_BODY)
        return piece


_UNREADABLE_REQUEST = (
    "%s: a job fails, as none of the keys that encrypt= names opens its captured request; "
    "keep old keys behind the new one until all jobs of their time have expired"
)
_UNREADABLE_BODY = (
    "none of the keys that encrypt= names opens a part of a body; "
    "put the one that sealed it behind the others"
)

_decode_head = msgspec.msgpack.Decoder(tuple[Pairs, str]).decode


def _request(job: Job) -> bytes:
    return f"{job.id} request".encode()


def _head(job_id: str) -> bytes:
    return f"{job_id} head".encode()


def _place(job_id: str, attempt: int, index: int) -> bytes:
    return f"{job_id} {attempt} {index}".encode()


class _Box:
    """Seals and opens; what is sealed for one place opens at no other."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._fernet = _fernet(keys)

    def seal(self, data: bytes, place: bytes) -> bytes:
        """Return a Fernet token of the place, a zero byte and the data."""
        return self._fernet.encrypt(b"%b\0%b" % (place, data))

    def open(self, token: bytes, place: bytes) -> bytes | None:
        """Return the data; None if no key fits, or it is of another place, or was tampered with."""
        from cryptography.fernet import InvalidToken  # noqa: PLC0415  it needs the extra

        try:
            content = self._fernet.decrypt(token)
        except InvalidToken:
            return None
        start = place + b"\0"
        return content[len(start) :] if content.startswith(start) else None


def _fernet(keys: Sequence[str]) -> MultiFernet:
    try:
        from cryptography.fernet import Fernet, MultiFernet  # noqa: PLC0415  it needs the extra
    except ModuleNotFoundError as exc:
        raise OptionError('encrypt= needs the extra: pip install "deferit[encrypt]"') from exc
    try:
        return MultiFernet([Fernet(key) for key in keys])
    except ValueError:
        raise OptionError(
            "encrypt= has a key that is none; write what cryptography.fernet.Fernet.generate_key() gives "
            "(32 bytes in URL-safe base64), or several with commas between: the first encrypts, all decrypt"
        ) from None  # the cause may quote the key
