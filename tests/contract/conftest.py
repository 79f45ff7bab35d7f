"""Sites for tests, of each framework with each store, and a builder of them."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from tests.contract.support import Backend, Framework, Site, site

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VARIANTS: tuple[tuple[Framework, Backend, str], ...] = (
    ("starlette", "asyncio", "memory"),
    ("starlette", "trio", "sqlite"),
    ("fastapi", "asyncio", "sqlite"),
    ("flask", "asyncio", "memory"),
    ("flask", "asyncio", "sqlite"),
)


class Build(Protocol):
    def __call__(self, **options: Any) -> Site: ...


@pytest.fixture(params=VARIANTS, ids="-".join)
def variant(request: pytest.FixtureRequest) -> tuple[Framework, Backend, str]:
    found: tuple[Framework, Backend, str] = request.param
    return found


@pytest.fixture
def build(variant: tuple[Framework, Backend, str], tmp_path: Path) -> Iterator[Build]:
    """Build a site with options of the test's own."""
    framework, backend, store = variant
    url = f"sqlite:///{tmp_path / 'jobs.db'}" if store == "sqlite" else "memory://"
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
