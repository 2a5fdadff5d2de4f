"""docs/doctor.md, from the headers of sql/doctor."""

from generate.live import Live
from sessionbase.doctor.lints import read_lints

_INTRODUCTION = """\
# sessionbase doctor

`sessionbase doctor` looks for what is wrong with a database that sessionbase lives in: roles that
may too much, grants that nobody meant, policies that are slow or missing, triggers that a repair
left disabled. It reads the system catalogue alone, in one read-only transaction, so that any login
will do and it can run in production at any time.

```sh
sessionbase doctor                                                # the embedded stack
sessionbase doctor --db-uri postgresql://dba@db.example/app       # any other
sessionbase doctor --json | jq '.findings[] | select(.level == "error")'
```

It exits with 1 if there are errors, and with 0 if there are warnings at most. Each finding has a
`level`, the `object`, `what` is wrong with it, and `remediation` it. With `--json` they are the
array `findings`, and each says also which `lint` found it.

Each lint is one SELECT in `sql/doctor/`, which you can also run in psql (after
`set search_path = ''`). They look at the schemas `app`, `api` and `ops`, at `public`, at the roles
and at the publications. This page is made from their headers: `scripts/generate-docs doctor`.
"""


def generate(_: Live) -> dict[str, str]:
    """Return the page by its path in the project."""
    parts = [_INTRODUCTION]
    for lint in read_lints():
        parts.append(
            f"\n## {lint.title}\n\n`{lint.name}`, {' or '.join(lint.levels)}. {lint.why}\n"
        )
    return {"docs/doctor.md": "".join(parts)}
