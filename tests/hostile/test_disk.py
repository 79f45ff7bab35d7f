"""Disks that fill up, files that are locked, damaged, gone or not ours: a sentence, a 503, and on without a restart."""

from __future__ import annotations

import json
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.hostile.big_bodies import GUNICORN, MEBIBYTE, NOISE, ended, processes_of, serving
from tests.servers.harness import UVICORN, Kind, Server, until
from tests.web.sites import FRAMEWORKS, site

from deferit.stores._sqlite_file import PAGE

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx
    from tests.web.sites import Framework

on_servers = pytest.mark.parametrize("kind", [UVICORN, GUNICORN], ids=str)


@pytest.fixture(params=FRAMEWORKS)
def framework(request: pytest.FixtureRequest) -> Framework:
    found: Framework = request.param
    return found


LAST = {"Connection": "close"}
"""Of a request whose refusal does not wait for its body: gunicorn hangs up behind it."""


def is_refused(answer: httpx.Response) -> bool:
    if answer.status_code == 202:
        return False
    assert answer.status_code == 503, answer.text
    assert answer.json()["code"] == "store-unavailable"
    assert int(answer.headers["Retry-After"]) >= 1
    return True


# --- a full disk -----------------------------------------------------------------------------------------------------


@contextmanager
def small_disk() -> Iterator[Path]:
    """Mount a file system of 32 MiB."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["mount", "-t", "tmpfs", "-o", "size=32m,mode=700", "tmpfs", folder]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("this user cannot mount a small disk")
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", "-l", folder], check=True)


@contextmanager
def small_files(server: Server, size: int) -> Iterator[None]:
    """Let the processes of a server write no file further than so many bytes, as a quota does."""
    for pid in processes_of(server):
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    yield
    for pid in processes_of(server):
        resource.prlimit(
            pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        )


@pytest.mark.server
@on_servers
def test_a_full_disk_is_said_and_survived(kind: Kind, tmp_path: Path) -> None:
    with (
        small_disk() as disk,
        serving(kind, tmp_path, DEFERIT_STORE=f"sqlite:///{disk / 'jobs.db'}") as (
            server,
            client,
        ),
    ):
        old = ended(client, client.post("/pages", content=b"12345"))
        inflight = client.post("/wait").headers["Location"]
        with (disk / "ballast").open("wb", buffering=0) as ballast:
            fill(ballast)
            until(lambda: is_refused(client.post("/pages", content=30_000 * b"x")), "a refusal")
            fill(ballast)
            open_gate(tmp_path)
            assert is_refused(client.post("/pages", content=30_000 * b"x"))
            assert client.get(old).json()["status"] == "succeeded"
            assert client.get(old + "/result").json() == {"pages": 5}
            assert client.get(inflight).status_code in {200, 202}
        (disk / "ballast").unlink()

        until(lambda: not is_refused(client.post("/pages")), "a job to be accepted again")
        until(lambda: client.get(inflight).status_code == 200, "the end of the job in flight")
        assert client.get(inflight).json()["status"] == "succeeded"
        assert "the disk is full (SQLite: database or disk is full)" in server.log
        assert is_sound(disk / "jobs.db")


def fill(ballast: Any) -> None:
    for size in (65_536, 4096, 1):
        try:
            while ballast.write(size * b"x"):
                pass
        except OSError:
            continue


def open_gate(folder: Path) -> None:
    (folder / "gate").touch()


def is_sound(path: Path) -> bool:
    with closing(sqlite3.connect(path)) as connection:
        return bool(connection.execute("PRAGMA integrity_check").fetchone() == ("ok",))


@pytest.mark.server
@on_servers
def test_where_no_file_may_grow_the_same(kind: Kind, tmp_path: Path) -> None:
    with serving(kind, tmp_path) as (server, client):
        inflight = client.post("/wait").headers["Location"]
        with small_files(server, 262_144):  # more than its log will have
            until(lambda: is_refused(client.post("/pages", content=30_000 * b"x")), "a refusal")
            assert is_refused(client.post("/upload", content=3 * NOISE, headers=LAST))
            assert client.get("/").text == "ready"
            assert client.post("/plain", content=3 * NOISE).json() == 3 * MEBIBYTE
            open_gate(tmp_path)

        until(
            lambda: not is_refused(client.post("/upload", content=3 * NOISE, headers=LAST)), "a job"
        )
        until(lambda: client.get(inflight).status_code == 200, "the end of the job in flight")
        assert client.get(inflight).json()["status"] == "succeeded"
        assert "is not available: " in server.log
        assert is_sound(tmp_path / "jobs.db")


# --- locked, damaged, moved ------------------------------------------------------------------------------------------


@pytest.mark.server
@on_servers
def test_a_locked_file_is_said_and_survived(kind: Kind, tmp_path: Path) -> None:
    with serving(kind, tmp_path) as (server, client):
        old = ended(client, client.post("/pages", content=b"12345"))
        inflight = client.post("/wait").headers["Location"]
        with closing(sqlite3.connect(tmp_path / "jobs.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            open_gate(tmp_path)
            assert is_refused(client.post("/pages"))
            assert client.get(old + "/result").json() == {"pages": 5}
            other.execute("ROLLBACK")

        until(lambda: not is_refused(client.post("/pages")), "a job to be accepted again")
        until(lambda: client.get(inflight).status_code == 200, "the end of the job in flight")
        assert client.get(inflight).json()["status"] == "succeeded"
        assert "another process has kept it locked for 5 s" in server.log


@pytest.mark.server
@on_servers
def test_a_damaged_file_is_said_until_a_new_one_is_in_its_place(kind: Kind, tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    with serving(kind, tmp_path) as (server, client):
        for _ in range(20):
            ended(client, client.post("/pages", content=b"12345"))
        old = ended(client, client.post("/pages", content=b"12345"))
        with closing(sqlite3.connect(path)) as other:
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        damage(path)

        until(lambda: client.get(old).status_code == 503, "the damage to be seen")
        until(lambda: is_refused(client.post("/pages")), "a refusal")
        for file in tmp_path.glob("jobs.db*"):
            file.rename(tmp_path / f"damaged-{file.name}")
        until(lambda: not is_refused(client.post("/pages")), "a job to be accepted again")

        assert client.get(old).status_code == 404
        ended(client, client.post("/pages"))
        assert "the file is damaged; put a backup in its place, or move it away" in server.log


def damage(path: Path) -> None:
    """Overwrite all pages but the first, in place."""
    with path.open("r+b") as file:
        file.seek(PAGE)
        file.write(os.urandom(path.stat().st_size - PAGE))


def test_a_record_whose_bytes_were_changed_is_of_a_job_that_has_failed(
    framework: Framework, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "jobs.db"
    with site(framework, store=f"sqlite:///{path}") as built:
        good, bad = built.defer("/pages"), built.defer("/pages")
        built.end_of(good)
        built.end_of(bad)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute(
                "UPDATE jobs SET record = ? WHERE id = ?", (b"\x93\xff\x00", bad.rpartition("/")[2])
            )

        document, result = built.get(bad).document, built.get(bad + "/result")
        events = built.get(bad + "/events")

        assert (document["status"], document["error"]["code"]) == ("failed", "interrupted")
        assert (result.status, result.document["code"]) == (500, "interrupted")
        assert b'"failed"' in events.body
        assert built.delete(bad).status == 204
        assert built.get(bad).status == 404
        assert caplog.text.count("record in the store is damaged") == 1
        assert built.result_of(good).status == 201
        assert built.defer("/pages")


def test_a_file_that_was_moved_away_and_back_has_its_jobs_again(
    framework: Framework, tmp_path: Path
) -> None:
    path, elsewhere = tmp_path / "here" / "jobs.db", tmp_path / "elsewhere"
    path.parent.mkdir()
    with site(framework, store=f"sqlite:///{path}") as built:
        monitor = built.defer("/pages")
        before = built.result_of(monitor)
        path.parent.rename(elsewhere)
        assert built.get(monitor).status == 503
        assert built.post("/pages").status == 503

        elsewhere.rename(path.parent)

        until(lambda: built.get(monitor).status == 200, "the store to be back")
        assert built.get(monitor + "/result") == before
        assert built.end_of(built.defer("/pages")).document["status"] == "succeeded"


# --- not ours --------------------------------------------------------------------------------------------------------

AS_NOBODY = """
import json, os, sys, tempfile
from tests.servers.harness import until
from tests.web.sites import site
from deferit.exceptions import OptionError

framework, folder, mode = sys.argv[1:]
path = os.path.join(folder, "jobs.db")
answers = []
for kind in ("flask", framework):  # what is imported late, while it still may be read
    with tempfile.TemporaryDirectory() as other, site(kind, store=f"sqlite:///{other}/jobs.db") as warm:
        warm.end_of(warm.defer("/pages"))
os.umask(0o077)
if os.getuid() == 0:
    os.chown(folder, 65534, 65534)
    os.setgid(65534)
    os.setuid(65534)
with site(framework, store=f"sqlite:///{path}") as built:
    built.end_of(built.defer("/pages"))
    built.middleware.close()
    target = folder if mode == "directory" else path
    os.chmod(target, 0o500 if mode == "directory" else 0o400)
    if mode == "file":
        for suffix in ("-wal", "-shm"):
            if os.path.exists(path + suffix):
                os.unlink(path + suffix)
    refused = built.post("/pages")
    answers.append([refused.status, refused.document["code"], refused.get("Retry-After")])
    os.chmod(target, 0o700)
    until(lambda: built.post("/pages").status == 202, "a job to be accepted again")
    answers.append([built.end_of(built.defer("/pages")).document["status"]])
os.chmod(folder, 0o500)
try:
    with site("flask", store=f"sqlite:///{path}"):
        pass
except OptionError as exc:
    answers.append(str(exc))
os.chmod(folder, 0o700)
print(json.dumps(answers))
"""


@pytest.mark.parametrize("mode", ["directory", "file"])
def test_what_this_user_may_not_write_is_said_and_survived(framework: Framework, mode: str) -> None:
    folder = tempfile.mkdtemp()
    try:
        command = [sys.executable, "-c", AS_NOBODY, framework, folder, mode]
        child = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert child.returncode == 0, child.stderr
        refused, accepted, reason = json.loads(child.stdout)
    finally:
        shutil.rmtree(folder)

    assert refused == [503, "store-unavailable", "1"]
    assert accepted == ["succeeded"]
    assert f"the directory {folder} cannot be written, where SQLite must keep its log" in reason
    assert "sqlite:" in child.stderr
