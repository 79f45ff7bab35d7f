"""Sites for tests: a shared one for each framework and store, and a builder of others."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from tests.matrix import IS_CHOSEN
from tests.stores import places
from tests.web.sites import FRAMEWORKS, Framework, Site, site

if TYPE_CHECKING:
    from collections.abc import Iterator

STORES = places.chosen("memory", "sqlite")

SHARES = {"test_monitor": ("redis",), "test_ending": ("postgresql",)}
"""Modules that run on one more store even without the matrix, so that one that breaks is seen at once."""


class Build(Protocol):
    def __call__(self, **options: Any) -> Site: ...


@pytest.fixture(scope="module", params=FRAMEWORKS)
def framework(request: pytest.FixtureRequest) -> Framework:
    found: Framework = request.param
    return found


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Say in which stores the shared site of a module keeps its jobs."""
    if "kept_in" in metafunc.fixturenames:
        module = metafunc.definition.path.stem
        stores = STORES if IS_CHOSEN else (*STORES, *SHARES.get(module, ()))
        metafunc.parametrize("kept_in", stores, scope="module")


@pytest.fixture(scope="module")
def lasting(kept_in: str, framework: Framework) -> Iterator[Site]:
    """The site with default options that the tests of a module share."""
    with site(framework, store=places.fresh(kept_in)) as built:
        yield built


@pytest.fixture
def shared(lasting: Site) -> Iterator[Site]:
    """Same as `lasting`; when the test ends, no handler of it waits any more."""
    yield lasting
    lasting.bench.clear()


@pytest.fixture
def build(framework: Framework) -> Iterator[Build]:
    """Build a site with options of the test's own."""
    with ExitStack() as stack:

        def built(**options: Any) -> Site:
            return stack.enter_context(site(framework, **options))

        yield built
