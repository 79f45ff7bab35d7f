"""The command line explains itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from deferit import __version__
from deferit.cli.app import app

if TYPE_CHECKING:
    from tests.cli.conftest import Deferit

COMMANDS = ["call", "wait", "jobs", "jobs ls", "jobs show", "jobs cancel", "jobs purge", "doctor"]


def test_help_names_every_command(deferit: Deferit) -> None:
    done = deferit("--help")

    assert done.code == 0
    for command in COMMANDS:
        assert command.split()[0] in done.out
    assert "130 on Ctrl-C" in done.out.replace("\n", " ")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_and_json(deferit: Deferit, command: str) -> None:
    done = deferit(*command.split(), "--help")

    assert done.code == 0
    assert done.out.startswith(f"Usage: deferit {command}")
    assert "--json" in done.out or command == "jobs"


def test_the_help_of_work_is_its_own(deferit: Deferit) -> None:
    said = " ".join(deferit("work", "--help").out.split())

    assert said.startswith(
        "Usage: deferit work [OPTIONS] MODULE:APP Run the jobs of an application"
    )
    assert "Args:" not in said
    assert said.count("It exits with 0") == 1
    for option in ("--concurrency INT How many jobs", "--drain End when no job is due."):
        assert option in said


def test_the_version_is_deferits(deferit: Deferit) -> None:
    assert deferit("--version").out.strip() == __version__


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_commands_and_options(shell: str) -> None:
    script = app.generate_completion(prog_name="deferit", shell=shell)  # type: ignore[arg-type]

    assert "doctor" in script
    assert "timeout" in script
