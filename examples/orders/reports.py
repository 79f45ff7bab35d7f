"""Say how customers buy."""

import json
import sqlite3
from random import Random
from statistics import fmean, median
from typing import Any, NamedTuple, TypedDict

from deferit import track
from orders.database import connect, days_of
from orders.imports import COLUMNS
from orders.refusal import Refusal

RESAMPLES = 200

CUSTOMERS = "SELECT DISTINCT customer FROM orders ORDER BY customer"

ORDERS_OF = """
    SELECT placed, quantity * cents AS total FROM orders
    WHERE customer = ? AND placed BETWEEN ? AND ? ORDER BY placed, number
"""


class Question(NamedTuple):
    """What a report is about; None means all."""

    year: int | None = None
    customers: list[str] | None = None


class Statistics(TypedDict):
    """How one customer buys; amounts of money are in cents."""

    customer: str
    orders: int
    first: str
    last: str
    total: int
    mean: float
    median: float
    interval: list[float]  # where the mean is with 95 % confidence
    largest: int


class Report(TypedDict):
    """The answer."""

    year: int | None
    customers: list[Statistics]


def check_question(body: bytes, content_type: str | None) -> Question:
    """Return what a JSON body asks: `{"year": 2024, "customers": ["C-0042"]}`, both optional.

    Raises `Refusal`: 415 for another content type, 400 for what is not JSON, 422 for other members.
    """
    media_type = (content_type or "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise Refusal(415, "A question comes as application/json.")
    try:
        members = json.loads(body)
    except (ValueError, RecursionError) as exc:
        raise Refusal(400, f"This is not JSON: {exc}.") from exc
    return _question(members)


def report(question: Question) -> Report:
    """Work out the statistics of each customer, one by one; those who bought nothing are left out."""
    days = days_of(question.year)
    with connect() as db:
        customers = question.customers
        if customers is None:
            customers = [customer for (customer,) in db.execute(CUSTOMERS)]
        statistics = [_statistics(db, customer, days) for customer in track(customers)]
    return Report(year=question.year, customers=[each for each in statistics if each])


def _question(members: Any) -> Question:
    if not isinstance(members, dict) or members.keys() - set(Question._fields):
        raise Refusal(422, f"A question is an object of {' and '.join(Question._fields)}.")
    question = Question(**members)
    if question.year is not None and not _is_year(question.year):
        raise Refusal(422, "year: a whole number such as 2024, or null.")
    if question.customers is not None and not _are_customers(question.customers):
        raise Refusal(422, 'customers: a list such as ["C-0042"], or null.')
    return question


def _is_year(value: object) -> bool:
    return type(value) is int and value in range(1000, 3000)  # `type`: True is no year


def _are_customers(value: object) -> bool:
    pattern, _ = COLUMNS["customer"]
    return isinstance(value, list) and all(
        isinstance(each, str) and pattern.fullmatch(each) for each in value
    )


def _statistics(db: sqlite3.Connection, customer: str, days: tuple[str, str]) -> Statistics | None:
    orders = db.execute(ORDERS_OF, (customer, *days)).fetchall()
    if not orders:
        return None
    totals = [total for _, total in orders]
    return Statistics(
        customer=customer,
        orders=len(orders),
        first=orders[0][0],
        last=orders[-1][0],
        total=sum(totals),
        mean=round(fmean(totals), 2),
        median=median(totals),
        interval=_interval(totals),
        largest=max(totals),
    )


def _interval(totals: list[int]) -> list[float]:
    """Return a 95 % confidence interval of the mean: the bootstrap, which is what takes its time.

    Efron, "Bootstrap Methods: Another Look at the Jackknife", The Annals of Statistics 7 (1979).
    """
    random = Random(len(totals))  # noqa: S311 - the same question gets the same answer
    means = sorted(fmean(random.choices(totals, k=len(totals))) for _ in range(RESAMPLES))
    tail = RESAMPLES // 40  # 2.5 % at each end
    return [round(means[tail], 2), round(means[-tail - 1], 2)]
