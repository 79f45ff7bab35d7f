"""What is shown while a job is followed, on stderr: a bar on a terminal, lines elsewhere, or JSON."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any, Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from deferit.cli.words import line, message, percent, printable, remaining
from deferit.client.monitors import is_finished, word_of

if TYPE_CHECKING:
    from rich.progress import Task

    from deferit.client.monitors import Document


class Display(Protocol):
    """Shows a job, inside ``with``."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: object) -> None: ...

    def begin(self, url: str) -> None:
        """Say that a job is followed, and where."""
        ...

    def show(self, document: Document) -> None:
        """Show a status document."""
        ...


def display_for(*, as_json: bool, quiet: bool) -> Display:
    """Return the display for what stderr is."""
    if quiet:
        return Nothing()
    if as_json:
        return JSONLines()
    console = Console(stderr=True, highlight=False)
    return Bar(console) if console.is_terminal and not console.is_dumb_terminal else Lines()


class Nothing:
    """Shows nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def begin(self, url: str) -> None:
        pass

    def show(self, document: Document) -> None:
        pass


class Lines(Nothing):
    """Shows one line for each change, without any control characters."""

    def __init__(self) -> None:
        self._last: object = None

    def begin(self, url: str) -> None:
        say(f"following {printable(url)}")

    def show(self, document: Document) -> None:
        news = (word_of(document), percent(document), message(document))
        if news != self._last:
            self._last = news
            say(line(document, time.time()))


class JSONLines(Nothing):
    """Shows each document as it came, in a line of JSON."""

    def show(self, document: Document) -> None:
        say(json.dumps(document))


class Bar:
    """Shows a bar that moves, with how long it will take yet; it is gone at the end."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn("{task.description:>9}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[percent]:>5}", markup=False),
            TextColumn("{task.fields[message]}", markup=False),
            TimeElapsedColumn(),
            _Remaining(),
            console=console,
            transient=True,
        )
        fields: dict[str, Any] = {"percent": "", "message": "", "document": {}}
        self._task = self._progress.add_task("waiting", total=None, **fields)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._progress.stop()

    def begin(self, url: str) -> None:
        self._console.print(f"following {printable(url)}", markup=False, soft_wrap=True)

    def show(self, document: Document) -> None:
        done = 100 if is_finished(document) else percent(document)
        self._progress.update(
            self._task,
            description=printable(word_of(document) or "?"),
            total=None if done is None else 100,
            completed=done or 0,
            percent="" if done is None else f"{done} %",
            message=message(document),
            document=document,
        )


class _Remaining(ProgressColumn):
    """How long it will take yet; anew each time that the bar is drawn."""

    def render(self, task: Task) -> Text:
        return Text(remaining(task.fields["document"], time.time()))


def say(text: str) -> None:
    """Write a line to stderr."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
