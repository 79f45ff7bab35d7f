"""The server of a `RedisStore`: how it is named, how it is connected to, and whether it can be relied on.

That may be a cluster as well as a single server; it says so itself.
"""

from __future__ import annotations

import logging
import re
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias
from urllib.parse import parse_qsl, urlencode, urlsplit

from deferit.exceptions import OptionError, StoreUnavailable

try:
    from redis import ConnectionPool, Redis, RedisCluster
    from redis import exceptions as errors
    from redis.backoff import ExponentialBackoff, NoBackoff
    from redis.retry import Retry
except ModuleNotFoundError as exc:
    raise OptionError('RedisStore needs the extra: pip install "deferit[redis]"') from exc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from urllib.parse import SplitResult

    from redis.cluster import ClusterNode

    from deferit.stores._redis.scripts import Script

Argument: TypeAlias = str | bytes | int | float
Client: TypeAlias = Redis | RedisCluster

PATIENCE = 5.0
"""Seconds to wait for an answer."""

HASTE = 0.25
"""Seconds to wait for an answer that makes nothing but an end come sooner."""

MOST_CONNECTIONS = 10_000
"""As many as a process may have threads, each of which uses one at most; redis-py would refuse the 101st."""

OLDEST = (6, 2)
"""The version of Redis that has all commands which are used."""

HOLDS_SCRIPTS_BACK = (7, 0)
"""The version from which on scripts too are refused if too few replicas follow (redis/redis#10160)."""

_OPTIONS: dict[str, Any] = {
    "socket_timeout": PATIENCE,
    "socket_connect_timeout": PATIENCE,
    "max_connections": MOST_CONNECTIONS,
}

PREFIX = re.compile(r"[A-Za-z0-9_.-]{1,64}")

TLS_OPTIONS = {"ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname"}

EXAMPLES = "'redis://localhost:6379/0', 'rediss://user:password@host:6380/0?prefix=shop' or 'unix:///run/redis.sock'"

logger = logging.getLogger("deferit")


class RedisServer:
    """Names a server or a cluster, and connects to it.

    Raises:
        OptionError: the URL cannot be read.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        self.url = _without_secrets(parts, options)
        self.prefix = options.pop("prefix", "deferit")
        if problem := _problem(parts, options, self.prefix):
            raise OptionError(f"store={self.url!r}: {problem}")
        self._target = _url(parts, parts.netloc, options)

    def connect(self) -> Connected:
        """Connect to the server, or to the whole cluster if it is a part of one.

        Raises:
            StoreUnavailable: with the reason.
        """
        with self.speaking():
            client = self._client()
            ask: Callable[..., Any] = client.execute_command
            about = _info(ask)
            self._check(about, _fsync(ask))
            if not about.get("cluster_enabled"):
                return Connected(self, client)
            client.close()
            return Connected(self, self._cluster())

    def _client(self) -> Redis:
        return Redis.from_url(self._target, retry=_retry(3), **_OPTIONS)

    def _cluster(self) -> RedisCluster:
        return RedisCluster.from_url(self._target, retry=_retry(5), **_OPTIONS)

    @contextmanager
    def speaking(self) -> Iterator[None]:
        """Turn what goes wrong with the server into `StoreUnavailable`."""
        try:
            yield
        except (errors.RedisError, errors.RedisClusterException, OSError) as exc:
            raise unavailable(self.url, exc) from exc

    def _check(self, about: Mapping[str, Any], fsync: str | None) -> None:
        """Refuse a server that would lose jobs by itself; say once what others risk."""
        if _version(about) < OLDEST:
            found = about["redis_version"]
            raise StoreUnavailable(self.url, f"Redis 6.2 or newer is needed, this is {found}")
        policy = str(about.get("maxmemory_policy", "noeviction"))
        if policy.startswith("allkeys"):
            raise StoreUnavailable(
                self.url,
                f"the server deletes any key when its memory is full (maxmemory-policy {policy}), so jobs too; "
                "set maxmemory-policy to noeviction",
            )
        for risk in _risks(about, fsync):
            logger.warning("the store %s: %s", self.url, risk)


class Connected:
    """A server or a cluster that is connected to, for any number of threads; what goes wrong is `StoreUnavailable`."""

    def __init__(self, server: RedisServer, client: Client) -> None:
        self._server = server
        self._client = client
        self._execute: Callable[..., Any] = client.execute_command

    def ask(self, *command: Argument) -> Any:
        """Execute one command."""
        with self._speaking():
            return self._execute(*command)

    def ask_all(
        self, commands: Iterable[Sequence[Argument]], *, at_once: bool = False
    ) -> list[Any]:
        """Execute commands in one round trip to each server that they concern.

        ``at_once`` is for keys with the same hash tag: no other command comes in between.
        """
        pipeline = self._client.pipeline(transaction=at_once)
        for command in commands:
            pipeline.execute_command(*command)
        with self._speaking():
            return pipeline.execute()

    def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument]) -> Any:
        """Run a script, which is sent only if the server has not seen it yet."""
        with self._speaking():
            try:
                return self._execute("EVALSHA", script.sha, len(keys), *keys, *arguments)
            except errors.NoScriptError:
                return self._execute("EVAL", script.text, len(keys), *keys, *arguments)

    def line(self, key: str) -> Line:
        """Return a connection for one thread alone, to the server that has a key."""
        with self._server.speaking():
            return Line(self._server, self._holder(key))

    def unblock(self, key: str, connection_id: int) -> None:
        """Let a connection wait no longer for the server that has a key; a server that hangs is not waited for."""
        with suppress(errors.RedisError, errors.RedisClusterException, OSError):
            pool = self._holder(key).connection_pool
            hasty = {
                "retry": Retry(NoBackoff(), 0),
                "socket_timeout": HASTE,
                "socket_connect_timeout": HASTE,
            }
            arguments: dict[str, Any] = pool.connection_kwargs | hasty
            with ConnectionPool(pool.connection_class, **arguments) as own:
                unblock: Callable[..., Any] = Redis(connection_pool=own).client_unblock
                unblock(connection_id)

    def close(self) -> None:
        """Disconnect."""
        self._client.close()

    @contextmanager
    def _speaking(self) -> Iterator[None]:
        """Turn what goes wrong into `StoreUnavailable`; leave a server that is no primary any more.

        After a failover its name may be another server's, but connections that are open stay where they are.
        """
        try:
            with self._server.speaking():
                yield
        except NotPrimary:
            if isinstance(self._client, Redis):  # a cluster says itself where to go
                self._client.connection_pool.disconnect(inuse_connections=False)
            raise

    def _holder(self, key: str) -> Redis:
        client = self._client
        if isinstance(client, Redis):
            return client
        find: Callable[[str], ClusterNode | None] = client.get_node_from_key
        node = find(key)
        assert node is not None  # None is for replicas
        return client.get_redis_connection(node)


class Line:
    """One connection, called with a command."""

    def __init__(self, server: RedisServer, client: Redis) -> None:
        self._server = server
        pool = client.connection_pool
        self._client = Redis(connection_pool=pool, single_connection_client=True)
        self._execute: Callable[..., Any] = self._client.execute_command

    def __call__(self, *command: Argument) -> Any:
        with self._server.speaking():
            return self._execute(*command)

    def close(self) -> None:
        """Give the connection back."""
        self._client.close()


def _problem(parts: SplitResult, options: Mapping[str, str], prefix: str) -> str | None:
    if not (parts.path.strip("/") if parts.scheme == "unix" else parts.hostname):
        return f"it names no server; write {EXAMPLES}"
    if not PREFIX.fullmatch(prefix):
        return f"prefix={prefix!r} must be 1 to 64 letters, digits, '_', '.' or '-'"
    known = {"prefix", *(("db",) if parts.scheme == "unix" else ())}
    known |= TLS_OPTIONS if parts.scheme == "rediss" else set()
    if unknown := sorted(options.keys() - known):
        return f"{unknown[0]!r} is not known behind the '?'; known are {', '.join(sorted(known))}"
    return _problem_of_numbers(parts, options)


def _problem_of_numbers(parts: SplitResult, options: Mapping[str, str]) -> str | None:
    database = options.get("db", "") if parts.scheme == "unix" else parts.path.strip("/")
    if database and not database.isdecimal():
        return f"the database {database!r} is not a number"
    try:
        _ = parts.port
    except ValueError:
        return "the port is not a number from 0 to 65535"
    return None


def _without_secrets(parts: SplitResult, options: Mapping[str, str]) -> str:
    shown = {name: options[name] for name in ("db", "prefix") if name in options}
    return _url(parts, parts.netloc.rpartition("@")[2], shown)


def _url(parts: SplitResult, netloc: str, options: Mapping[str, str]) -> str:
    query = f"?{urlencode(options)}" if options else ""
    return f"{parts.scheme}://{netloc}{parts.path}{query}"


def _retry(retries: int) -> Retry:
    return Retry(ExponentialBackoff(cap=0.2, base=0.02), retries)


def _info(ask: Callable[..., Any]) -> dict[str, Any]:
    """Return what the server says of itself; nothing, if this user may not ask."""
    try:
        about: dict[str, Any] = ask("INFO")
    except errors.NoPermissionError:
        return {}
    return about


def _fsync(ask: Callable[..., Any]) -> str | None:
    """Return when the server syncs its log to the disk, None if it does not tell."""
    try:
        answer: dict[bytes, bytes] = ask("CONFIG", "GET", "appendfsync")
    except errors.ResponseError:
        return None
    return answer.get(b"appendfsync", b"").decode()


def _version(about: Mapping[str, Any]) -> tuple[int, ...]:
    version = about.get("redis_version")
    return tuple(map(int, str(version).split(".")[:2])) if version else OLDEST


def _risks(about: Mapping[str, Any], fsync: str | None) -> Iterator[str]:
    if about and not about.get("aof_enabled"):
        yield (
            "the server keeps no log of what is written (appendonly no): when it stops, jobs that were accepted since "
            "its last snapshot are lost; set appendonly to yes and appendfsync to always"
        )
    elif fsync in {"everysec", "no"}:
        span = "a second" if fsync == "everysec" else "half a minute"
        yield (
            f"the server syncs its log late (appendfsync {fsync}): a power cut loses up to {span} of accepted jobs; "
            "set appendfsync to always if it must not"
        )
    if "min_slaves_good_slaves" in about and _version(about) < HOLDS_SCRIPTS_BACK:
        yield (
            f"Redis {about['redis_version']} does not hold scripts to min-replicas-to-write, so jobs are accepted "
            "though no replica follows; upgrade to Redis 7 or newer"
        )


class ServerFull(StoreUnavailable):
    """The server has no memory for what it was to write, and has written nothing."""


class NotPrimary(StoreUnavailable):
    """The server is a replica, or has become one."""


class NoAnswer(StoreUnavailable):
    """The server has not said whether it has done what it was asked, or cannot be asked."""


NO_ANSWER = (errors.ConnectionError, errors.TimeoutError, errors.RedisClusterException, OSError)


def unavailable(url: str, exc: Exception) -> StoreUnavailable:
    """Return what went wrong, as told to somebody who can do something about it."""
    # In front of this redis-py quotes the command, and with it what belongs to a client.
    text = str(exc.__cause__ or exc).rpartition(" of pipeline caused error: ")[2]
    text = text or type(exc).__name__
    for sign in _SIGNS:
        if isinstance(exc, sign.kind) or sign.word in text:
            return sign.means(url, f"{sign.advice} (Redis: {text})")
    return (NoAnswer if isinstance(exc, NO_ANSWER) else StoreUnavailable)(url, text)


class Sign(NamedTuple):
    """How something that is wrong is recognized: by its type, or where a script has met it by a word; what to do."""

    kind: type[Exception] | tuple[()]
    word: str
    advice: str
    means: type[StoreUnavailable] = StoreUnavailable


# The first that fits: an AuthenticationError is a ConnectionError.
_SIGNS = (
    Sign(
        errors.AuthenticationError, "NOAUTH ", "the server does not accept this user and password"
    ),
    Sign(errors.BusyLoadingError, "LOADING ", "the server is still reading its data", NoAnswer),
    Sign(errors.ClusterDownError, "CLUSTERDOWN ", "the cluster is not complete", NoAnswer),
    Sign(
        errors.OutOfMemoryError,
        "OOM ",
        "the server's memory is full; raise maxmemory, or shorten the option retention",
        ServerFull,
    ),
    Sign(
        errors.ReadOnlyError,
        "READONLY ",
        "this server is a replica; name the primary",
        NotPrimary,
    ),
    Sign(errors.NoPermissionError, "NOPERM ", "this user may not do all that the store does"),
    Sign((), "TTL exhausted", "the cluster is just moving this store to another node"),
    Sign((), "MISCONF ", "the server cannot write to its disk"),
    Sign((), "NOREPLICAS ", "too few replicas are connected (min-replicas-to-write)"),
)
