"""The command `sessionbase`: its subcommands, help and error messages."""

import os
import re
import signal
import sys
from contextlib import suppress
from typing import Annotated, Any

import psycopg
import typer
from typer.core import TyperGroup

from sessionbase import __version__
from sessionbase.audit.cli import app as audit_app
from sessionbase.backup import cli as backup_cli
from sessionbase.console import stderr
from sessionbase.doctor.cli import doctor
from sessionbase.drift.cli import drift
from sessionbase.errors import InterruptError, SessionbaseError
from sessionbase.exit_codes import ComparingCommand
from sessionbase.legacy.cli import export_app, import_app
from sessionbase.migrate.cli import app as migrate_app
from sessionbase.paths import command
from sessionbase.planning import cli as planning_cli
from sessionbase.profile.cli import app as profile_app
from sessionbase.replication.cli import app as replication_app
from sessionbase.secret_files.cli import app as secrets_app
from sessionbase.signals import exit_code, received, stop_signals
from sessionbase.stack import cli as stack_cli
from sessionbase.stats.cli import stats


class _Commands(TyperGroup):
    """Converts Ctrl-C or SIGTERM in any subcommand to an InterruptError, printed as one line."""

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise InterruptError("interrupted", "it is safe to run it again") from error


app = typer.Typer(
    name="sessionbase",
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
stack_cli.register(app)
migrate_app.command("drift", cls=ComparingCommand)(drift)
planning_cli.register(migrate_app)
# In the order of use.
_MIGRATE = ["new", "plan", "status", "drift", "repair", "baseline", "dump"]
migrate_app.registered_commands.sort(key=lambda one: _MIGRATE.index(one.name or ""))
app.add_typer(migrate_app, name="migrate")
app.add_typer(import_app, name="import")
app.add_typer(export_app, name="export")
app.add_typer(audit_app, name="audit")
app.add_typer(profile_app, name="profile")
app.add_typer(replication_app, name="replication")
app.add_typer(secrets_app, name="secrets")
app.command()(doctor)
backup_cli.register(app)
app.command()(stats)


def _print_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"sessionbase {__version__}\n")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """The database and HTTP API of an AI-session viewer: PostgreSQL, served by PostgREST.

    Exit codes: 0 done, 1 refused or failed (one line on stderr says why), 2 wrong usage, 130
    ended by Ctrl-C, 143 ended by SIGTERM. Commands that compare, such as migrate status, have codes
    of their own.

    Example: sessionbase --debug up
    """


def main() -> None:
    """Run the command. An error is printed as one line to stderr and sets the exit code."""
    debug = "--debug" in sys.argv[1:]
    program = typer.main.get_command(app)
    _write_help(program)
    with stop_signals():
        try:
            program(prog_name=command())
        except Exception as error:
            if debug:
                raise
            with suppress(OSError):  # the terminal was closed
                stderr.print(_one_line(error), style="red", markup=False)
            _discard_output_of_closed_terminal()
            sys.exit(_exit_code(error))


def _discard_output_of_closed_terminal() -> None:
    """Send to /dev/null what can't be written any more.

    Python flushes its streams when it exits, and exits with 120 if that fails. Source: the note on
    SIGPIPE in the documentation of the module `signal`.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _write_help(shown: Any) -> None:
    """Write the command in the help texts as the user can type it here; join wrapped lines."""
    pattern = r"(Example: |`|\$\()sessionbase "
    text = re.sub(pattern, lambda found: f"{found[1]}{command()} ", shown.help or "")
    # Each paragraph is wrapped again, to the width of the terminal.
    shown.help = re.sub(r"(?<=\S)\n(?=[^\s-]|--)", " ", text)
    if isinstance(shown, TyperGroup):
        for subcommand in shown.commands.values():
            _write_help(subcommand)


def _exit_code(error: Exception) -> int:
    if isinstance(error, InterruptError):
        return exit_code(received() or signal.SIGINT)
    return error.exit_code if isinstance(error, SessionbaseError) else 1


def _one_line(error: Exception) -> str:
    if isinstance(error, InterruptError):
        return str(error)
    if isinstance(error, SessionbaseError):
        return f"Error: {error}"
    first_line = (str(error).strip().splitlines() or [""])[0]
    if isinstance(error, psycopg.Error):
        return f"Error: PostgreSQL: {first_line}"
    return f"Error: {type(error).__name__}: {first_line} (run with --debug to see more)"
