"""`python -m sessionkeep` is the command `sessionkeep`."""

from sessionkeep.cli import main

main()
