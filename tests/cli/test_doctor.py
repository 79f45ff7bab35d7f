"""The doctor finds what is wrong with how an application uses deferit, and says what to do."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest
from tests.cli.test_jobs import draft

from deferit._core.commands import Create
from deferit.cli.doctor.checks import Facts, Finding, Level, Marked, StoreFacts, examined
from deferit.cli.doctor.look import ignored, store_facts, workers
from deferit.stores.memory import MemoryStore
from deferit.stores.sqlite import SQLiteStore

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Deferit

FILE = StoreFacts(url="sqlite:///jobs.db", mode=0o600, disk="ext4")
MEMORY = StoreFacts(url="memory://", is_shared=False)
REPORT = Marked(name="shop.report", methods=frozenset({"POST"}))


def facts(**changes: Any) -> Facts:
    """Return facts that no check has anything against, but for the changes."""
    sound: dict[str, Any] = {"middlewares": 1, "marked": (REPORT,), "store": FILE, "now": 1000.0}
    return Facts(**sound | changes)


def complaints(**changes: Any) -> list[Finding]:
    return [finding for finding in examined(facts(**changes)) if finding.level is not Level.OK]


def test_nothing_is_wrong_with_a_sound_application() -> None:
    assert complaints() == []
    assert [finding.check for finding in examined(facts())] == ["middleware", "store"]


@pytest.mark.parametrize(
    ("changes", "level", "check", "words"),
    [
        ({"middlewares": 0}, "problem", "middleware", "nothing is deferred of shop.report"),
        ({"middlewares": 0, "marked": ()}, "problem", "middleware", "none was found"),
        ({"middlewares": 2}, "problem", "middleware", "there are 2"),
        ({"marked": ()}, "warning", "middleware", "no handler is marked"),
        ({"store": StoreFacts(url="", error="disk full")}, "problem", "store", "disk full"),
        ({"store": MEMORY}, "warning", "store", "forgets all jobs"),
        ({"store": StoreFacts(url="s", is_synchronous=False)}, "warning", "store", "power cut"),
        ({"store": StoreFacts(url="s", mode=0o644)}, "problem", "file", "mode 0644"),
        ({"store": StoreFacts(url="s", disk="nfs4")}, "problem", "file", "lies on nfs4"),
        ({"store": StoreFacts(url="s", newest=1100.0)}, "problem", "clock", "100 seconds"),
        ({"ignored": ("DEFERIT_STOER",)}, "warning", "environment", "DEFERIT_STOER is set"),
        ({"proxy": "DYNO is set"}, "warning", "urls", "DYNO is set"),
    ],
)
def test_a_check_finds(changes: dict[str, Any], level: str, check: str, words: str) -> None:
    (finding,) = complaints(**changes)

    assert (finding.level, finding.check) == (level, check)
    assert words in finding.found
    assert finding.advice


def test_several_processes_with_a_memory_each_are_a_problem() -> None:
    found = complaints(store=MEMORY, workers=("WEB_CONCURRENCY", 4))

    assert [finding.check for finding in found] == ["store", "workers"]
    assert complaints(workers=("WEB_CONCURRENCY", 4)) == []
    assert len(complaints(store=MEMORY, workers=("WEB_CONCURRENCY", 1))) == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"repeatable": True}, "repeatable=True"), ({"retries": 3}, "retries=3")],
)
def test_a_post_that_may_be_started_again_is_a_warning(changes: dict[str, Any], words: str) -> None:
    methods = frozenset({"GET", "POST"})

    (finding,) = complaints(marked=(Marked(name="pay", methods=methods, **changes),))

    assert finding.level is Level.WARNING
    assert finding.found == f"pay is reached by POST and may be started again ({words})"


def test_what_is_safe_may_be_started_again() -> None:
    marked = Marked(name="export", methods=frozenset({"GET", "PUT"}), repeatable=True)

    assert complaints(marked=(marked,)) == []


def test_a_proxy_is_no_worry_with_a_base_url_or_a_layer_that_reads_its_headers() -> None:
    assert complaints(proxy="DYNO is set", base_url="https://example.com") == []
    assert complaints(proxy="DYNO is set", trusts_proxy=True) == []


def test_an_application_that_cannot_be_looked_through_is_not_suspected() -> None:
    assert complaints(marked=(), is_readable=False) == []


@pytest.mark.parametrize(
    ("environ", "config", "found"),
    [
        ({}, "", None),
        ({"WEB_CONCURRENCY": "3"}, "", ("WEB_CONCURRENCY", 3)),
        ({"WEB_CONCURRENCY": "many"}, "", None),
        ({"GUNICORN_CMD_ARGS": "--bind=:80 --workers=4"}, "", ("GUNICORN_CMD_ARGS", 4)),
        ({"GUNICORN_CMD_ARGS": "-w 2"}, "", ("GUNICORN_CMD_ARGS", 2)),
        ({}, "bind = ':80'\nworkers = 5\n", ("gunicorn.conf.py", 5)),
    ],
)
def test_the_number_of_processes_is_told_by_what_servers_read(
    tmp_path: Path, environ: dict[str, str], config: str, found: tuple[str, int] | None
) -> None:
    (tmp_path / "gunicorn.conf.py").write_text(config)

    assert workers(environ, tmp_path) == found


def test_variables_that_no_option_has_are_ignored() -> None:
    environ = {"DEFERIT_STOER": "x", "DEFERIT_STORE": "x", "DEFERIT_MAX_WAIT": "1", "HOME": "/"}

    assert ignored(environ) == ("DEFERIT_STOER",)


def test_a_store_is_looked_at_and_none_is_made(tmp_path: Path) -> None:
    store = SQLiteStore(f"sqlite:///{tmp_path / 'jobs.db'}?synchronous=normal")

    found = store_facts(store, "default")

    assert (found.error, found.is_synchronous, found.mode, found.newest) == (
        None,
        False,
        None,
        None,
    )
    assert list(tmp_path.iterdir()) == []


def test_a_store_tells_its_mode_and_its_newest_job(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    store = SQLiteStore(f"sqlite:///{path}")
    store.open()
    store.execute([Create(draft(1), b""), Create(draft(2), b"")])
    store.close()
    path.chmod(0o640)

    found = store_facts(store, "default")

    assert (found.mode, found.newest) == (0o640, draft(2).created_at)


def test_a_store_that_cannot_be_opened_says_why(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    path.write_text("no database at all, but long enough to be looked at as if it were one" * 10)

    found = store_facts(SQLiteStore(f"sqlite:///{path}"), "default")

    assert found.error is not None
    assert "no SQLite database" in found.error or "not a database" in found.error


def test_a_memory_store_is_not_opened() -> None:
    assert not store_facts(MemoryStore("memory://"), "default").is_shared


FLASK = """
from flask import Flask
from flask.views import MethodView
from werkzeug.middleware.proxy_fix import ProxyFix
from deferit import WSGIMiddleware, deferred

app = Flask(__name__)

@app.post("/pay")
@deferred(retries=2)
def pay(): ...

class Reports(MethodView):
    @deferred
    def get(self): ...
    @deferred(repeatable=True)
    def post(self): ...

app.add_url_rule("/reports", view_func=Reports.as_view("reports"))
app.wsgi_app = ProxyFix(WSGIMiddleware(app.wsgi_app, routes={"POST /bill": {"repeatable": True}}))

bare = Flask("bare")
bare.add_url_rule("/pay", view_func=pay, methods=["POST"])

def create_app():
    return app
"""

STARLETTE = """
from fastapi import APIRouter, FastAPI
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Mount, Route
from deferit import ASGIMiddleware, deferred

@deferred(repeatable=True)
async def pay(request): ...

router = APIRouter()

@router.post("/bill")
@deferred(retries=1)
def bill(): ...

fast = FastAPI()
fast.include_router(router)
fast.add_middleware(ASGIMiddleware, store="memory://")
inner = Starlette(routes=[Route("/pay", pay, methods=["POST"])])
app = ASGIMiddleware(Starlette(routes=[Mount("/shop", inner)]), base_url="https://example.com")
"""


@pytest.fixture
def shops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make two modules with applications, in the current directory."""
    for name, source in {"flask_shop": FLASK, "starlette_shop": STARLETTE}.items():
        (tmp_path / f"{name}.py").write_text(source)
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)


def examine(deferit: Deferit, name: str, *options: str) -> tuple[int, dict[str, list[str]]]:
    """Return the exit code, and what was found by each check."""
    done = deferit("doctor", name, "--json", *options)
    found: dict[str, list[str]] = {}
    for finding in json.loads(done.out):
        found.setdefault(finding["check"], []).append(finding["found"])
    return done.code, found


@pytest.mark.usefixtures("shops")
@pytest.mark.parametrize("name", ["flask_shop:app", "flask_shop:create_app()"])
def test_a_flask_application_is_looked_through(deferit: Deferit, name: str) -> None:
    code, found = examine(deferit, name)

    marks = " ".join(found["marks"])
    assert code == 0
    assert "pay is reached by POST and may be started again (retries=2)" in marks
    assert "Reports.post is reached by POST" in marks
    assert "POST /bill is reached by POST" in marks
    assert "Reports.get" not in marks


@pytest.mark.usefixtures("shops")
def test_warnings_count_if_one_is_strict(deferit: Deferit) -> None:
    code, _ = examine(deferit, "flask_shop:app", "--strict")

    assert code == 1


@pytest.mark.usefixtures("shops")
def test_marked_handlers_with_no_middleware_around_are_a_problem(deferit: Deferit) -> None:
    code, found = examine(deferit, "flask_shop:bare")

    assert code == 1
    assert "nothing is deferred of" in found["middleware"][0]


@pytest.mark.usefixtures("shops")
def test_what_is_mounted_in_starlette_is_looked_through(deferit: Deferit) -> None:
    code, found = examine(deferit, "starlette_shop:app")

    assert code == 0
    assert "pay is reached by POST" in found["marks"][0]
    assert found["urls"] == ["monitors are at https://example.com"]


@pytest.mark.usefixtures("shops")
def test_fastapi_is_looked_through_before_it_is_built(
    deferit: Deferit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEB_CONCURRENCY", "2")

    code, found = examine(deferit, "starlette_shop:fast")

    assert code == 1
    assert "bill is reached by POST and may be started again (retries=1)" in found["marks"][0]
    assert "WEB_CONCURRENCY says 2 processes" in found["workers"][0]


@pytest.mark.usefixtures("shops")
def test_findings_are_told_to_people_too(deferit: Deferit) -> None:
    done = deferit("doctor", "flask_shop:bare")

    first, second, *_ = done.out.splitlines()
    assert first.startswith("problem  middleware: none is around the application")
    assert second.strip().startswith("add app.wsgi_app = WSGIMiddleware(")


@pytest.mark.usefixtures("shops")
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nowhere:app", "No module named 'nowhere'"),
        ("flask_shop:nothing", "has no attribute 'nothing'"),
        ("flask_shop", "names no application"),
    ],
)
def test_an_application_that_cannot_be_imported_ends_with_2(
    deferit: Deferit, name: str, words: str
) -> None:
    done = deferit("doctor", name)

    assert done.code == 2
    assert words in done.err
