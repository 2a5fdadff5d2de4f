"""The command `sessionbase doctor`."""

from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from sessionbase.console import counted, print_json, stdout
from sessionbase.doctor.lints import Report, examine
from sessionbase.options import DEFAULT_DATA_DIR, DataDir, DbUri, resolve_db_uri

_STYLES = {"error": "red", "warning": "yellow"}


def _print_report(report: Report) -> None:
    if report.findings:
        table = Table("", "level", "object", "what")
        for number, finding in enumerate(report.findings, 1):
            level = Text(finding.level, style=_STYLES[finding.level])
            table.add_row(str(number), level, Text(finding.object), Text(finding.what))
        stdout.print(table, soft_wrap=False)
        # Not in the table, which breaks lines: a statement is to be copied.
        stdout.print("How to correct it:")
        for number, finding in enumerate(report.findings, 1):
            stdout.print(f"{number}. {finding.remediation}", markup=False)
    errors, warnings = report.count("error"), report.count("warning")
    stdout.print(
        f"{counted(report.lints, 'lint')} run: "
        f"{counted(errors, 'error')}, {counted(warnings, 'warning')}."
    )


def doctor(
    db_uri: DbUri = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Check a database: roles, rights, policies, triggers, functions and other objects.

    It reads only the system catalogue, in one read-only transaction, so any login is enough, and
    it can run in production at any time. Each finding says what is wrong with which object, and how
    to correct it; docs/doctor.md says why it matters.

    Exit code 0: no errors (there may be warnings). 1: errors, or the check could not run.

    Example: sessionbase doctor --db-uri postgresql://dba@db.example/app --json
    """
    report = examine(resolve_db_uri(db_uri, data_dir))
    if as_json:
        counts = {"errors": report.count("error"), "warnings": report.count("warning")}
        print_json(counts | asdict(report))
    else:
        _print_report(report)
    raise typer.Exit(1 if report.count("error") else 0)
