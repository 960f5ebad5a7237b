"""Each message on the troubleshooting page is one that the program can say."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.architecture.documents import DOCS, rows

WORKER = Path(__file__).parents[2] / "worker"
PAGE = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
MESSAGES = [row[0].strip("`") for part in PAGE.split("\n## ")[1:] for row in rows(part)]


def texts() -> Iterator[str]:
    """The texts in the program's source, with ``…`` for each value that goes in."""
    for path in WORKER.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.JoinedStr(values=values):
                    yield "".join(
                        str(part.value) if isinstance(part, ast.Constant) else "…"
                        for part in values
                    )
                case ast.Constant(value=str(text)):
                    yield re.sub(r"\{\w+\}", "…", text)
                case _:
                    pass


def test_the_program_says_it():
    """Word for word, with ``…`` where the program puts a value in."""
    said = "\n".join(texts())
    assert [message for message in MESSAGES if message not in said] == []


def test_the_page_has_messages():
    """The page is read as it is written: a table for each kind."""
    assert len(MESSAGES) >= 45
    assert all(len(re.sub(r"[…\W]", "", message)) >= 6 for message in MESSAGES)
