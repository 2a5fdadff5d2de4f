"""Each domain has a file of the same name in every part of the project."""

import pytest

from sessionbase.paths import PROJECT_DIR
from support.domains import DOMAINS, DomainFiles

every_domain = pytest.mark.parametrize("domain", DOMAINS, ids=lambda domain: domain.name)


@every_domain
def test_a_domain_has_its_files(domain: DomainFiles) -> None:
    missing = [pattern for pattern in domain.patterns if not list(PROJECT_DIR.glob(pattern))]
    assert not missing, (
        f"create {', '.join(missing)}: CONTRIBUTING.md, 'Add a domain', says what is in them"
    )


def test_a_file_of_schema_api_belongs_to_a_domain() -> None:
    names = {path.stem.split("_", 1)[1] for path in (PROJECT_DIR / "sql/api").glob("*.sql")}
    without = names - {"schema"} - {domain.name for domain in DOMAINS}
    assert not without, f"add a block to 'domains' of sql/authority.json for: {', '.join(without)}"


def test_the_readme_links_the_page_of_each_kind_of_records() -> None:
    readme = (PROJECT_DIR / "README.md").read_text(encoding="utf-8")
    links = [f"docs/{domain.page.name}" for domain in DOMAINS if domain.has_tables]
    missing = [link for link in links if f"({link})" not in readme]
    assert not missing, f"link {', '.join(missing)} in README.md, in the table of the records"


@every_domain
def test_the_page_of_a_domain_lists_the_functions_of_its_typescript_module(
    domain: DomainFiles,
) -> None:
    assert domain.source.exists(), f"create {domain.source.relative_to(PROJECT_DIR)}"
    assert domain.page.exists(), f"create docs/{domain.page.name}"
    functions = domain.exported_functions()
    assert functions, f"export the functions of the domain from {domain.source.name}"
    page = domain.page.read_text(encoding="utf-8")
    for name in [f"sessionbase/{domain.module}", *functions]:
        assert f"`{name}`" in page, f"add `{name}` to docs/{domain.page.name}, under 'TypeScript'"
