"""Start the Starlette example, upload 100,000 orders, watch the job, fetch what came of it.

Needs the `test` extra (uvicorn, httpx, rich); `make demo` sees to that. Takes about 15 seconds,
leaves nothing behind, and ends with 0 only if everything was as it should be.
"""

import csv
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

EXAMPLES = Path(__file__).resolve().parent
COLUMNS = ("number", "customer", "placed", "product", "quantity", "price")
ROWS = 100_000
BAD_ROWS = 5
YEAR = 2024
START_UP = 60  # seconds that the server may take, its database included
JOB = 300  # seconds that a job may take
SHUT_DOWN = 5  # seconds until the server is killed

console = Console(highlight=False, soft_wrap=True)


class UnexpectedAnswer(Exception):
    """The demonstration did not go as it should."""


def main() -> int:
    """Run the demonstration in a folder of its own and return the exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with TemporaryDirectory(prefix="deferit-demo-") as name:
        folder = Path(name)
        try:
            with serving(folder) as client:
                demonstrate(client, folder)
        except KeyboardInterrupt:
            console.print("\nInterrupted; the server is stopped.")
            return 128 + signal.SIGINT
        except (UnexpectedAnswer, httpx.HTTPError) as exc:
            complain(exc, folder / "server.log")
            return 1
    return 0


def demonstrate(client: httpx.Client, folder: Path) -> None:
    """Import orders, then export some: two slow requests, neither of which keeps anyone waiting."""
    before = count(client)
    console.print(f"The service is up at {client.base_url} and has {before:,} orders.")

    imported = import_orders(client, make_csv(folder / "orders.csv")).json()
    expect(imported["imported"] == ROWS, f"{ROWS:,} rows are imported")
    expect(imported["rejected"] == BAD_ROWS, f"{BAD_ROWS} rows are rejected")
    expect(count(client) == before + ROWS, f"the service has {ROWS:,} orders more")

    exported = export_orders(client)
    expect(len(exported.text.splitlines()) == 1 + count(client, YEAR), "no line is missing")
    console.print(f"\nAll as it should be: {ROWS:,} orders imported, those of {YEAR} exported.")


def import_orders(client: httpx.Client, path: Path) -> httpx.Response:
    """Upload the CSV and show the 202, the job and its result in full."""
    heading(f"POST /imports, {path.stat().st_size / 1e6:.1f} MB of CSV")
    with path.open("rb") as file:
        accepted = client.post("/imports", files={"file": (path.name, file, "text/csv")})
    show(accepted)
    console.print_json(accepted.text)
    result = follow(client, accepted)
    show(result)
    console.print_json(result.text)
    return result


def export_orders(client: httpx.Client) -> httpx.Response:
    """Ask for a year's orders and show the beginning of what is streamed."""
    heading(f"GET /exports/orders.csv?year={YEAR}")
    accepted = client.get("/exports/orders.csv", params={"year": YEAR})
    show(accepted, "location", "retry-after")
    result = follow(client, accepted)
    show(result, "content-type", "content-length", "asyncresult")
    lines = result.text.splitlines()
    console.print("\n".join([*lines[:4], f"… and {len(lines) - 4:,} lines more"]), markup=False)
    return result


def follow(client: httpx.Client, response: httpx.Response) -> httpx.Response:
    """Follow a 202 to its result: what any client of deferit does, with a bar for people."""
    expect(response.status_code == httpx.codes.ACCEPTED, "the request is accepted with 202")
    monitor_url = response.headers["Location"]
    deadline = time.monotonic() + JOB
    with job_bar() as bar:
        while response.status_code == httpx.codes.ACCEPTED:
            expect(time.monotonic() < deadline, f"the job ends within {JOB} seconds")
            advance(bar, response.json())
            time.sleep(int(response.headers["Retry-After"]))
            response = client.get(monitor_url)
        job = response.json()
        advance(bar, job)
    console.print()
    expect(job["status"] == "succeeded", f"the job succeeds (it says: {job})")
    return client.get(job["resultUrl"])


@contextmanager
def serving(folder: Path) -> Iterator[httpx.Client]:
    """Run the example under uvicorn, its databases and its log in `folder`, until the block ends."""
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "starlette_app.app:app", "--port", str(port)]
    ours = ("DEFERIT_", "ORDERS_")
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(
            [*command, "--app-dir", str(EXAMPLES)],
            cwd=folder,
            env={name: value for name, value in os.environ.items() if not name.startswith(ours)},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for this script, which then stops the server
        )
    try:
        # Without trust_env: no proxy stands between this script and the server it started.
        address = f"http://127.0.0.1:{port}"
        with httpx.Client(base_url=address, timeout=60, trust_env=False) as client:
            wait_until_up(client, server)
            yield client
    finally:
        stop(server)


def wait_until_up(client: httpx.Client, server: subprocess.Popen[bytes]) -> None:
    """Return once the server answers; the first thing it does is to make its database."""
    deadline = time.monotonic() + START_UP
    while True:
        expect(server.poll() is None, f"the server starts (its exit code: {server.poll()})")
        expect(time.monotonic() < deadline, f"the server answers within {START_UP} seconds")
        with suppress(httpx.TransportError):
            client.get("/orders").raise_for_status()
            return
        time.sleep(0.1)


def stop(server: subprocess.Popen[bytes]) -> None:
    """Ask the server to stop, and kill it if it doesn't."""
    server.terminate()
    try:
        with suppress(subprocess.TimeoutExpired):
            server.wait(SHUT_DOWN)
    finally:
        if server.poll() is None:
            server.kill()
            server.wait()


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def make_csv(path: Path) -> Path:
    """Write orders of 2025, the last few of which are no good."""
    dice = random.Random(1)  # noqa: S311 - no secret
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for number in range(1_000_001, 1_000_001 + ROWS):
            customer = f"C-{dice.randint(1, 250):04}"
            day = f"2025-{dice.randint(1, 12):02}-{dice.randint(1, 28):02}"
            price = f"{dice.randint(5, 300)}.{dice.randint(0, 99):02}"
            writer.writerow([number, customer, day, "lamp", dice.randint(1, 5), price])
        for column in range(BAD_ROWS):
            good = ["1", "C-0001", "2025-01-01", "lamp", "1", "9.99"]
            writer.writerow([*good[:column], "", *good[column + 1 :]])
    return path


def count(client: httpx.Client, year: int | None = None) -> int:
    """Ask the service for the number of its orders: a quick request, answered as ever."""
    answer = client.get("/orders", params={"year": year} if year else None)
    return int(answer.raise_for_status().json()["orders"])


def expect(condition: bool, what: str) -> None:  # noqa: FBT001 - it reads as a sentence
    """Raise UnexpectedAnswer unless it is so."""
    if not condition:
        raise UnexpectedAnswer(f"expected that {what}")


def heading(text: str) -> None:
    """Announce a request."""
    console.print(f"\n[bold]> {text}[/bold]\n")


def show(response: httpx.Response, *names: str) -> None:
    """Print a response's status and its headers: the named ones, or all."""
    seconds = response.elapsed.total_seconds()
    console.print(f"[bold]< {response.status_code} {response.reason_phrase}[/] ({seconds:.2f} s)")
    for name, value in response.headers.multi_items():
        if not names or name in names:
            console.print(f"{name}: {value}", markup=False)
    console.print()


def job_bar() -> Progress:
    """Return a bar that shows a job; it needs a terminal, `advance` knows what to do without."""
    bar = Progress(
        TextColumn("{task.description:>9}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    bar.add_task("accepted", total=100)
    return bar


def advance(bar: Progress, job: dict[str, Any]) -> None:
    """Show what the status document says."""
    percent = 100 if job["done"] else job.get("progress", 0)
    if not console.is_terminal:
        console.print(f"{job['status']:>9} {percent:3} %")
    for task_id in bar.task_ids:
        bar.update(task_id, description=job["status"], completed=percent)


def complain(exc: Exception, log: Path) -> None:
    """Say what went wrong, and what the server wrote last."""
    console.print(f"\n{type(exc).__name__}: {exc}", markup=False)
    if log.exists():
        tail = log.read_text(errors="replace").splitlines()[-30:]
        console.print("\n".join(["The server's log ends with:", *tail]), markup=False)


if __name__ == "__main__":
    sys.exit(main())
