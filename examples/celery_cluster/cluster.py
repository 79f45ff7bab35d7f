"""Start the cluster, show what becomes of its jobs while a worker is killed, stop everything.

`make demo-cluster` runs it; README.md beside this file says what it needs and what you will see.
Takes less than a minute, leaves nothing behind, and ends with 0 only if no job was lost.
"""

import argparse
import os
import signal
import sys
import threading
from pathlib import Path
from tempfile import TemporaryDirectory

from honcho.environ import expand_processes, parse_procfile
from honcho.manager import Manager

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import orders
from celery_cluster.servers import HOST, ServerMissing, free_ports, postgres_server, redis_server

HOW_MANY = {"web": 2, "worker": 2, "demo": 1}
LEASE = 3  # seconds after which a worker that gives no sign is taken for dead; by default 15


def main() -> int:
    """Run the demonstration in a folder of its own and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=48, help="how many are submitted")
    parser.add_argument("--orders", type=int, default=100_000, help="how many there are to report")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with TemporaryDirectory(prefix="deferit-cluster-") as name:
        folder = Path(name)
        os.environ |= {"ORDERS_DB": str(folder / "orders.db"), "ORDERS_COUNT": str(asked.orders)}
        try:
            orders.prepare()
            with redis_server(folder) as broker, postgres_server(folder) as store:
                return run(folder, broker, store, asked.jobs)
        except ServerMissing as exc:
            print(exc, file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            return 128 + signal.SIGINT


def run(folder: Path, broker: str, store: str, jobs: int) -> int:
    """Run what the Procfile says until one of its processes has ended: `demo`, if all goes well."""
    ours = ("DEFERIT_", "HONCHO_", "PORT")
    port = free_ports(HOW_MANY["web"])
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(ours)},
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        "PYTHONPATH": str(HERE.parent),
        "PYTHONUNBUFFERED": "1",
        "PYTHONWARNINGS": "ignore:You're running the worker with superuser",  # in a container, say
        "BROKER": broker,
        "DEFERIT_STORE": store,
        "DEFERIT_LEASE": str(LEASE),
        "DEMO_JOBS": str(jobs),
        "DEMO_WEB": " ".join(f"http://{HOST}:{port + i}" for i in range(HOW_MANY["web"])),
    }
    processes = parse_procfile((HERE / "Procfile").read_text(encoding="utf-8")).processes
    cluster = Cluster()
    for each in expand_processes(processes, HOW_MANY, environment, port=port):
        cluster.add_process(each.name, each.cmd, env=each.env, cwd=folder)
    cluster.loop()
    return cluster.code()


class Cluster(Manager):  # type: ignore[misc]  # honcho has no types
    """Honcho, but stopped as well by a signal that comes while it is still starting processes."""

    def code(self) -> int:
        """Return the exit code of all: 0 only if `demo` has ended with it, whoever was first to end."""
        return int(self.returncode or self._processes["demo.1"]["returncode"])

    def terminate(self) -> None:
        """Stop all processes, as soon as all of them are known."""
        if self._all_started():
            super().terminate()
        else:
            threading.Timer(0.1, self.terminate).start()


if __name__ == "__main__":
    sys.exit(main())
