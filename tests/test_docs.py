"""README and docs/ name all that there is and nothing else, and their links lead somewhere."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pytest

import schemas.tables
from jobs.__main__ import commands
from schemas.flags import FLAGS
from schemas.shipped import configurations
from schemas.tables import LIVE_UTTERANCES, Table
from tests.e2e.test_readme import PAGES, ROOT
from transforms.engines import ALIGNERS, RECOGNIZER_TIMES, RECOGNIZERS
from transforms.exports import FORMATS
from transforms.lake.views import views

_LINK = re.compile(r"\]\(([^)#]*)(?:#([^)]*))?\)")


def rows(page: str, title: str) -> list[str]:
    """The rows of the page's one table whose first column has this title."""
    text = (ROOT / page).read_text(encoding="utf-8")
    (table,) = re.findall(rf"^\| {re.escape(title)} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", text, re.MULTILINE)
    return table.splitlines()


def named(page: str, title: str) -> list[str]:
    """What the first cells of that table name."""
    return [name for row in rows(page, title) for name in re.findall(r"`([^`]+)`", row.split("|")[1])]


@pytest.mark.parametrize(
    ("page", "title", "there_are"),
    [
        ("README.md", "command", [f"jobs.{name}" for name in commands()]),
        ("README.md", "table", [entry.name for entry in vars(schemas.tables).values() if isinstance(entry, Table)]),
        ("docs/sql.md", "view", [view.name for view in views()]),
        ("docs/live.md", "view", [view.name for view in views([LIVE_UTTERANCES]) if view not in views()]),
        ("docs/engines.md", "`engine.name`", RECOGNIZERS),
        ("docs/engines.md", "`aligners`", [*ALIGNERS, RECOGNIZER_TIMES]),
        ("docs/exports.md", "`--format`", FORMATS),
    ],
    ids=lambda value: value.strip("`") if isinstance(value, str) else "",
)
def test_each_is_named_once_and_nothing_that_is_not_there(page: str, title: str, there_are: Iterable[str]) -> None:
    assert sorted(named(page, title)) == sorted(there_are)


def test_each_flag_is_told_with_what_to_do() -> None:
    told = [f"| `{name}` | {flag.meaning} | {flag.advice} |" for name, flag in FLAGS.items()]
    assert rows("docs/sql.md", "flag") == told


def test_each_configuration_that_comes_along_is_named() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in text for name in configurations())


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md"], ids=lambda page: page.name)
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    for target, heading in _LINK.findall(page.read_text(encoding="utf-8")):
        if target.startswith("http"):
            continue
        linked = (page.parent / target).resolve() if target else page
        assert linked.exists(), target
        if heading:
            assert heading in _headings(linked), f"{target}#{heading}"


def test_the_readme_leads_to_every_page() -> None:
    linked = {target for target, _ in _LINK.findall(PAGES[0].read_text(encoding="utf-8"))}
    assert {f"docs/{page.name}" for page in PAGES[1:]} <= linked


def _headings(page: Path) -> set[str]:
    """As GitHub makes anchors of them."""
    found = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in found}
