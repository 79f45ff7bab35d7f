"""What a handler may do while its job runs, and how its end is told."""

from __future__ import annotations

import json
import logging
import threading
from typing import TYPE_CHECKING, Any

import pytest
from tests.elsewhere.promises import logs_here
from tests.stores.places import usual
from tests.web.apps import bench as shared_names
from tests.web.apps.bench import CHUNKS, PATIENCE, SECRET
from tests.web.clients import BASE, FlaskClient, StarletteClient
from werkzeug.test import Client as WerkzeugClient

from deferit import ASGIMiddleware, WSGIMiddleware, current_job, deferred

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.web.clients import Client
    from tests.web.conftest import Build
    from tests.web.sites import Site


# --- how it ends -----------------------------------------------------------------------------------------------------


def test_a_handler_that_raises_makes_a_failed_job(shared: Site) -> None:
    monitor = shared.defer("/boom")

    document = shared.end_of(monitor).document

    assert (document["status"], document["error"]["code"]) == ("failed", "handler-exception")
    result = shared.get(monitor + "/result")
    assert (result.status, result["AsyncResult"]) == (500, "500")
    assert b"Internal Server Error" in result.body  # the application's own page


@pytest.mark.parametrize("path", ["/boom", "/stream?fail=1", "/background?fail=1"])
def test_nothing_of_an_exception_is_on_the_wire(shared: Site, path: str) -> None:
    shared.bench.open("background")
    monitor = shared.defer(path)
    end = shared.end_of(monitor)
    result = shared.get(monitor + "/result")

    assert end.document["status"] == "failed"
    for answer in (end, result):
        assert SECRET.encode() not in answer.body
        assert b"Traceback" not in answer.body
        assert not any(SECRET in value for _, value in answer.fields)


@pytest.mark.parametrize("status", [400, 404, 422])
def test_an_http_exception_is_a_response(shared: Site, status: int) -> None:
    monitor = shared.defer(f"/abort?status={status}")

    document = shared.end_of(monitor).document

    assert (document["error"]["code"], document["resultStatus"]) == ("handler-response", status)
    assert b"not here" in shared.get(monitor + "/result").body


def test_work_behind_the_answer_belongs_to_the_job(shared: Site) -> None:
    monitor = shared.defer("/background")
    shared.bench.wait_for("the answer is made")

    during = shared.get(monitor).document
    shared.bench.open("background")
    after = shared.end_of(monitor).document

    assert (during["status"], after["status"]) == ("running", "succeeded")
    assert shared.get(monitor + "/result").body == b"answered"


def test_work_behind_the_answer_that_raises_makes_a_failed_job_with_a_result(shared: Site) -> None:
    shared.bench.open("background")
    monitor = shared.defer("/background?fail=1")

    document = shared.end_of(monitor).document

    assert (document["status"], document["error"]["code"]) == ("failed", "handler-exception")
    assert shared.get(monitor + "/result").body == b"answered"


def test_a_stream_is_kept_whole(shared: Site) -> None:
    assert shared.result_after("/stream").body == b"".join(CHUNKS)


# --- progress --------------------------------------------------------------------------------------------------------


def test_track_shows_how_far_it_has_come(shared: Site) -> None:
    monitor = shared.defer("/tracking")
    seen: list[int] = []
    answer = shared.get(monitor)
    for order in shared_names.ORDERS:
        shared.bench.wait_for(order)
        expected = 100 * len(seen) // len(shared_names.ORDERS)
        while answer.status == 202 and answer.document.get("progress") != expected:
            tag = {"If_None_Match": answer["ETag"]}
            answer = shared.get(monitor, Prefer=f"wait={PATIENCE:g}", **tag)
        seen.append(answer.document["progress"])
        shared.bench.open(order)

    assert seen == [0, 25, 50, 75]
    assert shared.end_of(monitor).document["progress"] == 100


def test_track_of_what_has_no_length_tells_the_count(shared: Site) -> None:
    monitor = shared.defer("/counting")
    shared.bench.wait_for("order 0")
    shared.bench.open("order 0")
    shared.bench.wait_for("order 1")
    answer = shared.get(monitor)
    while answer.document.get("message") != "1 done":
        answer = shared.get(monitor, Prefer="wait=20", If_None_Match=answer["ETag"])
        assert answer.status == 202
    shared.bench.open("order 1", "order 2", "order 3")

    assert "progress" not in answer.document
    assert shared.end_of(monitor).document["status"] == "succeeded"


# --- current_job, nesting --------------------------------------------------------------------------------------------


def test_there_is_a_current_job_in_the_handler_only(shared: Site) -> None:
    submitted = shared.post("/facts/x", Prefer="respond-async")
    facts = json.loads(shared.result_of(submitted["Location"]).body)

    assert facts["job"] == {"id": submitted.document["id"], "owner": None, "attempt": 1}
    assert json.loads(shared.post("/facts/x").body)["job"] is None
    assert current_job() is None


def test_a_marked_handler_that_calls_another_just_runs_it(shared: Site) -> None:
    assert json.loads(shared.result_after("/nested").body) == [2, 4]


def test_a_marked_handler_that_is_not_deferred_just_runs_the_others_it_calls(shared: Site) -> None:
    answer = shared.post("/nested-preferring")

    assert (answer.status, json.loads(answer.body)) == (200, [2, 4])


def test_without_a_middleware_a_marked_handler_runs_with_one_warning() -> None:
    @deferred
    def handler(number: int) -> int:
        return 2 * number

    with pytest.warns(RuntimeWarning, match="no deferit middleware") as caught:
        assert [handler(1), handler(2)] == [2, 4]
    assert len(caught) == 1


# --- concurrency -----------------------------------------------------------------------------------------------------


def test_no_more_jobs_run_at_once_than_concurrency_says(build: Build) -> None:
    site = build(concurrency=2)
    monitors = {name: site.defer(f"/gated/{name}") for name in "abcde"}
    site.bench.wait_for("started a")
    site.bench.wait_for("started b")

    documents = {name: site.get(monitor).document for name, monitor in monitors.items()}
    site.bench.open("a")
    site.end_of(monitors["a"])
    site.bench.wait_for("started c")
    later = {name: site.get(monitor).document["status"] for name, monitor in monitors.items()}

    statuses = [document["status"] for document in documents.values()]
    assert statuses == ["running", "running", "accepted", "accepted", "accepted"]
    assert [documents[name]["queuePosition"] for name in "cde"] == [0, 1, 2]
    assert [*later.values()] == ["succeeded", "running", "running", "accepted", "accepted"]


def test_a_backlog_is_worked_off_in_its_order(build: Build) -> None:
    site = build(concurrency=1)
    names = "abcdefghij"
    monitors = [site.defer(f"/gated/{name}") for name in names]

    site.bench.open(*names)
    for monitor in monitors:
        site.end_of(monitor)

    started = [note for note in site.bench.notes if note.startswith("started")]
    assert started == [f"started {name}" for name in names]


def test_unmarked_routes_are_answered_while_all_slots_are_taken(build: Build) -> None:
    site = build(concurrency=1)
    site.defer("/gated/a")
    site.bench.wait_for("started a")

    assert site.get("/plain").status == 200


# --- the log ---------------------------------------------------------------------------------------------------------


class Records(logging.Handler):
    """Keeps log records, and lets the test wait for one."""

    def __init__(self) -> None:
        super().__init__()
        self._condition = threading.Condition()
        self._records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        with self._condition:
            self._records.append(record)
            self._condition.notify_all()

    def of(self, job_id: str, *, until: str) -> list[logging.LogRecord]:
        """Return the records of a job, once one of them has a status."""

        def mine() -> list[logging.LogRecord]:
            return [each for each in self._records if vars(each).get("job_id") == job_id]

        def is_there() -> bool:
            return any(vars(each).get("status") == until for each in mine())

        with self._condition:
            assert self._condition.wait_for(is_there, PATIENCE), self._records
            return mine()


@pytest.fixture
def log() -> Iterator[Records]:
    logger, records = logging.getLogger("deferit"), Records()
    level = logger.level
    logger.addHandler(records)
    logger.setLevel(logging.INFO)
    yield records
    logger.removeHandler(records)
    logger.setLevel(level)


def transitions(records: list[logging.LogRecord]) -> list[tuple[str, str]]:
    return [(each.levelname, vars(each)["status"]) for each in records if hasattr(each, "status")]


@logs_here
@pytest.mark.parametrize(
    ("path", "status"),
    [("/pages", "succeeded"), ("/boom", "failed"), ("/abort?status=404", "failed")],
)
def test_each_transition_is_logged_once(shared: Site, log: Records, path: str, status: str) -> None:
    monitor = shared.defer(path)
    shared.end_of(monitor)
    shared.get(monitor)

    records = log.of(monitor.rpartition("/")[2], until=status)
    shared.result_after("/pages")

    assert transitions(records) == [("INFO", "accepted"), ("INFO", "running"), ("INFO", status)]
    assert not any(monitor in each.getMessage() for each in records)
    assert not any(vars(each)["job_id"] in each.getMessage() for each in records)


@logs_here
def test_a_cancel_is_logged_once(shared: Site, log: Records) -> None:
    monitor = shared.defer("/gated/a")
    shared.bench.wait_for("started a")
    shared.post(monitor + "/cancel")
    shared.post(monitor + "/cancel")

    records = log.of(monitor.rpartition("/")[2], until="canceled")

    words = [word for _, word in transitions(records)]
    assert words == ["accepted", "running", "canceled"]


@logs_here
@pytest.mark.parametrize("path", ["/boom", "/stream?fail=1"])
def test_an_exception_is_logged_once_with_its_traceback(
    shared: Site, log: Records, path: str
) -> None:
    monitor = shared.defer(path)

    records = log.of(monitor.rpartition("/")[2], until="failed")

    (error,) = [each for each in records if each.levelno >= logging.ERROR]
    assert error.exc_info is not None
    assert isinstance(error.exc_info[1], RuntimeError)
    assert str(error.exc_info[1]) == SECRET


@logs_here
def test_a_refusal_of_the_handlers_is_no_error_in_the_log(shared: Site, log: Records) -> None:
    monitor = shared.defer("/abort?status=404")

    records = log.of(monitor.rpartition("/")[2], until="failed")

    assert {each.levelname for each in records} == {"INFO"}


# --- applications without a framework --------------------------------------------------------------------------------


async def asgi_raises(scope: Any, receive: Any, send: Any) -> None:
    raise RuntimeError(SECRET)


async def asgi_says_nothing(scope: Any, receive: Any, send: Any) -> None:
    await receive()


async def asgi_begins(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})


def wsgi_raises(environ: Any, start_response: Any) -> Any:
    raise RuntimeError(SECRET)


def wsgi_says_nothing(environ: Any, start_response: Any) -> Any:
    return [b"body without a head"]


def wsgi_exits(environ: Any, start_response: Any) -> Any:
    raise SystemExit(SECRET)


def asked(app: Any, interface: str) -> Iterator[tuple[Client, Any]]:
    middleware: Any
    if interface == "asgi":
        middleware = ASGIMiddleware(app, store=usual(), routes=["* /*"])
        client: Client = StarletteClient(middleware)
    else:
        middleware = WSGIMiddleware(app, store=usual(), routes=["* /*"])
        client = FlaskClient(WerkzeugClient(middleware))
    with client:
        yield client, middleware
    middleware.close()


@pytest.mark.parametrize(
    "app",
    [asgi_raises, asgi_says_nothing, asgi_begins, wsgi_raises, wsgi_says_nothing, wsgi_exits],
    ids=lambda app: app.__name__,
)
def test_an_application_without_a_whole_answer_makes_a_failed_job(app: Callable[..., Any]) -> None:
    for client, _ in asked(app, app.__name__[:4]):
        for _ in range(2):  # the second shows that the first has broken nothing
            monitor = client.ask("POST", BASE + "/x", [], b"")["Location"]
            end = client.ask("GET", monitor, [("Prefer", "wait=20")], b"").document
            result = client.ask("GET", monitor + "/result", [], b"")

            assert (end["status"], end["error"]["code"]) == ("failed", "handler-exception")
            assert (result.status, result.document["code"]) == (500, "handler-exception")
            assert SECRET.encode() not in result.body


def test_write_and_a_second_start_response_are_understood() -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        write = start_response("201 Created", [("X-Own", "yes")], (None, None, None))
        write(b"written ")
        return [b"and ", b"returned"]

    for client, _ in asked(app, "wsgi"):
        monitor = client.ask("POST", BASE + "/x", [], b"")["Location"]
        client.ask("GET", monitor, [("Prefer", "wait=20")], b"")
        result = client.ask("GET", monitor + "/result", [], b"")

        assert (result.status, result["X-Own"]) == (201, "yes")
        assert result.body == b"written and returned"
