"""Where sessionbase's files are: in a checkout, or inside the installed package."""

from pathlib import Path

PACKAGE_DIR = Path(__file__).resolve().parent
PROJECT_DIR = PACKAGE_DIR.parent.parent


def resource_path(name: str) -> Path:
    """Return the path of a shipped file or folder (`sql`, `postgrest.conf`).

    An installed wheel carries it inside the package, a checkout at its root.
    """
    packaged = PACKAGE_DIR / name
    return packaged if packaged.exists() else PROJECT_DIR / name
