"""Take orders in from a CSV."""

import csv
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from io import TextIOWrapper
from typing import IO, TypedDict

from deferit import track
from orders.database import INSERT, Order, amount, connect
from orders.refusal import Refusal

# Each column: how its values are written, and how to say so to the person who wrote another one.
COLUMNS = {
    "number": (re.compile(r"[1-9][0-9]{0,14}"), "a whole number from 1"),
    "customer": (re.compile(r"C-[0-9]{4}"), "a customer such as C-0042"),
    "placed": (re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}"), "a day such as 2024-05-31"),
    "product": (re.compile(r"[^\x00-\x1f\udc80-\udcff]{1,80}"), "1 to 80 characters of UTF-8"),
    "quantity": (re.compile(r"[1-9][0-9]{0,3}"), "a whole number from 1 to 9999"),
    "price": (re.compile(r"[0-9]{1,6}\.[0-9]{2}"), "an amount such as 12.50"),
}

CSV_TYPES = {"text/csv", "application/csv", "application/vnd.ms-excel"}  # the last: Windows

CREDIT = 1_000_000_00  # cents that a customer may order for in all

BALANCE = "SELECT coalesce(sum(quantity * cents), 0) FROM orders WHERE customer = ?"

MAX_ERRORS = 20


class RowError(TypedDict):
    """Why one row was left out."""

    line: int
    error: str


class Outcome(TypedDict):
    """What became of an import."""

    imported: int
    rejected: int
    errors: list[RowError]  # the first ones


def check_csv(upload: IO[bytes] | None, content_type: str | None) -> IO[bytes]:
    """Return the upload if it is a CSV with the columns of orders; its rows are not looked at.

    Raises `Refusal`: 400 without a file, 415 for another content type, 422 for another header line.
    """
    if upload is None:
        raise Refusal(400, "Send the orders as multipart/form-data, the CSV as the file 'file'.")
    media_type = (content_type or "").partition(";")[0].strip().lower()
    if media_type not in CSV_TYPES:
        raise Refusal(415, f"'file' is {media_type or 'of no type'}; orders come as text/csv.")
    upload.seek(0)
    if _header(upload.readline(1000)) != list(COLUMNS):
        raise Refusal(422, f"The first line must be, in UTF-8: {','.join(COLUMNS)}")
    return upload


def import_csv(upload: IO[bytes]) -> Outcome:
    """Insert the rows that are orders, and say what is wrong with the others.

    All in one transaction: an import that is canceled, or ends in any other way, leaves nothing.
    """
    outcome = Outcome(imported=0, rejected=0, errors=[])
    with _text(upload) as text, connect() as db:
        total = sum(1 for _ in text) - 1
        text.seek(0)
        rows = csv.reader(text)
        next(rows)
        for row in track(rows, total=total):
            try:
                _insert(db, _order(row))
            except ValueError as exc:
                _reject(outcome, rows.line_num, str(exc))
            else:
                outcome["imported"] += 1
    return outcome


def _header(line: bytes) -> list[str] | None:
    try:
        return next(csv.reader([line.decode("utf-8-sig")]), None)
    except (UnicodeDecodeError, csv.Error):
        return None


@contextmanager
def _text(upload: IO[bytes]) -> Iterator[TextIOWrapper]:
    """Read bytes as text from their beginning; what is not UTF-8 is left to the check of its row."""
    upload.seek(0)
    text = TextIOWrapper(upload, "utf-8-sig", errors="surrogateescape", newline="")
    try:
        yield text
    except csv.Error as exc:
        raise Refusal(422, f"This is not a CSV any more: {exc}.") from exc
    finally:
        text.detach()  # the framework closes what it opened


def _order(row: list[str]) -> Order:
    """Return the row as an order. Raises ValueError with a sentence about the first bad value."""
    if len(row) != len(COLUMNS):
        raise ValueError(f"{len(row)} values where {len(COLUMNS)} belong")
    for value, (column, (pattern, meaning)) in zip(row, COLUMNS.items(), strict=True):
        if not pattern.fullmatch(value):
            raise ValueError(f"{column}: {value[:80]!a} is not {meaning}")
    number, customer, placed, product, quantity, price = row
    try:
        date.fromisoformat(placed)
    except ValueError as exc:
        raise ValueError(f"placed: {exc}") from exc
    return Order(int(number), customer, placed, product, int(quantity), int(Decimal(price) * 100))


def _insert(db: sqlite3.Connection, order: Order) -> None:
    """Insert an order. Raises ValueError if its customer has no credit, or the number is taken."""
    (balance,) = db.execute(BALANCE, (order.customer,)).fetchone()
    if balance + order.quantity * order.cents > CREDIT:
        raise ValueError(f"customer: {order.customer} has credit for {amount(CREDIT - balance)}")
    try:
        db.execute(INSERT, order)
    except sqlite3.IntegrityError as exc:
        raise ValueError("number: an order has it already") from exc


def _reject(outcome: Outcome, line: int, reason: str) -> None:
    outcome["rejected"] += 1
    if len(outcome["errors"]) < MAX_ERRORS:
        outcome["errors"].append(RowError(line=line, error=reason))
