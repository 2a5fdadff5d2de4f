"""`python -m sessionkeep.generate`: make the generated documents of this checkout anew."""

from typing import Annotated

import typer

from sessionkeep.console import stdout
from sessionkeep.generate import doctor
from sessionkeep.generate.live import of_data_dir
from sessionkeep.options import DEFAULT_DATA_DIR, DataDir
from sessionkeep.paths import PROJECT_DIR

GENERATORS = {"doctor": doctor.generate}


def main(
    names: Annotated[
        list[str] | None,
        typer.Argument(help=f"Which: {', '.join(GENERATORS)}. Default: all.", show_default=False),
    ] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Write the documents that are made from the code and from a running stack.

    Example: scripts/up && python -m sessionkeep.generate authorization
    """
    live = of_data_dir(data_dir)
    for name in names or GENERATORS:
        if name not in GENERATORS:
            raise typer.BadParameter(f"{name}: there are {', '.join(GENERATORS)}")
        for path, text in GENERATORS[name](live).items():
            target = PROJECT_DIR / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
            stdout.print(f"wrote {path}", markup=False)


if __name__ == "__main__":
    typer.run(main)
