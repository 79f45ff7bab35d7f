"""When scheduled jobs run: cron expressions, read by the library cronsim."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from deferit._core.policy import Mark, mark_from
from deferit.exceptions import OptionError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import tzinfo

FIELDS = 5


class Cron:
    """A cron expression of five fields, in UTC or in the time zone that is named behind them."""

    def __init__(self, text: str) -> None:
        """Read ``0 2 * * *`` or ``0 2 * * * Europe/Rome``.

        Raises:
            OptionError: it cannot be read, has no next window, or the library is missing.
        """
        self._text = text
        self._expression, self._zone = _split(text)
        self.next_after(datetime.now(UTC).timestamp())

    def __repr__(self) -> str:
        return f"Cron({self._text!r})"

    def next_after(self, now: float) -> float:
        """Return the instant at which the next window opens, in seconds since the epoch."""
        cronsim = _cronsim()
        try:
            windows = cronsim.CronSim(self._expression, datetime.fromtimestamp(now, self._zone))
            return float(next(windows).timestamp())
        except (cronsim.CronSimError, StopIteration) as exc:
            raise OptionError(_unreadable(self._text, str(exc))) from exc


def mark_from_text(options: Mapping[str, Any]) -> Mark:
    """Return the mark that keyword options describe, with its schedule read.

    Raises:
        OptionError: a name or a value that cannot be used.
    """
    schedule = options.get("schedule")
    if isinstance(schedule, str):
        return mark_from({**options, "schedule": Cron(schedule)})
    return mark_from(options)


def _split(text: str) -> tuple[str, tzinfo]:
    from zoneinfo import ZoneInfo  # noqa: PLC0415  only who schedules needs it

    parts = text.split()
    expression, zone = " ".join(parts[:FIELDS]), parts[FIELDS:]
    if len(parts) < FIELDS or len(zone) > 1:
        raise OptionError(_unreadable(text, "it has not five fields"))
    try:
        return expression, ZoneInfo(zone[0]) if zone else UTC
    except (KeyError, OSError, ValueError) as exc:
        raise OptionError(_unreadable(text, f"there is no time zone {zone[0]!r}")) from exc


def _unreadable(text: str, reason: str) -> str:
    return f"schedule={text!r} cannot be read ({reason}); write five fields of cron, for example '0 2 * * *'"


def _cronsim() -> Any:
    try:
        import cronsim  # noqa: PLC0415  only who schedules needs it
    except ImportError as exc:
        msg = 'schedule= needs the extra: pip install "deferit[schedule]"'
        raise OptionError(msg) from exc
    return cronsim
