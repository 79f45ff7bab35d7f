"""Requests that no well-meaning client sends, as Hypothesis makes them: by each field's grammar, and against it."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st
from tests.description.states import STATES

LONGEST = 65_536
"""Bytes of a field at the most."""

PIECES = (
    *("respond-async", "wait=", "return=minimal", "handling=lenient"),
    *("text/html", "application/json", "text/event-stream", "*/*", ";q=0.5", ";q=", "é/ü"),
    *('W/"1"', '"1"', '"', "W/", "bytes=", "0-", "-0", "-1", "1-0", "0-9,20-", "*"),
    *("Sun, 06 Nov 1994 08:49:37 GMT", "Thu, 01 Jan 0001 00:00:00 +2359", "Fri, 99 Foo"),
    *("https://shop.example", "http://[::1", "//", "javascript:", "example.com:99999", "%00"),
    *("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "00-", "ff-", "vendor=1"),
    *("chunked", "gzip", "100-continue", "identity", "bearer ", "session="),
    *("0", "1", "9" * 20, "9" * 5000, "-1", "1e9", "0x10", "²", "+1", "NaN"),
    *(",", ";", "=", " ", "\t", "\\", "'", "(", ")", "<", ">", "?", "&", "#", "/", "..", "@"),
    *("\x00", "\x7f", "\x80", "\xff", "\xc3\xa9", "\xed\xa0\x80", "\r", "\n", "\x0b"),
)
"""What fields are made of, and what has no place in them; in latin-1, as all texts here."""

FIELDS = (
    *("Prefer", "Idempotency-Key", "Accept", "Callback-URL", "Last-Event-ID", "Origin", "Host"),
    *("If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "If-Range", "Range"),
    *("traceparent", "tracestate", "Authorization", "Cookie", "Content-Type", "X-Visitor"),
    *("X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "Forwarded", "Content-Length"),
    *("Accept-Encoding", "Expect", "Connection", "Keep-Alive", "TE", "Trailer", "Upgrade"),
    *("Transfer-Encoding", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization"),
)
"""What the middleware reads, leaves out of a capture or keeps; that it reads no other is tested."""

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "get", "M-SEARCH")
RESOURCES = ("", "", "/result", "/result", "/events", "/cancel", "/nonsense", "//", "/\x00", "/é")
PATHS = ("/pages", "/say", "/patient", "/configured", "/configured/", "/jobs", "/jobs", "/jobs/")

MINDFUL = ("/say", "/patient", "/configured")
"""Handlers that raise if a body is not what they expect; that would be theirs."""


@dataclass(frozen=True)
class Value:
    """A text, perhaps many times; it is made when it is sent, so that a failure shows how and not what."""

    seed: str
    times: int = 1
    separator: str = ""

    def __str__(self) -> str:
        return self.separator.join(self.times * [self.seed])[:LONGEST]


@dataclass(frozen=True)
class Hostile:
    """A request; with a ``state`` it is for a job in that state, and ``path`` is what stands behind its id."""

    method: str
    state: str | None
    path: str
    query: Value
    headers: tuple[tuple[str, Value], ...]
    body: bytes
    length: str | None
    """The value of Content-Length, where it is not the body's."""


pieces = st.sampled_from(PIECES)
latin1 = st.text(st.characters(max_codepoint=255), max_size=40)
few = st.lists(pieces, min_size=1, max_size=3).map("".join)
values = st.one_of(
    st.builds(Value, st.lists(pieces | latin1, max_size=8).map("".join)),
    st.builds(Value, few, st.just(LONGEST)),
    st.builds(Value, few, st.just(10_000), st.just(", ")),
)
queries = st.one_of(
    st.just(Value("")),
    st.builds(Value, latin1),
    st.builds(
        Value,
        st.lists(
            st.sampled_from(
                (
                    "status=",
                    "limit=",
                    "cursor=",
                    "&",
                    "1",
                    "running",
                    "%",
                    "%ff",
                    "%00",
                    "job_" + 26 * "0",
                )
            ),
            max_size=8,
        ).map("".join),
    ),
    st.builds(Value, st.sampled_from(("&", "a=1&", "9", "limit=9")), st.just(10_000)),
)


paths = st.sampled_from(PATHS) | latin1.map(lambda rest: f"/{rest}")


def is_not_the_length(name: str) -> bool:
    """Whether a field may stand among the others: `Hostile` has the length for itself."""
    return name != "Content-Length"


@st.composite
def requests(draw: st.DrawFn) -> Hostile:
    """Return a request whose fields are those that are read, most of them badly written."""
    state = draw(st.none() | st.sampled_from(sorted(STATES)))
    path = draw(paths if state is None else st.sampled_from(RESOURCES))
    names = draw(st.lists(st.sampled_from(FIELDS).filter(is_not_the_length), max_size=6))
    return Hostile(
        method=draw(st.sampled_from(METHODS)),
        state=state,
        path=path,
        query=draw(queries),
        headers=tuple((name, draw(values)) for name in names),
        body=b"" if path.startswith(MINDFUL) else draw(st.binary(max_size=200)),
        length=draw(st.none() | few),
    )
