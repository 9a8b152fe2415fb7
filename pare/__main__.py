"""``python -m pare``."""

from pare.cli import main

main()
