"""Handlers in pools that have `submit`: the standard library's processes, and Dask's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from distributed import LocalCluster
from tests.executors.running import KINDS, environment, site, submitted
from tests.servers.harness import CHECKOUT, UVICORN, until
from tests.servers.twins import begun

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.harness import Kind

pytestmark = pytest.mark.server


@pytest.mark.parametrize("kind", KINDS, ids=str, indirect=True)
def test_a_process_pool_runs_handlers(kind: Kind, tmp_path: Path) -> None:
    with site(kind, tmp_path, "pool") as server, server.client() as client:
        jobs = [submitted(client, f"/work/{number}") for number in range(8)]
        statuses = {job.until_finished()["status"] for job in jobs}
        answers = [job.result().json() for job in jobs]

    assert statuses == {"succeeded"}
    assert all(answer["is_started_here"] for answer in answers)
    assert f"[{answers[0]['process']}]" not in server.log


def test_a_pool_that_breaks_is_replaced_and_the_lease_decides(tmp_path: Path) -> None:
    with site(UVICORN, tmp_path, "pool") as server, server.client() as client:
        failed = submitted(client, "/crash/exit").until_finished()
        done = submitted(client, "/work/after").until_finished()

    assert failed["error"]["code"] == "interrupted"
    assert done["status"] == "succeeded"


def test_a_cancel_asks_the_handler(tmp_path: Path) -> None:
    with site(UVICORN, tmp_path, "pool") as server, server.client() as client:
        job = submitted(client, "/report")
        until(lambda: job.document().get("progress") == 50, "it to begin")

        document = client.post(f"{job.monitor}/cancel").json()
        (tmp_path / "report").touch()

    assert (document["status"], document["error"]["detail"]) == ("canceled", "asked to stop")


def test_dask_runs_handlers_on_its_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**environment(tmp_path, "dask"), "PYTHONPATH": str(CHECKOUT)}.items():
        monkeypatch.setenv(name, value)  # the cluster's workers have it from here
    make: Any = LocalCluster
    with make(
        n_workers=2, threads_per_worker=1, dashboard_address=None, host="127.0.0.1"
    ) as cluster:
        web = site(UVICORN, tmp_path, "dask", DEFERIT_TEST_DASK=cluster.scheduler_address)
        with web as server, server.client() as client:
            jobs = [submitted(client, f"/work/{number}?gate=all") for number in range(6)]
            until(lambda: len(begun(tmp_path)) >= 2, "two to begin")
            (tmp_path / "all").touch()
            statuses = {job.until_finished()["status"] for job in jobs}
            processes = {job.result().json()["process"] for job in jobs}

    assert statuses == {"succeeded"}
    assert len(processes) == 2
