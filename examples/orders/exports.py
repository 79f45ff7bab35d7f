"""Give orders out as a CSV."""

import csv
import re
from collections.abc import Iterator

from deferit import track
from orders.database import COUNT, amount, connect, days_of
from orders.imports import COLUMNS
from orders.refusal import Refusal

ORDERS = "SELECT * FROM orders WHERE placed BETWEEN ? AND ? ORDER BY placed, number"

BALANCE = """
    SELECT sum(quantity * cents) FROM orders WHERE customer = ? AND (placed, number) <= (?, ?)
"""


def check_year(text: str | None) -> int | None:
    """Return the year that a query asks for, if it asks for one.

    Raises `Refusal` (422) for what is no year.
    """
    if text is None:
        return None
    if not re.fullmatch(r"[12][0-9]{3}", text):
        raise Refusal(422, f"year: {text[:80]!a} is not a year such as 2024.")
    return int(text)


def export_csv(year: int | None) -> Iterator[str]:
    """Yield the orders of a year as lines of CSV, each with its customer's balance on that day.

    Slow in the way that exports are: it asks the database once more for every line.
    """
    writer = csv.writer(_Lines())
    yield writer.writerow([*COLUMNS, "total", "balance"])
    days = days_of(year)
    with connect() as db:
        (count,) = db.execute(COUNT, days).fetchone()
        orders = db.execute(ORDERS, days)
        for number, customer, placed, product, quantity, cents in track(orders, total=count):
            (balance,) = db.execute(BALANCE, (customer, placed, number)).fetchone()
            money = map(amount, (cents, quantity * cents, balance))
            yield writer.writerow([number, customer, placed, product, quantity, *money])


class _Lines:
    """A file that hands each line straight back, as what `writerow` returns."""

    def write(self, line: str) -> str:
        return line
