"""Gathers what is so about an application and its surroundings, without starting anything of it."""

from __future__ import annotations

import importlib
import re
import shlex
import sys
import time
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from deferit._core.queries import List
from deferit.cli.doctor.checks import Facts, Marked, StoreFacts
from deferit.cli.doctor.layers import (
    described,
    has_handlers,
    marked_in,
    name_of,
    options_of,
    stack,
)
from deferit.exceptions import OptionError, StoreUnavailable
from deferit.options import PREFIX, Options
from deferit.stores._sqlite_file import DatabaseFile
from deferit.stores.sqlite import SQLiteStore

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from deferit._core.job import Job
    from deferit.stores.base import Store

PROXY_LAYERS = frozenset({"ProxyFix", "ProxyHeadersMiddleware"})

PROXY_SIGNS = (
    "DYNO",
    "FORWARDED_ALLOW_IPS",
    "KUBERNETES_SERVICE_HOST",
    "SCRIPT_NAME",
    "UVICORN_ROOT_PATH",
    "VIRTUAL_HOST",
)
"""Variables that are set where a proxy is in front: by platforms, or for servers that are to trust one."""

ANY_METHOD = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})


def load(name: str) -> Any:
    """Return the application that ``module:attribute`` names, looked for in the current directory too.

    A pair of parentheses at the end calls a factory, as gunicorn has it.

    Raises:
        OptionError: it cannot be imported.
    """
    module, separator, attribute = name.partition(":")
    if not separator or not module or not attribute:
        raise OptionError(
            f"{name!r} names no application; write 'package.module:app', or 'module:create_app()'"
        )
    sys.path.insert(0, str(Path.cwd()))
    try:
        found: Any = importlib.import_module(module)
        for part in attribute.removesuffix("()").split("."):
            found = getattr(found, part)
        return found() if attribute.endswith("()") else found
    except Exception as exc:
        words = f"{type(exc).__name__}: {exc}"
        raise OptionError(
            f"{name} cannot be imported ({words}); run this where the application runs"
        ) from exc


def facts_about(app: Any, environ: Mapping[str, str]) -> Facts:
    """Return what is so."""
    layers = list(stack(app))
    found = options_of(layers, environ)
    configured = [*_configured(found[0])] if found else []
    return Facts(
        middlewares=len(found),
        marked=(*marked_in(layers), *configured),
        store=store_facts(found[0].store, found[0].application) if found else None,
        base_url=found[0].base_url if found else None,
        workers=workers(environ, Path.cwd()),
        proxy=next((f"{name} is set" for name in PROXY_SIGNS if environ.get(name)), None),
        trusts_proxy=any(name_of(layer) in PROXY_LAYERS for layer in layers),
        is_readable=any(map(has_handlers, layers)),
        ignored=ignored(environ),
        now=time.time(),
    )


def ignored(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the variables of deferit's that no option has."""
    known = {f"{PREFIX}{option.name.upper()}" for option in fields(Options)}
    return tuple(sorted(name for name in environ if name.startswith(PREFIX) and name not in known))


def _configured(options: Options) -> Iterator[Marked]:
    for route in options.routes:
        yield replace(described(route.mark, route.methods or ANY_METHOD), name=route.label)


def store_facts(store: Store, application: str) -> StoreFacts:
    """Return what is so about a store; one that is not there yet is not made."""
    if not store.is_shared:
        return StoreFacts(url=store.url, is_shared=False)
    path, is_synchronous = _file_of(store)
    try:
        store.check()
        newest = _newest(store, application) if path is None or path.exists() else None
    except (OptionError, StoreUnavailable) as exc:
        return StoreFacts(url=store.url, error=str(exc))
    return StoreFacts(
        url=store.url,
        is_synchronous=is_synchronous,
        mode=path.stat().st_mode & 0o777 if path and path.exists() else None,
        disk=_disk(path) if path else None,
        newest=newest,
    )


def _file_of(store: Store) -> tuple[Path | None, bool]:
    if not isinstance(store, SQLiteStore):
        return None, True
    file = DatabaseFile(store.url)
    return file.path, file.synchronous.upper() != "NORMAL"


def _newest(store: Store, application: str) -> float | None:
    """Return when the newest job was made."""
    store.open()
    try:
        found = [
            job.created_at
            for interface in ("asgi", "wsgi")
            for job in cast(
                "tuple[Job, ...]",
                store.read(List(f"{interface}:{application}", None, None, 1, None)),
            )
        ]
    finally:
        store.close()
    return max(found, default=None)


def _disk(path: Path) -> str | None:
    """Return the type of the file system that a file is on, where the system tells it (Linux)."""
    try:
        mounts = Path("/proc/mounts").read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return None
    found = [line.split() for line in mounts]
    inside = [
        (len(mount[1]), mount[2])
        for mount in found
        if path.resolve().is_relative_to(mount[1].replace("\\040", " "))
    ]
    return max(inside, default=(0, None))[1]


def workers(environ: Mapping[str, str], folder: Path) -> tuple[str, int] | None:
    """Return how many processes the server is going to have, and who says so; None if nobody does."""
    for name in ("WEB_CONCURRENCY", "UVICORN_WORKERS"):
        if environ.get(name, "").isdigit():
            return name, int(environ[name])
    arguments = shlex.split(environ.get("GUNICORN_CMD_ARGS", ""))
    found = re.search(r"(?:^| )(?:-w|--workers)[ =]?(\d+)", " ".join(arguments))
    if found:
        return "GUNICORN_CMD_ARGS", int(found[1])
    config = folder / "gunicorn.conf.py"
    text = config.read_text("utf-8", errors="replace") if config.exists() else ""
    found = re.search(r"^workers\s*=\s*(\d+)", text, re.MULTILINE)
    return ("gunicorn.conf.py", int(found[1])) if found else None
