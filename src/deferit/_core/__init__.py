"""Decides everything; does nothing.

1. No I/O: what a flow needs done it yields, and a driver performs it.
2. No clock and no chance: instants, ids and random numbers come in as arguments.
3. It does not know WSGI from ASGI, nor one framework, store or executor from another.
4. No third party but werkzeug's header parsing and msgspec's JSON.
"""
