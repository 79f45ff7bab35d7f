from __future__ import annotations

import pytest

from deferit.exceptions import OptionError
from deferit.stores import store_from_url


@pytest.mark.parametrize("url", ["jobs.db", "oracle://host/jobs", "memory", "://"])
def test_a_url_of_no_store_says_what_to_write(url: str) -> None:
    with pytest.raises(OptionError, match=r"write 'sqlite:///jobs\.db'"):
        store_from_url(url)


@pytest.mark.parametrize("url", ["memory://", "sqlite:///jobs.db", "sqlite:////var/lib/jobs.db"])
def test_a_store_keeps_the_name_it_was_given(url: str) -> None:
    assert store_from_url(url).url == url
