"""The commands `sessionbase secrets`."""

from pathlib import Path
from typing import Annotated

import typer

from sessionbase.console import stderr, stdout
from sessionbase.options import DEFAULT_DATA_DIR, DataDir, DbUri, resolve_db_uri
from sessionbase.secret_files import files
from sessionbase.secret_files.install import install

app = typer.Typer(no_args_is_help=True)

Folder = Annotated[
    Path, typer.Argument(metavar="DIR", help=f"The folder with {', '.join(files.NAMES)}.")
]


@app.callback()
def root() -> None:
    """Generate, check, install and rotate the secrets of a deployment in containers.

    Example: sessionbase secrets generate secrets
    """


@app.command("generate")
def generate_files(folder: Folder) -> None:
    """Create the missing secrets: random, 256 bits each, mode 600. Files that exist stay.

    Example: sessionbase secrets generate secrets
    """
    created = files.generate(folder)
    for path in created:
        stdout.print(f"created {path}", markup=False)
    if not created:
        stdout.print("nothing to do: all files exist")


@app.command("check")
def check_files(folder: Folder) -> None:
    """Check that PostgreSQL and PostgREST can use the secrets. Exit code 1: one is wrong.

    Example: sessionbase secrets check secrets
    """
    for warning in files.check(folder):
        stderr.print(f"Warning: {warning}", markup=False)
    stdout.print("the secrets can be used")


@app.command("install")
def install_files(
    folder: Folder,
    target: Annotated[
        Path, typer.Argument(metavar="TARGET", help="PostgREST's own folder for its secrets.")
    ],
    owner: Annotated[
        int | None,
        typer.Option(help="The user id that PostgREST runs as. Default: the caller.", min=0),
    ] = None,
    db_uri: DbUri = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Set the password of PostgREST's login, and write what PostgREST needs to TARGET.

    TARGET gets the files passfile and jwt_secret, with mode 600. A running PostgREST needs no
    restart: it reads the password for each new connection, and is notified to reload the JWT
    secret. The login of --db-uri must be a superuser, or have CREATEROLE and have created the role.

    Example: sessionbase secrets install secrets /run/postgrest --owner 1000
    """
    install(folder, target, resolve_db_uri(db_uri, data_dir), owner)
    stdout.print("the password of PostgREST's login is set, and its secrets are installed")


@app.command("rotate-jwt")
def rotate_jwt(
    folder: Folder,
    finish: Annotated[
        bool, typer.Option("--finish", help="Remove the old keys: their tokens become invalid.")
    ] = False,
) -> None:
    """Add a new key to the JWT secret, which becomes a JSON Web Key set. Old tokens stay valid.

    Install the file after each step. Sign new tokens with the first key, and run it with --finish
    when the last old token has expired.

    Example: sessionbase secrets rotate-jwt secrets
    """
    path = folder / files.JWT_FILE
    if finish:
        removed = files.keep_newest_jwt_key(path)
        stdout.print(f"{path}: {removed} old keys removed", markup=False)
    else:
        number = files.add_jwt_key(path)
        stdout.print(f"{path}: a new key is the first of {number}", markup=False)
