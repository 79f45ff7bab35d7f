"""A program that follows a job until Ctrl-C comes; what it says tells when, and what came of it."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

import httpx

from deferit.client import AsyncFollowTransport, FollowTransport, follow

if TYPE_CHECKING:
    from collections.abc import Callable


def tell(document: dict[str, Any]) -> None:
    print(document["monitorUrl"], document["status"], flush=True)  # noqa: T201


def blocking(url: str, *, cancel: bool) -> None:
    with httpx.Client(transport=FollowTransport(on_status=tell, cancel=cancel)) as client:
        client.post(url, content="never")


def awaiting(url: str, *, cancel: bool) -> None:
    async def send() -> None:
        transport = AsyncFollowTransport(on_status=tell, cancel=cancel)
        async with httpx.AsyncClient(transport=transport) as client:
            await client.post(url, content="never")

    asyncio.run(send())


def iterating(url: str, *, cancel: bool) -> None:
    with httpx.Client() as client:
        for document in follow(client.post(url, content="never"), client, cancel=cancel):
            tell(document)


WAYS: dict[str, Callable[..., None]] = {
    "blocking": blocking,
    "awaiting": awaiting,
    "iterating": iterating,
}

if __name__ == "__main__":
    way, url, cancel = sys.argv[1:]
    try:
        WAYS[way](url, cancel=cancel == "cancel")
    except KeyboardInterrupt:
        sys.exit(130)
