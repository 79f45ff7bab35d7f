"""Either library will do, and without both it is said what is needed."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import sys
for name in sys.argv[1:]:
    sys.modules[name] = None
from deferit.client import wait
try:
    wait("nonsense")
except Exception as exc:
    print(f"{type(exc).__module__}.{type(exc).__name__}: {exc}")
"""


def complaint_without(*names: str) -> str:
    """Return what is said about a URL that is none, where these packages are missing."""
    command = [sys.executable, "-c", PROGRAM, *names]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(("missing", "used"), [("httpx2", "httpx"), ("httpx", "httpx2")])
def test_one_library_is_enough(missing: str, used: str) -> None:
    assert complaint_without(missing).startswith(f"{used}.UnsupportedProtocol: ")


def test_without_a_library_it_is_said_what_is_needed() -> None:
    words = 'OptionError: deferit.client needs the extra: pip install "deferit[client]"'

    assert words in complaint_without("httpx", "httpx2")
