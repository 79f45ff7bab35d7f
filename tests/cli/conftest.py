"""The command line, run in this process, and servers to follow jobs of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import pytest
from tests.client.conftest import things_server
from tests.servers.harness import UVICORN, Server

from deferit.cli.app import run

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Done:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str


class Deferit(Protocol):
    """Runs a command."""

    def __call__(self, *arguments: str) -> Done:
        """Return how it ended."""
        ...


@pytest.fixture
def deferit(capsysbinary: pytest.CaptureFixture[bytes]) -> Deferit:
    def called(*arguments: str) -> Done:
        try:
            code = run(arguments)
        except SystemExit as exc:  # the usage was wrong
            code = int(exc.code or 0)
        printed = capsysbinary.readouterr()
        return Done(code, printed.out.decode(), printed.err.decode())

    return called


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with things_server(UVICORN, tmp_path_factory.mktemp("things")) as running:
        yield running


@pytest.fixture(scope="session")
def others(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Servers that have never heard of deferit."""
    folder = tmp_path_factory.mktemp("others")
    with Server(UVICORN, "tests.client.apps.others:app", folder) as running:
        yield running


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line heeds the environment's proxies."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")
