"""A client of applications in this process that hears an answer part by part, and may leave before its end."""

from __future__ import annotations

import json
import queue
import threading
from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import anyio
from tests.contract.stage import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

    from anyio.from_thread import BlockingPortal

Fields = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Asked:
    """A request as a client makes it."""

    method: str
    url: str
    headers: Fields = ()
    body: bytes = b""


@dataclass(frozen=True)
class Answer:
    """What a client got; ``raised`` is what the application raised besides, to its server."""

    status: int
    fields: Fields
    body: bytes = b""
    raised: BaseException | None = None

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key.lower() == name.lower()]

    def get(self, name: str) -> str | None:
        """Return the value of a field that must not stand there twice."""
        values = self.all(name)
        assert len(values) <= 1, values
        return values[0] if values else None

    def __getitem__(self, name: str) -> str:
        value = self.get(name)
        assert value is not None, f"no {name} in {self}"
        return value

    def __contains__(self, name: str) -> bool:
        return bool(self.all(name))

    def members(self, name: str) -> set[str]:
        """Return the members of a field that is a list."""
        return {member.strip() for value in self.all(name) for member in value.split(",")}

    @property
    def document(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.body)
        return document


class Exchange(ABC):
    """A request under way."""

    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        self._heard: queue.SimpleQueue[Answer | bytes | None] = queue.SimpleQueue()
        self._raised: BaseException | None = None

    @abstractmethod
    def leave(self) -> None:
        """Close the connection, as far as the web interface lets the application know."""

    @abstractmethod
    def over(self, patience: float = PATIENCE) -> bool:
        """Wait until the application has ended; whether it has."""

    def head(self) -> Answer:
        """Wait for status and header fields; raise what the application raised in their place."""
        head = self._heard.get(timeout=PATIENCE)
        if head is None:
            raise self._raised or AssertionError("ended without an answer")
        assert isinstance(head, Answer)
        return head

    def parts(self) -> Iterator[bytes]:
        """Wait for the parts of the body, after the head."""
        while (part := self._heard.get(timeout=PATIENCE)) is not None:
            assert isinstance(part, bytes)
            yield part

    def answer(self) -> Answer:
        """Wait for all of it."""
        head = self.head()
        return Answer(head.status, head.fields, b"".join(self.parts()), self._raised)

    def _ended(self, raised: BaseException | None) -> None:
        self._raised = raised
        self._heard.put(None)


class ASGIExchange(Exchange):
    """Asks as a server does: the request in one message, a disconnect when the client has left."""

    def __init__(self, portal: BlockingPortal, app: Any, asked: Asked, **scope: Any) -> None:
        super().__init__(asked)
        self._portal = portal
        self._app = app
        self._scope = scope
        self._messages = [{"type": "http.request", "body": asked.body, "more_body": False}]
        self._done = threading.Event()
        self._gone: anyio.Event
        self._future: Future[None]
        self._future, _ = portal.start_task(self._run)

    def leave(self) -> None:
        self._portal.call(self._set_gone)

    def cancel(self) -> None:
        """Cancel the task that answers, as some servers and middlewares do when the client has left."""
        self._future.cancel()

    def over(self, patience: float = PATIENCE) -> bool:
        return self._done.wait(patience)

    async def _run(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        self._gone = anyio.Event()  # of the loop's own kind
        task_status.started()
        raised: BaseException | None = None
        try:
            await self._app(self._whole_scope(), self._receive, self._send)
        except Exception as exc:  # noqa: BLE001  a server takes whatever comes
            raised = exc
        finally:
            self._done.set()
            self._ended(raised)

    async def _set_gone(self) -> None:
        self._gone.set()

    async def _receive(self) -> Any:
        if self._messages:
            return self._messages.pop()
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            fields = tuple((name.decode(), value.decode()) for name, value in message["headers"])
            self._heard.put(Answer(message["status"], fields))
        elif message.get("body"):
            self._heard.put(message["body"])

    def _whole_scope(self) -> dict[str, Any]:
        parts = urlsplit(self.asked.url)
        length = (("Content-Length", str(len(self.asked.body))),) if self.asked.body else ()
        headers = (("Host", parts.netloc), *self.asked.headers, *length)
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": self.asked.method,
            "scheme": parts.scheme,
            "path": unquote(parts.path),
            "raw_path": parts.path.encode(),
            "query_string": parts.query.encode(),
            "headers": [(name.lower().encode(), value.encode()) for name, value in headers],
            "client": ("203.0.113.7", 50000),
            "server": (parts.hostname, parts.port or 80),
            **self._scope,
        }


class WSGIExchange(Exchange):
    """Asks as a server does: in a thread, which notices that a client has left when it next writes."""

    def __init__(self, app: Any, asked: Asked, **environ: Any) -> None:
        super().__init__(asked)
        self._app = app
        self._environ = environ
        self._is_gone = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def leave(self) -> None:
        self._is_gone = True

    def over(self, patience: float = PATIENCE) -> bool:
        self._thread.join(patience)
        return not self._thread.is_alive()

    def _run(self) -> None:
        raised: BaseException | None = None
        try:
            body = self._app(self._whole_environ(), self._start_response)
            try:
                self._write(body)
            finally:
                with suppress(AttributeError):
                    body.close()
        except Exception as exc:  # noqa: BLE001  a server takes whatever comes
            raised = exc
        self._ended(raised)

    def _write(self, body: Any) -> None:
        for part in body:
            if self._is_gone:
                return
            if part:
                self._heard.put(part)

    def _start_response(self, status: str, headers: Any, _exc_info: Any = None, /) -> Any:
        self._heard.put(Answer(int(status[:3]), tuple(headers)))
        return self._heard.put

    def _whole_environ(self) -> dict[str, Any]:
        parts = urlsplit(self.asked.url)
        environ = {
            "REQUEST_METHOD": self.asked.method,
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote(parts.path, "latin-1"),
            "QUERY_STRING": parts.query,
            "SERVER_NAME": parts.hostname,
            "SERVER_PORT": str(parts.port or 80),
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "203.0.113.7",
            "HTTP_HOST": parts.netloc,
            "CONTENT_LENGTH": str(len(self.asked.body)),
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": parts.scheme,
            "wsgi.input": BytesIO(self.asked.body),
            "wsgi.errors": BytesIO(),
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        for name, value in self.asked.headers:
            key = name.upper().replace("-", "_")
            key = key if key == "CONTENT_TYPE" else f"HTTP_{key}"
            environ[key] = f"{environ[key]}, {value}" if key in environ else value
        return {**environ, **self._environ}
