from __future__ import annotations

import math
import weakref

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from deferit._core.effects import RequestTooLarge
from deferit._core.recorder import PIECE
from deferit._spool import IN_MEMORY, Spool


def a_spool(limit: float = math.inf, *, is_worth_a_file: bool = True) -> Spool:
    return Spool(limit, lambda: is_worth_a_file)


def filled(sizes: list[int]) -> tuple[Spool, bytes]:
    spool = a_spool()
    parts = [bytes([number % 251]) * size for number, size in enumerate(sizes)]
    for part in parts:
        spool.keep(part)
    return spool, b"".join(parts)


@given(st.lists(st.integers(0, IN_MEMORY), max_size=4))
@example([])
@example([0])
@example([PIECE])
@example([PIECE + 1])
@example([IN_MEMORY])
@example([IN_MEMORY, 1])
def test_what_passed_by_comes_back_in_full_pieces_and_a_last_one(sizes: list[int]) -> None:
    spool, body = filled(sizes)

    leading = [spool.read() for _ in range(spool.rewind())]
    last = spool.read()

    assert b"".join(leading) + last == body
    assert all(len(piece) == PIECE for piece in leading)
    assert len(last) <= PIECE
    assert bool(last) == bool(body)
    spool.close()


def test_a_small_body_stays_in_memory_and_a_large_one_goes_to_a_file() -> None:
    small, _ = filled([IN_MEMORY])
    large, _ = filled([IN_MEMORY, 1])

    assert small._file is None
    assert large._file is not None
    assert not large._parts
    large.close()


def test_it_says_when_it_would_write_to_a_disk() -> None:
    spool = a_spool(limit=2 * IN_MEMORY)
    spool.keep(bytes(IN_MEMORY - 1))

    found = [spool.keeps_in_memory(b"12"), spool.keeps_in_memory(b"1")]
    spool.keep(bytes(2 * IN_MEMORY))

    assert found == [False, True]
    assert spool.keeps_in_memory(b"12")


def test_a_closed_spool_is_no_part_of_a_cycle() -> None:
    class Owner:
        def __init__(self) -> None:
            self.spool = Spool(math.inf, self.is_worth_a_file)

        def is_worth_a_file(self) -> bool:
            return True

    owner = Owner()
    seen = weakref.ref(owner)

    owner.spool.close()
    del owner

    assert seen() is None


def test_a_body_that_is_too_large_is_let_go_and_refused() -> None:
    spool = a_spool(limit=2 * IN_MEMORY)
    spool.keep(bytes(2 * IN_MEMORY))
    spool.check()

    spool.keep(b"!")

    with pytest.raises(RequestTooLarge) as caught:
        spool.check()
    assert caught.value.args == (2 * IN_MEMORY,)
    assert not spool.is_dropped
    assert spool._file is None
    spool.keep(b"more")


def test_a_small_limit_holds_too() -> None:
    spool = a_spool(limit=4)

    spool.keep(b"four!")

    with pytest.raises(RequestTooLarge):
        spool.check()


def test_a_body_that_is_not_worth_a_file_is_let_go() -> None:
    spool = a_spool(is_worth_a_file=False)

    spool.keep(bytes(IN_MEMORY))
    assert not spool.is_dropped
    spool.keep(b"!")

    assert spool.is_dropped
    assert not spool._parts


def test_whether_it_is_worth_one_is_asked_once() -> None:
    asked: list[int] = []

    def is_worth_a_file() -> bool:
        asked.append(1)
        return True

    spool = Spool(math.inf, is_worth_a_file)

    for _ in range(4):
        spool.keep(bytes(IN_MEMORY))

    assert len(asked) == 1
    spool.close()


def test_closing_twice_is_once() -> None:
    spool, _ = filled([IN_MEMORY, 1])

    spool.close()
    spool.close()

    assert spool._file is None


def test_what_is_declared_to_be_too_large_is_refused_before_it_comes() -> None:
    spool = a_spool(limit=10)

    spool.check(10)
    with pytest.raises(RequestTooLarge):
        spool.check(11)
