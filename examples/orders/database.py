"""The orders: one SQLite file, made up on first start.

`ORDERS_DB` names the file (`orders.db` in the current folder), `ORDERS_COUNT` says how many orders
are made up (200,000).
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import date, timedelta
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import NamedTuple

SCHEMA = """
    CREATE TABLE orders (
        number INTEGER PRIMARY KEY,
        customer TEXT NOT NULL,
        placed TEXT NOT NULL,
        product TEXT NOT NULL,
        quantity INTEGER NOT NULL,
        cents INTEGER NOT NULL  -- for one of them
    )
"""

# Made when the table is full, which is quicker. The second holds all that a balance needs.
INDEXES = """
    CREATE INDEX by_day ON orders (placed);
    CREATE INDEX by_customer ON orders (customer, placed, number, quantity, cents);
"""

INSERT = "INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?)"

COUNT = "SELECT count(*) FROM orders WHERE placed BETWEEN ? AND ?"

PRODUCTS = (
    ("desk, oak", 48900),
    ("chair", 12950),
    ("lamp", 3990),
    ('monitor 27"', 21900),
    ("keyboard", 6490),
    ("étagère", 17500),
    ("cable 2 m", 750),
)


class Order(NamedTuple):
    """One line of an order book."""

    number: int
    customer: str
    placed: str  # ISO 8601, so that text sorts as days do
    product: str
    quantity: int
    cents: int


def prepare() -> None:
    """Make the file unless it is there.

    Several processes may start at once: each builds a file of its own, and the first that is ready
    gives it the name. So nobody ever sees half a file, and nobody's file is replaced under them.
    """
    path = _path()
    if path.exists():
        return
    with TemporaryDirectory(dir=path.parent, prefix=".orders-") as folder:
        built = Path(folder, "orders.db")
        _build(built)
        with suppress(FileExistsError):
            path.hardlink_to(built)


@contextmanager
def connect() -> Iterator[sqlite3.Connection]:
    """Open the file for one transaction: kept if the block ends, rolled back if it raises.

    The first write waits up to a minute for whoever is writing. The connection may be used from
    several threads, one at a time: Starlette takes each piece of a stream from another one.
    """
    connection = sqlite3.connect(
        _path(), timeout=60, isolation_level="IMMEDIATE", check_same_thread=False
    )
    with closing(connection), connection:
        yield connection


def count_orders(year: int | None = None) -> int:
    """Return how many orders there are; with a year, in that year."""
    with connect() as db:
        (count,) = db.execute(COUNT, days_of(year)).fetchone()
    return int(count)


def days_of(year: int | None) -> tuple[str, str]:
    """Return the first and the last day of a year; without one, of all years."""
    return (f"{year:04}-01-01", f"{year:04}-12-31") if year else ("0001-01-01", "9999-12-31")


def amount(cents: int) -> str:
    """Write cents as an amount: 1250 is 12.50."""
    return f"{cents // 100}.{cents % 100:02}"


def _path() -> Path:
    return Path(os.environ.get("ORDERS_DB", "orders.db")).absolute()


def _build(path: Path) -> None:
    count = int(os.environ.get("ORDERS_COUNT", "200000"))
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA synchronous = OFF")  # nobody knows the file yet; half of one is nothing
        db.execute(SCHEMA)
        with db:
            db.executemany(INSERT, _made_up(count))
        db.executescript(INDEXES)
        db.execute("PRAGMA journal_mode = WAL")  # stays: exports read while an import writes


def _made_up(count: int) -> Iterator[Order]:
    """Yield orders of five years and 250 customers, the same ones every time."""
    random = Random(202)  # noqa: S311 - no secret
    first = date(2020, 1, 1)
    days = [(first + timedelta(days=day)).isoformat() for day in range(5 * 365 + 2)]
    customers = [f"C-{number:04}" for number in range(1, 251)]
    for number in range(1, count + 1):
        product, cents = random.choice(PRODUCTS)
        quantity = 1 + int(random.expovariate(0.5))
        yield Order(number, random.choice(customers), random.choice(days), product, quantity, cents)
