"""`python -m sessionbase.generate`: make the generated documents of this checkout anew."""

import sys
from typing import Annotated

import typer

from sessionbase.console import stderr, stdout
from sessionbase.errors import SessionbaseError
from sessionbase.generate.documents import GENERATORS
from sessionbase.generate.live import of_data_dir
from sessionbase.options import DEFAULT_DATA_DIR, DataDir
from sessionbase.paths import PROJECT_DIR


def main(
    names: Annotated[
        list[str] | None,
        typer.Argument(help=f"Which: {', '.join(GENERATORS)}. Default: all.", show_default=False),
    ] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit with 1 where a file is stale.")
    ] = False,
) -> None:
    """Write the documents that are made from the code and from a running stack.

    `scripts/generate` does it with a fresh stack of its own.

    Example: scripts/up && python -m sessionbase.generate tables states
    """
    live = of_data_dir(data_dir)
    stale = []
    for name in names or GENERATORS:
        if name not in GENERATORS:
            raise typer.BadParameter(f"{name}: there are {', '.join(GENERATORS)}")
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
        raise SessionbaseError(f"not current: {', '.join(stale)}", "scripts/generate mends it")
    if not stale:
        stdout.print("all current already")


if __name__ == "__main__":
    try:
        typer.run(main)
    except SessionbaseError as error:
        stderr.print(f"Error: {error}", style="red", markup=False)
        sys.exit(1)
