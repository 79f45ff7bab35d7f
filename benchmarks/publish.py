"""Writes what was measured into docs and README: ``python -m benchmarks.publish`` does it again from the JSON."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from benchmarks import tables
from benchmarks.picture import picture
from benchmarks.record import Row
from benchmarks.servers import CHECKOUT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.record import Effort

FIGURES = CHECKOUT / "docs/performance/figures.json"
PICTURE = CHECKOUT / "docs/images/performance.svg"
PAGES = (CHECKOUT / "docs/performance.md", CHECKOUT / "README.md")

PACKAGES = ("starlette", "fastapi", "flask", "uvicorn", "uvloop", "httptools", "gunicorn")

README = """## How fast

{}

Each with a handler that does nothing; *÷ bare* is a fixed answer of the same framework on the same server, measured
right before. deferit's 202 means that the job is on disk, synced. How this is measured, with more stores and executors:
[How fast it is](docs/performance.md)."""

PARTS: dict[str, Callable[[Sequence[Row]], str]] = {
    "picture": lambda _: (
        "![Jobs accepted, and the time from submission to result, of deferit and others]"
        f"(images/{PICTURE.name})"
    ),
    "everybody": tables.everybody,
    "targets": tables.targets,
    "others": tables.others,
    "some": lambda rows: README.format(tables.some(rows)),
}


def record(rows: Sequence[Row], effort: Effort) -> None:
    """Write rows into the JSON, in place of older ones of the same figures and contestants."""
    known = {(row.figure, row.contestant): row for row in kept()}
    known |= {(row.figure, row.contestant): row for row in rows}
    document = {"taken": _circumstances(effort), "rows": [asdict(row) for row in known.values()]}
    FIGURES.parent.mkdir(exist_ok=True)
    FIGURES.write_text(json.dumps(_rounded(document), indent=1, ensure_ascii=False) + "\n")


def kept() -> list[Row]:
    """Return the rows of the JSON."""
    if not FIGURES.exists():
        return []
    return msgspec.convert(json.loads(FIGURES.read_text())["rows"], list[Row])


def publish() -> None:
    """Write the picture, and the tables between their markers."""
    rows = kept()
    PICTURE.write_text(picture(rows))
    for page in PAGES:
        page.write_text(filled(page.read_text(), rows))


def filled(text: str, rows: Sequence[Row]) -> str:
    """Return a page with the parts that it names: ``<!-- figures: name -->`` and ``<!-- end of figures -->``."""
    for name, part in PARTS.items():
        begin, end = f"<!-- figures: {name} -->\n", "<!-- end of figures -->"
        before, found, rest = text.partition(begin)
        if found:
            text = f"{before}{begin}\n{part(rows)}\n\n{end}{rest.partition(end)[2]}"
    return text


def _circumstances(effort: Effort) -> dict[str, Any]:
    return {
        "on": datetime.now(UTC).date().isoformat(),
        "processors": os.cpu_count(),
        "model": _model(),
        "system": platform.system(),
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in PACKAGES},
        "rounds": effort.rounds,
        "seconds": effort.seconds,
    }


def _model() -> str:
    """Return what the processor calls itself, where it does."""
    about = Path("/proc/cpuinfo")
    lines = about.read_text().splitlines() if about.exists() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.machine()


def _rounded(value: Any) -> Any:
    """Return it with four digits of each number: the others are noise."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {name: _rounded(each) for name, each in value.items()}
    return [_rounded(each) for each in value] if isinstance(value, list) else value


if __name__ == "__main__":
    publish()
