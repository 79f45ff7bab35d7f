from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from tests.callbacks.receiver import ANOTHER_SECRET, SECRET

from deferit import WSGIMiddleware
from deferit.callbacks import Callbacks
from deferit.exceptions import OptionError
from deferit.options import Options, options_from

WITHOUT_EXTRA = """
import sys
from deferit.options import Options
sys.modules[sys.argv[1]] = None
Options()
try:
    Options(callbacks={"https://hooks.example.com/": sys.argv[2]})
except ValueError as exc:
    print(exc)
"""


def secrets_for(options: Options, url: str) -> tuple[str, ...] | None:
    assert options.callbacks is not None
    return options.callbacks.allowed.secrets(url)


def test_callbacks_are_off_by_default() -> None:
    assert Options().callbacks is None
    assert options_from({}, {"DEFERIT_CALLBACKS": ""}).callbacks is None


def test_a_mapping_says_who_is_called_and_what_signs() -> None:
    allow = {"https://hooks.example.com/": f"{SECRET} {ANOTHER_SECRET}"}

    options = Options(callbacks=allow)  # type: ignore[arg-type]

    assert secrets_for(options, "https://hooks.example.com/a") == (SECRET, ANOTHER_SECRET)


def test_the_environment_says_the_same() -> None:
    text = f"https://hooks.example.com/a=1/={SECRET}, HTTP://b.example:81={ANOTHER_SECRET}"

    options = options_from({}, {"DEFERIT_CALLBACKS": text})

    assert secrets_for(options, "https://hooks.example.com/a=1/x") == (SECRET,)
    assert secrets_for(options, "http://b.example:81/") == (ANOTHER_SECRET,)
    assert secrets_for(options, "https://b.example:81/") is None


def test_the_rest_is_said_by_an_object() -> None:
    callbacks = Callbacks({"https://hooks.example.com/": SECRET}, private=True, attempts=3)

    assert Options(callbacks=callbacks).callbacks is callbacks


def test_nothing_shows_a_secret() -> None:
    options = Options(callbacks=Callbacks({"https://hooks.example.com/": SECRET}))

    assert SECRET not in repr(options)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (7, "neither a mapping like"),
        ("hooks.example.com", "write URLs with their secrets"),
        ("https://hooks.example.com/=secret", "write URLs with their secrets"),
        ({"hooks.example.com": SECRET}, "not the beginning of URLs"),
        ({"https://a@hooks.example.com": SECRET}, "not the beginning of URLs"),
        ({"https://hooks.example.com/?a=1": SECRET}, "without user, query and fragment"),
        ({"ftp://hooks.example.com/": SECRET}, "not the beginning of URLs"),
        ({7: SECRET}, "not the beginning of URLs"),
        ({"https://hooks.example.com/": "abc"}, "24 to 64 random bytes in base64"),
        ({"https://hooks.example.com/": ""}, "24 to 64"),
        ({"https://hooks.example.com/": None}, "24 to 64"),
        ({"https://hooks.example.com/": SECRET.removeprefix("whsec_")}, "'whsec_' and"),
        ({"https://hooks.example.com/": "whsec_c2hvcnQ="}, "24 to 64"),
        ({"https://hooks.example.com/": "whsec_%" + SECRET[7:]}, "24 to 64"),
    ],
)
def test_what_cannot_be_used_is_refused_with_what_to_write(value: Any, sentence: str) -> None:
    with pytest.raises(OptionError, match=sentence) as caught:
        WSGIMiddleware(lambda _, __: [], store="memory://", callbacks=value)

    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("attempts", [0, 11, 1.5, "3"])
def test_attempts_are_as_many_as_the_schedule_has(attempts: Any) -> None:
    with pytest.raises(OptionError, match="from 1 to 10"):
        Callbacks({"https://hooks.example.com/": SECRET}, attempts=attempts)


@pytest.mark.parametrize("missing", ["httpcore", "standardwebhooks"])
def test_who_lacks_the_extra_is_told_at_construction(missing: str) -> None:
    command = [sys.executable, "-c", WITHOUT_EXTRA, missing, SECRET]

    done = subprocess.run(command, capture_output=True, text=True, check=True)

    assert done.stdout == 'callbacks= needs the extra: pip install "deferit[callbacks]"\n'
