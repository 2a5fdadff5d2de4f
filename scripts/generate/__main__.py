"""`python -m generate`: regenerate the generated files of this checkout."""

import sys
from typing import Annotated

import typer

from generate.documents import GENERATORS
from generate.live import of_data_dir
from sessionbase.console import stderr, stdout
from sessionbase.errors import SessionbaseError
from sessionbase.options import DEFAULT_DATA_DIR, DataDir
from sessionbase.paths import PROJECT_DIR


def main(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help=f"What to regenerate: {', '.join(GENERATORS)}. Default: all.", show_default=False
        ),
    ] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit code 1 if a file is out of date.")
    ] = False,
) -> None:
    """Regenerate the files that are made from the code and from a running stack.

    `scripts/generate-docs` runs this with a temporary stack.

    Example: scripts/generate-docs tables states
    """
    live = of_data_dir(data_dir)
    stale = []
    for name in names or GENERATORS:
        if name not in GENERATORS:
            raise typer.BadParameter(f"{name} is none of: {', '.join(GENERATORS)}")
        for path, text in GENERATORS[name](live).items():
            target = PROJECT_DIR / path
            if target.exists() and target.read_text(encoding="utf-8") == text:
                continue
            stale.append(path)
            if not check:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(text, encoding="utf-8")
                stdout.print(f"wrote {path}", markup=False)
    if check and stale:
        raise SessionbaseError(f"out of date: {', '.join(stale)}", "run scripts/generate-docs")
    if not stale:
        stdout.print("all files are up to date")


if __name__ == "__main__":
    try:
        typer.run(main)
    except SessionbaseError as error:
        stderr.print(f"Error: {error}", style="red", markup=False)
        sys.exit(1)
