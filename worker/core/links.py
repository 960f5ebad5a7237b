"""Parses ``Link`` headers (RFC 8288 §3) in linear time."""

import re
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

_BLANKS: Final = re.compile(r"[ \t\r\n\f\v]*+")
_NAME: Final = re.compile(r'[^ \t\r\n\f\v=;,"]*+')
_TOKEN: Final = re.compile(r'[^ \t\r\n\f\v;,"]*+')
_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\.)*+)"', re.DOTALL)
_CLAIM: Final = re.compile(r"""[^"';,]*+""")
_NEXT: Final = re.compile(r"\bnext\b")


class _Link(NamedTuple):
    """A link and its position in the header."""

    target: str
    relations: tuple[str, ...]
    start: int
    end: int


def claims_next(values: Iterable[str]) -> bool:
    """Whether a header mentions a next link that cannot be parsed."""
    return any(_claims_next(_unread(value).lower()) for value in values)


def next_links(values: Iterable[str]) -> list[str]:
    """The unchanged targets of all links with the relation ``next``.

    Only the first ``rel`` parameter counts; it may name several relations (RFC 8288 §3.3).
    """
    return [link.target for value in values for link in _links(value) if "next" in link.relations]


def _unread(value: str) -> str:
    """The header without the links that can be parsed."""
    parts: list[str] = []
    end = 0
    for link in _links(value):
        parts.append(value[end : link.start])
        end = link.end
    return " ".join((*parts, value[end:]))


def _claims_next(text: str) -> bool:
    at = text.find("rel")
    while at >= 0:
        start = _end(_BLANKS, text, at + 3)
        if text[start : start + 1] == "=":
            start = _end(_BLANKS, text, start + 1)
            start += text[start : start + 1] in ('"', "'")
            at = _end(_CLAIM, text, start)
            if _NEXT.search(text, start, at):
                return True
        at = text.find("rel", max(at, start))
    return False


def _links(value: str) -> Iterator[_Link]:
    at = value.find("<")
    while at >= 0:
        close = value.find(">", at)
        if close < 0:
            return
        relations, end = _parameters(value, close + 1)
        yield _Link(value[at + 1 : close].strip(), relations, at, end)
        at = value.find("<", end)


def _parameters(value: str, at: int) -> tuple[tuple[str, ...], int]:
    """The relations named by the parameters from this position, and where the parameters end."""
    relations: tuple[str, ...] | None = None
    while True:
        start = _end(_BLANKS, value, at)
        if value[start : start + 1] != ";":
            return relations or (), at
        start = _end(_BLANKS, value, start + 1)
        end = _end(_NAME, value, start)
        if end == start:
            return relations or (), at
        name, equals = value[start:end].lower(), _end(_BLANKS, value, end)
        if value[equals : equals + 1] == "=":
            text, end = _parameter_value(value, _end(_BLANKS, value, equals + 1))
            if text is None:
                return relations or (), at
            if name == "rel" and relations is None:
                relations = tuple(text.lower().split())
        at = end


def _parameter_value(value: str, at: int) -> tuple[str | None, int]:
    """A token or quoted string, and where it ends; None for an unterminated quoted string."""
    if value[at : at + 1] != '"':
        end = _end(_TOKEN, value, at)
        return value[at:end], end
    quoted = _QUOTED.match(value, at)
    return (quoted[1], quoted.end()) if quoted else (None, at)


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    """Where what the pattern matches from this position ends."""
    match = pattern.match(text, at)
    return match.end() if match else at
