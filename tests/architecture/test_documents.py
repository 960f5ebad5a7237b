"""What the documents lead to is there: files, headings, commands, options, keys, messages."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import click
import pytest

from tests.support.documents import DOCS, README, ROOT, blocks, rows
from tools.docs.command_line import described
from tools.docs.log_events import log_calls
from tools.docs.tree import parsed
from worker.config.settings import KEYS

PAGES: Final = (
    README,
    ROOT / "CHANGELOG.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    *sorted(DOCS.rglob("*.md")),
)
_FOLDERS: Final = "worker|tests|docs|migrations|tools|bench"
_FENCED: Final = re.compile(r"(?ms)^```.*?^```$")


COMMANDS = {
    words: {option for parameter in command.params for option in parameter.opts}
    for words, command in described()
    if not isinstance(command, click.Group)
}
GROUPS = {words[0] for words in COMMANDS if len(words) > 1}
SECTIONS = "|".join(sorted({name.partition(".")[0] for name in KEYS}))
KEY = re.compile(rf"(?<![\w./:-])((?:{SECTIONS})\.([a-z]\w*))(?![\w(/.])")
FILES = ("md", "py", "csv", "db", "jwk", "key", "toml")
TODAYS = [page for page in PAGES if page.name != "CHANGELOG.md"]


def broken_links(page: Path) -> list[str]:
    """The relative links of a page that lead to no file, or to no heading of a Markdown page."""
    text = _FENCED.sub("", page.read_text(encoding="utf-8"))
    targets = re.findall(r"\]\(<?([^)>\s]+)>?[^)]*\)", text)
    return [link for link in targets if ":" not in link and not _leads_somewhere(page, link)]


def _leads_somewhere(page: Path, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    if not target.exists():
        return False
    return not anchor or (target.suffix == ".md" and anchor in anchors(target))


@cache
def anchors(page: Path) -> frozenset[str]:
    """The anchors of a page's headings, as GitHub and MyST make them."""
    found: dict[str, int] = {}
    for heading in re.findall(
        r"(?m)^#+ +(.+?) *$", _FENCED.sub("", page.read_text(encoding="utf-8"))
    ):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
        found[slug] = found.get(slug, -1) + 1
    return frozenset(
        f"{slug}-{number}" if number else slug
        for slug, last in found.items()
        for number in range(last + 1)
    )


def paths_named(page: Path) -> Iterator[str]:
    """Files and folders of this repository that stand in backticks, and modules of ``worker/``."""
    text = page.read_text(encoding="utf-8")
    yield from re.findall(rf"`((?:{_FOLDERS})/[\w./-]*)`", text)
    for module in re.findall(rf"(?<![\w/.])(?!{_FOLDERS})((?:[a-z]+/)+[a-z_]+\.py)\b", text):
        yield f"worker/{module}"


def page_id(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_links_lead_somewhere(page):
    """Each relative link leads to a file or folder of this repository, and to a heading in it."""
    assert broken_links(page) == []


@pytest.mark.parametrize("page", TODAYS, ids=page_id)
def test_named_files_exist(page):
    """Each file of the code, tests and documents that a page names is there."""
    assert [path for path in paths_named(page) if not (ROOT / path).exists()] == []


def typed(page: Path) -> Iterator[list[str]]:
    """What the page says to type: words in backticks, and the lines of its code blocks."""
    text = page.read_text(encoding="utf-8")
    lines = "\n".join(blocks(text, r"\w*")).replace("\\\n", " ").splitlines()
    for line in (*re.findall(r"`([^`\n]+)`", text), *lines):
        yield re.split(r"[|;&#>)]", line)[0].split()


def unknown_words(words: list[str]) -> set[str]:
    """What the program does not know of these words, if they call it."""
    is_call = "pts-worker" in words
    while "pts-worker" in words:
        words = words[words.index("pts-worker") + 1 :]
    known = COMMANDS.get((*words[:2],), COMMANDS.get((*words[:1],)))
    if known is not None:
        return {w.partition("=")[0] for w in words if re.match("--[a-z]", w)} - known
    named = words[1:2] if words and words[0] in GROUPS else words[:1]
    return {word for word in named if is_call and re.fullmatch("[a-z][a-z-]*", word)}


@pytest.mark.parametrize("page", TODAYS, ids=page_id)
def test_documented_commands_and_options_exist(page):
    """What a page says to type can be typed."""
    assert [word for words in typed(page) for word in unknown_words(words)] == []


def test_the_make_targets_exist():
    """What a page says to make is what ``make`` can make."""
    text = "\n".join(page.read_text(encoding="utf-8") for page in TODAYS)
    named = set(re.findall(r"(?m)(?:^|`)make ([a-z][\w-]*)", text))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert named - set(re.findall(r"(?m)^([a-z][\w-]*):", makefile)) == set()


@cache
def texts() -> str:
    """The texts in the program's source, a line each, with ``…`` for a value that goes in."""
    found = []
    for node in (node for tree in parsed("worker").values() for node in ast.walk(tree)):
        match node:
            case ast.JoinedStr(values=values):
                parts = (str(p.value) if isinstance(p, ast.Constant) else "…" for p in values)
                found.append("".join(parts))
            case ast.Constant(value=str(text)):
                found.append(re.sub(r"\{\w+\}", "…", text))
            case _:
                pass
    return "\n".join(found)


def test_every_key_that_is_named_exists():
    """No message, hint or page sends an operator to a key that the configuration does not have."""
    known = {*KEYS, *(call.event for call in log_calls()), "database.password"}  # a file
    named = {"worker": texts()} | {page.name: page.read_text(encoding="utf-8") for page in PAGES}
    unknown = {
        (where, name)
        for where, text in named.items()
        for name, last in KEY.findall(text)
        if name not in known and last not in FILES
    }
    assert unknown == set()


def test_messages_under_troubleshooting_are_the_programs():
    """Word for word, with ``…`` where the program puts a value in."""
    page = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    messages = [row[0].strip("` ") for part in page.split("\n## ")[1:] for row in rows(part)]
    assert messages
    assert [message for message in messages if message not in texts()] == []
