from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
from tests.process.parts import Process, draft

from deferit._core.job import Failure
from deferit._log import log, log_exception, log_new

if TYPE_CHECKING:
    from deferit._process.runs import Run


@pytest.fixture(autouse=True)
def _info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "deferit")


def extras(record: logging.LogRecord) -> tuple[str, str, int]:
    fields = record.__dict__
    return fields["job_id"], fields["status"], fields["attempt"]


def test_a_transition_is_a_line_with_the_id_as_an_extra(caplog: pytest.LogCaptureFixture) -> None:
    job = draft()

    log(job)

    (record,) = caplog.records
    assert (record.name, record.levelname) == ("deferit", "INFO")
    assert record.getMessage() == "POST /reports: job accepted"
    assert extras(record) == (job.id, "accepted", 0)
    assert job.id not in record.getMessage()


def test_a_failure_tells_its_code(caplog: pytest.LogCaptureFixture) -> None:
    job = draft().ended(0.0, None, Failure("route-gone", "secret"))

    log(job)

    assert caplog.messages == ["POST /reports: job failed (route-gone)"]


def test_a_new_job_that_runs_at_once_has_two_lines(caplog: pytest.LogCaptureFixture) -> None:
    log_new(draft())
    log_new(draft().claimed(0.0))

    assert [extras(record)[1] for record in caplog.records] == ["accepted", "accepted", "running"]


def test_nothing_is_made_up_that_nobody_reads(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "deferit")

    log(draft())

    assert caplog.records == []


def test_an_exception_is_an_error_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    def fail(run: Run) -> None:
        log_exception(run, "POST /reports", ValueError("oops"))

    process = Process()
    process.handlers.handler = fail
    job = process.create()
    process.end_of(job)
    process.close()

    found = next(record for record in caplog.records if record.levelname == "ERROR")
    assert found.getMessage() == "POST /reports: the handler raised"
    assert found.exc_info is not None
    assert found.__dict__["job_id"] == job.id


def test_each_transition_of_a_job_is_logged_once(
    process: Process, caplog: pytest.LogCaptureFixture
) -> None:
    job = process.create()
    process.end_of(job)
    process.ledger.close()

    lines = [extras(record)[1] for record in caplog.records]
    assert lines == ["accepted", "running", "succeeded"]


def test_an_exception_of_a_handler_is_logged_once(
    process: Process, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_run: Run) -> None:
        raise ValueError("oops")

    process.handlers.handler = fail
    process.end_of(process.create())
    process.ledger.close()

    errors = [record for record in caplog.records if record.levelname == "ERROR"]
    assert len(errors) == 1
    assert "ValueError: oops" in caplog.text
