"""A small orders service without its web: both example applications stand on it.

Nothing here knows a framework. The three slow things are `import_csv`, `export_csv` and `report`;
what has to be said of a request before it is deferred are the three `check_…` functions.
"""

from orders.database import count_orders, prepare
from orders.exports import check_year, export_csv
from orders.imports import check_csv, import_csv
from orders.refusal import Refusal
from orders.reports import Question, check_question, report

__all__ = [
    "Question",
    "Refusal",
    "check_csv",
    "check_question",
    "check_year",
    "count_orders",
    "export_csv",
    "import_csv",
    "prepare",
    "report",
]
