"""The schema of a PostgreSQL server: how it is named, connected to and brought up to date."""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, urlencode

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from deferit.exceptions import OptionError, StoreUnavailable

if TYPE_CHECKING:
    from typing import Any, LiteralString, TypeAlias

    Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]

PATIENCE = 5
"""Seconds to wait for a lock that another process holds, and for a server that does not answer."""

OLDEST = 140_000
"""The first version of PostgreSQL that can do all that is asked for here: 14."""

MIGRATIONS: tuple[tuple[LiteralString, ...], ...] = (
    (
        # Ids are compared byte by byte ("C"), as everywhere else. A fifth of each page is left free, so that a report
        # of progress finds room beside what it replaces and touches no index.
        """
        CREATE TABLE jobs (
            id text COLLATE "C" NOT NULL PRIMARY KEY,
            application text COLLATE "C" NOT NULL,
            owner text COLLATE "C",
            key text COLLATE "C",
            status text COLLATE "C" NOT NULL,
            attempt integer NOT NULL,
            wake_at double precision NOT NULL,
            callback_at double precision,
            queue text COLLATE "C" NOT NULL,
            route text COLLATE "C" NOT NULL,
            turn bigint,
            record bytea NOT NULL,
            request bytea,
            body bytea
        ) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02)
        """,
        # Bodies are often compressed already, and are to be read fast.
        "ALTER TABLE jobs ALTER COLUMN request SET STORAGE EXTERNAL, ALTER COLUMN body SET STORAGE EXTERNAL",
        "CREATE INDEX ready ON jobs (application, queue, turn, id) WHERE turn IS NOT NULL",
        # Nobody is an owner too; and NULL cannot be looked up beside the names in one expression.
        """
        CREATE INDEX lanes ON jobs (application, queue, coalesce('=' || owner, ''), turn)
        WHERE turn IS NOT NULL
        """,
        """
        CREATE INDEX early ON jobs (application, wake_at, id)
        WHERE status = 'accepted' AND turn IS NULL
        """,
        "CREATE INDEX running ON jobs (application, queue) WHERE status = 'running'",
        "CREATE INDEX leases ON jobs (wake_at, id) WHERE status = 'running'",
        """
        CREATE INDEX finished ON jobs (wake_at, id)
        WHERE status IN ('succeeded', 'failed', 'canceled')
        """,
        """
        CREATE INDEX unfinished ON jobs (application, owner)
        WHERE owner IS NOT NULL AND status IN ('accepted', 'running')
        """,
        "CREATE INDEX callbacks ON jobs (application, callback_at, id) WHERE callback_at IS NOT NULL",
        "CREATE INDEX listed ON jobs (application, owner, id) WHERE owner IS NOT NULL",
        "CREATE UNIQUE INDEX keyed ON jobs (key) WHERE key IS NOT NULL",
        """
        CREATE TABLE pieces (
            job_id text COLLATE "C" NOT NULL,
            attempt integer NOT NULL,
            position integer NOT NULL,
            data bytea NOT NULL,
            PRIMARY KEY (job_id, attempt, position)
        )
        """,
        "ALTER TABLE pieces ALTER COLUMN data SET STORAGE EXTERNAL",
        "CREATE INDEX request_pieces ON pieces (job_id) WHERE attempt = 0",
        # One row a transaction, named by it: numbers of a sequence would become visible in another order than their
        # own, and who has read up to one of them would miss those before it that come late.
        """
        CREATE TABLE changes (
            transaction xid8 NOT NULL PRIMARY KEY DEFAULT pg_current_xact_id(),
            writer bigint NOT NULL,
            batch bigint NOT NULL,
            ids text[] NOT NULL
        )
        """,
        # Nobody changes a row, so that processes which observe the same route do not wait for each other.
        """
        CREATE TABLE durations (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            application text COLLATE "C" NOT NULL,
            route text COLLATE "C" NOT NULL,
            seconds double precision[] NOT NULL
        )
        """,
        "CREATE INDEX routes ON durations (application, route, id)",
    ),
    (
        "ALTER TABLE jobs ADD COLUMN offered_at double precision",
        "CREATE INDEX offered ON jobs (application, queue, offered_at, id) WHERE offered_at IS NOT NULL",
    ),
)
"""The statements that lead from each version of the schema to the next; from an empty schema to version 1 first."""

_UNESCAPED = re.compile(
    r"""
    ://( [^/?]*@[^/?]*@                      # another @ in front of that before the host
    | [^/?@]*/[^?]*@                         # a / in front of it
    | [^/?@]*:[^/?@]*\?[^=&]*@               # a ? in front of it, behind which is no name of an option
    | [^/?@]*%(?![0-9A-Fa-f]{2})[^/?@]*@ )   # a % that escapes nothing
    """,
    re.VERBOSE,
)
"""A URL with a user or a password in which a character is not written as it has to be."""

_VERSION = "deferit_version"

_EXPLANATIONS = {
    "55P03": f"another process has kept a job locked for {PATIENCE} s",
    "53300": "it has no connection to spare; raise its max_connections, or use fewer processes",
    "53100": "its disk is full",
    "42501": "its user may not do this; make it the owner of the schema, or let it create one in the database",
    "25006": "it is read-only, as a standby is; name the primary",
}
"""What to say of an SQLSTATE, where the server's own words leave somebody alone."""

_UNCODED = {
    "53300": r"too many (clients|connections)|connection slots are reserved",
    "25006": r"session is read-only",
}
"""What is said of a connection that does not come about has no SQLSTATE: by these words it is known."""

_SETTINGS: tuple[LiteralString, ...] = (
    # In another one a transaction sees nothing of what was committed while it waited for a lock.
    "SET default_transaction_isolation = 'read committed'",
    # A frozen process must not keep others from its jobs.
    "SET idle_in_transaction_session_timeout = '10s'",
    "SET lock_timeout = '5s'",  # PATIENCE
    "SET statement_timeout = '60s'",
    # Neither must one whose machine has vanished: in the middle of what is sent no other limit counts.
    "SET tcp_keepalives_idle = 10",
    "SET tcp_keepalives_interval = 3",
    "SET tcp_keepalives_count = 3",
    "SET tcp_user_timeout = '20s'",
    # Each statement has an index made for it, whatever is known of a table that was empty a moment ago.
    "SET enable_seqscan = off",
    "SET plan_cache_mode = force_generic_plan",
    "SET jit = off",
)


class Server:
    """Names a schema in a database, and connects to it.

    Raises:
        OptionError: the URL cannot be read.
    """

    def __init__(self, url: str) -> None:
        self.url = _without_secrets(url)
        self.schema, self._conninfo = self._parse(url)
        self.channel = f"deferit_{self.schema}"

    def _parse(self, url: str) -> tuple[str, str]:
        # libpq would quote it, or take a part of it for a host or a database.
        if _UNESCAPED.search(url):
            raise OptionError(
                f"store='{url.partition(':')[0]}://...': its user or password has one of %, /, ? and @, which are "
                "written %25, %2F, %3F and %40 there"
            )
        where, _, query = url.partition("?")
        options = dict(parse_qsl(query, keep_blank_values=True))
        schema = options.pop("schema", "deferit")
        if not re.fullmatch(r"(?!pg_)[a-z_][a-z0-9_]{0,50}", schema):
            raise OptionError(
                f"store={self.url!r}: schema={schema!r} is no name; write small letters, digits and underscores"
            )
        rest = f"{where}?{urlencode(options, quote_via=quote)}"
        try:
            conninfo = make_conninfo(
                rest,
                **{name: value for name, value in _DEFAULTS.items() if name not in options},
            )
        except psycopg.Error as exc:
            raise OptionError(
                f"store={self.url!r} cannot be read ({reason(exc)}); write "
                "'postgresql://user:password@host/database', with '?schema=name' behind it if you like"
            ) from None
        return schema, conninfo

    def connect(self) -> Connection:
        """Return a new connection, in autocommit mode; the schema is made if it is not there.

        Raises:
            StoreUnavailable: with the reason.
        """
        try:
            connection = psycopg.connect(self._conninfo, autocommit=True, prepare_threshold=0)
            try:
                self._prepare(connection)
            except BaseException:
                connection.close()
                raise
        except psycopg.Error as exc:
            raise StoreUnavailable(self.url, reason(exc)) from exc
        return connection

    def lock(self, *names: str | None) -> int:
        """Return the number of an advisory lock of this schema."""
        text = repr((self.schema, *names)).encode("utf-8", "surrogatepass")
        return int.from_bytes(blake2b(text, digest_size=8).digest(), signed=True)

    def _prepare(self, connection: Connection) -> None:
        self._check(connection.info)
        settings = sql.SQL("; ").join(map(sql.SQL, _SETTINGS))
        path = sql.SQL("; SET search_path = {}").format(sql.Identifier(self.schema))
        connection.execute(settings + path, prepare=False)
        if self._version(connection) < len(MIGRATIONS):
            self._migrate(connection)

    def _check(self, info: psycopg.ConnectionInfo) -> None:
        if info.server_version < OLDEST:
            found = info.parameter_status("server_version")
            raise StoreUnavailable(
                self.url, f"it is PostgreSQL {found}; deferit needs {OLDEST // 10_000} or newer"
            )
        encoding = info.parameter_status("server_encoding") or "UTF8"  # a pooler may not tell
        if encoding not in {"UTF8", "SQL_ASCII"}:
            raise StoreUnavailable(
                self.url,
                f"its database has the encoding {encoding}, which has not all characters; give deferit one in UTF8",
            )

    def _version(self, connection: Connection) -> int:
        """Return the version of the schema, 0 if there is none.

        Raises:
            StoreUnavailable: it is of something else, or of a newer deferit.
        """
        tables = {name for (name,) in connection.execute(_TABLES, (self.schema,))}
        if _VERSION not in tables:
            if tables:
                raise StoreUnavailable(
                    self.url,
                    f"the schema {self.schema} has tables of something else; give deferit a schema of its own "
                    "(?schema=name)",
                )
            return 0
        # By its full name: a user who may not use the schema is told that, and not that there is no such table.
        table = sql.Identifier(self.schema, _VERSION)
        found = connection.execute(sql.SQL("SELECT version FROM {}").format(table)).fetchone()
        version = int(found[0]) if found else 0
        if version > len(MIGRATIONS):
            raise StoreUnavailable(
                self.url,
                f"a newer deferit made it (schema {version}, this one knows {len(MIGRATIONS)}); upgrade deferit",
            )
        return version

    def _migrate(self, connection: Connection) -> None:
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (self.lock("migrate"),))
            connection.execute("SET LOCAL statement_timeout = 0")  # a new index of millions of jobs
            version = self._version(connection)
            if not connection.execute(_HAS_SCHEMA, (self.schema,)).fetchone():
                connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(self.schema)))
            for statements in MIGRATIONS[version:]:
                for statement in statements:
                    connection.execute(statement)
            if version == 0:
                connection.execute("CREATE TABLE deferit_version (version integer NOT NULL)")
                connection.execute("INSERT INTO deferit_version VALUES (0)")
            connection.execute("UPDATE deferit_version SET version = %s", (len(MIGRATIONS),))


_TABLES = "SELECT tablename::text FROM pg_catalog.pg_tables WHERE schemaname = %s"
_HAS_SCHEMA = "SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = %s"

_DEFAULTS = {
    "fallback_application_name": "deferit",
    "client_encoding": "utf8",
    "connect_timeout": str(PATIENCE),
    # Of several hosts, the one that is no standby: what that shows of the jobs is of a while ago.
    "target_session_attrs": "read-write",
    # A server that has vanished, with its machine or behind a firewall, is given up after about twenty seconds, as a
    # client is there (_SETTINGS).
    "keepalives_idle": "10",
    "keepalives_interval": "3",
    "keepalives_count": "3",
    "tcp_user_timeout": "20000",
}


def reason(exc: psycopg.Error) -> str:
    """Return what went wrong, on one line, to somebody who can do something about it."""
    said = exc.diag.message_primary or str(exc)
    text = " ".join(said.split())
    uncoded = (state for state, words in _UNCODED.items() if re.search(words, text))
    explained = _EXPLANATIONS.get(exc.sqlstate or next(uncoded, ""))
    return f"{explained} (PostgreSQL: {text})" if explained else text


def _without_secrets(url: str) -> str:
    """Return a URL with stars for what nobody must read in a log."""
    where, question, query = url.partition("?")
    where = re.sub(r"(?<=://)([^:@/]*):.*@", r"\1:***@", where)
    return where + question + re.sub(r"(password=)[^&]*", r"\1***", query)
