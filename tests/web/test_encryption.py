"""The option ``encrypt``: what lies on the disk, and what a site does when a key is wrong or gone."""

from __future__ import annotations

import sqlite3
from base64 import b64encode
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.elsewhere.promises import IS_HERE
from tests.matrix import STORE, durable
from tests.process.parts import eventually
from tests.stores.places import chosen, fresh
from tests.stores.test_encrypted import KEY, OTHER_KEY
from tests.web.sites import FRAMEWORKS, saying, site

from deferit._core.commands import Sweep

if TYPE_CHECKING:
    from tests.web.sites import Framework, Site

MARKER = "hush-4711"
BASE64 = b64encode(MARKER.encode())
LONG = 300_000
"""Bytes: more than one piece."""


@pytest.fixture(params=FRAMEWORKS)
def framework(request: pytest.FixtureRequest) -> Framework:
    found: Framework = request.param
    return found


@pytest.fixture
def place() -> str:
    """The URL of a store that several sites share."""
    return fresh(*chosen("sqlite"))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "jobs.db"


def file_of(place: str) -> Path:
    return Path(place.removeprefix("sqlite://"))


def on_disk(file: Path) -> bytes:
    return b"".join(path.read_bytes() for path in file.parent.iterdir())


def requests_in(file: Path) -> list[str]:
    """Return the ids of jobs of whose captured request anything is kept."""
    with closing(sqlite3.connect(file)) as connection:
        rows = connection.execute(
            "SELECT id FROM jobs WHERE request IS NOT NULL "
            "UNION SELECT job_id FROM pieces WHERE attempt = 0"
        )
        return [job_id for (job_id,) in rows]


def submit(built: Site, *, length: int = 0, url: str = "/say") -> str:
    """Have a request deferred with the marker in its header, query and body; return the monitor."""
    body = saying(
        201, MARKER.encode() + length * b"x", [["X-Secret", MARKER], ["ETag", f'"{MARKER}"']]
    )
    return built.defer(f"{url}?secret={MARKER}", body, Authorization=f"Bearer {MARKER}")


@pytest.mark.parametrize("length", [0, LONG], ids=["short", "long"])
def test_a_job_leaves_nothing_legible_on_the_disk_and_loses_nothing(
    framework: Framework, file: Path, length: int
) -> None:
    with site(framework, store=f"sqlite:///{file}", encrypt=KEY) as built:
        result = built.result_of(submit(built, length=length))
        assert (result.status, result["X-Secret"], result["ETag"]) == (201, MARKER, f'"{MARKER}"')
        assert result.body == MARKER.encode() + length * b"x"
        part = built.get(result["Link"][1:].partition(">")[0] + "/result", Range="bytes=0-3")
        assert part.body[:4] == MARKER.encode()[:4]

        held = on_disk(file)

    assert b"gAAAA" in held
    assert MARKER.encode() not in held + on_disk(file)
    assert BASE64 not in held


def test_without_the_option_it_would(framework: Framework, file: Path) -> None:
    with site(framework, store=f"sqlite:///{file}") as built:
        built.end_of(submit(built))

        assert MARKER.encode() in on_disk(file)


@durable
def test_waiting_jobs_are_encrypted_too_and_run_with_another_key_in_front(
    framework: Framework, place: str
) -> None:
    with site(framework, store=place, encrypt=KEY, concurrency=1) as built:
        built.defer("/gated/a")
        monitor = submit(built)
        if STORE == "sqlite":
            assert requests_in(file_of(place))
            assert MARKER.encode() not in on_disk(file_of(place))
        built.middleware.options.store.close()

        with site(framework, store=place, encrypt=[OTHER_KEY, KEY]) as other:
            assert other.result_of(monitor)["X-Secret"] == MARKER


@durable
@pytest.mark.parametrize("options", [{"encrypt": OTHER_KEY}, {}], ids=["wrong", "missing"])
def test_a_job_whose_key_is_gone_fails_with_the_reason_and_the_store_goes_on(
    framework: Framework, place: str, caplog: pytest.LogCaptureFixture, options: dict[str, Any]
) -> None:
    with site(framework, store=place, encrypt=KEY, concurrency=1, grace=0) as built:
        first = built.defer("/gated/a")
        eventually(lambda: built.get(first).document["status"] == "running")
        monitor = submit(built)
        built.middleware.engine.drain()  # what waits is left to others
        with site(framework, store=place, **options) as other:
            other.get("/jobs/job_" + 26 * "0")
            error = other.end_of(monitor).document["error"]
            afterwards = other.end_of(submit(other)).document

    assert error["code"] == "route-gone"
    reason = "could not decrypt it" if options else "encrypt= names no key"
    assert reason in error["message"]
    assert afterwards["status"] == "succeeded"
    if STORE == "sqlite" and not IS_HERE:  # the first job ends there a moment after its site
        eventually(lambda: not requests_in(file_of(place)))
    assert STORE != "sqlite" or requests_in(file_of(place)) == []
    if options and IS_HERE:
        assert "none of the keys that encrypt= names opens its captured request" in caplog.text


@durable
@pytest.mark.parametrize("options", [{"encrypt": OTHER_KEY}, {}], ids=["wrong", "missing"])
@pytest.mark.parametrize("url", ["/say", "/empty"])
def test_a_result_whose_key_is_gone_is_503_until_it_is_back(
    framework: Framework,
    place: str,
    caplog: pytest.LogCaptureFixture,
    options: dict[str, Any],
    url: str,
) -> None:
    with site(framework, store=place, encrypt=KEY) as built:
        monitor = submit(built) if url == "/say" else built.say(303, b"", [["Location", "/x"]])
        before = built.result_of(monitor)

    with site(framework, store=place, **options) as other:
        result = other.get(monitor + "/result")
        status = other.end_of(monitor).document["status"]
        assert (result.status, result.document["code"]) == (503, "store-unavailable")
        assert "gAAAA" not in repr(result)
        assert MARKER not in repr(result)
        assert status == "succeeded"
        assert "a result cannot be decrypted, and is answered with 503" in caplog.text
        assert caplog.text.count("a result cannot be decrypted") == 1

    with site(framework, store=place, encrypt=[OTHER_KEY, KEY]) as again:
        assert again.get(monitor + "/result") == before


@pytest.mark.parametrize("end", ["succeeded", "failed", "canceled", "expired", "purged"])
def test_nothing_of_a_request_is_kept_once_its_job_has_ended(
    framework: Framework, file: Path, end: str
) -> None:
    with site(framework, store=f"sqlite:///{file}", encrypt=KEY, concurrency=1) as built:
        if end == "canceled":
            built.defer("/gated/a")
        body = saying(500 if end == "failed" else 201, LONG * b"x")
        monitor = built.defer("/brief" if end == "expired" else "/say", body)
        if end == "canceled":
            assert built.post(monitor + "/cancel").document["status"] == "canceled"
            built.bench.open("a")
        elif end != "expired":
            assert built.end_of(monitor).document["status"] in {end, "succeeded"}
        if end == "purged":
            assert built.delete(monitor).status == 204
        if end == "expired":
            while built.get(monitor, Prefer="wait=1").status != 410:
                pass
            store = built.middleware.options.store
            store.execute(
                [Sweep(built.middleware.engine.draft(route="", method="", ttl=0).created_at)]
            )

        job_id = monitor.rpartition("/")[2]
        assert job_id not in requests_in(file)
        with closing(sqlite3.connect(file)) as connection:
            (count,) = connection.execute(
                "SELECT count(*) FROM pieces WHERE job_id = ?", (job_id,)
            ).fetchone()
        assert (count > 0) == (end in {"succeeded", "failed"})
