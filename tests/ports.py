"""Ports of the loopback interface that nobody else gets, whether or not a server listens there."""

from __future__ import annotations

import socket
import sys
import weakref

HOST = "127.0.0.1"


def port_of(owner: object, port: int = 0) -> int:
    """Keep a port for as long as the owner lives, and return it: this one, or any that is free.

    One that is only looked up would be free again until the owner's server listens, and whenever that is restarted:
    another process of the tests could have it by then, and whoever asks would be answered by somebody else's server.

    Raises:
        OSError: somebody else has this port.
    """
    keeper = socket.socket()
    try:
        keeper.bind((HOST, port))
        number: int = keeper.getsockname()[1]
    except OSError:
        keeper.close()
        raise
    if sys.platform == "linux":
        # Not before it is bound, or it could have what another owner keeps. A server that says so too may listen there
        # (socket(7), SO_REUSEADDR), and the system gives it neither to others nor to a connection that goes out.
        keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        weakref.finalize(owner, keeper.close)
    else:
        keeper.close()  # elsewhere a port has one socket
    return number
