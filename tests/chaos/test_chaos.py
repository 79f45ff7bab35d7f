from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from tests.chaos.herd import KINDS
from tests.chaos.monkey import Setting, run

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif(sys.platform != "linux", reason="finds the workers of a server in /proc"),
]

KILLS = 12
UVICORN, GUNICORN = KINDS
SETTINGS = (
    Setting(UVICORN),
    Setting(GUNICORN),
    Setting(UVICORN, "postgresql", "celery"),
    Setting(GUNICORN, "redis", "celery"),
)


@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_nothing_is_lost_stuck_or_run_twice_while_everything_is_killed(
    setting: Setting, tmp_path: Path
) -> None:
    report = run(setting, KILLS, seed=202, folder=tmp_path, say=print)

    print(report)  # noqa: T201  its figures, and where to look if it fails
    assert report.violations == []
    assert report.figures["jobs accepted (told to a client)"] >= KILLS
