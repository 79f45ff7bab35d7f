"""Load by wrk: as many requests as a server answers to 32 connections, or so many a second."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

CONNECTIONS = 32

BODY = json.dumps(
    {"customer": "c-4711", "pages": 12, "note": "a body of about two hundred bytes, " + "x" * 110}
)

_SCRIPT = Path(__file__).with_name("load.lua")


@dataclass(frozen=True)
class Load:
    """What wrk has seen; latencies are in milliseconds."""

    requests: int
    seconds: float
    p50: float
    p99: float

    @property
    def rate(self) -> float:
        """Requests in a second."""
        return self.requests / self.seconds


class LoadFailed(Exception):
    """The server did not answer as it should."""


def load(url: str, method: str, seconds: int, *, pause: float = 0.0) -> Load:
    """Send requests over all connections, one after the other on each, with a pause of so many seconds on average.

    Raises:
        LoadFailed: answers were missing, or not of 200 to 399.
    """
    body = BODY if method == "POST" else ""
    command = [
        *(_wrk(), "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", "-s", str(_SCRIPT)),
        *(url, "--", method, body, str(round(pause * 1e3))),
    ]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    line = next((text for text in ended.stdout.splitlines() if text.startswith("deferit ")), None)
    if line is None:
        raise LoadFailed(f"wrk ended with {ended.returncode}: {ended.stderr or ended.stdout}")
    requests, duration, p50, p99, refused, broken = map(int, line.split()[1:])
    if refused or broken or not requests:
        raise LoadFailed(f"{method} {url}: {requests} answers, {refused} refusals, {broken} broken")
    return Load(requests, duration / 1e6, p50 / 1e3, p99 / 1e3)


def _wrk() -> str:
    found = shutil.which("wrk")
    if found is None:
        sys.exit(
            "The benchmarks need wrk (https://github.com/wg/wrk): apt install wrk, brew install wrk"
        )
    return found
