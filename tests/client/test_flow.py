"""Following decides step by step: what it asks for, how long it pauses, and when it gives up."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from deferit.client.flow import (
    HOLD,
    LAST_LOOK,
    PACE,
    Ask,
    Following,
    Patience,
    Pause,
    Report,
    Trouble,
)
from deferit.client.monitors import Answer
from deferit.exceptions import FollowTimeout, JobFailed, JobWasCanceled, MonitorLost

BASE = "https://example.com"
MONITOR = f"{BASE}/jobs/1"
RUNNING = {"status": "running", "eventsUrl": "/jobs/1/events", "cancelUrl": "/jobs/1/cancel"}
SUCCEEDED = {"status": "succeeded", "resourceLocation": "/jobs/1/result"}
UNREACHABLE = "ConnectError: refused"


@dataclass
class Stage:
    """Performs steps: replies with what it was given, one after the other, and lets its own clock run."""

    replies: deque[tuple[float, Any]] = field(default_factory=deque)
    asked: list[Ask] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)
    told: list[dict[str, Any]] = field(default_factory=list)
    now: float = 100.0

    def answers(
        self, status: int, document: Any = None, *, after: float = 0.0, **fields: str
    ) -> Stage:
        """Add an answer that takes some seconds."""
        self.replies.append((after, (status, document, fields)))
        return self

    def fails(self) -> Stage:
        """Add a request that nobody answers."""
        self.replies.append((0.0, None))
        return self

    def next(self, url: str) -> Answer | Trouble:
        after, given = self.replies.popleft()
        self.now += after
        if given is None:
            return Trouble(UNREACHABLE, self.now)
        status, document, fields = given
        headers = httpx.Headers({name.replace("_", "-"): value for name, value in fields.items()})
        return Answer(status, headers, url, self.now, self.now, after, document)

    def play(
        self, *, method: str = "POST", target: str = f"{BASE}/reports", **patience: Any
    ) -> Answer:
        """Follow a job whose first reply is the answer to the original request."""
        following = Following(method, target, self.now, Patience(**patience))
        first = self.next(target)
        assert isinstance(first, Answer)
        assert following.begins_with(first)
        return self.finish(following)

    def resume(self, **patience: Any) -> Answer:
        return self.finish(Following("GET", MONITOR, self.now, Patience(**patience)))

    def finish(self, following: Following) -> Answer:
        flow = following.whole()
        reply: Any = None
        while True:
            try:
                step = flow.send(reply)
            except StopIteration as done:
                assert not self.replies
                answer: Answer = done.value
                return answer
            reply = self.perform(step)

    def perform(self, step: Any) -> Any:
        if isinstance(step, Report):
            return self.told.append(step.document)
        if isinstance(step, Pause):
            self.pauses.append(step.seconds)
            self.now += step.seconds
            return self.now
        self.asked.append(step)
        return self.next(step.url)

    @property
    def urls(self) -> list[str]:
        return [ask.url.removeprefix(BASE) for ask in self.asked]


def accepted(document: Any = None, **fields: str) -> Stage:
    """Return a stage whose first answer is a 202 with a monitor."""
    return Stage().answers(202, document, after=0.0, Location="/jobs/1", **fields)


def test_a_server_that_holds_polls_is_asked_to_and_without_pauses() -> None:
    stage = accepted(RUNNING, Retry_After="1")
    stage.answers(202, RUNNING, after=20.0).answers(200, SUCCEEDED, after=5.0).answers(201)

    answer = stage.play()

    assert answer.status == 201
    assert [ask.wait for ask in stage.asked] == [HOLD, HOLD, 0]
    assert stage.pauses == []
    assert stage.urls == ["/jobs/1", "/jobs/1", "/jobs/1/result"]
    assert [ask.is_result for ask in stage.asked] == [False, False, True]


def test_a_server_that_does_not_hold_after_all_is_polled_when_it_says() -> None:
    stage = accepted(RUNNING, Retry_After="1")
    stage.answers(202, RUNNING, Retry_After="4").answers(202, RUNNING, Retry_After="5")
    stage.answers(200, SUCCEEDED).answers(200)

    stage.play()

    assert [ask.wait for ask in stage.asked] == [HOLD, 0, 0, 0]
    assert stage.pauses == [4.0, 5.0]


def test_a_poll_that_is_cut_is_held_for_less_time_from_then_on() -> None:
    stage = accepted(RUNNING, Retry_After="1")
    stage.answers(504, after=15.0).answers(202, RUNNING).fails().answers(202, RUNNING)
    stage.answers(202, RUNNING, after=5.0).answers(200)

    stage.play(retries=1)

    assert [ask.wait for ask in stage.asked] == [20, 0, 10, 0, 5, 5]
    assert stage.pauses == [0.5, 0.5]


def test_polls_that_are_cut_whatever_their_time_are_not_held_any_more() -> None:
    stage = accepted(RUNNING)
    for _ in range(5):
        stage.fails().answers(202, RUNNING, Retry_After="3")
    stage.answers(200)

    stage.play()

    assert [ask.wait for ask in stage.asked if ask.wait] == [20, 10, 5, 2, 1]
    assert stage.pauses[-1] == 3.0


def test_one_who_watches_a_server_that_names_no_versions_polls_it() -> None:
    stage = accepted(RUNNING, Retry_After="1")
    stage.answers(202, RUNNING, Retry_After="1").answers(202, RUNNING, Retry_After="1")
    stage.answers(200)

    stage.play(watch=True)

    assert [ask.wait for ask in stage.asked] == [0, 0, 0]
    assert stage.pauses == [1.0, 1.0]


def test_a_server_that_says_nothing_is_asked_ever_more_rarely() -> None:
    stage = accepted()
    for _ in range(7):
        stage.answers(202)
    stage.answers(200)

    stage.play()

    assert stage.pauses == [1, 1, 2, 4, 8, 16, 30, 30]


def test_a_server_that_asks_for_no_pause_gets_a_short_one() -> None:
    stage = accepted(Retry_After="0").answers(200)

    stage.play()

    assert stage.pauses == [PACE]


def test_one_who_watches_asks_for_changes() -> None:
    stage = accepted(RUNNING)
    stage.answers(202, {**RUNNING, "progress": 10}, ETag='W/"1"')
    stage.answers(202, {**RUNNING, "progress": 20}, ETag='W/"2"', after=0.5)
    stage.answers(304, None, ETag='W/"2"', after=20.0)
    stage.answers(200, SUCCEEDED, after=3.0).answers(200)

    stage.play(watch=True)

    assert [ask.wait for ask in stage.asked] == [0, HOLD, HOLD, HOLD, 0]
    assert [ask.etag for ask in stage.asked] == ["", 'W/"1"', 'W/"2"', 'W/"2"', ""]
    assert [document.get("progress") for document in stage.told] == [None, 10, 20, None]
    assert stage.pauses == [PACE, PACE]


def test_the_monitor_may_move() -> None:
    stage = accepted()
    stage.answers(307, Location="/jobs/2").answers(202, Location="/jobs/3")
    stage.answers(200)

    stage.play()

    assert stage.urls == ["/jobs/1", "/jobs/2", "/jobs/3"]


def test_a_monitor_that_moves_in_circles_is_lost() -> None:
    stage = accepted()
    for _ in range(11):
        stage.answers(302, Location="/jobs/1")

    with pytest.raises(MonitorLost, match="answered 302"):
        stage.play()


def test_a_result_may_be_elsewhere_more_than_once() -> None:
    stage = accepted()
    stage.answers(303, Location="/a").answers(302, Location="/b").answers(202).answers(200)

    answer = stage.play()

    assert answer.url == f"{BASE}/b"
    assert stage.urls == ["/jobs/1", "/a", "/b", "/b"]


def test_a_result_that_cannot_be_fetched_is_lost() -> None:
    stage = accepted(RUNNING).answers(200, SUCCEEDED).answers(404, {"detail": "Gone."})

    with pytest.raises(MonitorLost, match=r"/jobs/1/result answered 404: Gone\."):
        stage.play()


def test_the_result_of_a_handler_that_answered_503_is_no_trouble() -> None:
    document = {"status": "failed", "resultStatus": 503, "resultUrl": "/jobs/1/result"}
    stage = accepted(RUNNING).answers(200, document).answers(503, AsyncResult="503")

    assert stage.play().status == 503


def test_a_monitor_that_answers_with_the_handlers_response_is_done() -> None:
    stage = Stage().answers(202, RUNNING, Retry_After="1").answers(409, AsyncResult="409")

    assert stage.resume().status == 409


def test_an_unknown_word_of_an_operation_means_that_it_goes_on() -> None:
    stage = Stage().answers(202, Operation_Location="/jobs/1")
    stage.answers(200, {"status": "Polishing"}).answers(200, {"status": "Succeeded"})

    assert stage.play().document == {"status": "Succeeded"}


def test_an_unknown_word_at_a_location_is_the_result() -> None:
    stage = accepted({"status": "queued"}).answers(200, {"status": "polished"})

    assert stage.play().document == {"status": "polished"}


def test_a_document_at_a_plain_location_is_one_if_it_says_when_to_ask_again() -> None:
    stage = accepted().answers(200, {"status": "running"}, Retry_After="1")
    stage.answers(200, {"status": "lit", "name": "a lamp"})

    assert stage.play().document == {"status": "lit", "name": "a lamp"}


def test_a_put_leads_back_to_its_resource() -> None:
    stage = Stage().answers(202, Operation_Location="/jobs/1", Location="/elsewhere")
    stage.answers(200, {"status": "Succeeded"}).answers(200)

    stage.play(method="PUT", target=f"{BASE}/lamps/1")

    assert stage.urls == ["/jobs/1", "/lamps/1"]


def test_a_deadline_is_the_original_requests() -> None:
    stage = accepted().answers(202, Retry_After="60").answers(202)

    with pytest.raises(FollowTimeout, match=r"within 10 seconds and goes on; wait\('https://"):
        stage.play(timeout=10)

    assert stage.pauses == [1.0, 9.0]
    assert [ask.patience for ask in stage.asked] == [9.0, LAST_LOOK]


def test_a_held_poll_ends_with_the_deadline() -> None:
    stage = accepted(RUNNING).answers(202, RUNNING, after=7.0).answers(202, RUNNING, after=0.4)

    with pytest.raises(FollowTimeout):
        stage.play(timeout=7.5)

    assert [ask.wait for ask in stage.asked] == [7, 0]
    assert stage.pauses == [0.5]


def test_troubles_are_waited_out_with_growing_pauses() -> None:
    stage = accepted().fails().fails().answers(502).answers(200)

    stage.play()

    assert stage.pauses == [1.0, 0.5, 0.5 * 2, 1.0 * 2]


def test_troubles_are_counted_in_a_row() -> None:
    stage = accepted().fails().answers(202).fails().answers(202).fails().fails()

    with pytest.raises(MonitorLost, match=UNREACHABLE):
        stage.play(retries=1)


def test_a_server_that_says_for_how_long_is_not_counted_out() -> None:
    stage = accepted()
    for _ in range(20):
        stage.answers(503, Retry_After="60")
    stage.answers(200)

    stage.play(retries=0)

    assert stage.pauses == [1.0, *20 * [60.0]]


def test_a_brand_new_monitor_may_be_unknown_for_a_moment() -> None:
    stage = accepted().answers(404).answers(404).answers(404).answers(200)

    assert stage.play().status == 200


def test_a_monitor_that_is_unknown_later_is_lost_at_once() -> None:
    stage = accepted().answers(202).answers(404)

    with pytest.raises(MonitorLost, match="answered 404"):
        stage.play()


def test_a_url_that_is_unknown_is_lost_at_once() -> None:
    stage = Stage().answers(404)

    with pytest.raises(MonitorLost):
        stage.resume()


@pytest.mark.parametrize(
    ("word", "exception"), [("failed", JobFailed), ("canceled", JobWasCanceled)]
)
def test_a_job_without_a_response_raises(word: str, exception: type[Exception]) -> None:
    document = {"status": word, "resultUrl": "/r", "error": {"code": "interrupted"}}
    stage = accepted(RUNNING).answers(200, document)

    with pytest.raises(exception, match="interrupted"):
        stage.play()


def test_a_job_can_be_canceled_as_long_as_it_is_not_finished() -> None:
    stage = accepted(RUNNING).answers(200, SUCCEEDED)
    following = Following("POST", f"{BASE}/reports", 100.0)
    first = stage.next(following.target)
    assert isinstance(first, Answer)
    assert following.begins_with(first)
    assert following.cancellation() is None
    flow = following.run()

    flow.send(None)

    cancellation = following.cancellation()
    assert cancellation is not None
    assert (cancellation.method, cancellation.url) == ("POST", f"{MONITOR}/cancel")
    flow.send(None)
    flow.send(stage.next(MONITOR))
    assert following.cancellation() is None


def test_a_final_answer_is_not_followed() -> None:
    following = Following("POST", f"{BASE}/reports", 100.0)

    assert not following.begins_with(Answer(201, httpx.Headers(), BASE, 100.0))
    assert following.monitor is None
