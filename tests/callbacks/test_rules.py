"""What is decided without I/O: who may be called, at which address, how often."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import httpcore
import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from werkzeug.datastructures import Headers

from deferit._core.addresses import is_public
from deferit._core.allowed import LONGEST, AllowList, url_from
from deferit._core.callback import (
    DELAYS,
    MOST_ATTEMPTS,
    Callback,
    CallbackNotAllowed,
    callback_from,
    is_delivered,
    next_attempt,
)
from deferit._core.http import Request

if TYPE_CHECKING:
    from deferit._core.allowed import Url

HOOKS = "https://hooks.example.com/deferit/"


def url(text: str) -> Url:
    found = url_from(text)
    assert found is not None
    return found


def allows(text: str, *prefixes: str) -> bool:
    secrets = {url(prefix): ("secret",) for prefix in prefixes or (HOOKS,)}
    return AllowList(secrets).secrets(text) is not None


# --- the allow-list ---


@pytest.mark.parametrize(
    ("prefix", "text"),
    [
        (HOOKS, HOOKS),
        (HOOKS, HOOKS + "a/b"),
        (HOOKS, HOOKS + "?token=a/../b?&c=%20"),
        (HOOKS, "HTTPS://Hooks.Example.COM:443/deferit/x"),
        (HOOKS, HOOKS + "a@b:c"),
        (HOOKS, HOOKS + "...//..a/.b"),
        ("https://hooks.example.com", "https://hooks.example.com"),
        ("https://hooks.example.com", "https://hooks.example.com?a=1"),
        ("https://hooks.example.com/", "https://hooks.example.com"),
        ("https://hooks.example.com", "https://hooks.example.com/a"),
        ("https://hooks.example.com/a", "https://hooks.example.com/a"),
        ("https://hooks.example.com/a", "https://hooks.example.com/a/b"),
        ("http://my_service:8080", "http://my_service:8080/a"),
        ("http://[::1]:8080/", "http://[::1]:8080/a"),
    ],
)
def test_what_is_at_or_below_a_prefix_is_allowed(prefix: str, text: str) -> None:
    assert allows(text, prefix)


TRICKS = [
    "https://hooks.example.com.evil.example/deferit/",
    "https://hooks.example.com@evil.example/deferit/",
    "https://evil.example@hooks.example.com/deferit/",
    "https://user:password@hooks.example.com/deferit/",
    "https://evil.example/https://hooks.example.com/deferit/",
    "https://evil.example#@hooks.example.com/deferit/",
    "https://evil.example\\@hooks.example.com/deferit/",
    "https://hooks.example.com\\.evil.example/deferit/",
    "https:\\\\hooks.example.com\\deferit\\",
    "https:/hooks.example.com/deferit/",
    "//hooks.example.com/deferit/",
    "http://hooks.example.com/deferit/",
    "http://hooks.example.com:443/deferit/",
    "https://hooks.example.com:444/deferit/",
    "https://hooks.example.com:80/deferit/",
    "https://hooks.example.com:0/deferit/",
    "https://hooks.example.com:65979/deferit/",  # 443 in sixteen bits
    "https://hooks.example.com:/deferit/",
    "https://hooks.example.com./deferit/",
    "https://hooks\u3002example.com/deferit/",
    "https://hooks.example.com\uff0f@evil.example/deferit/",
    "https://hook\u017f.example.com/deferit/",
    "https://hooks.example.com/deferit",
    "https://hooks.example.com/deferit-evil/",
    "https://hooks.example.com/deferit/../admin",
    "https://hooks.example.com/deferit/./x",
    "https://hooks.example.com/deferit/%2e%2E/admin",
    "https://hooks.example.com/deferit/%252e%252e/admin",
    "https://hooks.example.com/deferit/..%2fadmin",
    "https://hooks.example.com/deferit/..%5cadmin",
    "https://hooks.example.com/deferit/..;/admin",
    "https://hooks.example.com/deferit/x/..",
    "https://hooks.example.com/deferit\\..\\admin",
    "https://hooks.example.com/deferit/#fragment",
    "https://hooks.example.com/deferit/%",
    "https://hooks.example.com/deferit/\r\nHost: evil.example",
    "https://hooks.example.com/deferit/\n",
    " https://hooks.example.com/deferit/",
    "https://hooks.example.com/deferit/ x",
    "https://hooks.example.com/deferit/\x00",
    "https://hooks.example.com/deferit/ž",
    "https://[hooks.example.com]/deferit/",
    "https://%68ooks.example.com/deferit/",
    "javascript://hooks.example.com/deferit/",
    "",
    HOOKS + "a" * LONGEST,
]


@pytest.mark.parametrize("text", TRICKS, ids=range(len(TRICKS)))
def test_no_trick_is_allowed(text: str) -> None:
    assert not allows(text)


PIECES = [
    *("https://", "http://", "//", "hooks.example.com", "evil.example", "deferit", "admin", "a"),
    *("@", ":", "443", "8443", "\\", "/", ".", "..", "%2e", "%2F", "%5c", "%25", "?", "#", ";"),
    *("[", "]", "%00", "%0d%0a", " ", "\t", "\n", "\x7f", "\u3002", "\u017f", "\uff0f", "&", "="),
]
URLS = st.lists(st.sampled_from(PIECES), max_size=9).map("".join)


@given(st.one_of(URLS, URLS.map(lambda tail: HOOKS + tail), st.text().map(lambda t: HOOKS + t)))
@example(HOOKS + "a")
def test_whoever_reads_what_is_allowed_finds_the_allowed_server_and_path(text: str) -> None:
    if not allows(text):
        return
    readers = urlsplit(text), httpx.URL(text), httpcore.URL(text)
    hosts = readers[0].hostname, readers[1].host, readers[2].host.decode().lower()

    assert set(hosts) == {"hooks.example.com"}
    assert {readers[0].scheme, readers[1].scheme} == {"https"}
    assert {readers[0].port, readers[1].port, readers[2].port} <= {None, 443}
    assert (readers[0].username, readers[0].fragment) == (None, "")
    for path in (readers[0].path, readers[1].path, unquote(unquote(readers[0].path))):
        assert path.startswith("/deferit/")
        assert ".." not in path.replace("\\", "/").split("/")
    assert url(text).target.isprintable()


@given(st.lists(st.sampled_from(["a", "b", "", "c%20d"]), max_size=4).map("/".join))
def test_below_means_the_same_segments_first(path: str) -> None:
    text = f"https://hooks.example.com/{path}"

    assert allows(text, "https://hooks.example.com/a") == (path.partition("/")[0] == "a")


def test_the_longest_prefix_signs() -> None:
    secrets = {url("https://a.example/"): ("short",), url("https://a.example/b"): ("long",)}

    found = AllowList(secrets)

    assert found.secrets("https://a.example/b/c") == ("long",)
    assert found.secrets("https://a.example/bc") == ("short",)
    assert AllowList({}).secrets("https://a.example/") is None


@pytest.mark.parametrize(
    ("text", "authority", "target"),
    [
        ("https://Hooks.example.com", "hooks.example.com", "/"),
        ("https://hooks.example.com:443?a", "hooks.example.com", "/?a"),
        ("http://hooks.example.com:443/a?b", "hooks.example.com:443", "/a?b"),
        ("http://[2001:DB8::1]:8080/", "[2001:db8::1]:8080", "/"),
        ("http://[2001:db8::1]/", "[2001:db8::1]", "/"),
    ],
)
def test_a_url_is_asked_for_as_it_was_read(text: str, authority: str, target: str) -> None:
    assert (url(text).authority, url(text).target) == (authority, target)


# --- what a client asks for ---


def asked(*lines: str) -> Request:
    headers = Headers([("Callback-URL", line) for line in lines])
    return Request("POST", "/", "", headers, {}, "https://shop.example.com")


def test_a_callback_is_what_the_field_asks_for() -> None:
    allowed = AllowList({url(HOOKS): ("secret",)})

    assert callback_from(asked(f" {HOOKS}x "), allowed, "m") == Callback(f"{HOOKS}x", "m")
    assert callback_from(asked(), allowed, "m") is None
    assert callback_from(asked("anything", "at all"), None, "m") is None


@pytest.mark.parametrize("lines", [[""], ["https://evil.example/"], [HOOKS, HOOKS]])
def test_one_that_is_not_allowed_is_refused(lines: list[str]) -> None:
    with pytest.raises(CallbackNotAllowed):
        callback_from(asked(*lines), AllowList({url(HOOKS): ("secret",)}), "m")


# --- when to try again ---


def test_the_schedule_is_the_recommended_one() -> None:
    hour = 3600.0
    due = [next_attempt(attempts, MOST_ATTEMPTS, 0.0, 0.0) for attempts in range(1, 12)]

    assert due[:9] == [5, 300, hour / 2, *(hour * n for n in (2, 5, 10, 14, 20, 24))]
    assert due[9:] == [None, None]


@given(st.integers(1, 9), st.integers(1, 10), st.floats(0, 1))
def test_a_delay_is_spread_and_attempts_are_counted(
    attempts: int, most: int, chance: float
) -> None:
    due = next_attempt(attempts, most, 1000.0, chance)

    if attempts >= most:
        assert due is None
        return
    assert due is not None
    assert DELAYS[attempts - 1] <= due - 1000.0 <= DELAYS[attempts - 1] * 1.1


def test_only_a_2xx_is_a_delivery() -> None:
    assert [status for status in range(100, 600) if is_delivered(status)] == [*range(200, 300)]


# --- addresses ---


@pytest.mark.parametrize(
    "address",
    [
        "8.8.8.8",
        "93.184.216.34",
        "2606:2800:220:1::1",
        "2d00::1",
        "::ffff:8.8.8.8",
        "2002:808:808::1",
        "64:ff9b::808:808",
    ],
)
def test_addresses_of_the_internet_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        *("0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "127.0.0.1", "127.255.255.254"),
        *("169.254.169.254", "172.16.0.1", "172.31.255.255", "192.168.1.1", "192.0.0.1"),
        *("192.0.0.192", "192.0.2.1", "192.88.99.1", "198.18.0.1", "198.51.100.1", "203.0.113.1"),
        *("224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255"),
        *("100.100.100.200", "168.63.129.16"),  # metadata and platform services of clouds
        *("::", "::1", "::127.0.0.1", "::8.8.8.8", "::ffff:127.0.0.1", "::ffff:10.0.0.1"),
        *("::ffff:0:127.0.0.1", "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "fec0::1"),
        *("ff02::1", "2001:db8::1", "2001::1", "100::1", "4000::1", "64:ff9b:1::1"),
        *("2002:7f00:1::1", "2002:a9fe:a9fe::", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe"),
    ],
)
def test_all_others_are_not(address: str) -> None:
    assert not is_public(address)


def test_a_url_that_fails_at_its_end_is_read_in_no_time() -> None:
    """With a star within a star, each character doubled the time."""
    assert url_from("https://hooks.example.com/?" + 2_000 * "a" + "*/b/{c}") is None
