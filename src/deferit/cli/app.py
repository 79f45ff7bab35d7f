"""Which commands there are, and how they end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cyclopts import App, Parameter

from deferit import __version__
from deferit.cli import following, jobs, working
from deferit.cli.doctor import command as doctor
from deferit.cli.endings import Ending, complaint, ending_of

if TYPE_CHECKING:
    from collections.abc import Sequence

EXIT_CODES = (
    "It exits with 0 if all went well, 1 if a job failed or its result is an error, 2 if it was called wrongly, "
    "3 if a job was canceled, 4 if the time was over or a server or store is out of reach, and 130 on Ctrl-C."
)

app = App(
    name="deferit",
    help="Follow jobs of servers that answer 202 Accepted, look after your own, and check an application.",
    help_epilogue=EXIT_CODES,
    help_format="plaintext",
    default_parameter=Parameter(negative=(), show_default=False),
    version=__version__,
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)
app.register_install_completion_command(help="Have your shell complete what you type.")

# One line for each command. Its module is imported here, so it may import only what deferit and the extra bring.
app.command(following.call)
app.command(following.wait)
app.command(jobs.app)
app.command(doctor.doctor)
app.command(working.work, help=working.ABOUT, help_epilogue="")


def run(arguments: Sequence[str]) -> int:
    """Run the command that the arguments name; return the exit code."""
    try:
        return int(app(list(arguments)) or 0)
    except KeyboardInterrupt:
        return Ending.INTERRUPTED
    except Exception as exc:
        ending = ending_of(exc)
        if ending is None:
            raise
        complaint(exc, as_json="--json" in arguments)
        return ending
