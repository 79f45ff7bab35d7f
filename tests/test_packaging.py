"""What arrives at somebody who installs deferit, with nothing else around."""

from __future__ import annotations

import json
import pickle
import re
import subprocess
import sys
import tomllib
import zipfile
from dataclasses import fields
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hatchling.builders.wheel import WheelBuilder
from packaging.requirements import Requirement

import deferit
from deferit import exceptions
from deferit._core.policy import Mark
from deferit.options import Options

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]

# Imports what it is asked to, where nothing can be imported that is named in the second argument.
IMPORT_WITHOUT = """
import importlib, json, sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in blocked:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

names, blocked = map(json.loads, sys.argv[1:])
sys.meta_path.insert(0, Blocker())
for name in names:
    importlib.import_module(name)
print(json.dumps(sorted(sys.modules)))
"""

EXAMPLES = [
    exceptions.DeferitError("something"),
    exceptions.OptionError("wait must not be negative"),
    exceptions.JobCanceled("job_1"),
    exceptions.InvalidTransition("failed", "running"),
    exceptions.FollowError("https://example.com/jobs/1"),
    exceptions.JobFailed("https://example.com/jobs/1", {"code": "overload", "message": "No."}),
    exceptions.JobWasCanceled("https://example.com/jobs/1", {}),
    exceptions.FollowTimeout("https://example.com/jobs/1", 2.5),
    exceptions.MonitorLost("https://example.com/jobs/1", "it answered 404"),
    exceptions.StoreError("something"),
    exceptions.StoreUnavailable("sqlite:///deferit.db", "disk full"),
    exceptions.RecordDamaged("truncated"),
    exceptions.QueueFull(100),
    exceptions.TooManyJobs(10),
    exceptions.StartupFailed("shop:app", "no such module"),
    exceptions.JobNotFound("job_1"),
    exceptions.JobExists("job_1"),
    exceptions.KeyReused("job_1"),
    exceptions.LeaseLost("job_1", 2),
]


def distributions_brought_by(requirements: list[str]) -> set[str]:
    """Return the names of all distributions that these requirements install."""
    found: set[str] = set()
    for text in requirements:
        requirement = Requirement(text)
        name = requirement.name.lower()
        if name in found or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
            continue
        found |= {name} | distributions_brought_by(metadata.requires(name) or [])
    return found


def packages_of_extras() -> list[str]:
    """Return the top-level packages installed here that deferit alone does not bring."""
    ours = distributions_brought_by(PROJECT["dependencies"]) | {"deferit"}
    return [
        package
        for package, owners in metadata.packages_distributions().items()
        if not ours & {owner.lower() for owner in owners}
    ]


def modules_for_everybody() -> list[str]:
    """Return the names of all modules but those that exist for somebody else's package."""
    folder = ROOT / "src/deferit"
    for_others = re.compile(
        r"(_process\.poster|cli|executors\.celery|frameworks|testing|stores\._?(postgres|redis))\b|stores\._postgres_"
    )
    names = [
        ".".join(path.relative_to(folder).with_suffix("").parts).removesuffix("__init__")
        for path in sorted(folder.rglob("*.py"))
    ]
    return [f"deferit.{name}".rstrip(".") for name in names if not for_others.match(name)]


def loaded_by_importing(names: list[str], *, without: list[str], folder: Path) -> set[str]:
    command = [sys.executable, "-c", IMPORT_WITHOUT, json.dumps(names), json.dumps(without)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


def test_deferit_imports_without_any_extra(tmp_path: Path) -> None:
    blocked = packages_of_extras()

    loaded = loaded_by_importing(modules_for_everybody(), without=blocked, folder=tmp_path)

    assert {"flask", "fastapi", "httpx", "pytest", "uvicorn"} <= set(blocked)
    assert {"deferit", "deferit.stores.sqlite"} <= loaded


def test_the_command_line_without_its_extra_says_what_it_needs() -> None:
    program = "import sys; sys.modules['cyclopts'] = None; from deferit.cli import main; main()"
    command = [sys.executable, "-c", program, "--help"]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert done.stderr == 'The command line needs the extra: pip install "deferit[cli]"\n'
    assert done.stdout == ""


def test_importing_deferit_loads_no_framework_that_happens_to_be_installed(tmp_path: Path) -> None:
    loaded = loaded_by_importing(["deferit"], without=[], folder=tmp_path)

    assert not loaded & {"fastapi", "flask", "httpx", "pydantic", "pytest", "trio", "uvicorn"}


def test_the_public_names_are_the_documented_ones() -> None:
    documented = {
        "ASGIMiddleware",
        "JobCanceled",
        "Request",
        "Response",
        "WSGIMiddleware",
        "current_job",
        "deferred",
        "progress",
        "track",
    }

    assert set(deferit.__all__) == documented
    assert all(hasattr(deferit, name) for name in documented)


@pytest.mark.parametrize("described", [Options, Mark], ids=lambda described: described.__name__)
def test_the_readme_names_every_option_and_every_mark(described: type[Any]) -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    rows = [line.split("|")[1] for line in readme.splitlines() if line.startswith("| `")]

    documented = {name for row in rows for name in re.findall(r"`(\w+)`", row)}

    names = {field.name for field in fields(described)}
    assert names <= documented
    assert documented <= {field.name for field in (*fields(Options), *fields(Mark))}


def test_every_exception_has_an_example_here() -> None:
    defined = {
        value
        for value in vars(exceptions).values()
        if isinstance(value, type) and issubclass(value, exceptions.DeferitError)
    }

    assert {type(example) for example in EXAMPLES} == defined


@pytest.mark.parametrize("exc", EXAMPLES, ids=lambda exc: type(exc).__name__)
def test_an_exception_survives_pickling(exc: exceptions.DeferitError) -> None:
    copy = pickle.loads(pickle.dumps(exc))

    assert type(copy) is type(exc)
    assert copy.args == exc.args
    assert str(copy) == str(exc) != ""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    folder = tmp_path_factory.mktemp("wheel")
    (path,) = WheelBuilder(str(ROOT)).build(directory=str(folder), versions=["standard"])
    with zipfile.ZipFile(path) as archive:
        yield archive


def test_the_wheel_has_the_package_and_its_type_marker_and_nothing_else(
    wheel: zipfile.ZipFile,
) -> None:
    source = ROOT / "src"
    expected = {
        path.relative_to(source).as_posix()
        for path in source.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }

    shipped = {name for name in wheel.namelist() if ".dist-info/" not in name}

    assert shipped == expected
    assert "deferit/py.typed" in shipped


def test_the_wheel_asks_for_five_packages_and_carries_the_license(wheel: zipfile.ZipFile) -> None:
    info = f"deferit-{deferit.__version__}.dist-info"

    lines = wheel.read(f"{info}/METADATA").decode().splitlines()

    required = [Requirement(line.partition(": ")[2]) for line in lines if "Requires-Dist" in line]
    assert {requirement.name for requirement in required if not requirement.marker} == {
        "anyio",
        "asgiref",
        "msgspec",
        "starlette",
        "werkzeug",
    }
    assert f"{info}/licenses/LICENSE" in wheel.namelist()


def test_the_shared_generator_of_random_numbers_stays_the_applications() -> None:
    """An application may have seeded it, and Hypothesis warns of threads that use it."""
    shared = "random.random(", "random.uniform(", "from random import random", "random.choice("

    texts = [path.read_text("utf-8") for path in Path(deferit.__file__).parent.rglob("*.py")]

    assert not [text[:80] for text in texts if any(use in text for use in shared)]
