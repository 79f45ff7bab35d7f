"""Requests that are one and the same: the header field ``Idempotency-Key``, and identical requests in flight.

The field is that of draft-ietf-httpapi-idempotency-key-header: a structured-field string (RFC 9651 §3.3.3); a bare
token is taken too, as most clients send one.
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from deferit._core.http import Request

LONGEST_KEY = 255

_STRING = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])*)"')
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z:/=-]+")


class InvalidKey(Exception):
    """The field is there, but it is no key."""


class Identity(msgspec.Struct, frozen=True, gc=False):
    """What makes two requests the same job.

    Requests with the same ``key`` share a job, if their ``fingerprint`` is the same too. A key of the client's lives as
    long as the job; ``while_unfinished`` says of one that deferit made (`coalesce`) that it ends with the work.
    """

    key: str
    fingerprint: str
    while_unfinished: bool = False

    def may_be(self, other: Identity | None) -> bool:
        """Whether a request with this identity is the one that made a job with the other, as far as that is known."""
        return self == other or (other is not None and other == known_by(self.key))


def known_by(key: str) -> Identity:
    """Return what is left of an identity whose key alone is known."""
    return Identity(key, "", while_unfinished=key.startswith(_COALESCED))


_COALESCED = "~"
"""What a key that deferit made begins with."""


def client_key(request: Request) -> str | None:
    """Return the key that the client sent, or None.

    Raises:
        InvalidKey: there is one, but it cannot be read, is empty or too long, or there are several.
    """
    lines = request.headers.getlist("Idempotency-Key")
    if not lines:
        return None
    text = lines[0].strip()
    string = _STRING.fullmatch(text)
    key = re.sub(r"\\(.)", r"\1", string[1]) if string else text
    if len(lines) > 1 or not (string or _TOKEN.fullmatch(text)) or not 0 < len(key) <= LONGEST_KEY:
        raise InvalidKey
    return key


def identity(
    application: str,
    request: Request,
    owner: str | None,
    key: str | None,
    body_digest: str,
    *wishes: str,
) -> Identity:
    """Return the identity of a request: by the client's key, or, without one, by all that it says.

    ``wishes`` are what it asks deferit for besides, in which two requests that share a job must not differ.
    """
    fingerprint = _hash(
        request.method, _target(request), _content_type(request), body_digest, *wishes
    )
    place = (application, _submitter(request, owner), request.method, request.path)
    if key is not None:
        return Identity(_hash("key", *place, key), fingerprint)
    key = _COALESCED + _hash("coalesce", *place, fingerprint)
    return Identity(key, fingerprint, while_unfinished=True)


def _submitter(request: Request, owner: str | None) -> str:
    """Return who asks: the owner, or without one a hash of the credentials that were sent."""
    if owner is not None:
        return _hash("owner", owner)
    credentials = [
        *request.headers.getlist("Authorization"),
        "",
        *request.headers.getlist("Cookie"),
    ]
    return _hash("credentials", *credentials)


def _target(request: Request) -> str:
    return f"{request.path}?{request.query}"


def _content_type(request: Request) -> str:
    return request.headers.get("Content-Type", "")


def _hash(*parts: str) -> str:
    """Return a digest of texts, each with its length, so that no two lists of them look alike."""
    digest = sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogateescape")
        digest.update(b"%d:" % len(data) + data)
    return digest.hexdigest()
