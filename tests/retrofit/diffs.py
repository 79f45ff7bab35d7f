"""Reads the diffs that a document shows, and applies them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BLOCK = re.compile(r"^```diff\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Hunk:
    """Lines of one file as they are, and as they become."""

    file: str
    lines: tuple[str, ...]

    @property
    def old(self) -> str:
        """What stands there, the lines around the change included."""
        return self._text(" -")

    @property
    def new(self) -> str:
        """What stands there afterwards."""
        return self._text(" +")

    def _text(self, signs: str) -> str:
        return "".join(f"{line[1:]}\n" for line in self.lines if (line[:1] or " ") in signs)

    def apply(self, folder: Path) -> None:
        """Change the file; the old lines have to stand there, and once only."""
        path = folder / self.file
        text = path.read_text("utf-8")
        assert text.count(self.old) == 1, f"{self.file} has not exactly once:\n{self.old}"
        path.write_text(text.replace(self.old, self.new), "utf-8")


def diffs(document: Path) -> list[list[Hunk]]:
    """Return the diffs that a document shows, each as its hunks."""
    return [list(_hunks(text)) for text in BLOCK.findall(document.read_text("utf-8"))]


def changed(diff: list[Hunk]) -> int:
    """Count the lines that a diff changes: one that takes another's place is one."""
    return sum(max(_count(hunk, "+"), _count(hunk, "-")) for hunk in diff)


def _count(hunk: Hunk, sign: str) -> int:
    return sum(line.startswith(sign) for line in hunk.lines)


def _hunks(text: str) -> Iterator[Hunk]:
    for section in re.split(r"^--- a/.*\n", text, flags=re.MULTILINE)[1:]:
        head, *hunks = re.split(r"^@@.*\n", section, flags=re.MULTILINE)
        file = head.removeprefix("+++ b/").strip()
        for hunk in hunks:
            yield Hunk(file, tuple(hunk.splitlines()))
