from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from tests.chaos.herd import KINDS
from tests.chaos.power import SUBMISSIONS, Recording, compiled, record

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.harness import Kind

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled(tmp_path_factory.mktemp("library"))


@pytest.fixture(scope="module", params=KINDS, ids=str)
def kind(request: pytest.FixtureRequest) -> Kind:
    found: Kind = request.param
    return found


@pytest.fixture(scope="module", params=[1, 8], ids=["one by one", "8 at once"])
def recording(
    request: pytest.FixtureRequest,
    kind: Kind,
    library: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Recording:
    folder = tmp_path_factory.mktemp("recording")
    return record(kind, folder, library, at_once=request.param)


def test_a_job_is_written_and_synced_between_its_request_and_its_202(recording: Recording) -> None:
    for name, job_id in recording.jobs.items():
        read, sent = recording.read(name), recording.sent(job_id)
        written = recording.written(job_id)

        assert read.process == written.process == sent.process
        assert read.ended <= written.began
        assert recording.syncs(after=written, before=sent), f"{job_id} was not synced"


def test_a_power_cut_at_the_202_leaves_the_job_in_the_store(recording: Recording) -> None:
    left = [job_id for job_id in recording.jobs.values() if _is_left(recording, job_id)]

    assert len(left) == SUBMISSIONS


def test_without_a_sync_both_would_be_seen_to_fail(
    kind: Kind, library: Path, tmp_path: Path
) -> None:
    careless = record(kind, tmp_path, library, at_once=1, synchronous="normal")

    unsynced = [job_id for job_id in careless.jobs.values() if not _is_synced(careless, job_id)]
    lost = [job_id for job_id in careless.jobs.values() if not _is_left(careless, job_id)]
    assert len(unsynced) > SUBMISSIONS / 2
    assert len(lost) > SUBMISSIONS / 2


def _is_synced(recording: Recording, job_id: str) -> bool:
    return bool(recording.syncs(after=recording.written(job_id), before=recording.sent(job_id)))


def _is_left(recording: Recording, job_id: str) -> bool:
    """Whether a job is in the store as it would be after a power cut at its 202; the store has to be sound."""
    with closing(sqlite3.connect(recording.folder / f"{job_id}.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'jobs'").fetchone():
            return False
        found = connection.execute("SELECT 1 FROM jobs WHERE id = ?", (job_id,)).fetchone()
    return found is not None
