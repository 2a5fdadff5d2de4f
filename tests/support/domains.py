"""The domains of sql/authority.json, and the files that belong to each."""

import re
from dataclasses import dataclass
from pathlib import Path

from generate.authorization import AUTHORITY
from sessionbase.paths import PROJECT_DIR

_EXPORTED_FUNCTION = re.compile(
    r"(?<!@internal \*/\n)^export (?:async )?function (\w+)", re.MULTILINE
)


@dataclass(frozen=True)
class DomainFiles:
    """A domain, and where its files are."""

    name: str
    """As in SQL: `tool_events`."""

    @property
    def module(self) -> str:
        """The name in TypeScript: `toolEvents`."""
        first, *others = self.name.split("_")
        return first + "".join(map(str.capitalize, others))

    @property
    def has_tables(self) -> bool:
        """Whether it stores records."""
        return bool(AUTHORITY.domains[self.name].tables)

    @property
    def page(self) -> Path:
        """The page in docs."""
        return PROJECT_DIR / f"docs/{self.name.replace('_', '-')}.md"

    @property
    def source(self) -> Path:
        """The file of the TypeScript client."""
        return PROJECT_DIR / f"clients/typescript/src/domains/{self.module}.ts"

    @property
    def patterns(self) -> list[str]:
        """The files of the domain, relative to the project; a number is written as `*`."""
        files = [
            f"sql/api/*_{self.name}.sql",
            f"tests/http/test_{self.name}.py",
            self.source.relative_to(PROJECT_DIR).as_posix(),
            self.page.relative_to(PROJECT_DIR).as_posix(),
        ]
        if self.has_tables:
            files += [f"sql/migrations/*_{self.name}.sql", f"tests/sql/test_{self.name}.sql"]
        return files

    def exported_functions(self) -> list[str]:
        """Return the names of the public functions of the TypeScript module."""
        return _EXPORTED_FUNCTION.findall(self.source.read_text(encoding="utf-8"))


DOMAINS = [DomainFiles(name) for name in AUTHORITY.domains if name != "foundation"]
