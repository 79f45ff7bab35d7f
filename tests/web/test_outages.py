"""What a site answers while its store is away, and after it is back."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from io import BytesIO
from typing import TYPE_CHECKING

import pytest
from tests.matrix import EXECUTOR, STORE, in_a_file
from tests.stores.around import Around
from tests.web.clients import BASE
from tests.web.sites import FRAMEWORKS, Framework, Site, saying, site
from werkzeug.test import Client

from deferit._core.queries import Get, Load, Position
from deferit.exceptions import JobNotFound, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from deferit._core.queries import Query

UNKNOWN = f"{BASE}/jobs/job_{26 * '0'}"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "jobs.db"


@pytest.fixture(params=FRAMEWORKS)
def without_store(request: pytest.FixtureRequest, file: Path) -> Iterator[Site]:
    """A site whose store cannot be opened: somebody put something else in the file's place, or no server is there."""
    if EXECUTOR == "work":
        pytest.skip("a worker does not start without its store")
    if STORE == "memory":
        pytest.skip("memory is there as long as the process is")
    framework: Framework = request.param
    client = None if framework == "flask" else "TestClient"
    nowhere = {"redis": "redis://127.0.0.1:1", "postgresql": "postgresql://127.0.0.1:1/jobs"}
    url = nowhere.get(STORE, f"sqlite:///{file}")
    with site(framework, client=client, store=url) as built:
        file.write_bytes(b"this is no database" * 100)
        yield built


@pytest.mark.parametrize(
    ("method", "url"),
    [("POST", "/pages"), ("GET", UNKNOWN), ("GET", UNKNOWN + "/result"), ("DELETE", UNKNOWN)],
)
def test_without_a_store_the_answer_is_503(without_store: Site, method: str, url: str) -> None:
    answer = without_store.ask(method, url)

    assert (answer.status, answer.document["code"]) == (503, "store-unavailable")
    assert answer["Content-Type"] == "application/problem+json"
    assert int(answer["Retry-After"]) >= 1
    assert answer["Cache-Control"] == "no-store"


def test_a_long_body_is_refused_with_503_too(without_store: Site) -> None:
    answer = without_store.post("/length", 600_000 * b"x", Content_Type="application/x")

    assert (answer.status, answer.document["code"]) == (503, "store-unavailable")


def test_routes_that_are_not_deferred_need_no_store(without_store: Site) -> None:
    assert without_store.post("/plain", saying(201, b"served")).body == b"served"
    assert without_store.post("/preferring", saying(201, b"served")).body == b"served"
    assert without_store.post("/private").status == 401


@in_a_file
def test_when_the_store_is_back_jobs_are_accepted_without_a_restart(
    without_store: Site, file: Path
) -> None:
    assert without_store.post("/pages").status == 503

    file.unlink()

    assert without_store.end_of(without_store.defer("/pages")).document["status"] == "succeeded"


@in_a_file
def test_a_store_that_goes_while_a_job_runs_gets_to_know_its_end(file: Path) -> None:
    with site("flask", store=f"sqlite:///{file}") as built:
        monitor = built.defer("/gated/a")
        built.bench.wait_for("started a")
        with closing(sqlite3.connect(file, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            built.bench.open("a")
            built.bench.wait_for("ended a")
            other.execute("ROLLBACK")

        assert built.end_of(monitor).document["status"] == "succeeded"


# --- in the middle of an answer --------------------------------------------------------------------------------------


class MoodyStore(Around):
    """Does not answer some kinds of queries, for as long as a test likes."""

    def __init__(self) -> None:
        super().__init__()
        self.refusals: dict[type, Exception] = {}

    def read(self, query: Query) -> object:
        if type(query) in self.refusals:
            raise self.refusals[type(query)]
        return super().read(query)


@pytest.fixture(params=FRAMEWORKS)
def moody(request: pytest.FixtureRequest) -> Iterator[tuple[Site, MoodyStore]]:
    store = MoodyStore()
    with site(request.param, store=store, concurrency=1) as built:
        yield built, store


AWAY = StoreUnavailable("memory://", "it sulks")


@pytest.mark.parametrize(("query", "prefer"), [(Position, ""), (Get, "wait=20")])
def test_a_job_that_is_durable_is_answered_with_202_whatever_cannot_be_read(
    moody: tuple[Site, MoodyStore], query: type, prefer: str
) -> None:
    site, store = moody
    jobs = site.defer("/gated/a").rpartition("/")[0]
    store.refusals[query] = AWAY

    answer = site.post("/gated/b", Prefer=prefer)

    assert (answer.status, answer.document["status"]) == (202, "accepted")
    if query is Position:  # which the 202 may have from the transaction, but not a poll
        assert "queuePosition" not in site.get(f"{jobs}/{answer.document['id']}").document


@pytest.mark.parametrize(
    ("refusal", "status", "code"),
    [(AWAY, 503, "store-unavailable"), (JobNotFound("x"), 404, "job-not-found")],
    ids=["away", "purged"],
)
def test_a_result_whose_body_cannot_be_read_any_more_is_a_problem(
    moody: tuple[Site, MoodyStore], refusal: Exception, status: int, code: str
) -> None:
    site, store = moody
    monitor = site.defer("/pages")
    site.end_of(monitor)
    store.refusals[Load] = refusal

    answer = site.get(monitor + "/result")

    assert (answer.status, answer.document["code"]) == (status, code)


def test_a_body_that_ends_too_soon_is_no_servers_fault() -> None:
    """PEP 3333 has no message for it: the input just ends before the length that was declared."""
    with site("flask") as built:
        client = Client(built.app)
        answer = client.post(
            "/pages", input_stream=BytesIO(b"abc"), environ_overrides={"CONTENT_LENGTH": "10"}
        )

    assert answer.status_code == 400
