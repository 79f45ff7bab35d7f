"""A disk whose syncs take two milliseconds, as a service that says how to have it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.servers import ContestantFailed

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = Path(__file__).with_suffix(".c")
MICROSECONDS = "2000"


@contextmanager
def slow_syncs() -> Iterator[str]:
    """Compile what is preloaded; yield its path, for ``LD_PRELOAD``."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if sys.platform != "linux" or compiler is None:
        raise ContestantFailed("A slow disk is played by a preloaded library: Linux, a C compiler")
    with tempfile.TemporaryDirectory(prefix="deferit-bench-") as folder:
        library = Path(folder) / "slow_disk.so"
        options = ["-O1", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror"]
        subprocess.run([compiler, *options, "-o", str(library), str(SOURCE), "-ldl"], check=True)
        yield str(library)
