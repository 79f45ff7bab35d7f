from __future__ import annotations

import math

import pytest

from deferit._core.job import Failure
from deferit._core.outcome import outcome
from deferit._core.recorder import Recorder, ResultTooLarge

SECRET = KeyError("hunter2")
RAISED = Failure("handler-exception", "The handler raised KeyError.")


def a_recording(
    status: int | None = 200,
    body: bytes = b"hello",
    *,
    is_ended: bool = True,
    limit: float = math.inf,
) -> Recorder:
    recorder = Recorder("https://shop.example/", limit)
    if status is not None:
        recorder.start(status, ())
    list(recorder.write(body))
    if is_ended:
        recorder.end()
    return recorder


@pytest.mark.parametrize("status", [200, 204, 302, 399])
def test_an_answer_under_400_is_a_success(status: int) -> None:
    end = outcome(a_recording(status), None, None)

    assert end.error is None
    assert end.result is not None
    assert end.result.status == status
    assert end.body == (b"" if status == 204 else b"hello")


@pytest.mark.parametrize("status", [400, 404, 500])
def test_an_answer_of_400_or_more_is_a_failure_with_a_result(status: int) -> None:
    end = outcome(a_recording(status), None, None)

    assert end.error == Failure("handler-response", f"The handler answered {status}.")
    assert end.result is not None


def test_an_exception_without_a_response_is_a_failure_without_a_result() -> None:
    for recording in (a_recording(None, b""), a_recording(is_ended=False)):
        end = outcome(recording, SECRET, None)

        assert (end.result, end.error, end.body) == (None, RAISED, b"")


def test_an_exception_of_which_the_application_made_a_page_has_that_page_as_its_result() -> None:
    end = outcome(a_recording(500), None, SECRET)

    assert end.error == RAISED
    assert end.result is not None


def test_an_exception_that_the_application_answers_as_a_refusal_is_that_answer() -> None:
    assert outcome(a_recording(404), None, SECRET).error == Failure(
        "handler-response", "The handler answered 404."
    )
    assert outcome(a_recording(200), None, SECRET).error is None


def test_an_exception_after_the_response_keeps_it() -> None:
    end = outcome(a_recording(200), SECRET, None)

    assert end.error == RAISED
    assert end.result is not None


def test_an_exception_of_the_handler_counts_where_nothing_else_is_known() -> None:
    assert outcome(a_recording(is_ended=False), None, SECRET).error == RAISED


def test_no_exception_and_no_whole_response_is_a_failure_too() -> None:
    error = outcome(a_recording(is_ended=False), None, None).error

    assert error == Failure("handler-exception", "The application ended without a whole response.")


def test_its_text_is_not_told() -> None:
    assert "hunter2" not in repr(outcome(a_recording(500), SECRET, SECRET))


@pytest.mark.parametrize("is_swallowed", [False, True])
def test_a_response_that_is_too_large_is_none(is_swallowed: bool) -> None:
    recording = a_recording(limit=5, is_ended=False)
    with pytest.raises(ResultTooLarge) as caught:
        list(recording.write(b"!"))
    recording.end()

    end = outcome(recording, None if is_swallowed else caught.value, None)

    assert (end.result, end.body) == (None, b"")
    assert end.error is not None
    assert end.error.code == "result-too-large"


class Abort(Exception):
    """How a framework answers with a status code from within: Starlette's has ``status_code``, Werkzeug's ``code``."""

    def __init__(self, **fields: object) -> None:
        super().__init__()
        vars(self).update(fields)


@pytest.mark.parametrize("fields", [{"status_code": 503}, {"code": 503}])
def test_an_exception_that_is_a_frameworks_answer_is_an_answer(fields: dict[str, int]) -> None:
    end = outcome(a_recording(503), None, Abort(**fields))

    assert end.error == Failure("handler-response", "The handler answered 503.")


def test_an_exception_with_a_code_of_another_kind_is_an_exception() -> None:
    end = outcome(a_recording(500), None, Abort(code="E42"))

    assert end.error == Failure("handler-exception", "The handler raised Abort.")


@pytest.mark.parametrize("status", [404, 405])
def test_a_route_that_is_not_there_any_more_is_gone(status: int) -> None:
    end = outcome(a_recording(status), None, None, misses_handler=True)

    assert end.result is None
    assert end.error is not None
    assert end.error.code == "route-gone"
    assert f"answered {status} before" in end.error.message


@pytest.mark.parametrize("status", [200, 401, 500])
def test_another_answer_without_the_handler_is_an_answer(status: int) -> None:
    end = outcome(a_recording(status), None, None, misses_handler=True)

    assert end == outcome(a_recording(status), None, None)
