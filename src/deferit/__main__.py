"""`python -m deferit`: the command line."""

from __future__ import annotations

from deferit.cli import main

if __name__ == "__main__":
    main()
