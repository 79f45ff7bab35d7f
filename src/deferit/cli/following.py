"""``deferit call`` and ``deferit wait``: have a request answered, however long it takes."""

from __future__ import annotations

import json as jsonlib
import mimetypes
import os
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import httpx
from cyclopts import Parameter
from rich.console import Console

from deferit import __version__
from deferit.cli.display import display_for, say
from deferit.cli.endings import Ending
from deferit.cli.words import printable
from deferit.client import wait as wait_for
from deferit.client.exchange import said_by
from deferit.client.monitors import monitor_of
from deferit.exceptions import OptionError

if TYPE_CHECKING:
    from collections.abc import Iterator

FIRST_ANSWER = 60.0
"""Seconds that a server gets for each step of an answer."""

ERROR = 400


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Manner:
    """How a job is followed, and where its result goes."""

    header: Annotated[
        tuple[str, ...],
        Parameter(
            name=("--header", "-H"),
            help="A header field, as 'Name: value'; sent to the server of the URL only. Repeatable.",
        ),
    ] = ()
    output: Annotated[
        Path | None,
        Parameter(
            name=("--output", "-o"), help="The file for the result; without one it goes to stdout."
        ),
    ] = None
    include: Annotated[
        bool,
        Parameter(
            name=("--include", "-i"),
            help="Show the result's status and header on stderr.",
        ),
    ] = False
    timeout: Annotated[
        float | None,
        Parameter(help="Seconds until you stop following; the job goes on. Without it: for ever."),
    ] = None
    retries: Annotated[
        int,
        Parameter(help="How often in a row the server may be out of reach: 8 times are a minute."),
    ] = 8
    leave: Annotated[
        bool,
        Parameter(help="Leave the job alone on Ctrl-C, which cancels it otherwise."),
    ] = False
    json: Annotated[
        bool,
        Parameter(help="Show status documents and complaints as lines of JSON, on stderr."),
    ] = False
    quiet: Annotated[
        bool, Parameter(name=("--quiet", "-q"), help="Show nothing but the result.")
    ] = False


def call(
    method: str,
    url: str,
    /,
    *,
    data: Annotated[str | None, Parameter(name=("--data", "-d"))] = None,
    manner: Manner | None = None,
) -> int:
    """Send a request and print its final answer: a job that it begins is followed to its result.

    deferit call POST https://example.com/reports -d '{"year": 2024}' -o report.pdf

    Args:
        method: GET, POST, PUT …
        url: Where it goes.
        data: The body: a text, @FILE, or @- for stdin. JSON is sent as such, unless -H says otherwise.
    """
    manner = manner or Manner()
    _refuse_no_file(manner.output)
    with client(manner) as sender:
        body, content_type = body_of(data)
        given = sender.headers.get("Content-Type", content_type)
        headers = {"Content-Type": given} if given else {}
        request = sender.build_request(method.upper(), url, content=body, headers=headers)
        return _follow(sender.send(request, stream=True), sender, manner)


def wait(url: str, /, *, manner: Manner | None = None) -> int:
    """Follow a job by the URL of its monitor, and print its result.

    deferit wait https://example.com/jobs/job_… -o report.pdf

    Args:
        url: The monitor, as 'deferit call' shows it first, or the Location of a 202.
    """
    manner = manner or Manner()
    _refuse_no_file(manner.output)
    with client(manner) as sender:
        return _follow(url, sender, manner)


def _refuse_no_file(output: Path | None) -> None:
    """See that the result has a place, before there is a job."""
    if output is None:
        return
    if output.is_dir():
        raise OptionError(f"-o {output}: that is a folder; name a file")
    if not output.parent.is_dir():
        raise OptionError(f"-o {output}: there is no folder {output.parent}; make it first")


@contextmanager
def client(manner: Manner) -> Iterator[httpx.Client]:
    """Make the client that sends everything."""
    headers = [("User-Agent", f"deferit/{__version__}"), *map(_field, manner.header)]
    with httpx.Client(headers=headers, timeout=FIRST_ANSWER) as made:
        yield made


def _field(text: str) -> tuple[str, str]:
    name, separator, value = text.partition(":")
    if not separator or not name.strip():
        raise OptionError(f"-H {text!r} is no header field; write 'Name: value'")
    return name.strip(), value.strip()


def body_of(data: str | None) -> tuple[bytes | None, str | None]:
    """Return what is sent, and the media type that it seems to have."""
    if data is None:
        return None, None
    if not data.startswith("@"):
        return data.encode(), _json_or("text/plain; charset=utf-8", data)
    name = data[1:]
    if name == "-":
        body = sys.stdin.buffer.read()
        return body, _json_or("application/octet-stream", body)
    try:
        body = Path(name).read_bytes()
    except OSError as exc:
        raise OptionError(f"-d {data}: the file cannot be read: {exc.strerror}") from exc
    return body, mimetypes.guess_type(name)[0] or _json_or("application/octet-stream", body)


def _json_or(otherwise: str, body: str | bytes) -> str:
    try:
        jsonlib.loads(body)
    except ValueError:
        return otherwise
    return "application/json"


def _follow(job: Any, sender: httpx.Client, manner: Manner) -> int:
    seen: dict[str, Any] = {}
    url = job if isinstance(job, str) else _monitor(job)
    try:
        response = _final(job, url, sender, manner, seen)
    except KeyboardInterrupt:
        if url and not manner.quiet:
            is_canceled = "cancelUrl" in seen and not manner.leave
            say(
                "canceled"
                if is_canceled
                else f"left alone; to go on: deferit wait {printable(url)}"
            )
        raise
    return _deliver(response, manner)


def _final(
    job: Any, url: str | None, sender: httpx.Client, manner: Manner, seen: dict[str, Any]
) -> httpx.Response:
    """Return the final response, unread; ``seen`` gets what the last status document has."""
    with display_for(as_json=manner.json, quiet=manner.quiet) as display:

        def show(document: dict[str, Any]) -> None:
            seen.update(document)
            display.show(document)

        if url is not None:
            display.begin(url)
        response: httpx.Response = wait_for(
            job,
            sender,
            stream=True,
            timeout=manner.timeout,
            retries=manner.retries,
            cancel=not manner.leave,
            on_status=show,
        )
        return response


def _monitor(response: httpx.Response) -> str | None:
    monitor = monitor_of(said_by(response))
    return monitor.url if monitor else None


def _deliver(response: httpx.Response, manner: Manner) -> int:
    is_error = response.status_code >= ERROR
    if manner.include or (is_error and not manner.quiet and not manner.json):
        say(f"{response.status_code} {response.reason_phrase}")
    if manner.include:
        for name, value in response.headers.multi_items():
            say(f"{name}: {printable(value)}")
    if manner.output is None or str(manner.output) == "-":
        _print(response)
    else:
        _save(response, manner.output)
    return Ending.FAILED if is_error else Ending.WELL


def _print(response: httpx.Response) -> None:
    if sys.stdout.isatty() and response.headers.get("Content-Type", "").startswith(
        "application/json"
    ):
        response.read()
        Console().print_json(response.text)
        return
    _write(response, sys.stdout.buffer)
    sys.stdout.buffer.flush()


def _save(response: httpx.Response, path: Path) -> None:
    """Write to a file beside the one that is meant, so that there is never half of it; to a device, as it comes."""
    if path.exists() and not path.is_file():
        with path.open("wb") as device:
            _write(response, device)
        return
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("wb") as file:
            _write(response, file)
        os.replace(part, path)  # noqa: PTH105  it names both
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _write(response: httpx.Response, file: BinaryIO) -> None:
    file.writelines(response.iter_bytes())
