"""Sites for tests, of each framework with each store, and a builder of them."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from tests.contract.support import Site, in_the_matrix, site
from tests.stores.places import fresh

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.contract.support import Variant

VARIANTS: tuple[Variant, ...] = (
    ("starlette", "asyncio", "memory"),
    ("starlette", "trio", "sqlite"),
    ("fastapi", "asyncio", "sqlite"),
    ("flask", "asyncio", "memory"),
    ("flask", "asyncio", "sqlite"),
)

SHARES: dict[str, tuple[Variant, ...]] = {
    "test_idempotency": (("fastapi", "asyncio", "redis"), ("flask", "asyncio", "postgresql")),
    "test_events": (("flask", "asyncio", "redis"), ("fastapi", "asyncio", "postgresql")),
}
"""Modules that run on more stores even without the matrix, so that one that breaks is seen at once."""


class Build(Protocol):
    def __call__(self, **options: Any) -> Site: ...


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Say which sites a test runs with, unless it does so itself."""
    marks = metafunc.definition.iter_markers("parametrize")
    if "variant" in metafunc.fixturenames and not any(mark.args[0] == "variant" for mark in marks):
        module = metafunc.definition.path.stem
        variants = in_the_matrix(*VARIANTS, *SHARES.get(module, ()))
        metafunc.parametrize("variant", variants, ids="-".join)


@pytest.fixture
def build(variant: Variant) -> Iterator[Build]:
    """Build a site with options of the test's own."""
    framework, backend, store = variant
    url = fresh(store)
    with ExitStack() as stack:

        def built(**options: Any) -> Site:
            return stack.enter_context(
                site(framework, **{"backend": backend, "store": url, **options})
            )

        yield built


@pytest.fixture
def shop(build: Build) -> Site:
    """A site with the default options."""
    return build()


@pytest.fixture
def owned(build: Build) -> Site:
    """A site whose jobs belong to whoever sends X-Owner."""
    return build(owner=lambda request: request.headers.get("X-Owner"))
