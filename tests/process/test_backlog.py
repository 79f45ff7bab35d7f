from __future__ import annotations

from deferit._process.backlog import Backlog


def test_there_may_be_one_until_somebody_has_looked() -> None:
    backlog = Backlog()

    assert backlog.is_there
    backlog.end_look(backlog.begin_look(), found=False)
    assert not backlog.is_there


def test_it_is_there_as_long_as_a_look_lasts() -> None:
    backlog = Backlog()

    begun = backlog.begin_look()

    assert backlog.is_there
    backlog.end_look(begun, found=True)
    assert backlog.is_there


def test_who_comes_while_nobody_is_found_is_not_forgotten() -> None:
    backlog = Backlog()

    begun = backlog.begin_look()
    backlog.grow()
    backlog.end_look(begun, found=False)

    assert backlog.is_there
