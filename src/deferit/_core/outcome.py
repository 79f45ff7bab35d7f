"""What became of a replay: from what was recorded and raised to a result, a failure, or both."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from deferit._core.job import Failure, Result

if TYPE_CHECKING:
    from deferit._core.recorder import Recorder

ERROR = 400
SERVER_ERROR = 500
NOT_ROUTED = frozenset({404, 405})


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """How a job ends: its result if there is a whole one, with the last piece of its body, and why it failed."""

    result: Result | None
    error: Failure | None
    body: bytes = b""


def outcome(
    recorder: Recorder,
    escaped: BaseException | None,
    raised: BaseException | None,
    *,
    misses_handler: bool = False,
) -> Outcome:
    """Return how a job ends.

    ``misses_handler`` says that the request was deferred by a mark, and its replay has not come to one.
    ``escaped`` is what came out of the application, ``raised`` what came out of the marked handler, whether or not the
    application made a response of it.
    """
    if recorder.is_too_large:
        return Outcome(None, Failure("result-too-large", "The response is longer than max_result."))
    if not recorder.is_whole:
        return Outcome(None, _no_response(escaped or raised))
    result, body = recorder.result()
    if misses_handler and escaped is None and result.status in NOT_ROUTED:
        return Outcome(None, Failure("route-gone", _ROUTE_GONE.format(status=result.status)))
    return Outcome(result, _failure(result.status, escaped, raised), body)


_ROUTE_GONE = (
    "The application answered {status} before it came to a handler that is deferred: "
    "the version that runs jobs does not have the route that this one was accepted at."
)


def _failure(
    status: int, escaped: BaseException | None, raised: BaseException | None
) -> Failure | None:
    if escaped is not None:
        return _exception(escaped)
    if raised is not None and status >= SERVER_ERROR and not _is_answer(raised):
        return _exception(raised)
    if status >= ERROR:
        return Failure("handler-response", f"The handler answered {status}.")
    return None


def _is_answer(exc: BaseException) -> bool:
    """Whether an exception is a framework's way to answer with a status code, as by ``abort(503)``."""
    return isinstance(getattr(exc, "status_code", getattr(exc, "code", None)), int)


def _no_response(exc: BaseException | None) -> Failure:
    if exc is not None:
        return _exception(exc)
    return Failure("handler-exception", "The application ended without a whole response.")


def _exception(exc: BaseException) -> Failure:
    """Return what may be told of an exception: its kind; its text may speak of secrets."""
    return Failure("handler-exception", f"The handler raised {type(exc).__name__}.")
