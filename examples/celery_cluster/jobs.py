"""What is submitted, and what becomes of it, as a client of the service sees it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import cycle, islice
from typing import Any
from urllib.parse import urlsplit

import httpx

ROWS = 3_000  # of each CSV that is imported
FIRST_YEAR = 2101  # each import has a year of its own, so that its orders can be counted
HEADER = "number,customer,placed,product,quantity,price"


@dataclass(eq=False)  # two jobs are never the same, however alike they are
class Job:
    """One job: what was asked, the newest status document, and who ran it."""

    what: str  # exports, reports, imports
    year: int
    path: str  # of the monitor, at whichever web process
    document: dict[str, Any] = field(repr=False)
    worker: str = ""

    @property
    def id(self) -> str:
        """Return deferit's id of it."""
        return str(self.document["id"])

    @property
    def status(self) -> str:
        """Return the status that the client saw last."""
        return str(self.document["status"])

    @property
    def is_finished(self) -> bool:
        """Whether nothing can follow."""
        return bool(self.document["done"])

    @property
    def is_repeatable(self) -> bool:
        """Whether it may run again when its worker has died: a GET may, a POST may not."""
        return self.what == "exports"

    @property
    def is_repeated(self) -> bool:
        """Whether it ran again."""
        return bool(self.document.get("attempt", 1) > 1)

    @property
    def is_interrupted(self) -> bool:
        """Whether its worker died in it, and nobody may run it again."""
        return bool(self.document.get("error", {}).get("code") == "interrupted")

    def __str__(self) -> str:
        return f"{self.what} {self.year}"


class Service:
    """The web processes, asked in turn: who accepts a job is hardly ever who answers for it."""

    def __init__(self, urls: list[str]) -> None:
        # Without trust_env: no proxy stands between this script and the servers beside it.
        self._clients = [httpx.Client(base_url=url, timeout=30, trust_env=False) for url in urls]
        self._turns = cycle(self._clients)
        self._wishes = _wishes()

    def is_up(self) -> bool:
        """Whether each web process answers."""
        try:
            return all(client.get("/orders").is_success for client in self._clients)
        except httpx.TransportError:
            return False

    def submit(self, count: int) -> list[Job]:
        """Submit so many more jobs and return them; a 202 means that the job is in PostgreSQL."""
        return [self._submit(what, year) for what, year in islice(self._wishes, count)]

    def _submit(self, what: str, year: int) -> Job:
        client = next(self._turns)
        if what == "exports":
            accepted = client.get("/exports/orders.csv", params={"year": year})
        elif what == "reports":
            accepted = client.post("/reports", json={"year": year})
        else:
            accepted = client.post("/imports", files={"file": ("a.csv", _csv(year), "text/csv")})
        if accepted.status_code != httpx.codes.ACCEPTED:
            raise httpx.HTTPStatusError(
                f"{what} is answered {accepted.status_code}, not 202: {accepted.text}",
                request=accepted.request,
                response=accepted,
            )
        return Job(what, year, urlsplit(accepted.headers["Location"]).path, accepted.json())

    def look(self, job: Job) -> None:
        """Ask for the job's document, and once it is finished who has answered."""
        job.document = next(self._turns).get(job.path).json()
        if job.is_finished and not job.worker:
            result = next(self._turns).get(f"{job.path}/result")
            job.worker = result.headers.get("Served-By", "") if job.status == "succeeded" else ""

    def count(self, year: int) -> int:
        """Return how many orders there are of a year."""
        answer = next(self._turns).get("/orders", params={"year": year})
        return int(answer.raise_for_status().json()["orders"])


def _wishes() -> Iterator[tuple[str, int]]:
    """Yield what to ask for: two exports, three reports, an import, and so on."""
    kinds = cycle(["exports", "reports", "imports", "reports", "exports", "reports"])
    for number, what in enumerate(kinds):
        yield what, FIRST_YEAR + number if what == "imports" else 2020 + number % 5


def _csv(year: int) -> str:
    first = year * 100_000
    rows = (f"{first + row},C-{1 + row % 250:04},{year}-05-31,lamp,1,1.50" for row in range(ROWS))
    return "\n".join([HEADER, *rows, ""])
