from __future__ import annotations

import shutil
import stat
from typing import TYPE_CHECKING

import pytest
from tests.servers.harness import ServerFailed
from tests.servers.twins import followed, twin

if TYPE_CHECKING:
    from pathlib import Path

    import httpx
    from tests.servers.harness import Kind, Server

pytestmark = pytest.mark.server


def test_the_store_is_readable_by_its_owner_alone(server: Server, client: httpx.Client) -> None:
    followed(client, client.post("/work/private")).until_finished()

    files = sorted(server.folder.glob("jobs.db*"))

    assert files
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


def test_a_store_that_cannot_be_opened_is_said_at_start_up(kind: Kind, tmp_path: Path) -> None:
    missing = tmp_path / "missing" / "jobs.db"

    with pytest.raises(ServerFailed, match=str(missing)):
        twin(kind, tmp_path, DEFERIT_STORE=f"sqlite:///{missing}").start()


@pytest.mark.parametrize("is_in_use", [False, True], ids=["unused", "in use"])
def test_a_store_that_is_gone_gives_503_until_it_is_back(
    kind: Kind, tmp_path: Path, is_in_use: bool
) -> None:
    place = tmp_path / "place"
    place.mkdir()
    store = f"sqlite:///{place / 'jobs.db'}"
    with twin(kind, tmp_path, DEFERIT_STORE=store) as server, server.client() as client:
        if is_in_use:
            followed(client, client.post("/work/before")).until_finished()

        shutil.rmtree(place)
        refusals = [client.post(f"/work/meanwhile-{number}") for number in range(10)]
        place.mkdir()
        jobs = [followed(client, client.post(f"/work/after-{number}")) for number in range(10)]

        assert {refusal.status_code for refusal in refusals} == {503}
        assert {refusal.json()["code"] for refusal in refusals} == {"store-unavailable"}
        assert all(int(refusal.headers["Retry-After"]) > 0 for refusal in refusals)
        assert {job.until_finished()["status"] for job in jobs} == {"succeeded"}
