"""The option ``callbacks``: who may be told, by a request of ours, that a job is finished."""

from __future__ import annotations

import binascii
import re
import socket
from base64 import b64decode
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from deferit._core.allowed import AllowList, Url, url_from
from deferit._core.callback import MOST_ATTEMPTS
from deferit.exceptions import OptionError

Resolve = Callable[[str, int], Collection[str]]
"""Returns the addresses of a host, as text; raises OSError if it has none."""

SECRET_BYTES = range(24, 65)
"""How long a symmetric secret may be (Standard Webhooks 1.0.0, "Signature scheme")."""


def addresses_of(host: str, port: int) -> list[str]:
    """Return the addresses of a host, as this machine resolves it."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


@dataclass(frozen=True)
class Callbacks:
    """Says where callbacks may go, and how they are sent.

    Args:
        allow: from the beginnings of URLs (``https://hooks.example.com/deferit/``) to their secrets: a text that begins
            with ``whsec_``, or several with spaces between, which all sign, so that one can take the place of another.
            What is called has the same scheme, host and port, and a path that is the given one or below it.
        private: whether addresses that are not of the public internet may be called too.
        attempts: how often a callback is tried at the most.
        resolve: a function of a host and a port that returns addresses, in place of this machine's resolver.

    Raises:
        OptionError: one of these cannot be used, or the extra is not installed.
    """

    allow: Mapping[str, str] = field(repr=False)
    private: bool = False
    attempts: int = MOST_ATTEMPTS
    resolve: Resolve = addresses_of
    allowed: AllowList = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _check_extra()
        if self.attempts not in range(1, MOST_ATTEMPTS + 1):
            raise OptionError(
                f"attempts={self.attempts!r} is not a whole number from 1 to {MOST_ATTEMPTS}"
            )
        secrets = {_prefix(text): _secrets(text, given) for text, given in self.allow.items()}
        object.__setattr__(self, "allowed", AllowList(secrets))


def callbacks_from_text(text: str) -> Callbacks:
    """Return what the environment says: ``https://hooks.example.com/=whsec_…``, several with commas between.

    Raises:
        OptionError: it cannot be read.
    """
    allow = {}
    for item in re.split(r",\s*(?=https?://)", text.strip(), flags=re.IGNORECASE):
        prefix, separator, secret = item.partition("=whsec_")
        if not separator:
            raise OptionError(
                "DEFERIT_CALLBACKS cannot be read; write URLs with their secrets, "
                "'https://hooks.example.com/=whsec_…,https://…=whsec_…'"
            )
        allow[prefix] = f"whsec_{secret}"
    return Callbacks(allow)


def _check_extra() -> None:
    try:
        import httpcore  # noqa: F401, PLC0415
        import standardwebhooks  # noqa: F401, PLC0415
    except ModuleNotFoundError as exc:
        raise OptionError('callbacks= needs the extra: pip install "deferit[callbacks]"') from exc


def _prefix(text: object) -> Url:
    url = url_from(text) if isinstance(text, str) else None
    if url is None or url.query:
        raise OptionError(
            f"callbacks={{{text!r}: …}}: that is not the beginning of URLs; write scheme, host and path, "
            "like 'https://hooks.example.com/deferit/', without user, query and fragment"
        )
    return url


def _secrets(prefix: str, given: object) -> tuple[str, ...]:
    secrets = tuple(given.split()) if isinstance(given, str) else ()
    if not secrets or not all(map(_is_secret, secrets)):
        raise OptionError(
            f"callbacks={{{prefix!r}: …}}: its secret is not 'whsec_' and {SECRET_BYTES[0]} to {SECRET_BYTES[-1]} "
            "random bytes in base64, as 'whsec_' + base64.b64encode(secrets.token_bytes(32)).decode() gives"
        )
    return secrets


def _is_secret(text: str) -> bool:
    try:
        key = b64decode(text.removeprefix("whsec_"), validate=True)
    except binascii.Error:
        return False
    return text.startswith("whsec_") and len(key) in SECRET_BYTES
