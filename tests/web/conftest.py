"""Sites for tests: a shared one for each framework and store, and a builder of others."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from tests.web.sites import FRAMEWORKS, Framework, Site, site

if TYPE_CHECKING:
    from collections.abc import Iterator

STORES = ("memory", "sqlite")


class Build(Protocol):
    def __call__(self, **options: Any) -> Site: ...


@pytest.fixture(scope="module", params=FRAMEWORKS)
def framework(request: pytest.FixtureRequest) -> Framework:
    found: Framework = request.param
    return found


@pytest.fixture(scope="module", params=STORES)
def lasting(
    request: pytest.FixtureRequest, framework: Framework, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """The site with default options that the tests of a module share."""
    folder = tmp_path_factory.mktemp(framework)
    store = f"sqlite:///{folder / 'jobs.db'}" if request.param == "sqlite" else "memory://"
    with site(framework, store=store) as built:
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
            return stack.enter_context(site(framework, **{"store": "memory://", **options}))

        yield built
