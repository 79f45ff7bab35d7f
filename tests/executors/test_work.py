"""`deferit work` beside web processes that only accept and answer."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from tests.executors.running import KINDS, environment, site, submitted, worker
from tests.servers.harness import CHECKOUT, GUNICORN_2, UVICORN, Kind, Server, until
from tests.servers.programs import Program
from tests.servers.twins import Deed, Followed, begun, ledger

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx

pytestmark = pytest.mark.server


both = pytest.mark.parametrize("kind", KINDS, ids=str, indirect=True)


@pytest.fixture
def kind(request: pytest.FixtureRequest) -> Kind:
    """The other kind of server is there where it may make a difference."""
    found: Kind = getattr(request, "param", UVICORN)
    return found


@pytest.fixture
def web(kind: Kind, tmp_path: Path) -> Iterator[Server]:
    with site(kind, tmp_path, "worker") as server:
        yield server


@pytest.fixture
def client(web: Server) -> Iterator[httpx.Client]:
    with web.client() as client:
        yield client


def await_begin(folder: Path, name: str, count: int = 1) -> int:
    """Return the process of the latest of so many beginnings."""

    def starts() -> list[Deed]:
        return [deed for deed in ledger(folder)[name] if deed.event == "start"]

    until(lambda: len(starts()) >= count, f"{name} to begin")
    return starts()[-1].process


@both
def test_web_processes_only_accept_and_a_worker_runs_what_waits(
    kind: Kind, web: Server, client: httpx.Client, tmp_path: Path
) -> None:
    job = submitted(client, "/work/waiting")
    client.get(job.monitor, headers={"Prefer": "wait=1"})
    before = job.document()["status"]

    with worker(kind, tmp_path) as running:
        done = job.until_finished()

        assert before == "accepted"
        assert done["status"] == "succeeded"
        assert job.result().json() == {
            "name": "waiting",
            "process": running.process.pid,
            "is_started_here": True,
        }


def test_what_is_accepted_later_begins_soon_and_is_logged(
    kind: Kind, client: httpx.Client, tmp_path: Path
) -> None:
    with worker(kind, tmp_path, "--concurrency", "3") as running:
        until(lambda: "works" in running.log, "the worker to be there")
        jobs = [submitted(client, f"/work/{number}?gate=all") for number in range(4)]
        until(lambda: len(begun(tmp_path)) >= 3, "three jobs to begin")
        statuses = sorted(job.document()["status"] for job in jobs)
        (tmp_path / "all").touch()
        done = [job.until_finished()["status"] for job in jobs]
        # An end is logged after it is known.
        until(lambda: running.log.count("job succeeded") == 4, "the ends to be logged")
        log = running.log

    assert statuses == ["accepted", "running", "running", "running"]
    assert done == ["succeeded"] * 4
    assert "3 at once" in log
    assert f"sqlite:///{tmp_path / 'jobs.db'}" in log
    assert log.count("job running") == 4


@both
def test_draining_ends_when_nothing_is_due(
    kind: Kind, client: httpx.Client, tmp_path: Path
) -> None:
    jobs = [submitted(client, f"/work/{number}") for number in range(20)]

    with worker(kind, tmp_path, "--drain") as running:
        code = running.await_end()

    assert code == 0
    assert {job.document()["status"] for job in jobs} == {"succeeded"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_end_it_lets_jobs_end_and_claims_no_more(
    kind: Kind, client: httpx.Client, tmp_path: Path, number: signal.Signals
) -> None:
    with worker(kind, tmp_path, "--concurrency", "1", DEFERIT_GRACE="20") as running:
        first = submitted(client, "/work/first?gate=first")
        await_begin(tmp_path, "first")
        second = submitted(client, "/work/second")
        running.tell(number)
        until(lambda: "ending" in running.log, "the signal to be heard")
        (tmp_path / "first").touch()
        code = running.await_end()

    assert code == 0
    assert first.document()["status"] == "succeeded"
    assert second.document()["status"] == "accepted"


@both
def test_what_outlasts_the_grace_is_handed_back(
    kind: Kind, client: httpx.Client, tmp_path: Path
) -> None:
    with worker(kind, tmp_path, DEFERIT_GRACE="0") as running:
        safe = submitted(client, "/work/safe?gate=safe", "PUT")
        unsafe = submitted(client, "/work/unsafe?gate=safe")
        await_begin(tmp_path, "safe")
        await_begin(tmp_path, "unsafe")
        running.tell(signal.SIGTERM)
        code = running.await_end()

    assert code == 0
    assert safe.document()["status"] == "accepted"
    assert unsafe.document()["error"]["code"] == "interrupted"
    (tmp_path / "safe").touch()
    with worker(kind, tmp_path, "--drain", name="next") as running:
        running.await_end()
    assert safe.document()["status"] == "succeeded"


def test_it_hears_a_signal_that_another_thread_gets(tmp_path: Path) -> None:
    with site(GUNICORN_2, tmp_path, "worker") as server, server.client() as client:
        with worker(GUNICORN_2, tmp_path, DEFERIT_GRACE="20") as running:
            job = submitted(client, "/tell")
            code = running.await_end()

        assert code == 0
        assert "ending: SIGTERM" in running.log
        assert job.document()["status"] == "succeeded"


def test_a_second_signal_ends_at_once(kind: Kind, client: httpx.Client, tmp_path: Path) -> None:
    with worker(kind, tmp_path, DEFERIT_GRACE="100") as running:
        submitted(client, "/work/stuck?gate=never")
        await_begin(tmp_path, "stuck")
        running.tell(signal.SIGTERM)
        until(lambda: "ending" in running.log, "the signal to be heard")
        running.tell(signal.SIGTERM)

        assert running.await_end() == 128 + signal.SIGTERM


def test_a_hangup_begins_anew_in_the_same_process(
    kind: Kind, client: httpx.Client, tmp_path: Path
) -> None:
    with worker(kind, tmp_path) as running:
        until(lambda: running.log.count("works, process") == 1, "the worker to be there")
        running.tell(signal.SIGHUP)
        until(lambda: running.log.count("works, process") == 2, "it to be there again")

        submitted(client, "/work/anew").until_finished()

        assert ledger(tmp_path)["anew"][0].process == running.process.pid


def test_after_a_hangup_the_code_is_as_it_is_now(tmp_path: Path) -> None:
    def program(edition: str) -> str:
        return (
            "from flask import Flask\n"
            "from deferit import WSGIMiddleware, deferred\n"
            "app = Flask(__name__)\n"
            "app.wsgi_app = WSGIMiddleware(app.wsgi_app)\n"
            "@app.post('/edition')\n"
            "@deferred\n"
            f"def edition(): return {edition!r}\n"
        )

    module = tmp_path / "shop_of_a_test.py"
    module.write_text(program("the first edition"))
    settings = environment(tmp_path, "")
    web = Server(
        GUNICORN_2,
        "shop_of_a_test:app",
        tmp_path,
        environment={**settings, "DEFERIT_EXECUTOR": "worker"},
        path=tmp_path,
    )
    command = [sys.executable, "-m", "deferit", "work", "shop_of_a_test:app"]
    with web as server, server.client() as client:
        with Program(command, tmp_path, settings, "worker") as running:
            before = submitted(client, "/edition")
            before.until_finished()
            module.write_text(program("the second, revised edition"))
            running.tell(signal.SIGHUP)
            until(lambda: running.log.count("works, process") == 2, "it to be there again")
            after = submitted(client, "/edition")
            after.until_finished()

        texts = before.result().text, after.result().text

    assert texts == ("the first edition", "the second, revised edition")


@both
def test_a_killed_worker_s_jobs_are_taken_over_or_interrupted(
    kind: Kind, client: httpx.Client, tmp_path: Path
) -> None:
    with worker(kind, tmp_path) as running:
        safe = submitted(client, "/work/safe?gate=safe", "PUT")
        unsafe = submitted(client, "/work/unsafe?gate=safe")
        await_begin(tmp_path, "safe")
        await_begin(tmp_path, "unsafe")
        running.kill()
    (tmp_path / "safe").touch()
    with worker(kind, tmp_path, name="next"):
        done, failed = safe.until_finished(), unsafe.until_finished()

    assert (done["status"], done["attempt"]) == ("succeeded", 2)
    assert failed["error"]["code"] == "interrupted"
    assert [deed.event for deed in ledger(tmp_path)["unsafe"]] == ["start"]


@both
def test_a_cancel_is_heard_by_the_worker(client: httpx.Client, kind: Kind, tmp_path: Path) -> None:
    with worker(kind, tmp_path):
        job = submitted(client, "/work/long?gate=never")
        await_begin(tmp_path, "long")

        document = client.post(f"{job.monitor}/cancel").json()

    assert (document["status"], document["error"]["detail"]) == ("canceled", "asked to stop")


@both
def test_a_route_that_the_worker_s_version_has_not_is_gone(
    kind: Kind, client: httpx.Client, tmp_path: Path
) -> None:
    gone, there = submitted(client, "/versioned"), submitted(client, "/work/there")

    with worker(kind, tmp_path, "--drain", DEFERIT_TEST_VERSION="2") as running:
        running.await_end()

    error = gone.document()["error"]
    assert error["code"] == "route-gone"
    assert "answered 404 before it came to a handler" in error["message"]
    assert gone.result().json()["code"] == "route-gone"
    assert there.document()["status"] == "succeeded"


def test_jobs_of_another_application_stay_in_the_same_store(
    kind: Kind, client: httpx.Client, tmp_path: Path
) -> None:
    job = submitted(client, "/work/theirs")

    with worker(kind, tmp_path, "--drain", DEFERIT_APPLICATION="another") as running:
        code = running.await_end()

    assert (code, job.document()["status"]) == (0, "accepted")


def test_applications_share_a_store_and_each_worker_runs_its_own(
    kind: Kind, client: httpx.Client, tmp_path: Path
) -> None:
    mine = {"DEFERIT_APPLICATION": "another"}
    with site(kind, tmp_path, "worker", **mine) as other, other.client() as others:
        jobs = [submitted(client, "/work/here"), submitted(others, "/work/there")]
        with (
            worker(kind, tmp_path) as here,
            worker(kind, tmp_path, name="there", **mine) as there,
        ):
            for job in jobs:
                job.until_finished()
            processes = [job.result().json()["process"] for job in jobs]
            expected = [here.process.pid, there.process.pid]

    assert processes == expected


@both
def test_a_newer_web_server_without_a_route_fails_its_jobs_as_a_worker_does(
    kind: Kind, tmp_path: Path
) -> None:
    with site(kind, tmp_path, "worker") as older, older.client() as client:
        gone, there = submitted(client, "/versioned"), submitted(client, "/work/there")
    newer = site(kind, tmp_path, "", DEFERIT_TEST_VERSION="2")
    with newer as server, server.client() as client:
        error = Followed(client, gone.monitor).until_finished()["error"]
        done = Followed(client, there.monitor).until_finished()

    assert error["code"] == "route-gone"
    assert "answered 404 before it came to a handler" in error["message"]
    assert done["status"] == "succeeded"


def test_the_lifespan_is_run_around_all_jobs(tmp_path: Path) -> None:
    with site(UVICORN, tmp_path, "worker") as server, server.client() as client:
        submitted(client, "/work/inside")
        with worker(UVICORN, tmp_path, "--drain") as running:
            running.await_end()
            process = str(running.process.pid)
    mine = [
        deed.event
        for deeds in ledger(tmp_path).values()
        for deed in deeds
        if str(deed.process) == process
    ]

    assert sorted(mine) == ["end", "shutdown", "start", "startup"]


@pytest.mark.parametrize(
    ("target", "code", "says"),
    [
        ("nothing", 2, "write module:name"),
        ("no_such_module:app", 2, "cannot be imported"),
        ("tests.executors.running:APPS", 2, "has no deferit middleware"),
    ],
)
def test_what_cannot_be_run_is_said(target: str, code: int, says: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "deferit", "work", target]
    with Program(command, tmp_path, environment(tmp_path, "worker"), "worker") as running:
        assert running.await_end() == code
        assert says in running.log


def test_an_application_that_refuses_to_start_is_said(tmp_path: Path) -> None:
    (tmp_path / "refusing.py").write_text(
        "from starlette.applications import Starlette\n"
        "from deferit import ASGIMiddleware\n"
        "async def lifespan(app):\n"
        "    raise RuntimeError('the licence has run out')\n"
        "    yield\n"
        "app = Starlette(lifespan=lifespan)\n"
        "app.add_middleware(ASGIMiddleware)\n"
    )
    command = [sys.executable, "-W", "ignore", "-m", "deferit", "work", "refusing:app"]
    with Program(command, tmp_path, environment(tmp_path, "worker"), "worker") as running:
        code = running.await_end()

    assert code == 1
    assert "the licence has run out" in running.log


@both
def test_a_store_that_is_out_of_reach_is_said(kind: Kind, tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/no/such/folder/jobs.db"
    with worker(kind, tmp_path, DEFERIT_STORE=store) as running:
        code = running.await_end()

    assert code == {"asgi": 4, "wsgi": 2}[kind.interface]  # WSGI says so when it is imported
    assert "no/such/folder" in running.log


@both
@pytest.mark.parametrize("store", ["redis://127.0.0.1:1/0", "postgresql://127.0.0.1:1/shop"])
def test_a_store_whose_server_is_away_is_said(kind: Kind, tmp_path: Path, store: str) -> None:
    with worker(kind, tmp_path, DEFERIT_STORE=store) as running:
        code = running.await_end()

    assert code == 4
    assert "127.0.0.1:1" in running.log


def test_it_needs_no_extra(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['cyclopts'] = None; sys.argv[1:] = ['work', '--help']; "
        "from deferit.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert "--drain" in done.stdout
