from __future__ import annotations

import sys
from functools import partial
from hmac import compare_digest
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace
from tests.core.samples import (
    CAPTURED,
    JOB_ID,
    MONITOR,
    NOON,
    REPLICA,
    RESULT,
    SITE,
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

from deferit._core.allowed import AllowList, url_from
from deferit._core.callback import Callback
from deferit._core.commands import Cancel, Create, Placed, Purge
from deferit._core.effects import (
    Capture,
    CapturedRequest,
    Effect,
    Foresee,
    HookFailed,
    Now,
    Recall,
    RequestTooLarge,
    ShuttingDown,
    Stop,
    Try,
    Wait,
)
from deferit._core.estimate import Estimate, Known, Outlook
from deferit._core.events import Events
from deferit._core.flow import Target, answer, submit, target, unreadable
from deferit._core.http import Response
from deferit._core.job import Job, Status
from deferit._core.pace import pace
from deferit._core.policy import AcceptHook, Mark, Refusal
from deferit._core.prefer import Prefer
from deferit._core.queries import Ahead, Get, List
from deferit.exceptions import JobNotFound, KeyReused, QueueFull, StoreUnavailable, TooManyJobs

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from deferit._core.visits import Visit

LOOK = Outlook(NOON)
DOWN = StoreUnavailable("sqlite:///jobs.db", "disk full")
BAD_LIMITS = ["", "0", "101", "-1", "+5", "1e1", "x", "²", "٣", "9" * 5000]

# --- submitting: CONTRACT.md, section 1 ------------------------------------------------------------------------------


def test_a_request_becomes_durable_and_then_is_answered_202() -> None:
    driven = Driven(submit(a_submission()))

    assert driven.effect == Capture(JOB_ID, needs_digest=False)
    assert driven.answer(CAPTURED) == Create(a_job(), CAPTURED.encoded, asks_place=True)
    assert driven.answer(a_job()) == Foresee(a_job())
    assert driven.answer(Outlook(NOON, 4)) is None

    assert driven.end.status == 202
    assert driven.end.header("Location") == MONITOR
    assert members(driven.end)["queuePosition"] == 4


def test_a_position_that_the_store_tells_with_the_job_is_not_asked_for() -> None:
    driven = Driven(submit(a_submission()))

    driven.answer(CAPTURED)
    assert driven.answer(Placed(a_job(), Ahead(7, 8))) == Foresee(a_job(), Ahead(7, 8))


def test_who_has_waited_is_told_no_position_of_before() -> None:
    driven = Driven(submit(a_submission(wait=5.0)))

    driven.answer(CAPTURED)
    driven.answer(Placed(a_job(), Ahead(7, 8)))

    assert driven.answer(a_job()) == Foresee(a_job())


def test_a_job_that_was_started_at_once_has_no_position() -> None:
    driven = Driven(submit(a_submission()))

    driven.answer(CAPTURED)
    assert driven.answer(running()) == Foresee(running())
    driven.answer(LOOK)

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
    assert driven.answer(running()) == Foresee(running())
    driven.answer(LOOK)

    assert driven.end.status == 202
    assert driven.end.header("Preference-Applied") == "wait=5"


def test_a_job_that_ends_at_once_is_answered_with_its_end_though_nobody_waits() -> None:
    driven = Driven(submit(a_submission()))

    driven.answer(CAPTURED)
    assert driven.answer(succeeded()) is None

    assert driven.end.status == 200


def test_a_process_that_is_to_end_answers_202_and_waits_no_longer() -> None:
    driven = Driven(submit(a_submission(wait=5.0)))

    driven.answer(CAPTURED)
    driven.answer(running())
    assert driven.answer(ShuttingDown()) == Foresee(running())
    driven.answer(LOOK)

    assert (driven.end.status, members(driven.end)["status"]) == (202, "running")


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


EIGHTY_SECONDS = Known(route=pace([80.0] * 30), concurrency=8)


@pytest.mark.parametrize(
    ("exc", "refusal", "pause"),
    [
        (QueueFull(100), (503, "queue-full"), "10"),
        (TooManyJobs(3), (429, "too-many-jobs"), "26"),
        (TooManyJobs(1), (429, "too-many-jobs"), "30"),
    ],
)
def test_a_client_that_finds_no_room_is_asked_to_come_back_when_a_job_has_ended(
    exc: Exception, refusal: tuple[int, str], pause: str
) -> None:
    driven = Driven(submit(a_submission()))
    driven.answer(CAPTURED)

    assert driven.answer(exc) == Recall(a_job())
    assert driven.answer(EIGHTY_SECONDS) is None

    assert code_of(driven.end) == refusal
    assert driven.end.header("Retry-After") == pause
    assert str(exc.args[0]) in members(driven.end)["detail"]


@pytest.mark.parametrize("answer", [Known(), DOWN])
def test_a_client_that_finds_no_room_tries_again_soon_where_nothing_is_known(
    answer: object,
) -> None:
    driven = Driven(submit(a_submission()))
    driven.answer(CAPTURED)
    driven.answer(QueueFull(100))
    driven.answer(answer)

    assert code_of(driven.end) == (503, "queue-full")
    assert driven.end.header("Retry-After") == "1"


def test_an_answer_tells_what_was_foreseen() -> None:
    driven = Driven(submit(a_submission()))
    driven.answer(CAPTURED)
    driven.answer(running())
    driven.answer(Outlook(NOON, None, Estimate(NOON + 40, NOON + 60, NOON + 25)))

    shown = members(driven.end)
    assert shown["estimatedCompletion"] == "2027-01-15T08:00:40.000Z"
    assert shown["estimatedCompletionLatest"] == "2027-01-15T08:01:00.000Z"
    assert (driven.end.header("Retry-After"), shown["retryAfter"]) == ("20", 20)


def test_the_refusal_names_the_limit() -> None:
    driven = Driven(submit(a_submission()))

    driven.answer(RequestTooLarge(1000))

    assert members(driven.end)["detail"] == "The body is longer than 1000 bytes."


@pytest.mark.parametrize("wait", [0.0, 5.0])
def test_a_store_that_goes_away_after_the_job_is_durable_does_not_unmake_it(wait: float) -> None:
    driven = Driven(submit(a_submission(wait)))

    driven.answer(CAPTURED)
    if driven.answer(a_job()) == Wait(a_job(), wait):
        driven.answer(DOWN)
    assert driven.effect == Foresee(a_job())
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

    for value in (CAPTURED, running(), LOOK):
        good.answer(value)
    bad.answer(ShuttingDown())

    assert (good.end.header("X-Own"), bad.end.header("X-Own")) == ("1", "1")


def test_another_origin_may_read_the_fields_of_a_202() -> None:
    driven = Driven(submit(a_submission(Origin="https://spa.example")))

    for value in (CAPTURED, running(), LOOK):
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

    assert driven.effect == Capture(JOB_ID, needs_digest=False)
    assert seen == ["/reports"]


# --- trying first: mode auto -----------------------------------------------------------------------------------------

TRIED = Try(a_job(), REPLICA, 2.0)


def tried(**headers: Any) -> Driven:
    """Return the flow of a request in mode auto as it is when the handler has begun."""
    driven = Driven(submit(a_submission(2.0, is_tried=True, **headers)))
    assert driven.effect == Capture(JOB_ID, stores_nothing=True)
    assert driven.answer(CapturedRequest(replica=REPLICA)) == TRIED
    return driven


def test_a_request_too_long_for_memory_is_made_durable_before_it_is_tried() -> None:
    driven = Driven(submit(a_submission(2.0, is_tried=True)))

    assert driven.answer(CAPTURED) == Create(a_job(), CAPTURED.encoded, asks_place=True)
    assert driven.answer(a_job()) == Wait(a_job(), 2.0)


def test_a_handler_that_ends_in_time_answers_as_if_nothing_had_been_deferred() -> None:
    driven = tried()
    headers = (("Set-Cookie", "a=1"), ("Connection", "close"), ("Vary", "Accept"))

    assert driven.answer(Response(202, headers, b"hello")) is None

    assert driven.end.status == 202
    assert driven.end.headers == (("Set-Cookie", "a=1"), ("Vary", "Accept, Prefer"))
    assert driven.end.body == b"hello"


def test_a_handler_that_does_not_end_in_time_is_a_202_at_once() -> None:
    driven = tried()

    assert driven.answer(running()) == Now()
    assert driven.answer(NOON + 2) == Foresee(running())
    driven.answer(Outlook(NOON + 2))

    assert (driven.end.status, members(driven.end)["status"]) == (202, "running")


def test_a_job_that_was_stored_before_its_time_is_waited_for_as_long_as_is_left() -> None:
    driven = tried()

    assert driven.answer(a_job()) == Now()
    assert driven.answer(NOON + 0.5) == Wait(a_job(), 1.5)
    assert driven.answer(succeeded(a_result(201))) is None

    assert (driven.end.status, driven.end.header("AsyncResult")) == (201, "201")


@pytest.mark.parametrize(
    ("exc", "refusal"),
    [(ShuttingDown(), (503, "shutting-down")), (DOWN, (503, "store-unavailable"))],
)
def test_what_can_neither_be_begun_nor_stored_is_refused(
    exc: Exception, refusal: tuple[int, str]
) -> None:
    driven = tried()

    assert driven.answer(exc) is None

    assert code_of(driven.end) == refusal


def test_a_request_with_a_key_is_not_tried_but_stored() -> None:
    driven = Driven(submit(a_submission(2.0, is_tried=True, Idempotency_Key="k")))

    create = driven.answer(CAPTURED)
    assert isinstance(create, Create)
    assert driven.answer(create.job.claimed(NOON)) == Wait(create.job.claimed(NOON), 2.0)


# --- Idempotency-Key and coalesce ------------------------------------------------------------------------------------


def created(mark: Mark | None = None, **headers: Any) -> tuple[Driven, Create]:
    """Return the flow of a request that may have been made before, as it is when it is to be stored."""
    driven = Driven(submit(a_submission(mark=mark, **headers)))
    assert driven.effect == Capture(JOB_ID, needs_digest=True)
    create = driven.answer(CAPTURED)
    assert isinstance(create, Create)
    return driven, create


def test_the_first_request_with_a_key_is_answered_as_any_other() -> None:
    driven, create = created(Idempotency_Key='"k"')

    assert create.job.identity is not None
    assert create.job.identity.while_unfinished is False
    driven.answer(create.job.claimed(NOON))
    driven.answer(LOOK)

    assert driven.end.status == 202
    assert driven.end.header("Idempotent-Replayed") is None


OTHER_ID = JOB_ID.replace("0006654e", "0006654d")


@pytest.mark.parametrize(
    ("job", "status"), [(running(id=OTHER_ID), 202), (succeeded(a_result(201), id=OTHER_ID), 201)]
)
def test_the_next_one_has_the_job_of_the_first(job: Job, status: int) -> None:
    driven, _ = created(Idempotency_Key='"k"')

    if driven.answer(job) == Foresee(job):
        driven.answer(LOOK)

    assert driven.end.status == status
    assert driven.end.header("Idempotent-Replayed") == "true"
    link = driven.end.header("Link")
    assert link is not None
    assert OTHER_ID in link


def test_a_key_that_cannot_be_read_is_refused_before_anything_is_done() -> None:
    driven = Driven(submit(a_submission(Idempotency_Key='""')))

    assert driven.effect is None
    assert code_of(driven.end) == (400, "idempotency-key-invalid")


def test_a_key_of_another_request_is_refused() -> None:
    driven, _ = created(Idempotency_Key="k")

    assert driven.answer(KeyReused(OTHER_ID)) is None

    assert code_of(driven.end) == (422, "idempotency-key-reused")
    assert OTHER_ID not in str(members(driven.end))


def test_identical_requests_share_a_job_if_the_mark_wants_that() -> None:
    driven, create = created(Mark(coalesce=True))

    assert create.job.identity is not None
    assert create.job.identity.while_unfinished is True
    driven.answer(running(id=OTHER_ID))
    driven.answer(LOOK)

    assert members(driven.end)["id"] == OTHER_ID
    assert driven.end.header("Idempotent-Replayed") is None


def test_the_key_of_the_client_counts_more_than_coalesce() -> None:
    _, create = created(Mark(coalesce=True), Idempotency_Key="k")

    assert create.job.identity is not None
    assert create.job.identity.while_unfinished is False


# --- Callback-URL ----------------------------------------------------------------------------------------------------

HOOKS = url_from("https://hooks.example/")
assert HOOKS is not None
ALLOWED = AllowList({HOOKS: ("secret",)})


def test_a_callback_is_kept_with_the_job() -> None:
    asking = a_submission(callbacks=ALLOWED, Callback_URL="https://hooks.example/done")

    create = Driven(submit(asking)).answer(CAPTURED)

    assert isinstance(create, Create)
    assert create.job.callback == Callback("https://hooks.example/done", SITE.mount_url)


def test_a_callback_to_elsewhere_is_refused_before_anything_is_done() -> None:
    driven = Driven(submit(a_submission(callbacks=ALLOWED, Callback_URL="https://eve.example/")))

    assert driven.effect is None
    assert code_of(driven.end) == (400, "callback-not-allowed")


def test_two_requests_that_differ_in_their_callback_are_not_the_same() -> None:
    prints = set()
    for path in ("a", "b"):
        asking = a_submission(
            mark=Mark(coalesce=True),
            callbacks=ALLOWED,
            Callback_URL=f"https://hooks.example/{path}",
        )
        create = Driven(submit(asking)).answer(CAPTURED)
        assert isinstance(create, Create)
        assert create.job.identity is not None
        prints.add(create.job.identity.fingerprint)

    assert len(prints) == 2


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
    assert target(path, "/jobs", has_list=False) == found


def test_the_mount_itself_is_the_list_where_there_is_one() -> None:
    assert target("/jobs", "/jobs", has_list=True) == Target(None, "")
    assert target("/jobs/", "/jobs", has_list=True) is None
    assert target(f"/jobs/{JOB_ID}", "/jobs", has_list=True) == Target(JOB_ID, "")


def asked(
    resource: str = "",
    method: str = "GET",
    job: Job | Exception | None = None,
    now: float = NOON,
    owner: str | None = None,
    **headers: str,
) -> Driven:
    """Return the flow of a mounted route as it is once its job was read and its expiry checked."""
    visit = replace(a_visit(method, owner=owner, **headers), at=now)
    driven = Driven(answer(visit, Target(JOB_ID, resource)))
    assert driven.effect == Get(JOB_ID)
    driven.answer(running() if job is None else job)
    return driven


ROUTES = [
    *(("", "GET"), ("", "HEAD"), ("", "DELETE"), ("result", "GET"), ("result", "HEAD")),
    *(("events", "GET"), ("events", "HEAD"), ("cancel", "POST")),
]


@pytest.mark.parametrize(("resource", "method"), ROUTES)
def test_an_unknown_id_and_somebody_elses_job_are_the_same_404(resource: str, method: str) -> None:
    unknown = asked(resource, method, JobNotFound(JOB_ID))
    foreign = asked(resource, method, running(owner="ada"), owner="eve")
    nobodys = asked(resource, method, running(owner="ada"))
    expired = asked(resource, method, succeeded(owner="ada"), NOON + 9e9, owner="eve")

    assert code_of(unknown.end) == (404, "job-not-found")
    assert unknown.end == foreign.end == nobodys.end == expired.end


def test_a_job_without_an_owner_answers_to_whoever_knows_its_url() -> None:
    assert a_visit().may_see(a_job())
    assert a_visit(owner="eve").may_see(a_job())
    assert a_visit(owner="ada").may_see(a_job(owner="ada"))
    assert not a_visit(owner="eve").may_see(a_job(owner="ada"))
    assert not a_visit().may_see(a_job(owner="ada"))


SECRET = "ann's key of the API"


@pytest.mark.parametrize("wrong", ["?" + SECRET[1:], SECRET[:-1] + "?", "?" * len(SECRET)])
def test_how_long_it_takes_to_compare_an_owner_tells_nothing_of_it(wrong: str) -> None:
    """Whatever is wrong about it, the same is called, and the comparison is one in constant time."""
    job = a_job(owner=SECRET)

    right, found = calls_of(a_visit(owner=SECRET), job), calls_of(a_visit(owner=wrong), job)

    assert found == right
    assert found.count(compare_digest.__qualname__) == 1


def calls_of(visit: Visit, job: Job) -> list[str]:
    """Return the names of the functions that are called to find out whether a visit may see a job."""
    called: list[str] = []

    def note(frame: FrameType, event: str, function: Any) -> None:
        if event in {"call", "c_call"}:
            called.append(frame.f_code.co_qualname if event == "call" else function.__qualname__)

    sys.setprofile(note)
    try:
        visit.may_see(job)
    finally:
        sys.setprofile(None)
    return called[:-1]  # the last one is `setprofile`


def test_an_operator_sees_every_job() -> None:
    operator = replace(a_visit(owner="eve"), is_operator=True)

    assert operator.may_see(a_job(owner="ada"))


@pytest.mark.parametrize(("resource", "method"), ROUTES)
def test_an_expired_job_is_gone(resource: str, method: str) -> None:
    assert code_of(asked(resource, method, succeeded(), NOON + 1 + TTL).end) == (410, "job-expired")


@pytest.mark.parametrize(("resource", "method"), ROUTES)
def test_a_store_that_is_down_is_503(resource: str, method: str) -> None:
    response = asked(resource, method, DOWN).end

    assert code_of(response) == (503, "store-unavailable")
    assert response.header("Retry-After") == "1"


@pytest.mark.parametrize(("resource", "method"), ROUTES)
def test_a_process_that_is_closed_is_503(resource: str, method: str) -> None:
    assert code_of(asked(resource, method, ShuttingDown()).end) == (503, "shutting-down")


@pytest.mark.parametrize(
    ("resource", "method", "allow"),
    [
        ("", "POST", "GET, HEAD, DELETE"),
        ("", "OPTIONS", "GET, HEAD, DELETE"),
        ("result", "DELETE", "GET, HEAD"),
        ("events", "POST", "GET, HEAD"),
        ("cancel", "GET", "POST"),
    ],
)
def test_a_wrong_method_is_405_with_the_right_ones(resource: str, method: str, allow: str) -> None:
    driven = Driven(answer(a_visit(method), Target(JOB_ID, resource)))

    assert code_of(driven.end) == (405, "method-not-allowed")
    assert driven.end.header("Allow") == allow


@pytest.mark.parametrize("resource", ["x", "result/", "result/x", "events/x", "cancel/"])
def test_an_unknown_resource_is_404(resource: str) -> None:
    driven = Driven(answer(a_visit(), Target(JOB_ID, resource)))

    assert code_of(driven.end) == (404, "job-not-found")


def test_another_origin_may_read_the_fields_of_a_refusal() -> None:
    response = asked("", "GET", JobNotFound(JOB_ID), Origin="https://spa.example").end

    assert response.header("Access-Control-Expose-Headers") is not None


# --- the monitor: CONTRACT.md, section 2 -----------------------------------------------------------------------------


def test_the_monitor_of_a_waiting_job_tells_its_position() -> None:
    driven = asked(job=a_job())

    assert driven.effect == Foresee(a_job())
    assert driven.answer(Outlook(NOON, 2)) is None

    assert driven.end.status == 202
    assert members(driven.end)["queuePosition"] == 2


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("job", [succeeded(), failed(), canceled()])
def test_the_monitor_of_a_finished_job_is_200_whatever_became_of_it(job: Job, method: str) -> None:
    driven = asked("", method, job)

    assert driven.end.status == 200
    assert driven.end.header("Location") is None


def test_a_monitor_that_is_known_is_304() -> None:
    driven = asked(If_None_Match='W/"2"')
    driven.answer(LOOK)

    assert driven.end.status == 304


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"Prefer": "wait=5"}, Wait(running(), 5)),
        ({"Prefer": "wait=99"}, Wait(running(), 30.0)),
        ({"Prefer": "wait=5", "If_None_Match": 'W/"2"'}, Wait(running(), 5, revision=2)),
        ({"Prefer": "wait=5", "If_None_Match": 'W/"1"'}, Foresee(running())),
        ({"Prefer": "wait=0"}, Foresee(running())),
        ({}, Foresee(running())),
    ],
)
def test_a_long_poll_waits_for_the_end_or_for_a_change_that_the_client_has_not_seen(
    headers: dict[str, Any], wait: Effect
) -> None:
    assert asked(**headers).effect == wait


def test_a_long_poll_answers_with_the_job_as_it_is_then() -> None:
    driven = asked(Prefer="wait=5")

    driven.answer(succeeded())

    assert members(driven.end)["status"] == "succeeded"


def test_a_finished_job_is_not_waited_for() -> None:
    assert asked(job=succeeded(), Prefer="wait=5").end.status == 200
    assert asked("result", job=succeeded(), Prefer="wait=5").end.status == 200


def test_a_job_that_is_purged_while_it_is_waited_for_is_404() -> None:
    driven = asked(Prefer="wait=5")

    driven.answer(JobNotFound(JOB_ID))

    assert code_of(driven.end) == (404, "job-not-found")


@pytest.mark.parametrize("exc", [ShuttingDown(), DOWN])
@pytest.mark.parametrize("resource", ["", "result"])
def test_a_long_poll_that_cannot_go_on_answers_with_the_job_as_it_was(
    resource: str, exc: Exception
) -> None:
    driven = asked(resource, Prefer="wait=5")

    assert driven.answer(exc) == Foresee(running())
    driven.answer(LOOK)

    assert (driven.end.status, members(driven.end)["status"]) == (202, "running")


@pytest.mark.parametrize("resource", ["", "result"])
def test_a_job_of_which_nothing_can_be_foreseen_is_shown_all_the_same(resource: str) -> None:
    driven = asked(resource)

    assert driven.answer(DOWN) == Now()
    driven.answer(NOON)

    assert (driven.end.status, members(driven.end)["status"]) == (202, "running")


# --- events: CONTRACT.md, sections 2 and 4 ---------------------------------------------------------------------------


@pytest.mark.parametrize("known", [None, "1", "x"])
@pytest.mark.parametrize("job", [a_job(), running(), succeeded()])
def test_events_are_a_stream(job: Job, known: str | None) -> None:
    headers: dict[str, Any] = {"Last_Event_ID": known} if known else {}

    response = asked("events", job=job, **headers).end

    assert (response.status, response.body) == (200, Events(job, SITE, known))
    assert response.length is None
    assert response.headers == (
        ("Content-Type", "text/event-stream"),
        ("Cache-Control", "no-store"),
        ("X-Accel-Buffering", "no"),
        ("Vary", "Prefer, Accept"),
        ("X-Content-Type-Options", "nosniff"),
        ("Referrer-Policy", "no-referrer"),
    )


def test_who_has_seen_the_last_event_is_told_not_to_come_back() -> None:
    assert asked("events", job=succeeded(), Last_Event_ID="3").end == Response(204)
    assert asked("events", job=running(), Last_Event_ID="2").end.status == 200


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("text/event-stream", "text/event-stream"),
        ("text/event-stream, application/json;q=0.5", "text/event-stream"),
        ("application/json", "application/json"),
        ("*/*", "application/json"),
        ("", "application/json"),
        ("image/png", "application/json"),
        ("application/json, text/event-stream;q=0.5", "application/json"),
        ("application/json, text/html", "application/json"),
        ("text/html, application/json", "application/json"),
        ("text/html;q=0.5, */*", "application/json"),
        ("text/html;q=0", "application/json"),
        ("text/html", "text/html; charset=utf-8"),
        ("text/html, application/json;q=0.9", "text/html; charset=utf-8"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "text/html; charset=utf-8"),
        ("text/*", "text/html; charset=utf-8"),
    ],
)
def test_a_monitor_answers_what_the_client_likes_best(accept: str, media_type: str) -> None:
    driven = asked(Accept=accept)
    if driven.effect:
        driven.answer(LOOK)

    assert driven.end.header("Content-Type") == media_type
    assert driven.end.header("Vary") == "Prefer, Accept"


# --- the list: CONTRACT.md, section 4 --------------------------------------------------------------------------------


def listed(query: str = "", method: str = "GET", owner: str | None = "ada") -> Driven:
    """Return the flow of the list."""
    visit = a_visit(method, owner=owner)
    request = replace(visit.request, query=query)
    return Driven(answer(replace(visit, request=request, application="shop"), Target(None, "")))


def page_of(*numbers: int) -> tuple[Job, ...]:
    return tuple(running(id=f"{JOB_ID}{number}", owner="ada") for number in numbers)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_list_has_the_owners_jobs(method: str) -> None:
    driven = listed(method=method)

    assert driven.effect == List("shop", "ada", None, 21, None)
    assert driven.answer(page_of(2, 1)) == Now()
    driven.answer(NOON)

    assert driven.end.status == 200
    assert [job["id"][-1] for job in members(driven.end)["jobs"]] == ["2", "1"]
    assert members(driven.end)["links"] == []
    assert driven.end.header("Link") is None
    assert driven.end.header("Cache-Control") == "private, no-store"


@pytest.mark.parametrize(
    ("query", "asked_for", "next_query"),
    [
        ("limit=2", List("shop", "ada", None, 3, None), f"limit=2&cursor={JOB_ID}2"),
        (
            f"status=running&limit=2&cursor={JOB_ID}9",
            List("shop", "ada", Status.RUNNING, 3, f"{JOB_ID}9"),
            f"status=running&limit=2&cursor={JOB_ID}2",
        ),
    ],
)
def test_a_page_leads_to_the_next(query: str, asked_for: List, next_query: str) -> None:
    driven = listed(query)

    assert driven.effect == asked_for
    driven.answer(page_of(3, 2, 1))
    driven.answer(NOON)

    href = f"{SITE.mount_url}?{next_query}"
    assert len(members(driven.end)["jobs"]) == 2
    assert members(driven.end)["links"] == [{"rel": "next", "href": href}]
    assert driven.end.header("Link") == f'<{href}>; rel="next"'


def test_what_is_expired_is_not_listed_and_the_next_page_goes_on_behind_it() -> None:
    gone = succeeded(id=f"{JOB_ID}2", owner="ada")
    driven = listed("limit=2")

    driven.answer((*page_of(3), gone, *page_of(1)))
    driven.answer(NOON + 1 + TTL)

    assert [job["id"] for job in members(driven.end)["jobs"]] == [f"{JOB_ID}3"]
    assert f"cursor={JOB_ID}2" in members(driven.end)["links"][0]["href"]


def test_nobody_has_no_jobs() -> None:
    driven = listed(owner=None)

    assert driven.effect == Now()
    driven.answer(NOON)
    assert members(driven.end) == {"jobs": [], "links": []}


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("status=done", "status is one of accepted, running, succeeded, failed, canceled."),
        ("status=", "status is one of"),
        *((f"limit={limit}", "limit is a number from 1 to 100.") for limit in BAD_LIMITS),
        ("cursor=", "cursor is what the link to the next page has"),
        ("cursor=42", "cursor is what the link to the next page has"),
    ],
)
def test_a_query_that_cannot_be_read_is_400(query: str, detail: str) -> None:
    for owner in ("ada", None):
        response = listed(query, owner=owner).end

        assert code_of(response) == (400, "invalid-parameter")
        assert detail in members(response)["detail"]


@pytest.mark.parametrize("method", ["POST", "DELETE", "OPTIONS"])
def test_the_list_is_only_read(method: str) -> None:
    response = listed(method=method).end

    assert code_of(response) == (405, "method-not-allowed")
    assert response.header("Allow") == "GET, HEAD"


def test_a_store_that_is_down_lists_nothing() -> None:
    driven = listed()

    driven.answer(DOWN)

    assert code_of(driven.end) == (503, "store-unavailable")


# --- the result: CONTRACT.md, section 3 ------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_result_route_is_202_until_there_is_a_result(method: str) -> None:
    driven = asked("result", method, a_job())

    assert driven.effect == Foresee(a_job())
    assert driven.answer(Outlook(NOON, 1)) is None

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
    wanted = replace(visit, cookies=True)
    driven = Driven(answer(wanted, Target(JOB_ID, "result")))

    driven.answer(job)

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


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE"])
@pytest.mark.parametrize("resource", ["", "result", "events", "cancel", "nonsense"])
@pytest.mark.parametrize("status", list(Status))
def test_someone_elses_job_is_looked_up_as_an_unknown_one_and_no_further(
    method: str, resource: str, status: Status
) -> None:
    """The same effects in the same order: no step tells by its time that there is a job."""
    visit = a_visit(method, owner="bob", Prefer="wait=9", Accept="text/event-stream")

    theirs, unknown = (Driven(answer(visit, Target(JOB_ID, resource))) for _ in range(2))
    assert theirs.effect == unknown.effect
    if theirs.effect:
        assert theirs.effect == Get(JOB_ID)
        assert theirs.answer(in_status(status).but(owner="ann")) is None
        assert unknown.answer(JobNotFound(JOB_ID)) is None

    assert theirs.end == unknown.end


def test_an_accept_hook_that_raises_is_said_to_have_failed() -> None:
    def raising(_request: object) -> Refusal:
        raise KeyError("X-Tenant")

    with pytest.raises(HookFailed, match="the function that accept= names has failed") as failed:
        Driven(submit(a_submission(mark=Mark(accept=raising))))

    assert isinstance(failed.value.__cause__, KeyError)


@pytest.mark.parametrize("owner", ["ann", "änn", "\udcff", ""])
def test_an_owner_is_compared_as_a_whole(owner: str) -> None:
    job = a_job(owner=owner)

    assert a_visit(owner=owner).may_see(job)
    assert not a_visit(owner=owner + "x").may_see(job)
    assert not a_visit(owner=owner[1:] + "y").may_see(job)
    assert not a_visit().may_see(job)
