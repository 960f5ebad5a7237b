"""Parses ``Link`` headers (RFC 8288 §3) in linear time."""

import re
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

_BLANK: Final = " \t\r\n\f\v"
_WORD_ENDS: Final = frozenset(f'{_BLANK}=;,"')
_NEXT: Final = re.compile(r"\bnext\b")
_CLAIM_ENDS: Final = frozenset("\"';,")


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
        start = _skip(text, at + 3)
        if text[start : start + 1] == "=":
            start = _skip(text, start + 1)
            start += text[start : start + 1] in ('"', "'")
            at = _until(text, start, _CLAIM_ENDS)
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
        start = _skip(value, at)
        if value[start : start + 1] != ";":
            return relations or (), at
        start = _skip(value, start + 1)
        end = _until(value, start, _WORD_ENDS)
        if end == start:
            return relations or (), at
        name, equals = value[start:end].lower(), _skip(value, end)
        if value[equals : equals + 1] == "=":
            text, end = _parameter_value(value, _skip(value, equals + 1))
            if text is None:
                return relations or (), at
            if name == "rel" and relations is None:
                relations = tuple(text.lower().split())
        at = end


def _parameter_value(value: str, at: int) -> tuple[str | None, int]:
    """A token or quoted string, and where it ends; None for an unterminated quoted string."""
    if value[at : at + 1] != '"':
        end = _until(value, at, _WORD_ENDS - {"="})
        return value[at:end], end
    end = at + 1
    while end < len(value) and value[end] != '"':
        end += 2 if value[end] == "\\" else 1
    return (value[at + 1 : end], end + 1) if end < len(value) else (None, at)


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in _BLANK:
        at += 1
    return at


def _until(text: str, at: int, ends: frozenset[str]) -> int:
    while at < len(text) and text[at] not in ends:
        at += 1
    return at
