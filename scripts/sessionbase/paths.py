"""The paths of sessionbase's files, in a checkout or inside the installed package."""

import shlex
from pathlib import Path

PACKAGE_DIR = Path(__file__).resolve().parent
PROJECT_DIR = PACKAGE_DIR.parent.parent
IN_CHECKOUT = PACKAGE_DIR.parent.name == "scripts" and (PROJECT_DIR / "pyproject.toml").is_file()


def resource_path(name: str) -> Path:
    """Return the path of a shipped file or folder (`sql`, `postgrest.conf`).

    An installed wheel has it inside the package, a checkout in the project's root folder.
    """
    packaged = PACKAGE_DIR / name
    return packaged if packaged.exists() else PROJECT_DIR / name


def command(*, from_any_folder: bool = False) -> str:
    """Return what a user types to run `sessionbase`, quoted for a shell; for messages and help.

    In a checkout it is `.venv/bin/sessionbase`, or its absolute path if the current directory is
    not the project's root folder or with `from_any_folder`. Installed from a wheel: `sessionbase`.
    """
    program = Path(".venv/bin/sessionbase")
    if not (IN_CHECKOUT and (PROJECT_DIR / program).exists()):
        return "sessionbase"
    return _typed(program, from_any_folder)


def script(name: str) -> str:
    """Return what a user types to run the checkout's scripts/NAME, quoted for a shell."""
    return _typed(Path("scripts", name)) if IN_CHECKOUT else f"scripts/{name} in a checkout"


def _typed(path: Path, from_any_folder: bool = False) -> str:
    in_root = Path.cwd() == PROJECT_DIR and not from_any_folder
    return shlex.quote(str(path if in_root else PROJECT_DIR / path))
