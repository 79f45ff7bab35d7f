"""Says which stores and executors `make matrix` pairs: all, or so many as a seed chooses; one pair a line."""

from __future__ import annotations

import random
import sys
from datetime import UTC, datetime

STORES = ("memory", "sqlite", "redis", "postgresql")
EXECUTORS = ("in-process", "processes", "work", "celery")
PAIRS = [
    (store, executor)
    for store in STORES
    for executor in EXECUTORS
    if store != "memory" or executor == "in-process"  # memory:// is seen by one process only
]


def chosen(count: int, seed: str) -> list[tuple[str, str]]:
    """Return so many pairs, always the same for the same seed."""
    return random.Random(seed).sample(PAIRS, count)


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else len(PAIRS)
    seed = sys.argv[2] if len(sys.argv) > 2 else datetime.now(UTC).date().isoformat()
    for store, executor in chosen(count, seed) if count < len(PAIRS) else PAIRS:
        sys.stdout.write(f"{store}/{executor}\n")


if __name__ == "__main__":
    main()
