"""The command `sessionbase`: its subcommands, and what a user sees when one fails."""

import sys
from typing import Annotated, Any

import psycopg
import typer
from typer.core import TyperGroup

from sessionbase import __version__
from sessionbase.audit.cli import app as audit_app
from sessionbase.console import stderr
from sessionbase.doctor.cli import doctor
from sessionbase.errors import InterruptError, SessionbaseError, UsageError
from sessionbase.legacy.cli import export_app, import_app
from sessionbase.migrate.cli import app as migrate_app
from sessionbase.replication.cli import app as replication_app
from sessionbase.stack import cli as stack_cli


class _Commands(TyperGroup):
    """Ctrl-C in any command is told in one line, as every other end before the end."""

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise InterruptError("interrupted", "to run it again is safe") from error


app = typer.Typer(
    name="sessionbase",
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
stack_cli.register(app)
app.add_typer(migrate_app, name="migrate")
app.add_typer(import_app, name="import")
app.add_typer(export_app, name="export")
app.add_typer(audit_app, name="audit")
app.add_typer(replication_app, name="replication")
app.command()(doctor)


def _print_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"sessionbase {__version__}\n")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print it.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of a failure.")
    ] = False,
) -> None:
    """The system of record behind an AI-session viewer: PostgreSQL, served by PostgREST.

    Exit codes: 0 done, 1 refused or failed (one line on stderr says why), 2 wrong usage,
    130 interrupted by Ctrl-C.

    Example: sessionbase --debug up
    """


def main() -> None:
    """Run the command; a failure becomes one line on stderr and its exit code."""
    debug = "--debug" in sys.argv[1:]
    try:
        app()
    except Exception as error:
        if debug:
            raise
        stderr.print(_one_line(error), style="red", markup=False)
        sys.exit(_exit_code(error))


def _exit_code(error: Exception) -> int:
    if isinstance(error, InterruptError):
        return 130
    return 2 if isinstance(error, UsageError) else 1


def _one_line(error: Exception) -> str:
    if isinstance(error, InterruptError):
        return str(error)
    if isinstance(error, SessionbaseError):
        return f"Error: {error}"
    first_line = (str(error).strip().splitlines() or [""])[0]
    if isinstance(error, psycopg.Error):
        return f"Error: the database said: {first_line}"
    return f"Error: {type(error).__name__}: {first_line} (run with --debug to see more)"
