"""The layers of the package: no module imports from a layer above its own."""

import subprocess
import sys
from pathlib import Path

from sessionbase.paths import PROJECT_DIR


def test_no_module_imports_from_a_layer_above_it() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        capture_output=True,
        text=True,
        check=False,
        cwd=PROJECT_DIR,
    )
    broken = done.stdout[done.stdout.find("Broken contracts") :]
    assert done.returncode == 0, (
        "Remove the imports named below, or change [tool.importlinter] in pyproject.toml.\n"
        + broken
        + done.stderr
    )
