"""What can go wrong, as one tree.

DeferitError
├── OptionError              an option, a mark or a route cannot be used
├── StartupFailed            the application could not be started in a process that is to run its jobs
├── JobCanceled              raised inside a handler: its job was canceled, or its time is over
├── InvalidTransition        a job cannot go from this status to that
├── FollowError              raised by ``deferit.client``: a job could not be followed to its result
│   ├── JobFailed            the job has failed, and there is no response of its handler
│   ├── JobWasCanceled       somebody has canceled the job
│   ├── FollowTimeout        the job was not finished in time
│   └── MonitorLost          the monitor, or the result, cannot be reached
└── StoreError
    ├── StoreUnavailable     the store cannot be opened, read or written now
    ├── RecordDamaged        a record in the store cannot be read
    ├── JobNotFound          no job has this id
    ├── JobExists            a job has this id already
    ├── KeyReused            another request has used the idempotency key
    ├── QueueFull            too many jobs wait
    ├── TooManyJobs          the owner has too many jobs
    └── LeaseLost            somebody else has the job now, or nobody has

Every exception keeps its arguments in ``args``, so that it survives pickling on its way out of another process,
and speaks in ``__str__``.
"""

from __future__ import annotations

from typing import Any

HOW_TO_WRAP = (
    "app.wsgi_app = WSGIMiddleware(app.wsgi_app) or app.add_middleware(ASGIMiddleware), "
    "in Django's wsgi.py application = WSGIMiddleware(application)"
)
"""What puts a middleware around an application: the advice of several errors."""


class DeferitError(Exception):
    """The root of all that deferit raises."""


class OptionError(DeferitError, ValueError):
    """An option, a mark or a route cannot be used; the text says what to write instead."""


class StartupFailed(DeferitError):
    """The application could not be started. Arguments: what names it, the reason."""

    def __str__(self) -> str:
        target, reason = self.args
        return f"{target} could not be started: {reason}"


class JobCanceled(DeferitError):
    """The running job was canceled, or its time is over; let it pass, so that the handler ends.

    Raised by ``progress``, ``track`` and ``current_job().check()``. The argument is the job's id.
    """

    def __str__(self) -> str:
        return f"job {self.args[0]} was canceled, or its time is over"


class InvalidTransition(DeferitError):
    """A job cannot change from the first status to the second."""

    def __str__(self) -> str:
        before, after = self.args
        return f"a job that is {before} cannot become {after}"


class FollowError(DeferitError):
    """A job could not be followed to its result. The first argument is the URL of its monitor."""

    @property
    def url(self) -> str:
        """The URL of the monitor, from which following can be resumed."""
        return str(self.args[0])


class JobFailed(FollowError):
    """The job has failed, and there is no response of its handler. Arguments: the URL, the server's problem."""

    @property
    def problem(self) -> dict[str, Any]:
        """What the server says: ``message`` or ``detail``, ``code``, and what else it has."""
        return dict(self.args[1])

    def __str__(self) -> str:
        return f"the job at {self.url} has failed{_told(self.problem)}"


class JobWasCanceled(FollowError):
    """Somebody has canceled the job. Arguments: the URL, the server's problem."""

    @property
    def problem(self) -> dict[str, Any]:
        """What the server says."""
        return dict(self.args[1])

    def __str__(self) -> str:
        return f"somebody has canceled the job at {self.url}{_told(self.problem)}"


class FollowTimeout(FollowError):
    """The job was not finished in time; it goes on. Arguments: the URL, the seconds that it was given."""

    def __str__(self) -> str:
        url, seconds = self.args
        return f"the job was not finished within {seconds:g} seconds and goes on; wait({url!r}) resumes"


class MonitorLost(FollowError):
    """The monitor, or the result, cannot be reached; the job may go on. Arguments: the URL, the reason."""

    def __str__(self) -> str:
        url, reason = self.args
        return f"the job at {url} cannot be followed: {reason}; wait({url!r}) tries again"


def _told(problem: dict[str, Any]) -> str:
    words = problem.get("message") or problem.get("detail") or problem.get("title")
    code = problem.get("code")
    return (f": {words}" if words else "") + (f" ({code})" if code else "")


class StoreError(DeferitError):
    """A store could not do what it was asked."""


class StoreUnavailable(StoreError):
    """The store cannot be opened, read or written now. Arguments: the store's URL, the reason."""

    def __str__(self) -> str:
        url, reason = self.args
        return f"the store {url} is not available: {reason}"


class RecordDamaged(StoreError):
    """A record in the store cannot be read: its bytes were changed. The argument says where."""

    def __str__(self) -> str:
        return f"a job's record in the store is damaged ({self.args[0]}); put a backup in the store's place"


class JobNotFound(StoreError):
    """No job has this id."""

    def __str__(self) -> str:
        return f"there is no job {self.args[0]}"


class JobExists(StoreError):
    """A job has this id already."""

    def __str__(self) -> str:
        return f"there is a job {self.args[0]} already"


class KeyReused(StoreError):
    """Another request has used the idempotency key. The argument is the id of its job."""

    def __str__(self) -> str:
        return f"the idempotency key belongs to another request, whose job is {self.args[0]}"


class QueueFull(StoreError):
    """Too many jobs wait. The argument is how many may."""

    def __str__(self) -> str:
        return f"{self.args[0]} jobs wait already, and no more may (option max_queue)"


class TooManyJobs(StoreError):
    """The owner has too many jobs that are not finished. The argument is how many it may have."""

    def __str__(self) -> str:
        return f"the owner has {self.args[0]} unfinished jobs, and no more are allowed (option max_jobs_per_owner)"


class LeaseLost(StoreError):
    """The job is not this attempt's any more. Arguments: the job's id, the attempt that asked."""

    def __str__(self) -> str:
        job_id, attempt = self.args
        return f"attempt {attempt} of job {job_id} has lost its lease: the job was finished or taken over"
