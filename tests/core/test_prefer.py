from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deferit._core.prefer import NOTHING, Prefer, parse

if TYPE_CHECKING:
    from random import Random

TOKENS = st.text("abcdefgh-!#$", min_size=1, max_size=8)
OTHERS = TOKENS.filter(lambda token: token not in {"wait", "return", "respond-async"})
SPACE = st.sampled_from(["", " ", "\t", "  "])


@pytest.mark.parametrize(
    ("lines", "preferences"),
    [
        ([], NOTHING),
        ([""], NOTHING),
        ([" , ,"], NOTHING),
        (["respond-async"], Prefer(respond_async=True)),
        (["Respond-Async"], Prefer(respond_async=True)),
        (['respond-async=""'], Prefer(respond_async=True)),
        (["respond-async=1"], NOTHING),
        (["respond-async; foo=bar, wait=10"], Prefer(respond_async=True, wait=10)),
        (["wait=0"], Prefer(wait=0)),
        (['WAIT = "7"'], Prefer(wait=7)),
        (["wait=0000000000007"], Prefer(wait=7)),
        (["wait=" + "9" * 5000], Prefer(wait=999_999_999)),
        (["wait"], NOTHING),
        (["wait="], NOTHING),
        (["wait=-1"], NOTHING),
        (["wait=1.5"], NOTHING),
        (["wait=soon, respond-async"], Prefer(respond_async=True)),
        (["wait=\u0663"], NOTHING),
        (["wait=\u00b2"], NOTHING),
        (["return=minimal"], Prefer(minimal=True)),
        (["return=Minimal"], Prefer(minimal=True)),
        (["return=representation"], NOTHING),
        (["handling=lenient, x;y=z"], NOTHING),
        (['x="a, respond-async"'], NOTHING),
        (['x="a\\", respond-async"'], NOTHING),
    ],
)
def test_a_list_says_what_it_says(lines: list[str], preferences: Prefer) -> None:
    assert parse(lines) == preferences


def test_several_lines_are_one_list() -> None:
    assert parse(["respond-async", "wait=5", "return=minimal"]) == Prefer(
        respond_async=True, wait=5, minimal=True
    )


def test_only_the_first_instance_counts() -> None:
    assert parse(["wait=5, wait=9", "wait=1"]) == Prefer(wait=5)
    assert parse(["wait=soon, wait=9"]) == NOTHING
    assert parse(["respond-async=no, respond-async"]) == NOTHING
    assert parse(["return=representation, return=minimal"]) == NOTHING


@given(st.lists(st.binary().map(lambda line: line.decode("latin-1")), max_size=4))
def test_it_never_raises_whatever_the_bytes(lines: list[str]) -> None:
    preferences = parse(lines)

    assert preferences.wait is None or preferences.wait >= 0


@given(st.text('respond-async,wait=0123;"\\ \t', max_size=60))
def test_it_never_raises_on_what_comes_close(line: str) -> None:
    assert isinstance(parse([line]), Prefer)


@given(
    prefer=st.builds(
        Prefer,
        respond_async=st.booleans(),
        wait=st.none() | st.integers(0, 999_999_999),
        minimal=st.booleans(),
    ),
    others=st.lists(OTHERS, max_size=3),
    space=SPACE,
    order=st.randoms(use_true_random=False),
    breaks=st.lists(st.booleans(), min_size=6, max_size=6),
)
def test_a_valid_list_parses_to_what_it_was_made_from(
    prefer: Prefer, others: list[str], space: str, order: Random, breaks: list[bool]
) -> None:
    members = [
        *(["respond-async"] if prefer.respond_async else []),
        *([f"wait{space}={space}{prefer.wait}"] if prefer.wait is not None else []),
        *(["return=minimal"] if prefer.minimal else []),
        *[f"{other}{space};p=1" for other in others],
    ]
    order.shuffle(members)

    lines = [""]
    for member, is_break in zip(members, breaks, strict=False):
        if is_break or not lines[-1]:
            lines.append(member)
        else:
            lines[-1] += f"{space},{space}{member}"

    assert parse(lines) == prefer


def test_ten_thousand_members_are_quick() -> None:
    line = ", ".join(f"p{number}=v" for number in range(10_000)) + ", wait=3"
    start = time.process_time()

    preferences = parse([line])

    assert preferences == Prefer(wait=3)
    assert time.process_time() - start < 2
