from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from tests.core.samples import (
    JOB_ID,
    MONITOR,
    NOON,
    RESULT,
    TTL,
    Driven,
    a_job,
    a_result,
    a_submission,
    a_visit,
    canceled,
    code_of,
    failed,
    in_status,
    members,
    running,
    succeeded,
)

from deferit._core.commands import Cancel, Create, Get, Position, Purge
from deferit._core.flow import (
    Capture,
    Effect,
    Flow,
    Now,
    RequestTooLarge,
    ShuttingDown,
    Stop,
    Target,
    Visit,
    Wait,
    adrive,
    answer,
    drive,
    may_see,
    submit,
    target,
    unreadable,
)
from deferit._core.http import Response
from deferit._core.job import Job, Status
from deferit._core.policy import AcceptHook, Mark, Refusal
from deferit._core.prefer import Prefer
from deferit.exceptions import JobNotFound, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

DOWN = StoreUnavailable("sqlite:///jobs.db", "disk full")
CAPTURED = b"a captured request"

# --- submitting: CONTRACT.md, section 1 ------------------------------------------------------------------------------


def test_a_request_becomes_durable_and_then_is_answered_202() -> None:
    driven = Driven(submit(a_submission()))

    assert driven.effect == Capture(JOB_ID)
    assert driven.answer(CAPTURED) == Create(a_job(), CAPTURED)
    assert driven.answer(a_job()) == Position(a_job())
    assert driven.answer(4) == Now()
    assert driven.answer(NOON) is None

    assert driven.end.status == 202
    assert driven.end.header("Location") == MONITOR
    assert members(driven.end)["queuePosition"] == 4


def test_a_job_that_was_started_at_once_has_no_position() -> None:
    driven = Driven(submit(a_submission()))

    driven.answer(CAPTURED)
    assert driven.answer(running()) == Now()
    driven.answer(NOON)

    assert members(driven.end)["status"] == "running"


def test_its_end_is_waited_for_if_somebody_wants_that() -> None:
    driven = Driven(submit(a_submission(wait=5.0)))

    driven.answer(CAPTURED)
    assert driven.answer(running()) == Wait(running(), 5.0)
    assert driven.answer(succeeded(a_result(201))) is None

    assert (driven.end.status, driven.end.header("AsyncResult")) == (201, "201")


def test_what_does_not_end_in_time_is_answered_202() -> None:
    prefer = Prefer(wait=5)
    driven = Driven(submit(a_submission(5.0, prefer)))

    driven.answer(CAPTURED)
    driven.answer(running())
    assert driven.answer(running()) == Now()
    driven.answer(NOON)

    assert driven.end.status == 202
    assert driven.end.header("Preference-Applied") == "wait=5"


def test_a_job_that_ends_at_once_is_answered_with_its_end_though_nobody_waits() -> None:
    driven = Driven(submit(a_submission()))

    driven.answer(CAPTURED)
    assert driven.answer(succeeded()) is None

    assert driven.end.status == 200


@pytest.mark.parametrize(
    ("exc", "refusal"),
    [
        (RequestTooLarge(1000), (413, "request-too-large")),
        (ShuttingDown(), (503, "shutting-down")),
        (DOWN, (503, "store-unavailable")),
    ],
)
@pytest.mark.parametrize("steps", [0, 1])
def test_what_cannot_be_made_durable_is_refused(
    exc: Exception, refusal: tuple[int, str], steps: int
) -> None:
    driven = Driven(submit(a_submission()))
    for _ in range(steps):
        driven.answer(CAPTURED)

    assert driven.answer(exc) is None

    assert code_of(driven.end) == refusal
    assert driven.end.header("Location") is None


def test_the_refusal_names_the_limit() -> None:
    driven = Driven(submit(a_submission()))

    driven.answer(RequestTooLarge(1000))

    assert members(driven.end)["detail"] == "The body is longer than 1000 bytes."


@pytest.mark.parametrize("wait", [0.0, 5.0])
def test_a_store_that_goes_away_after_the_job_is_durable_does_not_unmake_it(wait: float) -> None:
    driven = Driven(submit(a_submission(wait)))

    driven.answer(CAPTURED)
    driven.answer(a_job())
    assert driven.answer(DOWN) == Now()
    driven.answer(NOON)

    assert (driven.end.status, driven.end.header("Location")) == (202, MONITOR)
    assert "queuePosition" not in members(driven.end)


def test_what_the_application_put_on_its_placeholder_stays_on_202_and_refusal() -> None:
    submission = a_submission()
    submission = type(submission)(
        submission.visit, submission.mark, submission.deferral, submission.draft, (("X-Own", "1"),)
    )
    good, bad = Driven(submit(submission)), Driven(submit(submission))

    for value in (CAPTURED, running(), NOON):
        good.answer(value)
    bad.answer(ShuttingDown())

    assert (good.end.header("X-Own"), bad.end.header("X-Own")) == ("1", "1")


def test_another_origin_may_read_the_fields_of_a_202() -> None:
    driven = Driven(submit(a_submission(Origin="https://spa.example")))

    for value in (CAPTURED, running(), NOON):
        driven.answer(value)

    exposed = driven.end.header("Access-Control-Expose-Headers")
    assert exposed is not None
    assert "Operation-Location" in exposed


def hook(refusal: Refusal) -> AcceptHook:
    return lambda _request: refusal


@pytest.mark.parametrize(
    ("refusal", "detail"),
    [(403, "The request cannot be accepted."), ((403, "Not today."), "Not today.")],
)
def test_an_accept_hook_refuses_before_anything_is_done(refusal: Refusal, detail: str) -> None:
    driven = Driven(submit(a_submission(mark=Mark(accept=hook(refusal)))))

    assert driven.effect is None
    assert code_of(driven.end) == (403, "request-refused")
    assert members(driven.end)["detail"] == detail


def test_an_accept_hook_may_answer_with_a_response_of_its_own() -> None:
    teapot = Response(418, (("X", "y"),), b"short and stout")

    driven = Driven(submit(a_submission(mark=Mark(accept=hook(teapot)))))

    assert driven.end == Response(418, (("X", "y"), ("Vary", "Prefer")), b"short and stout")


def test_an_accept_hook_that_has_nothing_against_it_lets_it_pass() -> None:
    seen: list[str] = []
    mark = Mark(accept=lambda request: seen.append(request.path))

    driven = Driven(submit(a_submission(mark=mark)))

    assert driven.effect == Capture(JOB_ID)
    assert seen == ["/reports"]


# --- the mounted routes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (f"/jobs/{JOB_ID}", Target(JOB_ID, "")),
        (f"/jobs/{JOB_ID}/", Target(JOB_ID, "")),
        (f"/jobs/{JOB_ID}/result", Target(JOB_ID, "result")),
        (f"/jobs/{JOB_ID}/a/b", Target(JOB_ID, "a/b")),
        ("/jobs", None),
        ("/jobs/", None),
        ("/jobs/42", None),
        ("/jobs/job_42", None),
        ("/jobs/job_42/result", None),
        (f"/other/{JOB_ID}", None),
        (f"/jobs{JOB_ID}", None),
        (f"/api/jobs/{JOB_ID}", None),
    ],
)
def test_only_what_has_the_shape_of_an_id_is_not_the_applications(
    path: str, found: Target | None
) -> None:
    assert target(path, "/jobs") == found


def asked(
    resource: str = "",
    method: str = "GET",
    job: Job | Exception | None = None,
    now: float = NOON,
    owner: str | None = None,
    **headers: str,
) -> Driven:
    """Return the flow of a mounted route as it is once its job was read and its expiry checked."""
    driven = Driven(answer(a_visit(method, owner=owner, **headers), Target(JOB_ID, resource)))
    assert driven.effect == Get(JOB_ID)
    if driven.answer(running() if job is None else job) == Now():
        driven.answer(now)
    return driven


ROUTES = [("", "GET"), ("", "DELETE"), ("result", "GET"), ("cancel", "POST"), ("", "HEAD")]


@pytest.mark.parametrize(("resource", "method"), ROUTES)
def test_an_unknown_id_and_somebody_elses_job_are_the_same_404(resource: str, method: str) -> None:
    unknown = asked(resource, method, JobNotFound(JOB_ID))
    foreign = asked(resource, method, running(owner="ada"), owner="eve")
    nobodys = asked(resource, method, running(owner="ada"))
    expired = asked(resource, method, succeeded(owner="ada"), NOON + 9e9, owner="eve")

    assert code_of(unknown.end) == (404, "job-not-found")
    assert unknown.end == foreign.end == nobodys.end == expired.end


def test_a_job_without_an_owner_answers_to_whoever_knows_its_url() -> None:
    assert may_see(a_job(), None)
    assert may_see(a_job(), "eve")
    assert may_see(a_job(owner="ada"), "ada")
    assert not may_see(a_job(owner="ada"), "eve")
    assert not may_see(a_job(owner="ada"), None)


@pytest.mark.parametrize(("resource", "method"), ROUTES)
def test_an_expired_job_is_gone(resource: str, method: str) -> None:
    assert code_of(asked(resource, method, succeeded(), NOON + 1 + TTL).end) == (410, "job-expired")


@pytest.mark.parametrize(("resource", "method"), ROUTES)
def test_a_store_that_is_down_is_503(resource: str, method: str) -> None:
    response = asked(resource, method, DOWN).end

    assert code_of(response) == (503, "store-unavailable")
    assert response.header("Retry-After") == "1"


@pytest.mark.parametrize(
    ("resource", "method", "allow"),
    [
        ("", "POST", "GET, HEAD, DELETE"),
        ("", "OPTIONS", "GET, HEAD, DELETE"),
        ("result", "DELETE", "GET, HEAD"),
        ("cancel", "GET", "POST"),
    ],
)
def test_a_wrong_method_is_405_with_the_right_ones(resource: str, method: str, allow: str) -> None:
    driven = Driven(answer(a_visit(method), Target(JOB_ID, resource)))

    assert code_of(driven.end) == (405, "method-not-allowed")
    assert driven.end.header("Allow") == allow


@pytest.mark.parametrize("resource", ["x", "result/", "result/x", "cancel/"])
def test_an_unknown_resource_is_404(resource: str) -> None:
    driven = Driven(answer(a_visit(), Target(JOB_ID, resource)))

    assert code_of(driven.end) == (404, "job-not-found")


def test_another_origin_may_read_the_fields_of_a_refusal() -> None:
    response = asked("", "GET", JobNotFound(JOB_ID), Origin="https://spa.example").end

    assert response.header("Access-Control-Expose-Headers") is not None


# --- the monitor: CONTRACT.md, section 2 -----------------------------------------------------------------------------


def test_the_monitor_of_a_waiting_job_tells_its_position() -> None:
    driven = asked(job=a_job())

    assert driven.effect == Position(a_job())
    assert driven.answer(2) == Now()
    driven.answer(NOON)

    assert driven.end.status == 202
    assert members(driven.end)["queuePosition"] == 2


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("job", [succeeded(), failed(), canceled()])
def test_the_monitor_of_a_finished_job_is_200_whatever_became_of_it(job: Job, method: str) -> None:
    driven = asked("", method, job)
    assert driven.effect == Now()
    driven.answer(NOON)

    assert driven.end.status == 200
    assert driven.end.header("Location") is None


def test_a_monitor_that_is_known_is_304() -> None:
    driven = asked(If_None_Match='W/"2"')
    driven.answer(NOON)

    assert driven.end.status == 304


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"Prefer": "wait=5"}, Wait(running(), 5)),
        ({"Prefer": "wait=99"}, Wait(running(), 30.0)),
        ({"Prefer": "wait=5", "If_None_Match": 'W/"2"'}, Wait(running(), 5, revision=2)),
        ({"Prefer": "wait=5", "If_None_Match": 'W/"1"'}, Now()),
        ({"Prefer": "wait=0"}, Now()),
        ({}, Now()),
    ],
)
def test_a_long_poll_waits_for_the_end_or_for_a_change_that_the_client_has_not_seen(
    headers: dict[str, Any], wait: Effect
) -> None:
    assert asked(**headers).effect == wait


def test_a_long_poll_answers_with_the_job_as_it_is_then() -> None:
    driven = asked(Prefer="wait=5")

    assert driven.answer(succeeded()) == Now()
    driven.answer(NOON)

    assert members(driven.end)["status"] == "succeeded"


def test_a_finished_job_is_not_waited_for() -> None:
    assert asked(job=succeeded(), Prefer="wait=5").effect == Now()
    assert asked("result", job=succeeded(), Prefer="wait=5").end.status == 200


def test_a_job_that_is_purged_while_it_is_waited_for_is_404() -> None:
    driven = asked(Prefer="wait=5")

    driven.answer(JobNotFound(JOB_ID))

    assert code_of(driven.end) == (404, "job-not-found")


@pytest.mark.parametrize(
    ("revision", "job", "is_over"),
    [
        (None, running(), False),
        (None, succeeded(), True),
        (2, running(), False),
        (1, running(), True),
        (3, succeeded(), True),
    ],
)
def test_waiting_is_over_when_it_is_finished_or_has_another_revision(
    revision: int | None, job: Job, is_over: bool
) -> None:
    assert Wait(running(), 1, revision).is_over(job) == is_over


# --- the result: CONTRACT.md, section 3 ------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_result_route_is_202_until_there_is_a_result(method: str) -> None:
    driven = asked("result", method, a_job())

    assert driven.effect == Position(a_job())
    assert driven.answer(1) == Now()
    driven.answer(NOON)

    assert (driven.end.status, driven.end.header("Location")) == (202, RESULT)
    assert members(driven.end)["queuePosition"] == 1


def test_the_result_route_waits_for_the_end_alone() -> None:
    driven = asked("result", Prefer="wait=5", If_None_Match='W/"2"')

    assert driven.effect == Wait(running(), 5)
    driven.answer(succeeded(a_result(201)))

    assert driven.end.status == 201


def test_a_result_is_replayed_without_cookies_unless_they_are_wanted() -> None:
    job = succeeded(a_result(200, (("Set-Cookie", "a=1"),)))
    visit = a_visit()
    wanted = Visit(visit.request, visit.site, None, visit.prefer, 30.0, cookies=True)
    driven = Driven(answer(wanted, Target(JOB_ID, "result")))

    driven.answer(job)
    driven.answer(NOON)

    assert driven.end.header("Set-Cookie") == "a=1"
    assert asked("result", job=job).end.header("Set-Cookie") is None


def test_a_body_that_is_gone_or_cannot_be_read_is_a_problem() -> None:
    assert code_of(unreadable(JobNotFound(JOB_ID))) == (404, "job-not-found")
    assert code_of(unreadable(DOWN)) == (503, "store-unavailable")


def test_a_result_that_is_known_is_304() -> None:
    assert asked("result", job=succeeded(), If_None_Match='"tag"').end.status == 304


def test_a_canceled_or_broken_job_has_a_problem_for_a_result() -> None:
    assert code_of(asked("result", job=canceled()).end) == (410, "job-canceled")
    assert code_of(asked("result", job=failed(code="interrupted")).end) == (500, "interrupted")


# --- cancel and purge: CONTRACT.md, section 4 ------------------------------------------------------------------------

CANCELS: list[Callable[..., Driven]] = [
    partial(asked, "", "DELETE"),
    partial(asked, "cancel", "POST"),
]


@pytest.mark.parametrize("ask", CANCELS)
def test_a_waiting_job_is_canceled_and_was_never_started(ask: Callable[..., Driven]) -> None:
    driven = ask(a_job())

    assert driven.effect == Now()
    command = driven.answer(NOON)
    assert isinstance(command, Cancel)
    assert command == Cancel(JOB_ID, 0, NOON, "never started")
    driven.answer(command.apply(a_job()))

    assert driven.end.status == 200
    assert members(driven.end)["error"]["detail"] == "never started"


@pytest.mark.parametrize("ask", CANCELS)
@pytest.mark.parametrize("guarantee", ["stopped", "asked to stop"])
def test_a_running_job_is_stopped_first(ask: Callable[..., Driven], guarantee: str) -> None:
    driven = ask(running())

    assert driven.effect == Stop(running())
    assert driven.answer(guarantee) == Now()
    command = driven.answer(NOON)
    assert isinstance(command, Cancel)
    assert command == Cancel(JOB_ID, 1, NOON, guarantee)
    driven.answer(command.apply(running()))

    assert members(driven.end)["error"]["detail"] == guarantee
    assert members(driven.end)["status"] == "canceled"


@pytest.mark.parametrize("ask", CANCELS)
def test_a_job_that_is_started_meanwhile_is_stopped_after_all(ask: Callable[..., Driven]) -> None:
    driven = ask(a_job())

    driven.answer(NOON)
    assert driven.answer(running()) == Stop(running())
    driven.answer("stopped")
    command = driven.answer(NOON)
    assert isinstance(command, Cancel)
    driven.answer(command.apply(running()))

    assert members(driven.end)["error"]["detail"] == "stopped"


@pytest.mark.parametrize("ask", CANCELS)
def test_a_job_that_ends_meanwhile_cannot_be_canceled(ask: Callable[..., Driven]) -> None:
    driven = ask(a_job())

    driven.answer(NOON)
    driven.answer(succeeded())

    assert code_of(driven.end) == (409, "job-already-finished")


@pytest.mark.parametrize("status", [Status.SUCCEEDED, Status.FAILED])
def test_a_finished_job_cannot_be_canceled(status: Status) -> None:
    driven = asked("cancel", "POST", in_status(status))

    assert code_of(driven.end) == (409, "job-already-finished")


def test_canceling_twice_is_once() -> None:
    driven = asked("cancel", "POST", canceled())
    driven.answer(NOON)

    assert driven.end.status == 200
    assert members(driven.end)["status"] == "canceled"


@pytest.mark.parametrize("job", [succeeded(), failed(), canceled()])
def test_a_finished_job_is_purged(job: Job) -> None:
    driven = asked("", "DELETE", job)

    assert driven.effect == Purge(JOB_ID, job.revision)
    driven.answer(value=True)

    assert (driven.end.status, driven.end.body) == (204, b"")


def test_a_job_that_changes_while_it_is_purged_stays() -> None:
    driven = asked("", "DELETE", succeeded())

    driven.answer(value=False)

    assert code_of(driven.end) == (412, "precondition-failed")


@pytest.mark.parametrize("if_match", ['"3"', "*", " * ", '"x", "3"', ""])
def test_a_delete_goes_on_if_the_tag_matches(if_match: str) -> None:
    assert asked("", "DELETE", succeeded(), If_Match=if_match).effect == Purge(JOB_ID, 3)


def test_a_pending_jobs_own_tag_will_do() -> None:
    assert asked("", "DELETE", running(), If_Match='W/"2"').effect == Stop(running())


@pytest.mark.parametrize("job", [running(), succeeded()])
@pytest.mark.parametrize("if_match", ['"9"', 'W/"3"', '"2"', "3", ","])
def test_a_delete_of_something_else_is_412(job: Job, if_match: str) -> None:
    response = asked("", "DELETE", job, If_Match=if_match).end

    assert code_of(response) == (412, "precondition-failed")


# --- the drivers -----------------------------------------------------------------------------------------------------


class Broken(Exception):
    pass


def a_flow(log: list[object]) -> Flow:
    """Ask twice, survive what goes wrong, and note how it ended."""
    try:
        for _ in range(2):
            try:
                log.append((yield Now()))
            except Broken as exc:
                log.append(exc.args[0])
        return Response(204)
    finally:
        log.append("closed")


def performer(*outcomes: Any) -> Callable[[Effect], object]:
    left = list(outcomes)

    def perform(effect: Effect) -> object:
        assert effect == Now()
        outcome = left.pop(0)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    return perform


def drive_sync(flow: Flow, perform: Callable[[Effect], object]) -> Response:
    return drive(flow, perform)


def drive_async(flow: Flow, perform: Callable[[Effect], object]) -> Response:
    async def aperform(effect: Effect) -> object:
        return perform(effect)

    return anyio.run(adrive, flow, aperform)


@pytest.mark.parametrize("run", [drive_sync, drive_async])
class TestDrivers:
    def test_they_send_what_was_performed(self, run: Callable[..., Response]) -> None:
        log: list[object] = []

        assert run(a_flow(log), performer(1, 2)) == Response(204)
        assert log == [1, 2, "closed"]

    def test_they_throw_what_went_wrong_into_the_flow(self, run: Callable[..., Response]) -> None:
        log: list[object] = []

        assert run(a_flow(log), performer(Broken("first"), Broken("second"))) == Response(204)
        assert log == ["first", "second", "closed"]

    @pytest.mark.parametrize("exc", [ValueError("unexpected"), KeyboardInterrupt()])
    def test_they_let_out_what_the_flow_does_not_know_and_close_it(
        self, run: Callable[..., Response], exc: BaseException
    ) -> None:
        log: list[object] = []

        with pytest.raises(type(exc)):
            run(a_flow(log), performer(1, exc))

        assert log == [1, "closed"]

    def test_a_flow_may_end_at_once(self, run: Callable[..., Response]) -> None:
        submission = a_submission(mark=Mark(accept=hook(403)))

        assert run(submit(submission), performer()).status == 403


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_flow_is_closed_when_its_task_is_canceled(backend: str) -> None:
    log: list[object] = []

    async def perform(_effect: Effect) -> None:
        await anyio.sleep_forever()

    async def main() -> None:
        with anyio.move_on_after(0):
            await adrive(a_flow(log), perform)

    anyio.run(main, backend=backend)

    assert log == ["closed"]
