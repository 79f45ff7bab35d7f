"""Where jobs are kept: one module a store, all of them alternatives behind one contract."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deferit.exceptions import OptionError

if TYPE_CHECKING:
    from deferit.stores.base import Store


def store_from_url(url: str) -> Store:
    """Return the store that a URL names; nothing is opened yet.

    Raises:
        OptionError: no store has this scheme, or the rest cannot be read.
    """
    scheme, separator, _ = url.partition("://")
    if separator and scheme == "memory":
        from deferit.stores.memory import MemoryStore  # noqa: PLC0415  load only what is used

        return MemoryStore(url)
    if separator and scheme == "sqlite":
        from deferit.stores.sqlite import SQLiteStore  # noqa: PLC0415  load only what is used

        return SQLiteStore(url)
    if separator and scheme in {"postgresql", "postgres"}:
        from deferit.stores.postgres import PostgresStore  # noqa: PLC0415  load only what is used

        return PostgresStore(url)
    if separator and scheme in {"redis", "rediss", "unix"}:
        from deferit.stores.redis import RedisStore  # noqa: PLC0415  load only what is used

        return RedisStore(url)
    msg = (
        f"store={url!r} names no store that deferit has; write 'sqlite:///jobs.db' (a file in this directory), "
        "'sqlite:////var/lib/app/jobs.db' (an absolute path), 'postgresql://user:password@host/database', "
        "'redis://localhost:6379/0' or 'memory://'"
    )
    raise OptionError(msg)
