"""Fuzzes the parsers with coverage as its guide (atheris): `make fuzz`; behind it seconds, and libFuzzer's own flags.

An input is a byte that chooses a parser, and latin-1 text for it. Whatever the text, a parser returns, or refuses with
the exception that it documents; nothing else may come out, and nothing may take long (libFuzzer's ``-timeout``).
"""

from __future__ import annotations

import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import atheris  # type: ignore[import-not-found,import-untyped,unused-ignore]  # pyright: ignore[reportMissingImports]  the extra fuzz has it

with atheris.instrument_imports(include=["deferit", "werkzeug"]):  # pyright: ignore[reportAttributeAccessIssue]
    from deferit._core import (
        flow,
        idempotency,
        listing,
        policy,
        preconditions,
        prefer,
        ranges,
        representations,
    )
    from deferit._core.allowed import AllowList, url_from
    from deferit._core.callback import CallbackNotAllowed, callback_from
    from deferit._core.http import Fields, Request, Response, is_host, merged
    from deferit._core.ids import is_id
    from deferit._core.layers import exposed, in_place_of
    from deferit._core.recorder import IllegalResponse, Recorder
    from deferit._records import decode_captured, decode_job
    from deferit.exceptions import OptionError, RecordDamaged

if TYPE_CHECKING:
    from collections.abc import Callable

ALLOWED = AllowList({})
ROUTES = policy.routes_from(["* /a/*/b/*", "* /{a}-{b}.{c}/d", "POST /*a*a*a*b", "* /e"])
SECONDS = 120


def asking(name: str, text: str) -> Request:
    """Return a GET with one field."""
    return Request("GET", "/", "", Fields([(name, text)]), {}, "https://shop.example")


def key(text: str) -> None:
    try:
        found = idempotency.client_key(asking("Idempotency-Key", text))
    except idempotency.InvalidKey:
        return
    assert found is None or 0 < len(found) <= idempotency.LONGEST_KEY


def preferences(text: str) -> None:
    found = prefer.parse(text.split("\n"))
    assert found.wait is None or 0 <= found.wait < 10**9


def accepts(text: str) -> None:
    representations.representation(asking("Accept", text))


def tags(text: str) -> None:
    preconditions.is_known('"1"', text)
    preconditions.has(asking("If-Modified-Since", text).headers, '"1"', 1e9)
    for name in ("If-Match", "If-Unmodified-Since"):
        preconditions.is_met(asking(name, text).headers, 'W/"1"', 1e9, weakly=True)


def bytes_range(text: str) -> None:
    whole = Response(200, (), b"0123456789")
    part = ranges.ranged(whole, asking("Range", text), '"1"')
    assert part.status in {200, 206, 416}
    assert part.status == 416 or len(part.body) <= 10  # type: ignore[arg-type]  # it is bytes


def list_query(text: str) -> None:
    for is_page in (False, True):
        with suppress(ValueError):
            listing._wish(text, is_page=is_page)


def callback(text: str) -> None:
    with suppress(CallbackNotAllowed):
        callback_from(asking("Callback-URL", text), ALLOWED, "https://shop.example/jobs")
    url = url_from(text)
    assert url is None or (0 < url.port < 65_536 and "@" not in url.host)


def paths(text: str) -> None:
    found = flow.target(text, "/jobs", has_list=True)
    assert found is None or found.job_id is None or is_id(found.job_id)


def hosts(text: str) -> None:
    assert not is_host(text) or not set(text) & set('<>"/?#@ \r\n\0')


def fields(text: str) -> None:
    name, _, value = text.partition(":")
    recorder = Recorder("https://shop.example/", 10)
    try:
        recorder.start(200, ((name, value), ("Location", value)))
    except IllegalResponse:
        return
    recorder.end()
    (result, _) = recorder.result()
    assert not any(set("\r\n\0") & set(value) for _, value in result.headers)


def layers(text: str) -> None:
    pairs = tuple((name, text) for name in ("Vary", "Link", "Access-Control-Expose-Headers"))
    merged(pairs, "vary", ("Prefer",))
    in_place_of(pairs, exposed(asking("Origin", text), Response(202, pairs)))


def routes(text: str) -> None:
    ROUTES.find("POST", text)
    with suppress(OptionError):
        policy.routes_from(text).find("POST", text)


def captured(text: str) -> None:
    with suppress(ValueError):
        decode_captured(text.encode("latin-1"))
    with suppress(RecordDamaged):
        decode_job(text.encode("latin-1"))


PARSERS: tuple[Callable[[str], None], ...] = (
    key,
    preferences,
    accepts,
    tags,
    bytes_range,
    list_query,
    callback,
    paths,
    hosts,
    fields,
    layers,
    routes,
    captured,
)

SEEDS = (
    *("key", '"a \\" key"', 'W/"1", "2"', 'respond-async, wait=10; foo="b,ar", return=minimal'),
    *("text/html;q=0.9, text/event-stream, */*;q=0.1", "bytes=0-1", "bytes=-5", "bytes=5-"),
    *("status=running&limit=5&cursor=job_" + 26 * "0", "https://[::1]:80/a/%2e%2e/b?c"),
    *("/jobs/job_" + 26 * "0" + "/result", "shop.example:443", "X-Part: a", "POST /a/*,GET /b/{c}"),
    *(
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "\x85\xa9interface\xa4asgi\xa5scope\x80\xa3url\xa0\xa4body\xc4\x00",
    ),
)


def one_input(data: bytes) -> None:
    if data:
        PARSERS[data[0] % len(PARSERS)](data[1:].decode("latin-1"))


def main() -> None:
    """Fuzz for so many seconds, from seeds for every parser."""
    seconds, *flags = sys.argv[1:] or [str(SECONDS)]
    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(SEEDS):
            for parser in range(len(PARSERS)):
                Path(corpus, f"{number}-{parser}").write_bytes(
                    bytes([parser]) + seed.encode("latin-1")
                )
        limits = [f"-max_total_time={seconds}", "-timeout=5", "-max_len=8192", "-rss_limit_mb=2048"]
        atheris.Setup([sys.argv[0], corpus, *limits, *flags], one_input)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
