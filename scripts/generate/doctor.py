"""docs/doctor.md, from the headers of sql/doctor."""

from generate.live import Live
from sessionbase.doctor.lints import read_lints

_INTRODUCTION = """\
# sessionbase doctor

`.venv/bin/sessionbase doctor` checks a database of sessionbase: roles with too many rights, rights
that nobody intended, policies that are missing or slow, triggers that are disabled, functions that
differ from the shipped files. It reads only the system catalogue, in one read-only transaction, so
any login is enough, and it can run in production at any time.

```sh
.venv/bin/sessionbase doctor                                           # the embedded stack
.venv/bin/sessionbase doctor --db-uri postgresql://dba@db.example/app  # any other database
.venv/bin/sessionbase doctor --json | jq '.findings[] | select(.level == "error")'
```

The exit code is 1 if there are errors, and 0 if there are only warnings or no findings. Each
finding has a `level`, the `object`, `what` is wrong with it, and a `remediation`: the statement or
command that corrects it. With `--json` the findings are the array `findings`, and each also has the
name of its `lint`.

Each lint is one SELECT in `sql/doctor/`. The lints look at the schemas `app`, `api` and `ops`, at
`public`, at the roles and at the publications. What they compare with comes from the installed
package: the rights from `sql/authority.json`, the functions from the files in `sql/migrations`,
`sql/app` and `sql/api`. This page is generated from the comments at the top of the lints.
"""


def generate(_: Live) -> dict[str, str]:
    """Return the page by its path in the project."""
    parts = [_INTRODUCTION]
    for lint in read_lints():
        parts.append(
            f"\n## {lint.title}\n\n`{lint.name}`, {' or '.join(lint.levels)}. {lint.why}\n"
        )
    return {"docs/doctor.md": "".join(parts)}
