"""Find out how the runner runs a file."""

import re

from sessionbase.migrate.files import SqlFile

_DIRECTIVE = re.compile(r"^\s*--\s*sessionbase:\s*no-transaction\s*$", re.MULTILINE)


def runs_without_transaction(file: SqlFile) -> bool:
    """Return whether the file has the comment `-- sessionbase: no-transaction`."""
    return _DIRECTIVE.search(file.text) is not None
