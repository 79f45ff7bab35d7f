from __future__ import annotations

import stat
from functools import partial
from typing import TYPE_CHECKING

import pytest
from tests.matrix import in_a_file
from tests.servers.harness import ServerFailed, until
from tests.servers.twins import await_workers, followed, take_away, twin

if TYPE_CHECKING:
    from pathlib import Path

    import httpx
    from tests.servers.harness import Kind, Server
    from tests.servers.twins import Followed

pytestmark = [pytest.mark.server, in_a_file]


def test_the_store_is_readable_by_its_owner_alone(server: Server, client: httpx.Client) -> None:
    followed(client, client.post("/work/private")).until_finished()

    files = sorted(server.folder.glob("jobs.db*"))

    assert files
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


def test_a_store_that_cannot_be_opened_is_said_at_start_up(kind: Kind, tmp_path: Path) -> None:
    (tmp_path / "not-a-folder").touch()
    store = f"sqlite:///{tmp_path / 'not-a-folder' / 'jobs.db'}"

    with pytest.raises(ServerFailed, match=store), twin(kind, tmp_path, DEFERIT_STORE=store):
        pass


@pytest.mark.parametrize("is_in_use", [False, True], ids=["unused", "in use"])
def test_a_store_that_is_gone_gives_503_until_it_is_back(
    kind: Kind, tmp_path: Path, is_in_use: bool
) -> None:
    place = tmp_path / "place"
    place.mkdir()
    store = f"sqlite:///{place / 'jobs.db'}"
    with twin(kind, tmp_path, DEFERIT_STORE=store) as server, server.client() as client:
        await_workers(server)
        if is_in_use:
            followed(client, client.post("/work/before")).until_finished()

        take_away(place)
        refusals = [client.post(f"/work/meanwhile-{number}") for number in range(10)]
        place.unlink()
        place.mkdir()
        until(lambda: client.post("/work/after").status_code == 202, "a job to be accepted again")
        jobs = [followed(client, client.post(f"/work/after-{number}")) for number in range(10)]

        assert {refusal.status_code for refusal in refusals} == {503}
        assert {refusal.json()["code"] for refusal in refusals} == {"store-unavailable"}
        assert all(int(refusal.headers["Retry-After"]) > 0 for refusal in refusals)
        for job in jobs:
            until(partial(_has_succeeded, job), "a job to be done in the new store")


def _has_succeeded(job: Followed) -> bool:
    """A process may answer 503 once more while it turns to the new file, but never 404."""
    answer = job.poll()
    assert answer.status_code in {200, 202, 503}, answer.text
    return answer.status_code == 200 and answer.json()["status"] == "succeeded"
