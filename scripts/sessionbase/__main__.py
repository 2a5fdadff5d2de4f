"""`python -m sessionbase` is the command `sessionbase`."""

from sessionbase.cli import main

main()
