"""What the two applications have in common: what their slow endpoint does, by the name in its path."""

from __future__ import annotations

STEPS = 4
PAUSE = 0.05
"""Seconds that each step takes."""

LONG = b"0123456789abcdef" * 2**17
"""Two megabytes."""
