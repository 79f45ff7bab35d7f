"""A wire between a client and a PostgreSQL server that counts, and can be cut."""

from __future__ import annotations

import select
import socket
import threading
from contextlib import closing, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class Wire:
    """Carries each connection to a server's socket, over a TCP port of its own."""

    def __init__(self, target: Path) -> None:
        self.turns = 0
        """How often the server has spoken after a client has: round trips."""
        self.cut_at: bytes | None = None
        """What a client must say for its connection to be cut, once."""
        self.is_delivered = True
        """Whether the server still hears what was said when it is cut."""
        self._target = target
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        with closing(client), suppress(OSError), socket.socket(socket.AF_UNIX) as server:
            server.connect(str(self._target))
            speaker = None
            while True:
                for source in select.select([client, server], [], [])[0]:
                    data = source.recv(2**16)
                    if not data or (source is client and self._is_cut(data, server)):
                        return
                    self.turns += source is server and speaker is client
                    speaker = source
                    (server if source is client else client).sendall(data)

    def _is_cut(self, data: bytes, server: socket.socket) -> bool:
        if self.cut_at is None or self.cut_at not in data:
            return False
        self.cut_at = None
        if self.is_delivered:
            server.sendall(data)  # it reads all of it, and then that nobody is there
        return True
