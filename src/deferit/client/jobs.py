"""Following one job that is there already: by the response that announced it, or by its monitor's URL."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

from deferit.client.exchange import AsyncExchange, Exchange, said_by
from deferit.client.flow import Report
from deferit.client.options import settings
from deferit.client.requests import any_library, library_of, may_be_accepted
from deferit.exceptions import OptionError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from typing import Unpack

    from deferit.client.flow import Following
    from deferit.client.monitors import Document
    from deferit.client.options import FollowOptions, Settings


def follow(job: Any, client: Any = None, **options: Unpack[FollowOptions]) -> Iterator[Document]:
    """Yield the status document of a job whenever there is a new one, to the one that says that it is finished.

    ``job`` is a response, or a monitor's URL. A response that is no 202 with a monitor has no documents. Ctrl-C cancels
    the job if it comes while the next document is waited for. The response itself is what `wait` returns.

    Args:
        job: the response of a ``Client`` of httpx or httpx2, or a URL.
        client: the client that polls; None: a new one, with the secrets of the response's request and no others.
        options: see `FollowOptions`.

    Raises:
        FollowTimeout: the job was not finished in time.
        MonitorLost: the monitor cannot be reached, or is none.
        OptionError: an option that cannot be used.
    """
    chosen = settings(options)
    with _followed(job, client, chosen, watch=True) as (exchange, following):
        if isinstance(job, str) or following.begins_with(said_by(job)):
            flow = following.run()
            while isinstance(found := exchange.advance(flow), Report):
                chosen.tell(found.document)
                yield found.document


async def afollow(
    job: Any, client: Any = None, **options: Unpack[FollowOptions]
) -> AsyncIterator[Document]:
    """Same as `follow`, but with an ``AsyncClient``, on asyncio or trio."""
    chosen = settings(options)
    async with _afollowed(job, client, chosen, watch=True) as (exchange, following):
        if isinstance(job, str) or following.begins_with(said_by(job)):
            flow = following.run()
            while isinstance(found := await exchange.advance(flow), Report):
                chosen.tell(found.document)
                yield found.document


def wait(
    job: Any, client: Any = None, *, stream: bool = False, **options: Unpack[FollowOptions]
) -> Any:
    """Wait until a job is finished; return the final response to the request that it was made for.

    ``job`` is a monitor's URL, as it was kept over a restart, or a response; one that is no 202 with a monitor is
    returned as it is.

    Args:
        job: a URL, or the response of a ``Client`` of httpx or httpx2.
        client: the client that polls and fetches; its secrets go to the origin of ``job`` only. None: a new one.
        stream: whether to return before the body is read; the caller closes the response. It takes a ``client``.
        options: see `FollowOptions`.

    Raises:
        JobFailed: the job has failed, and there is no response of its handler.
        JobWasCanceled: somebody has canceled the job.
        FollowTimeout: it was not finished in time.
        MonitorLost: the monitor or the result cannot be reached.
        OptionError: an option that cannot be used.
    """
    chosen = _checked(options, client, stream=stream)
    with _followed(job, client, chosen) as (exchange, following):
        if not isinstance(job, str) and not following.begins_with(said_by(job)):
            return job if stream else _read(job)
        answer = exchange.finish(following.whole(), chosen.tell)
        response = exchange.keep(answer, following)
        return response if stream else _read(response)


async def await_(
    job: Any, client: Any = None, *, stream: bool = False, **options: Unpack[FollowOptions]
) -> Any:
    """Same as `wait`, but with an ``AsyncClient``, on asyncio or trio; ``await`` is a word of the language."""
    chosen = _checked(options, client, stream=stream)
    async with _afollowed(job, client, chosen) as (exchange, following):
        if not isinstance(job, str) and not following.begins_with(said_by(job)):
            return job if stream else await _aread(job)
        answer = await exchange.finish(following.whole(), chosen.tell)
        response = exchange.keep(answer, following)
        return response if stream else await _aread(response)


@contextmanager
def _followed(
    job: Any, client: Any, chosen: Settings, *, watch: bool = False
) -> Iterator[tuple[Exchange, Following]]:
    with ExitStack() as stack:
        client = client or stack.enter_context(_library(job).Client())
        if may_be_accepted(job):
            job.read()
        original = _original(job, client)
        exchange = Exchange(original, _sender(client))
        following = chosen.following(original, time.monotonic(), watch=watch)
        with exchange.canceling(following, cancel=chosen.cancel):
            yield exchange, following


@asynccontextmanager
async def _afollowed(
    job: Any, client: Any, chosen: Settings, *, watch: bool = False
) -> AsyncIterator[tuple[AsyncExchange, Following]]:
    async with AsyncExitStack() as stack:
        client = client or await stack.enter_async_context(_library(job).AsyncClient())
        if may_be_accepted(job):
            await job.aread()
        original = _original(job, client)
        exchange = AsyncExchange(original, _sender(client))
        following = chosen.following(original, time.monotonic(), watch=watch)
        async with exchange.canceling(following, cancel=chosen.cancel):
            yield exchange, following


def _checked(options: FollowOptions, client: Any, *, stream: bool) -> Settings:
    if stream and client is None:
        raise OptionError(
            "stream=True needs a client that stays open while you read: wait(job, client, stream=True)"
        )
    return settings(options)


def _read(response: Any) -> Any:
    response.read()
    return response


async def _aread(response: Any) -> Any:
    await response.aread()
    return response


def _library(job: Any) -> Any:
    return any_library() if isinstance(job, str) else library_of(job)


def _original(job: Any, client: Any) -> Any:
    """Return the request whose origin may know the client's secrets."""
    return client.build_request("GET", job) if isinstance(job, str) else job.request


def _sender(client: Any) -> Callable[[Any, bool], Any]:
    def send(request: Any, is_own: bool) -> Any:  # noqa: FBT001  an exchange calls it
        secrets = {} if is_own else {"auth": None}
        return client.send(request, stream=True, follow_redirects=False, **secrets)

    return send
