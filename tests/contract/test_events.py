"""CONTRACT.md §4: the events of a job, and what long-polls and streams cost the store."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import anyio
import pytest
from tests.contract.sse import Event, blocks, events
from tests.contract.stage import Said
from tests.contract.support import BASE, CountingStore, execute, id_of, site, stored
from tests.matrix import in_process, seen_by_others
from tests.servers.harness import until
from tests.stores.around import Around
from tests.stores.places import chosen, fresh

from deferit import progress
from deferit._core.commands import Create, Finish, Purge, Report
from deferit._core.queries import Changes, Get

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.contract.clients import Exchange
    from tests.contract.conftest import Build
    from tests.contract.support import Site

    from deferit._core.queries import Query

HOUR = 3600.0
"""Seconds between two looks that a process takes by the clock, where looks are counted."""


def told(shop: Site, monitor: str, percent: int) -> None:
    """Have another process report for a running job."""
    job = stored(shop.store, id_of(monitor))
    report = Report(job.id, job.attempt, time.time(), percent, None)
    if shop.store.is_shared:
        execute(shop.store, report)
    else:  # there is no other process: the committer of this one executes it
        shop.middleware.engine._ledger.execute(report)


def listening(shop: Site, monitor: str, **headers: str) -> tuple[Exchange, Iterator[Event]]:
    """Return a stream and what comes out of it, once its head is there."""
    stream = shop.open("GET", monitor + "/events", **headers)
    assert stream.head().status == 200
    return stream, blocks(stream.parts())


def test_a_stream_tells_each_change_to_the_end(shop: Site) -> None:
    shop.stage.gated("slow", Said(201, b"at last"))
    monitor = shop.defer("/always/slow")
    shop.stage.wait_for("slow")

    stream = shop.open("GET", monitor + "/events")
    head = stream.head()
    seen = blocks(stream.parts())
    retry, running = next(seen), next(seen)
    shop.await_watchers(monitor, 1)
    told(shop, monitor, 40)
    reported = next(seen)
    shop.stage.open("slow")
    *rest, last = seen

    assert (head.status, head["Content-Type"]) == (200, "text/event-stream")
    assert (head["Cache-Control"], head.get("Content-Length")) == ("no-store", None)
    assert int(retry.fields["retry"]) >= 1000
    assert set(running.fields) == {"id", "event", "data"}
    assert running.fields["event"] == "status"
    assert running.document["status"] == "running"
    assert reported.document["progress"] == 40
    assert rest == []
    assert (last.document["status"], last.document["resultStatus"]) == ("succeeded", 201)
    ids = [int(event.fields["id"]) for event in (running, reported, last)]
    assert ids == sorted(set(ids))
    assert last.document == shop.get(monitor).document
    assert stream.over()
    shop.assert_nothing_left()


def test_the_monitor_gives_the_stream_to_those_who_prefer_it(shop: Site) -> None:
    monitor = shop.defer()
    shop.end_of(monitor)

    stream = shop.get(monitor, Accept="text/event-stream")
    both = shop.get(monitor, Accept="application/json, text/event-stream;q=0.5")

    assert (stream["Content-Type"], both["Content-Type"]) == (
        "text/event-stream",
        "application/json",
    )
    for answer in (stream, both):
        assert "Accept" in answer.members("Vary")


def test_the_202_and_the_document_say_where_the_events_are(shop: Site) -> None:
    shop.stage.gated("slow")

    answer = shop.post("/always/slow")
    monitor = answer["Location"]

    assert f'<{monitor}/events>; rel="monitor"; type="text/event-stream"' in answer["Link"]
    assert answer.document["eventsUrl"] == f"{monitor}/events"


def test_the_stream_of_a_finished_job_is_its_end(shop: Site) -> None:
    monitor = shop.defer()
    shop.end_of(monitor)

    answer = shop.get(monitor + "/events")
    last = [*events([answer.body])]

    assert [event.document["status"] for event in last] == ["succeeded"]


def test_who_has_seen_the_end_is_sent_away(shop: Site) -> None:
    monitor = shop.defer()
    shop.end_of(monitor)
    (last,) = events([shop.get(monitor + "/events").body])

    again = shop.get(monitor + "/events", Last_Event_ID=last.fields["id"])

    assert (again.status, again.body) == (204, b"")


def test_who_comes_back_goes_on_where_it_was(shop: Site) -> None:
    shop.stage.gated("slow")
    monitor = shop.defer("/always/slow")
    shop.stage.wait_for("slow")
    until(lambda: stored(shop.store, id_of(monitor)).status == "running", "it to run")
    first, seen = listening(shop, monitor)
    known = next(event for event in seen if "data" in event.fields)
    first.leave()

    same, seen_again = listening(shop, monitor, Last_Event_ID=known.fields["id"])
    shop.await_watchers(monitor, 1 if not shop.is_wsgi else 2)
    told(shop, monitor, 40)
    news = next(event for event in seen_again if "data" in event.fields)
    same.leave()
    late, seen_late = listening(shop, monitor, Last_Event_ID=known.fields["id"])
    missed = next(event for event in seen_late if "data" in event.fields)
    late.leave()

    assert news.document["progress"] == missed.document["progress"] == 40
    assert news.fields["id"] == missed.fields["id"] != known.fields["id"]


@pytest.mark.parametrize("known", ["", "0", "x", "99999", "\N{LATIN SMALL LETTER E WITH ACUTE}"])
def test_an_id_that_means_nothing_starts_from_now(shop: Site, known: str) -> None:
    monitor = shop.defer()
    shop.end_of(monitor)

    answer = shop.get(monitor + "/events", Last_Event_ID=known)

    assert [event.document["status"] for event in events([answer.body])] == ["succeeded"]


def test_a_stream_without_changes_is_kept_alive(
    shop: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deferit._core.events.KEEP_ALIVE", 0.02)
    shop.stage.gated("slow")
    monitor = shop.defer("/always/slow")

    stream, seen = listening(shop, monitor)
    comments = [next(event for event in seen if event.comment is not None) for _ in range(3)]
    shop.stage.open("slow")
    last = [event for event in seen if event.fields][-1]

    assert all(not event.fields for event in comments)
    assert last.document["done"] is True
    assert stream.over()


@pytest.mark.parametrize("way", ["/events", "-by-accept"])
def test_a_head_request_gets_the_head_only(shop: Site, way: str) -> None:
    shop.stage.gated("slow")
    monitor = shop.defer("/always/slow")

    if way == "/events":
        exchange = shop.open("HEAD", monitor + "/events")
    else:
        exchange = shop.open("HEAD", monitor, Accept="text/event-stream")
    answer = exchange.answer()

    assert (answer.status, answer["Content-Type"], answer.body) == (200, "text/event-stream", b"")
    assert exchange.over()


def test_other_methods_are_refused(shop: Site) -> None:
    monitor = shop.defer()

    answer = shop.ask("POST", monitor + "/events")

    assert (answer.status, answer.members("Allow")) == (405, {"GET", "HEAD"})


def test_somebody_elses_events_are_not_there(owned: Site) -> None:
    monitor = owned.defer(X_Owner="ann")

    assert owned.get(monitor + "/events", X_Owner="ann").status == 200
    assert owned.get(monitor + "/events", X_Owner="ben").status == 404
    assert owned.get(monitor + "/events").status == 404


# --- streams that end early ------------------------------------------------------------------------------------------


def test_a_client_that_leaves_ends_its_stream_and_leaves_no_watcher(
    shop: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shop.is_wsgi:  # which notices when it next writes
        monkeypatch.setattr("deferit._core.events.KEEP_ALIVE", 0.02)
    shop.stage.gated("slow")
    monitor = shop.defer("/always/slow")
    streams = [listening(shop, monitor)[0] for _ in range(5)]
    if not shop.is_wsgi:
        shop.await_watchers(monitor, 5)

    for stream in streams:
        stream.leave()

    assert all(stream.over(5) for stream in streams)
    shop.await_watchers(monitor, 0)


def test_a_purge_in_mid_stream_ends_it(build: Build) -> None:
    shop = build()
    shop.stage.gated("slow")
    monitor = shop.defer("/always/slow")
    shop.stage.wait_for("slow")
    stream, seen = listening(shop, monitor)
    shop.await_watchers(monitor, 1)

    job = stored(shop.store, id_of(monitor))
    ended = Finish(job.id, job.attempt, time.time(), None, None)
    purge = Purge(job.id, job.revision + 1)
    if shop.store.is_shared:
        execute(shop.store, ended, purge)
    else:
        for command in (ended, purge):
            shop.middleware.engine._ledger.execute(command)
        shop.middleware.engine._ledger.signals.notify(job.id, is_gone=True)

    assert stream.over()
    assert all(event.document["status"] in {"running", "succeeded"} for event in rest(seen))
    assert shop.get(monitor + "/events").status == 404


def rest(seen: Iterator[Event]) -> list[Event]:
    return [event for event in seen if "data" in event.fields]


def test_the_end_of_the_process_ends_streams_and_polls(build: Build) -> None:
    shop = build(grace=0)
    shop.stage.gated("slow")
    monitor = shop.ask("PUT", "/always/slow")["Location"]  # safe to repeat, so it is given back
    stream, seen = listening(shop, monitor)
    poll = shop.open("GET", monitor, Prefer="wait=20")
    shop.await_watchers(monitor, 2)

    shop.middleware.close()

    assert stream.over(5)
    assert poll.over(5)
    assert not any(event.document["done"] for event in rest(seen))
    assert poll.answer().status == 202


# --- what it costs ---------------------------------------------------------------------------------------------------


class CountingReads(Around):
    """Takes down what is read."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.queries: list[Query] = []

    def read(self, query: Query) -> object:
        if not (isinstance(query, Changes) and query.since < 0):
            self.queries.append(query)
        return super().read(query)


@seen_by_others
@pytest.mark.parametrize("kind", ["poll", "stream"])
def test_a_change_by_another_process_costs_two_reads_however_many_wait(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deferit._process.claims.CLAIM_INTERVAL", HOUR)
    monkeypatch.setattr("deferit._process.engine.INTERVAL", HOUR)
    store = CountingReads(fresh(*chosen("sqlite")))
    with site("starlette", store=store) as shop:
        monitor = elsewhere(shop)
        tag = shop.get(monitor)["ETag"]
        until(lambda: is_quiet(shop), "the process to have seen that")
        waiting = [ask_to_wait(shop, kind, monitor, tag) for _ in range(100)]
        shop.await_watchers(monitor, 100)
        settle(shop, monitor)
        store.queries.clear()

        told(shop, monitor, 40)
        seen = [news(kind, exchange) for exchange in waiting]
        count = [query for query in store.queries if type(query).__name__ != "Due"]

        assert seen == [40] * 100
        assert len(count) <= 2, count
        assert len(store.queries) - len(count) <= 2  # looks for jobs that wait


def elsewhere(shop: Site) -> str:
    """Have another process accept and run a job; return its monitor."""
    job = shop.middleware.engine.draft(route="x", method="POST", ttl=60.0)
    running = job.claimed(job.created_at)
    execute(shop.store, Create(running, b"", lease_until=job.created_at + 60))
    return f"{BASE}/jobs/{job.id}"


def settle(shop: Site, monitor: str) -> None:
    """Return when all who wait have looked, as they do once they are to be told; this look comes behind theirs."""
    assert shop.portal is not None
    shop.portal.call(anyio.wait_all_tasks_blocked)
    shop.portal.call(shop.middleware.engine._ledger.aread, Get(id_of(monitor)))


def is_quiet(shop: Site) -> bool:
    engine = shop.middleware.engine
    return engine._seen_version == shop.store.version()


def ask_to_wait(shop: Site, kind: str, monitor: str, tag: str) -> Exchange:
    if kind == "poll":
        return shop.open("GET", monitor, Prefer="wait=20", If_None_Match=tag)
    stream = shop.open("GET", monitor + "/events", Last_Event_ID=tag.strip('W/"'))
    stream.head()
    return stream


def news(kind: str, exchange: Exchange) -> object:
    if kind == "poll":
        return exchange.answer().document["progress"]
    event = next(events(exchange.parts()))
    exchange.leave()
    return event.document["progress"]


@in_process
def test_a_change_of_its_own_costs_no_read_for_each_who_waits(build: Build) -> None:
    store = CountingStore()
    shop = build(store=store)
    stop = threading.Event()

    def act(_: bytes) -> Said:
        shop.stage.pass_gate("begin")
        progress(0.4)
        stop.wait(20)
        return Said()

    shop.stage.acts["report"] = act
    monitor = shop.defer("/always/report")
    tag = until(lambda: running_tag(shop, monitor), "it to run")
    until(lambda: is_quiet(shop), "the process to have seen that")
    looks = gets(store.queries)
    waiting = [ask_to_wait(shop, "poll", monitor, tag) for _ in range(20)]
    shop.await_watchers(monitor, 20)
    if not store.is_shared:  # each looks before it waits, and once it is to be told
        until(lambda: gets(store.queries) >= looks + 40, "the last one to have looked")
    before = len(store.queries)

    shop.stage.open("begin")
    seen = [news("poll", exchange) for exchange in waiting]
    after = gets(store.queries[before:])
    stop.set()

    assert seen == [40] * 20
    # A store that others use tells of what this process did too: it looks at it once, and maybe at the begin before it.
    assert after <= (2 if store.is_shared else 0)


def gets(queries: list[Query]) -> int:
    return sum(isinstance(query, Get) for query in queries)


def running_tag(shop: Site, monitor: str) -> str | None:
    answer = shop.get(monitor)
    return answer["ETag"] if answer.document["status"] == "running" else None


# --- long-polls ------------------------------------------------------------------------------------------------------


def test_a_poll_that_knows_the_state_waits_for_another(shop: Site) -> None:
    shop.stage.gated("slow")
    monitor = shop.defer("/always/slow")
    tag = until(lambda: running_tag(shop, monitor), "it to run")

    waiting = shop.open("GET", monitor, Prefer="wait=20", If_None_Match=tag)
    shop.await_watchers(monitor, 1)
    told(shop, monitor, 40)
    answer = waiting.answer()

    assert (answer.status, answer.document["progress"]) == (202, 40)
    assert answer["ETag"] != tag


def test_a_poll_that_has_waited_in_vain_for_another_state_is_not_modified(build: Build) -> None:
    shop = build(max_wait=0.05)
    shop.stage.gated("slow")
    monitor = shop.defer("/always/slow")
    tag = until(lambda: running_tag(shop, monitor), "it to run")

    answer = shop.get(monitor, Prefer="wait=20", If_None_Match=tag)

    assert (answer.status, answer.body, answer["ETag"]) == (304, b"", tag)


def test_a_poll_that_knows_nothing_waits_for_the_end(shop: Site) -> None:
    shop.stage.gated("slow")
    monitor = shop.defer("/always/slow")
    until(lambda: running_tag(shop, monitor), "it to run")

    waiting = shop.open("GET", monitor, Prefer="wait=20")
    shop.await_watchers(monitor, 1)
    told(shop, monitor, 40)
    shop.await_watchers(monitor, 1)
    shop.stage.open("slow")

    assert waiting.answer().status == 200


def test_a_purge_while_a_client_polls_is_a_404(build: Build, variant: tuple[str, ...]) -> None:
    shop = build()
    shop.stage.gated("slow")
    monitor = shop.defer("/always/slow")
    shop.stage.wait_for("slow")
    waiting = shop.open("GET", monitor, Prefer="wait=20")
    shop.await_watchers(monitor, 1)

    job = stored(shop.store, id_of(monitor))
    ended = Finish(job.id, job.attempt, time.time(), None, None)
    if variant[2] != "memory":
        execute(shop.store, ended, Purge(job.id, job.revision + 1))
    else:
        shop.middleware.engine._ledger.signals.notify(job.id, is_gone=True)

    assert waiting.answer().status == 404
