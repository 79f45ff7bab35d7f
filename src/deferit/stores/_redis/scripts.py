"""The Lua scripts, which lie beside this file."""

from __future__ import annotations

from hashlib import sha1
from importlib.resources import files


class Script:
    """A script, and the name that Redis gives it."""

    def __init__(self, name: str) -> None:
        self.text = files(__name__.rpartition(".")[0]).joinpath(f"{name}.lua").read_text("utf-8")
        self.sha = sha1(self.text.encode(), usedforsecurity=False).hexdigest()


COMMIT = Script("commit")
ROWS = Script("rows")
SELECT = Script("select")
DROP = Script("drop")
