"""The service behind both example applications, without a web."""

from __future__ import annotations

import contextlib
import io
import pickle
import sqlite3
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest

import orders
from orders.database import connect
from orders.imports import CREDIT, Outcome

EXAMPLES = Path(orders.__file__).parents[1]

HEADER = "number,customer,placed,product,quantity,price"
GOOD = "9001,C-0001,2031-05-31,lamp,2,12.50"


def import_lines(*lines: str) -> Outcome:
    content = "\n".join([HEADER, *lines, ""]).encode(errors="surrogateescape")
    return orders.import_csv(orders.check_csv(io.BytesIO(content), "text/csv"))


def all_orders() -> list[str]:
    return list(orders.export_csv(None))


# --- the database ---


def test_the_same_orders_are_made_every_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = all_orders()

    monkeypatch.setenv("ORDERS_DB", str(tmp_path / "again.db"))
    orders.prepare()

    assert all_orders() == first
    assert len(first) == 1 + 500


def test_a_database_that_is_there_is_left_alone() -> None:
    import_lines(GOOD)

    orders.prepare()

    assert orders.count_orders() == 501


def test_processes_that_start_together_share_one_whole_database(tmp_path: Path) -> None:
    path = tmp_path / "shared.db"
    start = "import orders; orders.prepare(); print(orders.count_orders())"
    env = {"ORDERS_DB": str(path), "ORDERS_COUNT": "20000", "PYTHONPATH": ":".join(sys.path)}

    started = [
        subprocess.Popen([sys.executable, "-c", start], env=env, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    seen = [process.communicate(timeout=60)[0] for process in started]

    assert seen == ["20000\n"] * 3
    assert not list(tmp_path.glob(".orders-*"))


def test_orders_are_counted_by_year() -> None:
    years = [orders.count_orders(year) for year in range(2020, 2025)]

    assert sum(years) == 500
    assert all(years)


# --- imports ---


def test_rows_are_imported_and_bad_ones_are_named_by_their_line() -> None:
    outcome = import_lines(
        GOOD,
        "9002,C-1,2031-05-31,lamp,2,12.50",
        "9003,C-0001,2031-02-30,lamp,2,12.50",
        "9004,C-0001,2031-05-31,la\udcffmp,2,12.50",
        "9005,C-0001,2031-05-31,lamp,0,12.50",
        "9006,C-0001,2031-05-31,lamp,2,12.5",
        "9007,C-0001",
        "",
    )

    assert outcome == {
        "imported": 1,
        "rejected": 7,
        "errors": [
            {"line": 3, "error": "customer: 'C-1' is not a customer such as C-0042"},
            {"line": 4, "error": "placed: day is out of range for month"},
            {"line": 5, "error": "product: 'la\\udcffmp' is not 1 to 80 characters of UTF-8"},
            {"line": 6, "error": "quantity: '0' is not a whole number from 1 to 9999"},
            {"line": 7, "error": "price: '12.5' is not an amount such as 12.50"},
            {"line": 8, "error": "2 values where 6 belong"},
            {"line": 9, "error": "0 values where 6 belong"},
        ],
    }
    assert orders.count_orders(2031) == 1


def test_an_order_number_is_taken_once() -> None:
    outcome = import_lines(GOOD, GOOD)

    assert outcome["errors"] == [{"line": 3, "error": "number: an order has it already"}]


def test_a_customer_has_so_much_credit_and_no_more() -> None:
    most = CREDIT // 4 // 100

    outcome = import_lines(*[f"{n},C-9999,2031-01-01,lamp,1,{most}.00" for n in range(9001, 9006)])

    assert outcome["imported"] == 4
    assert outcome["errors"] == [{"line": 6, "error": "customer: C-9999 has credit for 0.00"}]


def test_only_the_first_errors_are_told() -> None:
    outcome = import_lines(*["bad"] * 30)

    assert outcome["rejected"] == 30
    assert [error["line"] for error in outcome["errors"]] == list(range(2, 22))


def test_an_import_that_breaks_off_leaves_nothing() -> None:
    endless = '9002,C-0001,2031-05-31,"' + "x" * 200_000

    with pytest.raises(orders.Refusal, match="not a CSV any more") as refused:
        import_lines(GOOD, endless)

    assert refused.value.status == 422
    assert orders.count_orders(2031) == 0


def test_a_spreadsheet_writes_a_mark_and_other_line_ends() -> None:
    upload = io.BytesIO(
        b"\xef\xbb\xbf" + f"{HEADER}\r\n{GOOD.replace('lamp', 'étagère')}\r\n".encode()
    )

    outcome = orders.import_csv(orders.check_csv(upload, "application/vnd.ms-excel"))

    assert outcome["imported"] == 1
    assert "étagère" in next(islice(orders.export_csv(2031), 1, None))
    assert not upload.closed


@pytest.mark.parametrize(
    ("content", "content_type", "status"),
    [
        (None, None, 400),
        (b"", None, 415),
        (HEADER.encode(), "application/pdf", 415),
        (b"", "text/csv", 422),
        (b"a,b\n", "text/csv", 422),
        (HEADER.encode("utf-16"), "text/csv", 422),
        (b'"' + b"x" * 5000, "text/csv", 422),
    ],
)
def test_what_is_no_csv_of_orders_is_refused(
    content: bytes | None, content_type: str | None, status: int
) -> None:
    upload = None if content is None else io.BytesIO(content)

    with pytest.raises(orders.Refusal) as refused:
        orders.check_csv(upload, content_type)

    assert refused.value.status == status


# --- exports ---


def test_an_export_carries_totals_and_balances() -> None:
    import_lines(
        "9001,C-9999,2031-05-31,lamp,2,12.50",
        '9002,C-9999,2031-06-01,"lamp, red",1,0.99',
        "9003,C-9998,2031-06-02,lamp,1,1.00",
    )

    assert "".join(orders.export_csv(2031)) == (
        f"{HEADER},total,balance\r\n"
        "9001,C-9999,2031-05-31,lamp,2,12.50,25.00,25.00\r\n"
        '9002,C-9999,2031-06-01,"lamp, red",1,0.99,0.99,25.99\r\n'
        "9003,C-9998,2031-06-02,lamp,1,1.00,1.00,1.00\r\n"
    )


def test_an_import_may_go_on_while_an_export_is_read() -> None:
    before = all_orders()
    lines = orders.export_csv(None)
    header, first = next(lines), next(lines)

    import_lines(GOOD)

    assert [header, first, *lines] == before
    assert len(all_orders()) == 1 + 501


@pytest.mark.parametrize("text", ["", "24", "20244", "abcd", "\uff12\uff10\uff12\uff14", "0999"])
def test_what_is_no_year_is_refused(text: str) -> None:
    with pytest.raises(orders.Refusal, match="year") as refused:
        orders.check_year(text)

    assert refused.value.status == 422


# --- reports ---


def test_a_report_tells_how_a_customer_buys() -> None:
    import_lines(
        "9001,C-9999,2031-05-31,lamp,1,10.00",
        "9002,C-9999,2031-06-01,lamp,2,10.00",
        "9003,C-9999,2031-07-01,lamp,6,10.00",
        "9004,C-9999,2032-07-01,lamp,6,10.00",
    )

    answer = orders.report(orders.Question(year=2031, customers=["C-9999", "C-9998"]))

    (statistics,) = answer["customers"]
    low, high = statistics.pop("interval")  # type: ignore[misc]
    assert statistics == {
        "customer": "C-9999",
        "orders": 3,
        "first": "2031-05-31",
        "last": "2031-07-01",
        "total": 9000,
        "mean": 3000.0,
        "median": 2000,
        "largest": 6000,
    }
    assert 1000 <= low <= 3000 <= high <= 6000


def test_a_report_without_a_question_is_about_everybody() -> None:
    answer = orders.report(orders.Question())

    assert answer["year"] is None
    assert sum(statistics["orders"] for statistics in answer["customers"]) == 500
    assert answer == orders.report(orders.Question())


def test_a_question_is_read_from_json() -> None:
    body = b'{"year": 2024, "customers": ["C-0042"]}'

    assert orders.check_question(body, "application/json") == (2024, ["C-0042"])
    assert orders.check_question(b"{}", "Application/JSON; charset=utf-8") == (None, None)


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"{}", None, 415),
        (b"{}", "text/plain", 415),
        (b"{", "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b"[]", "application/json", 422),
        (b'{"month": 5}', "application/json", 422),
        (b'{"year": "2024"}', "application/json", 422),
        (b'{"year": true}', "application/json", 422),
        (b'{"customers": "C-0042"}', "application/json", 422),
        (b'{"customers": ["\\ud800"]}', "application/json", 422),
    ],
)
def test_what_is_no_question_is_refused(body: bytes, content_type: str | None, status: int) -> None:
    with pytest.raises(orders.Refusal) as refused:
        orders.check_question(body, content_type)

    assert refused.value.status == status


# --- the rest ---


def test_a_refusal_survives_the_way_between_processes() -> None:
    refusal = pickle.loads(pickle.dumps(orders.Refusal(422, "No.")))

    assert (refusal.status, str(refusal)) == (422, "No.")


def test_a_transaction_that_raises_leaves_nothing_and_is_closed() -> None:
    with contextlib.suppress(KeyError), connect() as db:
        db.execute("DELETE FROM orders")
        raise KeyError

    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        db.execute("SELECT 1")
    assert orders.count_orders() == 500
