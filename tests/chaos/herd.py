"""A server whose workers can be killed one by one."""

from __future__ import annotations

from pathlib import Path

from tests.servers.harness import Kind, Server

LEASE = 2.0
KINDS = (Kind("uvicorn", 2), Kind("gunicorn", 3))


def herd(kind: Kind, folder: Path, **environment: str) -> Herd:
    """Make a server of the application for this kind; it isn't started yet."""
    given = settings(folder) | environment
    return Herd(kind, f"{module_of(kind)}:app", folder, environment=given)


def module_of(kind: Kind) -> str:
    """Return the module that has the application for a kind of server."""
    return f"tests.chaos.apps.{kind.interface}_app"


def settings(folder: Path) -> dict[str, str]:
    """Return the environment of every process that has the application."""
    return {
        "DEFERIT_STORE": f"sqlite:///{store_of(folder)}",
        "DEFERIT_LEASE": str(LEASE),
        "DEFERIT_GRACE": "1",
        "DEFERIT_CHAOS_FOLDER": str(folder),
    }


def store_of(folder: Path) -> Path:
    return folder / "jobs.db"


class Herd(Server):
    """A server that knows the processes of its workers."""

    def workers(self) -> list[int]:
        """Return the master's children that serve, or will in a moment."""
        return children_of(self._process.pid) if self._process else []

    @property
    def has_ended(self) -> bool:
        """Whether the master has ended by itself."""
        return self._process is not None and self._process.poll() is not None


def children_of(process: int) -> list[int]:
    """Return the children of a master that do its work, or will in a moment."""
    try:
        children = Path(f"/proc/{process}/task/{process}/children").read_text()
    except OSError:  # it has just been killed
        return []
    return [int(child) for child in children.split() if _is_worker(int(child))]


def _is_worker(process: int) -> bool:
    """Whether a child of a master does its work: multiprocessing has a helper beside those."""
    try:
        command = Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return False
    return bool(command) and b"resource_tracker" not in command
