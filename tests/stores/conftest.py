"""Lets pytest explain the assertions of the contract too."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("deferit.testing")
