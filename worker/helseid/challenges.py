"""Tolerant parser for ``WWW-Authenticate`` (RFC 9110 §11.6.1). Pure."""

import re
from collections.abc import Iterable
from typing import Final

import msgspec

from worker.core.value import Value

_TOKEN: Final = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # noqa: S105
_PARAMETER: Final = re.compile(
    rf'({_TOKEN})[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)(?:"|$)|({_TOKEN}))', re.DOTALL
)
_SCHEME: Final = re.compile(rf"({_TOKEN})(?:[ \t]+([A-Za-z0-9\-._~+/]+=*)(?=[ \t]*(?:,|$)))?")
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)
_LENGTH_MAX: Final = 8192
"""Limit on the characters read, over all values of the header."""


class Challenge(Value, frozen=True, kw_only=True):
    """One authentication challenge.

    Attributes:
        scheme: lower case, e.g. ``dpop``.
        parameters: values by lower-case name; the first one of a repeated name.
    """

    scheme: str
    parameters: dict[str, str] = msgspec.field(default_factory=dict)


def parse_challenges(values: Iterable[str]) -> tuple[Challenge, ...]:
    """All challenges in the header's values, in order. Skips text that cannot be parsed.

    Commas separate both challenges and their parameters: a word followed by ``=`` and a value is a
    parameter, any other word is a scheme. Runs in linear time; reads the first 8,192 characters.
    """
    challenges: list[Challenge] = []
    characters_left = _LENGTH_MAX
    for value in values:
        challenges.extend(_parse(value[:characters_left]))
        characters_left -= len(value)
        if characters_left <= 0:
            break
    return tuple(challenges)


def _parse(value: str) -> list[Challenge]:
    challenges: list[Challenge] = []
    position = 0
    while position < len(value):
        if parameter := _PARAMETER.match(value, position):
            position = parameter.end()
            name, quoted, plain = parameter.groups()
            text = plain if quoted is None else _ESCAPED.sub(r"\1", quoted)
            if challenges:
                challenges[-1].parameters.setdefault(name.casefold(), text)
        elif scheme := _SCHEME.match(value, position):
            position = scheme.end()
            challenges.append(Challenge(scheme=scheme.group(1).casefold()))
        else:
            position += 1
    return challenges
