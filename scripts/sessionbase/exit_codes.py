"""Exit codes of the commands that compare: 1 and 2 are results, so an error has another one."""

from typing import Any

import psycopg
import typer
from typer.core import TyperCommand

from sessionbase.errors import SessionbaseError, UsageError

NOT_COMPARED = 3


class NotComparedError(SessionbaseError):
    """A command that compares failed before it had a result. The exit code is 3."""

    exit_code = NOT_COMPARED


class ComparingCommand(TyperCommand):
    """A command whose exit codes 1 and 2 are results: every error in it exits with 3."""

    def make_context(self, info_name: str | None, args: list[str], *more: Any, **extra: Any) -> Any:
        """Read the arguments. Raises NotComparedError for wrong usage."""
        try:
            return super().make_context(info_name, args, *more, **extra)
        except Exception as error:
            # Typer does not export the class of this error; all others have another exit code.
            if getattr(error, "exit_code", 0) != UsageError.exit_code:
                raise
            raise NotComparedError(str(error), "--help lists the options") from error

    def invoke(self, ctx: Any) -> Any:
        """Run the command. Raises NotComparedError for each of its errors."""
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort):
            raise
        except SessionbaseError as error:
            raise NotComparedError(error.message, error.hint) from error
        except psycopg.Error as error:
            first_line = (str(error).strip().splitlines() or [""])[0]
            raise NotComparedError(f"PostgreSQL: {first_line}") from error
        except Exception as error:
            raise NotComparedError(
                f"{type(error).__name__}: {error}", "run with --debug to see more"
            ) from error
