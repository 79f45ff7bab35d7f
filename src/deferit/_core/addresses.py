"""Addresses of the public internet, told from those that only somebody inside can reach."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

_GLOBAL_UNICAST = IPv6Network("2000::/3")
"""All that IANA has given out of IPv6 for use between networks (RFC 4291 §2.4)."""

_NAT64 = IPv6Network("64:ff9b::/96")
"""Carries an IPv4 address in its last 32 bits (RFC 6052 §2.1)."""

_NOT_FOR_US = (
    IPv4Network("168.63.129.16/32"),  # Azure's platform, seen from every virtual machine
    IPv4Network("192.0.0.0/24"),  # RFC 6890 §2.2.2; Python's own table has had only a part of it
    IPv4Network("192.88.99.0/24"),  # relays of 6to4, withdrawn by RFC 7526
)


def is_public(text: str) -> bool:
    """Whether an address is one of the public internet, in whatever way it is written or wrapped."""
    address = ip_address(text.partition("%")[0])
    if isinstance(address, IPv4Address):
        return _is_public_v4(address)
    inner = address.ipv4_mapped or address.sixtofour or _nat64(address)
    if inner is not None:
        return _is_public_v4(inner)
    return address in _GLOBAL_UNICAST and address.is_global


def _nat64(address: IPv6Address) -> IPv4Address | None:
    return IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else None


def _is_public_v4(address: IPv4Address) -> bool:
    if address.is_multicast or address.is_reserved or not address.is_global:
        return False
    return not any(address in network for network in _NOT_FOR_US)
