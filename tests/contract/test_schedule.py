"""DESIGN.md §1, `schedule`: accepted at any time, started in the next window."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest
from tests.contract.stage import Said
from tests.contract.support import execute, id_of, stored
from tests.elsewhere.promises import sets_the_clock

from deferit import deferred
from deferit._core.commands import Claim, Sweep
from deferit._process.ledger import Ledger
from deferit._schedule import Cron
from deferit.exceptions import OptionError

if TYPE_CHECKING:
    from tests.contract.conftest import Build
    from tests.contract.support import Site

NIGHTLY: dict[str, Any] = {"night": {"schedule": "0 2 * * *"}, "always": {}}


@pytest.fixture
def nightly(build: Build) -> Site:
    return build(marks=NIGHTLY)


def next_two() -> float:
    """Return when it is next two o'clock, UTC."""
    now = time.time()
    midnight = now - now % 86_400
    return midnight + 7200 if now < midnight + 7200 else midnight + 86_400 + 7200


def as_time(instant: float) -> str:
    return datetime.fromtimestamp(instant, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def test_a_scheduled_job_is_accepted_and_says_when_it_begins(nightly: Site) -> None:
    window = next_two()

    answer = nightly.post("/night/echo", b"x")
    monitor = nightly.get(answer["Location"])

    for seen in (answer, monitor):
        assert (seen.status, seen.document["status"]) == (202, "accepted")
        assert int(seen["Retry-After"]) == pytest.approx(window - time.time(), abs=5)
        assert seen.document["retryAfter"] == int(seen["Retry-After"])
        assert seen.document["estimatedCompletion"] == as_time(window)
        assert seen.document["estimatedCompletionLatest"] >= as_time(window)
        assert seen.document["queuePosition"] == 0
    assert int(answer["Retry-After"]) >= window - time.time()  # never too early


@sets_the_clock
def test_a_scheduled_job_begins_in_its_window_and_not_before(
    nightly: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = next_two()
    monitor = nightly.defer("/night/echo", b"x")
    nightly.end_of(nightly.defer("/always/echo"))  # others pass it
    early = Claim(nightly.middleware.application, window - 1, window + 60, 10)

    claimed_early = execute(nightly.store, early)
    pending = nightly.get(monitor)
    monkeypatch.setattr(Ledger, "now", staticmethod(lambda: window + 0.5))
    result = nightly.result_of(monitor)

    assert claimed_early == [()]
    assert pending.document["status"] == "accepted"
    assert (result.status, result.body) == (200, b"x")
    assert stored(nightly.store, id_of(monitor)).started_at == window + 0.5
    assert nightly.stage.calls["echo"] == 2


@sets_the_clock
def test_many_jobs_begin_in_one_window(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = build(marks=NIGHTLY, concurrency=2)
    window = next_two()
    monitors = [shop.defer("/night/echo", b"%d" % number) for number in range(10)]

    monkeypatch.setattr(Ledger, "now", staticmethod(lambda: window))

    assert [shop.result_of(monitor).body for monitor in monitors] == [b"%d" % n for n in range(10)]
    shop.assert_nothing_left()


def test_a_scheduled_job_can_be_canceled_before_its_window(nightly: Site) -> None:
    monitor = nightly.defer("/night/echo")

    answer = nightly.ask("DELETE", monitor)

    assert answer.document["status"] == "canceled"
    assert answer.document["error"]["detail"] == "never started"
    assert nightly.stage.calls["echo"] == 0


def test_a_client_that_waits_gets_a_202_all_the_same(build: Build) -> None:
    shop = build(marks=NIGHTLY, max_wait=0.05)

    answer = shop.post("/night/echo", Prefer="wait=5")

    assert (answer.status, answer.document["status"]) == (202, "accepted")
    assert shop.get(answer["Location"], Prefer="wait=5").status == 202


def test_a_sweep_long_before_the_window_leaves_it_alone(nightly: Site) -> None:
    monitor = nightly.defer("/night/echo")

    execute(nightly.store, Sweep(next_two() - 1))

    assert nightly.get(monitor).document["status"] == "accepted"


def test_a_configured_route_may_have_a_schedule(build: Build) -> None:
    shop = build(routes={"POST /plain/*": {"schedule": "0 2 * * *"}})

    answer = shop.post("/plain/echo")

    assert answer.document["estimatedCompletion"] == as_time(next_two())


def test_a_schedule_and_a_key_go_together(nightly: Site) -> None:
    jobs = {nightly.defer("/night/echo", Idempotency_Key="k") for _ in range(3)}

    assert len(jobs) == 1


def test_a_schedule_in_mode_prefer_leaves_the_others_alone(build: Build) -> None:
    shop = build(marks={"night": {"mode": "prefer", "schedule": "0 2 * * *"}})
    shop.stage.acts["now"] = lambda _: Said(200, b"at once")

    assert shop.post("/night/now").body == b"at once"
    assert shop.post("/night/now", Prefer="respond-async").document["status"] == "accepted"


# --- expressions -----------------------------------------------------------------------------------------------------

NOON = datetime(2026, 3, 28, 12, tzinfo=UTC).timestamp()
"""The day before the clocks of Europe change."""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0 2 * * *", datetime(2026, 3, 29, 2, tzinfo=UTC)),
        ("*/15 * * * *", datetime(2026, 3, 28, 12, 15, tzinfo=UTC)),
        ("30 22 * * 1-5", datetime(2026, 3, 30, 22, 30, tzinfo=UTC)),
        ("0 0 29 2 *", datetime(2028, 2, 29, tzinfo=UTC)),
        ("0 14 * * * Europe/Rome", datetime(2026, 3, 28, 13, tzinfo=UTC)),
        ("0 6 * * * Europe/Rome", datetime(2026, 3, 29, 4, tzinfo=UTC)),
        ("0 9 * * * America/New_York", datetime(2026, 3, 28, 13, tzinfo=UTC)),
    ],
)
def test_a_window_is_where_the_expression_says(text: str, expected: datetime) -> None:
    assert Cron(text).next_after(NOON) == expected.timestamp()


@pytest.mark.parametrize("zone", ["Europe/Rome", "America/New_York", "Australia/Lord_Howe"])
def test_windows_follow_each_other_through_a_year_of_changing_clocks(zone: str) -> None:
    cron = Cron(f"30 2 * * * {zone}")
    now, windows = NOON, []

    for _ in range(370):
        now = cron.next_after(now)
        windows.append(now)

    assert windows == sorted(set(windows))
    days = {datetime.fromtimestamp(window, ZoneInfo(zone)).date() for window in windows}
    assert len(days) >= 369  # a day whose 2:30 does not exist may have another hour


@pytest.mark.parametrize(
    "text",
    [
        *("", "x", "0 2 * *", "61 2 * * *", "0 2 * * * * *", "0 0 31 2 *", "@daily"),
        *("0 2 * * * Mars/Olympus", "0 2 * * * ../../etc/passwd", "0 2 * * * Europe/Rome x"),
    ],
)
def test_an_expression_that_cannot_be_read_says_what_to_write(text: str) -> None:
    with pytest.raises(OptionError, match="write five fields of cron"):
        deferred(schedule=text)


def test_a_schedule_and_mode_auto_exclude_each_other() -> None:
    with pytest.raises(OptionError, match="exclude each other"):
        deferred(schedule="0 2 * * *", mode="auto")


def test_without_the_extra_the_mark_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cronsim", None)

    with pytest.raises(OptionError, match=r'pip install "deferit\[schedule\]"'):
        deferred(schedule="0 2 * * *")
